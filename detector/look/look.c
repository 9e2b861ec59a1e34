#include "detector/look/look.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/elf/elf_file.h"
#include "detector/kernel/sockets.h"
#include "detector/look/compare.h"
#include "detector/look/gather.h"
#include "detector/look/machine.h"
#include "detector/look/members.h"

#define MOST_ROUNDS 5
#define MOST_WANTED 256
#define LEAST_AHEAD 4 /* processes: to start a thread takes as long as to read one */
#define FILES_MAX   1000000
#define FEW_FILES   1000 /* that most looks do with */
#define FILES_LEFT  128 /* for what is opened and closed again, and what the caller has open */

void wedge_look_note(struct wedge_look *look, pid_t pid, const char *step)
{
    if (look->note && gettid() != getpid()) /* a child's first thread is the one that forked */
        wedge_job_other_says(look->note, pid, step);
    else
        wedge_job_says(look->note, pid, step, true);
}

const char *wedge_look_text(struct wedge_look *look, const char *text)
{
    return text && *text ? obstack_copy0(&look->snapshot->mem, text, (int)strlen(text)) : "";
}

const char *wedge_look_textf(struct wedge_look *look, const char *fmt, ...)
{
    char buf[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(buf, sizeof(buf), fmt, args);
    va_end(args);
    return wedge_look_text(look, buf);
}

bool wedge_look_is_blind(const struct wedge_look *look, int thread)
{
    return (look->threads[thread].idle_worker && !look->snapshot->threads[thread].moved) ||
           (look->options->blind_thread && look->snapshot->threads[thread].tid == look->options->blind_thread);
}

/* Where in the snapshot the process of a number is, + 1; 0 nobody. Of a size that is a power of 2, at most half full. */
struct wedge_look_index {
    size_t size, n; /* n: the snapshot's first ones are in it */
    int slots[];
};

static int *slot_of(struct wedge_look_index *index, const struct wedge_snapshot *s, pid_t pid)
{
    size_t at = (uint32_t)pid * 0x9e3779b9u;
    while (index->slots[at & (index->size - 1)] && s->procs[index->slots[at & (index->size - 1)] - 1].pid != pid)
        at++;
    return &index->slots[at & (index->size - 1)];
}

/* Puts in whoever was added to the snapshot since. Without memory there is none. */
static void bring_up_to_date(struct wedge_look *look)
{
    const struct wedge_snapshot *s = look->snapshot;
    struct wedge_look_index *index = look->index;
    if (!index || index->size < 2 * s->n_procs) {
        size_t size = 256;
        while (size < 4 * s->n_procs)
            size *= 2;
        free(index);
        look->index = index = calloc(1, sizeof(*index) + size * sizeof(int));
        if (!index)
            return;
        index->size = size;
    }
    for (; index->n < s->n_procs; index->n++) {
        int *slot = slot_of(index, s, s->procs[index->n].pid);
        *slot = *slot ? *slot : (int)index->n + 1;
    }
}

int wedge_look_proc_of(const struct wedge_look *look, pid_t pid)
{
    const struct wedge_snapshot *s = look->snapshot;
    if (look->index && look->index->n == s->n_procs)
        return *slot_of(look->index, s, pid) - 1;
    for (size_t i = 0; i < s->n_procs; i++)
        if (s->procs[i].pid == pid)
            return (int)i;
    return -1;
}

int wedge_look_thread_of(const struct wedge_look *look, int proc, pid_t ns_tid)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    for (int i = p->first_thread; i < p->first_thread + p->n_threads; i++)
        if (look->threads[i].status.ns_tid == ns_tid)
            return i;
    return -1;
}

