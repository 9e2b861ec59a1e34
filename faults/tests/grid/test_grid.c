/*
 * The grid: function × who × when × action, each plan run in full and compared call by call with what the oracle says.
 *
 * Each plan holds one rule for each WHAT, so that a run tries two dozen combinations and their meeting too. Each
 * WHAT has a list of another length; stepping through all lists at once reaches every combination of each.
 * usage: test_grid   with WEDGE_GRID_PLANS=N in the environment for another number of plans of each kind.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "faults/launch.h"
#include "faults/tests/grid/oracle.h"
#include "faults/tests/run.h"

#define NONE          (-1)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(op)       (1u << (op))

static const struct {
    const char *text;
    enum oracle_who who;
    const char *role;
    unsigned index;
    int generation;
    enum grid_thread_name thread;
} who_list[] = {
    {"*", WHO_ALL, NULL, 0, NONE, T_MAIN},
    {"root", WHO_ROOT, NULL, 0, NONE, T_MAIN},
    {"worker", WHO_ROLE, "worker", 0, NONE, T_MAIN},
    {"worker[2]", WHO_ROLE, "worker", 2, NONE, T_MAIN},
    {"worker[*].gen=0", WHO_ROLE, "worker", 0, 0, T_MAIN},
    {"worker[1].gen=1", WHO_ROLE, "worker", 1, 1, T_MAIN},
    {"helper.gen=1", WHO_ROLE, "helper", 0, 1, T_MAIN},
    {"proc[3]", WHO_PROC, NULL, 3, NONE, T_MAIN},
    {"proc[4]", WHO_PROC, NULL, 4, NONE, T_MAIN},
    {"thread=alpha", WHO_THREAD, NULL, 0, NONE, T_ALPHA},
    {"thread=gamma", WHO_THREAD, NULL, 0, NONE, T_GAMMA},
};

enum { SOLE_WHENS = 10 }; /* the first ones concern nobody but the thread */
static const struct {
    const char *text;
    uint64_t from, to, every, max;
    double chance;
    bool after_rule; /* the rule before; the text gets it */
    int after_mark;
    uint64_t after_count;
    int per; /* NONE: the default */
} when_list[] = {
    {"", 0, 0, 0, 0, 1, false, NONE, 0, NONE},
    {"nth=2", 2, 2, 0, 0, 1, false, NONE, 0, NONE},
    {"nth=3..", 3, 0, 0, 0, 1, false, NONE, 0, NONE},
    {"nth=2..4", 2, 4, 0, 0, 1, false, NONE, 0, NONE},
    {"every=2", 0, 0, 2, 0, 1, false, NONE, 0, NONE},
    {"nth=2.. every=3", 2, 0, 3, 0, 1, false, NONE, 0, NONE},
    {"p=0.5", 0, 0, 0, 0, 0.5, false, NONE, 0, NONE},
    {"p=0.25 max=2", 0, 0, 0, 2, 0.25, false, NONE, 0, NONE},
    {"max=2", 0, 0, 0, 2, 1, false, NONE, 0, NONE},
    {"nth=1.. every=2 p=0.75 max=3", 1, 0, 2, 3, 0.75, false, NONE, 0, NONE},
    {"nth=4 per=proc", 4, 4, 0, 0, 1, false, NONE, 0, PER_PROC},
    {"every=5 per=proc", 0, 0, 5, 0, 1, false, NONE, 0, PER_PROC},
    {"nth=2.. max=1 per=proc", 2, 0, 0, 1, 1, false, NONE, 0, PER_PROC},
    {"nth=7 per=tree", 7, 7, 0, 0, 1, false, NONE, 0, PER_TREE},
    {"max=3 per=tree", 0, 0, 0, 3, 1, false, NONE, 0, PER_TREE},
    {"nth=3..9 every=3 per=tree", 3, 9, 3, 0, 1, false, NONE, 0, PER_TREE},
    {"p=0.125 per=tree", 0, 0, 0, 0, 0.125, false, NONE, 0, PER_TREE},
    {"nth=2 after=fired(%s,2)", 2, 2, 0, 0, 1, true, NONE, 2, NONE},
    {"after=fired(%s) max=1 per=proc", 0, 0, 0, 1, 1, true, NONE, 1, PER_PROC},
    {"after=mark(g.other,9)", 0, 0, 0, 0, 1, false, OP_OTHER, 9, NONE},
    {"nth=3 after=mark(g.other,4) per=tree", 3, 3, 0, 0, 1, false, OP_OTHER, 4, PER_TREE},
};

