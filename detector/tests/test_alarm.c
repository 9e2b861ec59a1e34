/* alarm() and setitimer() leave no trace in /proc: a program that could have called them is never proved stuck while
 * the signal would do anything to it. */
#include "detector/look/alarm.h"

#include <fcntl.h>
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

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_callers);
}

int main(void)
{
    return cases_main("alarm", hangs, 1, healthy, sizeof(healthy) / sizeof(healthy[0]), fill);
}
