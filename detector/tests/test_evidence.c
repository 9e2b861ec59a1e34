/*
 * What the agent's record makes evident. The arena is a real one; its slots are filled here as an agent would fill them,
 * with the addresses and numbers that an examination without it found.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "detector/tests/cases.h"

static struct wedge_arena arena;

static void setup(void)
{
    struct wedge_err err = {0};
    ck_assert_msg(wedge_arena_create(&arena, 0, 1, &err) == 0, "%s", err.message);
    struct wedge_arena_control *control = wedge_arena_live(&arena, WEDGE_SEC_CONTROL, 0);
    control->record = WEDGE_RECORD_CALLS;
}
static void teardown(void)
{
    wedge_arena_destroy(&arena);
}

static struct wedge_arena_proc *add_proc(uint32_t slot, pid_t pid, uint32_t parent)
{
    struct wedge_arena_proc *p = wedge_arena_live(&arena, WEDGE_SEC_PROCS, slot);
    p->pid = pid;
    p->parent = parent;
    p->state = WEDGE_PROC_RUNNING;
    p->gen = 2;
    return p;
}

static struct wedge_arena_thread *add_thread_of(uint32_t proc, uint32_t slot, pid_t tid)
{
    struct wedge_arena_thread *t = wedge_arena_live(&arena, WEDGE_SEC_THREADS, slot);
    struct wedge_arena_proc *p = wedge_arena_live(&arena, WEDGE_SEC_PROCS, proc);
    t->tid = tid;
    t->gen = 2;
    t->proc = proc;
    p->threads++;
    return t;
}
static struct wedge_arena_thread *add_thread(uint32_t slot, pid_t tid)
{
    return add_thread_of(0, slot, tid);
}

/* The process and those of its threads that live; the slot of a thread is its place in the snapshot. */
static void record_all(const struct wedge_snapshot *s)
{
    add_proc(0, s->procs[0].pid, UINT32_MAX);
    for (size_t i = 0; i < s->n_threads; i++)
        add_thread((uint32_t)i, s->threads[i].tid);
}

static struct wedge_arena_event *last_event(uint32_t slot)
{
    const struct wedge_arena_thread *t = wedge_arena_live(&arena, WEDGE_SEC_THREADS, slot);
    uint32_t depth = wedge_arena_header(&arena)->ring_events;
    struct wedge_arena_event *rings =
        (void *)(arena.live + wedge_arena_header(&arena)->sections[WEDGE_SEC_RINGS].offset);
    return &rings[(size_t)slot * depth + ((t->event_seq - 1) & (depth - 1))];
}

static void record_event(uint32_t slot, uint16_t kind, uint64_t object, uint32_t about, uint64_t when_ns)
{
    struct wedge_arena_thread *t = wedge_arena_live(&arena, WEDGE_SEC_THREADS, slot);
    t->event_seq++;
    *last_event(slot) = (struct wedge_arena_event){
        .kind = kind, .object = object, .about = about, .when_ns = when_ns, .tid = t->tid, .seq = t->event_seq};
}

/* More events than the ring of a thread holds. */
static void overwrite(uint32_t slot)
{
    for (uint32_t i = 0; i <= wedge_arena_header(&arena)->ring_events; i++)
        record_event(slot, WEDGE_EV_GIVE, 1, WEDGE_OBJECT_MUTEX, 3);
}

static struct wedge_snapshot *examine(pid_t root)
{
    struct wedge_err err = {0};
    struct wedge_arena_copy copy;
    struct wedge_snapshot *s = NULL;
    ck_assert_int_eq(wedge_arena_copy(&arena, true, &copy, &err), 0);
    struct wedge_examine options = {.root = root, .arena = &copy, .stacks = WEDGE_STACKS_ON_HANG};
    ck_assert_int_eq(wedge_detector_examine(&options, NULL, &s, &err), 0);
    wedge_arena_copy_free(&copy);
    return s;
}

