#include "detector/alarm.h"

#include <fcntl.h>
#include <gelf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "detector/elf_file.h"

#define MOST_FILES   512
#define MOST_SYMBOLS 1000000 /* a table with more is not gone through, and counts as a caller */
#define ALARM_BIT    (1ull << (SIGALRM - 1))

struct file {
    uint64_t dev, inode;
    bool called;
};
struct wedge_alarm_cache {
    struct file files[MOST_FILES];
    size_t n;
};

void wedge_alarm_cache_free(struct wedge_alarm_cache *cache)
{
    free(cache);
}

static bool is_alarm(const char *name)
{
    static const char *const names[] = {"alarm", "setitimer", "ualarm", "__setitimer", "__setitimer64"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

struct names {
    bool wanted, offered; /* undefined and defined alarms */
    bool read; /* there was a table */
};

/* Goes through one table of symbols. False: it makes no sense. */
static bool read_table(Elf *elf, Elf_Scn *section, const GElf_Shdr *sh, struct names *ret)
{
    Elf_Data *data = sh->sh_entsize ? elf_getdata(section, NULL) : NULL;
    size_t n = data ? sh->sh_size / sh->sh_entsize : 0;
    if (!data || n > MOST_SYMBOLS)
        return false;
    for (size_t i = 1; i < n; i++) {
        GElf_Sym symbol;
        const char *name = gelf_getsym(data, (int)i, &symbol) ? elf_strptr(elf, sh->sh_link, symbol.st_name) : NULL;
        if (!name)
            return false;
        if (!is_alarm(name))
            continue;
        ret->wanted |= symbol.st_shndx == SHN_UNDEF;
        ret->offered |= symbol.st_shndx != SHN_UNDEF;
    }
    return ret->read = true;
}

bool wedge_alarm_is_called(Elf *elf)
{
    struct names dynamic = {0}, all = {0};
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        GElf_Shdr sh;
        if (!gelf_getshdr(section, &sh))
            return true;
        if ((sh.sh_type == SHT_DYNSYM && !read_table(elf, section, &sh, &dynamic)) ||
            (sh.sh_type == SHT_SYMTAB && !read_table(elf, section, &sh, &all)))
            return true;
    }
    if (dynamic.read)
        return dynamic.wanted && !dynamic.offered;
    /* Static: linked in only if something calls it. */
    return !all.read || all.wanted || all.offered;
}

/* ---- of a process ---- */

/* The kernel does not let the signal reach it, or lets it do nothing. */
static bool is_deaf(const struct wedge_look *look, int proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    bool deaf = true;
    for (int i = p->first_thread; i < p->first_thread + p->n_threads; i++) {
        const struct wedge_proc_status *status = &look->threads[i].status;
        if (look->snapshot->threads[i].state != 'Z' && look->snapshot->threads[i].state != 'X')
            deaf &= ((status->sig_ignored | status->sig_blocked) & ALARM_BIT) != 0;
    }
    return deaf;
}

static bool is_caller(pid_t pid, const struct wedge_proc_map *map)
{
    int fd = wedge_elf_open_mapped(pid, map);
    if (fd < 0)
        return true;
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    bool called = !elf || elf_kind(elf) != ELF_K_ELF || wedge_alarm_is_called(elf);
    elf_end(elf);
    close(fd);
    return called;
}

/* The answer for one mapped file, asked once for all the processes of an examination. */
static bool is_known_caller(struct wedge_look *look, pid_t pid, const struct wedge_proc_map *map)
{
    struct wedge_alarm_cache *cache = look->alarms;
    uint64_t dev = (uint64_t)map->dev_major << 32 | map->dev_minor;
    if (!cache)
        cache = look->alarms = calloc(1, sizeof(*cache));
    if (!cache)
        return true;
    for (size_t i = 0; i < cache->n; i++)
        if (cache->files[i].inode == map->inode && cache->files[i].dev == dev)
            return cache->files[i].called;
    if (cache->n == MOST_FILES)
        return true;
    bool called = is_caller(pid, map);
    cache->files[cache->n++] = (struct file){.dev = dev, .inode = map->inode, .called = called};
    return called;
}

static bool maps_caller(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    pid_t pid = look->snapshot->procs[proc].pid;
    bool any = false;
    if (wedge_look_maps(look, proc))
        return true;
    wedge_look_note(look, pid, "symbols of its modules");
    for (size_t i = 0; i < own->maps.n; i++) {
        const struct wedge_proc_map *map = &own->maps.maps[i];
        if (!map->executable || !map->inode)
            continue;
        any = true;
        if (is_known_caller(look, own->reader ? own->reader : pid, map))
            return true;
    }
    return !any;
}

bool wedge_alarm_possible(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    if (own->alarm == WEDGE_ALARM_NOT_ASKED)
        own->alarm = !own->skipped && !own->zombie && !is_deaf(look, proc) && maps_caller(look, proc)
                         ? WEDGE_ALARM_POSSIBLE
                         : WEDGE_ALARM_NONE;
    return own->alarm == WEDGE_ALARM_POSSIBLE;
}
