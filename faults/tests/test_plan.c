/* The plan language: what a good plan compiles to, and what is said about each bad one. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "faults/functions.h"
#include "faults/plan_internal.h"

static struct wedge_err err;

/* The whole language, also those parts that the agent may not do yet. */
static int parse_all(const char *text, struct wedge_plan **ret)
{
    return plan_parse("p.plan", text, PLAN_PART_ALL, ret, &err);
}

static struct wedge_plan *parse(const char *text)
{
    struct wedge_plan *plan = NULL;
    char message[1024];
    if (parse_all(text, &plan))
        ck_abort_msg("%s", wedge_err_text(&err, message, sizeof(message)));
    return plan;
}

static const char good[] = "# a plan with everything\n"
                           "\n"
                           "plan 1\r\n"
                           "seed 0x5eed   # the seed\n"
                           "define q = pipe created-in=libq.so.1!queue_open nth=2\n"
                           "define helper = descendant of top exe=*/helper comm=h?lper # a helper\n"
                           "define top = descendant of root nth=1\n"
                           "define log = file path=/var/log/*\n"
                           "define m = mutex created-in=_ZN3fooC2Ev\n"
                           "\tf1 worker[2]     pool.worker.got_task nth=5 -> kill KILL\n"
                           "f2 root          sem_timedwait:family  -> block\n"
                           "f3 *             pool.put              after=fired(f1,3) max=2 -> full\n"
                           "f4 worker[*]     start                 -> delay 30s\n"
                           "f5 worker.gen=2  point:noDots          every=2 per=tree -> errno EAGAIN\n"
                           "f6 *             read,write,poll       p=0.25 max=500 -> errno EINTR after\n"
                           "f7 proc[4]       pthread_mutex_unlock  nth=3..7 -> yield until=mark(pool.a,2)\n"
                           "f8 thread=io-0   write                 nth=3.. time=2min -> short 10\n"
                           "f9 collector     exit                  per=tree nth=2 -> exit 3 before\n"
                           "fa *             pthread_cond_wait:family -> spurious\n"
                           "fb worker[1].gen=0 x.y after=mark(a.b) -> yield until=fired(fb,2)\n"
                           "fc * x.y caller=main in=libc.so.6!qsort_r -> return -7\n"
                           "fd helper[2] write obj=q arg3>=4096 arg3<0x10000 arg1!=-1 per=obj -> full\n"
                           "fe * open,openat:family path=/tmp/*.lock -> errno EMFILE\n"
                           "ff helper read,write fd=0 arg3&O_CREAT|O_EXCL arg2!=0 -> corrupt\n"
                           "fg helper fork -> errno EAGAIN\n"
                           "fh * read obj=log -> empty\n"
                           "fi * pthread_mutex_lock:family obj=m -> delay 1ms   # last";
enum { GOOD_RULES = 18 };

START_TEST(test_limits_of_counting_per_object)
{
    struct wedge_plan *plan;
    char text[1024] = "plan 1\n", message[512];
    for (unsigned i = 0; i < WEDGE_OBJECT_RULES; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "f%u * write per=obj max=1048575 -> delay 1ms\n", i);
    wedge_plan_free(parse(text));
    strcat(text, "g * write per=obj -> delay 1ms\n");
    ck_assert_int_eq(wedge_plan_parse("p.plan", text, &plan, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wedge_err_text(&err, message, sizeof(message)), "more than 8 rules with per=obj"));
    ck_assert_int_eq(wedge_plan_parse("p.plan", "plan 1\nf * write per=obj max=1048576 -> drop\n", &plan, &err),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(wedge_err_text(&err, message, sizeof(message)), "max= is at most 1048575"));
    ck_assert_int_eq(wedge_plan_parse("p.plan", "plan 1\nf * open path=*[[:alpha:]]x -> errno EIO\n", &plan, &err),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(wedge_err_text(&err, message, sizeof(message)), "p.plan:2:17: `[:` begins a class"));
    wedge_plan_free(parse("plan 1\nf * open path=[[]x[]:]\\[[.] -> errno EIO\n"));
}
END_TEST

START_TEST(test_good_plan)
{
    struct wedge_plan *plan = parse(good);
    ck_assert_uint_eq(wedge_plan_count(plan), GOOD_RULES);
    ck_assert_str_eq(wedge_plan_id(plan, 0), "f1");
    ck_assert_str_eq(wedge_plan_id(plan, 11), "fc");
    ck_assert_ptr_null(wedge_plan_id(plan, GOOD_RULES));
    ck_assert(wedge_plan_has_seed(plan));
    ck_assert_uint_eq(wedge_plan_seed(plan), 0x5eed);
    static const bool must[] = {true, false, true, false, false, false, true, true, true, false, true, false};
    for (size_t i = 0; i < 12; i++)
        ck_assert_msg(wedge_plan_must_fire(plan, i) == must[i], "rule %zu", i);
    ck_assert_str_eq(wedge_plan_text(plan, 17), "fi * pthread_mutex_lock:family obj=m -> delay 1ms   # last");

    struct wedge_arena arena;
    ck_assert_int_eq(wedge_arena_create(&arena, 0, 1, &err), 0);
    ck_assert_int_eq(wedge_plan_install(plan, &arena, &err), 0);
    wedge_plan_free(plan);
    const struct wedge_arena_control *control = wedge_arena_live(&arena, WEDGE_SEC_CONTROL, 0);
    ck_assert_uint_eq(control->n_rules, GOOD_RULES);
    ck_assert_uint_eq(control->seed, 0x5eed);
    const struct wedge_arena_rule *r[GOOD_RULES];
    for (uint32_t i = 0; i < GOOD_RULES; i++)
        r[i] = wedge_arena_live(&arena, WEDGE_SEC_RULES, i);
#define BIT(rule, name) ((rule)->functions[WEDGE_FN_##name / 64] >> (WEDGE_FN_##name % 64) & 1)
    ck_assert_uint_eq(r[0]->who, WEDGE_WHO_ROLE);
    ck_assert_str_eq(r[0]->role, "worker");
    ck_assert_uint_eq(r[0]->role_index, 2);
    ck_assert_int_eq(r[0]->role_gen, -1);
    ck_assert_uint_eq(r[0]->what, WEDGE_WHAT_PLACE);
    ck_assert_uint_eq(r[0]->place, wedge_arena_name(&arena, "pool.worker.got_task"));
    ck_assert_uint_eq(r[0]->nth_from, 5);
    ck_assert_uint_eq(r[0]->nth_to, 5);
    ck_assert_uint_eq(r[0]->per, WEDGE_PER_THREAD);
    ck_assert_uint_eq(r[0]->chance, UINT64_MAX);
    ck_assert_uint_eq(r[0]->action, WEDGE_ACT_KILL);
    ck_assert_int_eq(r[0]->arg, SIGKILL);
    ck_assert_uint_eq(r[0]->line, 10);
    ck_assert_uint_eq(r[1]->who, WEDGE_WHO_ROOT);
    ck_assert(BIT(r[1], sem_wait) && BIT(r[1], sem_timedwait) && BIT(r[1], sem_clockwait) && !BIT(r[1], sem_post));
    ck_assert_uint_eq(r[1]->action, WEDGE_ACT_BLOCK);
    ck_assert_uint_eq(r[2]->after.kind, WEDGE_WHEN_FIRED);
    ck_assert_uint_eq(r[2]->after.ref, 0);
    ck_assert_uint_eq(r[2]->after.count, 3);
    ck_assert_uint_eq(r[2]->max, 2);
    ck_assert_uint_eq(r[3]->what, WEDGE_WHAT_START);
    ck_assert_uint_eq(r[3]->per, WEDGE_PER_PROC);
    ck_assert_uint_eq(r[3]->role_index, 0);
    ck_assert_int_eq(r[3]->arg, 30000000000);
    ck_assert_int_eq(r[4]->role_gen, 2);
    ck_assert_uint_eq(r[4]->place, wedge_arena_name(&arena, "noDots"));
    ck_assert_uint_eq(r[4]->every, 2);
    ck_assert_uint_eq(r[4]->per, WEDGE_PER_TREE);
    ck_assert_int_eq(r[4]->arg, EAGAIN);
    ck_assert(BIT(r[5], read) && BIT(r[5], write) && BIT(r[5], poll) && !BIT(r[5], ppoll));
    ck_assert_uint_eq(r[5]->chance, 1ull << 62);
    ck_assert_uint_eq(r[5]->after_effect, 1);
    ck_assert_uint_eq(r[6]->who, WEDGE_WHO_PROC);
    ck_assert_uint_eq(r[6]->role_index, 4);
    ck_assert_uint_eq(r[6]->nth_to, 7);
    ck_assert_uint_eq(r[6]->until.kind, WEDGE_WHEN_MARK);
    ck_assert_uint_eq(r[6]->until.ref, wedge_arena_name(&arena, "pool.a"));
    ck_assert_uint_eq(r[6]->until.count, 2);
    ck_assert_uint_eq(r[7]->who, WEDGE_WHO_THREAD);
    ck_assert_str_eq(r[7]->role, "io-0");
    ck_assert_uint_eq(r[7]->nth_to, 0);
    ck_assert_uint_eq(r[7]->time_ns, 120000000000);
    ck_assert_uint_eq(r[8]->what, WEDGE_WHAT_EXIT);
    ck_assert_uint_eq(r[10]->until.ref, 10);
    ck_assert_int_eq(r[11]->arg, -7);
    wedge_arena_destroy(&arena);
}
END_TEST

