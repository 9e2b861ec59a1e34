/* A 32-bit program: says that it is ready, waits for the end of its standard input, ends. i386 system calls. */
    .globl _start
_start:
    mov $4, %eax /* write */
    mov $1, %ebx
    mov $text, %ecx
    mov $6, %edx
    int $0x80
    mov $3, %eax /* read */
    xor %ebx, %ebx
    sub $16, %esp
    mov %esp, %ecx
    mov $1, %edx
    int $0x80
    mov $1, %eax /* exit */
    xor %ebx, %ebx
    int $0x80
    .section .rodata
text:
    .ascii "ready\n"
    .section .note.GNU-stack, "", @progbits
