/*
 * A program for the agent's tests: does one thing per mode, tells on standard output what happened. Reads standard input where it shall wait for the test.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wedge/point.h>

#include "faults/tests/target_say.h"
#include "faults/tests/target_so.h"

int __open_2(const char *path, int flags);

/* steps N: passes t.step N times, a line before each. */
static int steps(char **argv)
{
    for (int i = 1; i <= number(argv, 2, 5); i++) {
        say("step %d\n", i);
        WEDGE_POINT("t.step");
    }
    say("done\n");
    return 0;
}

/* asks N: the answers of t.ask, and errno, which they must not touch. */
static int asks(char **argv)
{
    for (int i = 1; i <= number(argv, 2, 5); i++) {
        errno = 77;
        int answer = WEDGE_ASK("t.ask");
        say("%d %d\n", answer, errno);
    }
    return 0;
}

/* fresh: what the loader and errno hold for a program that has called nothing yet. */
static int fresh(char **argv)
{
    int error = errno;
    const char *linker = dlerror();
    (void)argv;
    say("%d %s\n", error, linker ? linker : "none");
    return 0;
}

static void *thread_steps(void *arg)
{
    int n = *(int *)arg;
    for (int i = 0; i < n; i++)
        WEDGE_POINT("t.step");
    return NULL;
}

/* threads T N: T threads pass t.step N times each. */
static int threads(char **argv)
{
    pthread_t all[64];
    int count = number(argv, 2, 4), n = number(argv, 3, 10);
    for (int i = 0; i < count; i++)
        if (pthread_create(&all[i], NULL, thread_steps, &n))
            return 1;
    for (int i = 0; i < count; i++)
        pthread_join(all[i], NULL);
    say("done\n");
    return 0;
}

static void *pass_a(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "pass-a");
    WEDGE_POINT("t.a");
    say("a\n");
    WEDGE_POINT("t.a.done");
    return NULL;
}
static void *pass_b(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "pass-b");
    WEDGE_POINT("t.b");
    say("b\n");
    WEDGE_POINT("t.b.done");
    return NULL;
}

/* pair: two threads pass t.a and t.b and say so. */
static int pair(char **argv)
{
    (void)argv;
    pthread_t a, b;
    if (pthread_create(&a, NULL, pass_a, NULL) || pthread_create(&b, NULL, pass_b, NULL))
        return 1;
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    say("done\n");
    return 0;
}

/* slain N: N children with a role, each killed from outside by its parent once it has it. */
static int slain(char **argv)
{
    int count = number(argv, 2, 3);
    for (int i = 1; i <= count; i++) {
        int ready[2];
        char byte;
        if (pipe(ready))
            return 1;
        pid_t pid = fork();
        if (pid == 0) {
            wedge_role("worker", i, 0);
            WEDGE_POINT("t.child");
            if (write(ready[1], "r", 1) == 1)
                pause();
            _exit(1);
        }
        bool has_role = pid > 0 && read(ready[0], &byte, 1) == 1;
        if (!has_role || kill(pid, SIGKILL) || waitpid(pid, NULL, 0) != pid)
            return 1;
        close(ready[0]);
        close(ready[1]);
    }
    say("done\n");
    return 0;
}

/* workers N: N children take the role worker[i], pass t.child, and exit with i; their statuses are told in order.
 * With "again", each that was killed is made anew, one generation on. */