/* What may be done, by what it is done to. */
struct deed {
    const char *text;
    enum oracle_action action;
    int64_t number;
    bool after;
};
/* One that changes nothing: by default the signal is ignored. */
#define NOTHING                                                                                                        \
    {                                                                                                                  \
        "kill WINCH", ACT_PASS, 0, false                                                                               \
    }
static const struct deed of_write[] = {{"errno ENOSPC", ACT_ERRNO, ENOSPC, false},
                                       {"errno EIO after", ACT_ERRNO, EIO, true},
                                       {"return 3", ACT_RETURN, 3, false},
                                       {"return 5 after", ACT_RETURN, 5, true},
                                       {"drop", ACT_DROP, 0, false},
                                       {"short 3", ACT_SHORT, 3, false},
                                       {"short 100", ACT_SHORT, 100, false},
                                       NOTHING};
static const struct deed of_read[] = {{"errno EIO", ACT_ERRNO, EIO, false},
                                      {"errno EINTR after", ACT_ERRNO, EINTR, true},
                                      {"return 0", ACT_RETURN, 0, false},
                                      {"short 3", ACT_SHORT, 3, false},
                                      NOTHING};
static const struct deed of_post[] = {{"errno EOVERFLOW", ACT_ERRNO, EOVERFLOW, false},
                                      {"errno EINVAL after", ACT_ERRNO, EINVAL, true},
                                      {"drop", ACT_DROP, 0, false},
                                      NOTHING};
static const struct deed of_wait[] = {{"errno EINTR", ACT_ERRNO, EINTR, false},
                                      {"errno EINTR after", ACT_ERRNO, EINTR, true},
                                      {"return 0", ACT_RETURN, 0, false},
                                      NOTHING};
static const struct deed of_signal[] = {{"errno EINVAL", ACT_ERRNO, EINVAL, false},
                                        {"errno EAGAIN after", ACT_ERRNO, EAGAIN, true},
                                        {"drop", ACT_DROP, 0, false},
                                        {"return 16", ACT_RETURN, 16, false},
                                        NOTHING};
static const struct deed of_any[] = {{"errno EINTR", ACT_ERRNO, EINTR, false},
                                     {"errno EFAULT after", ACT_ERRNO, EFAULT, true},
                                     {"return 1", ACT_RETURN, 1, false},
                                     NOTHING};
/* An answer where nothing is asked: the rule does not fire. */
static const struct deed of_point[] = {{"errno EIO", ACT_ERRNO, EIO, false}, NOTHING};
static const struct deed of_ask[] = {{"errno EIO", ACT_ERRNO, EIO, false}, {"return 7", ACT_RETURN, 7, false},
                                     {"drop", ACT_DROP, 0, false},         {"full", ACT_FULL, 0, false},
                                     {"empty", ACT_EMPTY, 0, false},       NOTHING};
static const struct deed of_life[] = {NOTHING};
static const struct deed fatal[] = {{"stop", ACT_STOP, 0, false},       {"block", ACT_BLOCK, 0, false},
                                    {"kill KILL", ACT_KILL, 0, false},  {"exit 7", ACT_EXIT, 7, false},
                                    {"quiesce", ACT_QUIESCE, 0, false}, {"kill KILL after", ACT_KILL, 0, true},
                                    {"exit 8 after", ACT_EXIT, 8, true}};
enum { FATAL_ANYWHERE = 5 }; /* `after` is for functions */

