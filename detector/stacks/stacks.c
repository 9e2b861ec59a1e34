#include "detector/stacks/stacks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "detector/core/core_file.h"
#include "detector/elf/elf_file.h"
#include "detector/stacks/capture.h"
#include "detector/stacks/disturb.h"
#include "detector/stacks/parcel.h"
#include "detector/stacks/sandbox.h"

#define STOP_DEADLINE_MS       100
#define STUCK_STOP_DEADLINE_MS 2000
#define NAMES_DEADLINE_MS      10000
#define MOST_MAPS              32768 /* of more the look may have left some out */
#define FEW_THREADS            256
#define MOST_TRIES             8 /* children for one user; each but the last gives up one process */
#define WANTS_PER_THREAD       (WEDGE_UNWIND_WINDOWS_MAX - 1)
/* libelf and libdw decompress and index what a file says is there. */
#define DATA_BYTES ((uint64_t)1 << 30)
#define MAP_BYTES  ((uint64_t)16 << 30)

struct wedge_stacking {
    struct wedge_look *look;
    struct wedge_snapshot *snapshot;
    size_t n_procs, n_threads; /* that there is room for in the three arrays */
    struct wedge_capture **captures; /* by process, NULL none */
    bool *open; /* by process: to be unwound by the next child */
    unsigned char *wants; /* by thread: how often more was asked for */
    int link[2]; /* answers: [0] is the child's */
    int64_t deadline_ns;
    /* The child that begins before the stops, with the processes of one user. */
    struct wedge_capture_ask *asks;
    size_t n_asks;
    struct wedge_capture_room room;
    bool early; /* it was begun */
    bool ahead; /* and has time before the stops */
    int first; /* a process of its user */
    int ready[2]; /* the numbers of the processes whose copies are there: [0] is the child's */
    struct wedge_job job;
};

struct answer { /* to a WANT; the bytes follow */
    uint64_t had, from, len;
};

static bool has_one(const struct wedge_snapshot *s, int proc, const int *threads, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s->threads[threads[i]].proc == proc)
            return true;
    return false;
}

/* Who waits, and who of the living could have acted: the owner of a lock that fork copied is in another process than its victim. */
static bool has_parties(const struct wedge_snapshot *s, int proc)
{
    for (size_t i = 0; i < s->n_verdicts; i++) {
        const struct wedge_verdict *v = &s->verdicts[i];
        if (wedge_verdict_is_hang(v->kind) &&
            (has_one(s, proc, v->victims, v->n_victims) || has_one(s, proc, v->culprits, v->n_culprits)))
            return true;
    }
    return false;
}

/* `why` for all threads of a process, or for those without frames. */
static void note_failure(struct wedge_look *look, size_t proc, const char *why, bool all)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    const char *note = wedge_look_textf(look, "no stack: %s", why);
    for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++)
        if (all || (!look->snapshot->threads[t].n_frames && !*look->snapshot->threads[t].stack_note))
            look->snapshot->threads[t].stack_note = note;
}

/* A process in which nothing is live loses nothing by standing still. */
static bool is_live(const struct wedge_look *look, size_t proc)
{
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++)
        if (look->snapshot->threads[t].live)
            return true;
    return false;
}

/* How long a process may be kept stopped. On a busy machine a thread may well take longer than the usual patience to come to
 * its stop: a stack less would be a report less, and another signature. */
static int patience_ms(const struct wedge_look *look, size_t proc)
{
    int given = look->options->stop_deadline_ms ? look->options->stop_deadline_ms : STOP_DEADLINE_MS;
    return is_live(look, proc) || given > STUCK_STOP_DEADLINE_MS ? given : STUCK_STOP_DEADLINE_MS;
}

/* Is the stack of this process asked for? */
static bool is_wanted(const struct wedge_stacking *stacks, size_t proc, bool all)
{
    const struct wedge_look_proc *own = &stacks->look->procs[proc];
    return stacks->snapshot->procs[proc].in_tree && !own->skipped && !own->zombie &&
           (all || has_parties(stacks->snapshot, (int)proc));
}