/* WHERE and defines of the good plan, as the agent finds them. */
START_TEST(test_good_where)
{
    struct wedge_plan *plan = parse(good);
    struct wedge_arena arena;
    ck_assert_int_eq(wedge_arena_create(&arena, 0, 1, &err), 0);
    ck_assert_int_eq(wedge_plan_install(plan, &arena, &err), 0);
    wedge_plan_free(plan);
    const struct wedge_arena_control *control = wedge_arena_live(&arena, WEDGE_SEC_CONTROL, 0);
    const struct wedge_arena_rule *r[GOOD_RULES];
    const struct wedge_arena_define *d[5];
    for (uint32_t i = 0; i < GOOD_RULES; i++)
        r[i] = wedge_arena_live(&arena, WEDGE_SEC_RULES, i);
    ck_assert_uint_eq(control->n_defines, 5);
    for (uint32_t i = 0; i < 5; i++)
        d[i] = wedge_arena_live(&arena, WEDGE_SEC_DEFINES, i);
    ck_assert_uint_eq(r[10]->where, 0);
    ck_assert_uint_eq(r[11]->where, WEDGE_WHERE_CALLER | WEDGE_WHERE_IN);
    ck_assert_str_eq(r[11]->caller.module, "");
    ck_assert_str_eq(r[11]->caller.function, "main");
    ck_assert_str_eq(r[11]->in.module, "libc.so.6");
    ck_assert_str_eq(r[11]->in.function, "qsort_r");
    ck_assert_uint_eq(r[12]->where, WEDGE_WHERE_OBJ | WEDGE_WHERE_ARG);
    ck_assert_uint_eq(r[12]->object, 0);
    ck_assert_uint_eq(r[12]->per, WEDGE_PER_OBJ);
    ck_assert_uint_eq(r[12]->action, WEDGE_ACT_FULL);
    ck_assert_uint_eq(r[12]->n_args, 3);
    static const struct wedge_rule_arg args[] = {
        {3, WEDGE_ARG_GE, 4096}, {3, WEDGE_ARG_LT, 0x10000}, {1, WEDGE_ARG_NE, -1}};
    for (unsigned i = 0; i < 3; i++)
        ck_assert(r[12]->args[i].index == args[i].index && r[12]->args[i].op == args[i].op &&
                  r[12]->args[i].value == args[i].value);
    ck_assert_uint_eq(r[13]->where, WEDGE_WHERE_PATH);
    ck_assert_str_eq(r[13]->path, "/tmp/*.lock");
    ck_assert_uint_eq(r[14]->where, WEDGE_WHERE_FD | WEDGE_WHERE_ARG);
    ck_assert_int_eq(r[14]->fd, 0);
    ck_assert_uint_eq(r[14]->args[0].op, WEDGE_ARG_HAS);
    ck_assert_int_eq(r[14]->args[0].value, O_CREAT | O_EXCL);
    ck_assert_uint_eq(r[14]->action, WEDGE_ACT_CORRUPT);
    ck_assert_uint_eq(r[15]->who, WEDGE_WHO_ROLE);
    ck_assert_str_eq(r[15]->role, "helper");
    ck_assert_uint_eq(r[16]->object, 3);
    ck_assert_uint_eq(r[16]->action, WEDGE_ACT_EMPTY);
    ck_assert_uint_eq(r[17]->object, 4);

    ck_assert_str_eq(d[0]->name, "q");
    ck_assert_uint_eq(d[0]->what, WEDGE_DEFINE_OBJECT);
    ck_assert_uint_eq(d[0]->kind, WEDGE_OBJECT_FD);
    ck_assert_uint_eq(d[0]->made, WEDGE_MADE_PIPE);
    ck_assert_uint_eq(d[0]->nth, 2);
    ck_assert_str_eq(d[0]->module, "libq.so.1");
    ck_assert_str_eq(d[0]->function, "queue_open");
    ck_assert_uint_eq(d[1]->what, WEDGE_DEFINE_PROCESS);
    ck_assert_uint_eq(d[1]->of, 3); /* `top`, which is the third, plus one for "root" */
    ck_assert_str_eq(d[1]->exe, "*/helper");
    ck_assert_str_eq(d[1]->comm, "h?lper");
    ck_assert_uint_eq(d[1]->nth, 0);
    ck_assert_uint_eq(d[2]->of, 0);
    ck_assert_uint_eq(d[2]->nth, 1);
    ck_assert_uint_eq(d[3]->made, WEDGE_MADE_FILE);
    ck_assert_str_eq(d[3]->exe, "/var/log/*");
    ck_assert_uint_eq(d[4]->kind, WEDGE_OBJECT_MUTEX);
    ck_assert_str_eq(d[4]->function, "_ZN3fooC2Ev");
    wedge_arena_destroy(&arena);
}
END_TEST

/* What a value of argN may look like, and what it is then. */
START_TEST(test_values)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {{"0", 0},
                 {"-1", -1},
                 {"0x10", 16},
                 {"-0x10", -16},
                 {"0xffffffffffffffff", -1},
                 {"9223372036854775807", INT64_MAX},
                 {"O_NONBLOCK", O_NONBLOCK},
                 {"O_CREAT|O_EXCL|0x8000000", O_CREAT | O_EXCL | 0x8000000},
                 {"AT_FDCWD", AT_FDCWD},
                 {"SIGTERM", SIGTERM},
                 {"EAGAIN", EAGAIN},
                 {"EWOULDBLOCK", EWOULDBLOCK}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[96];
        snprintf(text, sizeof(text), "plan 1\na * read arg3==%s -> stop\n", cases[i].text);
        struct wedge_plan *plan = parse(text);
        ck_assert_msg(plan->rules[0].rule.args[0].value == cases[i].value, "%s is %lld", cases[i].text,
                      (long long)plan->rules[0].rule.args[0].value);
        wedge_plan_free(plan);
    }
}
END_TEST

