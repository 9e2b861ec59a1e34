/*
 * Preloaded into wedge by a test: at a signal (SIGRTMIN + 6) the process moves to another time namespace, in which the clocks are
 * ahead as WEDGE_TEST_CLOCKS says, "boottime 3600\nmonotonic 0". Nothing is faked: the kernel's clocks jump for this process and
 * its children from then on, as they do for all when a machine wakes up (time_namespaces(7)).
 *
 * With SIGRTMIN + 7 it does that at its next getrusage(2), which is in the middle of a sample of wedge's, after it took the time.
 *
 * The offsets are set before anybody enters the namespace: by a child whose children would be in it, and that has none.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int namespace = -1;

static void jump(int signo)
{
    if (setns(namespace, CLONE_NEWTIME)) /* in another thread's way, or not root */
        _exit(99);
    (void)signo;
}

static volatile sig_atomic_t jumps_in_sample;

static void jump_in_sample(int signo)
{
    jumps_in_sample = signo;
}

int getrusage(__rusage_who_t who, struct rusage *usage)
{
    if (jumps_in_sample) {
        jump(jumps_in_sample);
        jumps_in_sample = 0;
    }
    return (int)syscall(SYS_getrusage, who, usage);
}

static void be_the_way_in(const char *clocks, int ready, int done)
{
    char line[128];
    int fd = unshare(CLONE_NEWTIME) ? -1 : open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    int len = snprintf(line, sizeof(line), "%.*s 0\n%s 0\n", (int)strcspn(clocks, "\n"), clocks,
                       strchr(clocks, '\n') ? strchr(clocks, '\n') + 1 : clocks);
    if (fd < 0 || write(fd, line, (size_t)len) != len || write(ready, "", 1) != 1 || read(done, line, 1) < 0)
        _exit(1);
    _exit(0);
}

__attribute__((constructor)) static void prepare(void)
{
    const char *clocks = getenv("WEDGE_TEST_CLOCKS");
    int ready[2], done[2];
    char path[64], byte;
    if (!clocks || strcmp(program_invocation_short_name, "wedge") != 0)
        return;
    unsetenv("WEDGE_TEST_CLOCKS"); /* a wedge below this one is on its own */
    if (pipe2(ready, O_CLOEXEC) || pipe2(done, O_CLOEXEC))
        _exit(98);
    pid_t child = fork();
    if (child == 0) {
        close(done[1]);
        be_the_way_in(clocks, ready[1], done[0]);
    }
    close(ready[1]);
    if (child < 0 || read(ready[0], &byte, 1) != 1)
        _exit(98);
    snprintf(path, sizeof(path), "/proc/%d/ns/time_for_children", child);
    namespace = open(path, O_RDONLY | O_CLOEXEC);
    close(done[1]);
    close(done[0]);
    close(ready[0]);
    if (waitpid(child, NULL, 0) != child || namespace < 0 ||
        sigaction(SIGRTMIN + 6, &(struct sigaction){.sa_handler = jump}, NULL) ||
        sigaction(SIGRTMIN + 7, &(struct sigaction){.sa_handler = jump_in_sample}, NULL))
        _exit(98);
}
