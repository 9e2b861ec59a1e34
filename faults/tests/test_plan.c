/* The plan language: what a good plan compiles to, and what is said about each bad one. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "faults/functions.h"
#include "faults/plan.h"

static struct wedge_err err;

static struct wedge_plan *parse(const char *text)
{
    struct wedge_plan *plan = NULL;
    char message[1024];
    if (wedge_plan_parse("p.plan", text, &plan, &err))
        ck_abort_msg("%s", wedge_err_text(&err, message, sizeof(message)));
    return plan;
}

static const char good[] = "# a plan with everything\n"
                           "\n"
                           "plan 1\r\n"
                           "seed 0x5eed   # the seed\n"
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
                           "fc * x.y -> return -7   # last";

START_TEST(test_good_plan)
{
    struct wedge_plan *plan = parse(good);
    ck_assert_uint_eq(wedge_plan_count(plan), 12);
    ck_assert_str_eq(wedge_plan_id(plan, 0), "f1");
    ck_assert_str_eq(wedge_plan_id(plan, 11), "fc");
    ck_assert_ptr_null(wedge_plan_id(plan, 12));
    ck_assert(wedge_plan_has_seed(plan));
    ck_assert_uint_eq(wedge_plan_seed(plan), 0x5eed);
    static const bool must[] = {true, false, true, false, false, false, true, true, true, false, true, false};
    for (size_t i = 0; i < 12; i++)
        ck_assert_msg(wedge_plan_must_fire(plan, i) == must[i], "rule %zu", i);
    ck_assert_str_eq(wedge_plan_text(plan, 11), "fc * x.y -> return -7   # last");

    struct wedge_arena arena;
    ck_assert_int_eq(wedge_arena_create(&arena, 0, 1, &err), 0);
    ck_assert_int_eq(wedge_plan_install(plan, &arena, &err), 0);
    wedge_plan_free(plan);
    const struct wedge_arena_control *control = wedge_arena_live(&arena, WEDGE_SEC_CONTROL, 0);
    ck_assert_uint_eq(control->n_rules, 12);
    ck_assert_uint_eq(control->seed, 0x5eed);
    const struct wedge_arena_rule *r[12];
    for (uint32_t i = 0; i < 12; i++)
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
    ck_assert_uint_eq(r[0]->line, 5);
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
        snprintf(text, sizeof(text), "plan 1\na * %s:family -> block after\n", wedge_functions[i].name);
        struct wedge_plan *plan = parse(text);
        ck_assert_uint_eq(wedge_plan_count(plan), 1);
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
    {"plan 1\ndefine q = pipe nth=1\n", 2, 1, "`define` is not possible yet"},
    {"plan 1\na * t.x stop\n", 2, 13, "`->` and an action are missing"},
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
    {"plan 1\na * t.x per=process -> stop\n", 2, 13, "possible: thread, proc, tree"},
    {"plan 1\na * t.x per=obj -> stop\n", 2, 13, "per=obj is not possible yet"},
    {"plan 1\na * start per=thread -> stop\n", 2, 15, "per=proc or per=tree"},
    {"plan 1\na * read obj=taskq -> stop\n", 2, 10, "not possible yet"},
    {"plan 1\na * read fd=3 -> stop\n", 2, 10, "not possible yet"},
    {"plan 1\na * open path=/tmp -> stop\n", 2, 10, "not possible yet"},
    {"plan 1\na * read caller=libc.so!x -> stop\n", 2, 10, "not possible yet"},
    {"plan 1\na * read in=main -> stop\n", 2, 10, "not possible yet"},
    {"plan 1\na * read arg2>5 -> stop\n", 2, 10, "not possible yet"},
    /* conditions */
    {"plan 1\na * t.x after=b -> stop\n", 2, 15, "is not a condition"},
    {"plan 1\na * t.x after=fired(b -> stop\n", 2, 22, "`)` is missing"},
    {"plan 1\na * t.x after=fired() -> stop\n", 2, 21, "not a rule's id"},
    {"plan 1\na * t.x after=mark(a!) -> stop\n", 2, 20, "not a place's name"},
    {"plan 1\nab * t.x -> stop\nb * t.x after=fired(ac) -> stop\n", 3, 21, "no rule has the id `ac`; nearest: ab"},
    {"plan 1\na * t.x after=fired(b,0) -> stop\n", 2, 23, "not a count"},
    {"plan 1\na * t.x after=fired(a) -> stop\n", 2, 21, "waits for itself"},
    {"plan 1\na * t.x after=fired(b) -> stop\nb * t.x after=fired(a) -> stop\n", 2, 21, "can never fire"},
    {"plan 1\na * t.x -> yield until=fired(a)\n", 2, 30, "holds at once"},
    {"plan 1\na * t.x -> yield until=fired(nobody)\n", 2, 30, "no rule has the id"},
    /* actions */
    {"plan 1\na * t.x -> kil KILL\n", 2, 12, "nearest: kill"},
    {"plan 1\na * t.x -> kill\n", 2, 16, "`kill` takes a signal"},
    {"plan 1\na * t.x -> kill KIL\n", 2, 17, "is not a signal"},
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
    {"plan 1\na * write -> drop after\n", 2, 19, "cannot come after it"},
    {"plan 1\na * t.x -> short 1\n", 2, 12, "not possible at a place"},
    {"plan 1\na * t.x -> spurious\n", 2, 12, "not possible at a place"},
    {"plan 1\na * write -> full\n", 2, 14, "only at a place that asks"},
    {"plan 1\na * read -> drop\n", 2, 13, "`drop` is not possible at read"},
    {"plan 1\na * read,poll -> short 1\n", 2, 18, "`short` is not possible at poll"},
    {"plan 1\na * write -> short 0\n", 2, 20, "from 1"},
    {"plan 1\na * sem_wait -> spurious\n", 2, 17, "`spurious` is not possible at sem_wait"},
    {"plan 1\na * start -> errno EIO\n", 2, 14, "start and exit are none"},
    {"plan 1\na * t.x -> corrupt\n", 2, 12, "not possible yet"},
    {"plan 1\na * t.x -> clock +5s\n", 2, 12, "not possible yet"},
};
enum { BAD = sizeof(bad) / sizeof(bad[0]) };
_Static_assert(BAD >= 60, "the table is meant to be large");

