#include "detector/verdict/history.h"

#include <linux/futex.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/clock.h"
#include "detector/look/look.h"
#include "detector/wait/wait.h"

enum { MOST_THREADS = 8192, PROBES = 16 };

/* What schedstat says of a thread (Documentation/scheduler/sched-stats.rst): nanoseconds on a processor, nanoseconds that it
 * waited for one, and how often it was put on one. All are 0 where the kernel does not count. */
struct use {
    uint64_t ran_ns, queued_ns, turns;
};

struct entry { /* one thread; tid 0 free */
    pid_t tid;
    uint32_t rounds; /* examinations in a row that found it asleep in this very sleep */
    uint32_t wakes; /* examinations in a row that found it in the same place, but woken in between */
    uint32_t stops; /* by us, for its stack */
    uint8_t found; /* by them: as in wedge_thread */
    bool restarts; /* a stop would make it go on as restart_syscall */
    int32_t call; /* restart_syscall never, unless it was so from the beginning */
    uint32_t events; /* how many events the agent had of it when that began */
    uint64_t start_ticks; /* of its process: nobody else bears its number while that lives, but for one born later */
    uint64_t place; /* hash of where its call was made, and with what arguments */
    uint64_t switches, voluntary;
    int64_t sleep_since_ns, use_since_ns;
    struct use use; /* by then; all 0: not looked at */
    uint64_t progress; /* of the whole tree at use_since_ns */
};
struct table {
    struct entry entries[MOST_THREADS];
};
struct wedge_history {
    _Atomic uint32_t current;
    struct table tables[2];
};

