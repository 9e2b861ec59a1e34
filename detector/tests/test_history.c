/* What several examinations of the same tree tell, and one alone does not: each suspicion, and the program that does the
 * same and gets on. */
#include <dirent.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "detector/kernel/proc.h"
#include "detector/look/look.h"
#include "detector/tests/cases.h"
#include "detector/verdict/history.h"

#define PATIENCE_NS (400 * WEDGE_NS_PER_MS)

static struct wedge_history *history;

static void setup(void)
{
    history = wedge_history_new();
    ck_assert_ptr_nonnull(history);
}
static void teardown(void)
{
    wedge_history_free(history);
}

static struct wedge_snapshot *examine_again(pid_t root, enum wedge_stacks stacks, int64_t stalled_ns)
{
    struct wedge_err err = {0};
    struct wedge_snapshot *s = NULL;
    struct wedge_examine options = {.root = root,
                                    .history = history,
                                    .patience_ns = PATIENCE_NS,
                                    .stacks = stacks,
                                    .stalled = stalled_ns > 0,
                                    .stalled_ns = stalled_ns};
    ck_assert_msg(wedge_detector_examine(&options, NULL, &s, &err) == 0, "%s", err.message);
    return s;
}

static const struct {
    const char *name;
    enum wedge_verdict_kind kind;
    enum wedge_certainty certainty;
    enum wedge_scope scope;
    size_t victims;
    const char *reason, *words;
    const char *culprit; /* as in struct hang; NULL where no stack is taken */
} suspected[] = {
    {"join-by-and-by", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_SUSPECTED, WEDGE_SCOPE_WHOLE, 3, "time out and ask again",
     "join_by_and_by()", "take_both"},
    {"ask-by-and-by", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_SUSPECTED, WEDGE_SCOPE_WHOLE, 2, "time out and ask again",
     "wait_for_post()", "ask_by_and_by|wait_for_post"},
    {"word-forgotten", WEDGE_VERDICT_LOST_WAKEUP, WEDGE_SUSPECTED, WEDGE_SCOPE_PART, 1, "may still wake",
     "which is 1 and no longer 0"},
    {"keep-long", WEDGE_VERDICT_CONTENTION, WEDGE_EVIDENT, WEDGE_SCOPE_PART, 1, "waited for", "take_one()",
     "keep_long"},
    {"daemon-silent", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_SUSPECTED, WEDGE_SCOPE_WHOLE, 1, "outside the tree",
     "daemon_writes()", "daemon_silent"},
};

/* Found within the deadline, and then again and again: a stop for a stack does not make it forget. */
static void check_suspected(int number)
{
    struct factory factory = factory_start(suspected[number].name);
    int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    int found = 0;
    while (found < 3) {
        /* A stop for a stack would wake who was forgotten: the kernel looks at the word again. */
        bool forgotten = suspected[number].kind == WEDGE_VERDICT_LOST_WAKEUP;
        struct wedge_snapshot *s = examine_again(factory.pid, forgotten ? WEDGE_STACKS_NEVER : WEDGE_STACKS_ALWAYS, 0);
        const struct wedge_verdict *v = &s->verdicts[0];
        if (v->kind == suspected[number].kind && v->certainty == suspected[number].certainty &&
            v->scope == suspected[number].scope && v->n_victims == suspected[number].victims) {
            ck_assert_msg(strstr(v->reason, suspected[number].reason), "%s: %s", suspected[number].name, v->reason);
            if (!strstr(v->signature, "weak")) {
                ck_assert_msg(strstr(v->summary, suspected[number].words), "%s: %s", suspected[number].name,
                              v->summary);
                cases_check_culprits(suspected[number].name, suspected[number].culprit, s);
            }
            if (++found == 3)
                cases_right("history", suspected[number].name, v, suspected[number].culprit);
        }
        ck_assert_msg(wedge_clock_ns() < deadline, "%s: %s, %s, %s: %s", suspected[number].name,
                      wedge_verdict_words[v->kind], wedge_certainty_words[v->certainty], wedge_scope_words[v->scope],
                      v->summary);
        wedge_snapshot_free(s);
        poll(NULL, 0, 20);
    }
    factory_end(&factory);
}

START_TEST(test_suspected)
{
    cases_asked("history", suspected[_i].name, cases_repeats());
    for (int run = 0; run < cases_repeats(); run++) {
        teardown();
        setup();
        check_suspected(_i);
    }
}
END_TEST