/* Would the stop end a wait that there is no need to end yet? */
static bool is_spared(const struct wedge_stacking *stacks, size_t proc, bool all)
{
    const struct wedge_proc *p = &stacks->snapshot->procs[proc];
    if (all || !stacks->look->options->gentle)
        return false;
    for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++)
        if (wedge_stop_ends_wait(&stacks->snapshot->threads[t]))
            return true;
    return false;
}

static int begin_early(void *arg);
static void drop_early(struct wedge_stacking *stacks);

/* The stacks that are asked for. Whether something of them is live. */
static bool list_asks(struct wedge_stacking *stacks, bool all, struct wedge_capture_ask *asks, size_t *ret_n)
{
    struct wedge_look *look = stacks->look;
    bool live = false;
    *ret_n = 0;
    for (size_t i = 0; i < stacks->snapshot->n_procs; i++)
        if (is_wanted(stacks, i, all) && is_spared(stacks, i, all)) {
            note_failure(look, i, WEDGE_STACKS_SPARED, true);
        } else if (is_wanted(stacks, i, all)) {
            asks[(*ret_n)++] = (struct wedge_capture_ask){.proc = (int)i, .deadline_ms = patience_ms(look, i)};
            live |= is_live(look, i);
        }
    return live;
}

/* Is what was begun before the verdict what it asks for? What lives may have mapped something since. */
static bool is_as_begun(const struct wedge_stacking *stacks, const struct wedge_capture_ask *asks, size_t n, bool live)
{
    if (live || n != stacks->n_asks)
        return false;
    for (size_t i = 0; i < n; i++)
        if (asks[i].proc != stacks->asks[i].proc)
            return false;
    return true;
}

static void capture_live(struct wedge_stacking *stacks, bool all)
{
    struct wedge_look *look = stacks->look;
    struct wedge_capture_ask *asks = calloc(stacks->snapshot->n_procs + 1, sizeof(*asks));
    const struct wedge_capture_early early = {.begin = begin_early, .arg = stacks};
    size_t n = 0;
    bool live = asks && list_asks(stacks, all, asks, &n);
    if (stacks->early && is_as_begun(stacks, asks, n, live)) {
        for (size_t i = 0; i < n; i++)
            stacks->asks[i].deadline_ms = asks[i].deadline_ms;
        wedge_capture_stop(stacks->snapshot, stacks->asks, n, look->note, &stacks->room);
        free(asks);
    } else {
        drop_early(stacks);
        stacks->asks = asks;
        stacks->n_asks = n;
        /* Who works beside the stops makes them longer (of 66 threads 0.6 ms in the place of 0.45): not where something is live. */
        if (n)
            wedge_capture_procs(stacks->snapshot, asks, n, look->note, live ? NULL : &early);
    }
    for (size_t i = 0; i < n; i++) {
        const struct wedge_capture_ask *ask = &stacks->asks[i];
        stacks->captures[ask->proc] = ask->capture;
        if (!ask->capture)
            note_failure(look, (size_t)ask->proc, ask->err.message, true);
    }
}

static void capture_all(struct wedge_stacking *stacks)
{
    struct wedge_look *look = stacks->look;
    const struct wedge_examine *options = look->options;
    const struct wedge_verdict *headline = &stacks->snapshot->verdicts[0];
    struct wedge_err err = {0};
    /* Of a hang of the whole everything is kept: whoever watches is about to end it, and what is not recorded is lost. */
    bool all = options->stacks == WEDGE_STACKS_ALWAYS ||
               (headline->scope == WEDGE_SCOPE_WHOLE && wedge_verdict_is_hang(headline->kind) &&
                (headline->certainty == WEDGE_PROVED || options->stalled));
    if (!look->core)
        capture_live(stacks, all);
    else if (is_wanted(stacks, 0, all) &&
             wedge_capture_core(stacks->snapshot, 0, look->core, look->note, &stacks->captures[0], &err))
        note_failure(look, 0, err.message, true);
}

/* ---- in the child ---- */