START_TEST(test_bad_plan)
{
    struct wedge_plan *plan = (void *)&err;
    int rc = wedge_plan_parse("p.plan", bad[_i].text, &plan, &err);
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
    free(text);
    wedge_plan_free(NULL);
}
END_TEST

/* Every prefix of a good plan, and the good plan with each byte replaced, gives a plan or an error with a place in it,
 * and nothing else (the sanitizers watch). */
START_TEST(test_mangled_plans)
{
    static const char with[] = " \n#[]=,.(*>-0z\"\xff";
    char text[sizeof(good)];
    unsigned refused = 0;
    for (size_t i = 0; i < sizeof(good) - 1; i++)
        for (size_t w = 0; w < sizeof(with); w++) {
            memcpy(text, good, sizeof(good));
            text[i] = with[w]; /* the last one is the NUL: a prefix */
            struct wedge_plan *plan = NULL;
            if (wedge_plan_parse("p.plan", text, &plan, &err) == 0) {
                wedge_plan_free(plan);
                continue;
            }
            refused++;
            ck_assert_int_gt(err.line, 0);
            ck_assert_int_gt(err.column, 0);
            ck_assert_str_ne(err.message, "");
        }
    ck_assert_uint_gt(refused, 1000);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_good_plan);
    tcase_add_test(tcase, test_signals_and_errnos);
    tcase_add_test(tcase, test_every_function_is_accepted);
    tcase_add_loop_test(tcase, test_bad_plan, 0, BAD);
    tcase_add_test(tcase, test_limits);
    tcase_add_test(tcase, test_mangled_plans);
}

int main(void)
{
    return wedge_test_main("plan", 20, fill);
}
