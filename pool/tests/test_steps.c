/*
 * A worker dies after each single instruction of what it does, and the pool keeps its promise (docs/pool-settings.md,
 * docs/pool-protocol.md): each accepted task is reported once, LOST where it went with the dead, without another task that
 * would have to come first; then the next one is done, in a queue of one, which has no room to lose; and join returns.
 *
 *   ARMED -> the first worker that passes `from` steps (the processor's trap flag: SIGTRAP after each instruction)
 *         -> DIED after `wanted` instructions, or PASSED: it came to `to` first, and there are no more to die after
 *
 * Two deaths: one worker dies with a message in hand, and the one that steps is who repairs that. Meanwhile the parent's feeder may be
 * held before it has let its lock go.
 *
 * usage: test_steps          a sample of the instructions
 *        test_steps whole    each of them (label torture)
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/tests/suite.h"
#include "pool/tests/pace.h"
#include "pool/tests/util.h"

#define WAIT_MS   15000 /* for what takes milliseconds */
#define TRAP_FLAG 0x100 /* of RFLAGS (Intel SDM vol. 1, 3.4.3.3) */
#define STEPS_MAX 100000

enum state { IDLE, ARMED_FIRST, ARMED, STEPPING, DIED, PASSED, MISSED };

/* Shared with the workers. */
static struct shared {
    _Atomic uint32_t state; /* a futex */
    _Atomic uint32_t wanted;
} * shared;

static bool whole;
static pid_t parent;
static struct tally tally;
static struct wedge_pool *pool;
static uint64_t number; /* the last task's */
static volatile sig_atomic_t steps, stepping; /* of this process; one thread of it */
static bool has_fed; /* this process: its feeder is there. To create a thread blocks all signals, the trap among them */

static void set_state(enum state state)
{
    atomic_store(&shared->state, state);
    syscall(SYS_futex, &shared->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static bool change_state(enum state from, enum state to)
{
    uint32_t was = from;
    bool changed = atomic_compare_exchange_strong(&shared->state, &was, to);
    syscall(SYS_futex, &shared->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    return changed;
}

static bool is_over(enum state state)
{
    return state == DIED || state == PASSED || state == MISSED || state == IDLE;
}

static void on_step(int signal_number, siginfo_t *info, void *context)
{
    ucontext_t *interrupted = context;
    (void)signal_number, (void)info;
    if (!stepping) {
        interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    } else if (++steps == (int)atomic_load(&shared->wanted)) {
        set_state(DIED);
        kill(getpid(), SIGKILL);
    }
}

/* A feeder has every signal blocked; a blocked trap would end the process. */
static void begin_steps(void)
{
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    sigset_t trap;
    sigaction(SIGTRAP, &action, NULL);
    sigemptyset(&trap);
    sigaddset(&trap, SIGTRAP);
    pthread_sigmask(SIG_UNBLOCK, &trap, NULL);
    steps = 0;
    stepping = 1;
    /* The red zone below the stack pointer is the compiler's (System V ABI, 3.2.2). */
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torl %0, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp"
                     :
                     : "i"(TRAP_FLAG)
                     : "cc", "memory");
}

static long at_from(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && change_state(ARMED, STEPPING))
        begin_steps();
    return 0;
}

static long at_to(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && stepping) {
        stepping = 0;
        change_state(STEPPING, PASSED);
    }
    return 0;
}

/* `from` and `to` are one place: once round. */
static long at_both(struct wedge_point *point, long a, long b, long c)
{
    if (stepping)
        return at_to(point, a, b, c);
    return has_fed ? at_from(point, a, b, c) : 0;
}

static long note_fed(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    has_fed = true;
    return 0;
}

/* The first death of two. */
static long die_first(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    if (getpid() != parent && change_state(ARMED_FIRST, ARMED))
        kill(getpid(), SIGKILL);
    return 0;
}

/* Who has the lock, and need not repair: the parent was faster. */
static long at_locked(struct wedge_point *point, long a, long b, long c)
{
    if (getpid() != parent && !stepping)
        change_state(ARMED, MISSED);
    return at_to(point, a, b, c);
}

