/*
 * The machine as a whole: which processes there are, which belong to the tree, and who holds what may be shared.
 * Possible wakers are looked for here and not in the tree alone: a pipe's other end may be anybody's.
 *
 * Invariant: what could not be read is counted (hidden_…), so that nobody mistakes it for "nobody holds it".
 */
#include "detector/look/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "detector/kernel/sockets.h"
#include "detector/look/compare.h"
#include "detector/look/kin.h"
#include "detector/look/members.h"

#define MOST_ENDS       1048576
#define MOST_MAPS_BYTES (8u << 20)
enum { MOST_NEWCOMERS = 256 }; /* born while one round looks; more are a storm, and count as not to be read */

static int compare_machine(const void *a, const void *b)
{
    const struct wedge_machine_proc *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static struct wedge_machine_proc *find(struct wedge_look *look, pid_t pid)
{
    struct wedge_machine_proc key = {.pid = pid};
    if (!look->n_machine)
        return NULL;
    return bsearch(&key, look->machine, look->n_machine, sizeof(key), compare_machine);
}

const struct wedge_machine_proc *wedge_look_machine_of(const struct wedge_look *look, pid_t pid)
{
    return find((struct wedge_look *)look, pid);
}

static bool is_listed(const pid_t *list, size_t n, pid_t pid)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == pid)
            return true;
    return false;
}

/* (uid_t)-1: not known, nobody's. */
static uid_t user_of(pid_t pid)
{
    char text[4096];
    struct wedge_proc_status status;
    return wedge_proc_read(pid, 0, "status", text, sizeof(text)) > 0 && wedge_proc_status_parse(text, &status) == 0
               ? status.uid
               : (uid_t)-1;
}

struct listing {
    const struct wedge_look *look;
    int dir; /* /proc */
    struct wedge_machine_proc *all; /* pid 0: to be left out */
};

/* wedge_share_fn: reads one that has its pid and nothing else. */
static void read_one(void *arg, size_t i)
{
    const struct listing *listing = arg;
    struct wedge_machine_proc *p = &listing->all[i];
    const pid_t pid = p->pid;
    char text[1024];
    struct wedge_proc_stat stat;
    if (p->start_ticks) /* kept */
        return;
    p->pid = 0;
    if (wedge_proc_read_at(listing->dir, pid, "stat", text, sizeof(text)) < 0 || wedge_proc_stat_parse(text, &stat))
        return;
    *p = (struct wedge_machine_proc){
        .pid = pid,
        .ppid = stat.ppid,
        .pgrp = stat.pgrp,
        .session = stat.session,
        .start_ticks = stat.start_ticks,
        .stack = stat.stack,
        .state = stat.state,
        .threads = stat.threads,
        .kernel = stat.kernel,
        .uid = listing->look->options->members == WEDGE_MEMBERS_OF_USER ? user_of(pid) : 0,
    };
}

/* Who is no member, and has had its number since before the first list, has none by now: only a member's child is one. (By
 * group, session or user it could have become one meanwhile.) */
static bool is_still_none(const struct wedge_look *look, const struct wedge_machine_proc *old, uint64_t last_born)
{
    return old && !old->tree && look->options->members == WEDGE_MEMBERS_OF_ROOT && look->last_born &&
           last_born >= look->last_born && ((uint64_t)old->pid <= look->last_born || (uint64_t)old->pid > last_born);
}