#define DEEDS(list) list, LENGTH(list)
static const struct {
    const char *text;
    enum oracle_what what;
    uint32_t ops;
    const struct deed *deeds;
    size_t n_deeds;
} what_list[] = {
    {"write", WHAT_OPS, BIT(OP_WRITE), DEEDS(of_write)},
    {"writev", WHAT_OPS, BIT(OP_WRITEV), DEEDS(of_write)},
    {"write:family", WHAT_OPS, BIT(OP_WRITE) | BIT(OP_WRITEV), DEEDS(of_write)},
    {"read", WHAT_OPS, BIT(OP_READ), DEEDS(of_read)},
    {"readv", WHAT_OPS, BIT(OP_READV), DEEDS(of_read)},
    {"read:family", WHAT_OPS, BIT(OP_READ) | BIT(OP_READV), DEEDS(of_read)},
    {"sem_post", WHAT_OPS, BIT(OP_POST), DEEDS(of_post)},
    {"sem_trywait", WHAT_OPS, BIT(OP_TRYWAIT), DEEDS(of_wait)},
    {"sem_wait", WHAT_OPS, BIT(OP_WAIT), DEEDS(of_wait)},
    {"sem_timedwait", WHAT_OPS, BIT(OP_TIMEDWAIT), DEEDS(of_wait)},
    {"sem_wait:family", WHAT_OPS, BIT(OP_WAIT) | BIT(OP_TIMEDWAIT), DEEDS(of_wait)},
    {"pthread_cond_signal", WHAT_OPS, BIT(OP_SIGNAL), DEEDS(of_signal)},
    {"pthread_cond_broadcast", WHAT_OPS, BIT(OP_BROADCAST), DEEDS(of_signal)},
    {"pthread_cond_signal:family", WHAT_OPS, BIT(OP_SIGNAL) | BIT(OP_BROADCAST), DEEDS(of_signal)},
    {"sched_yield", WHAT_OPS, BIT(OP_YIELD), DEEDS(of_any)},
    {"nanosleep", WHAT_OPS, BIT(OP_SLEEP), DEEDS(of_any)},
    {"poll", WHAT_OPS, BIT(OP_POLL), DEEDS(of_any)},
    {"poll,ppoll,clock_gettime", WHAT_OPS, BIT(OP_POLL) | BIT(OP_PPOLL) | BIT(OP_CLOCK), DEEDS(of_any)},
    {"clock_gettime", WHAT_OPS, BIT(OP_CLOCK), DEEDS(of_any)},
    {"g.point", WHAT_OPS, BIT(OP_POINT), DEEDS(of_point)},
    {"g.ask", WHAT_OPS, BIT(OP_ASK), DEEDS(of_ask)},
    {"start", WHAT_START, 0, DEEDS(of_life)},
    {"exit", WHAT_EXIT, 0, DEEDS(of_life)},
};
_Static_assert(LENGTH(what_list) <= RULES_MAX, "a plan has one of each");

static uint64_t plans_of_each_kind;

struct plan {
    struct oracle_rule rules[RULES_MAX];
    int n_rules;
    uint64_t seed;
    char text[8192];
    uint32_t shared_ops; /* those that a rule counts over several threads */
};

static void put(struct plan *plan, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct plan *plan, const char *format, ...)
{
    size_t at = strlen(plan->text);
    va_list ap;
    va_start(ap, format);
    ck_assert_int_lt(vsnprintf(plan->text + at, sizeof(plan->text) - at, format, ap), (int)(sizeof(plan->text) - at));
    va_end(ap);
}

/* Words of ours, with at most one %s, which is `id`. */
static void put_words(struct plan *plan, const char *words, const char *id)
{
    const char *hole = strstr(words, "%s");
    if (hole)
        put(plan, "%.*s%s%s", (int)(hole - words), words, id, hole + 2);
    else
        put(plan, "%s", words);
}