/* The parent's feeder, with the message that the first one is to die with: what it writes before that is not held. */
static _Thread_local bool feeds_armed;
static long begin_hold(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    feeds_armed = getpid() == parent && atomic_load(&shared->state) == ARMED_FIRST;
    return 0;
}

static long hold_feeder(struct wedge_point *point, long a, long b, long c)
{
    (void)point, (void)a, (void)b, (void)c;
    for (uint32_t seen; feeds_armed && (seen = atomic_load(&shared->state), !is_over(seen));)
        syscall(SYS_futex, &shared->state, FUTEX_WAIT, seen, NULL, NULL, 0);
    return 0;
}

#define STREAM                                                                                                         \
    {                                                                                                                  \
        "queue_lock=owned", "dead_task=lost", "result_bound=bounded", "close_by=flag", "check=1", "collector_wait=1",  \
            "parent_death=leave"                                                                                       \
    }
#define SLOTS                                                                                                          \
    {                                                                                                                  \
        "restart_limit=1000"                                                                                           \
    }

static const struct range {
    const char *name, *preset, *from, *to, *processes;
    bool second, held;
    int stride; /* of the sample */
    const char *settings[8];
} ranges[] = {
    {"a task is taken", "proposed", "pool.reader.locked", "pool.reader.locked", "processes=2", false, false, 89,
     STREAM},
    {"a result is fed", "proposed", "pool.worker.result_published", "pool.worker.result_published", "processes=1",
     false, false, 53, STREAM},
    {"a death is repaired", "proposed", "pool.reader.repairs", "pool.reader.locked", "processes=2", true, false, 23,
     STREAM},
    {"a death is repaired beside a writer", "proposed", "pool.reader.repairs", "pool.reader.locked", "processes=2",
     true, true, 17, STREAM},
    {"a slot's round", "hardened", "pool.worker.got_task", "pool.worker.got_task", "processes=1", false, false, 53,
     SLOTS},
};
#define N_RANGES (sizeof(ranges) / sizeof(ranges[0]))

static void make(const struct range *range, bool collects)
{
    struct wedge_pool_callbacks callbacks = square_callbacks(&tally);
    pool = MAKE_POOL(range->preset, range->processes, "threads=1", "queue=1");
    for (int i = 0; i < 8 && range->settings[i]; i++)
        ck_assert_int_eq(wedge_pool_set(pool, range->settings[i], NULL), 0);
    if (!collects)
        callbacks.collect = NULL;
    number = 0;
    tally_init(&tally);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
}

/* Puts one and waits for what became of it. */
static enum wedge_pool_outcome put_and_take(const struct range *range)
{
    struct wedge_pool_result result;
    uint64_t square = 0, id = 0;
    int64_t until_ns = wedge_pool_after_ms(paced_ms(WAIT_MS));
    number++;
    int rc = wedge_pool_put(pool, &number, sizeof(number), until_ns, &id);
    if (rc == 0)
        rc = wedge_pool_take(pool, &result, &square, sizeof(square), until_ns);
    ck_assert_msg(rc == 0, "%s, after %u instructions: %s, %s", range->name, atomic_load(&shared->wanted),
                  id ? "take" : "put", strerror(-rc));
    ck_assert_uint_eq(result.id, id);
    ck_assert(result.outcome == WEDGE_POOL_LOST || (result.outcome == WEDGE_POOL_OK && square == number * number));
    return result.outcome;
}

/* Until the one that was to step has died or come to its end. */
static enum state play(const struct range *range)
{
    struct wedge_pool_stats before, now;
    enum state state;
    wedge_pool_stats(pool, &before);
    set_state(range->second ? ARMED_FIRST : ARMED);
    do {
        put_and_take(range);
        wedge_pool_stats(pool, &now); /* before the state: who dies has said so */
        state = atomic_load(&shared->state);
        ck_assert_msg(is_over(state) || now.deaths <= before.deaths + range->second,
                      "%s, after %u instructions: somebody died otherwise", range->name, atomic_load(&shared->wanted));
    } while (!is_over(state));
    return state;
}

