/* The record of calls: what is in the arena after a death, while a thread waits, and after waits that never return. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "faults/functions.h"
#include "faults/tests/run.h"

#define PATIENCE_NS (20 * WEDGE_NS_PER_S)

static struct {
    uint64_t mutex, other, rwlock, cond, sem, full;
    long long now;
} said;
static struct run run;

static void start(const char *what, enum wedge_record record)
{
    const char *const argv[] = {run_calls_target(), what, NULL};
    run_record = record;
    run_start(&run, NULL, argv);
    run_read_until(&run, "now=");
    run_read_until(&run, "\n");
    ck_assert_int_eq(sscanf(run.text,
                            "mutex=%" SCNx64 " other=%" SCNx64 " rwlock=%" SCNx64 " cond=%" SCNx64 " sem=%" SCNx64
                            " full=%" SCNx64 " now=%lld",
                            &said.mutex, &said.other, &said.rwlock, &said.cond, &said.sem, &said.full, &said.now),
                     7);
}

static void finish(void)
{
    kill(run.pid, SIGKILL);
    run_finish(&run);
    run_free(&run);
}

static const struct wedge_arena_thread *thread_at(uint32_t slot)
{
    return wedge_arena_live(&run.arena, WEDGE_SEC_THREADS, slot);
}

/* The innermost wait of a thread, NULL none. */
static const struct wedge_arena_wait *wait_of(uint32_t slot)
{
    for (int level = 1; level >= 0; level--)
        if (thread_at(slot)->wait[level].kind != WEDGE_WAITING_NOT)
            return &thread_at(slot)->wait[level];
    return NULL;
}

/* Until a live thread of that slot waits for the object. */
static void wait_until_waiting(uint32_t slot, uint64_t object)
{
    int64_t until = wedge_clock_ns() + PATIENCE_NS;
    for (;;) {
        const struct wedge_arena_wait *wait = wait_of(slot);
        if (wait && wait->object == object && wait->kind == WEDGE_WAITING_CALL && wait->seq % 2 == 0)
            return;
        ck_assert_msg(wedge_clock_ns() < until, "slot %u never waited for 0x%" PRIx64, slot, object);
    }
}

static unsigned count_holds(uint32_t slot, uint64_t object, uint32_t state, unsigned shared)
{
    unsigned n = 0;
    for (unsigned i = 0; i < WEDGE_HOLDS; i++) {
        const struct wedge_arena_hold *hold = &thread_at(slot)->holds[i];
        n += hold->state == state && (state == WEDGE_HOLD_FREE || (hold->object == object && hold->shared == shared));
    }
    return n;
}

START_TEST(test_events_after_death)
{
    const struct {
        uint16_t kind;
        uint32_t function;
        uint64_t object;
        int64_t arg;
    } expected[] = {
        {WEDGE_EV_TAKE, WEDGE_FN_pthread_mutex_lock, 0, 0},
        {WEDGE_EV_TAKE, WEDGE_FN_pthread_mutex_trylock, 0, -EBUSY},
        {WEDGE_EV_GIVE, WEDGE_FN_pthread_mutex_unlock, 0, 0},
        {WEDGE_EV_WAKE, WEDGE_FN_sem_post, 1, 0},
        {WEDGE_EV_WAIT, WEDGE_FN_sem_wait, 1, 0},
        {WEDGE_EV_WAIT, WEDGE_FN_sem_trywait, 1, -EAGAIN},
        {WEDGE_EV_WAKE, WEDGE_FN_write, 3, 1},
        {WEDGE_EV_WAIT, WEDGE_FN_read, 3, 1},
        {WEDGE_EV_WAKE, WEDGE_FN_pthread_cond_signal, 2, 0},
    };
    enum { N = sizeof(expected) / sizeof(expected[0]) };
    struct wedge_arena_copy copy;
    struct wedge_err err;
    start("events", WEDGE_RECORD_CALLS);
    run_finish(&run);
    ck_assert(WIFSIGNALED(run.status));
    long long end = wedge_clock_ns();
    ck_assert_int_eq(wedge_arena_copy(&run.arena, true, &copy, &err), 0);
    const struct wedge_arena_event *event;
    unsigned at = 0;
    for (uint32_t i = 0; (event = wedge_arena_event(&copy, 0, i)); i++) {
        if (event->kind < WEDGE_EV_TAKE || (at == 0 && event->object != said.mutex)) /* its output */
            continue;
        ck_assert_uint_lt(at, N);
        ck_assert_int_eq(event->kind, expected[at].kind);
        ck_assert_uint_eq(event->name, expected[at].function + 1);
        ck_assert_int_eq((int64_t)event->arg, expected[at].arg);
        uint64_t object = expected[at].object;
        if (object < 3)
            ck_assert_uint_eq(event->object, object == 0 ? said.mutex : object == 1 ? said.sem : said.cond);
        ck_assert_uint_eq(event->about, object == 0   ? WEDGE_OBJECT_MUTEX
                                        : object == 1 ? WEDGE_OBJECT_SEM
                                        : object == 2 ? WEDGE_OBJECT_COND
                                                      : WEDGE_OBJECT_FD);
        /* The counter's time is the clock's, to a tenth of a millisecond. */
        ck_assert_int_gt((long long)event->when_ns, said.now - 100000);
        ck_assert_int_lt((long long)event->when_ns, end + 100000);
        at++;
    }
    ck_assert_uint_eq(at, N);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_holds_and_waits)
{
    start("holds", WEDGE_RECORD_CALLS);
    wait_until_waiting(0, said.full);
    wait_until_waiting(1, said.cond);
    ck_assert_uint_eq(count_holds(0, said.mutex, WEDGE_HOLD_HOLD, 0), 1);
    ck_assert_uint_eq(count_holds(0, said.rwlock, WEDGE_HOLD_HOLD, 1), 2);
    ck_assert_uint_eq(count_holds(0, said.other, WEDGE_HOLD_HOLD, 0), 0);
    ck_assert_uint_eq(count_holds(0, 0, WEDGE_HOLD_FREE, 0), WEDGE_HOLDS - 3);
    ck_assert_uint_eq(count_holds(1, said.rwlock, WEDGE_HOLD_HOLD, 1), 1);
    ck_assert_uint_eq(count_holds(1, said.other, WEDGE_HOLD_WANT, 0), 1);
    ck_assert_uint_eq(wait_of(0)->name, WEDGE_FN_sem_wait + 1);
    ck_assert_uint_eq(wait_of(1)->name, WEDGE_FN_pthread_cond_wait + 1);
    ck_assert_int_gt((long long)wait_of(0)->since_ns, said.now - 100000);
    finish();
}
END_TEST