struct child {
    struct wedge_stacking *stacks;
    struct wedge_parcel_sender sender;
};

static bool read_all(int fd, void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, (char *)data + at, len - at);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* wedge_capture_ask_fn: has the parent stop the thread once more. */
static bool ask(void *arg, struct wedge_capture *capture, size_t thread, uint64_t need, struct wedge_unwind_window *ret)
{
    struct child *child = arg;
    struct wedge_stacking *stacks = child->stacks;
    struct answer answer;
    size_t proc = 0;
    while (stacks->captures[proc] != capture)
        proc++;
    wedge_parcel_send_want(&child->sender, stacks->snapshot->procs[proc].first_thread + (int)thread, need);
    if (child->sender.error || !read_all(stacks->link[0], &answer, sizeof(answer)) || !answer.had)
        return false;
    uint8_t *data = malloc(answer.len);
    if (!data || !read_all(stacks->link[0], data, answer.len)) {
        free(data);
        return false;
    }
    *ret = (struct wedge_unwind_window){answer.from, answer.len, data};
    return true;
}

/* The user of a core is whose file it is: what stands in it about that is the writer's word. One that root keeps for
 * others (systemd-coredump) was written by the kernel. */
static uid_t user_of(const struct wedge_stacking *stacks, const struct wedge_proc *p)
{
    struct stat st;
    const struct wedge_core *core = stacks->look->core;
    return core && fstat(core->fd, &st) == 0 && st.st_uid ? st.st_uid : p->uid;
}

/* Opens what will be needed and gives the rest away. */
static int enter(struct wedge_stacking *stacks, const struct wedge_proc *user, int out, struct wedge_job_note *note)
{
    size_t n = 0, n_procs = stacks->snapshot->n_procs, room = n_procs + 2 * WEDGE_ELF_FILES_MAX + 4;
    int *keep = calloc(room, sizeof(*keep));
    if (!keep)
        return -ENOMEM;
    keep[n++] = stacks->link[0];
    if (stacks->early)
        keep[n++] = stacks->ready[0];
    for (size_t i = 0; i < n_procs; i++) {
        if (!stacks->open[i])
            continue;
        note->pid = stacks->snapshot->procs[i].pid;
        wedge_capture_open_files(stacks->captures[i]);
        n += wedge_capture_descriptors(stacks->captures[i], keep + n, room - n);
    }
    n += wedge_elf_list_opened(keep + n, room - n);
    int64_t left_ns = stacks->deadline_ns - wedge_clock_ns();
    struct wedge_sandbox sandbox = {.uid = user_of(stacks, user),
                                    .gid = user->gid,
                                    .out = out,
                                    .keep = keep,
                                    .n_keep = n,
                                    .data_bytes = DATA_BYTES,
                                    .map_bytes = MAP_BYTES,
                                    .open_regular = wedge_elf_open_regular,
                                    .cpu_s = left_ns > 0 ? (unsigned)(left_ns / WEDGE_NS_PER_S) + 1 : 1};
    int rc = wedge_sandbox_enter(&sandbox);
    free(keep);
    return rc;
}

/* The next process to unwind; -1 none. Of the early child: the next whose copies are there. */
static int next_one(const struct wedge_stacking *stacks, int last)
{
    int number = last + 1, n_procs = (int)stacks->snapshot->n_procs;
    if (!stacks->early) {
        while (number < n_procs && !stacks->open[number])
            number++;
        return number < n_procs ? number : -1;
    }
    do {
        if (!read_all(stacks->ready[0], &number, sizeof(number)))
            return -1;
    } while (number >= 0 && (number >= n_procs || !stacks->open[number] || !stacks->captures[number]));
    if (number >= 0)
        wedge_capture_arrived(stacks->captures[number]);
    return number < 0 ? -1 : number;
}