int wedge_machine_read(struct wedge_look *look, bool again)
{
    pid_t *pids = NULL;
    size_t n = 0;
    int dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = dir < 0 ? -errno : wedge_proc_list_at(dir, WEDGE_MACHINE_MOST, &pids, &n);
    struct wedge_machine_proc *old = NULL;
    size_t n_old = 0;
    if (rc)
        goto out;
    /* After the list: who is in it was born before. */
    uint64_t last_born = again ? wedge_compare_last_born() : 0;
    struct wedge_machine_proc *all = calloc(n, sizeof(*all));
    rc = all ? 0 : -ENOMEM;
    if (rc)
        goto out;
    for (size_t i = 0; i < n; i++) {
        const struct wedge_machine_proc *before = again ? find(look, pids[i]) : NULL;
        all[i].pid = pids[i];
        if (is_still_none(look, before, last_born))
            all[i] = *before;
    }
    struct listing listing = {look, dir, all};
    wedge_look_share(look, n, read_one, &listing);
    size_t n_all = 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].pid)
            all[n_all++] = all[i];
    old = look->machine;
    n_old = look->n_machine;
    look->machine = all;
    look->n_machine = n_all;
    rc = wedge_members_mark(look, old, n_old);
out:
    free(old);
    if (dir >= 0)
        close(dir);
    free(pids);
    return rc;
}

/* A process above the root: what it opened, the tree may have inherited. Above all of a user's may be anybody else. */
static bool is_above(struct wedge_look *look, pid_t pid)
{
    pid_t up = look->options->root;
    if (look->options->members == WEDGE_MEMBERS_OF_USER)
        return true;
    for (int depth = 0; depth < 1000; depth++) {
        const struct wedge_machine_proc *p = find(look, up);
        if (!p || p->ppid <= 0)
            return false;
        if (p->ppid == pid)
            return true;
        up = p->ppid;
    }
    return true;
}

/* Somebody else's processes (init, sshd) are unreadable for every ordinary user. Outside the tree they can have what
 * the tree has only by inheritance or by message: mappings do not survive exec, and an inherited pipe is one that the
 * root has as a standard stream (wait/pipe.c asks). The rest is the assumption complete-view.
 * Among all of a user's the same holds of one that nobody of them has started. */
static void hide(struct wedge_look *look, const struct wedge_machine_proc *p, bool *hidden)
{
    const struct wedge_machine_proc *parent = find(look, p->ppid);
    if (p->tree && (look->options->members != WEDGE_MEMBERS_OF_USER || (parent && parent->tree)))
        *hidden = true;
    else
        look->hidden_elsewhere = true;
    look->hidden_above |= !p->tree && is_above(look, p->pid);
}

static int add(struct wedge_machine_end **table, size_t *n, size_t *cap, struct wedge_machine_end end, bool merge)
{
    if (*n && merge && (*table)[*n - 1].pid == end.pid && (*table)[*n - 1].dev == end.dev &&
        (*table)[*n - 1].inode == end.inode) {
        (*table)[*n - 1].readable |= end.readable;
        (*table)[*n - 1].writable |= end.writable;
        return 0;
    }
    if (*n == MOST_ENDS)
        return -EOVERFLOW;
    if (*n == *cap) {
        size_t more_cap = *cap ? *cap * 2 : 256;
        struct wedge_machine_end *more = realloc(*table, more_cap * sizeof(*more));
        if (!more)
            return -ENOMEM;
        *table = more;
        *cap = more_cap;
    }
    (*table)[(*n)++] = end;
    return 0;
}

