#include "detector/libc.h"

#include <ctype.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "detector/core_file.h"
#include "detector/elf_file.h"

#define MOST_LIBCS     32
#define MOST_BANNER_AT (4u << 20)
#define SYSCALL_MAX    256 /* syscall() is a few dozen bytes; a larger size is not believed */

struct libc {
    uint64_t inode, dev;
    int minor;
    uint64_t syscall_offset, syscall_bytes; /* in the file */
};
struct wedge_libc_cache {
    struct libc libcs[MOST_LIBCS];
    size_t n;
};

void wedge_libc_cache_free(struct wedge_libc_cache *cache)
{
    free(cache);
}

static bool is_libc_path(const char *path)
{
    const char *base = strrchr(path, '/');
    return base && (strcmp(base, "/libc.so.6") == 0 || (strncmp(base, "/libc-2.", 8) == 0 && strstr(base, ".so")));
}

/* Of a core file: the file whose build-id is that of what was mapped. */
static int open_of_core(struct wedge_core *core, const struct wedge_proc_map *map)
{
    const struct wedge_region *region = wedge_regions_find(&core->regions, map->start);
    int fd = region ? wedge_core_file_of(core, region) : -1;
    return fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

/* The version stands in the library's banner: "GNU C Library (…) stable release version 2.36." */
static int banner_minor(int fd)
{
    static const char banner[] = "GNU C Library", release[] = "release version 2.";
    int minor = 0;
    char *data = malloc(MOST_BANNER_AT);
    ssize_t len = data ? pread(fd, data, MOST_BANNER_AT, 0) : -1;
    char *at = len > 0 ? memmem(data, (size_t)len, banner, sizeof(banner) - 1) : NULL;
    if (at) {
        size_t left = (size_t)(data + len - at);
        char *number = memmem(at, left < 200 ? left : 200, release, sizeof(release) - 1);
        for (char *c = number ? number + sizeof(release) - 1 : NULL; c && c < data + len && isdigit((unsigned char)*c);
             c++)
            if (minor < 1000)
                minor = minor * 10 + (*c - '0');
    }
    free(data);
    return minor;
}

static uint64_t file_offset(Elf *elf, uint64_t address)
{
    size_t n = 0;
    if (elf_getphdrnum(elf, &n))
        return 0;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr ph;
        if (gelf_getphdr(elf, (int)i, &ph) && ph.p_type == PT_LOAD && address >= ph.p_vaddr &&
            address - ph.p_vaddr < ph.p_filesz)
            return address - ph.p_vaddr + ph.p_offset;
    }
    return 0;
}

static void find_syscall(int fd, struct libc *libc)
{
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    for (Elf_Scn *section = NULL; elf && (section = elf_nextscn(elf, section));) {
        GElf_Shdr sh;
        Elf_Data *data;
        if (!gelf_getshdr(section, &sh) || sh.sh_type != SHT_DYNSYM || !sh.sh_entsize ||
            !(data = elf_getdata(section, NULL)))
            continue;
        for (size_t i = 0; i < sh.sh_size / sh.sh_entsize; i++) {
            GElf_Sym symbol;
            const char *name;
            if (gelf_getsym(data, (int)i, &symbol) && (name = elf_strptr(elf, sh.sh_link, symbol.st_name)) &&
                strcmp(name, "syscall") == 0 && symbol.st_size <= SYSCALL_MAX) {
                libc->syscall_offset = file_offset(elf, symbol.st_value);
                libc->syscall_bytes = symbol.st_size;
            }
        }
    }
    elf_end(elf);
}

static const struct libc *libc_of(struct wedge_look *look, int proc, const struct wedge_proc_map *map)
{
    struct wedge_libc_cache *cache = look->libcs;
    if (!cache)
        cache = look->libcs = calloc(1, sizeof(*cache));
    if (!cache)
        return NULL;
    uint64_t dev = (uint64_t)map->dev_major << 32 | map->dev_minor;
    for (size_t i = 0; i < cache->n; i++)
        if (cache->libcs[i].inode == map->inode && cache->libcs[i].dev == dev)
            return &cache->libcs[i];
    if (cache->n == MOST_LIBCS)
        return NULL;
    struct libc *libc = &cache->libcs[cache->n++];
    *libc = (struct libc){.inode = map->inode, .dev = dev};
    pid_t pid = look->snapshot->procs[proc].pid, reader = look->procs[proc].reader;
    wedge_look_note(look, pid, "C library");
    /* /proc/TID answers for threads that it does not list; a leader that has ended has no mappings. */
    int fd = look->core ? open_of_core(look->core, map) : wedge_elf_open_mapped(reader ? reader : pid, map);
    if (fd < 0)
        return libc;
    find_syscall(fd, libc);
    /* Where syscall() is not known, a futex of somebody else cannot be told from libc's: the library is not used. */
    if (libc->syscall_bytes)
        libc->minor = banner_minor(fd);
    close(fd);
    return libc;
}

int wedge_libc_version_at(struct wedge_look *look, int proc, uint64_t pc)
{
    const struct wedge_proc_map *map = wedge_look_map_at(look, proc, pc);
    if (!map || !map->executable || !map->inode || !is_libc_path(map->path))
        return 0;
    const struct libc *libc = libc_of(look, proc, map);
    if (!libc)
        return 0;
    uint64_t at = pc - map->start + map->offset;
    if (at >= libc->syscall_offset && at <= libc->syscall_offset + libc->syscall_bytes)
        return 0;
    return libc->minor;
}
