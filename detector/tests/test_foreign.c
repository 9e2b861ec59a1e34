/* Programs in C++ and Python: whose locks are libc's, and whose are words or semaphores that any thread may wake; the
 * words name what the language calls them. */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "detector/tests/cases.h"

static const struct {
    const char *name;
    enum wedge_verdict_kind kind;
    enum wedge_certainty certainty;
    size_t victims;
    const char *words[2];
    const char *culprit; /* as in struct hang */
} hangs[] = {
    {"cxx-mutex-cycle",
     WEDGE_VERDICT_LOCK_CYCLE,
     WEDGE_PROVED,
     3,
     {"::take_both() (factory_cxx.cpp:", "mutex at"},
     "take_both"},
    {"cxx-semaphores",
     WEDGE_VERDICT_CLOSED_WAIT,
     WEDGE_PROVED,
     2,
     {"::consume() (factory_cxx.cpp:", "a std::counting_semaphore"},
     "consume|semaphores"},
    {"cxx-atomic-wait",
     WEDGE_VERDICT_CLOSED_WAIT,
     WEDGE_PROVED,
     2,
     {"::wait_for_turn() (factory_cxx.cpp:", "a std::atomic"},
     "wait_for_turn|atomic_wait"},
    {"cxx-condition",
     WEDGE_VERDICT_CLOSED_WAIT,
     WEDGE_PROVED,
     2,
     {"::wait_for_change() (factory_cxx.cpp:", "condition variable"},
     "wait_for_change|condition"},
    /* The interpreter can call setitimer(), and whether it did cannot be seen. */
    {"python-lock-cycle",
     WEDGE_VERDICT_CLOSED_WAIT,
     WEDGE_EVIDENT,
     3,
     {"a lock of Python: threading", "sem_wait()"},
     "PyThread_acquire_lock_timed"},
    {"python-shared-lock",
     WEDGE_VERDICT_ORPHANED_WAIT,
     WEDGE_EVIDENT,
     1,
     {"a lock of Python: multiprocessing", "sem_wait()"}},
};

START_TEST(test_hang)
{
    cases_asked("stacks", hangs[_i].name, cases_repeats());
    for (int run = 0; run < cases_repeats(); run++) {
        struct factory factory = factory_start(hangs[_i].name);
        struct wedge_snapshot *s = examine_until_all(factory.pid, hangs[_i].victims, WEDGE_STACKS_ON_HANG);
        const struct wedge_verdict *v = &s->verdicts[0];
        ck_assert_str_eq(wedge_verdict_words[v->kind], wedge_verdict_words[hangs[_i].kind]);
        ck_assert_str_eq(wedge_certainty_words[v->certainty], wedge_certainty_words[hangs[_i].certainty]);
        ck_assert_int_eq(v->scope, WEDGE_SCOPE_WHOLE);
        ck_assert_uint_eq(v->n_victims, hangs[_i].victims);
        for (int i = 0; i < 2; i++)
            ck_assert_msg(strstr(v->summary, hangs[_i].words[i]), "%s: %s", hangs[_i].words[i], v->summary);
        ck_assert_msg(!strstr(v->summary, ")()"), "%s", v->summary);
        for (size_t i = 0; i < s->n_threads; i++) { /* what follows brings its own comma */
            const char *object = s->threads[i].wait.object.describe;
            ck_assert_msg(!*object || object[strlen(object) - 1] != ',', "%s", object);
        }
        cases_check_culprits(hangs[_i].name, hangs[_i].culprit, s);
        cases_right("stacks", hangs[_i].name, v, hangs[_i].culprit);
        wedge_snapshot_free(s);
        factory_end(&factory);
    }
}
END_TEST

static const struct healthy healthy[] = {
    {"cxx-slow-atomic", false, WEDGE_WAIT_FUTEX},
    {"cxx-slow-mutex", false, WEDGE_WAIT_MUTEX},
    {"python-slow-lock", false, WEDGE_WAIT_SEM},
    {"python-idle-pool", false, WEDGE_WAIT_SEM},
};
START_TEST(test_healthy)
{
    healthy_check(&healthy[_i]);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_hang, 0, sizeof(hangs) / sizeof(hangs[0]));
    tcase_add_loop_test(tcase, test_healthy, 0, sizeof(healthy) / sizeof(healthy[0]));
}

int main(void)
{
    return wedge_test_main("foreign", 60, fill);
}