/* Every kind of object can be defined; the agent finds it by kind and by how it is made. */
START_TEST(test_kinds)
{
    static const struct {
        const char *word, *function;
        enum wedge_object_kind kind;
        enum wedge_define_made made;
    } cases[] = {{"pipe", "read", WEDGE_OBJECT_FD, WEDGE_MADE_PIPE},
                 {"socket", "read", WEDGE_OBJECT_FD, WEDGE_MADE_SOCKET},
                 {"file", "read", WEDGE_OBJECT_FD, WEDGE_MADE_FILE},
                 {"eventfd", "read", WEDGE_OBJECT_FD, WEDGE_MADE_EVENTFD},
                 {"timerfd", "read", WEDGE_OBJECT_FD, WEDGE_MADE_TIMERFD},
                 {"signalfd", "read", WEDGE_OBJECT_FD, WEDGE_MADE_SIGNALFD},
                 {"epoll", "close", WEDGE_OBJECT_FD, WEDGE_MADE_EPOLL},
                 {"mqueue", "close", WEDGE_OBJECT_FD, WEDGE_MADE_MQUEUE},
                 {"fd", "read", WEDGE_OBJECT_FD, WEDGE_MADE_ANY},
                 {"mutex", "pthread_mutex_lock", WEDGE_OBJECT_MUTEX, WEDGE_MADE_ANY},
                 {"cond", "pthread_cond_signal", WEDGE_OBJECT_COND, WEDGE_MADE_ANY},
                 {"sem", "sem_wait", WEDGE_OBJECT_SEM, WEDGE_MADE_ANY}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        struct wedge_arena arena;
        snprintf(text, sizeof(text), "plan 1\ndefine o = %s\na * %s obj=o -> stop\n", cases[i].word, cases[i].function);
        struct wedge_plan *plan = parse(text);
        ck_assert_int_eq(wedge_arena_create(&arena, 0, 1, &err), 0);
        ck_assert_int_eq(wedge_plan_install(plan, &arena, &err), 0);
        const struct wedge_arena_define *define = wedge_arena_live(&arena, WEDGE_SEC_DEFINES, 0);
        ck_assert_uint_eq(define->kind, cases[i].kind);
        ck_assert_uint_eq(define->made, cases[i].made);
        wedge_plan_free(plan);
        wedge_arena_destroy(&arena);
    }
}
END_TEST

/* A part of the language that the agent does not do is refused, and nothing else is. */
START_TEST(test_refused_until_possible)
{
    static const struct {
        unsigned part;
        const char *lines;
        int line, column;
    } cases[] = {
        {PLAN_PART_OBJ, "define o = pipe\na * read obj=o -> stop\n", 2, 12},
        {PLAN_PART_OBJ, "a * read obj=o -> stop\n", 2, 10},
        {PLAN_PART_FD, "a * read fd=0 -> stop\n", 2, 10},
        {PLAN_PART_PATH, "a * open path=x -> stop\n", 2, 10},
        {PLAN_PART_CALLER, "a * read caller=main -> stop\n", 2, 10},
        {PLAN_PART_IN, "a * read in=main -> stop\n", 2, 10},
        {PLAN_PART_ARG, "a * read arg3>1 -> stop\n", 2, 10},
        {PLAN_PART_PER_OBJ, "a * read per=obj -> stop\n", 2, 14},
        {PLAN_PART_PROCESS, "define o = descendant of root\na o start -> stop\n", 2, 12},
        {PLAN_PART_FULL, "a * write -> full\n", 2, 14},
        {PLAN_PART_FULL, "a * read -> empty\n", 2, 13},
        {PLAN_PART_CORRUPT, "a * read -> corrupt\n", 2, 13},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        struct wedge_plan *plan = NULL;
        snprintf(text, sizeof(text), "plan 1\n%s", cases[i].lines);
        ck_assert_int_eq(plan_parse("p.plan", text, PLAN_PART_ALL & ~cases[i].part, &plan, &err), -EINVAL);
        ck_assert_msg(strstr(err.message, "not possible yet") != NULL, "\"%s\" for %s", err.message, text);
        ck_assert_msg(err.line == cases[i].line && err.column == cases[i].column, "%d:%d for %s", err.line, err.column,
                      text);
    }
}
END_TEST

/* More digits than a double holds are a chance like any other; they once came out as no number at all. */
START_TEST(test_long_chance)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "plan 1\na * t.x p=0.");
    memset(text + n, '5', 400);
    snprintf(text + n + 400, sizeof(text) - (size_t)n - 400, " -> stop\n");
    struct wedge_plan *plan = parse(text);
    struct wedge_arena arena;
    ck_assert_int_eq(wedge_arena_create(&arena, 0, 1, &err), 0);
    ck_assert_int_eq(wedge_plan_install(plan, &arena, &err), 0);
    const struct wedge_arena_rule *rule = wedge_arena_live(&arena, WEDGE_SEC_RULES, 0);
    ck_assert_uint_eq(rule->chance >> 48, 0x8e38); /* 5/9 of 2^64 */
    wedge_plan_free(plan);
    wedge_arena_destroy(&arena);
}
END_TEST

START_TEST(test_signals_and_errnos)
{
    static const struct {
        const char *action;
        int64_t arg;
    } cases[] = {
        {"kill TERM", SIGTERM},       {"kill SIGSEGV", SIGSEGV},     {"kill 10", 10}, {"errno EWOULDBLOCK", EAGAIN},
        {"errno EDEADLOCK", EDEADLK}, {"errno ENOTSUP", EOPNOTSUPP}, {"exit 0", 0},   {"return 0x10", 16},
        {"delay 5ms", 5000000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "plan 1\na * t.x -> %s\n", cases[i].action);
        struct wedge_plan *plan = parse(text);
        struct wedge_arena arena;
        ck_assert_int_eq(wedge_arena_create(&arena, 0, 9, &err), 0);
        ck_assert_int_eq(wedge_plan_install(plan, &arena, &err), 0);
        const struct wedge_arena_rule *rule = wedge_arena_live(&arena, WEDGE_SEC_RULES, 0);
        ck_assert_int_eq(rule->arg, cases[i].arg);
        /* without a seed of the plan the arena's own stays */
        ck_assert(!wedge_plan_has_seed(plan));
        ck_assert_uint_eq(((struct wedge_arena_control *)wedge_arena_live(&arena, WEDGE_SEC_CONTROL, 0))->seed, 9);
        wedge_plan_free(plan);
        wedge_arena_destroy(&arena);
    }
}
END_TEST

START_TEST(test_every_function_is_accepted)
{
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) {
        char text[128];
        const char *when = wedge_functions[i].extra & WEDGE_EXTRA_NOT_AFTER ? "before" : "after";
        snprintf(text, sizeof(text), "plan 1\na * %s:family -> block\nb * %s -> block %s\n", wedge_functions[i].name,
                 wedge_functions[i].name, when);
        struct wedge_plan *plan = parse(text);
        ck_assert_uint_eq(wedge_plan_count(plan), 2);
        wedge_plan_free(plan);
    }
}
END_TEST

