#include "detector/look/alarm.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "detector/elf/elf_file.h"
#include "detector/elf/elf_names.h"

#define MOST_FILES 512
#define ALARM_BIT  (1ull << (SIGALRM - 1))

/* What a file's symbols say of alarms. */
struct calls {
    bool wanted, offered; /* undefined and defined alarms */
    bool adopts; /* prctl(), undefined, or nobody knows */
    bool runtime; /* a C library, a sanitizer, our agent: they offer what others call */
};
struct file {
    uint64_t dev, inode;
    struct calls calls;
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

/* Names by which a library shows that it offers alarms for others to call, and calls none itself: libc's start, the sanitizers'
 * (sanitizer/common_interface_defs.h), ours. */
static bool is_of_runtime(const char *name)
{
    static const char *const names[] = {"__libc_start_main", "__sanitizer_get_report_path", "wedge_agent_interface"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* wedge_elf_name_fn */
static bool note_alarm(void *arg, const struct wedge_elf_name *name)
{
    struct calls *calls = arg;
    if (is_alarm(name->text)) {
        calls->wanted |= !name->defined;
        calls->offered |= name->defined;
    }
    calls->adopts |= !name->defined && strcmp(name->text, "prctl") == 0;
    calls->runtime |= name->defined && is_of_runtime(name->text);
    return true;
}

static struct calls read_calls(int fd)
{
    struct calls calls = {0};
    int rc = wedge_elf_names_read(fd, SHT_DYNSYM, note_alarm, &calls);
    /* Static: linked in only if something calls it. */
    if (rc == -ENOENT) {
        rc = wedge_elf_names_read(fd, SHT_SYMTAB, note_alarm, &calls);
        calls.runtime = false;
        calls.adopts = true; /* Go's make their system calls themselves */
    }
    return rc ? (struct calls){.wanted = true, .offered = true, .adopts = true} : calls;
}

static bool is_caller(const struct calls *calls)
{
    return calls->offered ? !calls->runtime : calls->wanted;
}

bool wedge_alarm_is_called(int fd)
{
    struct calls calls = read_calls(fd);
    return is_caller(&calls);
}

/* ---- of a process ---- */

/* The kernel does not let any of these signals reach it, or lets them do nothing. */
static bool is_deaf(const struct wedge_look *look, int proc, uint64_t signals)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    bool deaf = true;
    for (int i = p->first_thread; i < p->first_thread + p->n_threads; i++) {
        const struct wedge_proc_status *status = &look->threads[i].status;
        if (look->snapshot->threads[i].state != 'Z' && look->snapshot->threads[i].state != 'X')
            deaf &= (signals & ~(status->sig_ignored | status->sig_blocked)) == 0;
    }
    return deaf;
}

/* The answer for one mapped file, asked once for all the processes of an examination. */
static struct calls calls_of(struct wedge_look *look, pid_t pid, const struct wedge_proc_map *map)
{
    struct wedge_alarm_cache *cache = look->alarms;
    struct calls calls = {.wanted = true, .offered = true, .adopts = true};
    uint64_t dev = (uint64_t)map->dev_major << 32 | map->dev_minor;
    if (!cache)
        cache = look->alarms = calloc(1, sizeof(*cache));
    if (!cache)
        return calls;
    for (size_t i = 0; i < cache->n; i++)
        if (cache->files[i].inode == map->inode && cache->files[i].dev == dev)
            return cache->files[i].calls;
    if (cache->n == MOST_FILES)
        return calls;
    int fd = wedge_elf_open_mapped(pid, map);
    if (fd >= 0) {
        calls = read_calls(fd);
        close(fd);
    }
    cache->files[cache->n++] = (struct file){.dev = dev, .inode = map->inode, .calls = calls};
    return calls;
}

/* Inode of the program that a process runs; 0 not known. */
static uint64_t program_of(const struct wedge_look *look, int proc)
{
    char path[64];
    struct stat st;
    wedge_proc_path(look->snapshot->procs[proc].pid, 0, "exe", path, sizeof(path));
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Is it the program's own file? The kernel tells both by the path of the open file (d_path), while of inodes another file system
 * has the same numbers, and devices differ between stat and maps (btrfs, overlayfs). A path that maps escapes is none. */
static bool is_program(const struct wedge_proc *p, const struct wedge_proc_map *map)
{
    size_t len = strlen(map->path);
    return len && strncmp(p->exe, map->path, len) == 0 && strcmp(p->exe + len, map->deleted ? " (deleted)" : "") == 0;
}

/* The next file that it runs code of, from mapping `*i` on, which moves behind it; NULL none. */
static const struct wedge_proc_map *next_module(const struct wedge_look_proc *own, size_t *i)
{
    while (*i < own->maps.n) {
        const struct wedge_proc_map *map = &own->maps.maps[(*i)++];
        if (map->executable && map->inode)
            return map;
    }
    return NULL;
}

/* Does anything that it has mapped call one? A runtime in the program itself is called by it. Of a program that is seen the
 * agent has seen every call, but for those of an alarm() of the program's own. */
static bool maps_caller(struct wedge_look *look, int proc, bool seen)
{
    struct wedge_look_proc *own = &look->procs[proc];
    pid_t pid = look->snapshot->procs[proc].pid;
    bool any = false;
    if (wedge_look_maps(look, proc))
        return true;
    wedge_look_note(look, pid, "symbols of its modules");
    size_t i = 0;
    for (const struct wedge_proc_map *map; (map = next_module(own, &i));) {
        any = true;
        struct calls calls = calls_of(look, own->reader ? own->reader : pid, map);
        if (!is_program(&look->snapshot->procs[proc], map) ? is_caller(&calls)
                                                           : calls.offered || (calls.wanted && !seen))
            return true;
    }
    return !any;
}

static const struct wedge_arena_proc *record_of(const struct wedge_look *look, int proc)
{
    return look->options->arena ? wedge_arena_proc_of(look->options->arena, look->snapshot->procs[proc].pid, NULL)
                                : NULL;
}

/* The agent was in it, and in this very program, from the beginning, and saw it arm none. */
static bool is_seen(const struct wedge_look *look, int proc)
{
    const struct wedge_arena_copy *arena = look->options->arena;
    const struct wedge_arena_control *control = arena ? wedge_arena_at(arena, WEDGE_SEC_CONTROL, 0) : NULL;
    const struct wedge_arena_proc *record = record_of(look, proc);
    return record && control && control->record == WEDGE_RECORD_CALLS && !control->vfork_alarms &&
           record->alarms == WEDGE_ALARMS_NONE && record->ordinal && record->state == WEDGE_PROC_RUNNING &&
           record->program && record->program == program_of(look, proc);
}

/* By the record one was armed; by a library that has left, perhaps, or by what the process was before. */
static bool is_recorded(const struct wedge_look *look, int proc)
{
    const struct wedge_arena_proc *record = record_of(look, proc);
    const struct wedge_arena_control *control =
        record ? wedge_arena_at(look->options->arena, WEDGE_SEC_CONTROL, 0) : NULL;
    return control && (record->alarms == WEDGE_ALARMS_CALLED || control->vfork_alarms);
}

bool wedge_alarm_is_excluded(struct wedge_look *look, int proc)
{
    return is_seen(look, proc) && !maps_caller(look, proc, true);
}

bool wedge_alarm_possible(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    if (own->alarm == WEDGE_ALARM_NOT_ASKED)
        own->alarm = !own->skipped && !own->zombie && !is_deaf(look, proc, ALARM_BIT) &&
                             (is_recorded(look, proc) || maps_caller(look, proc, is_seen(look, proc)))
                         ? WEDGE_ALARM_POSSIBLE
                         : WEDGE_ALARM_NONE;
    return own->alarm == WEDGE_ALARM_POSSIBLE;
}

bool wedge_alarm_adopts(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    pid_t pid = look->snapshot->procs[proc].pid;
    if (wedge_look_maps(look, proc))
        return true;
    wedge_look_note(look, pid, "symbols of its modules");
    size_t i = 0;
    for (const struct wedge_proc_map *map; (map = next_module(own, &i));) {
        struct calls calls = calls_of(look, own->reader ? own->reader : pid, map);
        if (calls.adopts && !calls.runtime)
            return true;
    }
    return false;
}

bool wedge_alarm_by_timer(const struct wedge_look *look, int proc)
{
    const struct wedge_look_proc *own = &look->procs[proc];
    return !own->skipped && !own->zombie && (own->timers_unknown || !is_deaf(look, proc, own->timer_signals));
}

/* False: it is not there, or not any more. */
static bool read_info(const struct wedge_look *look, int proc, const struct wedge_fd *fd, char *buf, size_t size)
{
    char name[32];
    snprintf(name, sizeof(name), "fdinfo/%d", fd->number);
    return wedge_proc_read(look->snapshot->procs[proc].pid, look->procs[proc].reader, name, buf, size) > 0;
}

/*
 * Whom the kernel signals for a socket or a folder without O_ASYNC: SIGURG for urgent data (tcp(7)), any signal for what happens
 * in the folder (fcntl(2), F_NOTIFY, which sets the owner itself: fs/notify/dnotify/dnotify.c). Nothing in /proc shows it, and
 * the open file is asked through a copy of its descriptor. Of other kinds none is made: closing it again may have to wait for
 * whoever serves the file.
 */
static bool has_owner(struct wedge_look *look, int proc, int pidfd, const struct wedge_fd *fd)
{
    pid_t pid = look->snapshot->procs[proc].pid;
    char path[64], text[1024];
    struct stat st;
    if (fd->kind != WEDGE_FD_SOCKET && fd->kind != WEDGE_FD_OTHER)
        return false;
    wedge_proc_path(pid, 0, "fd", path, sizeof(path));
    size_t used = strlen(path);
    snprintf(path + used, sizeof(path) - used, "/%d", fd->number);
    struct statx sx = {0};
    if (fd->kind == WEDGE_FD_OTHER &&
        (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &sx) || !S_ISDIR(sx.stx_mode)))
        return false;
    wedge_look_note(look, pid, "owner of a descriptor");
    int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd->number, 0);
    /* What is there all the same is of a process whose leader has ended, which has no descriptors any more. */
    if (copy < 0)
        return pidfd < 0 || (errno != EBADF && errno != ESRCH) || read_info(look, proc, fd, text, sizeof(text));
    struct f_owner_ex owner = {0};
    bool is_other = fstat(copy, &st) || (!S_ISSOCK(st.st_mode) && !S_ISDIR(st.st_mode));
    bool any = is_other || fcntl(copy, F_GETOWN_EX, &owner) || owner.pid;
    close(copy);
    return any;
}

static bool has_async(struct wedge_look *look, int proc, int pidfd)
{
    const struct wedge_look_proc *own = &look->procs[proc];
    if (wedge_look_fds(look, proc))
        return true;
    wedge_look_note(look, look->snapshot->procs[proc].pid, "flags of its descriptors");
    char text[1024];
    bool missing = false;
    for (size_t i = 0; i < own->n_fds; i++) {
        if (has_owner(look, proc, pidfd, &own->fds[i]))
            return true;
        if (!read_info(look, proc, &own->fds[i], text, sizeof(text))) {
            missing = true;
            continue;
        }
        const char *flags = strstr(text, "flags:");
        if (!flags || strtoul(flags + sizeof("flags:") - 1, NULL, 8) & O_ASYNC)
            return true;
    }
    /* One was closed since by a thread that moves; all at once by what has ended the process, perhaps one of these signals. */
    for (size_t i = 0; i < own->n_fds && missing; i++)
        missing = !read_info(look, proc, &own->fds[i], text, sizeof(text));
    return missing;
}

bool wedge_alarm_by_descriptor(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    if (own->signals == WEDGE_SIGNALS_NOT_ASKED) {
        int pidfd = (int)syscall(SYS_pidfd_open, look->snapshot->procs[proc].pid, 0);
        own->signals = !own->skipped && !own->zombie && has_async(look, proc, pidfd) ? WEDGE_SIGNALS_ASKED_FOR
                                                                                     : WEDGE_SIGNALS_NONE;
        if (pidfd >= 0)
            close(pidfd);
    }
    return own->signals == WEDGE_SIGNALS_ASKED_FOR;
}
