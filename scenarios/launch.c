#include "scenarios/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t wedge_launch(char *const *argv, char *const *env, int in, int out, int errout, const sigset_t *mask,
                   int *ret_exec_errno)
{
    int report[2]; /* closes at exec; carries errno when there is none */
    if (pipe2(report, O_CLOEXEC))
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        int rc = 0;
        if (in >= 0 && dup2(in, STDIN_FILENO) < 0)
            rc = errno;
        if (!rc && out >= 0 && dup2(out, STDOUT_FILENO) < 0)
            rc = errno;
        if (!rc && errout >= 0 && dup2(errout, STDERR_FILENO) < 0)
            rc = errno;
        if (!rc) {
            sigprocmask(SIG_SETMASK, mask, NULL);
            execvpe(argv[0], argv, env ? env : environ);
            rc = errno;
        }
        if (write(report[1], &rc, sizeof(rc)) < 0)
            _exit(125);
        _exit(127);
    }
    int failed = errno, code = 0;
    close(report[1]);
    if (pid > 0) {
        ssize_t n;
        while ((n = read(report[0], &code, sizeof(code))) < 0 && errno == EINTR)
            ;
        if (n != sizeof(code))
            code = 0;
        else
            waitpid(pid, NULL, 0);
    }
    close(report[0]);
    *ret_exec_errno = code;
    return pid > 0 ? pid : -failed;
}
