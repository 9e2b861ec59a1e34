/*
 * A program's file as the loader will see it: can the agent be preloaded into it, and what must stand before it. The
 * same code in wedge, which refuses or names such a program, and in the agent, which looks before it execs.
 *
 * The file may be damaged on purpose and may change while it is read: each step is bounded and checked against what
 * was read, nothing is mapped. Safe in threads, signal handlers and after fork if the reader is. Blocks as it does.
 */
#ifndef WEDGE_BASE_RT_PROGRAM_H
#define WEDGE_BASE_RT_PROGRAM_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rt/arena.h"

enum { WEDGE_RT_HEADERS = 256, WEDGE_RT_DYNAMIC = 4096 };

struct wedge_rt_program {
    int fd;
    /* As pread(2); any negative value is an error. */
    long (*read)(int fd, void *buf, size_t size, uint64_t offset);
    Elf64_Ehdr header;
    char asan[64]; /* result: the name of the sanitizer's runtime that must come first, "" none */
};

static inline bool wedge_rt_read(const struct wedge_rt_program *p, void *buf, size_t size, uint64_t offset)
{
    return offset <= INT64_MAX && p->read(p->fd, buf, size, offset) == (long)size;
}

/* A string of the file, cut at the buffer. */
static inline bool wedge_rt_read_text(const struct wedge_rt_program *p, char *buf, size_t size, uint64_t offset)
{
    long n = offset <= INT64_MAX ? p->read(p->fd, buf, size - 1, offset) : -1;
    buf[n > 0 ? n : 0] = 0;
    return n > 0;
}

static inline bool wedge_rt_begins(const char *text, const char *with)
{
    for (; *with; text++, with++)
        if (*text != *with)
            return false;
    return true;
}

static inline bool wedge_rt_contains(const char *text, const char *part)
{
    for (; *text; text++)
        if (wedge_rt_begins(text, part))
            return true;
    return false;
}

/* The first program header of this type; for PT_LOAD the one whose file part has `address`. */
static inline bool wedge_rt_segment(const struct wedge_rt_program *p, uint32_t type, uint64_t address, Elf64_Phdr *ret)
{
    for (unsigned i = 0; i < p->header.e_phnum; i++)
        if (wedge_rt_read(p, ret, sizeof(*ret), p->header.e_phoff + i * sizeof(*ret)) && ret->p_type == type &&
            (type != PT_LOAD || (address >= ret->p_vaddr && address - ret->p_vaddr < ret->p_filesz)))
            return true;
    return false;
}

/* Looks for `tag` from entry *at of the dynamic section on; *at moves behind it. */
static inline bool wedge_rt_dynamic(const struct wedge_rt_program *p, const Elf64_Phdr *dynamic, int64_t tag,
                                    uint64_t *at, uint64_t *ret)
{
    Elf64_Dyn some[16];
    while (*at < WEDGE_RT_DYNAMIC && (*at + 1) * sizeof(some[0]) <= dynamic->p_filesz) {
        uint64_t offset = dynamic->p_offset + *at * sizeof(some[0]);
        long n = offset <= INT64_MAX ? p->read(p->fd, some, sizeof(some), offset) : -1;
        if (n < (long)sizeof(some[0]))
            return false;
        for (long i = 0; i < n / (long)sizeof(some[0]); i++) {
            (*at)++;
            if (some[i].d_tag == DT_NULL)
                return false;
            if (some[i].d_tag == tag) {
                *ret = some[i].d_un.d_val;
                return true;
            }
        }
    }
    return false;
}

static inline void wedge_rt_find_asan(struct wedge_rt_program *p)
{
    Elf64_Phdr dynamic, strings;
    uint64_t at = 0, address, name;
    p->asan[0] = 0;
    if (!wedge_rt_segment(p, PT_DYNAMIC, 0, &dynamic) || !wedge_rt_dynamic(p, &dynamic, DT_STRTAB, &at, &address) ||
        !wedge_rt_segment(p, PT_LOAD, address, &strings))
        return;
    at = 0;
    while (wedge_rt_dynamic(p, &dynamic, DT_NEEDED, &at, &name))
        if (wedge_rt_read_text(p, p->asan, sizeof(p->asan), strings.p_offset + (address - strings.p_vaddr) + name) &&
            (wedge_rt_begins(p->asan, "libasan.so") || wedge_rt_begins(p->asan, "libclang_rt.asan")))
            return;
    p->asan[0] = 0;
}

/* Judges an ELF file; sets asan. The permissions of the file (set-user-ID and so on) are the caller's to look at. */
static inline enum wedge_birth_why wedge_rt_judge(struct wedge_rt_program *p)
{
    const Elf64_Ehdr *h = &p->header;
    Elf64_Phdr interpreter;
    char name[256];
    p->asan[0] = 0;
    if (!wedge_rt_read(p, &p->header, sizeof(p->header), 0) || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64)
        return WEDGE_BIRTH_MACHINE;
    if (h->e_phnum == 0 || h->e_phnum > WEDGE_RT_HEADERS || h->e_phentsize != sizeof(Elf64_Phdr) ||
        h->e_phoff > INT64_MAX / 2 ||
        !wedge_rt_read(p, &interpreter, sizeof(interpreter), h->e_phoff + (h->e_phnum - 1u) * sizeof(interpreter)))
        return WEDGE_BIRTH_DAMAGED;
    if (!wedge_rt_segment(p, PT_INTERP, 0, &interpreter))
        return WEDGE_BIRTH_STATIC;
    if (wedge_rt_read_text(p, name, sizeof(name), interpreter.p_offset) && !wedge_rt_contains(name, "ld-linux-x86-64"))
        return WEDGE_BIRTH_LOADER;
    wedge_rt_find_asan(p);
    return WEDGE_BIRTH_FITS;
}

static inline bool wedge_rt_is_elf(const char *head, size_t len)
{
    return len >= SELFMAG && head[0] == ELFMAG0 && head[1] == ELFMAG1 && head[2] == ELFMAG2 && head[3] == ELFMAG3;
}

/* The interpreter of a "#!" line, cut at the buffer; "" when the file has no such line. */
static inline void wedge_rt_interpreter(const char *head, size_t len, char *path, size_t size)
{
    size_t at = 2, n = 0;
    if (len >= 2 && head[0] == '#' && head[1] == '!') {
        while (at < len && (head[at] == ' ' || head[at] == '\t'))
            at++;
        while (at < len && n < size - 1 && head[at] && head[at] != ' ' && head[at] != '\t' && head[at] != '\r' &&
               head[at] != '\n')
            path[n++] = head[at++];
    }
    path[n] = 0;
}

#endif
