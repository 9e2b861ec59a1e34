/*
 * Makes children in every way there is. `list WAY…` makes one after the other, each by its way, and waits for it; the
 * Nth takes the role leaf[N], in the program of this name where its way leads to one. `bare WAY…` does the same without
 * an environment. `wide` and `bare-wide` give it a large one. `exec PATH ARGUMENT…` becomes that program in a child of vfork. The output is for the test's eyes alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>
#include <wedge/point.h>

extern char **environ;
static char *self, *nothing[] = {NULL};
static bool bare;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (syscall(SYS_write, 1, line, n) != n)
        abort();
}

static int leaf(int n)
{
    wedge_role("leaf", n, 0);
    WEDGE_POINT("t.leaf");
    return 0;
}

static char number[16], name_word[] = "births", leaf_word[] = "leaf";
static char *leaf_argv[] = {name_word, leaf_word, number, NULL};

static char **leaf_env(void)
{
    return bare ? nothing : environ;
}

static int end_of(pid_t pid)
{
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_leaf(void *arg)
{
    (void)arg;
    execve(self, leaf_argv, leaf_env());
    return 127;
}

static int by_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(leaf(atoi(number)));
    return end_of(pid);
}

static int by_Fork(void)
{
    pid_t pid = _Fork();
    if (pid == 0)
        _exit(leaf(atoi(number)));
    return end_of(pid);
}

static int by_raw_fork(void)
{
    pid_t pid = (pid_t)syscall(SYS_fork);
    if (pid == 0)
        _exit(leaf(atoi(number)));
    return end_of(pid);
}

static int by_fork_exec(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(run_leaf(NULL));
    return end_of(pid);
}

static int by_forkpty(void)
{
    int master;
    pid_t pid = forkpty(&master, NULL, NULL, NULL);
    if (pid == 0)
        _exit(leaf(atoi(number)));
    int status = end_of(pid);
    close(master);
    return status;
}

static int run_role(void *arg)
{
    (void)arg;
    _exit(leaf(atoi(number)));
}

static char stack[256 * 1024] __attribute__((aligned(16)));
static int by_clone(void)
{
    return end_of(clone(run_role, stack + sizeof(stack), SIGCHLD, NULL));
}

static int by_clone_vfork(void)
{
    return end_of(clone(run_leaf, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
}

/* Each of the exec family, in a child of vfork. `bare` goes by the given environment or by our own. */
#define BY_VFORK(name, call)                                                                                           \
    static int by_##name(void)                                                                                         \
    {                                                                                                                  \
        pid_t pid = vfork();                                                                                           \
        if (pid == 0) {                                                                                                \
            call;                                                                                                      \
            _exit(127);                                                                                                \
        }                                                                                                              \
        return end_of(pid);                                                                                            \
    }
static int self_fd;
BY_VFORK(vfork, execve(self, leaf_argv, leaf_env()))
BY_VFORK(execv, execv(self, leaf_argv))
BY_VFORK(execvp, execvp(self, leaf_argv))
BY_VFORK(execvpe, execvpe(self, leaf_argv, leaf_env()))
BY_VFORK(execl, execl(self, "births", "leaf", number, (char *)NULL))
BY_VFORK(execlp, execlp(self, "births", "leaf", number, (char *)NULL))
BY_VFORK(execle, execle(self, "births", "leaf", number, (char *)NULL, leaf_env()))
BY_VFORK(fexecve, fexecve(self_fd, leaf_argv, leaf_env()))
BY_VFORK(execveat, execveat(self_fd, "", leaf_argv, leaf_env(), AT_EMPTY_PATH))
static const char *volatile null_path; /* an error, and no crash */
BY_VFORK(second_try, (execve(null_path, leaf_argv, leaf_env()), execve("/nonexistent/program", leaf_argv, leaf_env()),
                      execve(self, leaf_argv, leaf_env())))
BY_VFORK(raw_exec, syscall(SYS_execve, self, leaf_argv, environ))