/* Each plan is wrong in one place; `text` stands on the given line, after "plan 1" unless it is the whole. */
static const struct {
    const char *text;
    int line, column;
    const char *says; /* part of the message */
} bad[] = {
    /* the frame */
    {"", 1, 1, "an empty plan"},
    {"# nothing\n\n", 1, 1, "an empty plan"},
    {"pla 1\n", 1, 1, "begins with the line `plan 1`"},
    {"plan 2\n", 1, 6, "only version 1"},
    {"plan\n", 1, 5, "only version 1"},
    {"plan 1 2\n", 1, 6, "only version 1"},
    {"plan 1\nplan 1\n", 2, 1, "`plan` stands twice"},
    {"plan 1\nseed\n", 2, 5, "`seed` takes one number"},
    {"plan 1\nseed x\n", 2, 6, "not a number of 64 bits"},
    {"plan 1\nseed 18446744073709551616\n", 2, 6, "not a number of 64 bits"},
    {"plan 1\nseed 0xg\n", 2, 6, "not a number"},
    {"plan 1\nseed 1 2\n", 2, 8, "`seed` takes one number"},
    {"plan 1\nseed 1\nseed 1\n", 3, 1, "the seed is given twice"},
    {"plan 1\na\x01 * t.x -> stop\n", 2, 2, "byte 0x01"},
    {"plan 1\na * t.\xc3\xa4 -> stop\n", 2, 7, "byte 0xc3"},
    {"plan 1\n1a * t.x -> stop\n", 2, 1, "a rule begins with its id"},
    {"plan 1\nsead: 1\n", 2, 1, "a rule begins with its id"},
    {"plan 1\nabcdefghijklmnop * t.x -> stop\n", 2, 1, "longer than 15 bytes"},
    {"plan 1\na * t.x -> stop\na * t.y -> stop\n", 3, 1, "id `a` is taken by line 2"},
    {"plan 1\na * t.x stop\n", 2, 13, "`->` and an action are missing"},
    {"plan 1\nsed 1\n", 2, 6, "`->` and an action are missing"},
    {"plan 1\nplan * t.x -> stop\n", 2, 1, "cannot be ids"},
    {"plan 1\n-> stop\n", 2, 1, "a rule begins with its id"},
    {"plan 1\na\n", 2, 2, "`->` and an action are missing"},
    {"plan 1\na -> stop\n", 2, 3, "WHO"},
    {"plan 1\na * -> stop\n", 2, 5, "WHAT"},
    {"plan 1\na * t.x ->\n", 2, 11, "an action is missing"},
    {"plan 1\na * t.x -> # stop\n", 2, 11, "an action is missing"},
    {"plan 1\na * t.x 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 -> stop\n", 2, 67,
     "more than 32 words"},
    /* who */
    {"plan 1\na worker[ t.x -> stop\n", 2, 10, "`]` is missing"},
    {"plan 1\na worker[0] t.x -> stop\n", 2, 10, "not an index"},
    {"plan 1\na worker[x] t.x -> stop\n", 2, 10, "not an index: a number from 1, or *"},
    {"plan 1\na worker[] t.x -> stop\n", 2, 10, "not an index"},
    {"plan 1\na worker[1].gem=1 t.x -> stop\n", 2, 12, "possible: .gen=N"},
    {"plan 1\na worker[1].gen=x t.x -> stop\n", 2, 17, "not a generation"},
    {"plan 1\na worker[1]x t.x -> stop\n", 2, 12, "after a role"},
    {"plan 1\na w!rker t.x -> stop\n", 2, 3, "is not a WHO"},
    {"plan 1\na abcdefghijklmnopqrstuvwx t.x -> stop\n", 2, 3, "at most 23 bytes"},
    {"plan 1\na proc t.x -> stop\n", 2, 7, "proc[N]"},
    {"plan 1\na proc[*] t.x -> stop\n", 2, 8, "not an index"},
    {"plan 1\na proc[1].gen=2 t.x -> stop\n", 2, 10, "after proc[N]"},
    {"plan 1\na root[1] t.x -> stop\n", 2, 7, "root is one process"},
    {"plan 1\na thread= t.x -> stop\n", 2, 10, "takes a thread's name"},
    {"plan 1\na thread=abcdefghijklmnop t.x -> stop\n", 2, 10, "at most 15 bytes"},
    /* what */
    {"plan 1\na * raed -> stop\n", 2, 5, "nearest: read"},
    {"plan 1\na * qqqqqqqqq -> stop\n", 2, 5, "point:NAME"},
    {"plan 1\na * read, -> stop\n", 2, 10, "a function's name is missing"},
    {"plan 1\na * read,,write -> stop\n", 2, 10, "a function's name is missing"},
    {"plan 1\na * read:famly -> stop\n", 2, 9, "possible: :family"},
    {"plan 1\na * t.x,t.y -> stop\n", 2, 8, "one place, or a list of functions"},
    {"plan 1\na * read,exit -> stop\n", 2, 10, "stands alone"},
    {"plan 1\na * point: -> stop\n", 2, 11, "is not a place"},
    {"plan 1\na * t.x! -> stop\n", 2, 5, "is not a place"},
    {"plan 1\na * t.aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffff -> stop\n", 2, 5, "at most 55 bytes"},
    /* clauses */
    {"plan 1\na * t.x nth= -> stop\n", 2, 13, "a value is missing after `nth`"},
    {"plan 1\na * t.x nth -> stop\n", 2, 12, "a value is missing after `nth`"},
    {"plan 1\na * t.x nth=0 -> stop\n", 2, 13, "is not a hit"},
    {"plan 1\na * t.x nth=x -> stop\n", 2, 13, "is not a hit"},
    {"plan 1\na * t.x nth=3.4 -> stop\n", 2, 14, "after a hit"},
    {"plan 1\na * t.x nth=3..2 -> stop\n", 2, 16, "not a last hit: a number from 3"},
    {"plan 1\na * t.x nth=1 nth=2 -> stop\n", 2, 15, "given twice"},
    {"plan 1\na * t.x nht=1 -> stop\n", 2, 9, "nearest: nth"},
    {"plan 1\na * t.x every=0 -> stop\n", 2, 15, "not a number from 1"},
    {"plan 1\na * t.x max=-1 -> stop\n", 2, 13, "not a number from 1"},
    {"plan 1\na * t.x p=0 -> stop\n", 2, 11, "is not a chance"},
    {"plan 1\na * t.x p=1.5 -> stop\n", 2, 11, "is not a chance"},
    {"plan 1\na * t.x p=. -> stop\n", 2, 11, "is not a chance"},
    {"plan 1\na * t.x p=0,3 -> stop\n", 2, 11, "is not a chance"},
    {"plan 1\na * t.x time=5 -> stop\n", 2, 14, "is not a duration"},
    {"plan 1\na * start per=thread -> stop\n", 2, 15, "per=proc or per=tree"},
    {"plan 1\na * t.x per=process -> stop\n", 2, 13, "nearest: proc"},
    {"plan 1\na * t.x per= -> stop\n", 2, 13, "a value is missing after `per`"},
    {"plan 1\na * t.x nth>3 -> stop\n", 2, 12, "`nth` takes `=` alone"},
    {"plan 1\na * t.x p=0.00000000000000000001 -> stop\n", 2, 11, "is not a chance"},
    {"plan 1\na * t.x p=-0.1 -> stop\n", 2, 11, "is not a chance"},
    {"plan 1\na * t.x time=-5s -> stop\n", 2, 14, "is not a duration"},
    {"plan 1\na * t.x time=5parsec -> stop\n", 2, 14, "is not a duration"},
    {"plan 1\na * t.x nth=18446744073709551616 -> stop\n", 2, 13, "is not a hit"},
    {"plan 1\na * t.x per=obj -> stop\n", 2, 13, "a place is about no object; possible: thread, proc, tree"},
    {"plan 1\na * exit per=obj -> stop\n", 2, 14, "about no object; possible: proc, tree"},
    {"plan 1\na * read,nanosleep per=obj -> stop\n", 2, 24, "nanosleep is about no object"},
    {"plan 1\na * open per=obj -> stop\n", 2, 14, "open is about no object that is there before it"},
    /* where */
    {"plan 1\na * read obj= -> stop\n", 2, 14, "a value is missing after `obj`"},
    {"plan 1\na * read obj=a! -> stop\n", 2, 14, "not the name of a define"},
    {"plan 1\na * read obj=abcdefghijklmnopqrstuvwx -> stop\n", 2, 14, "not the name of a define"},
    {"plan 1\na * read ojb=q -> stop\n", 2, 10, "nearest: obj"},
    {"plan 1\na * read obj!=q -> stop\n", 2, 13, "`obj` takes `=` alone"},
    {"plan 1\na * read obj=q obj=q -> stop\n", 2, 16, "`obj=` is given twice"},
    {"plan 1\na * read obj=taskq -> stop\n", 2, 14, "no object is defined as `taskq`: define taskq = KIND"},
    {"plan 1\ndefine taskq = pipe\na * read obj=task -> stop\n", 3, 14, "nearest: taskq"},
    {"plan 1\ndefine q = pipe\na * read,sem_wait obj=q -> stop\n", 3, 23, "`q` is a pipe, and sem_wait is about a sem"},
    {"plan 1\ndefine m = mutex\na * read obj=m -> stop\n", 3, 14, "`m` is a mutex, and read is about a descriptor"},
    {"plan 1\na * nanosleep obj=q -> stop\n", 2, 19, "nanosleep is about no object"},
    {"plan 1\na * open obj=q -> stop\n", 2, 14, "open is about no object that is there before it"},
    {"plan 1\ndefine h = descendant of root\na * read obj=h -> stop\n", 3, 14, "`h` is defined as processes"},
    {"plan 1\na * t.x obj=q -> stop\n", 2, 9, "`obj=` needs a function"},
    {"plan 1\na * start obj=q -> stop\n", 2, 11, "start and exit are nowhere in it"},
    {"plan 1\na * read fd=x -> stop\n", 2, 13, "not a descriptor: a number from 0"},
    {"plan 1\na * read fd=-1 -> stop\n", 2, 13, "not a descriptor"},
    {"plan 1\na * read fd=2147483648 -> stop\n", 2, 13, "not a descriptor"},
    {"plan 1\na * read,sem_wait fd=3 -> stop\n", 2, 22, "sem_wait takes no descriptor"},
    {"plan 1\na * open fd=3 -> stop\n", 2, 13, "open makes its descriptor"},
    {"plan 1\na * t.x fd=3 -> stop\n", 2, 9, "`fd=` needs a function"},
    {"plan 1\na * read path=/tmp -> stop\n", 2, 15, "read takes no path"},
    {"plan 1\na * open,close path=/tmp -> stop\n", 2, 21, "close takes no path"},
    {"plan 1\na * open path=/aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiii"
     "jjjjj -> stop\n",
     2, 15, "at most 95 bytes"},
    {"plan 1\na * exit path=/tmp -> stop\n", 2, 10, "start and exit are nowhere in it"},
    {"plan 1\na * read caller= -> stop\n", 2, 17, "a value is missing after `caller`"},
    {"plan 1\na * read caller=!f -> stop\n", 2, 17, "is not a module"},
    {"plan 1\na * read caller=/usr/lib/libx.so!f -> stop\n", 2, 17, "is not a module: a file's name without"},
    {"plan 1\na * read caller=libx.so! -> stop\n", 2, 25, "is not a function"},
    {"plan 1\na * read caller=a!b!c -> stop\n", 2, 19, "is not a function"},
    {"plan 1\na * read caller=f() -> stop\n", 2, 17, "as nm(1) prints it"},
    {"plan 1\na * read caller=abcdefghijabcdefghijabcdefghijabcdefghij!f -> stop\n", 2, 17, "at most 39 bytes"},
    {"plan 1\na * read in=abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdef -> stop\n", 2, 13,
     "at most 55 bytes"},
    {"plan 1\na * read in=foo::bar -> stop\n", 2, 13, "is not a function"},
    {"plan 1\na * start in=main -> stop\n", 2, 11, "start and exit are nowhere in it"},
    {"plan 1\na * exit caller=main -> stop\n", 2, 10, "start and exit are nowhere in it"},
    {"plan 1\na * read arg>1 -> stop\n", 2, 13, "arg1 is the first"},
    {"plan 1\na * read arg0>1 -> stop\n", 2, 13, "arg1 is the first"},
    {"plan 1\na * read arg4>1 -> stop\n", 2, 13, "read has 3 arguments"},
    {"plan 1\na * read,close arg2>1 -> stop\n", 2, 19, "close has 1 argument"},
    {"plan 1\na * fork arg1>1 -> stop\n", 2, 13, "fork has 0 arguments"},
    {"plan 1\na * read arg1 -> stop\n", 2, 14, "a comparison is missing after `arg1`"},
    {"plan 1\na * read arg1=1 -> stop\n", 2, 14, "possible: == != < <= > >= &"},
    {"plan 1\na * read arg1x>1 -> stop\n", 2, 14, "a comparison is missing"},
    {"plan 1\na * read arg1> -> stop\n", 2, 15, "a value is missing"},
    {"plan 1\na * read arg1>=x -> stop\n", 2, 16, "not a number of 64 bits, nor a constant"},
    {"plan 1\na * read arg1==9223372036854775808 -> stop\n", 2, 16, "not a number of 64 bits"},
    {"plan 1\na * open arg2&O_CRAET -> stop\n", 2, 15, "nearest: O_CREAT"},
    {"plan 1\na * open arg2&O_CREAT|O_EXLC -> stop\n", 2, 23, "nearest: O_EXCL"},
    {"plan 1\na * open arg2&O_CREAT| -> stop\n", 2, 23, "a value is missing"},
    {"plan 1\na * open arg2&0 -> stop\n", 2, 14, "always holds"},
    {"plan 1\na * read arg3>1 arg3>2 arg3>3 arg3>4 arg3>5 -> stop\n", 2, 38, "more than 4 conditions"},
    {"plan 1\na * read arg2>5 -> stop\n", 2, 14, "argument 2 of read is an address (void *buf): possible: ==0 !=0"},
    {"plan 1\na * open:family arg2&O_CREAT -> stop\n", 2, 21, "argument 2 of openat is an address"},
    {"plan 1\na * t.x arg1>1 -> stop\n", 2, 9, "`arg` needs a function"},
    /* defines */
    {"plan 1\ndefine\n", 2, 7, "`define` takes a name"},
    {"plan 1\ndefine 1q = pipe\n", 2, 8, "not a name to define"},
    {"plan 1\ndefine q.x = pipe\n", 2, 8, "not a name to define"},
    {"plan 1\ndefine root = pipe\n", 2, 8, "has a meaning of its own"},
    {"plan 1\ndefine thread = pipe\n", 2, 8, "has a meaning of its own"},
    {"plan 1\ndefine abcdefghijklmnopqrstuvwx = pipe\n", 2, 8, "at most 23 bytes"},
    {"plan 1\ndefine q = pipe\ndefine q = pipe\n", 3, 8, "`q` is defined by line 2"},
    {"plan 1\ndefine q\n", 2, 9, "`=` is missing"},
    {"plan 1\ndefine q= pipe\n", 2, 8, "not a name to define"},
    {"plan 1\ndefine q pipe\n", 2, 10, "`=` is missing"},
    {"plan 1\ndefine q =\n", 2, 11, "define q as what?"},
    {"plan 1\ndefine q = pip\n", 2, 12, "nearest: pipe"},
    {"plan 1\ndefine q = decsendant of root\n", 2, 12, "nearest: descendant"},
    {"plan 1\ndefine q = descendant\n", 2, 22, "descendant of whom?"},
    {"plan 1\ndefine q = descendant root\n", 2, 23, "descendant of whom?"},
    {"plan 1\ndefine q = descendant of\n", 2, 25, "descendant of whom?"},
    {"plan 1\ndefine q = descendant of proc[1]\n", 2, 26, "possible: root, or the name of another define"},
    {"plan 1\ndefine q = descendant of hleper\ndefine helper = descendant of root\nq q start -> stop\n", 2, 26,
     "nearest: helper"},
    {"plan 1\ndefine h = descendant of q\ndefine q = pipe\na h start -> stop\n", 2, 26, "it has no descendants"},
    {"plan 1\ndefine q = descendant of abcdefghijklmnopqrstuvwx\n", 2, 26, "at most 23 bytes"},
    {"plan 1\ndefine h = descendant of h\na h start -> stop\n", 2, 26, "descends from itself"},
    {"plan 1\ndefine h = descendant of i\ndefine i = descendant of h\na h start -> stop\n", 2, 26,
     "descends from what descends from it"},
    {"plan 1\ndefine q = pipe craeted-in=f\n", 2, 17, "nearest: created-in"},
    {"plan 1\ndefine q = pipe exe=f\n", 2, 17, "no clause of an object"},
    {"plan 1\ndefine h = descendant of root created-in=f\n", 2, 31, "no clause of processes"},
    {"plan 1\ndefine h = descendant of root xee=f\n", 2, 31, "nearest: exe"},
    {"plan 1\ndefine h = descendant of root path=f\n", 2, 31, "no clause of processes"},
    {"plan 1\ndefine q = pipe created-in\n", 2, 27, "a value is missing after `created-in`"},
    {"plan 1\ndefine q = pipe created-in=\n", 2, 28, "a value is missing after `created-in`"},
    {"plan 1\ndefine q = pipe created-in=a/b!f\n", 2, 28, "is not a module"},
    {"plan 1\ndefine q = pipe created-in=f+4\n", 2, 28, "is not a function"},
    {"plan 1\ndefine q = pipe nth=0\n", 2, 21, "is not a match"},
    {"plan 1\ndefine q = pipe nth=1..\n", 2, 21, "is not a match"},
    {"plan 1\ndefine q = pipe nth=1 nth=2\n", 2, 23, "`nth=` is given twice"},
    {"plan 1\ndefine q = pipe path=/tmp/x\n", 2, 17, "a pipe is not made by a path"},
    {"plan 1\ndefine q = file path=/aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhh\n",
     2, 22, "at most 79 bytes"},
    {"plan 1\ndefine h = descendant of root comm=abcdefghijklmnop\n", 2, 36, "at most 15 bytes"},
    {"plan 1\ndefine q = pipe\n", 2, 8, "no rule says obj=q"},
    {"plan 1\ndefine h = descendant of root\na worker start -> stop\n", 2, 8, "no rule has `h` as WHO"},
    {"plan 1\ndefine h = descendant of root\ndefine i = descendant of h\na h start -> stop\n", 3, 8,
     "no rule has `i` as WHO"},
    {"plan 1\ndefine q = pipe\na q read obj=q -> stop\n", 3, 3, "`q` is defined as a pipe: it can be obj=q"},
    {"plan 1\ndefine h = descendant of root nth=2\na h[1] read -> stop\n", 3, 3, "never `h[1]`"},
    {"plan 1\ndefine h = descendant of root\na h[1].gen=1 read -> stop\n", 3, 3, "no generation but 0"},
    /* conditions */
    {"plan 1\na * t.x after=b -> stop\n", 2, 15, "is not a condition"},
    {"plan 1\na * t.x after=fired(b -> stop\n", 2, 22, "`)` is missing"},
    {"plan 1\na * t.x after=fired() -> stop\n", 2, 21, "not a rule's id"},
    {"plan 1\na * t.x after=mark(a!) -> stop\n", 2, 20, "not a place's name"},
    {"plan 1\nab * t.x -> stop\nb * t.x after=fired(ac) -> stop\n", 3, 21, "no rule has the id `ac`; nearest: ab"},
    {"plan 1\na * t.x after=fired(b,0) -> stop\n", 2, 23, "not a count"},
    {"plan 1\na * t.x after=fired(a) -> stop\n", 2, 21, "waits for itself"},
    {"plan 1\na * t.x after=fired(b) -> stop\nb * t.x after=fired(a) -> stop\n", 2, 21, "can never fire"},
    {"plan 1\na * t.x after=fired(b) -> stop\nb * t.x after=fired(c) -> stop\nc * t.x after=fired(b) -> stop\n", 3, 21,
     "`b` can never fire"}, /* a waits for the circle, and is not in it */
    {"plan 1\na * t.x -> yield until=fired(a)\n", 2, 30, "holds at once"},
    {"plan 1\na * t.x -> yield until=fired(nobody)\n", 2, 30, "no rule has the id"},
    /* actions */
    {"plan 1\na * t.x -> kil KILL\n", 2, 12, "nearest: kill"},
    {"plan 1\na * t.x -> kill\n", 2, 16, "`kill` takes a signal"},
    {"plan 1\na * t.x -> kill KIL\n", 2, 17, "is not a signal"},
    {"plan 1\na * t.x -> kill SIGTERMM\n", 2, 17, "nearest: TERM"},
    {"plan 1\ndefine h = descendant of rooot\na h start -> stop\n", 2, 26, "nearest: root"},
    {"plan 1\na * t.x -> kill 0\n", 2, 17, "is not a signal"},
    {"plan 1\na * t.x -> exit 256\n", 2, 17, "from 0 to 255"},
    {"plan 1\na * t.x -> exit -1\n", 2, 17, "from 0 to 255"},
    {"plan 1\na * read -> errno EINTER\n", 2, 19, "nearest: EINTR"},
    {"plan 1\na * read -> errno 4\n", 2, 19, "not an errno's name"},
    {"plan 1\na * t.x -> return 4294967296\n", 2, 19, "is not a number from"},
    {"plan 1\na * t.x -> delay 5\n", 2, 18, "is not a duration"},
    {"plan 1\na * t.x -> delay 0s\n", 2, 18, "is not a duration above 0"},
    {"plan 1\na * t.x -> delay\n", 2, 17, "`delay` takes a duration"},
    {"plan 1\na * t.x -> yield\n", 2, 17, "`yield` takes until="},
    {"plan 1\na * t.x -> yield util=fired(a)\n", 2, 18, "possible: until="},
    {"plan 1\na * t.x -> stop now\n", 2, 17, "possible: before, after"},
    {"plan 1\na * t.x -> stop before now\n", 2, 24, "after the end of the rule"},
    {"plan 1\na * t.x -> kill KILL after\n", 2, 22, "`after` needs a function"},
    {"plan 1\na * execve -> block after\n", 2, 21, "not possible at execve, which does not come back"},
    {"plan 1\na * fork:family -> errno EAGAIN after\n", 2, 33, "not possible at vfork"},
    {"plan 1\na * pthread_exit -> errno EIO\n", 2, 21, "returns nothing"},
    {"plan 1\na * write -> drop after\n", 2, 19, "cannot come after it"},
    {"plan 1\na * t.x -> short 1\n", 2, 12, "not possible at a place"},
    {"plan 1\na * t.x -> spurious\n", 2, 12, "not possible at a place"},
    {"plan 1\na * read -> drop\n", 2, 13, "`drop` is not possible at read"},
    {"plan 1\na * mtx_destroy -> errno EIO\n", 2, 20, "mtx_destroy, which returns nothing"},
    {"plan 1\na * closefrom -> return 0\n", 2, 18, "closefrom, which returns nothing"},
    {"plan 1\na * sleep -> errno EINTR\n", 2, 14, "sleep, which has no error; possible: return V"},
    {"plan 1\na * mq_send -> short 1\n", 2, 16, "`short` is not possible at mq_send"},
    {"plan 1\na * read,poll -> short 1\n", 2, 18, "`short` is not possible at poll"},
    {"plan 1\na * write -> short 0\n", 2, 20, "from 1"},
    {"plan 1\na * sem_wait -> spurious\n", 2, 17, "`spurious` is not possible at sem_wait"},
    {"plan 1\na * start -> errno EIO\n", 2, 14, "start and exit are none"},
    {"plan 1\na * t.x -> corrupt\n", 2, 12, "not possible at a place"},
    {"plan 1\na * sem_wait -> corrupt\n", 2, 17, "`corrupt` is not possible at sem_wait; possible at: read, write"},
    {"plan 1\na * read -> full\n", 2, 13, "`full` is not possible at read; possible at: write"},
    {"plan 1\na * write -> empty\n", 2, 14, "`empty` is not possible at write; possible at: read"},
    {"plan 1\na * write -> full after\n", 2, 19, "cannot come after it"},
    {"plan 1\na * read -> empty 5\n", 2, 19, "possible: before, after"},
    {"plan 1\na * exit -> full\n", 2, 13, "start and exit are none"},
    {"plan 1\na * t.x -> quiesce after\n", 2, 20, "`after` needs a function"},
    {"plan 1\na * read -> return x\n", 2, 20, "is not a number from"},
    {"plan 1\na * read,close -> return 2147483648\n", 2, 26, "is not a number from -2147483648 to 2147483647"},
    {"plan 1\na * sleep -> return -1\n", 2, 21, "is not a number from 0 to 4294967295"},
    {"plan 1\na * read -> return 9223372036854775808\n", 2, 20, "is not a number from"},
    {"plan 1\na * read -> return\n", 2, 19, "`return` takes a number"},
    {"plan 1\na * read -> errno\n", 2, 18, "`errno` takes an errno's name"},
    {"plan 1\na * read -> short\n", 2, 18, "`short` takes a number of bytes"},
    {"plan 1\na * read -> exit\n", 2, 17, "`exit` takes a status"},
    {"plan 1\na * t.x -> yield until=fired(a,2,3)\n", 2, 32, "not a count"},
    {"plan 1\na * t.x -> clock +5s\n", 2, 12, "not possible yet"},
};
enum { BAD = sizeof(bad) / sizeof(bad[0]) };
_Static_assert(BAD >= 200, "the table is meant to be large");