static int compare_ends(const void *a, const void *b)
{
    const struct wedge_machine_end *x = a, *y = b;
    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool is_gone(int error)
{
    return error == -ENOENT || error == -ESRCH;
}

pid_t wedge_machine_reader(const struct wedge_machine_proc *p)
{
    if (p->state != 'Z')
        return 0;
    pid_t *tids = NULL, reader = 0;
    size_t n = 0;
    if (wedge_proc_list(p->pid, WEDGE_MACHINE_MOST, &tids, &n))
        return 0;
    reader = n > 1 ? tids[n - 1] : 0;
    free(tids);
    return reader;
}

static bool has_files(const struct wedge_machine_proc *p)
{
    return !p->kernel && p->state != 'X' && !(p->state == 'Z' && p->threads <= 1);
}

/* Has this thread another table of descriptors than its process's, and something in it? (One that is ending has none.) Where
 * nobody knows it has. Freed by the caller. */
static bool has_own_table(pid_t pid, pid_t reader, pid_t tid, struct wedge_fd **ret, size_t *ret_n)
{
    *ret = NULL;
    *ret_n = 0;
    long same = syscall(SYS_kcmp, reader ? reader : pid, tid, KCMP_FILES, 0, 0);
    if (same == 0 || (same < 0 && errno == ESRCH))
        return false;
    int rc = wedge_fds_read(pid, tid, ret, ret_n);
    return rc ? !is_gone(rc) : *ret_n > 0;
}

bool wedge_machine_has_tables(const struct wedge_look *look, int proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    pid_t reader = look->procs[proc].reader;
    bool any = false;
    for (int i = p->first_thread; i < p->first_thread + p->n_threads && p->n_threads > 1 && !any; i++) {
        struct wedge_fd *fds;
        size_t n;
        any = has_own_table(p->pid, reader, look->snapshot->threads[i].tid, &fds, &n);
        free(fds);
    }
    return any;
}

/* What one process has is added to a table. */
typedef void asking(struct wedge_look *look, const struct wedge_machine_proc *p);

static int add_ends(struct wedge_look *look, pid_t pid, const struct wedge_fd *fds, size_t n)
{
    int rc = 0;
    for (size_t k = 0; k < n && !rc; k++)
        if (fds[k].kind != WEDGE_FD_OTHER)
            rc = add(&look->ends, &look->n_ends, &look->cap_ends,
                     (struct wedge_machine_end){.dev = fds[k].dev,
                                                .inode = fds[k].inode,
                                                .pid = pid,
                                                .number = fds[k].number,
                                                .readable = fds[k].readable,
                                                .writable = fds[k].writable},
                     wedge_fds_is_keyed(fds[k].kind));
    return rc;
}

/* It has one thread: now, and not when the list of processes was read, for that is past when its own table is read. The links of
 * the folder are two and one for each thread (proc_task_getattr, fs/proc/base.c). */
static bool is_alone(pid_t pid)
{
    char path[64];
    struct stat st;
    wedge_proc_path(pid, 0, "task", path, sizeof(path));
    return stat(path, &st) == 0 && st.st_nlink == 3;
}

/* What threads have that have tables of their own, or that are left when the leader has ended. What only kcmp(2) can tell from
 * another one, and what is on its way in a socket, is asked for by the process's numbers: then somebody is not to be read. */
static int add_own_tables(struct wedge_look *look, const struct wedge_machine_proc *p, pid_t reader)
{
    pid_t *tids = NULL;
    size_t n_tids = 0;
    int rc = is_alone(p->pid) ? 0 : wedge_proc_list(p->pid, WEDGE_MACHINE_MOST, &tids, &n_tids);
    for (size_t i = 0; i < n_tids && !rc; i++) {
        struct wedge_fd *fds;
        size_t n;
        if (has_own_table(p->pid, reader, tids[i], &fds, &n)) {
            rc = n ? add_ends(look, p->pid, fds, n) : -EACCES;
            for (size_t k = 0; k < n; k++)
                if (fds[k].kind == WEDGE_FD_SOCKET ||
                    (fds[k].kind != WEDGE_FD_OTHER && !wedge_fds_is_keyed(fds[k].kind)))
                    hide(look, p, &look->hidden_ends);
        }
        free(fds);
    }
    free(tids);
    return rc;
}

static void ask_ends(struct wedge_look *look, const struct wedge_machine_proc *p)
{
    struct wedge_fd *fds = NULL;
    size_t n = 0;
    pid_t reader = wedge_machine_reader(p);
    wedge_look_note(look, p->pid, "descriptors");
    int rc = is_listed(look->options->skip, look->options->n_skip, p->pid) ? -EACCES
                                                                           : wedge_fds_read(p->pid, reader, &fds, &n);
    if (!rc)
        rc = add_ends(look, p->pid, fds, n);
    if (!rc)
        rc = add_own_tables(look, p, reader);
    free(fds);
    if (rc && !is_gone(rc))
        hide(look, p, &look->hidden_ends);
}

/* Through the first thread that has any: a leader that has ended since the list was read has none. */
static ssize_t read_mappings_of(const struct wedge_machine_proc *p, char **ret)
{
    pid_t *tids = NULL;
    size_t n = 0;
    ssize_t len = wedge_proc_read_all(p->pid, wedge_machine_reader(p), "maps", MOST_MAPS_BYTES, ret);
    if (len || is_alone(p->pid) || wedge_proc_list(p->pid, WEDGE_MACHINE_MOST, &tids, &n))
        return len;
    for (size_t i = 0; i < n && len == 0; i++) {
        free(*ret);
        *ret = NULL;
        len = wedge_proc_read_all(p->pid, tids[i], "maps", MOST_MAPS_BYTES, ret);
    }
    free(tids);
    return len;
}

static void ask_mappings(struct wedge_look *look, const struct wedge_machine_proc *p)
{
    char *text = NULL;
    wedge_look_note(look, p->pid, "mappings");
    ssize_t len = is_listed(look->options->skip, look->options->n_skip, p->pid) ? -EACCES : read_mappings_of(p, &text);
    int rc = len < 0 ? (int)len : len >= (ssize_t)MOST_MAPS_BYTES ? -EOVERFLOW : 0;
    for (char *line = text, *next; line && *line && !rc; line = next) {
        struct wedge_proc_map map;
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (wedge_proc_map_parse(line, &map) == 0 && map.shared && map.inode)
            rc = add(&look->mappings, &look->n_mappings, &look->cap_mappings,
                     (struct wedge_machine_end){.dev = (uint64_t)map.dev_major << 32 | map.dev_minor,
                                                .inode = map.inode,
                                                .pid = p->pid,
                                                .mapping = true},
                     true);
        if (!next)
            break;
    }
    free(text);
    if (rc && !is_gone(rc))
        hide(look, p, &look->hidden_mappings);
}

/* Asks those in a new list whom no list had before. False: there was nobody, or it cannot be known. */
static bool ask_unlisted(struct wedge_look *look, asking *ask, pid_t known[MOST_NEWCOMERS], size_t *n_known,
                         bool *ret_hidden)
{
    pid_t *pids = NULL;
    size_t n = 0, before = *n_known;
    int dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *ret_hidden = dir < 0 || wedge_proc_list_at(dir, WEDGE_MACHINE_MOST, &pids, &n) != 0;
    for (size_t i = 0; i < n && !*ret_hidden; i++) {
        if (find(look, pids[i]) || is_listed(known, before, pids[i]))
            continue;
        if ((*ret_hidden = *n_known == MOST_NEWCOMERS))
            break;
        struct wedge_machine_proc p = {.pid = known[(*n_known)++] = pids[i]};
        read_one(&(struct listing){look, dir, &p}, 0);
        const struct wedge_machine_proc *parent = p.pid ? find(look, p.ppid) : NULL;
        p.tree = parent && parent->tree;
        if (p.pid && has_files(&p) && !(parent && parent->blind))
            ask(look, &p);
    }
    if (dir >= 0)
        close(dir);
    free(pids);
    return !*ret_hidden && *n_known > before;
}

/* All in the list, and whoever was born since: it may have from its parent what nobody else has any more, and the parent may be
 * gone before it was asked. When a list has nobody new, everyone in it was asked after birth. */
static void ask_all(struct wedge_look *look, asking *ask, bool *ret_hidden)
{
    pid_t known[MOST_NEWCOMERS];
    size_t n_known = 0;
    bool hidden = false;
    for (size_t i = 0; i < look->n_machine; i++)
        if (has_files(&look->machine[i]))
            ask(look, &look->machine[i]);
    if (look->core || wedge_compare_is_barren(look))
        return;
    while (ask_unlisted(look, ask, known, &n_known, &hidden))
        ;
    *ret_hidden |= hidden;
}

static void read_ends(struct wedge_look *look)
{
    look->ends_read = true;
    look->n_ends = 0;
    ask_all(look, ask_ends, &look->hidden_ends);
    if (look->n_ends)
        qsort(look->ends, look->n_ends, sizeof(*look->ends), compare_ends);
}

static void read_mappings(struct wedge_look *look)
{
    look->mappings_read = true;
    look->n_mappings = 0;
    ask_all(look, ask_mappings, &look->hidden_mappings);
    if (look->n_mappings)
        qsort(look->mappings, look->n_mappings, sizeof(*look->mappings), compare_ends);
}

static const struct wedge_machine_end *slice(const struct wedge_machine_end *table, size_t n, uint64_t dev,
                                             uint64_t inode, size_t *ret_n)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (table[mid].dev < dev || (table[mid].dev == dev && table[mid].inode < inode))
            low = mid + 1;
        else
            high = mid;
    }
    size_t end = low;
    while (end < n && table[end].dev == dev && table[end].inode == inode)
        end++;
    *ret_n = end - low;
    return table ? table + low : NULL;
}

