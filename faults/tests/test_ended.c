/* ended(ROLE): a plan waits for the end of processes, whoever reaps them and when. */
#include "faults/ended.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "faults/missed.h"
#include "faults/tests/run.h"

/* Reads what the program says to its end, and looks when it is time, as a session does. */
static void finish(struct run *run, struct wedge_ended *ended)
{
    struct pollfd fds[2] = {{.fd = run->out, .events = POLLIN}, {.fd = wedge_ended_fd(ended), .events = POLLIN}};
    for (;;) {
        ck_assert_int_gt(poll(fds, 2, 10000), 0);
        if (fds[1].revents)
            wedge_ended_look(ended);
        if (!fds[0].revents)
            continue;
        ssize_t n = read(run->out, run->text + run->len, sizeof(run->text) - 1 - run->len);
        ck_assert_int_ge(n, 0);
        run->text[run->len += (size_t)n] = '\0';
        if (n == 0)
            break;
    }
    run_finish(run);
}

static const struct {
    const char *plan, *reaped; /* "ignore": by the kernel at once */
    const char *text;
} orders[] = {
    /* Dead and not reaped: the parent is held. */
    {"f1 root t.parent -> yield until=ended(worker,3)\nf2 worker[*] t.child -> delay 20ms", NULL,
     "child\nchild\nchild\nparent\n"},
    {"f1 root t.parent -> yield until=ended(worker[*],3)\nf2 worker[*] t.child -> delay 20ms", "ignore",
     "child\nchild\nchild\nparent\n"},
    /* Killed, and no other. */
    {"f1 root t.parent -> yield until=ended(worker[2].gen=0)\nf2 worker[2] t.child -> kill KILL\n"
     "f3 worker[1] t.child -> yield until=mark(t.later)\nf4 worker[3] t.child -> yield until=mark(t.later)",
     NULL, "parent\nchild\nchild\n"},
    {"f1 worker[1] t.child -> yield until=ended(worker[3])\nf2 worker[2] t.child -> yield until=ended(worker[1])\n"
     "f3 root t.parent -> yield until=ended(worker.gen=0,3)",
     NULL, "child\nchild\nchild\nparent\n"},
    /* As a condition of when. */
    {"f1 root t.parent -> yield until=ended(worker,3)\nf2 root t.later after=ended(worker[2]) -> exit 7", NULL,
     "child\nchild\nchild\nparent\n"},
    {"define boy = descendant of root nth=2\nf1 root t.parent -> yield until=ended(worker,3)\n"
     "f2 * t.child after=ended(boy[1]) -> kill KILL",
     NULL, "child\nchild\nchild\nparent\n"},
};

START_TEST(test_order)
{
    struct run run;
    struct wedge_ended *ended;
    struct wedge_err err;
    run_start(&run, orders[_i].plan, (const char *const[]){run_target(), "heirs", "3", orders[_i].reaped, NULL});
    ck_assert_int_eq(wedge_ended_new(&run.arena, &ended, &err), 0);
    ck_assert_ptr_nonnull(ended);
    finish(&run, ended);
    ck_assert_str_eq(run.text, orders[_i].text);
    if (strstr(orders[_i].plan, "exit 7"))
        ck_assert_int_eq(WEXITSTATUS(run.status), 7);
    wedge_ended_free(ended);
    run_free(&run);
}
END_TEST

START_TEST(test_only_where_a_plan_asks)
{
    struct run run;
    struct wedge_ended *ended = (struct wedge_ended *)&run;
    struct wedge_err err;
    run_whole(&run, "f1 * t.parent -> yield until=mark(t.said,3)",
              (const char *const[]){run_target(), "heirs", "3", NULL});
    ck_assert_int_eq(wedge_ended_new(&run.arena, &ended, &err), 0);
    ck_assert_ptr_null(ended);
    ck_assert_int_eq(wedge_ended_fd(ended), -1);
    wedge_ended_look(ended);
    wedge_ended_free(ended);
    run_free(&run);
}
END_TEST

/* A role that nobody had is said after the run; one that somebody had is not. */
START_TEST(test_nobody_had_the_role)
{
    struct run run;
    struct wedge_ended *ended;
    struct wedge_err err;
    run_start(&run, "f1 root t.parent -> yield until=ended(worker,3)\nf2 root t.later after=ended(wroker[2]) -> exit 7",
              (const char *const[]){run_target(), "heirs", "3", NULL});
    ck_assert_int_eq(wedge_ended_new(&run.arena, &ended, &err), 0);
    finish(&run, ended);
    char *missed = wedge_faults_missed(&run.arena), *noted = wedge_faults_noted(&run.arena);
    ck_assert_str_eq(missed, "no process was wroker[2] (after= of f2)");
    ck_assert_str_eq(noted, "");
    free(missed);
    free(noted);
    wedge_ended_free(ended);
    run_free(&run);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_order, 0, sizeof(orders) / sizeof(orders[0]));
    tcase_add_test(tcase, test_only_where_a_plan_asks);
    tcase_add_test(tcase, test_nobody_had_the_role);
}

int main(void)
{
    return wedge_test_main("ended", 30, fill);
}
