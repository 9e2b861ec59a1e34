#include "detector/look/alarm.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "detector/elf/elf_file.h"
#include "detector/elf/elf_names.h"

#define MOST_FILES 512
#define ALARM_BIT  (1ull << (SIGALRM - 1))

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
};

/* wedge_elf_name_fn */
static bool note_alarm(void *arg, const struct wedge_elf_name *name)
{
    struct names *names = arg;
    if (is_alarm(name->text)) {
        names->wanted |= !name->defined;
        names->offered |= name->defined;
    }
    return true;
}

bool wedge_alarm_is_called(int fd)
{
    struct names names = {0};
    int rc = wedge_elf_names_read(fd, SHT_DYNSYM, note_alarm, &names);
    if (rc == 0)
        return names.wanted && !names.offered;
    if (rc != -ENOENT)
        return true;
    /* Static: linked in only if something calls it. */
    return wedge_elf_names_read(fd, SHT_SYMTAB, note_alarm, &names) || names.wanted || names.offered;
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
    bool called = wedge_alarm_is_called(fd);
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

/* The agent was in it, and in this very program, from the beginning, and saw it arm none. */
bool wedge_alarm_is_excluded(const struct wedge_look *look, int proc)
{
    const struct wedge_arena_copy *arena = look->options->arena;
    const struct wedge_arena_control *control = arena ? wedge_arena_at(arena, WEDGE_SEC_CONTROL, 0) : NULL;
    pid_t pid = look->snapshot->procs[proc].pid;
    const struct wedge_arena_proc *record = control ? wedge_arena_proc_of(arena, pid, NULL) : NULL;
    char path[64];
    struct stat st;
    wedge_proc_path(pid, 0, "exe", path, sizeof(path));
    return record && control->record == WEDGE_RECORD_CALLS && !control->vfork_alarms && !record->alarms &&
           record->ordinal && record->state == WEDGE_PROC_RUNNING && record->program && stat(path, &st) == 0 &&
           st.st_ino == record->program;
}

bool wedge_alarm_possible(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    if (own->alarm == WEDGE_ALARM_NOT_ASKED)
        own->alarm = !own->skipped && !own->zombie && !is_deaf(look, proc) && !wedge_alarm_is_excluded(look, proc) &&
                             maps_caller(look, proc)
                         ? WEDGE_ALARM_POSSIBLE
                         : WEDGE_ALARM_NONE;
    return own->alarm == WEDGE_ALARM_POSSIBLE;
}
