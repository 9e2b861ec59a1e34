/*
 * `wedge watch` at a terminal: an interactive shell with job control in a pseudo terminal, as a person would use it. What is
 * typed reaches the command, Ctrl-C, Ctrl-Z and a new window size too; what the command makes of it is its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "cli/tests/programs.h"
#include "scenarios/tree.h"

static char dir[64];
static pid_t shell;
static int terminal;
static char screen[65536];
static size_t seen, shown; /* bytes of the screen; up to where something was expected already */

/* Reads until `text` is on the screen behind what was expected before. */
static void expect(const char *text)
{
    int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    for (char *at; !(at = strstr(screen + shown, text));) {
        ck_assert_msg(wedge_clock_ns() < deadline, "'%s' never came:\n%s", text, screen + shown);
        ck_assert_uint_lt(seen + 1, sizeof(screen));
        if (poll(&(struct pollfd){.fd = terminal, .events = POLLIN}, 1, 100) <= 0)
            continue;
        ssize_t n = read(terminal, screen + seen, sizeof(screen) - 1 - seen);
        ck_assert_msg(n > 0 || errno == EINTR || errno == EAGAIN, "the terminal is gone before '%s':\n%s", text,
                      screen);
        seen += n > 0 ? (size_t)n : 0;
        screen[seen] = 0;
    }
    shown = (size_t)(strstr(screen + shown, text) - screen) + strlen(text);
}

static void type(const char *text)
{
    ck_assert_int_eq(write(terminal, text, strlen(text)), (ssize_t)strlen(text));
}

static void setup(void)
{
    const struct winsize size = {.ws_row = 33, .ws_col = 111};
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-terminal-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    seen = shown = 0;
    shell = forkpty(&terminal, NULL, NULL, &size);
    ck_assert_int_ge(shell, 0);
    if (shell == 0) {
        if (chdir(dir) || setenv("W", from_env("WEDGE_BIN"), 1) || setenv("F", from_env("WEDGE_FACTORY"), 1) ||
            setenv("PS1", "> ", 1) || setenv("TERM", "dumb", 1))
            _exit(126);
        unsetenv("NO_COLOR");
        unsetenv("CI");
        close_range(3, ~0u, 0); /* the test framework's own pipe */
        execl("/bin/bash", "bash", "--norc", "--noprofile", "--noediting", "-i", (char *)NULL);
        _exit(127);
    }
    expect("> ");
}

static void teardown(void)
{
    char command[128];
    wedge_tree_kill(shell, true, NULL, 0, 500);
    ck_assert_int_eq(waitpid(shell, NULL, 0), shell);
    close(terminal);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Each echo is written so that its own line, as it was typed, does not look like its output. */
START_TEST(test_streams_are_the_terminal)
{
    type("$W watch -q -- sh -c 'for i in 0 1 2; do test -t $i && echo \"tt\"\"y $i\"; done; stty size; cat'; echo "
         "\"sta\"\"tus=$?\"\n");
    expect("tty 0");
    expect("tty 1");
    expect("tty 2");
    expect("33 111");
    type("typed words\n");
    expect("typed words\r\ntyped words"); /* the terminal's echo, and cat's */
    type("\004");
    expect("status=0");
}
END_TEST

START_TEST(test_window_size)
{
    const struct winsize larger = {.ws_row = 44, .ws_col = 122};
    type("$W watch -q -- sh -c 'trap \"stty size; exit 9\" WINCH; echo \"beg\"\"un\"; while :; do sleep 0.1; done'; "
         "echo \"sta\"\"tus=$?\"\n");
    expect("begun");
    ck_assert_int_eq(ioctl(terminal, TIOCSWINSZ, &larger), 0);
    expect("44 122");
    expect("status=9");
}
END_TEST

/* The command dies of Ctrl-C, or handles it and goes on; wedge does what it does. */
START_TEST(test_interrupt)
{
    type("$W watch -q -- sh -c 'echo \"beg\"\"un\"; exec sleep 600'; echo \"sta\"\"tus=$?\"\n");
    expect("begun");
    type("\003");
    expect("status=130");
    type("$W watch -q -- sh -c 'trap \"echo han\"\"dled; exit 4\" INT; echo \"beg\"\"un\"; while :; do sleep 0.1; "
         "done'; echo \"sta\"\"tus=$?\"\n");
    expect("begun");
    type("\003");
    expect("handled");
    expect("status=4");
    type("$W watch -q -- sh -c 'trap \"\" INT; echo \"beg\"\"un\"; read x; echo \"go\"\"t $x\"'; echo "
         "\"sta\"\"tus=$?\"\n");
    expect("begun");
    type("\003");
    type("word\n");
    expect("got word");
    expect("status=0");
}
END_TEST

/* Below the shell: in which states. */
static size_t count_state(char state)
{
    struct wedge_tree tree;
    size_t n = 0;
    ck_assert_int_eq(wedge_tree_list(shell, false, NULL, 0, &tree), 0);
    for (size_t i = 0; i < tree.n; i++)
        n += tree.members[i].state == state;
    wedge_tree_free(&tree);
    return n;
}

START_TEST(test_stop_and_go_on)
{
    type("$W watch -q -- sh -c 'echo \"beg\"\"un\"; read x; echo \"go\"\"t $x\"; exit 6'; echo \"sta\"\"tus=$?\"\n");
    expect("begun");
    type("\032");
    expect("Stopped");
    expect("> ");
    /* wedge and the command: nothing of them runs. The shell is told of one of them, the other may need a moment more. */
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    while (count_state('T') < 2 && wedge_clock_ns() < deadline)
        ;
    ck_assert_uint_ge(count_state('T'), 2);
    ck_assert_uint_eq(count_state('S') + count_state('R'), 0);
    type("fg; echo \"sta\"\"tus=$?\"\n");
    type("word\n");
    expect("got word");
    expect("status=6");
}
END_TEST

/* In the background a command that reads the terminal is stopped (SIGTTIN), which is no hang of it: the person is the
 * outside. */
START_TEST(test_in_the_background)
{
    type("$W watch -q --on-hang=report -- sh -c 'echo \"beg\"\"un\"; read x; echo \"go\"\"t $x\"' &\n");
    expect("begun");
    /* The shell tells at its next prompt. */
    for (int i = 0; i < 100 && !strstr(screen, "Stopped"); i++) {
        type("\n");
        expect("> ");
        poll(NULL, 0, 50);
    }
    ck_assert_ptr_nonnull(strstr(screen, "Stopped"));
    type("fg\n");
    type("word\n");
    expect("got word");
}
END_TEST

/* A hang is told in colour, and the shell has its terminal again. */
START_TEST(test_hang)
{
    type("$W watch -- $F join-with-lock; echo \"sta\"\"tus=$?\"\n");
    expect("\033[");
    expect("Closed wait");
    expect("report: wedge-out/report.html");
    expect("status=124");
    type("echo \"wor\"\"ks\"\n");
    expect("works");
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_streams_are_the_terminal);
    tcase_add_test(tcase, test_window_size);
    tcase_add_test(tcase, test_interrupt);
    tcase_add_test(tcase, test_stop_and_go_on);
    tcase_add_test(tcase, test_in_the_background);
    tcase_add_test(tcase, test_hang);
}

int main(void)
{
    return wedge_test_main("terminal", 60, fill);
}