static const char *const healthy[] = {"ask-and-post",    "ask-seldom",         "ask-with-handler",   "word-late",
                                      "keep-shortly",    "daemon-busy",        "poll-with-timeouts", "slow-writer",
                                      "timed-semaphore", "self-with-deadline", "sleep-then-post",    "server"};
/* Whether or not each look stops it for its stacks. */
START_TEST(test_never_suspected)
{
    const char *name = healthy[_i / 2];
    struct factory factory = factory_start(name);
    int64_t until = wedge_clock_ns() + (_i % 2 ? 1000 : 1500) * WEDGE_NS_PER_MS;
    while (wedge_clock_ns() < until) {
        struct wedge_snapshot *s = examine_again(factory.pid, _i % 2 ? WEDGE_STACKS_ALWAYS : WEDGE_STACKS_NEVER, 0);
        for (size_t i = 0; i < s->n_verdicts; i++)
            ck_assert_msg(!wedge_verdict_is_hang(s->verdicts[i].kind), "%s: %s, %s: %s", name,
                          wedge_verdict_words[s->verdicts[i].kind], wedge_certainty_words[s->verdicts[i].certainty],
                          s->verdicts[i].reason);
        wedge_snapshot_free(s);
        poll(NULL, 0, 20);
    }
    factory_end(&factory);
}
END_TEST

static uint64_t voluntary_switches(pid_t pid)
{
    char text[4096];
    struct wedge_proc_status status;
    ck_assert(wedge_proc_read(pid, pid, "status", text, sizeof(text)) > 0);
    ck_assert_int_eq(wedge_proc_status_parse(text, &status), 0);
    return status.voluntary;
}

/* It slept and woke by itself since it had switched so often. */
static void await_wakes(pid_t pid, uint64_t switches, int64_t deadline)
{
    while (voluntary_switches(pid) < switches + 4) {
        ck_assert_msg(wedge_clock_ns() < deadline, "it does not wake");
        poll(NULL, 0, 1);
    }
}

/*
 * Three wakes by itself, one between any two looks, and it counts as one that only asks: at the fifth look that finds it in
 * its place, though each look stops it, which wakes it as well. A look that finds it on its way begins anew.
 */
START_TEST(test_asks_though_stopped)
{
    enum { LOOKS = 5, TIMES = 3 };
    struct factory factory = factory_start(_i ? "ask-by-and-by" : "join-by-and-by");
    int64_t deadline = wedge_clock_ns() + 40 * WEDGE_NS_PER_S;
    for (int in_place = 0, times = 0; times < TIMES;) {
        struct wedge_snapshot *s = examine_again(factory.pid, WEDGE_STACKS_ALWAYS, 0);
        uint64_t switches = voluntary_switches(factory.pid);
        const struct wedge_thread *t = &s->threads[s->procs[0].first_thread];
        ck_assert_int_eq(t->tid, factory.pid);
        in_place = t->syscall == SYS_futex || t->syscall == SYS_restart_syscall ? in_place + 1 : 0;
        if (in_place >= LOOKS && !t->moved) {
            ck_assert_msg(s->verdicts[0].certainty == WEDGE_SUSPECTED && s->verdicts[0].scope == WEDGE_SCOPE_WHOLE,
                          "look %d: %s", in_place, s->verdicts[0].summary);
            times++;
        }
        wedge_snapshot_free(s);
        ck_assert_msg(wedge_clock_ns() < deadline, "%d looks in a row found it in its place", in_place);
        await_wakes(factory.pid, switches, deadline);
    }
    factory_end(&factory);
}
END_TEST

/* Twice a thread in one place, stopped by the first look, and two switches later. Whether it slept on tells the call's name, where
 * the kernel gives what was broken off another one; else the switches, and they are the same for who woke during the stop. */
