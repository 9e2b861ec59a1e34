/*
 * The same seed gives the same firings: which rule, in which process, on which thread where the rule counts per thread,
 * at which hit. The program's threads race for everything, and busy processes beside it see to it that no two runs
 * interleave alike.
 *
 * usage: test_same   with WEDGE_SAME_RUNS=N in the environment for another number of runs.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "faults/tests/run.h"

enum { BUSY = 2, FIRINGS_MAX = 2000 };

/* About as many firings as an arena keeps whole. */
static const char mixed[] = "seed 0x5eed\n"
                            "define pipe = pipe created-in=main\n"
                            "define mutex = mutex\n"
                            "define sem = sem\n"
                            "t1 racer[*] sem_trywait p=0.1          -> errno EINTR\n"
                            "t2 *        r.round nth=7              -> kill WINCH\n"
                            "t3 racer[2] pthread_mutex_unlock every=10 max=3 -> kill WINCH\n"
                            "p1 *        sem_post p=0.1 per=proc    -> kill WINCH\n"
                            "p2 *        pthread_mutex_lock nth=5..9 per=proc -> errno EINVAL\n"
                            "p3 racer[1] r.round every=11 per=proc  -> kill WINCH\n"
                            "o1 *        pthread_mutex_unlock obj=mutex p=0.1 per=obj -> kill WINCH\n"
                            "o2 *        write obj=pipe p=0.1 per=obj -> errno EINTR\n"
                            "o3 *        sem_trywait obj=sem every=13 per=obj -> kill WINCH\n"
                            "c1 *        sem_post p=0.05 per=tree   -> kill WINCH\n"
                            "x1 *        sem_post p=0.2 max=8 per=proc -> kill WINCH\n"
                            "x2 *        sem_trywait obj=sem every=2 max=9 per=obj -> kill WINCH\n";

struct firing {
    uint32_t rule, hit;
    uint64_t process, thread; /* pedigrees; 0 where the rule counts over them */
};

static int by_all(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct firing));
}

static const struct wedge_arena_proc *proc_of(struct run *run, int32_t pid)
{
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++) {
        const struct wedge_arena_proc *proc = wedge_arena_live(&run->arena, WEDGE_SEC_PROCS, i);
        if (proc->gen && proc->pid == pid)
            return proc;
    }
    ck_abort_msg("no process %d", pid);
    return NULL;
}

static uint64_t thread_of(struct run *run, int32_t tid)
{
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *thread = wedge_arena_live(&run->arena, WEDGE_SEC_THREADS, i);
        if (thread->gen && thread->tid == tid)
            return thread->pedigree;
    }
    ck_abort_msg("no thread %d", tid);
    return 0;
}

/* The firings of a run in an order that is not that of the race. Returns how many. */
static size_t run_once(const char *plan, struct firing ret[FIRINGS_MAX])
{
    static char target[4096];
    struct run run;
    snprintf(target, sizeof(target), "%s", run_target());
    strcpy(strrchr(target, '/') + 1, "faults_target_race");
    RUN(&run, plan, target, "4", "40");
    ck_assert_int_eq(run.status, 0);
    const struct wedge_arena_control *control = wedge_arena_live(&run.arena, WEDGE_SEC_CONTROL, 0);
    size_t n = control->firings;
    ck_assert_uint_le(n, FIRINGS_MAX);
    ck_assert_uint_le(n, wedge_arena_count(WEDGE_SEC_FIRINGS));
    memset(ret, 0, sizeof(*ret) * n);
    for (uint32_t i = 0; i < n; i++) {
        const struct wedge_arena_event *event = wedge_arena_live(&run.arena, WEDGE_SEC_FIRINGS, i);
        ck_assert_msg(event->seq == i + 1 && event->rule > 0, "firing %u of %zu was not written: sequence %u, rule %u",
                      i, n, event->seq, event->rule);
        const struct wedge_arena_rule *rule = wedge_arena_live(&run.arena, WEDGE_SEC_RULES, event->rule - 1u);
        /* The pipe and the semaphore are one for both processes, the mutex is one in each. */
        bool by_process = rule->per == WEDGE_PER_THREAD || rule->per == WEDGE_PER_PROC || strcmp(rule->id, "o1") == 0;
        ret[i] = (struct firing){.rule = event->rule,
                                 .hit = event->hit,
                                 .process = by_process ? proc_of(&run, event->pid)->pedigree : 0,
                                 .thread = rule->per == WEDGE_PER_THREAD ? thread_of(&run, event->tid) : 0};
    }
    for (uint32_t i = 0; i < control->n_rules; i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(&run.arena, WEDGE_SEC_RULES, i);
        ck_assert_msg(rule->fired > 0, "%s never fired", rule->id);
    }
    run_free(&run);
    qsort(ret, n, sizeof(*ret), by_all);
    return n;
}

static void be_busy(pid_t pids[BUSY])
{
    for (int i = 0; i < BUSY; i++)
        if ((pids[i] = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed check ends this test before it ends us */
            for (;;)
                __builtin_ia32_pause();
        }
}

/* Many limits that are reached somewhere in the middle of the race. */
static const char *limits(void)
{
    enum { RULES = 60, MAX = 30 };
    static char text[RULES * 80];
    size_t len = 0;
    for (int i = 0; i < RULES; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len,
                                "m%d * sem_post after=mark(r.round,%d) max=1 per=tree -> full\n", i, 1 + 5 * i);
    return text;
}

START_TEST(the_same_seed_gives_the_same_firings)
{
    const char *plan = _i ? limits() : mixed;
    static struct firing first[FIRINGS_MAX], now[FIRINGS_MAX];
    const char *given = getenv("WEDGE_SAME_RUNS");
    pid_t busy[BUSY];
    if (!_i)
        be_busy(busy);
    size_t n = run_once(plan, first);
    for (long i = 1; i < (given ? atol(given) : 50); i++) {
        size_t m = run_once(plan, now);
        for (size_t f = 0; f < n && f < m; f++)
            ck_assert_msg(memcmp(&first[f], &now[f], sizeof(now[f])) == 0,
                          "run %ld: rule %u at hit %u, the first run had rule %u at hit %u there", i + 1, now[f].rule,
                          now[f].hit, first[f].rule, first[f].hit);
        ck_assert_uint_eq(m, n);
    }
    for (int i = 0; !_i && i < BUSY; i++) {
        kill(busy[i], SIGKILL);
        ck_assert_int_eq(waitpid(busy[i], NULL, 0), busy[i]);
    }
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, the_same_seed_gives_the_same_firings, 0, 2);
}

int main(void)
{
    return wedge_test_main("same", getenv("WEDGE_SAME_RUNS") ? 1800 : 100, fill);
}