static int child_main(void *arg, int out, struct wedge_job_note *note)
{
    struct wedge_stacking *stacks = arg;
    static struct child child;
    int first = -1;
    child.stacks = stacks;
    child.sender.out = out;
    for (size_t i = 0; i < stacks->snapshot->n_procs; i++) {
        if (stacks->early && stacks->captures[i])
            wedge_capture_view_alone(stacks->captures[i]);
        if (stacks->open[i]) {
            first = (int)i;
            wedge_capture_delegate(stacks->captures[i], note, ask, &child);
        } else { /* another user's, or done with: not for the eyes of who may take this process over */
            wedge_capture_free(stacks->captures[i]);
            stacks->captures[i] = NULL;
        }
    }
    int rc = first >= 0 ? enter(stacks, &stacks->snapshot->procs[first], out, note) : -EINVAL;
    if (rc)
        return rc;
    if (stacks->early)
        wedge_capture_warm(stacks->captures[first]);
    for (size_t i = 0; stacks->ahead && i < stacks->snapshot->n_procs; i++)
        if (stacks->captures[i])
            wedge_capture_make_room(stacks->captures[i]);
    for (int i = -1; !child.sender.error && (i = next_one(stacks, i)) >= 0;) {
        const struct wedge_proc *p = &stacks->snapshot->procs[i];
        struct wedge_err err = {0};
        note->pid = p->pid;
        if (wedge_capture_unwind(stacks->captures[i], &err)) {
            wedge_parcel_send_failed(&child.sender, i, err.message);
        } else {
            wedge_capture_symbols(stacks->captures[i]);
            for (int t = p->first_thread; t < p->first_thread + p->n_threads; t++)
                wedge_parcel_send_thread(&child.sender, &stacks->snapshot->threads[t], t);
            wedge_parcel_send_done(&child.sender, i);
        }
        /* What was read of its memory, 150 kB, is of no use for the next. */
        wedge_capture_free(stacks->captures[i]);
        stacks->captures[i] = NULL;
    }
    return child.sender.error;
}

/* ---- in the parent ---- */

static int send_all(const struct wedge_stacking *stacks, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(stacks->link[1], (const char *)data + at, len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += (size_t)n;
            continue;
        }
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        int64_t left_ns = stacks->deadline_ns - wedge_clock_ns();
        struct pollfd room = {.fd = stacks->link[1], .events = POLLOUT};
        if (left_ns <= 0)
            return -ETIMEDOUT;
        poll(&room, 1, (int)(left_ns / WEDGE_NS_PER_MS) + 1);
    }
    return 0;
}

static int answer_want(void *arg, int thread, uint64_t need)
{
    struct wedge_stacking *stacks = arg;
    int proc = stacks->snapshot->threads[thread].proc;
    struct wedge_unwind_window window = {0};
    if (stacks->wants[thread]++ == WANTS_PER_THREAD)
        return -EBADMSG;
    size_t nth = (size_t)(thread - stacks->snapshot->procs[proc].first_thread);
    struct answer answer = {.had = wedge_capture_more(stacks->captures[proc], nth, need, &window)};
    answer.from = window.from;
    answer.len = window.len;
    int rc = send_all(stacks, &answer, sizeof(answer));
    if (!rc && answer.had)
        rc = send_all(stacks, window.data, window.len);
    free((uint8_t *)window.data);
    return rc;
}

/* The process a child was at when it ended. Its word for it counts only as far as it names one of those it had. */
static size_t culprit(const struct wedge_stacking *stacks, const struct wedge_job_result *result)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < stacks->snapshot->n_procs; i++) {
        if (!stacks->open[i])
            continue;
        if (stacks->snapshot->procs[i].pid == result->last_pid)
            return i;
        if (first == SIZE_MAX)
            first = i;
    }
    return first;
}

static void explain(const struct wedge_job_result *result, char *buf, size_t size)
{
    if (result->status == -ETIMEDOUT)
        snprintf(buf, size, "its files could not be read in time");
    else if (result->status == -ECHILD)
        snprintf(buf, size, "signal %d ended the reading of its files", result->signal);
    else
        snprintf(buf, size, "its files could not be read: %s", strerror(-result->status));
}