/* Until it is of that kind: a thread that lives may be about to run, and with it the list of threads to change. */
static struct wedge_snapshot *examine_until(pid_t root, enum wedge_verdict_kind kind)
{
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    for (;;) {
        struct wedge_snapshot *s = examine(root);
        if (s->verdicts[0].kind == kind)
            return s;
        ck_assert_msg(wedge_clock_ns() < deadline, "%s", s->verdicts[0].summary);
        wedge_snapshot_free(s);
    }
}

static bool is_in(const struct wedge_thread *t, enum wedge_wait_class class)
{
    return t->wait.class == class && !t->moved;
}

/* Without the record, until `threads` of it are there and one waits in each of the classes: where they are the same, two, or
 * all that there are. */
static struct wedge_snapshot *settle(pid_t root, size_t threads, enum wedge_wait_class class,
                                     enum wedge_wait_class other)
{
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    for (;;) {
        struct wedge_snapshot *s = examine_once(root, WEDGE_STACKS_NEVER);
        size_t in = 0, in_other = 0;
        for (size_t i = 0; i < s->n_threads; i++) {
            in += is_in(&s->threads[i], class);
            in_other += is_in(&s->threads[i], other);
        }
        bool both = in && in_other && (class != other || in > 1 || threads == 1);
        if ((s->n_threads == threads && both) || wedge_clock_ns() > deadline)
            return s;
        wedge_snapshot_free(s);
        usleep(5000);
    }
}

static uint32_t slot_in(const struct wedge_snapshot *s, enum wedge_wait_class class)
{
    const struct wedge_thread *t = thread_in(s, class);
    ck_assert_ptr_nonnull(t);
    return (uint32_t)(t - s->threads);
}

static void hold(uint32_t slot, uint64_t object)
{
    struct wedge_arena_thread *t = wedge_arena_live(&arena, WEDGE_SEC_THREADS, slot);
    t->holds[0].object = object;
    t->holds[0].kind = WEDGE_OBJECT_RWLOCK;
    t->holds[0].shared = 1;
    t->holds[0].state = WEDGE_HOLD_HOLD;
}
static void use_semaphore(uint32_t slot, uint64_t object, uint32_t state)
{
    hold(slot, object);
    struct wedge_arena_thread *t = wedge_arena_live(&arena, WEDGE_SEC_THREADS, slot);
    t->holds[0].kind = WEDGE_OBJECT_SEM;
    t->holds[0].shared = 0;
    t->holds[0].state = state;
}

/* `name`: of the case, where it is the one that is a hang by the record; else NULL. `culprit` as in struct hang. */
static void check(pid_t root, const char *name, const char *culprit, const char *kind, enum wedge_certainty certainty,
                  enum wedge_scope scope)
{
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    for (;;) { /* the live one may be about to run, and with it the whole list of threads */
        struct wedge_snapshot *s = examine(root);
        const struct wedge_verdict *v = &s->verdicts[0];
        bool right = strcmp(wedge_verdict_words[v->kind], kind) == 0 && v->certainty == certainty && v->scope == scope;
        ck_assert_msg(right || wedge_clock_ns() < deadline, "%s, %s, %s: %s: %s", wedge_verdict_words[v->kind],
                      wedge_certainty_words[v->certainty], wedge_scope_words[v->scope], v->reason, v->summary);
        if (right)
            cases_check_culprits(kind, culprit, s);
        if (right && name)
            cases_right("record", name, v, culprit);
        wedge_snapshot_free(s);
        if (right)
            return;
    }
}
static void check_never(pid_t root)
{
    for (int i = 0; i < 12; i++) {
        struct wedge_snapshot *s = examine(root);
        ck_assert_msg(!wedge_verdict_is_hang(s->verdicts[0].kind), "%s", s->verdicts[0].summary);
        wedge_snapshot_free(s);
        usleep(1000);
    }
}