START_TEST(test_bad_plan)
{
    struct wedge_plan *plan = (void *)&err;
    int rc = parse_all(bad[_i].text, &plan);
    ck_assert_msg(rc == -EINVAL, "accepted: %s", bad[_i].text);
    ck_assert_ptr_eq(plan, (void *)&err); /* untouched */
    ck_assert_int_eq(err.class, WEDGE_ERR_INPUT);
    ck_assert_str_eq(err.file, "p.plan");
    ck_assert_msg(err.line == bad[_i].line && err.column == bad[_i].column, "%d:%d: %s for %s", err.line, err.column,
                  err.message, bad[_i].text);
    ck_assert_msg(strstr(err.message, bad[_i].says) != NULL, "\"%s\" for %s", err.message, bad[_i].text);
}
END_TEST

START_TEST(test_limits)
{
    char *text = malloc(65536), *at = text + sprintf(text, "plan 1\n");
    for (int i = 0; i < 128; i++)
        at += sprintf(at, "r%d * t.x -> stop\n", i);
    struct wedge_plan *plan = parse(text);
    ck_assert_uint_eq(wedge_plan_count(plan), 128);
    wedge_plan_free(plan);
    sprintf(at, "r128 * t.x -> stop\n");
    ck_assert_int_eq(wedge_plan_parse(NULL, text, &plan, &err), -EINVAL);
    ck_assert_int_eq(err.line, 130);
    ck_assert_str_eq(err.file, "plan");
    ck_assert_ptr_nonnull(strstr(err.message, "more than 128 rules"));
    at = text + sprintf(text, "plan 1\n");
    for (int i = 0; i < 32; i++)
        at += sprintf(at, "define d%d = descendant of root\nr%d d%d start -> stop\n", i, i, i);
    ck_assert_int_eq(parse_all(text, &plan), 0);
    wedge_plan_free(plan);
    sprintf(at, "define d32 = pipe\n");
    ck_assert_int_eq(parse_all(text, &plan), -EINVAL);
    ck_assert_int_eq(err.line, 66);
    ck_assert_ptr_nonnull(strstr(err.message, "more than 32 defines"));
    free(text);
    wedge_plan_free(NULL);
}
END_TEST