struct wedge_history *wedge_history_new(void)
{
    void *p = mmap(NULL, sizeof(struct wedge_history), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void wedge_history_free(struct wedge_history *history)
{
    if (history)
        munmap(history, sizeof(*history));
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x9e3779b97f4a7c15ull ^ (hash >> 29);
}

static uint64_t place_of(const struct wedge_thread *t)
{
    uint64_t hash = mix(mix(1, t->pc), t->sp);
    for (size_t i = 0; i < 3; i++) /* the others of a wait are a time-out, by value in some */
        hash = mix(hash, t->args[i]);
    return hash;
}

/* A call that a stop broke off may go on under another number (restart_syscall(2)), with its own place and arguments. */
static bool is_same_place(const struct wedge_thread *t, const struct entry *e)
{
    return e->place == place_of(t) &&
           (e->call == t->syscall || t->syscall == SYS_restart_syscall || e->call == SYS_restart_syscall);
}

/*
 * What a stop breaks off in these calls goes on as restart_syscall, if it goes on at all (restart_syscall(2);
 * ERESTART_RESTARTBLOCK in futex_wait(), do_sys_poll() and hrtimer_nanosleep(); measured on Linux 6.18, 50 stops of each).
 * Then whoever is in the call under its own name has made it anew.
 */
static bool restarts(const struct wedge_thread *t)
{
    const unsigned op = (unsigned)t->args[1] & (unsigned)FUTEX_CMD_MASK;
    switch (t->syscall) {
    case SYS_futex:
        return t->args[3] && (op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET);
    case SYS_clock_nanosleep:
        return !(t->args[1] & TIMER_ABSTIME);
    case SYS_poll:
    case SYS_nanosleep:
    case SYS_restart_syscall:
        return true;
    default:
        return false;
    }
}

/*
 * Who sleeps is switched twice by a stop: out of its sleep into the stop, where the tracer waits for that
 * (wait_task_inactive() in ptrace_check_attach(), kernel/ptrace.c), and into its sleep again. Both are voluntary, as
 * measured on Linux 6.18 with futex, poll, select, epoll_wait, read, nanosleep and pause, idle and at load 6: always two. That
 * it lost the processor on its way says nothing. Where it still goes on with what the stop broke off, it never left.
 */
static bool slept_on(const struct wedge_thread *t, const struct entry *e)
{
    if (!e->stops && e->found != WEDGE_FOUND_UNKNOWN)
        return t->switches == e->switches;
    if (e->found != WEDGE_FOUND_ASLEEP)
        return e->found == WEDGE_FOUND_UNKNOWN;
    if (e->restarts || t->syscall == SYS_restart_syscall)
        return t->syscall == SYS_restart_syscall;
    return t->voluntary <= e->voluntary + 2ull * e->stops;
}

static bool is_same_sleep(const struct wedge_thread *t, const struct entry *e)
{
    return is_same_place(t, e) && !t->moved && slept_on(t, e);
}

static struct entry *find(struct table *table, const struct wedge_look *look, const struct wedge_thread *t, bool make)
{
    uint64_t start_ticks = look->snapshot->procs[t->proc].start_ticks;
    uint64_t at = mix(start_ticks, (uint64_t)t->tid) >> 17;
    for (unsigned i = 0; i < PROBES; i++) {
        struct entry *e = &table->entries[(at + i) % MOST_THREADS];
        if (e->tid == t->tid && e->start_ticks == start_ticks)
            return e;
        if (!e->tid)
            return make ? e : NULL;
    }
    return NULL;
}

static bool is_busy(const struct wedge_thread *t)
{
    return t->moved || t->wait.class == WEDGE_WAIT_NONE;
}

/* False: it is not to be had. */
static bool read_use(const struct wedge_look *look, const struct wedge_thread *t, struct use *ret)
{
    char text[96], *end;
    if (wedge_proc_read(look->snapshot->procs[t->proc].pid, t->tid, "schedstat", text, sizeof(text)) <= 0)
        return false;
    ret->ran_ns = strtoull(text, &end, 10);
    ret->queued_ns = strtoull(end, &end, 10);
    ret->turns = strtoull(end, NULL, 10);
    return ret->ran_ns > 0;
}

/* What it did from one reading to another one. */
static void set_use(struct wedge_look_thread *own, const struct use *from, const struct use *to, int64_t span_ns)
{
    own->ran_ns = (int64_t)(to->ran_ns - from->ran_ns);
    own->queued_ns = (int64_t)(to->queued_ns - from->queued_ns);
    own->use_span_ns = span_ns;
}

static const struct wedge_arena_thread *record_of(const struct wedge_look *look, const struct wedge_thread *t,
                                                  uint32_t *ret_slot)
{
    if (!look->options->arena)
        return NULL;
    return wedge_arena_thread_of(look->options->arena, look->snapshot->procs[t->proc].pid, t->tid, ret_slot);
}

static bool records_calls(const struct wedge_look *look)
{
    const struct wedge_arena_control *control =
        look->options->arena ? wedge_arena_at(look->options->arena, WEDGE_SEC_CONTROL, 0) : NULL;
    return control && control->record == WEDGE_RECORD_CALLS;
}

/* By the agent's ring: since its event number `from` it did nothing that another thread could notice. Whether an unlock
 * woke somebody is not recorded: one is nothing if nobody waits there now. */
static bool only_asked(const struct wedge_look *look, const struct wedge_thread *t, uint32_t from)
{
    uint32_t slot;
    const struct wedge_arena_thread *record = record_of(look, t, &slot);
    if (!record)
        return false;
    uint32_t written = record->event_seq, kept = wedge_arena_event_count(look->options->arena, slot);
    if (written - from > kept)
        return false; /* written over */
    for (uint32_t i = kept - (written - from); i < kept; i++) {
        const struct wedge_arena_event *e = wedge_arena_event(look->options->arena, slot, i);
        if (!e || (e->kind != WEDGE_EV_WAIT && e->kind != WEDGE_EV_TAKE && e->kind != WEDGE_EV_GIVE))
            return false;
        for (size_t k = 0; e->kind == WEDGE_EV_GIVE && k < look->snapshot->n_threads; k++)
            if (look->snapshot->threads[k].proc == t->proc &&
                look->snapshot->threads[k].wait.object.address == e->object)
                return false;
    }
    return true;
}

/*
 * A thread is inert if it woke three times and each time came back to the same place, having done nothing but ask. A
 * handler may change what it asks for, at a signal from anywhere; and what merely sleeps asks for nothing that could be
 * seen here, and may do anything next. Where the examination takes longer than its time-outs it is never seen to sleep in
 * both passes: by the looks alone it counts if it is back in its place at the second, for the record is older than that.
 */
static void judge(struct wedge_look *look, struct wedge_look_thread *own, const struct wedge_thread *t,
                  const struct entry *e)
{
    bool asks = t->wait.class != WEDGE_WAIT_SLEEP && own->n_sets > 0;
    if (e->wakes < WEDGE_HISTORY_ROUNDS || (t->moved && !own->came_back) || t->wait.earliest_ns >= WEDGE_WAIT_FAR_NS ||
        !asks || look->procs[t->proc].caught)
        return;
    bool recorded = records_calls(look);
    if (recorded && !only_asked(look, t, e->events))
        return;
    own->inert = recorded && !t->moved ? WEDGE_INERT_BY_RECORD : WEDGE_INERT_BY_LOOKS;
}

/* What one look can tell is not enough: it was mostly in the queue, or is there now, which counts only when it leaves it. */
static bool is_undecided(const struct wedge_look *look, size_t thread)
{
    const struct wedge_look_thread *own = &look->threads[thread];
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    char text[1024];
    struct wedge_proc_stat stat;
    if (wedge_history_burns(own))
        return false;
    return own->queued_ns >= own->use_span_ns / 2 ||
           (wedge_proc_read(look->snapshot->procs[t->proc].pid, t->tid, "stat", text, sizeof(text)) > 0 &&
            wedge_proc_stat_parse(text, &stat) == 0 && stat.state == 'R');
}

/* All are looked at twice: who was never looked at before has no CPU time to compare with, and who slept in both passes
 * may do so only now and then. On a crowded machine it takes longer to be told. */
static void sample(struct wedge_look *look)
{
    enum { SAMPLE_MS = 50, MOST_SAMPLES = 20, MOST_SAMPLED = 256 };
    struct {
        size_t thread;
        struct use use;
    } sampled[MOST_SAMPLED];
    size_t n = 0;
    int64_t began = wedge_clock_ns();
    for (size_t i = 0; i < look->snapshot->n_threads && n < MOST_SAMPLED; i++) {
        const struct wedge_thread *t = &look->snapshot->threads[i];
        sampled[n].thread = i;
        n += !look->threads[i].use_span_ns && look->snapshot->procs[t->proc].in_tree &&
             read_use(look, t, &sampled[n].use);
    }
    bool again = n > 0;
    for (int samples = 0; again && samples < MOST_SAMPLES; samples++) {
        again = false;
        poll(NULL, 0, SAMPLE_MS);
        for (size_t i = 0; i < n; i++) {
            struct wedge_look_thread *own = &look->threads[sampled[i].thread];
            struct use now;
            if (!read_use(look, &look->snapshot->threads[sampled[i].thread], &now))
                continue; /* it has ended */
            set_use(own, &sampled[i].use, &now, wedge_clock_ns() - began);
            own->restless = now.turns != sampled[i].use.turns;
            again |= is_undecided(look, sampled[i].thread);
        }
    }
}

/*
 * Half of the time that was its own to use: where it waited for a processor, it would have run. So somebody who sleeps and, on
 * a crowded machine, has to queue each time that he wakes burns nothing, and who has a hundredth of a processor and never
 * sleeps does. Below the least nothing is told: what queued when the span began counts in it as a whole.
 */
bool wedge_history_burns(const struct wedge_look_thread *own)
{
    const int64_t least_ns = 2 * WEDGE_NS_PER_MS;
    return own->use_span_ns > 0 && own->ran_ns >= least_ns && own->ran_ns >= (own->use_span_ns - own->queued_ns) / 2;
}

void wedge_history_recall(struct wedge_look *look)
{
    struct wedge_history *history = look->options->history;
    if (!history)
        return;
    struct table *table = &history->tables[atomic_load(&history->current) & 1];
    for (size_t i = 0; i < look->snapshot->n_threads; i++) {
        const struct wedge_thread *t = &look->snapshot->threads[i];
        struct wedge_look_thread *own = &look->threads[i];
        const struct entry *e = find(table, look, t, false);
        if (!e)
            continue;
        if (is_same_sleep(t, e)) {
            own->rounds = e->rounds;
            own->asleep_ns = look->snapshot->taken_ns - e->sleep_since_ns;
        }
        /* CPU time counts from the last progress of the tree on. */
        struct use now;
        if (look->options->stalled && e->use.ran_ns && e->progress == look->snapshot->progress && is_busy(t) &&
            read_use(look, t, &now))
            set_use(own, &e->use, &now, wedge_clock_ns() - e->use_since_ns);
        if (is_same_place(t, e))
            judge(look, own, t, e);
    }
    if (look->options->stalled)
        sample(look);
}

void wedge_history_remember(struct wedge_look *look)
{
    struct wedge_history *history = look->options->history;
    if (!history)
        return;
    uint32_t current = atomic_load(&history->current) & 1;
    struct table *old = &history->tables[current], *new = &history->tables[1 - current];
    memset(new, 0, sizeof(*new));
    for (size_t i = 0; i < look->snapshot->n_threads; i++) {
        const struct wedge_thread *t = &look->snapshot->threads[i];
        const struct entry *before = find(old, look, t, false);
        const struct wedge_arena_thread *record = record_of(look, t, NULL);
        struct entry *e = find(new, look, t, true);
        if (!e)
            continue;
        struct entry next = {.tid = t->tid,
                             .start_ticks = look->snapshot->procs[t->proc].start_ticks,
                             .place = place_of(t),
                             .call = t->syscall,
                             .switches = t->switches,
                             .voluntary = t->voluntary,
                             .rounds = 1,
                             .stops = t->stops,
                             .found = (uint8_t)t->found,
                             .restarts = restarts(t),
                             .events = record ? record->event_seq : 0,
                             .sleep_since_ns = look->snapshot->taken_ns,
                             .use_since_ns = wedge_clock_ns(),
                             .progress = look->snapshot->progress};
        /* What woke between the passes and was in its place at the first has woken once more. */
        if (before && is_same_place(t, before)) {
            if (t->syscall == SYS_restart_syscall)
                next.call = before->call;
            bool same_sleep = is_same_sleep(t, before);
            next.wakes = before->wakes + !same_sleep;
            next.events = before->events;
            if (same_sleep) {
                next.rounds = before->rounds + 1;
                next.sleep_since_ns = before->sleep_since_ns;
            }
        }
        if (before && before->progress == next.progress && before->use.ran_ns) {
            next.use_since_ns = before->use_since_ns;
            next.use = before->use;
        } else if (is_busy(t) && !read_use(look, t, &next.use)) {
            next.use = (struct use){0};
        }
        *e = next;
    }
    atomic_store(&history->current, 1 - current);
}