/* Of each case the first variant is the hang. */
static void repeat(const char *name, void (*try)(int), int number)
{
    if (number == 0)
        cases_asked("record", name, cases_repeats());
    for (int run = 0; run < cases_repeats(); run++) {
        teardown();
        setup();
        try(number);
    }
}

/* 0: the readers are named, and there are as many as the lock counts. 1: one too many. 2: who has it, has it for writing.
 * 3: what is held there is no rwlock. 4: a handler may do anything. 5: of one the oldest events are written over, so that
 * nobody knows who might cancel the reader. */
static void try_readers(int number)
{
    struct factory factory = factory_start(number == 4 ? "reader-and-handler" : "reader-joins");
    struct wedge_snapshot *s = settle(factory.pid, 3, WEDGE_WAIT_RWLOCK, WEDGE_WAIT_JOIN);
    uint64_t lock = thread_in(s, WEDGE_WAIT_RWLOCK)->wait.object.address;
    ck_assert(!wedge_verdict_is_hang(s->verdicts[0].kind));
    record_all(s);
    check_never(factory.pid);
    hold(slot_in(s, WEDGE_WAIT_JOIN), lock);
    if (number == 1)
        hold(slot_in(s, WEDGE_WAIT_RWLOCK), lock);
    struct wedge_arena_thread *reader = wedge_arena_live(&arena, WEDGE_SEC_THREADS, slot_in(s, WEDGE_WAIT_JOIN));
    reader->holds[0].shared = number != 2;
    if (number == 3)
        reader->holds[0].kind = WEDGE_OBJECT_MUTEX;
    if (number == 5)
        overwrite(slot_in(s, WEDGE_WAIT_RWLOCK));
    if (number)
        check_never(factory.pid);
    else
        check(factory.pid, "reader-joins", "reader_joins|write_it", "closed-wait", WEDGE_EVIDENT, WEDGE_SCOPE_PART);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
START_TEST(test_readers)
{
    repeat("reader-joins", try_readers, _i);
}
END_TEST

/* Of two readers one wants to write: it waits for itself as well, in whichever order they came. */
START_TEST(test_upgrade)
{
    struct factory factory = factory_start("reader-upgrades");
    struct wedge_snapshot *s = settle(factory.pid, 3, WEDGE_WAIT_RWLOCK, WEDGE_WAIT_JOIN);
    uint64_t lock = thread_in(s, WEDGE_WAIT_RWLOCK)->wait.object.address;
    record_all(s);
    hold(slot_in(s, WEDGE_WAIT_JOIN), lock);
    hold(slot_in(s, WEDGE_WAIT_RWLOCK), lock);
    check(factory.pid, NULL, "read_and_write_it|reader_upgrades", "self-deadlock", WEDGE_EVIDENT, WEDGE_SCOPE_PART);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

/* 0: all who ever posted are in the set. 1: another one posted too. 2: somebody was never recorded. 3: of one the oldest
 * events are written over. 4: nobody posted. 5: threads that had no room in the record. 6: what was signalled there was no
 * semaphore. 7: the post failed. */
static void try_posters(int number)
{
    struct factory factory = factory_start("poster-stuck");
    struct wedge_snapshot *s = settle(factory.pid, 3, WEDGE_WAIT_MUTEX, WEDGE_WAIT_SEM);
    uint32_t waiter = slot_in(s, WEDGE_WAIT_SEM), poster = slot_in(s, WEDGE_WAIT_MUTEX), other = 3 - waiter - poster;
    uint64_t sem = s->threads[waiter].wait.object.address;
    ck_assert(!wedge_verdict_is_hang(s->verdicts[0].kind));
    record_all(s);
    record_event(waiter, WEDGE_EV_WAIT, sem, WEDGE_OBJECT_SEM, 1);
    if (number != 4)
        record_event(poster, WEDGE_EV_WAKE, sem, number == 6 ? WEDGE_OBJECT_COND : WEDGE_OBJECT_SEM, 1);
    if (number == 5)
        wedge_arena_header(&arena)->lost_threads = 1;
    if (number == 7)
        last_event(poster)->arg = (uint64_t)-EOVERFLOW;
    if (number == 1)
        record_event(other, WEDGE_EV_WAKE, sem, WEDGE_OBJECT_SEM, 2);
    if (number == 2)
        ((struct wedge_arena_proc *)wedge_arena_live(&arena, WEDGE_SEC_PROCS, 0))->threads++;
    if (number == 3)
        overwrite(other);
    if (number)
        check_never(factory.pid);
    else
        check(factory.pid, "poster-stuck", "poster_stuck|post_then_lock", "closed-wait", WEDGE_EVIDENT,
              WEDGE_SCOPE_PART);
    /* Who posted itself waits for the others, and not for itself. */
    if (!number) {
        record_event(waiter, WEDGE_EV_WAKE, sem, WEDGE_OBJECT_SEM, 2);
        struct wedge_snapshot *drawn = examine(factory.pid);
        for (size_t i = 0; i < drawn->n_edges; i++)
            ck_assert(drawn->edges[i].kind != WEDGE_WAKER_THREAD || drawn->edges[i].from != drawn->edges[i].to);
        wedge_snapshot_free(drawn);
    }
    wedge_snapshot_free(s);
    factory_end(&factory);
}
START_TEST(test_posters)
{
    repeat("poster-stuck", try_posters, _i);
}
END_TEST

/* The one who posts is stuck, and somebody else of whom the record says nothing may post: a handler, another process. */
START_TEST(test_other_posters)
{
    static const char *const names[] = {"poster-and-handler", "poster-and-process"};
    struct factory factory = factory_start(names[_i]);
    struct wedge_snapshot *s = settle(factory.pid, 3, WEDGE_WAIT_MUTEX, WEDGE_WAIT_SEM);
    uint32_t waiter = slot_in(s, WEDGE_WAIT_SEM), poster = slot_in(s, WEDGE_WAIT_MUTEX);
    uint64_t sem = s->threads[waiter].wait.object.address;
    record_all(s);
    if (_i) { /* the third is the other process's */
        struct wedge_arena_proc *p = wedge_arena_live(&arena, WEDGE_SEC_PROCS, 0);
        struct wedge_arena_thread *t = wedge_arena_live(&arena, WEDGE_SEC_THREADS, 3 - waiter - poster);
        ck_assert_int_ne(s->threads[3 - waiter - poster].proc, 0);
        p->threads--;
        t->gen = 0;
    }
    record_event(waiter, WEDGE_EV_WAIT, sem, WEDGE_OBJECT_SEM, 1);
    record_event(poster, WEDGE_EV_WAKE, sem, WEDGE_OBJECT_SEM, 1);
    check_never(factory.pid);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

/* Who came to the barrier before and is not there any more. Those who wait there now are not missing. */
START_TEST(test_missing)
{
    struct factory factory = factory_start("barrier-short");
    struct wedge_snapshot *s = settle(factory.pid, 2, WEDGE_WAIT_BARRIER, WEDGE_WAIT_BARRIER);
    uint64_t barrier = s->threads[0].wait.object.address;
    record_all(s);
    add_thread(2, factory.pid + 1)->ended = 1;
    for (uint32_t i = 0; i < 3; i++)
        record_event(i, WEDGE_EV_WAIT, barrier, WEDGE_OBJECT_BARRIER, 1);
    wedge_snapshot_free(s);
    s = examine(factory.pid);
    char words[64];
    snprintf(words, sizeof(words), "to which came before: %d, which has ended (by the record)", (int)factory.pid + 1);
    const char *describe = thread_in(s, WEDGE_WAIT_BARRIER)->wait.object.describe;
    ck_assert_msg(strstr(describe, words), "%s", describe);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

/* A semaphore whose taker has ended is an abandoned lock; 1: one that others post is none, 2: nor one that it took twice. */
static void try_taker(int number)
{
    struct factory factory = factory_start("taker-ended");
    struct wedge_snapshot *s = settle(factory.pid, 1, WEDGE_WAIT_SEM, WEDGE_WAIT_SEM);
    uint64_t sem = s->threads[0].wait.object.address;
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "orphaned-wait");
    record_all(s);
    add_thread(1, factory.pid + 1)->ended = 1;
    use_semaphore(1, sem, number == 1 ? WEDGE_HOLD_GAVE : WEDGE_HOLD_HOLD);
    struct wedge_arena_thread *taker = wedge_arena_live(&arena, WEDGE_SEC_THREADS, 1);
    if (number == 2)
        taker->holds[1] = taker->holds[0];
    check(factory.pid, number ? NULL : "taker-ended", NULL, number ? "orphaned-wait" : "abandoned-lock", WEDGE_PROVED,
          WEDGE_SCOPE_WHOLE);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
START_TEST(test_taker)
{
    repeat("taker-ended", try_taker, _i);
}
END_TEST

/* 0: the child that is gone took it and never gave it back. 1: it gave more than it took, as one that signals. 2: it
 * became another program, and what it had where is not known. 3: of it not every thread was recorded. 4: one that lives
 * has taken it. 5: what one that lives did is forgotten. 6: as 0, and the number of who is gone is now the waiter's. */
static void try_shared_taker(int number)
{
    struct factory factory = factory_start("shared-taker-ended");
    struct wedge_snapshot *s = settle(factory.pid, 3, WEDGE_WAIT_SEM, WEDGE_WAIT_CHILD);
    const struct wedge_thread *waiter = thread_in(s, WEDGE_WAIT_SEM), *parent = thread_in(s, WEDGE_WAIT_CHILD);
    uint64_t sem = waiter->wait.object.address;
    pid_t gone = 0;
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "closed-wait");
    for (size_t i = 0; i < s->n_procs; i++)
        gone = s->procs[i].state == 'Z' ? s->procs[i].pid : gone;
    ck_assert_int_gt(gone, 0);
    add_proc(0, factory.pid, UINT32_MAX);
    add_thread_of(0, 0, parent->tid);
    add_proc(1, waiter->tid, 0);
    add_thread_of(1, 1, waiter->tid);
    struct wedge_arena_proc *taker = add_proc(2, gone, 0);
    strcpy(taker->role, "taker");
    add_thread_of(2, 2, gone);
    use_semaphore(2, sem, number == 1 ? WEDGE_HOLD_GAVE : WEDGE_HOLD_HOLD);
    taker->exec_count = number == 2;
    taker->threads += number == 3;
    if (number == 4)
        use_semaphore(0, sem, WEDGE_HOLD_HOLD);
    struct wedge_arena_thread *other = wedge_arena_live(&arena, WEDGE_SEC_THREADS, 0);
    other->sems_lost = number == 5;
    bool has_it = number == 0 || number == 6;
    if (number == 6) {
        ((struct wedge_arena_proc *)wedge_arena_live(&arena, WEDGE_SEC_PROCS, 1))->since_ns = 1;
        ((struct wedge_arena_thread *)wedge_arena_live(&arena, WEDGE_SEC_THREADS, 2))->tid = waiter->tid;
        taker->pid = waiter->tid;
    }
    check(factory.pid, number ? NULL : "shared-taker-ended", has_it ? NULL : "shared_taker_ended",
          has_it ? "abandoned-lock" : "closed-wait", WEDGE_PROVED, WEDGE_SCOPE_WHOLE);
    wedge_snapshot_free(s);
    s = examine(factory.pid);
    if (!number)
        ck_assert_msg(strstr(s->verdicts[0].summary, "owner is gone: taker (pid"), "%s", s->verdicts[0].summary);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
START_TEST(test_shared_taker)
{
    repeat("shared-taker-ended", try_shared_taker, _i);
}
END_TEST

/* Of a lock that fork copied the owner lives: who else died in the tree has nothing to do with it. */
START_TEST(test_copied_beside_a_death)
{
    struct factory factory = factory_start("forked-lock");
    struct wedge_snapshot *s = settle(factory.pid, 3, WEDGE_WAIT_MUTEX, WEDGE_WAIT_CHILD);
    pid_t child = s->procs[thread_in(s, WEDGE_WAIT_MUTEX)->proc].pid;
    add_proc(0, factory.pid, UINT32_MAX);
    add_proc(1, child, 0);
    add_proc(2, INT32_MAX, 0);
    wedge_snapshot_free(s);
    check(factory.pid, NULL, "hold_first_and_sleep", "abandoned-lock", WEDGE_PROVED, WEDGE_SCOPE_PART);
    s = examine_until(factory.pid, WEDGE_VERDICT_ABANDONED_LOCK);
    ck_assert_uint_eq(s->n_dead, 1);
    ck_assert_uint_eq(s->verdicts[0].n_dead, 0);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

/* Signalled before it waited for the first time: lost. If it has come back from there once, it may have been that. */
static void try_signalled_early(int number)
{
    struct factory factory = factory_start("signalled-early");
    struct wedge_snapshot *s = settle(factory.pid, 1, WEDGE_WAIT_COND, WEDGE_WAIT_COND);
    uint64_t cond = s->threads[0].wait.object.address;
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "orphaned-wait");
    record_all(s);
    add_thread(1, factory.pid + 1)->ended = 1;
    record_event(1, WEDGE_EV_WAKE, cond, WEDGE_OBJECT_COND, 1);
    if (number)
        record_event(0, WEDGE_EV_WAIT, cond, WEDGE_OBJECT_COND, 1);
    check(factory.pid, number ? NULL : "signalled-early", number ? NULL : "signalled_early",
          number ? "orphaned-wait" : "lost-wakeup", WEDGE_PROVED, WEDGE_SCOPE_WHOLE);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
START_TEST(test_signalled_early)
{
    repeat("signalled-early", try_signalled_early, _i);
}
END_TEST

/* Where another thread of the process lives, what came before the wait need not have been meant for it. */
START_TEST(test_signalled_early_and_joined)
{
    struct factory factory = factory_start("signalled-early-and-joined");
    struct wedge_snapshot *s = settle(factory.pid, 2, WEDGE_WAIT_COND, WEDGE_WAIT_JOIN);
    uint64_t cond = thread_in(s, WEDGE_WAIT_COND)->wait.object.address;
    record_all(s);
    add_thread(2, factory.pid + 1)->ended = 1;
    record_event(2, WEDGE_EV_WAKE, cond, WEDGE_OBJECT_COND, 1);
    check(factory.pid, NULL, "wait_for_signal", "closed-wait", WEDGE_PROVED, WEDGE_SCOPE_WHOLE);
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_readers, 0, 6);
    tcase_add_test(tcase, test_upgrade);
    tcase_add_loop_test(tcase, test_posters, 0, 8);
    tcase_add_loop_test(tcase, test_other_posters, 0, 2);
    tcase_add_loop_test(tcase, test_taker, 0, 3);
    tcase_add_test(tcase, test_missing);
    tcase_add_loop_test(tcase, test_shared_taker, 0, 7);
    tcase_add_test(tcase, test_copied_beside_a_death);
    tcase_add_loop_test(tcase, test_signalled_early, 0, 2);
    tcase_add_test(tcase, test_signalled_early_and_joined);
}

int main(void)
{
    /* AddressSanitizer's handlers in the factory would be the program's, and beside a handler the record says less. */
    setenv("ASAN_OPTIONS", "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0", 1);
    return wedge_test_main("evidence", 60, fill);
}
