#include "cli/tests/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "scenarios/tree.h"

const char *from_env(const char *name)
{
    const char *value = getenv(name);
    ck_assert_msg(value && *value, "%s is not set: run this by ctest", name);
    return value;
}

/* Starts a program with its standard output in a pipe. */
pid_t start(const char *const *argv, int *ret_out)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close_range(3, ~0u, 0); /* the test framework's own pipe: the factory would say "ready" there */
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    *ret_out = ends[0];
    return pid;
}

/* Reads until end of file, or until `until` was seen (NULL: end of file only). */
void read_text(int fd, const char *until, char *buf, size_t size)
{
    size_t len = 0;
    ssize_t n;
    buf[0] = 0;
    while (len + 1 < size && !(until && strstr(buf, until)) && (n = read(fd, buf + len, size - 1 - len)) != 0) {
        ck_assert(n > 0 || errno == EINTR);
        len += n > 0 ? (size_t)n : 0;
        buf[len] = 0;
    }
    ck_assert_msg(!until || strstr(buf, until), "never said '%s', but: %s", until, buf);
}

int status_of(pid_t pid)
{
    int wstatus;
    ck_assert_int_eq(waitpid(pid, &wstatus, 0), pid);
    return WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : 128 + WTERMSIG(wstatus);
}

pid_t start_factory(const char *name, int *ret_out)
{
    char text[256];
    const char *const argv[] = {from_env("WEDGE_FACTORY"), name, NULL};
    pid_t pid = start(argv, ret_out);
    read_text(*ret_out, "ready", text, sizeof(text));
    return pid;
}

void end_factory(pid_t pid, int out)
{
    ck_assert_uint_eq(wedge_tree_kill(pid, true, NULL, 0, 500), 0);
    ck_assert_int_eq(status_of(pid), 128 + SIGKILL);
    close(out);
}

const char *word(const json_t *report, const char *field)
{
    const char *text = json_string_value(json_object_get(json_object_get(report, "verdict"), field));
    return text ? text : "";
}

/* Everything of the tree lives and runs on: no thread stopped (T) or traced (t). */
void check_untouched(pid_t pid, size_t members)
{
    struct wedge_tree tree;
    ck_assert_int_eq(wedge_tree_list(pid, true, NULL, 0, &tree), 0);
    ck_assert_uint_eq(tree.n, members);
    for (size_t i = 0; i < tree.n; i++)
        ck_assert_msg(tree.members[i].state != 'T' && tree.members[i].state != 't', "process %d is left %c",
                      tree.members[i].pid, tree.members[i].state);
    wedge_tree_free(&tree);
}

size_t count_members(pid_t pid)
{
    struct wedge_tree tree;
    ck_assert_int_eq(wedge_tree_list(pid, true, NULL, 0, &tree), 0);
    size_t n = tree.n;
    wedge_tree_free(&tree);
    return n;
}
