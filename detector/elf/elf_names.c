#include "detector/elf/elf_names.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PHDRS_MAX 128
#define NOTES_MAX 4096u

static bool read_at(int fd, uint64_t offset, void *buf, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = pread(fd, (char *)buf + at, len - at, (off_t)(offset + at));
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The header, if it is of a file that we read, and the file's size. */
static bool read_header(int fd, Elf64_Ehdr *ret, uint64_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) || st.st_size <= 0 || !read_at(fd, 0, ret, sizeof(*ret)) ||
        memcmp(ret->e_ident, ELFMAG, SELFMAG) != 0 || ret->e_ident[EI_CLASS] != ELFCLASS64 ||
        ret->e_ident[EI_DATA] != ELFDATA2LSB || ret->e_machine != EM_X86_64)
        return false;
    *ret_size = (uint64_t)st.st_size;
    return true;
}

static bool is_within(uint64_t offset, uint64_t bytes, uint64_t size)
{
    return offset <= size && bytes <= size - offset;
}

/* A whole section in memory of its own, a NUL behind it. */
static int read_section(int fd, const Elf64_Shdr *sh, uint64_t size, char **ret)
{
    if (!is_within(sh->sh_offset, sh->sh_size, size))
        return -EBADMSG;
    if (sh->sh_size > WEDGE_ELF_NAMES_MAX_BYTES)
        return -E2BIG;
    char *data = malloc(sh->sh_size + 1);
    if (!data)
        return -ENOMEM;
    if (!read_at(fd, sh->sh_offset, data, sh->sh_size)) {
        free(data);
        return -EBADMSG;
    }
    data[sh->sh_size] = 0;
    *ret = data;
    return 0;
}

static int go_through(const char *symbols, uint64_t bytes, const char *strings, uint64_t strings_bytes,
                      wedge_elf_name_fn *fn, void *arg)
{
    for (uint64_t at = sizeof(Elf64_Sym); at < bytes; at += sizeof(Elf64_Sym)) { /* the first is no symbol */
        Elf64_Sym sym;
        memcpy(&sym, symbols + at, sizeof(sym));
        if (sym.st_name >= strings_bytes)
            return -EBADMSG;
        struct wedge_elf_name name = {.text = strings + sym.st_name,
                                      .address = sym.st_value,
                                      .size = sym.st_size,
                                      .defined = sym.st_shndx != SHN_UNDEF};
        if (!fn(arg, &name))
            break;
    }
    return 0;
}

int wedge_elf_names_read(int fd, uint32_t type, wedge_elf_name_fn *fn, void *arg)
{
    Elf64_Ehdr ehdr;
    uint64_t size;
    Elf64_Shdr *all = NULL;
    const Elf64_Shdr *table = NULL;
    char *symbols = NULL, *strings = NULL;
    int rc = -EBADMSG;
    if (!read_header(fd, &ehdr, &size))
        return -EBADMSG;
    if (ehdr.e_shnum == 0) /* none, or more than 65,279, which stand elsewhere (elf(5)) */
        return ehdr.e_shoff ? -EBADMSG : -ENOENT;
    size_t bytes = ehdr.e_shnum * sizeof(*all);
    if (ehdr.e_shentsize != sizeof(*all) || !is_within(ehdr.e_shoff, bytes, size))
        return -EBADMSG;
    all = malloc(bytes);
    if (!all)
        return -ENOMEM;
    if (!read_at(fd, ehdr.e_shoff, all, bytes))
        goto out;
    for (size_t i = 0; i < ehdr.e_shnum && !table; i++)
        if (all[i].sh_type == type)
            table = &all[i];
    rc = -ENOENT;
    if (!table)
        goto out;
    rc = -EBADMSG;
    if (table->sh_entsize != sizeof(Elf64_Sym) || table->sh_size % sizeof(Elf64_Sym) ||
        table->sh_link >= ehdr.e_shnum || all[table->sh_link].sh_type != SHT_STRTAB)
        goto out;
    const Elf64_Shdr *names = &all[table->sh_link];
    rc = read_section(fd, table, size, &symbols);
    if (!rc)
        rc = read_section(fd, names, size, &strings);
    if (!rc)
        rc = go_through(symbols, table->sh_size, strings, names->sh_size, fn, arg);
out:
    free(symbols);
    free(strings);
    free(all);
    return rc;
}

/* How many there are; 0 also: they do not add up. */
static size_t read_phdrs(int fd, Elf64_Phdr all[PHDRS_MAX], uint64_t *ret_size)
{
    Elf64_Ehdr ehdr;
    if (!read_header(fd, &ehdr, ret_size) || ehdr.e_phentsize != sizeof(all[0]) || ehdr.e_phnum > PHDRS_MAX ||
        !read_at(fd, ehdr.e_phoff, all, ehdr.e_phnum * sizeof(all[0])))
        return 0;
    return ehdr.e_phnum;
}

bool wedge_elf_names_build_id(int fd, struct wedge_build_id *ret)
{
    Elf64_Phdr all[PHDRS_MAX];
    uint8_t notes[NOTES_MAX];
    uint64_t size;
    size_t n = read_phdrs(fd, all, &size);
    for (size_t i = 0; i < n; i++) {
        size_t len = all[i].p_filesz < sizeof(notes) ? (size_t)all[i].p_filesz : sizeof(notes);
        if (all[i].p_type == PT_NOTE && is_within(all[i].p_offset, len, size) &&
            read_at(fd, all[i].p_offset, notes, len) && wedge_build_id_in_notes(notes, len, all[i].p_align, ret))
            return true;
    }
    return false;
}

uint64_t wedge_elf_names_offset(int fd, uint64_t address)
{
    Elf64_Phdr all[PHDRS_MAX];
    uint64_t size;
    size_t n = read_phdrs(fd, all, &size);
    for (size_t i = 0; i < n; i++)
        if (all[i].p_type == PT_LOAD && address >= all[i].p_vaddr && address - all[i].p_vaddr < all[i].p_filesz &&
            is_within(all[i].p_offset, all[i].p_filesz, size))
            return address - all[i].p_vaddr + all[i].p_offset;
    return 0;
}
