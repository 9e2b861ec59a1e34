/*
 * A program of system calls alone, without a libc: what a runtime of another language, or one by hand, looks like. Its
 * first function begins where its text does. Speaks as stacks_target.c does; ends with its standard input.
 */
#define NOINLINE __attribute__((noinline, noclone))

static long call(long number, long a, long b, long c)
{
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return ret;
}

static NOINLINE void bare_wait(void)
{
    char c[8];
    while (call(0 /* read */, 0, (long)c, 1) > 0)
        ;
}

static NOINLINE void bare_main(void)
{
    static const char head[] = "thread ", tail[] = " bare none\nframe bare_wait 0\nframe bare_main 0\nready\n";
    char text[128];
    int n = 0, digits = 0;
    for (; head[n]; n++)
        text[n] = head[n];
    char number[16];
    for (long pid = call(39 /* getpid */, 0, 0, 0); pid; pid /= 10)
        number[digits++] = (char)('0' + pid % 10);
    while (digits)
        text[n++] = number[--digits]; /* cppcheck-suppress uninitvar ; a process number has a digit */
    for (int i = 0; tail[i]; i++)
        text[n++] = tail[i];
    call(1 /* write */, 1, (long)text, n);
    bare_wait();
    call(231 /* exit_group */, 0, 0, 0);
    __builtin_unreachable();
}

__attribute__((section(".text.first"), noreturn, used)) void _start(void)
{
    bare_main();
    __builtin_unreachable();
}