/* What a thread did to semaphores, for as long as there is room: locks come first. */
START_TEST(test_semaphores)
{
    uint64_t taken, back;
    start("semaphores", WEDGE_RECORD_CALLS);
    run_read_until(&run, "back=");
    run_read_until(&run, "\n");
    ck_assert_int_eq(sscanf(strstr(run.text, "taken="), "taken=%" SCNx64 " back=%" SCNx64, &taken, &back), 2);
    ck_assert_uint_eq(count_holds(0, taken, WEDGE_HOLD_HOLD, 0), 1);
    ck_assert_uint_eq(count_holds(0, said.sem, WEDGE_HOLD_GAVE, 0), 1);
    ck_assert_uint_eq(count_holds(0, 0, WEDGE_HOLD_FREE, 0), WEDGE_HOLDS - 2);
    ck_assert_uint_eq(thread_at(0)->sems_lost, 0);
    ck_assert_int_eq(write(run.in, "x", 1), 1);
    wait_until_waiting(0, said.full);
    ck_assert_uint_eq(count_holds(0, said.mutex, WEDGE_HOLD_HOLD, 0), 1);
    ck_assert_uint_eq(thread_at(0)->sems_lost, 1);
    finish();
}
END_TEST

/* That it armed an alarm, in whichever way: by alarm(), setitimer() or syscall(); and that it did not. */
START_TEST(test_alarms)
{
    static const char *const ways[] = {"holds", "alarm", "setitimer", "syscall"};
    start(ways[_i], WEDGE_RECORD_CALLS);
    const struct wedge_arena_proc *proc = wedge_arena_live(&run.arena, WEDGE_SEC_PROCS, 0);
    ck_assert_uint_eq(proc->alarms, _i > 0);
    ck_assert_uint_eq(proc->ordinal, 1);
    finish();
}
END_TEST

START_TEST(test_nothing_unless_asked)
{
    start("holds", WEDGE_RECORD_PLACES);
    ck_assert_ptr_null(wait_of(0));
    ck_assert_uint_eq(count_holds(0, 0, WEDGE_HOLD_FREE, 0), WEDGE_HOLDS);
    finish();
}
END_TEST

/* What a siglongjmp left is written over; a handler's own calls do not end the wait that it interrupted. */
START_TEST(test_jumps_and_handlers)
{
    start("jumps", WEDGE_RECORD_CALLS);
    wait_until_waiting(0, said.full);
    for (int i = 0; i < 20; i++) {
        uint32_t events = thread_at(0)->event_seq;
        int64_t until = wedge_clock_ns() + PATIENCE_NS;
        ck_assert_int_eq(kill(run.pid, SIGUSR1), 0);
        while (thread_at(0)->event_seq < events + 2)
            ck_assert_msg(wedge_clock_ns() < until, "the handler's calls were not recorded");
        ck_assert_ptr_nonnull(wait_of(0));
        wait_until_waiting(0, said.full);
    }
    finish();
}
END_TEST

START_TEST(test_cancellations)
{
    start("cancels", WEDGE_RECORD_CALLS);
    wait_until_waiting(0, said.full);
    ck_assert_ptr_nonnull(wait_of(0));
    finish();
}
END_TEST

/* More places than a census has room for: each pass is counted or told to be lost, and nothing else goes wrong. */
START_TEST(test_full_census)
{
    struct wedge_arena_copy copy;
    struct wedge_err err;
    uint64_t counted = 0;
    bool end = false;
    run_census = WEDGE_CENSUS_CALLS;
    RUN(&run, NULL, run_many_target());
    run_census = WEDGE_CENSUS_NONE;
    ck_assert_int_eq(run.status, 0);
    ck_assert_int_eq(wedge_arena_copy(&run.arena, true, &copy, &err), 0);
    uint32_t lost = atomic_load(&wedge_arena_header(&run.arena)->lost_census);
    ck_assert_uint_gt(lost, 0);
    for (uint32_t i = 0; !end; i++) {
        const struct wedge_arena_census *row = wedge_arena_census_row(&copy, i, &end);
        counted += row && !end ? row->count : 0;
    }
    ck_assert_uint_gt(counted, 50000);
    ck_assert_uint_eq(counted + lost, 70002); /* with `start` and `exit` */
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_full_census);
    tcase_add_test(tcase, test_events_after_death);
    tcase_add_test(tcase, test_holds_and_waits);
    tcase_add_test(tcase, test_semaphores);
    tcase_add_loop_test(tcase, test_alarms, 0, 4);
    tcase_add_test(tcase, test_nothing_unless_asked);
    tcase_add_test(tcase, test_jumps_and_handlers);
    tcase_add_test(tcase, test_cancellations);
}

int main(void)
{
    return wedge_test_main("call_record", 60, fill);
}