static int by_posix_spawn(void)
{
    pid_t pid;
    return posix_spawn(&pid, self, NULL, NULL, leaf_argv, leaf_env()) ? -1 : end_of(pid);
}

static int by_posix_spawnp(void)
{
    pid_t pid;
    return posix_spawnp(&pid, self, NULL, NULL, leaf_argv, leaf_env()) ? -1 : end_of(pid);
}

static int by_failed_spawn(void)
{
    pid_t pid;
    int rc = posix_spawn(&pid, "/nonexistent/program", NULL, NULL, leaf_argv, leaf_env());
    return rc == 2 ? by_posix_spawn() : -1;
}

static const char *leaf_command(void)
{
    static char command[4096];
    snprintf(command, sizeof(command), "exec %s leaf %s", self, number);
    return command;
}

static int by_system(void)
{
    int status = system(leaf_command());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int by_popen(void)
{
    FILE *stream = popen(leaf_command(), "r");
    int status = stream ? pclose(stream) : -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The parent ends inside daemon(): a child of ours calls it, and its child tells us by a pipe that it is done. */
static int by_daemon(void)
{
    int ends[2];
    char c = 1;
    if (pipe(ends))
        return -1;
    if (daemon(1, 1))
        return -1;
    leaf(atoi(number));
    return read(ends[0], &c, 0) == 0 ? 0 : -1;
}

static const struct {
    const char *name;
    int (*make)(void);
} ways[] = {
    {"fork", by_fork},
    {"_Fork", by_Fork},
    {"raw-fork", by_raw_fork},
    {"fork-exec", by_fork_exec},
    {"forkpty", by_forkpty},
    {"clone", by_clone},
    {"clone-vfork", by_clone_vfork},
    {"vfork", by_vfork},
    {"execv", by_execv},
    {"execvp", by_execvp},
    {"execvpe", by_execvpe},
    {"execl", by_execl},
    {"execlp", by_execlp},
    {"execle", by_execle},
    {"fexecve", by_fexecve},
    {"execveat", by_execveat},
    {"second-try", by_second_try},
    {"raw-exec", by_raw_exec},
    {"posix_spawn", by_posix_spawn},
    {"posix_spawnp", by_posix_spawnp},
    {"failed-spawn", by_failed_spawn},
    {"system", by_system},
    {"popen", by_popen},
    {"daemon", by_daemon},
};

static int make(const char *way)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(ways[i].name, way) == 0)
            return ways[i].make();
    return -2;
}

static int list(char **argv)
{
    for (int i = 2; argv[i]; i++) {
        snprintf(number, sizeof(number), "%d", i - 1);
        if (bare && clearenv())
            return 1;
        say("%s %d\n", argv[i], make(argv[i]));
    }
    return 0;
}

static void *wait_for_end(void *arg)
{
    char c;
    while (syscall(SYS_read, *(int *)arg, &c, 1) > 0)
        ;
    return NULL;
}

static int wait_for_end_c11(void *arg)
{
    (void)arg;
    WEDGE_POINT("t.c11");
    return 0;
}

/* call NAME: one call of a function that makes, ends or awaits processes and threads, as it is under a rule that
 * answers it; what it returned, and errno. */