int wedge_look_want(struct wedge_look *look, pid_t pid)
{
    int proc = wedge_look_proc_of(look, pid);
    if (proc >= 0)
        return proc;
    for (size_t i = 0; i < look->n_wanted; i++)
        if (look->wanted[i] == pid)
            return -1;
    if (look->n_wanted == MOST_WANTED)
        return -1;
    if (look->n_wanted == look->cap_wanted) {
        size_t cap = look->cap_wanted ? look->cap_wanted * 2 : 16;
        pid_t *more = realloc(look->wanted, cap * sizeof(*more));
        if (!more)
            return -1;
        look->wanted = more;
        look->cap_wanted = cap;
    }
    look->wanted[look->n_wanted++] = pid;
    look->found_new = true;
    return -1;
}

void wedge_look_share(const struct wedge_look *look, size_t n, wedge_share_fn *work, void *arg)
{
    enum { LEAST = 48, PIECE = 4 }; /* to start a thread takes as long as to read three */
    wedge_share(n, look->options->brief || n < LEAST ? n : PIECE, work, arg);
}

/* ---- pass A ---- */

/* What is kept open between the passes. */
static void close_files(struct wedge_look *look)
{
    for (size_t i = 0; i < look->snapshot->n_threads; i++)
        wedge_reading_close(&look->threads[i].kept);
    for (size_t i = 0; i < look->snapshot->n_procs; i++)
        wedge_gather_close(&look->procs[i]);
}

/* What was decoded in a round before is forgotten. What was read of threads is not: it only makes pass A longer. */
static void forget_decoded(struct wedge_look *look)
{
    for (size_t i = 0; i < look->snapshot->n_procs; i++) {
        struct wedge_look_proc *own = &look->procs[i];
        free(own->fds);
        free(own->maps.maps);
        free(own->maps.text);
        own->fds = NULL;
        own->maps = (struct wedge_map_set){0};
        own->n_fds = 0;
        own->sockets = NULL;
        own->fds_read = own->maps_read = own->async = false;
    }
    for (size_t i = 0; i < look->snapshot->n_threads; i++) {
        struct wedge_look_thread *own = &look->threads[i], old = *own;
        *own = (struct wedge_look_thread){.status = old.status, .kept = old.kept, .owner = -1};
        memcpy(own->wchan, old.wchan, sizeof(own->wchan));
        look->snapshot->threads[i].wait = (struct wedge_wait){.earliest_ns = INT64_MAX, .call = "", .reason = ""};
    }
    look->n_wakers = 0;
    wedge_memory_forget(look);
    wedge_machine_forget(look);
}

static bool is_wanted(const struct wedge_look *look, const struct wedge_machine_proc *m)
{
    bool wanted = m->tree;
    for (size_t i = 0; i < look->n_wanted && !wanted && !m->blind; i++)
        wanted = look->wanted[i] == m->pid;
    return wanted && wedge_look_proc_of(look, m->pid) < 0;
}

/* Reads the tree and, from the second round on, those besides who may wake one of its threads. */
static int pass_a(struct wedge_look *look)
{
    forget_decoded(look);
    int rc = wedge_machine_read(look, false);
    const struct wedge_machine_proc **wanted =
        rc ? NULL : calloc(look->n_machine + 1, sizeof(struct wedge_machine_proc *));
    size_t n = 0;
    if (!wanted)
        return rc ? rc : -ENOMEM;
    /* The root first, so that it is procs[0]. */
    bool rooted = look->options->members != WEDGE_MEMBERS_OF_USER;
    if (rooted && !look->snapshot->n_procs)
        wanted[n++] = wedge_look_machine_of(look, look->options->root);
    for (size_t i = 0; i < look->n_machine; i++)
        if (is_wanted(look, &look->machine[i]) && (!n || &look->machine[i] != wanted[0]))
            wanted[n++] = &look->machine[i];
    rc = wedge_gather(look, wanted, n);
    free(wanted);
    if (!rc && (!look->snapshot->n_procs || (rooted && look->snapshot->procs[0].pid != look->options->root)))
        rc = -ESRCH;
    return rc;
}