static int workers(char **argv)
{
    int count = number(argv, 2, 3);
    bool again = argv[2] && argv[3] && strcmp(argv[3], "again") == 0;
    for (int i = 1; i <= count; i++)
        for (int generation = 0; generation < 3; generation++) {
            pid_t pid = fork();
            if (pid == 0) {
                WEDGE_POINT("t.before_role");
                wedge_role("worker", i, generation);
                WEDGE_POINT("t.child");
                _exit(i);
            }
            int status;
            if (pid < 0 || waitpid(pid, &status, 0) != pid)
                return 1;
            say("worker %d.%d %s %d\n", i, generation, WIFSIGNALED(status) ? "killed" : "exited",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            if (!again || !WIFSIGNALED(status))
                break;
        }
    return 0;
}

/* heirs N [ignore]: N children take the role worker[i], say so and end; the parent passes t.parent, says so, and reaps. With
 * "ignore" the kernel reaps them. */
static int heirs(char **argv)
{
    int count = number(argv, 2, 3);
    if (argv[2] && argv[3])
        signal(SIGCHLD, SIG_IGN);
    for (int i = 1; i <= count; i++)
        if (fork() == 0) {
            wedge_role("worker", i, 0);
            WEDGE_POINT("t.child");
            say("child\n");
            WEDGE_POINT("t.said");
            _exit(0);
        }
    WEDGE_POINT("t.parent");
    say("parent\n");
    WEDGE_POINT("t.later");
    while (wait(NULL) > 0)
        ;
    return 0;
}

static void on_signal(int number)
{
    (void)number;
    WEDGE_POINT("t.handler");
}

/* handler: a point is passed in a signal handler, which interrupts a loop of points. */
static int handler(char **argv)
{
    (void)argv;
    signal(SIGUSR1, on_signal);
    errno = 77;
    for (int i = 0; i < 100; i++) {
        WEDGE_POINT("t.step");
        if (raise(SIGUSR1))
            return 1;
    }
    say("errno %d\n", errno);
    return 0;
}

/* wait: begins a callback and a wait, says so, ends them at the end of standard input. */
static int wait_mode(char **argv)
{
    (void)argv;
    static int object;
    char c;
    wedge_role("waiter", 7, 2);
    WEDGE_CALLBACK_BEGIN("t.callback", wait_mode, 250);
    WEDGE_WAIT_BEGIN(&object, WEDGE_WAIT_FOR_ITEM, 4711);
    say("waiting\n");
    while (syscall(SYS_read, 0, &c, 1) > 0)
        ;
    WEDGE_WAIT_END();
    WEDGE_CALLBACK_END("t.callback");
    WEDGE_PROGRESS(40);
    WEDGE_PROGRESS(2);
    say("waited\n");
    while (argv[2] && syscall(SYS_read, 3, &c, 1) > 0)
        ;
    return 0;
}

/* calls: a few wrapped functions and what they returned. */
static int calls(char **argv)
{
    (void)argv;
    int ends[2];
    char buf[16] = "";
    sem_t sem;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    sem_init(&sem, 0, 0);
    if (pipe(ends))
        return 1;
    errno = 0;
    long n = write(ends[1], "hello", 5);
    say("write %ld %d\n", n, n < 0 ? errno : 0);
    n = write(ends[1], "!", 1);
    say("write %ld %d\n", n, n < 0 ? errno : 0);
    n = read(ends[0], buf, sizeof(buf));
    say("read %ld %s\n", n, buf);
    int fd = __open_2("/dev/null", 0); /* what _FORTIFY_SOURCE makes of an open without a mode */
    say("open %d\n", fd < 0 ? -errno : 0);
    int posted = sem_post(&sem), value = -1;
    sem_getvalue(&sem, &value);
    say("sem_post %d %d\n", posted, value);
    struct timespec past = {0};
    int waited = sem_timedwait(&sem, &past);
    say("sem_timedwait %d %d\n", waited, waited ? errno : 0);
    int locked = pthread_mutex_lock(&mutex);
    say("lock %d\n", locked);
    int timed = locked ? -1 : pthread_cond_timedwait(&cond, &mutex, &past);
    say("cond %d\n", timed);
    return 0;
}

/* leave HOW: ends by return, exit, _exit. */
static int leave(char **argv)
{
    say("leaving\n");
    if (strcmp(argv[2], "exit") == 0)
        exit(3);
    if (strcmp(argv[2], "_exit") == 0)
        _exit(3);
    return 3;
}

/* vfork: a child on our memory ends by _exit; then we go on. */
static int vforks(char **argv)
{
    (void)argv;
    pid_t pid = vfork();
    if (pid == 0) {
        WEDGE_POINT("t.vfork");
        _exit(9);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    say("child %d\n", WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status));
    WEDGE_POINT("t.parent");
    return 0;
}

/* exec: becomes `steps 2` by exec, after a step of its own. */
static int execs(char **argv)
{
    wedge_role("master", 1, 0);
    WEDGE_POINT("t.step");
    execl("/proc/self/exe", argv[0], "steps", "2", (char *)NULL);
    return 1;
}

/* library: a point of a shared object. */
static int library(char **argv)
{
    (void)argv;
    say("answer %d\n", target_so_ask());
    return 0;
}

/* deep PATH: loads a library that looks for its functions past everybody else, and one in a name space of its own. */
static int deep(char **argv)
{
    return !dlopen(argv[2], RTLD_NOW | RTLD_DEEPBIND) || !dlmopen(LM_ID_NEWLM, argv[2], RTLD_NOW) ||
           !dlmopen(LM_ID_BASE, argv[2], RTLD_NOW);
}

/* plugin PATH: a point of a library that is loaded now. */
static int plugin(char **argv)
{
    void *library = dlopen(argv[2], RTLD_NOW);
    int (*ask)(void) = library ? (int (*)(void))dlsym(library, "target_so_ask") : NULL;
    if (!ask)
        return 1;
    say("answer %d\n", ask());
    return 0;
}

static pthread_barrier_t all_there;
static void *step_together(void *arg)
{
    thread_steps(arg);
    pthread_barrier_wait(&all_there);
    return NULL;
}

/* many N: N threads one after the other, each passes t.step once, and leaves by pthread_exit every other time. With
 * "together", all of them at once. */
static void *step_and_exit(void *arg)
{
    pthread_exit(thread_steps(arg));
}

static int many_together(int n)
{
    pthread_t *threads = calloc((size_t)n, sizeof(*threads));
    int one = 1, failed = !threads || pthread_barrier_init(&all_there, NULL, (unsigned)n);
    for (int i = 0; i < n && !failed; i++)
        failed = pthread_create(&threads[i], NULL, step_together, &one);
    for (int i = 0; i < n && !failed; i++)
        failed = pthread_join(threads[i], NULL);
    free(threads);
    say("done\n");
    return failed;
}

static int many(char **argv)
{
    int one = 1;
    if (argv[2] && argv[3] && strcmp(argv[3], "together") == 0)
        return many_together(number(argv, 2, 10));
    for (int i = 0; i < number(argv, 2, 10); i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, i % 2 ? step_and_exit : thread_steps, &one) || pthread_join(thread, NULL))
            return 1;
    }
    say("done\n");
    return 0;
}

