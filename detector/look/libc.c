#include "detector/look/libc.h"

#include <ctype.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "detector/core/core_file.h"
#include "detector/elf/elf_file.h"
#include "detector/elf/elf_names.h"

#define MOST_LIBCS     32
#define MOST_BANNER_AT (4 << 20)
#define BANNER_BYTES   200 /* from its first word to the version */
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

/* The number behind the banner in `text`, 0 none. */
static int minor_in(const char *text, size_t len)
{
    static const char banner[] = "GNU C Library", release[] = "release version 2.";
    const char *at = memmem(text, len, banner, sizeof(banner) - 1);
    if (!at)
        return 0;
    size_t left = (size_t)(text + len - at);
    const char *number = memmem(at, left < BANNER_BYTES ? left : BANNER_BYTES, release, sizeof(release) - 1);
    int minor = 0;
    const char *c = number ? number + sizeof(release) - 1 : text + len;
    for (; c < text + len && isdigit((unsigned char)*c); c++)
        if (minor < 1000)
            minor = minor * 10 + (*c - '0');
    return c < text + len ? minor : 0; /* cut in two: it is whole in the next piece */
}

/* The version stands in the library's banner: "GNU C Library (…) stable release version 2.36." It is among the constants,
 * which come behind the code: from the end to the beginning. Pieces overlap by a banner, so that none is cut in two. */
static int banner_minor(int fd)
{
    char piece[65536];
    struct stat st;
    int minor = 0;
    off_t at = fstat(fd, &st) == 0 && st.st_size < MOST_BANNER_AT ? st.st_size : MOST_BANNER_AT;
    for (bool first = true; !minor && (first || at > 0); first = false) {
        at -= (off_t)sizeof(piece) - BANNER_BYTES;
        ssize_t len = pread(fd, piece, sizeof(piece), at > 0 ? at : 0);
        minor = len > 0 ? minor_in(piece, (size_t)len) : 0;
    }
    return minor;
}

/* wedge_elf_name_fn */
static bool is_syscall(void *arg, const struct wedge_elf_name *name)
{
    struct wedge_elf_name *found = arg;
    if (!name->defined || strcmp(name->text, "syscall") != 0 || name->size > SYSCALL_MAX)
        return true;
    *found = *name;
    return false;
}

static void find_syscall(int fd, struct libc *libc)
{
    struct wedge_elf_name found = {0};
    if (wedge_elf_names_read(fd, SHT_DYNSYM, is_syscall, &found) || !found.defined)
        return;
    libc->syscall_offset = wedge_elf_names_offset(fd, found.address);
    libc->syscall_bytes = found.size;
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

struct wedge_libc_place wedge_libc_at(struct wedge_look *look, int proc, uint64_t pc)
{
    const struct wedge_proc_map *map = wedge_look_map_at(look, proc, pc);
    struct wedge_libc_place place = {0};
    if (!map || !map->executable || !map->inode || !is_libc_path(map->path))
        return place;
    const struct libc *libc = libc_of(look, proc, map);
    if (!libc)
        return place;
    uint64_t at = pc - map->start + map->offset;
    place.minor = libc->minor;
    place.by_syscall = at >= libc->syscall_offset && at <= libc->syscall_offset + libc->syscall_bytes;
    return place;
}
