/* alarm() and setitimer() leave no trace in /proc: a program that could have called them is never proved stuck while
 * the signal would do anything to it. */
#include "detector/look/alarm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/tests/cases.h"

static const struct healthy healthy[] = {
    {"interval-timer", true, WEDGE_WAIT_SEM},
    {"alarm-uncaught", true, WEDGE_WAIT_PIPE_READ},
    {"alarm-handler-leaves", true, WEDGE_WAIT_MUTEX},
};

/* Without a stack its call has no words, and nobody is left to blame. */
static const struct hang hangs[] = {
    {"alarm-not-called", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 1, "read", "empty pipe", NULL},
    {"alarm-ignored", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "read", "empty pipe", NULL},
};

/* What the symbols of a file say: those of a program without alarms, the factory's, and those of a C library. */
START_TEST(test_callers)
{
    static const struct {
        const char *path;
        bool called;
    } files[] = {{WEDGE_FACTORY, true}, {"/bin/true", false}, {"/lib/x86_64-linux-gnu/libc.so.6", false}};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        int fd = open(files[i].path, O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_msg(wedge_alarm_is_called(fd) == files[i].called, "%s", files[i].path);
        close(fd);
    }
}
END_TEST

/* 0: the agent saw none. 1: it saw one. 2: one in a child that shared its parent's memory. 3: another program was
 * checked in. 4: only places were recorded. 5: nobody checked in. */
START_TEST(test_by_the_record)
{
    struct wedge_arena arena;
    struct wedge_arena_copy copy;
    struct wedge_err err = {0};
    struct stat program;
    ck_assert_msg(wedge_arena_create(&arena, 0, 1, &err) == 0, "%s", err.message);
    struct wedge_arena_control *control = wedge_arena_live(&arena, WEDGE_SEC_CONTROL, 0);
    struct wedge_arena_proc *p = wedge_arena_live(&arena, WEDGE_SEC_PROCS, 0);
    struct factory factory = factory_start("alarm-not-called");
    wedge_snapshot_free(examine_until_hang(factory.pid, WEDGE_STACKS_NEVER));
    ck_assert_int_eq(stat(WEDGE_FACTORY, &program), 0);
    control->record = _i == 4 ? WEDGE_RECORD_PLACES : WEDGE_RECORD_CALLS;
    control->vfork_alarms = _i == 2;
    p->pid = factory.pid;
    p->parent = UINT32_MAX;
    p->state = WEDGE_PROC_RUNNING;
    p->ordinal = _i != 5;
    p->alarms = _i == 1;
    p->program = program.st_ino + (_i == 3);
    p->gen = 2;
    ck_assert_int_eq(wedge_arena_copy(&arena, true, &copy, &err), 0);
    struct wedge_examine options = {.root = factory.pid, .arena = &copy};
    struct wedge_snapshot *s = NULL;
    ck_assert_int_eq(wedge_detector_examine(&options, NULL, &s, &err), 0);
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "orphaned-wait");
    ck_assert_str_eq(wedge_certainty_words[s->verdicts[0].certainty], _i ? "evident" : "proved");
    wedge_snapshot_free(s);
    wedge_arena_copy_free(&copy);
    wedge_arena_destroy(&arena);
    factory_end(&factory);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_by_the_record, 0, 6);
    tcase_add_test(tcase, test_callers);
}

int main(void)
{
    return cases_main("alarm", hangs, sizeof(hangs) / sizeof(hangs[0]), healthy, sizeof(healthy) / sizeof(healthy[0]),
                      fill);
}