/* An error has a message, and a place that is in the text, or just past the end of a line of it. */
static void check_place(const char *text)
{
    int line = 1;
    for (; line < err.line && *text; text++)
        line += *text == '\n';
    ck_assert_int_eq(err.line, line);
    ck_assert_msg(err.column >= 1 && err.column <= (int)strcspn(text, "\n") + 1, "%d:%d: %s", err.line, err.column,
                  err.message);
    ck_assert_str_ne(err.message, "");
}

/* Lines of words that belong to the language, in any order: each is a plan, or refused at a place. */
START_TEST(test_shuffled_words)
{
    char vocabulary[] =
        "define q h = pipe mutex descendant of root created-in=f path=* exe=* comm=c nth=1 nth=2..3 * h[2] "
        "proc[1] thread=t read open read,write sem_wait:family start exit t.x obj=q fd=1 caller=m!f in=f "
        "arg1==-1 arg2&O_CREAT arg3>=0x10 p=0.5 max=1 every=2 after=fired(a) after=mark(t.x) time=1s per=obj "
        "per=tree -> -> -> stop kill KILL errno EINTR yield until=fired(a,2) full corrupt short 3 delay 1s "
        "after before seed # a";
    const char *words[64];
    size_t n_words = 0;
    for (char *word = strtok(vocabulary, " "); word && n_words < 64; word = strtok(NULL, " "))
        words[n_words++] = word;
    /* What most lines begin and end with, so that not all are refused at their first word. */
    static const char *const heads[] = {"",         "define q =", "define h = descendant of", "a * read",
                                        "b h open", "a * t.x",    "b * write obj=q"};
    static const char *const tails[] = {"", " -> stop", " -> errno EINTR"};
    uint32_t state = 1;
    unsigned accepted = 0;
#define PICK(of) (state = state * 1664525 + 1013904223, (state >> 16) % (sizeof(of) / sizeof((of)[0])))
    for (int i = 0; i < 20000; i++) {
        char text[1024];
        size_t n = (size_t)sprintf(text, "plan 1\n");
        for (size_t line = 0; line < 1 + PICK(tails); line++) {
            n += (size_t)sprintf(text + n, "%s", heads[PICK(heads)]);
            for (size_t w = PICK(heads); w > 0; w--)
                n += (size_t)sprintf(text + n, " %s", words[PICK(words) % n_words]);
            n += (size_t)sprintf(text + n, "%s\n", tails[PICK(tails)]);
        }
#undef PICK
        struct wedge_plan *plan = NULL;
        if (parse_all(text, &plan) == 0) {
            wedge_plan_free(plan);
            accepted++;
            continue;
        }
        check_place(text);
    }
    ck_assert_uint_gt(accepted, 20);
}
END_TEST