static void add_rule(struct plan *plan, size_t what, size_t who, size_t when, const struct deed *deed)
{
    struct oracle_rule *rule = &plan->rules[plan->n_rules];
    const char *before = plan->n_rules ? plan->rules[plan->n_rules - 1].id : NULL;
    if (when_list[when].after_rule && !before)
        when = 0;
    if (what_list[what].what != WHAT_OPS && who_list[who].who == WHO_THREAD)
        who = 0;
    snprintf(rule->id, sizeof(rule->id), "r%d", plan->n_rules + 1);
    rule->who = who_list[who].who;
    rule->role = who_list[who].role;
    rule->index = who_list[who].index;
    rule->generation = who_list[who].generation;
    rule->thread = who_list[who].thread;
    rule->what = what_list[what].what;
    rule->ops = what_list[what].ops;
    rule->from = when_list[when].from;
    rule->to = when_list[when].to;
    rule->every = when_list[when].every;
    rule->max = when_list[when].max;
    rule->chance = when_list[when].chance;
    rule->after_rule = when_list[when].after_rule ? plan->n_rules - 1 : NONE;
    rule->after_mark = when_list[when].after_mark;
    rule->after_count = when_list[when].after_count;
    rule->per = when_list[when].per != NONE        ? (enum oracle_per)when_list[when].per
                : what_list[what].what == WHAT_OPS ? PER_THREAD
                                                   : PER_PROC;
    rule->action = deed->action;
    rule->number = deed->number;
    rule->after_effect = deed->after;
    if (rule->per != PER_THREAD || rule->after_rule != NONE || rule->after_mark != NONE)
        plan->shared_ops |= rule->ops;
    put(plan, "%s %s %s ", rule->id, who_list[who].text, what_list[what].text);
    put_words(plan, when_list[when].text, before);
    put(plan, " -> %s\n", deed->text);
    plan->n_rules++;
}

static void begin_plan(struct plan *plan, uint64_t seed)
{
    memset(plan, 0, sizeof(*plan));
    plan->seed = seed;
    put(plan, "seed %llu\n", (unsigned long long)seed);
}

/* Combination number `n` of that what: who fastest, then when, then what is done. */
static void add_combination(struct plan *plan, size_t what, uint64_t n, size_t n_whens)
{
    add_rule(plan, what, n % LENGTH(who_list), n / LENGTH(who_list) % n_whens,
             &what_list[what].deeds[n / LENGTH(who_list) / n_whens % what_list[what].n_deeds]);
}

static const char *target(void)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s", run_target());
    strcpy(strrchr(path, '/') + 1, "faults_target_grid");
    return path;
}

static void compare_thread(const struct plan *plan, const struct oracle *o, struct grid_map *map, int p, int t,
                           uint32_t skip)
{
    struct grid_thread *is = &map->processes[p].threads[t];
    const struct grid_thread *shall = &o->map.processes[p].threads[t];
    for (uint32_t i = 0; i < is->done && i < shall->done; i++) {
        enum grid_op op = grid_op(p, t, i);
        const struct grid_seen *a = &is->seen[i], *b = &shall->seen[i];
        if (!(skip >> op & 1) && memcmp(a, b, sizeof(*a)) != 0)
            ck_abort_msg("process %d thread %d call %u (op %d): value %d errno %d effect %d, not %d %d %d, under\n%s",
                         p, t, i, op, a->value, a->error, a->effect, b->value, b->error, b->effect, plan->text);
    }
    if (is->begun != shall->begun || is->done != shall->done)
        ck_abort_msg("process %d thread %d: %u calls begun and %u done, not %u and %u, under\n%s", p, t, is->begun,
                     is->done, shall->begun, shall->done, plan->text);
    int value = NONE;
    if (o->sem[p][t] != NONE && sem_getvalue(&is->sem, &value) == 0 && value != o->sem[p][t])
        ck_abort_msg("process %d thread %d: died with its semaphore at %d, not %d, under\n%s", p, t, value,
                     o->sem[p][t], plan->text);
}