static const struct {
    int call;
    uint64_t args[4];
    int later; /* the call of the second look */
    uint64_t switches; /* by itself, between the looks */
    bool slept_on;
} stopped[] = {
    {SYS_futex, {4096, FUTEX_WAIT_BITSET_PRIVATE, 0, 8192}, SYS_restart_syscall, 2, true},
    {SYS_futex, {4096, FUTEX_WAIT_BITSET_PRIVATE, 0, 8192}, SYS_futex, 2, false},
    {SYS_futex, {4096, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, 8192}, SYS_futex, 2, false},
    {SYS_futex, {4096, FUTEX_WAIT, 0, 0}, SYS_futex, 2, true},
    {SYS_futex, {4096, FUTEX_LOCK_PI, 0, 8192}, SYS_futex, 2, true},
    {SYS_poll, {4096, 1, 100}, SYS_restart_syscall, 2, true},
    {SYS_poll, {4096, 1, 100}, SYS_poll, 2, false},
    {SYS_restart_syscall, {4096, 1, 100}, SYS_restart_syscall, 2, true},
    {SYS_restart_syscall, {4096, 1, 100}, SYS_poll, 2, false},
    {SYS_clock_nanosleep, {1, 0, 4096}, SYS_clock_nanosleep, 2, false},
    {SYS_clock_nanosleep, {1, TIMER_ABSTIME, 4096}, SYS_clock_nanosleep, 2, true},
    {SYS_read, {3, 4096, 1}, SYS_read, 2, true},
    {SYS_read, {3, 4096, 1}, SYS_read, 3, false},
};
START_TEST(test_made_anew)
{
    struct wedge_proc proc = {.n_threads = 1, .start_ticks = 7};
    struct wedge_thread thread = {.tid = 4711, .found = WEDGE_FOUND_ASLEEP, .stops = 1, .wait = {WEDGE_WAIT_FUTEX}};
    struct wedge_look_thread own = {0};
    struct wedge_look_proc own_proc = {0};
    struct wedge_snapshot snapshot = {.procs = &proc, .n_procs = 1, .threads = &thread, .n_threads = 1};
    const struct wedge_examine options = {.history = history};
    struct wedge_look look = {.options = &options, .snapshot = &snapshot, .threads = &own, .procs = &own_proc};
    thread.syscall = stopped[_i].call;
    memcpy(thread.args, stopped[_i].args, sizeof(stopped[_i].args));
    wedge_history_remember(&look);
    thread.syscall = stopped[_i].later;
    thread.switches += stopped[_i].switches;
    thread.voluntary += stopped[_i].switches;
    wedge_history_recall(&look);
    ck_assert_uint_eq(own.rounds, stopped[_i].slept_on ? 1 : 0);
}
END_TEST

/* The caller measured that nothing got on. What burns CPU time meanwhile is a livelock, what sleeps is none. */
START_TEST(test_stalled)
{
    bool spins = _i;
    struct factory factory = factory_start(spins ? "spin" : "poll-with-timeouts");
    int64_t began = wedge_clock_ns(), until = began + (spins ? 20000 : 1500) * WEDGE_NS_PER_MS;
    bool found = false;
    while (wedge_clock_ns() < until && !found) {
        struct wedge_snapshot *s = examine_again(factory.pid, WEDGE_STACKS_NEVER, wedge_clock_ns() - began);
        const struct wedge_verdict *v = &s->verdicts[0];
        ck_assert_int_eq(v->certainty, WEDGE_SUSPECTED);
        ck_assert(v->kind == WEDGE_VERDICT_NO_PROGRESS || (spins && v->kind == WEDGE_VERDICT_LIVELOCK));
        if (v->kind == WEDGE_VERDICT_LIVELOCK) {
            found = true;
            ck_assert_uint_eq(v->n_victims, 1);
            ck_assert_uint_eq(v->n_culprits, 1);
            ck_assert_int_ne(s->threads[v->victims[0]].tid, factory.pid);
        }
        wedge_snapshot_free(s);
        poll(NULL, 0, 20);
    }
    ck_assert_int_eq(found, spins);
    factory_end(&factory);
}
END_TEST

/* On one processor, which somebody else has nearly all of the time. */
static pid_t crowd(const struct factory *factory, const char *name, int policy, int niceness)
{
    cpu_set_t one;
    pid_t self = getpid();
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    pid_t burner = fork();
    if (burner == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != self || sched_setaffinity(0, sizeof(one), &one))
            _exit(1);
        for (;;)
            ;
    }
    char path[48];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)factory->pid);
    DIR *tasks = opendir(path);
    ck_assert_ptr_nonnull(tasks);
    for (const struct dirent *e; (e = readdir(tasks));) {
        int tid = atoi(e->d_name);
        if (tid <= 0)
            continue;
        ck_assert_int_eq(sched_setaffinity(tid, sizeof(one), &one), 0);
        ck_assert_msg(sched_setscheduler(tid, policy, &(struct sched_param){0}) == 0, "%s: policy", name);
        ck_assert_int_eq(setpriority(PRIO_PROCESS, (id_t)tid, niceness), 0);
    }
    closedir(tasks);
    return burner;
}