static int take(void *arg, const char *data, size_t len)
{
    const struct wedge_parcel_taker *taker = arg;
    int rc = wedge_parcel_take(arg, data, len);
    for (size_t i = 0; i < taker->snapshot->n_procs && !rc; i++)
        if (taker->open[i])
            return 0;
    return rc ? rc : WEDGE_JOB_ENOUGH;
}

/* Takes what a child for all open processes sends. True: they are done. */
static bool end_child(struct wedge_stacking *stacks, int began)
{
    struct wedge_parcel_taker taker = {
        .snapshot = stacks->snapshot, .open = stacks->open, .want = answer_want, .arg = stacks};
    struct wedge_job_result result = {.status = began};
    char why[160];
    memset(stacks->wants, 0, stacks->snapshot->n_threads);
    if (!began)
        wedge_job_end(&stacks->job, take, &taker, &result);
    wedge_parcel_taker_free(&taker);
    size_t at = culprit(stacks, &result);
    if (at == SIZE_MAX)
        return true;
    if (!result.status) /* it ended well and left some out */
        result.status = -EBADMSG;
    explain(&result, why, sizeof(why));
    note_failure(stacks->look, at, why, false);
    stacks->open[at] = false;
    return false;
}

static int begin_child(struct wedge_stacking *stacks, int64_t share_ns)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stacks->link))
        return -errno;
    int rc = wedge_job_begin(child_main, stacks, (int)(share_ns / WEDGE_NS_PER_MS) + 1, &stacks->job);
    if (rc) {
        close(stacks->link[0]);
        close(stacks->link[1]);
    }
    return rc;
}

static bool run_child(struct wedge_stacking *stacks, int64_t share_ns)
{
    int rc = begin_child(stacks, share_ns);
    bool done = end_child(stacks, rc);
    if (!rc) {
        close(stacks->link[0]);
        close(stacks->link[1]);
    }
    return done;
}

static bool is_of_user(const struct wedge_stacking *stacks, size_t proc, size_t other)
{
    const struct wedge_proc *a = &stacks->snapshot->procs[proc], *b = &stacks->snapshot->procs[other];
    return stacks->captures[proc] && a->uid == b->uid && a->gid == b->gid;
}

static int64_t names_ns(const struct wedge_stacking *stacks)
{
    int ms = stacks->look->options->names_deadline_ms;
    return (ms ? ms : NAMES_DEADLINE_MS) * WEDGE_NS_PER_MS;
}

/* wedge_capture_early: symbols are read while processes are stopped, and their stacks walked as they come. For the user of the
 * first process, mostly the only one. */
static int begin_early(void *arg)
{
    struct wedge_stacking *stacks = arg;
    stacks->first = -1;
    for (size_t i = 0; i < stacks->n_asks; i++) {
        int proc = stacks->asks[i].proc;
        stacks->captures[proc] = stacks->asks[i].capture;
        stacks->first = stacks->first < 0 && stacks->asks[i].capture ? proc : stacks->first;
    }
    if (stacks->first < 0 || pipe2(stacks->ready, O_CLOEXEC))
        return -1;
    /* Who tells never waits for room, of which capture.h says how much. Who has many pipes gets small ones
     * (pipe-user-pages-soft, pipe(7)). */
    int room = fcntl(stacks->ready[1], F_GETPIPE_SZ);
    if (room < 0 || (size_t)room / sizeof(int) < 2 * stacks->n_asks + 1) {
        close(stacks->ready[0]);
        close(stacks->ready[1]);
        return -1;
    }
    for (size_t i = 0; i < stacks->snapshot->n_procs; i++)
        stacks->open[i] = is_of_user(stacks, i, (size_t)stacks->first);
    stacks->deadline_ns = wedge_clock_ns() + names_ns(stacks);
    stacks->early = true;
    if (begin_child(stacks, names_ns(stacks) / 2)) {
        close(stacks->ready[0]);
        close(stacks->ready[1]);
        stacks->early = false;
    }
    return stacks->early ? stacks->ready[1] : -1;
}

