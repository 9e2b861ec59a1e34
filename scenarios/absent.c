#include "scenarios/absent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/kernel/proc.h"
#include "faults/launch.h"

/* A process in an inner PID namespace has another number here, so that one look says too little. */
#define GONE_FOR_NS    (100 * WEDGE_NS_PER_MS)
#define SUSPECT_FOR_NS (200 * WEDGE_NS_PER_MS) /* a program is loaded long before that */
#define LAST_NS        (200 * WEDGE_NS_PER_MS)
#define LAST_STEP_NS   (2 * WEDGE_NS_PER_MS)

static struct wedge_arena_proc *proc_at(const struct wedge_arena *arena, uint32_t slot)
{
    return wedge_arena_live(arena, WEDGE_SEC_PROCS, slot);
}

static bool is_complete(const struct wedge_arena_proc *proc)
{
    uint32_t gen = atomic_load(&proc->gen);
    return gen != 0 && gen % 2 == 0;
}

static bool is_under_way(const struct wedge_arena_proc *proc)
{
    return is_complete(proc) && atomic_load(&proc->state) == WEDGE_PROC_EXECED;
}

static bool is_gone(pid_t pid)
{
    return kill(pid, 0) < 0 && errno == ESRCH;
}

/* The path is another program's word: bounded, and of printable bytes alone. */
static void add(struct wedge_absent *absent, pid_t pid, const char *path, size_t size, const char *why, bool ran)
{
    absent->ran += ran;
    if (absent->n++ >= WEDGE_ABSENT_MOST)
        return;
    char *to = absent->all[absent->n - 1].path;
    size_t most = sizeof(absent->all[0].path) - 1, n = 0;
    for (; n < size && n < most && path[n]; n++)
        to[n] = path[n];
    to[n] = 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
            to[i] = '?';
    absent->all[absent->n - 1].pid = pid;
    absent->all[absent->n - 1].why = why;
}

static void take(struct wedge_absent *absent, const struct wedge_arena *arena, uint32_t slot)
{
    const struct wedge_arena_birth *birth = wedge_arena_live(arena, WEDGE_SEC_BIRTHS, slot);
    const struct wedge_arena_proc *proc = proc_at(arena, slot);
    enum wedge_birth_why why = (enum wedge_birth_why)birth->why;
    add(absent, proc->pid, birth->path, sizeof(birth->path), wedge_faults_why(why), why != WEDGE_BIRTH_FITS);
    wedge_faults_free_slot(arena, slot);
}

/* Will nobody check in for this slot any more? */
static bool is_over(struct wedge_absent *absent, const struct wedge_arena *arena, uint32_t slot, int64_t now)
{
    const struct wedge_arena_birth *birth = wedge_arena_live(arena, WEDGE_SEC_BIRTHS, slot);
    const struct wedge_arena_proc *proc = proc_at(arena, slot), *parent = NULL;
    pid_t pid = proc->pid;
    if (pid == 0 && atomic_load(&birth->unnamed) == 2)
        return true;
    if (pid == 0) { /* its parent is about to say who it is */
        parent = proc->parent < wedge_arena_count(WEDGE_SEC_PROCS) ? proc_at(arena, proc->parent) : NULL;
        pid = parent ? parent->pid : 0;
    }
    if (pid > 0 && !is_gone(pid)) {
        absent->gone_since_ns[slot] = 0;
        return false;
    }
    if (absent->gone_since_ns[slot] == 0)
        absent->gone_since_ns[slot] = now;
    return now - absent->gone_since_ns[slot] >= GONE_FOR_NS;
}

static bool is_hopeless(const struct wedge_arena *arena, uint32_t slot)
{
    const struct wedge_arena_birth *birth = wedge_arena_live(arena, WEDGE_SEC_BIRTHS, slot);
    return birth->why != WEDGE_BIRTH_FITS;
}

static void look_in_arena(struct wedge_absent *absent, const struct wedge_arena *arena, bool last)
{
    uint32_t n = wedge_arena_count(WEDGE_SEC_PROCS);
    int64_t until = wedge_clock_ns() + LAST_NS;
    for (bool again = true; again;) {
        int64_t now = wedge_clock_ns();
        again = false;
        for (uint32_t i = 0; i < n && i < WEDGE_ABSENT_SLOTS; i++) {
            if (!is_under_way(proc_at(arena, i)))
                absent->gone_since_ns[i] = 0;
            else if (is_over(absent, arena, i, now) || (last && (now >= until || is_hopeless(arena, i)))) {
                absent->gone_since_ns[i] = 0;
                take(absent, arena, i);
            } else
                again = last;
        }
        if (again)
            nanosleep(&(struct timespec){.tv_nsec = LAST_STEP_NS}, NULL);
    }
}

enum standing { HAS_NO_SLOT, IS_THERE, BECAME_ANOTHER };
/* A process that a raw execve has turned into another program keeps the slot that it had. */
static enum standing standing_of(const struct wedge_arena *arena, pid_t pid)
{
    enum standing standing = HAS_NO_SLOT;
    char path[64];
    struct stat st;
    wedge_proc_path(pid, 0, "exe", path, sizeof(path));
    bool known = stat(path, &st) == 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++) {
        const struct wedge_arena_proc *proc = proc_at(arena, i);
        if (!is_complete(proc) || proc->pid != pid)
            continue;
        if (!known || !proc->program || proc->program == st.st_ino || atomic_load(&proc->state) == WEDGE_PROC_EXECED)
            return IS_THERE;
        standing = BECAME_ANOTHER;
    }
    return standing;
}

