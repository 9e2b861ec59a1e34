/* What a plan names and nobody has: said after the run, and enough to make it invalid where a rule had to fire. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/tests/suite.h"
#include "faults/launch.h"
#include "faults/missed.h"
#include "faults/tests/run.h"

static const struct {
    const char *plan, *missed, *noted;
} cases[] = {
    {"f1 * t.step -> delay 1us", "", ""},
    /* A place. */
    {"f1 * t.stpe -> kill KILL", "", "no loaded module has the place t.stpe (f1), nearest: t.step"},
    {"f1 * t.stpe p=0.5 -> kill KILL", "", "no loaded module has the place t.stpe (f1), nearest: t.step"},
    {"f1 * t.stpe nth=1 -> kill KILL", "no loaded module has the place t.stpe (f1), nearest: t.step", ""},
    {"f1 * quite.another -> kill KILL", "", "no loaded module has the place quite.another (f1)"},
    {"f1 * point:t.stpe -> kill KILL\nf2 * t.step -> delay 1us", "",
     "no loaded module has the place t.stpe (f1), nearest: t.step"},
    /* One that is there, and was not passed. */
    {"f1 * t.never.passed -> kill KILL", "", "no loaded module has the place t.never.passed (f1)"},
    {"f1 * t.a -> kill KILL", "", ""},
    /* A mark; with after= a rule has to fire. */
    {"f1 * t.step after=mark(t.stpe) -> delay 1us",
     "no loaded module has the place t.stpe (after= of f1), nearest: t.step", ""},
    {"f1 * t.step after=mark(t.step,2) -> delay 1us", "", ""},
    {"f1 * t.step nth=99 -> yield until=mark(t.stpe)",
     "no loaded module has the place t.stpe (until= of f1), nearest: t.step", ""},
    {"f1 * t.a -> yield until=mark(t.stpe)", "",
     "no loaded module has the place t.stpe (until= of f1), nearest: t.step"},
    {"f1 * t.a -> yield until=mark(t.b)", "", ""},
    /* A process, a thread. */
    {"f1 wroker[2] t.step -> kill KILL", "", "no process was wroker[2] (f1)"},
    {"f1 wroker[*].gen=1 write nth=2 -> kill KILL", "no process was wroker.gen=1 (f1)", ""},
    {"f1 proc[1] write nth=1.. -> delay 1us", "", ""},
    {"f1 proc[7] write -> kill KILL", "", "there was no proc[7] (f1)"},
    {"f1 thread=nobody t.step -> kill KILL", "", "no thread named nobody came by (f1)"},
};

START_TEST(test_what_is_nowhere)
{
    static struct run run;
    RUN(&run, cases[_i].plan, run_target(), "steps", "3");
    ck_assert_str_eq(run.text, "step 1\nstep 2\nstep 3\ndone\n");
    char *missed = wedge_faults_missed(&run.arena), *noted = wedge_faults_noted(&run.arena);
    ck_assert_str_eq(missed, cases[_i].missed);
    ck_assert_str_eq(noted, cases[_i].noted);
    free(missed);
    free(noted);
    run_free(&run);
}
END_TEST

/* Who yields for a mark that is nowhere is held for ever: that hang is the plan's own. */
START_TEST(test_held_for_what_is_nowhere)
{
    static struct run run;
    run_start(&run, "f1 * t.step -> yield until=mark(t.stpe)", (const char *const[]){run_target(), "steps", "1", NULL});
    run_await(&run_rule(&run, "f1")->holding, 1);
    char *missed = wedge_faults_missed(&run.arena), *noted = wedge_faults_noted(&run.arena);
    ck_assert_str_eq(missed, "no loaded module has the place t.stpe (until= of f1), nearest: t.step");
    ck_assert_str_eq(noted, "");
    free(missed);
    free(noted);
    struct wedge_err err;
    ck_assert_int_eq(wedge_faults_release(&run.arena, "f1", &err), 0);
    run_finish(&run);
    run_free(&run);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_what_is_nowhere, 0, (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tcase, test_held_for_what_is_nowhere);
}

int main(void)
{
    return wedge_test_main("missed", 30, fill);
}