#define CALL(name, call)                                                                                               \
    if (strcmp(which, #name) == 0) {                                                                                   \
        errno = 0;                                                                                                     \
        result = (long)(call);                                                                                         \
        error = errno;                                                                                                 \
    }
static int call(const char *which)
{
    static char nowhere[] = "/nonexistent/program";
    char *argv[] = {nowhere, NULL}, *env[] = {NULL};
    long result = 4711;
    int error = 0, status, ends[2];
    siginfo_t info;
    pid_t pid;
    pthread_t thread = 0;
    thrd_t c11 = 0;
    if (pipe(ends) || pthread_create(&thread, NULL, wait_for_end, ends))
        return 1; /* a rule for pthread_create meets the second */
    CALL(fork, fork())
    CALL(_Fork, _Fork())
    CALL(vfork, vfork())
    CALL(clone, clone(run_role, stack + sizeof(stack), SIGCHLD, NULL))
    CALL(daemon, daemon(1, 1))
    CALL(posix_spawn, posix_spawn(&pid, nowhere, NULL, NULL, argv, env))
    CALL(posix_spawnp, posix_spawnp(&pid, nowhere, NULL, NULL, argv, env))
    CALL(system, system("exit 3"))
    CALL(popen, popen("exit 3", "r"))
    CALL(pclose, pclose(stdin))
    CALL(execve, execve(nowhere, argv, env))
    CALL(execv, execv(nowhere, argv))
    CALL(execvp, execvp(nowhere, argv))
    CALL(execvpe, execvpe(nowhere, argv, env))
    CALL(execl, execl(nowhere, nowhere, (char *)NULL))
    CALL(execle, execle(nowhere, nowhere, (char *)NULL, env))
    CALL(execlp, execlp(nowhere, nowhere, (char *)NULL))
    CALL(fexecve, fexecve(ends[0], argv, env))
    CALL(execveat, execveat(AT_FDCWD, nowhere, argv, env, 0))
    CALL(waitpid, waitpid(-1, &status, 0))
    CALL(wait, wait(&status))
    CALL(wait3, wait3(&status, 0, NULL))
    CALL(wait4, wait4(-1, &status, 0, NULL))
    CALL(waitid, waitid(P_ALL, 0, &info, WEXITED))
    CALL(kill, kill(getpid(), SIGTERM))
    CALL(killpg, killpg(getpgrp(), SIGTERM))
    CALL(pthread_create, pthread_create(&thread, NULL, wait_for_end, ends))
    CALL(thrd_create, thrd_create(&c11, wait_for_end_c11, NULL))
    CALL(pthread_cancel, pthread_cancel(thread))
    say("%s %ld %d%s\n", which, result, error, pthread_tryjoin_np(thread, NULL) == EBUSY ? "" : " ended");
    if (strcmp(which, "thrd_create") == 0 && result == thrd_success)
        thrd_join(c11, NULL);
    if (strcmp(which, "pthread_exit") == 0) {
        close(ends[1]); /* the process ends with the other thread, which this ends */
        pthread_exit(NULL);
    }
    return 0;
}

/* wide N WAY: leaf 1 by a way that takes an environment, with N variables more than ours, or N alone when `bare`. */
static char *wide_env[8192];
static int wide(int n, const char *way)
{
    static char texts[8000][12];
    int at = 0;
    for (int i = 0; i < n; i++) {
        snprintf(texts[i], sizeof(texts[i]), "V%d=%d", i, i);
        wide_env[at++] = texts[i];
    }
    for (int i = 0; environ[i] && !bare; i++)
        wide_env[at++] = environ[i];
    environ = wide_env;
    bare = false; /* leaf_env gives them */
    strcpy(number, "1");
    say("%s %d\n", way, make(way));
    return 0;
}

/* By vfork in a frame of its own: what it shares with the child is nobody else's (vfork(2)). */
__attribute__((noinline)) static pid_t spawn_by_vfork(char *const argv[])
{
    pid_t pid = vfork();
    if (pid == 0) {
        execve(self, argv, environ);
        _exit(127);
    }
    return pid;
}

/* several T N: T threads make N leaves each, by spawn, vfork and fork in turn; the leaf's index is thread * 1000 +
 * which. Each thread's own order is that of its calls. */
static void *make_several(void *arg)
{
    const int *job = arg;
    for (int i = 1; i <= job[1]; i++) {
        char which[16], *argv[] = {name_word, leaf_word, which, NULL};
        pid_t pid = -1;
        snprintf(which, sizeof(which), "%d", job[0] * 1000 + i);
        if (i % 3 == 0 && posix_spawn(&pid, self, NULL, NULL, argv, environ))
            abort();
        if (i % 3 == 1)
            pid = spawn_by_vfork(argv);
        if (i % 3 == 2 && (pid = fork()) == 0) {
            execve(self, argv, environ);
            _exit(127);
        }
        if (end_of(pid))
            abort();
    }
    return NULL;
}

static int several(int threads, int n)
{
    pthread_t all[16];
    int jobs[16][2];
    for (int t = 0; t < threads; t++) {
        jobs[t][0] = t + 1;
        jobs[t][1] = n;
        if (pthread_create(&all[t], NULL, make_several, jobs[t]))
            return 1;
    }
    for (int t = 0; t < threads; t++)
        pthread_join(all[t], NULL);
    say("done\n");
    return 0;
}

static int exec_in_vfork(char **argv)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execve(argv[2], argv + 2, environ);
        _exit(127);
    }
    say("status %d\n", end_of(pid));
    return 0;
}