/* Takes what the early child has; its time begins now. True: they are done. */
static bool end_early(struct wedge_stacking *stacks)
{
    wedge_job_begins_now(&stacks->job, (int)(names_ns(stacks) / 2 / WEDGE_NS_PER_MS) + 1);
    bool done = end_child(stacks, 0);
    stacks->early = false;
    close(stacks->ready[0]);
    close(stacks->ready[1]);
    close(stacks->link[0]);
    close(stacks->link[1]);
    return done;
}

/* The end of a job that this is part of gives all of it back at once, in less time. What is much is not kept until then, nor what
 * the child of another user, who is still to come, could see. */
static bool is_left_to_the_end(const struct wedge_stacking *stacks, size_t first)
{
    bool left = stacks->look->note && stacks->snapshot->n_threads <= FEW_THREADS;
    for (size_t i = 0; i < stacks->snapshot->n_procs && left; i++)
        left = !stacks->captures[i] || is_of_user(stacks, i, first);
    return left;
}

/* All processes of one user, who has one child after the other until each process is done or was given up. */
static void unwind_user(struct wedge_stacking *stacks, size_t first)
{
    struct wedge_snapshot *s = stacks->snapshot;
    for (size_t i = 0; i < s->n_procs; i++)
        stacks->open[i] = is_of_user(stacks, i, first);
    bool done = stacks->early && is_of_user(stacks, first, (size_t)stacks->first) && end_early(stacks);
    for (int i = 0; i < MOST_TRIES && !done; i++) {
        int64_t left_ns = stacks->deadline_ns - wedge_clock_ns();
        if (left_ns <= 0)
            break;
        done = run_child(stacks, i + 1 < MOST_TRIES ? left_ns / 2 : left_ns);
    }
    bool left = is_left_to_the_end(stacks, first);
    for (size_t i = 0; i < s->n_procs; i++) {
        if (!is_of_user(stacks, i, first))
            continue;
        if (stacks->open[i])
            note_failure(stacks->look, i, "there was no time left to read its files", false);
        stacks->open[i] = false;
        if (!left)
            wedge_capture_free(stacks->captures[i]);
        stacks->captures[i] = NULL;
    }
}

/* Nothing of what was begun before the verdict is wanted. */
static void drop_early(struct wedge_stacking *stacks)
{
    if (stacks->early) {
        wedge_job_drop(&stacks->job);
        close(stacks->ready[0]);
        close(stacks->ready[1]);
        close(stacks->link[0]);
        close(stacks->link[1]);
    }
    stacks->early = stacks->ahead = false;
    for (size_t i = 0; i < stacks->n_procs; i++)
        stacks->open[i] = false;
    for (size_t i = 0; i < stacks->n_asks; i++) {
        wedge_capture_free(stacks->asks[i].capture);
        stacks->captures[stacks->asks[i].proc] = NULL;
    }
    free(stacks->asks);
    stacks->asks = NULL;
    stacks->n_asks = 0;
}

static void *grown(void *array, size_t had, size_t needs, size_t size)
{
    char *more = reallocarray(array, needs + 1, size);
    if (more && needs + 1 > had)
        memset(more + had * size, 0, (needs + 1 - had) * size);
    return more;
}

/* Room for all that there are in the snapshot by now. False: no memory. */
static bool has_room(struct wedge_stacking *stacks)
{
    const struct wedge_snapshot *s = stacks->snapshot;
    struct wedge_capture **captures =
        grown(stacks->captures, stacks->n_procs, s->n_procs, sizeof(struct wedge_capture *));
    stacks->captures = captures ? captures : stacks->captures;
    bool *open = grown(stacks->open, stacks->n_procs, s->n_procs, sizeof(*open));
    stacks->open = open ? open : stacks->open;
    unsigned char *wants = grown(stacks->wants, stacks->n_threads, s->n_threads, sizeof(*wants));
    stacks->wants = wants ? wants : stacks->wants;
    if (!captures || !open || !wants)
        return false;
    stacks->n_procs = s->n_procs;
    stacks->n_threads = s->n_threads;
    return true;
}

