/* The plan language: what a good plan compiles to. What is said about each bad one: test_plan_errors.c. */
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
    const char *words[64] = {"b"};
    size_t n_words = 1;
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
enum { MANGLED_PARTS = 4 }; /* each a test of its own: all of them take a sanitizer a dozen seconds of the processor */
START_TEST(test_mangled_plans)
{
    static const char with[] = " \n#[]=,.(*>-0z!|\"\xff"; /* and its NUL: a prefix */
    enum { DOUBLED = sizeof(with), LEFT_OUT, WAYS };
    char text[sizeof(good) + 1];
    unsigned refused = 0;
    for (size_t i = (size_t)_i; i < sizeof(good) - 1; i += MANGLED_PARTS)
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
    ck_assert_uint_gt(refused, 10000 / MANGLED_PARTS);
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
    ck_assert(!wedge_plan_allows(WEDGE_FN_alarm, WEDGE_ACT_ERRNO) &&
              wedge_plan_allows(WEDGE_FN_alarm, WEDGE_ACT_RETURN));
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

static const char *read_manual(void)
{
    static char page[65536];
    FILE *in = fopen(PLAN_MANUAL, "re");
    ck_assert_ptr_nonnull(in);
    size_t n = fread(page, 1, sizeof(page) - 1, in);
    fclose(in);
    page[n] = 0;
    return page;
}

/* Each block of the manual that begins with "plan 1" is a plan. */
START_TEST(test_plans_of_the_manual)
{
    size_t plans = 0;
    for (const char *at = strstr(read_manual(), "```\nplan 1\n"); at; at = strstr(at, "```\nplan 1\n")) {
        const char *begin = at + 4, *end = strstr(begin, "```");
        ck_assert_ptr_nonnull(end);
        char *text = strndup(begin, (size_t)(end - begin));
        wedge_plan_free(parse(text));
        free(text);
        at = end + 1;
        plans++;
    }
    ck_assert_uint_ge(plans, 5);
}
END_TEST

/* What the agent does not do yet is said in the manual, and what it does is not: whoever adds a part takes it out. */
START_TEST(test_manual_knows_what_is_possible)
{
    static const struct {
        unsigned part;
        const char *word;
    } cases[] = {{PLAN_PART_OBJ, "*obj*"},         {PLAN_PART_FD, "*fd*"},
                 {PLAN_PART_PATH, "*path*"},       {PLAN_PART_CALLER, "*caller*"},
                 {PLAN_PART_IN, "*in*"},           {PLAN_PART_ARG, "*arg*"},
                 {PLAN_PART_PER_OBJ, "*per=obj*"}, {PLAN_PART_PROCESS, "*descendant of*"},
                 {PLAN_PART_FULL, "*full*"},       {PLAN_PART_CORRUPT, "*corrupt*"}};
    const char *at = strstr(read_manual(), "\nNot possible yet: ");
    ck_assert_ptr_nonnull(at);
    char *said = strndup(at, strcspn(at + 1, "\n"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg((strstr(said, cases[i].word) == NULL) == ((PLAN_POSSIBLE & cases[i].part) != 0), "%s",
                      cases[i].word);
    ck_assert_ptr_nonnull(strstr(said, "*clock*"));
    free(said);
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
    tcase_add_test(tcase, test_limits);
    tcase_add_loop_test(tcase, test_mangled_plans, 0, MANGLED_PARTS);
    tcase_add_test(tcase, test_shuffled_words);
    tcase_add_test(tcase, test_legality);
    tcase_add_test(tcase, test_rule_legality);
    tcase_add_test(tcase, test_prototypes);
    tcase_add_test(tcase, test_plans_of_the_manual);
    tcase_add_test(tcase, test_manual_knows_what_is_possible);
}

int main(void)
{
    return wedge_test_main("plan", 20, fill);
}
