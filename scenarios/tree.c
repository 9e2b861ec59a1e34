#include "scenarios/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/kernel/proc.h"

enum { MOST_PROCESSES = 1 << 22 }; /* the kernel's own limit of pid_max on 64 bits, proc(5) */

/* `dir` is /proc. */
static int read_member_at(int dir, pid_t pid, struct wedge_member *m)
{
    char text[1024];
    struct wedge_proc_stat stat;
    ssize_t n = wedge_proc_read_at(dir, pid, "stat", text, sizeof(text));
    int rc = n < 0 ? (int)n : wedge_proc_stat_parse(text, &stat);
    if (rc)
        return rc;
    /* A leader that has ended stays a zombie for as long as its threads go on: the process has not ended. */
    if (stat.state == 'Z' && stat.threads > 1)
        stat.state = 'S';
    *m = (struct wedge_member){.pid = pid, .ppid = stat.ppid, .start_ticks = stat.start_ticks, .state = stat.state};
    return 0;
}

static int open_proc(void)
{
    int dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? -errno : dir;
}

static int read_member(pid_t pid, struct wedge_member *m)
{
    int dir = open_proc();
    if (dir < 0)
        return dir;
    int rc = read_member_at(dir, pid, m);
    close(dir);
    return rc;
}

/* By pid. */
static int read_all(struct wedge_member **ret, size_t *ret_n)
{
    pid_t *pids;
    size_t n, kept = 0;
    int dir = open_proc();
    int rc = dir < 0 ? dir : wedge_proc_list_at(dir, MOST_PROCESSES, &pids, &n);
    if (rc) {
        if (dir >= 0)
            close(dir);
        return rc;
    }
    struct wedge_member *all = calloc(n + 1, sizeof(*all));
    for (size_t i = 0; all && i < n; i++)
        kept += read_member_at(dir, pids[i], &all[kept]) == 0;
    close(dir);
    free(pids);
    if (!all)
        return -ENOMEM;
    *ret = all;
    *ret_n = kept;
    return 0;
}

static int compare_members(const void *a, const void *b)
{
    pid_t x = ((const struct wedge_member *)a)->pid, y = ((const struct wedge_member *)b)->pid;
    return (x > y) - (x < y);
}

static bool contains(const pid_t *pids, size_t n, pid_t pid)
{
    for (size_t i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

int wedge_tree_list(pid_t top, bool with_top, const pid_t *except, size_t n_except, struct wedge_tree *ret)
{
    struct wedge_member *all = NULL;
    size_t n = 0;
    int rc = read_all(&all, &n);
    if (rc)
        return rc;
    /* Each sweep takes in the children of members found so far; a tree is rarely deeper than a few. */
    bool *in = calloc(n ? n : 1, sizeof(*in));
    if (!in) {
        free(all);
        return -ENOMEM;
    }
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < n; i++) {
            if (in[i] || contains(except, n_except, all[i].pid))
                continue;
            bool belongs = all[i].pid == top || all[i].ppid == top;
            const struct wedge_member key = {.pid = all[i].ppid};
            const struct wedge_member *parent = belongs ? NULL : bsearch(&key, all, n, sizeof(*all), compare_members);
            belongs |= parent && in[parent - all];
            in[i] = belongs;
            grew |= belongs;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (in[i] && (with_top || all[i].pid != top) && all[i].state != 'Z' && all[i].state != 'X')
            all[kept++] = all[i];
    free(in);
    ret->members = all;
    ret->n = kept;
    return 0;
}

void wedge_tree_free(struct wedge_tree *tree)
{
    free(tree->members);
    tree->members = NULL;
    tree->n = 0;
}

/* The process's CPU clock: cheap, and exact to the nanosecond (unlike utime in stat). */
static int64_t cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec ts;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
        return 0;
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t wedge_tree_cpu_ns(const struct wedge_tree *tree)
{
    int64_t sum = 0;
    for (size_t i = 0; i < tree->n; i++)
        sum += cpu_ns(tree->members[i].pid);
    return sum;
}

uint64_t wedge_tree_activity(const struct wedge_tree *tree)
{
    uint64_t hash = 14695981039346656037ull;
    for (size_t i = 0; i < tree->n; i++) {
        const struct wedge_member *m = &tree->members[i];
        hash = (hash ^ (uint64_t)m->pid) * 1099511628211ull;
        hash = (hash ^ m->start_ticks) * 1099511628211ull;
        hash = (hash ^ (uint64_t)cpu_ns(m->pid)) * 1099511628211ull;
    }
    return hash;
}

static void kill_member(const struct wedge_member *m)
{
    struct wedge_member now;
    int fd = pidfd_open(m->pid, 0);
    if (fd < 0)
        return;
    /* The pidfd pins the process; only then is its start time worth comparing. */
    if (read_member(m->pid, &now) == 0 && now.start_ticks == m->start_ticks)
        pidfd_send_signal(fd, SIGKILL, NULL, 0);
    close(fd);
}

size_t wedge_tree_kill(pid_t top, bool with_top, const pid_t *except, size_t n_except, int rounds)
{
    struct wedge_tree tree = {0};
    size_t left = 0;
    for (int round = 0; round < rounds; round++) {
        if (wedge_tree_list(top, with_top, except, n_except, &tree))
            return left;
        left = tree.n;
        for (size_t i = 0; i < tree.n; i++)
            kill_member(&tree.members[i]);
        wedge_tree_free(&tree);
        if (!left)
            return 0;
        /* The kernel needs a moment to take a killed process down; nothing signals that for other people's children. */
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return left;
}

size_t wedge_tree_kill_children(const pid_t *except, size_t n_except)
{
    char text[16384];
    size_t alive = 0;
    ssize_t n = wedge_proc_read(getpid(), gettid(), "children", text, sizeof(text));
    if (n <= 0)
        return 0;
    for (char *at = text, *end;; at = end) {
        siginfo_t info = {0};
        pid_t pid = (pid_t)strtol(at, &end, 10);
        if (end == at || !*end) /* a number that was cut off is another one */
            return alive;
        if (contains(except, n_except, pid))
            continue;
        kill(pid, SIGKILL);
        alive += waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
    }
}