static void free_stacks(struct wedge_stacking *stacks)
{
    if (!stacks)
        return;
    free(stacks->captures);
    free(stacks->open);
    free(stacks->wants);
    free(stacks->asks);
    free(stacks);
}

static struct wedge_stacking *new_stacks(struct wedge_look *look)
{
    struct wedge_stacking *stacks = calloc(1, sizeof(*stacks));
    if (!stacks)
        return NULL;
    stacks->look = look;
    stacks->snapshot = look->snapshot;
    if (has_room(stacks))
        return stacks;
    free_stacks(stacks);
    return NULL;
}

/* Everybody in the tree was asleep when it was looked at first: as a rule they still are when it comes to the stop. */
static bool is_all_asleep(const struct wedge_look *look)
{
    const struct wedge_snapshot *s = look->snapshot;
    for (size_t i = 0; i < s->n_threads; i++)
        if (s->procs[s->threads[i].proc].in_tree && (s->threads[i].state != 'S' || s->threads[i].syscall < 0))
            return false;
    return true;
}

void wedge_stacks_begin(struct wedge_look *look)
{
    const struct wedge_examine *options = look->options;
    /* The agent's record, which says what callbacks there are, is read later. */
    if (look->stacks || options->stacks != WEDGE_STACKS_ALWAYS || look->core || options->arena || !is_all_asleep(look))
        return;
    struct wedge_stacking *stacks = new_stacks(look);
    if (!stacks || !(stacks->asks = calloc(stacks->n_procs + 1, sizeof(*stacks->asks)))) {
        free_stacks(stacks);
        return;
    }
    list_asks(stacks, true, stacks->asks, &stacks->n_asks);
    wedge_look_ahead(look);
    for (size_t i = 0; i < stacks->n_asks; i++)
        if (wedge_look_maps(look, stacks->asks[i].proc) == 0 && look->procs[stacks->asks[i].proc].maps.n < MOST_MAPS) {
            stacks->asks[i].maps = look->procs[stacks->asks[i].proc].maps.maps;
            stacks->asks[i].n_maps = look->procs[stacks->asks[i].proc].maps.n;
        }
    const struct wedge_capture_early early = {.begin = begin_early, .arg = stacks};
    look->stacks = stacks;
    stacks->ahead = true;
    wedge_capture_prepare(look->snapshot, stacks->asks, stacks->n_asks, look->note, &early, &stacks->room);
    for (size_t i = 0; i < stacks->n_asks; i++) { /* the next round has others */
        stacks->asks[i].maps = NULL;
        stacks->asks[i].n_maps = 0;
    }
    if (stacks->early)
        look->own_child = stacks->job.pid;
    else
        wedge_stacks_abandon(look);
}

void wedge_stacks_abandon(struct wedge_look *look)
{
    if (!look->stacks)
        return;
    drop_early(look->stacks);
    free_stacks(look->stacks);
    look->stacks = NULL;
}

int wedge_stacks_take(struct wedge_look *look)
{
    struct wedge_snapshot *s = look->snapshot;
    if (look->options->stacks == WEDGE_STACKS_NEVER)
        return 0;
    if (!look->stacks)
        look->stacks = new_stacks(look);
    struct wedge_stacking *stacks = look->stacks;
    if (!stacks || !has_room(stacks)) {
        wedge_stacks_abandon(look);
        return -ENOMEM;
    }
    capture_all(stacks);
    wedge_look_note(look, 0, "names");
    stacks->deadline_ns = wedge_clock_ns() + names_ns(stacks);
    for (size_t i = 0; i < s->n_procs; i++)
        if (stacks->captures[i])
            unwind_user(stacks, i);
    if (stacks->early) /* none of its processes could be copied */
        end_early(stacks);
    for (size_t i = 0; i < s->n_threads; i++) {
        s->stopped_anything |= s->threads[i].stopped_ns > 0;
        if (s->threads[i].stopped_ns > s->longest_stop_ns)
            s->longest_stop_ns = s->threads[i].stopped_ns;
    }
    wedge_look_note(look, 0, "done");
    free_stacks(stacks);
    look->stacks = NULL;
    return 0;
}