static void compare_rules(const struct plan *plan, const struct oracle *o, struct run *run)
{
    for (int i = 0; i < plan->n_rules; i++) {
        struct wedge_arena_rule *rule = run_rule(run, plan->rules[i].id);
        if (rule->fired != o->fired[i] || run_hits(run, plan->rules[i].id) != o->hits[i])
            ck_abort_msg("%s: %llu fired of %llu hits, not %llu of %llu, under\n%s", plan->rules[i].id,
                         (unsigned long long)rule->fired, (unsigned long long)run_hits(run, plan->rules[i].id),
                         (unsigned long long)o->fired[i], (unsigned long long)o->hits[i], plan->text);
    }
}

static void compare_firings(const struct plan *plan, const struct oracle *o, const struct grid_map *map,
                            struct run *run)
{
    for (int i = 0; i < o->n_firings && i < (int)wedge_arena_count(WEDGE_SEC_FIRINGS) && i < FIRINGS_MAX; i++) {
        const struct wedge_arena_event *is = wedge_arena_live(&run->arena, WEDGE_SEC_FIRINGS, (uint32_t)i);
        const struct oracle_firing *shall = &o->firings[i];
        const struct grid_process *process = &map->processes[shall->process];
        int32_t pid = shall->process == P_ROOT ? run->pid : process->pid;
        int32_t tid = shall->thread == T_MAIN ? pid : process->threads[shall->thread].tid;
        if (is->rule != shall->rule + 1 || is->pid != pid || is->tid != tid)
            ck_abort_msg("firing %d: rule %d of process %d thread %d, not rule %d of %d %d, under\n%s", i + 1, is->rule,
                         is->pid, is->tid, shall->rule + 1, pid, tid, plan->text);
    }
}

/* Beside the program: what is stopped goes on, and a rule that holds a thread is released. */
struct helper {
    struct run *run;
    const struct plan *plan;
    _Atomic bool over;
};

static void *help(void *arg)
{
    struct helper *helper = arg;
    struct wedge_err err;
    while (!helper->over) {
        for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++) {
            const struct wedge_arena_proc *proc = wedge_arena_live(&helper->run->arena, WEDGE_SEC_PROCS, i);
            if (proc->gen && proc->pid > 0)
                kill(proc->pid, SIGCONT);
        }
        for (int i = 0; i < helper->plan->n_rules; i++)
            if (helper->plan->rules[i].action == ACT_BLOCK && run_rule(helper->run, helper->plan->rules[i].id)->holding)
                wedge_faults_release(&helper->run->arena, helper->plan->rules[i].id, &err);
        usleep(200);
    }
    return NULL;
}

static void play(struct run *run, const struct plan *plan, const char *const *argv)
{
    struct helper helper = {run, plan, false};
    pthread_t thread;
    bool needed = false;
    for (int i = 0; i < plan->n_rules; i++)
        needed |= plan->rules[i].action == ACT_STOP || plan->rules[i].action == ACT_BLOCK;
    run_start(run, plan->text, argv);
    if (needed)
        ck_assert_int_eq(pthread_create(&thread, NULL, help, &helper), 0);
    run_finish(run);
    helper.over = true;
    if (needed)
        pthread_join(thread, NULL);
}

static void try_plan(const struct plan *plan, bool parallel)
{
    static struct oracle oracle;
    struct run run;
    char number[16];
    int fd = memfd_create("grid", 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, sizeof(struct grid_map)), 0);
    struct grid_map *map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    snprintf(number, sizeof(number), "%d", fd);
    oracle.rules = plan->rules;
    oracle.n_rules = plan->n_rules;
    oracle.seed = plan->seed;
    oracle_run(&oracle);
    play(&run, plan, (const char *const[]){target(), number, parallel ? "parallel" : "serial", NULL});

    map->processes[P_ROOT].pid = run.pid;
    map->processes[P_ROOT].status = run.status;
    for (int p = 0; p < PROCS; p++) {
        ck_assert_msg((map->processes[p].pid != 0) == (oracle.map.processes[p].pid != 0),
                      "process %d %s made, under\n%s", p, map->processes[p].pid ? "was" : "was not", plan->text);
        ck_assert_msg(map->processes[p].status == oracle.map.processes[p].status,
                      "process %d ended with 0x%x, not 0x%x, under\n%s", p, (unsigned)map->processes[p].status,
                      (unsigned)oracle.map.processes[p].status, plan->text);
        for (int t = 0; t < THREADS; t++)
            compare_thread(plan, &oracle, map, p, t, parallel ? plan->shared_ops : 0);
    }
    compare_rules(plan, &oracle, &run);
    if (!parallel)
        compare_firings(plan, &oracle, map, &run);
    munmap(map, sizeof(*map));
    close(fd);
    run_free(&run);
}

