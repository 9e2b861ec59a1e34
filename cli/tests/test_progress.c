/* cli/progress: silent for a second, then a line; nothing with --quiet; a terminal's line is wiped. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "cli/progress.h"

static void work(bool quiet, int ms)
{
    const struct wedge_cli cli = {.quiet = quiet};
    int64_t until = wedge_clock_ns() + ms * WEDGE_NS_PER_MS;
    wedge_cli_progress_begin(&cli, "looking at process 77");
    for (int64_t left; (left = until - wedge_clock_ns()) > 0;)
        poll(NULL, 0, (int)(left / WEDGE_NS_PER_MS) + 1);
    wedge_cli_progress_end();
    _exit(0);
}

static const struct {
    bool terminal, quiet;
    int ms;
    const char *says;
} rows[] = {
    {false, false, 300, ""},
    {false, false, 1500, "wedge: looking at process 77: 1 s\n"},
    {false, true, 1500, ""},
    {true, false, 300, ""},
    {true, false, 2500, "\rwedge: looking at process 77: 1 s \rwedge: looking at process 77: 2 s \r\033[K"},
};
START_TEST(test_row)
{
    char said[1024] = "";
    size_t len = 0;
    int ends[2], from, wstatus;
    pid_t pid;
    if (rows[_i].terminal) {
        pid = forkpty(&from, NULL, NULL, NULL);
    } else {
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        pid = fork();
        from = ends[0];
    }
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (!rows[_i].terminal)
            dup2(ends[1], STDERR_FILENO);
        work(rows[_i].quiet, rows[_i].ms);
    }
    if (!rows[_i].terminal)
        close(ends[1]);
    /* A pseudo terminal whose other side is closed reads as EIO. */
    for (ssize_t n; (n = read(from, said + len, sizeof(said) - 1 - len)) > 0;)
        len += (size_t)n;
    close(from);
    ck_assert_int_eq(waitpid(pid, &wstatus, 0), pid);
    ck_assert_str_eq(said, rows[_i].says);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_row, 0, sizeof(rows) / sizeof(rows[0]));
}

int main(void)
{
    return wedge_test_main("progress", 20, fill);
}