/* The calls of the root may not be read: then there is nothing to say about it. */
static bool is_forbidden(const struct wedge_look *look)
{
    const struct wedge_proc *root = wedge_members_root(look);
    return root && root->n_threads && !look->procs[0].zombie && look->snapshot->threads[0].syscall == -2 && *root->note;
}

static bool is_kernels(const struct wedge_look *look)
{
    const struct wedge_machine_proc *m =
        wedge_members_root(look) ? wedge_look_machine_of(look, look->options->root) : NULL;
    return m && m->kernel;
}

static int explain(const struct wedge_look *look, int rc, struct wedge_err *err)
{
    const int number = (int)look->options->root;
    if (rc == -ESRCH && look->options->members == WEDGE_MEMBERS_OF_USER)
        return wedge_err_set(err, rc, "user %u has no process", (unsigned)look->options->user);
    if (look->options->members == WEDGE_MEMBERS_OF_USER)
        return wedge_err_set(err, rc, "cannot look at the processes of user %u: %s", (unsigned)look->options->user,
                             strerror(-rc));
    if (rc == -ESRCH)
        return wedge_err_set(err, rc, "there is no process %d", number);
    if (rc == -ENOEXEC) {
        wedge_err_set(
            err, rc, "%d is a thread of the kernel's: it has no program, and no wait that a program could end", number);
        wedge_err_remedy(err, "/proc/%d/stack tells root where it is", number);
        return rc;
    }
    if (rc == -EPERM) {
        wedge_err_set(err, rc, "process %d may not be looked at: no permission", number);
        wedge_err_remedy(err, "run as its user or as root; if that is so, see kernel.yama.ptrace_scope");
        return rc;
    }
    return wedge_err_set(err, rc, "cannot look at process %d: %s", number, strerror(-rc));
}

/* The numbers in /proc are of the PID namespace that it was mounted in, which need not be ours (pid_namespaces(7)): we
 * would look at another process than was asked for. */
static int check_proc(struct wedge_err *err)
{
    char text[32] = "";
    ssize_t len = readlink("/proc/self", text, sizeof(text) - 1);
    if (len > 0 && atoi(text) == getpid())
        return 0;
    wedge_err_set(err, -EXDEV, len > 0 ? "/proc is of another PID namespace" : "/proc is not mounted");
    wedge_err_remedy(err, "mount -t proc proc /proc");
    return -EXDEV;
}

int wedge_look_twice(struct wedge_look *look, int (*decode)(struct wedge_look *), struct wedge_err *err)
{
    if (check_proc(err))
        return -EXDEV;
    int rc;
    wedge_compare_begin(look);
    /* As many files as we may have: two for each thread. */
    struct rlimit before = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    getrlimit(RLIMIT_NOFILE, &before);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max});
    look->spare_files = (long)(before.rlim_max < FILES_MAX ? before.rlim_max : FILES_MAX) - FILES_LEFT;
    wedge_gather_room(FEW_FILES);
    for (int round = 0;; round++) {
        rc = pass_a(look);
        if (rc)
            break;
        if (is_forbidden(look) || is_kernels(look)) {
            rc = is_kernels(look) ? -ENOEXEC : -EPERM;
            break;
        }
        bring_up_to_date(look);
        look->found_new = false;
        look->snapshot->taken_ns = wedge_clock_ns();
        rc = decode(look);
        if (rc || !look->found_new || round + 1 == MOST_ROUNDS)
            break;
    }
    if (!rc)
        rc = wedge_compare(look);
    close_files(look);
    setrlimit(RLIMIT_NOFILE, &before);
    wedge_look_note(look, 0, "done");
    return rc ? explain(look, rc, err) : 0;
}

/* ---- descriptors and mappings ---- */

