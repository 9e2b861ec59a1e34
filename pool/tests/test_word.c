/*
 * pool/word: a sleeper is woken by a bump from another process, never sleeps past a bump, and keeps its deadline; the dead
 * are forgotten. pool/sleeper: however it waits, it does not sleep past a change, and an idle one takes no CPU.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/sleeper.h"
#include "pool/word.h"

static struct wedge_word *shared_words(int n)
{
    void *map =
        mmap(NULL, sizeof(struct wedge_word) * (size_t)n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    return map;
}

START_TEST(a_bump_before_the_sleep_is_not_missed)
{
    struct wedge_word *word = shared_words(1);
    uint32_t seen = wedge_word_read(word);
    wedge_word_bump(word, 1);
    ck_assert_int_eq(wedge_word_wait(word, seen, WEDGE_WAIT_FOR_ITEM, INT64_MAX), 0);
    ck_assert_uint_eq(atomic_load(&word->waiters), 0);
}
END_TEST

START_TEST(a_deadline_ends_the_sleep)
{
    struct wedge_word *word = shared_words(1);
    int64_t until = wedge_clock_ns() + 20 * WEDGE_NS_PER_MS;
    int rc;
    while ((rc = wedge_word_wait(word, wedge_word_read(word), WEDGE_WAIT_FOR_ROOM, until)) == 0)
        ;
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_int_ge(wedge_clock_ns(), until);
    ck_assert_int_eq(wedge_word_wait(word, wedge_word_read(word), WEDGE_WAIT_FOR_ROOM, 0), -ETIMEDOUT);
    ck_assert_int_eq(wedge_word_wait(word, wedge_word_read(word), WEDGE_WAIT_FOR_ROOM, -1), -ETIMEDOUT);
}
END_TEST

/* Two processes hand a turn back and forth: each turn is one sleep that only the other's bump can end. */
START_TEST(processes_wake_each_other)
{
    enum { TURNS = 2000 };
    struct wedge_word *words = shared_words(2);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        struct wedge_word *mine = &words[pid == 0], *other = &words[pid != 0];
        if (pid == 0)
            while (wedge_word_read(mine) == turn)
                wedge_word_wait(mine, turn, WEDGE_WAIT_FOR_PEER, INT64_MAX);
        wedge_word_bump(other, 1);
        if (pid != 0)
            while (wedge_word_read(mine) == turn)
                wedge_word_wait(mine, turn, WEDGE_WAIT_FOR_PEER, INT64_MAX);
    }
    if (pid == 0)
        _exit(0);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(wedge_word_read(&words[0]), TURNS);
    ck_assert_uint_eq(wedge_word_read(&words[1]), TURNS);
}
END_TEST

START_TEST(a_word_that_nobody_sleeps_on_is_not_written_by_tell)
{
    struct wedge_word *word = shared_words(1);
    wedge_word_tell(word, INT_MAX);
    ck_assert_uint_eq(wedge_word_read(word), 0);
    uint32_t entered = wedge_word_enter(word);
    wedge_word_tell(word, INT_MAX);
    ck_assert_uint_eq(wedge_word_read(word), 1);
    wedge_word_leave(word, entered);
    wedge_word_tell(word, INT_MAX);
    ck_assert_uint_eq(wedge_word_read(word), 1);
}
END_TEST

/* A process that is killed in its sleep stays counted until the count begins anew; those who live are counted right. */
START_TEST(renew_forgets_the_dead_and_wakes_the_living)
{
    struct wedge_word *word = shared_words(1);
    uint32_t before = wedge_word_enter(word); /* lives, and leaves after the renewal */
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        wedge_word_wait(word, 0, WEDGE_WAIT_FOR_ITEM, INT64_MAX);
        _exit(1);
    }
    while ((atomic_load(&word->waiters) & WEDGE_WORD_COUNT) < 2)
        sched_yield();
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    wedge_word_leave(word, wedge_word_enter(word));
    ck_assert(wedge_word_sleeps(word));
    uint32_t seen = wedge_word_read(word);
    wedge_word_renew(word);
    ck_assert(!wedge_word_sleeps(word));
    ck_assert_int_eq(wedge_word_wait(word, seen, WEDGE_WAIT_FOR_ITEM, INT64_MAX), 0); /* its look is out of date */
    wedge_word_leave(word, before); /* of an older count: it takes nothing from this one */
    ck_assert(!wedge_word_sleeps(word));
    uint32_t entered = wedge_word_enter(word);
    wedge_word_leave(word, before);
    ck_assert(wedge_word_sleeps(word));
    wedge_word_leave(word, entered);
    ck_assert(!wedge_word_sleeps(word));
}
END_TEST