const struct wedge_machine_end *wedge_look_ends(struct wedge_look *look, uint64_t dev, uint64_t inode, size_t *ret_n)
{
    if (!look->ends_read)
        read_ends(look);
    return slice(look->ends, look->n_ends, dev, inode, ret_n);
}

const struct wedge_machine_end *wedge_look_mappings(struct wedge_look *look, uint64_t dev, uint64_t inode,
                                                    size_t *ret_n)
{
    if (!look->mappings_read)
        read_mappings(look);
    return slice(look->mappings, look->n_mappings, dev, inode, ret_n);
}

struct tracing {
    struct wedge_look *look;
    int dir; /* /proc */
    pid_t *tracers; /* by process of the machine, 0 none */
};

/* wedge_share_fn: the tracer of a process's leader. Of those that were read it is known. */
static void find_tracer(void *arg, size_t i)
{
    const struct tracing *t = arg;
    const struct wedge_machine_proc *m = &t->look->machine[i];
    char text[16384];
    struct wedge_proc_status status;
    int proc = m->kernel || m->blind ? -1 : wedge_look_proc_of(t->look, m->pid);
    if (m->kernel || m->blind)
        t->tracers[i] = 0;
    else if (proc >= 0 && t->look->snapshot->procs[proc].n_threads)
        t->tracers[i] = t->look->threads[t->look->snapshot->procs[proc].first_thread].status.tracer;
    else if (wedge_proc_read_at(t->dir, m->pid, "status", text, sizeof(text)) > 0 &&
             wedge_proc_status_parse(text, &status) == 0)
        t->tracers[i] = status.tracer;
}

bool wedge_look_traces(struct wedge_look *look, pid_t pid)
{
    if (!look->tracers_read) {
        struct tracing t = {look, open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                            calloc(look->n_machine + 1, sizeof(*look->tracers))};
        look->tracers = t.tracers;
        look->tracers_read = t.dir >= 0 && t.tracers;
        if (look->tracers_read)
            wedge_look_share(look, look->n_machine, find_tracer, &t);
        if (t.dir >= 0)
            close(t.dir);
        if (!look->tracers_read) {
            free(look->tracers);
            look->tracers = NULL;
            return true; /* nobody knows */
        }
    }
    return is_listed(look->tracers, look->n_machine, pid);
}

void wedge_machine_forget(struct wedge_look *look)
{
    wedge_kin_forget(look);
    free(look->tracers);
    look->tracers = NULL;
    look->tracers_read = false;
    wedge_sockets_free(look->sockets);
    look->sockets = NULL;
    look->ends_read = look->mappings_read = look->carriers_read = look->hidden_carriers = false;
    look->hidden_ends = look->hidden_mappings = look->hidden_above = look->hidden_elsewhere = false;
}