static bool is_named(const struct wedge_absent *absent, pid_t pid)
{
    for (size_t i = 0; i < absent->n && i < WEDGE_ABSENT_MOST; i++)
        if (absent->all[i].pid == pid)
            return true;
    return false;
}

static bool same_program(pid_t a, pid_t b)
{
    char one[WEDGE_PROC_PATH_BYTES], other[WEDGE_PROC_PATH_BYTES];
    return wedge_proc_link(a, 0, "exe", one, sizeof(one)) > 0 &&
           wedge_proc_link(b, 0, "exe", other, sizeof(other)) > 0 && strcmp(one, other) == 0;
}

/* Is it there although it has no slot? A child of a raw system call gets one when it first passes something. */
static bool has_agent(const struct wedge_arena *arena, const struct wedge_member *m, enum standing standing)
{
    char *maps = NULL;
    if (standing == HAS_NO_SLOT && standing_of(arena, m->ppid) == IS_THERE && same_program(m->pid, m->ppid))
        return true;
    bool found = wedge_proc_read_all(m->pid, 0, "maps", 1 << 22, &maps) > 0 && strstr(maps, "/libwedge-agent");
    free(maps);
    return found;
}

static void name_it(struct wedge_absent *absent, const struct wedge_member *m)
{
    char path[WEDGE_PROC_PATH_BYTES], exe[64], stat[512], asan[64];
    struct wedge_proc_stat parsed;
    ssize_t n = wedge_proc_link(m->pid, 0, "exe", path, sizeof(path));
    if (n <= 0) {
        if ((n != -EACCES && n != -EPERM) || wedge_proc_read(m->pid, 0, "stat", stat, sizeof(stat)) <= 0 ||
            wedge_proc_stat_parse(stat, &parsed))
            return; /* it has ended */
        snprintf(path, sizeof(path), "%s", parsed.comm);
    }
    wedge_proc_path(m->pid, 0, "exe", exe, sizeof(exe));
    int fd = open(exe, O_RDONLY | O_CLOEXEC);
    enum wedge_birth_why why = wedge_faults_judge(fd, asan);
    if (fd >= 0)
        close(fd);
    add(absent, m->pid, path, sizeof(path),
        why == WEDGE_BIRTH_FITS ? "was started past libc, without LD_PRELOAD and WEDGE_ARENA" : wedge_faults_why(why),
        true);
}

static void look_in_tree(struct wedge_absent *absent, const struct wedge_arena *arena, const struct wedge_tree *tree)
{
    int64_t now = wedge_clock_ns();
    for (size_t i = 0; i < tree->n; i++) {
        const struct wedge_member *m = &tree->members[i];
        size_t at = 0, free = WEDGE_ABSENT_SUSPECTS;
        enum standing standing = standing_of(arena, m->pid);
        if (standing == IS_THERE || is_named(absent, m->pid))
            continue;
        for (; at < WEDGE_ABSENT_SUSPECTS; at++) {
            if (absent->suspects[at].pid == m->pid && absent->suspects[at].start_ticks == m->start_ticks)
                break;
            if (absent->suspects[at].pid == 0 || (free == WEDGE_ABSENT_SUSPECTS && is_gone(absent->suspects[at].pid)))
                free = free < WEDGE_ABSENT_SUSPECTS ? free : at;
        }
        if (at == WEDGE_ABSENT_SUSPECTS) { /* the first time: it may be about to check in */
            if (free < WEDGE_ABSENT_SUSPECTS) {
                absent->suspects[free].pid = m->pid;
                absent->suspects[free].start_ticks = m->start_ticks;
                absent->suspects[free].since_ns = now;
                absent->suspects[free].told = false;
            }
        } else if (!absent->suspects[at].told && now - absent->suspects[at].since_ns >= SUSPECT_FOR_NS) {
            absent->suspects[at].told = true;
            if (!has_agent(arena, m, standing))
                name_it(absent, m);
        }
    }
}

void wedge_absent_look(struct wedge_absent *absent, const struct wedge_arena *arena, const struct wedge_tree *tree,
                       bool last)
{
    look_in_arena(absent, arena, last);
    if (tree)
        look_in_tree(absent, arena, tree);
}

void wedge_absent_text(const struct wedge_absent *absent, char *buf, size_t size)
{
    size_t len = 0, kept = absent->n < WEDGE_ABSENT_MOST ? absent->n : WEDGE_ABSENT_MOST;
    buf[0] = 0;
    for (size_t i = 0; i < kept && len < size; i++) {
        char pid[32] = "";
        if (absent->all[i].pid > 0)
            snprintf(pid, sizeof(pid), " (%d)", (int)absent->all[i].pid);
        len += (size_t)snprintf(buf + len, size - len, "%s%s%s, which %s", i ? "; " : "", absent->all[i].path, pid,
                                absent->all[i].why);
    }
    if (absent->n > kept && len < size)
        snprintf(buf + len, size - len, "; and %zu more", absent->n - kept);
}