int wedge_look_fds(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    if (!own->fds_read) {
        pid_t pid = look->snapshot->procs[proc].pid;
        wedge_look_note(look, pid, "descriptors");
        own->fds_read = true;
        own->fds_error = own->skipped ? -EACCES : wedge_fds_read(pid, own->reader, &own->fds, &own->n_fds);
        if (!own->fds_error && wedge_machine_has_tables(look, proc)) {
            own->fds_error = -EMLINK;
            own->async = true; /* perhaps in one of them */
        }
        for (size_t i = 0; i < own->n_fds; i++)
            own->async |= own->fds[i].kind == WEDGE_FD_ASYNC;
    }
    return own->fds_error;
}

static int read_maps(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    pid_t pid = look->snapshot->procs[proc].pid;
    size_t lines = 0;
    wedge_look_note(look, pid, "mappings");
    ssize_t len = own->skipped ? -EACCES : wedge_proc_read_all(pid, own->reader, "maps", 8u << 20, &own->maps.text);
    if (len < 0)
        return (int)len;
    for (const char *c = own->maps.text; *c; c++)
        lines += *c == '\n';
    own->maps.maps = calloc(lines + 1, sizeof(*own->maps.maps));
    if (!own->maps.maps)
        return -ENOMEM;
    for (char *line = own->maps.text, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = '\0';
        struct wedge_proc_map *map = &own->maps.maps[own->maps.n];
        if (wedge_proc_map_parse(line, map))
            continue;
        own->maps.n++;
        own->async |= strstr(map->path, "[io_uring]") || strstr(map->path, "/[aio]");
    }
    return 0;
}

int wedge_look_maps(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    if (!own->maps_read) {
        own->maps_read = true;
        own->maps_error = read_maps(look, proc);
    }
    return own->maps_error;
}

struct ahead {
    struct wedge_look *look;
    int procs[];
};

/* wedge_share_fn. Whoever of the two threads is done is at no process any more: then the other one's word counts. */
static void read_ahead(void *arg, size_t i)
{
    const struct ahead *ahead = arg;
    wedge_look_maps(ahead->look, ahead->procs[i]);
    wedge_look_fds(ahead->look, ahead->procs[i]);
    wedge_look_note(ahead->look, 0, "descriptors and mappings");
}

void wedge_look_ahead(struct wedge_look *look)
{
    const struct wedge_snapshot *s = look->snapshot;
    struct ahead *ahead = look->note ? malloc(sizeof(*ahead) + s->n_procs * sizeof(int)) : NULL;
    size_t n = 0;
    if (!ahead)
        return;
    ahead->look = look;
    for (size_t i = 0; i < s->n_procs; i++)
        if (s->procs[i].in_tree)
            ahead->procs[n++] = (int)i;
    mallopt(M_ARENA_MAX, 1); /* a second thread makes no memory of its own, which takes longer than all it will do */
    if (n >= LEAST_AHEAD)
        wedge_share(n, 1, read_ahead, ahead);
    free(ahead);
}

const struct wedge_proc_map *wedge_look_map_at(struct wedge_look *look, int proc, uint64_t address)
{
    if (wedge_look_maps(look, proc))
        return NULL;
    const struct wedge_map_set *set = &look->procs[proc].maps;
    size_t low = 0, high = set->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (address >= set->maps[mid].end)
            low = mid + 1;
        else
            high = mid;
    }
    return low < set->n && address >= set->maps[low].start ? &set->maps[low] : NULL;
}

void wedge_look_free(struct wedge_look *look)
{
    size_t n = look->snapshot ? look->snapshot->n_procs : 0;
    for (size_t i = 0; i < n && look->procs; i++) {
        free(look->procs[i].fds);
        free(look->procs[i].maps.maps);
        free(look->procs[i].maps.text);
    }
    free(look->procs);
    free(look->threads);
    free(look->machine);
    wedge_memory_forget(look);
    free(look->ends);
    free(look->mappings);
    free(look->carriers);
    wedge_machine_forget(look);
    free(look->wanted);
    free(look->index);
    free(look->wakers);
}