/* Until so many deaths are known: nobody who is about to die has the next task. Each take is a look. */
static void wait_deaths(const struct range *range, uint64_t deaths)
{
    struct wedge_pool_result result;
    struct wedge_pool_stats stats;
    int64_t until_ns = wedge_pool_after_ms(paced_ms(WAIT_MS));
    while (wedge_pool_stats(pool, &stats), stats.deaths < deaths) {
        int rc = wedge_pool_take(pool, &result, NULL, 0, wedge_pool_after_ms(1));
        ck_assert_msg(rc == -ETIMEDOUT, "%s, after %u instructions: something more was reported: %d", range->name,
                      atomic_load(&shared->wanted), rc);
        ck_assert_int_lt(wedge_pool_after_ms(0), until_ns);
    }
}

static void share(void)
{
    parent = getpid();
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
}

/* One worker after the other, each one instruction further. */
START_TEST(each_step_of_a_round)
{
    const struct range *range = &ranges[_i];
    struct wedge_pool_stats stats;
    unsigned died = 0, k = 1, missed = 0;
    share();
    if (range->second)
        arm_place("pool.reader.head", die_first);
    if (range->held) {
        arm_place("pool.feeder.locked", begin_hold);
        arm_place("pool.feeder.written", hold_feeder);
    }
    arm_place("pool.worker.answered", note_fed);
    arm_place(range->from, strcmp(range->from, range->to) == 0 ? at_both : at_from);
    if (strcmp(range->from, range->to) != 0)
        arm_place(range->to, at_locked);
    make(range, false);
    for (enum state state = IDLE; state != PASSED && k < STEPS_MAX;) {
        wedge_pool_stats(pool, &stats);
        atomic_store(&shared->wanted, k);
        state = play(range);
        wait_deaths(range, stats.deaths + (state == DIED) + range->second);
        set_state(IDLE);
        ck_assert_int_eq(put_and_take(range), WEDGE_POOL_OK);
        died += state == DIED;
        missed += state == MISSED;
        k += state == MISSED ? 0 : whole ? 1 : (unsigned)range->stride;
        ck_assert_uint_lt(missed, 100 + 10 * died); /* the parent may be faster now and then */
    }
    ck_assert_uint_gt(died, 3);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    take_all(pool, &tally);
    ck_assert_uint_eq(tally.reported, 0);
    ck_assert_int_eq(wedge_pool_join(pool, wedge_pool_after_ms(paced_ms(WAIT_MS)), NULL), 0);
    wedge_pool_destroy(pool);
    check_no_child();
    if (whole)
        printf("%s: %u deaths, %u steps\n", range->name, died, k);
}
END_TEST

static const struct range leaving[] = {
    {"a stream's worker leaves", "proposed", "pool.worker.answered", NULL, "processes=1", false, false, 199, STREAM},
    {"a slot's worker leaves", "hardened", "pool.worker.answered", NULL, "processes=1", false, false, 199, SLOTS},
};

/* From its last task to its end: a pool for each instruction. */
START_TEST(each_step_of_leaving)
{
    const struct range *range = &leaving[_i];
    unsigned died = 0, k = 1;
    enum state state = DIED;
    share();
    arm_place(range->from, at_from);
    for (; state == DIED && k < STEPS_MAX; k += whole ? 7 : (unsigned)range->stride) {
        struct wedge_pool_err err = {0};
        atomic_store(&shared->wanted, k);
        set_state(ARMED);
        make(range, true);
        put_number(pool, 1);
        int rc = wedge_pool_join(pool, wedge_pool_after_ms(paced_ms(WAIT_MS)), &err);
        ck_assert_msg(rc == 0, "%s, after %u instructions: join: %s", range->name, k, err.message);
        tally_check_each_once(&tally, 1);
        wedge_pool_destroy(pool);
        check_no_child();
        state = atomic_load(&shared->state);
        died += state == DIED;
    }
    ck_assert_uint_gt(died, 3);
    if (whole)
        printf("%s: %u deaths, %u steps\n", range->name, died, k);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, each_step_of_a_round, 0, N_RANGES);
    tcase_add_loop_test(t, each_step_of_leaving, 0, 2);
}

int main(int argc, char **argv)
{
    whole = argc > 1 && strcmp(argv[1], "whole") == 0;
    return wedge_test_main("steps", whole ? 1700 : 60, fill);
}