/* Time in the queue for a processor is neither time on it nor sleep: who sleeps and cannot get on after it burns nothing, and
 * who would burn the processor burns what he gets of it. */
START_TEST(test_stalled_in_a_crowd)
{
    bool spins = _i;
    const char *name = spins ? "spin" : "poll-with-timeouts";
    struct factory factory = factory_start(name);
    pid_t burner = crowd(&factory, name, spins ? SCHED_OTHER : SCHED_IDLE, spins ? 10 : 0);
    int64_t began = wedge_clock_ns(), until = began + (spins ? 40000 : 3000) * WEDGE_NS_PER_MS;
    bool found = false;
    while (wedge_clock_ns() < until && !found) {
        struct wedge_snapshot *s = examine_again(factory.pid, WEDGE_STACKS_NEVER, wedge_clock_ns() - began);
        found = s->verdicts[0].kind == WEDGE_VERDICT_LIVELOCK;
        ck_assert_msg(found || s->verdicts[0].kind == WEDGE_VERDICT_NO_PROGRESS, "%s", s->verdicts[0].summary);
        wedge_snapshot_free(s);
        poll(NULL, 0, 20);
    }
    kill(burner, SIGKILL);
    waitpid(burner, NULL, 0);
    factory_end(&factory);
    ck_assert_int_eq(found, spins);
}
END_TEST

/* However its threads move at the moment, and whichever child there is: two runs, one signature. */
START_TEST(test_crash_loop)
{
    char first[80] = "";
    size_t movers = 0;
    for (int run = 0; run < 2; run++) {
        struct factory factory = factory_start("crash-loop");
        for (int i = 0; i < 12; i++) {
            struct wedge_snapshot *s = examine_again(factory.pid, WEDGE_STACKS_ON_HANG, 4 * WEDGE_NS_PER_S);
            const struct wedge_verdict *v = &s->verdicts[0];
            ck_assert_str_eq(wedge_verdict_words[v->kind], "no-progress");
            ck_assert_uint_ge(v->n_victims, 4);
            ck_assert_msg(!strstr(v->signature, "weak"), "%s: %s", v->signature, v->summary);
            if (*first)
                ck_assert_msg(strcmp(v->signature, first) == 0, "%s, not %s: %s", v->signature, first, v->summary);
            snprintf(first, sizeof(first), "%s", v->signature);
            for (size_t k = 0; k < s->n_threads; k++)
                movers += s->threads[k].moved;
            wedge_snapshot_free(s);
        }
        factory_end(&factory);
    }
    ck_assert_uint_gt(movers, 0);
}
END_TEST

/* It is shared with children that may die: whatever stands in it, an examination ends and claims no more than before. */
START_TEST(test_scribbled)
{
    struct factory factory = factory_start("sleep-then-post");
    for (int value = 0; value < 256; value += 51) {
        memset(history, value, 65536);
        struct wedge_snapshot *s = examine_again(factory.pid, WEDGE_STACKS_NEVER, 0);
        ck_assert(!wedge_verdict_is_hang(s->verdicts[0].kind));
        wedge_snapshot_free(s);
    }
    factory_end(&factory);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_suspected, 0, sizeof(suspected) / sizeof(suspected[0]));
    tcase_add_loop_test(tcase, test_never_suspected, 0, 2 * sizeof(healthy) / sizeof(healthy[0]));
    tcase_add_loop_test(tcase, test_asks_though_stopped, 0, 2);
    tcase_add_loop_test(tcase, test_made_anew, 0, sizeof(stopped) / sizeof(stopped[0]));
    tcase_add_loop_test(tcase, test_stalled, 0, 2);
    tcase_add_loop_test(tcase, test_stalled_in_a_crowd, 0, 2);
    tcase_add_test(tcase, test_crash_loop);
    tcase_add_test(tcase, test_scribbled);
}

int main(void)
{
    return wedge_test_main("history", 60, fill);
}