START_TEST(every_combination_fires_where_it_must)
{
    static struct plan plan;
    for (uint64_t n = 0; n < plans_of_each_kind; n++) {
        begin_plan(&plan, n * 7 + 1);
        for (size_t what = 0; what < LENGTH(what_list); what++)
            add_combination(&plan, what, n + what * 131, LENGTH(when_list));
        try_plan(&plan, false);
    }
}
END_TEST

/* Actions that end a process, or all faults, hide what comes later: few rules, one of them such. */
START_TEST(every_end_comes_at_its_moment)
{
    static struct plan plan;
    for (uint64_t n = 0; n < plans_of_each_kind; n++) {
        size_t what = n % LENGTH(what_list),
               deeds = what_list[what].what == WHAT_OPS && what < 19 ? LENGTH(fatal) : FATAL_ANYWHERE;
        uint64_t rest = n / LENGTH(what_list);
        begin_plan(&plan, n);
        for (uint64_t i = 0; i < 3; i++)
            add_combination(&plan, (what + 1 + i * 5) % LENGTH(what_list), n * 17 + i, LENGTH(when_list));
        add_rule(&plan, what, (n * 5 + rest) % LENGTH(who_list), rest % LENGTH(when_list),
                 &fatal[(n + rest / 7) % deeds]);
        add_combination(&plan, (what + 2) % LENGTH(what_list), n * 3, LENGTH(when_list));
        try_plan(&plan, false);
    }
}
END_TEST

START_TEST(what_one_thread_counts_is_the_same_beside_another)
{
    static struct plan plan;
    for (uint64_t n = 0; n < plans_of_each_kind; n++) {
        begin_plan(&plan, n);
        for (size_t what = 0; what < LENGTH(what_list); what++)
            add_combination(&plan, what, n + what * 37, SOLE_WHENS);
        try_plan(&plan, true);
    }
}
END_TEST

/* Of those that count over threads the number of firings is known, and not which call it is. */
START_TEST(what_threads_count_together_is_counted_once)
{
    static struct plan plan;
    for (uint64_t n = 0; n < plans_of_each_kind; n++) {
        begin_plan(&plan, n);
        uint32_t taken = 0; /* two rules at one call would make the second depend on when the first fires */
        for (size_t i = 0; i < LENGTH(what_list); i++) {
            size_t what = (n + i) % LENGTH(what_list);
            if (!(what_list[what].ops & taken))
                add_combination(&plan, what, n + what * 37, SOLE_WHENS + 6);
            taken |= what_list[what].ops;
        }
        try_plan(&plan, true);
    }
}
END_TEST

static void fill(TCase *tcase)
{
    const char *plans = getenv("WEDGE_GRID_PLANS");
    plans_of_each_kind = plans ? strtoull(plans, NULL, 10) : 150;
    tcase_add_test(tcase, every_combination_fires_where_it_must);
    tcase_add_test(tcase, every_end_comes_at_its_moment);
    tcase_add_test(tcase, what_one_thread_counts_is_the_same_beside_another);
    tcase_add_test(tcase, what_threads_count_together_is_counted_once);
}

int main(void)
{
    return wedge_test_main("grid", getenv("WEDGE_GRID_PLANS") ? 1800 : 100, fill);
}