/* crowd P N: P children at once pass t.step N times each; tells how many were killed. */
static int crowd(char **argv)
{
    int children = number(argv, 2, 4), n = number(argv, 3, 100), killed = 0, status;
    for (int i = 0; i < children; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            thread_steps(&n);
            _exit(0);
        }
    }
    while (wait(&status) > 0)
        killed += WIFSIGNALED(status);
    say("killed %d\n", killed);
    return 0;
}

/* sandbox: behind a filter by which any call but read, write and exit is death. */
static int sandbox(char **argv)
{
    (void)argv;
    static int object;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        return 1;
    wedge_role("boxed", 1, 0);
    WEDGE_POINT("t.step");
    WEDGE_WAIT_BEGIN(&object, WEDGE_WAIT_FOR_ITEM, 0);
    WEDGE_WAIT_END();
    WEDGE_PROGRESS(1);
    char line[] = "answer 0\n";
    line[7] = (char)('0' + WEDGE_ASK("t.ask"));
    long n = write(1, line, sizeof(line) - 1);
    syscall(SYS_exit, n == -1 ? 0 : 5);
    return 1;
}

/* clockless seccomp|tsc|rawprctl|rawtsc|rawseccomp: without the processor's counter, which the vDSO's clocks read. */
static int clockless(char **argv)
{
    long rc = strcmp(argv[2], "seccomp") == 0    ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)
              : strcmp(argv[2], "tsc") == 0      ? prctl(PR_SET_TSC, PR_TSC_SIGSEGV)
              : strcmp(argv[2], "rawprctl") == 0 ? syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0)
              : strcmp(argv[2], "rawtsc") == 0   ? syscall(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0)
                                                 : syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
    if (rc)
        return 1;
    WEDGE_POINT("t.step");
    char line[] = "answer 0\n";
    line[7] = (char)('0' + WEDGE_ASK("t.ask"));
    long n = write(1, line, sizeof(line) - 1);
    syscall(SYS_exit, n == -1 ? 0 : 5);
    return 1;
}

/* names: the main thread passes under three names, given by three calls, and under one that another thread gives it. */
static void *name_other(void *arg)
{
    pthread_setname_np(*(pthread_t *)arg, "fourth");
    return NULL;
}

static int names(char **argv)
{
    pthread_t self = pthread_self(), other;
    (void)argv;
    for (int i = 0; i < 5; i++) {
        if (i == 1)
            prctl(PR_SET_NAME, "first");
        if (i == 2)
            pthread_setname_np(self, "second");
        if (i == 3)
            syscall(SYS_prctl, PR_SET_NAME, "third", 0, 0, 0);
        if (i == 4 && (pthread_create(&other, NULL, name_other, &self) || pthread_join(other, NULL)))
            return 1;
        char line[] = "0\n";
        line[0] = (char)('0' + WEDGE_ASK("t.ask"));
        if (write(1, line, 2) != 2)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(char **argv);
    } modes[] = {{"steps", steps},         {"asks", asks},       {"threads", threads}, {"pair", pair},
                 {"workers", workers},     {"slain", slain},     {"heirs", heirs},     {"wait", wait_mode},
                 {"handler", handler},     {"calls", calls},     {"leave", leave},     {"vfork", vforks},
                 {"exec", execs},          {"library", library}, {"plugin", plugin},   {"deep", deep},
                 {"many", many},           {"crowd", crowd},     {"sandbox", sandbox}, {"fresh", fresh},
                 {"clockless", clockless}, {"names", names}};
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(modes[i].name, argv[1]) == 0)
            return modes[i].run(argv);
    return 2;
}
