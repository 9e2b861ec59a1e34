/* Cases with alarm() and its kin, of which /proc has no trace. A program of its own: one that could arm such a timer is
 * judged with more care, whether it does or not, and the other cases are not to be. */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void say_ready(void)
{
    int fd = fcntl(3, F_GETFD) >= 0 ? 3 : 1;
    if (write(fd, "ready\n", 6) != 6)
        _exit(3);
    if (fd == 3)
        close(3);
}

static void arm(int microseconds, int interval)
{
    const struct itimerval value = {.it_value = {0, microseconds}, .it_interval = {0, interval}};
    setitimer(ITIMER_REAL, &value, NULL);
}

static void read_own_pipe(void)
{
    int ends[2];
    char byte;
    if (pipe(ends) == 0)
        while (read(ends[0], &byte, 1) < 0)
            ;
}

/* It could, and does not. */
static void alarm_not_called(void)
{
    say_ready();
    read_own_pipe();
}

static sem_t posted;
static void post(int signal_number)
{
    (void)signal_number;
    sem_post(&posted);
}
static void leave(int signal_number)
{
    (void)signal_number;
    _exit(0);
}
static void handle(void (*handler)(int))
{
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
}

/* The handler posts what is waited for. */
static void interval_timer(void)
{
    sem_init(&posted, 0, 0);
    handle(post);
    arm(40000, 40000);
    say_ready();
    for (;;)
        while (sem_wait(&posted))
            ;
}

/* Again and again a child that waits for what never comes and is ended by its own alarm. */
static void in_children(void (*run)(void))
{
    say_ready();
    for (pid_t pid;;) {
        pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            run();
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            _exit(3);
    }
}
static void wait_for_alarm(void)
{
    arm(60000, 0);
    read_own_pipe();
}
static void uncaught(void)
{
    in_children(wait_for_alarm);
}

/* A lock is not given up for a signal, but the handler leaves. */
static void lock_twice(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    handle(leave);
    arm(60000, 0);
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
}
static void handler_leaves(void)
{
    in_children(lock_twice);
}

/* It could arm one, but the signal does nothing to it. */
static void ignored(void)
{
    signal(SIGALRM, SIG_IGN);
    arm(60000, 0);
    say_ready();
    read_own_pipe();
}

static const struct {
    const char *name;
    void (*run)(void);
    bool healthy;
} cases[] = {
    {"alarm-not-called", alarm_not_called, false},
    {"alarm-ignored", ignored, false},
    {"interval-timer", interval_timer, true},
    {"alarm-uncaught", uncaught, true},
    {"alarm-handler-leaves", handler_leaves, true},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            cases[i].run();
    fprintf(stderr, "usage: wedge-factory-alarm CASE, one of:\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        fprintf(stderr, "  %s%s\n", cases[i].name, cases[i].healthy ? " (healthy)" : "");
    return 2;
}