/* Every prefix of a good plan, and the good plan with each byte replaced, left out or doubled, gives a plan or an error
 * with a place in it, and nothing else (the sanitizers watch). */
START_TEST(test_mangled_plans)
{
    static const char with[] = " \n#[]=,.(*>-0z!|\"\xff"; /* and its NUL: a prefix */
    enum { DOUBLED = sizeof(with), LEFT_OUT, WAYS };
    char text[sizeof(good) + 1];
    unsigned refused = 0;
    for (size_t i = 0; i < sizeof(good) - 1; i++)
        for (size_t way = 0; way < WAYS; way++) {
            size_t next = way == DOUBLED ? i : i + 1, at = way == LEFT_OUT ? i : i + 1;
            memcpy(text, good, at);
            if (way < DOUBLED)
                text[i] = with[way];
            memcpy(text + at, good + next, sizeof(good) - next);
            struct wedge_plan *plan = NULL;
            if (parse_all(text, &plan) == 0) {
                wedge_plan_free(plan);
                continue;
            }
            refused++;
            check_place(text);
        }
    ck_assert_uint_gt(refused, 10000);
}
END_TEST

START_TEST(test_legality)
{
    static const struct {
        enum wedge_function function;
        enum wedge_rule_action action;
        int64_t arg;
        enum wedge_legality is;
    } cases[] = {
        {WEDGE_FN_write, WEDGE_ACT_SHORT, 1, WEDGE_LEGAL},
        {WEDGE_FN_sem_wait, WEDGE_ACT_ERRNO, EINTR, WEDGE_LEGAL},
        {WEDGE_FN_sem_wait, WEDGE_ACT_ERRNO, ETIMEDOUT, WEDGE_ILLEGAL}, /* sem_timedwait alone has a deadline */
        {WEDGE_FN_sem_timedwait, WEDGE_ACT_ERRNO, ETIMEDOUT, WEDGE_LEGAL},
        {WEDGE_FN_pthread_mutex_lock, WEDGE_ACT_ERRNO, EINTR, WEDGE_ILLEGAL}, /* "shall not return … [EINTR]" */
        {WEDGE_FN_pthread_cond_timedwait, WEDGE_ACT_RETURN, ETIMEDOUT, WEDGE_LEGAL}, /* returns its error's number */
        {WEDGE_FN_pthread_cond_timedwait, WEDGE_ACT_RETURN, 0, WEDGE_ILLEGAL},
        {WEDGE_FN_read, WEDGE_ACT_RETURN, EINTR, WEDGE_ILLEGAL}, /* a number of bytes */
        {WEDGE_FN_pthread_cond_wait, WEDGE_ACT_SPURIOUS, 0, WEDGE_LEGAL},
        {WEDGE_FN_pthread_cond_signal, WEDGE_ACT_DROP, 0, WEDGE_ILLEGAL},
        {WEDGE_FN_read, WEDGE_ACT_CORRUPT, 0, WEDGE_ILLEGAL},
        {WEDGE_FN_write, WEDGE_ACT_FULL, 0, WEDGE_ENVIRONMENTAL},
        {WEDGE_FN_read, WEDGE_ACT_EMPTY, 0, WEDGE_ENVIRONMENTAL},
        {WEDGE_FN_read, WEDGE_ACT_KILL, SIGKILL, WEDGE_ENVIRONMENTAL},
        {WEDGE_FN_read, WEDGE_ACT_STOP, 0, WEDGE_ENVIRONMENTAL},
        {WEDGE_FN_read, WEDGE_ACT_EXIT, 1, WEDGE_ENVIRONMENTAL},
        {WEDGE_FN_read, WEDGE_ACT_DELAY, 1, WEDGE_ENVIRONMENTAL},
        {WEDGE_FN_read, WEDGE_ACT_BLOCK, 0, WEDGE_ENVIRONMENTAL},
        {WEDGE_FN_read, WEDGE_ACT_YIELD, 0, WEDGE_ENVIRONMENTAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(wedge_plan_legality(cases[i].function, cases[i].action, cases[i].arg) == cases[i].is,
                      "%s -> %s %ld is not %s", wedge_functions[cases[i].function].name,
                      wedge_plan_actions[cases[i].action], (long)cases[i].arg, wedge_legality_words[cases[i].is]);
    /* For each function whatever its table says is legal, and one that it does not is not. */
    for (unsigned f = 0; f < WEDGE_FN_COUNT; f++) {
        for (const int *e = wedge_functions[f].errnos; *e; e++)
            ck_assert_int_eq(wedge_plan_legality(f, WEDGE_ACT_ERRNO, *e), WEDGE_LEGAL);
        ck_assert_int_eq(wedge_plan_legality(f, WEDGE_ACT_ERRNO, EBFONT), WEDGE_ILLEGAL);
    }
    ck_assert(wedge_plan_allows(WEDGE_FN_read, WEDGE_ACT_SHORT) && !wedge_plan_allows(WEDGE_FN_poll, WEDGE_ACT_SHORT));
    ck_assert(wedge_plan_allows(WEDGE_FN_poll, WEDGE_ACT_KILL) && wedge_plan_allows(WEDGE_FN_poll, WEDGE_ACT_ERRNO));
    ck_assert(!wedge_plan_allows(WEDGE_FN_sleep, WEDGE_ACT_ERRNO) &&
              wedge_plan_allows(WEDGE_FN_sleep, WEDGE_ACT_RETURN));
    ck_assert(!wedge_plan_allows(WEDGE_FN_closefrom, WEDGE_ACT_RETURN));
}
END_TEST

START_TEST(test_rule_legality)
{
    struct wedge_plan *plan = parse("plan 1\n"
                                    "a * read,sem_wait -> errno EAGAIN\n" /* legal at read alone */
                                    "b * read -> errno EAGAIN\n"
                                    "c * read -> errno EAGAIN after\n" /* has read, and says that it has not */
                                    "d * t.x -> drop\n"
                                    "e * t.x -> errno EAGAIN\n"
                                    "f * start -> stop\n"
                                    "g * read -> kill KILL after\n");
    static const struct {
        enum wedge_legality is;
        enum wedge_function function;
    } expected[] = {{WEDGE_ILLEGAL, WEDGE_FN_sem_wait},    {WEDGE_LEGAL, WEDGE_FN_read},
                    {WEDGE_ILLEGAL, WEDGE_FN_read},        {WEDGE_ILLEGAL, WEDGE_FN_COUNT},
                    {WEDGE_ENVIRONMENTAL, WEDGE_FN_COUNT}, {WEDGE_ENVIRONMENTAL, WEDGE_FN_COUNT},
                    {WEDGE_ENVIRONMENTAL, WEDGE_FN_read}};
    for (size_t i = 0; i < wedge_plan_count(plan); i++) {
        enum wedge_function function;
        ck_assert_msg(wedge_plan_rule_legality(plan, i, &function) == expected[i].is, "%s", wedge_plan_text(plan, i));
        ck_assert_uint_eq(function, expected[i].function);
    }
    wedge_plan_free(plan);
}
END_TEST

/* The parts of a prototype, from which it is told what is a path and what an address. */
START_TEST(test_prototypes)
{
    static const struct {
        enum wedge_function function;
        unsigned n;
        const char *param;
    } cases[] = {{WEDGE_FN_openat, 1, "int dir"},   {WEDGE_FN_openat, 2, "const char *path"},
                 {WEDGE_FN_openat, 3, "int flags"}, {WEDGE_FN_openat, 4, "..."},
                 {WEDGE_FN_openat, 5, NULL},        {WEDGE_FN_read, 2, "void *buf"},
                 {WEDGE_FN_close, 1, "int fd"},     {WEDGE_FN_close, 2, NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int len = -1;
        const char *param = wedge_function_param(&wedge_functions[cases[i].function], cases[i].n, &len);
        ck_assert_msg(cases[i].param ? param && len == (int)strlen(cases[i].param) &&
                                           memcmp(param, cases[i].param, (size_t)len) == 0
                                     : param == NULL,
                      "%s %u", wedge_functions[cases[i].function].name, cases[i].n);
    }
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) { /* what argN may name is what the prototype has */
        int length;
        unsigned n = 0;
        while (wedge_function_param(&wedge_functions[i], n + 1, &length) && length > 0)
            n++;
        bool none = strcmp(wedge_functions[i].params, "(void)") == 0;
        ck_assert_msg((none ? 0 : n) == wedge_functions[i].n_args, "%s has %u arguments of %u", wedge_functions[i].name,
                      wedge_functions[i].n_args, n);
    }
    static const struct wedge_function_row start = {.params = "(int x, void *(*start)(void *, int), const char *name)"};
    int len;
    ck_assert_str_eq(wedge_function_param(&start, 3, &len), "const char *name)");
    ck_assert_int_eq(len, 16);
    ck_assert_uint_eq(wedge_function_path(&wedge_functions[WEDGE_FN_open]), 1);
    ck_assert_uint_eq(wedge_function_path(&wedge_functions[WEDGE_FN_openat]), 2);
    ck_assert_uint_eq(wedge_function_path(&wedge_functions[WEDGE_FN_read]), 0);
    ck_assert_uint_eq(wedge_function_path(&wedge_functions[WEDGE_FN_fork]), 0);
}
END_TEST

/* Each block of the manual that begins with "plan 1" is a plan. */
START_TEST(test_plans_of_the_manual)
{
    static char page[65536];
    FILE *in = fopen(PLAN_MANUAL, "r");
    ck_assert_ptr_nonnull(in);
    size_t n = fread(page, 1, sizeof(page) - 1, in), plans = 0;
    fclose(in);
    page[n] = 0;
    for (char *at = strstr(page, "```\nplan 1\n"); at; at = strstr(at, "```\nplan 1\n")) {
        char *begin = at + 4, *end = strstr(begin, "```");
        ck_assert_ptr_nonnull(end);
        *end = 0;
        wedge_plan_free(parse(begin));
        at = end + 1;
        plans++;
    }
    ck_assert_uint_ge(plans, 5);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_good_plan);
    tcase_add_test(tcase, test_limits_of_counting_per_object);
    tcase_add_test(tcase, test_good_where);
    tcase_add_test(tcase, test_values);
    tcase_add_test(tcase, test_kinds);
    tcase_add_test(tcase, test_refused_until_possible);
    tcase_add_test(tcase, test_long_chance);
    tcase_add_test(tcase, test_signals_and_errnos);
    tcase_add_test(tcase, test_every_function_is_accepted);
    tcase_add_loop_test(tcase, test_bad_plan, 0, BAD);
    tcase_add_test(tcase, test_limits);
    tcase_add_test(tcase, test_mangled_plans);
    tcase_add_test(tcase, test_shuffled_words);
    tcase_add_test(tcase, test_legality);
    tcase_add_test(tcase, test_rule_legality);
    tcase_add_test(tcase, test_prototypes);
    tcase_add_test(tcase, test_plans_of_the_manual);
}

int main(void)
{
    return wedge_test_main("plan", 20, fill);
}