static void *call_system(void *arg)
{
    (void)arg;
    clearenv();
    say("ended %d\n", system("echo up >&4; exec sleep 600"));
    return NULL;
}

/* cancel: a thread is cancelled in system(), without an environment; then another call of it. */
static int cancel_system(void)
{
    int ends[2];
    char c;
    void *result = NULL;
    pthread_t thread;
    if (pipe(ends) || dup2(ends[1], 4) != 4 || pthread_create(&thread, NULL, call_system, NULL) ||
        read(ends[0], &c, 1) != 1 || pthread_cancel(thread) || pthread_join(thread, &result))
        return 1;
    say("%s %s\n", result == PTHREAD_CANCELED ? "cancelled" : "not cancelled", environ ? "lent" : "as it was");
    strcpy(number, "1");
    say("%d\n", by_system());
    return 0;
}

static void at_the_end(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        WEDGE_POINT("t.late");
}

static pthread_key_t key;
static void *with_a_destructor(void *arg)
{
    pthread_setspecific(key, arg);
    WEDGE_POINT("t.early");
    return NULL;
}

/* late: a thread whose destructor of thread-specific data passes t.late three times. */
static int late(void)
{
    pthread_t thread;
    int value;
    if (pthread_key_create(&key, at_the_end) || pthread_create(&thread, NULL, with_a_destructor, &value) ||
        pthread_join(thread, NULL))
        return 1;
    say("done\n");
    return 0;
}

/* crowd N: N children by fork, each gone before the next comes; every third leaves by a signal. After each 100 it waits
 * for a byte. */
static int crowd(int n)
{
    int failed = 0;
    for (int i = 1; i <= n; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            WEDGE_POINT("t.crowd");
            if (i % 3 == 0)
                raise(SIGKILL);
            _exit(0);
        }
        failed += end_of(pid) != (i % 3 ? 0 : 1000 + SIGKILL);
        char c;
        if (i % 100 == 0) {
            say("%d\n", i);
            failed += read(0, &c, 1) != 1;
        }
    }
    say("failed %d\n", failed);
    return 0;
}

int main(int argc, char **argv)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0 || argc < 2)
        return 2;
    self = path;
    self_fd = open(self, O_RDONLY | O_CLOEXEC);
    bare = strcmp(argv[1], "bare") == 0;
    if (strcmp(argv[1], "wide") == 0 || strcmp(argv[1], "bare-wide") == 0) {
        bare = argv[1][0] == 'b';
        return wide(atoi(argv[2]), argv[3]);
    }
    if (strcmp(argv[1], "leaf") == 0)
        return leaf(atoi(argv[2]));
    if (bare || strcmp(argv[1], "list") == 0)
        return list(argv);
    if (strcmp(argv[1], "cancel") == 0)
        return cancel_system();
    if (strcmp(argv[1], "call") == 0)
        return call(argv[2]);
    if (strcmp(argv[1], "exec") == 0)
        return exec_in_vfork(argv);
    if (strcmp(argv[1], "several") == 0)
        return several(atoi(argv[2]), atoi(argv[3]));
    if (strcmp(argv[1], "crowd") == 0)
        return crowd(atoi(argv[2]));
    return strcmp(argv[1], "late") == 0 ? late() : 2;
}