/* Hands numbers to a sleeper: some at once, so that it naps, some one by one, so that it spins or sleeps. */
enum { NUMBERS = 20000 };
struct hand_over {
    struct wedge_word word;
    _Atomic uint32_t given, taken;
};

static bool given_look(void *arg)
{
    struct hand_over *over = arg;
    return atomic_load(&over->given) > atomic_load(&over->taken);
}

static void *sleeper_main(void *arg)
{
    struct hand_over *over = arg;
    struct wedge_sleeper sleeper = {.may_spin = true};
    while (atomic_load(&over->taken) < NUMBERS) {
        if (given_look(over)) {
            atomic_fetch_add(&over->taken, 1);
            wedge_sleeper_found(&sleeper, 1);
        } else {
            wedge_sleeper_wait(&sleeper, &over->word, given_look, over, false, WEDGE_WAIT_FOR_ITEM, INT64_MAX);
        }
    }
    return NULL;
}

START_TEST(a_sleeper_never_sleeps_past_a_change)
{
    static struct hand_over over;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, sleeper_main, &over), 0);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        atomic_fetch_add(&over.given, 1);
        wedge_word_tell(&over.word, 1);
        while (i % 64 < 8 && atomic_load(&over.taken) <= i) /* one by one; else it would be a burst for ever */
            sched_yield();
    }
    pthread_join(thread, NULL); /* hangs, if one was missed: the sleep has no end of its own here */
    ck_assert_uint_eq(atomic_load(&over.taken), NUMBERS);
    ck_assert(!wedge_word_sleeps(&over.word));
}
END_TEST

static bool never_look(void *arg)
{
    (void)arg;
    return false;
}

/* _i: after a burst, or after none. */
START_TEST(a_sleeper_keeps_its_deadline_and_takes_no_cpu)
{
    struct wedge_word *word = shared_words(1);
    struct wedge_sleeper sleeper = {.may_spin = true};
    struct rusage before, after;
    if (_i)
        wedge_sleeper_found(&sleeper, WEDGE_SLEEPER_BURST);
    getrusage(RUSAGE_SELF, &before);
    int64_t begin_ns = wedge_clock_ns(), until_ns = begin_ns + 300 * WEDGE_NS_PER_MS;
    wedge_sleeper_wait(&sleeper, word, never_look, NULL, false, WEDGE_WAIT_FOR_ITEM,
                       begin_ns); /* past: no wait at all */
    while (wedge_clock_ns() < until_ns)
        wedge_sleeper_wait(&sleeper, word, never_look, NULL, false, WEDGE_WAIT_FOR_ITEM, until_ns);
    getrusage(RUSAGE_SELF, &after);
    int64_t used_us =
        (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
        after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    ck_assert_int_lt(used_us, 20000); /* a spin is 50 µs; one that went on would take 300000 */
    ck_assert_int_eq(atomic_load(&word->spin_until_ns), 0);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, a_bump_before_the_sleep_is_not_missed);
    tcase_add_test(t, a_deadline_ends_the_sleep);
    tcase_add_test(t, processes_wake_each_other);
    tcase_add_test(t, a_word_that_nobody_sleeps_on_is_not_written_by_tell);
    tcase_add_test(t, renew_forgets_the_dead_and_wakes_the_living);
    tcase_add_test(t, a_sleeper_never_sleeps_past_a_change);
    tcase_add_loop_test(t, a_sleeper_keeps_its_deadline_and_takes_no_cpu, 0, 2);
}

int main(void)
{
    return wedge_test_main("word", 30, fill);
}
