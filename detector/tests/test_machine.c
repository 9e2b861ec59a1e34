/* detector/look/machine: who holds which descriptor, or has mapped what, is asked of the threads that are there when it is asked, and not of those
 * that were there when the list of processes was read. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/examine.h"
#include "detector/look/machine.h"

static int from_test[2], to_test[2], ends[2];

static void tell(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}
static void hear(int fd)
{
    char byte;
    ck_assert_int_eq(read(fd, &byte, 1), 1);
}

static void *keep_own_table(void *arg)
{
    if (unshare(CLONE_FILES))
        _exit(1);
    tell(to_test[1]);
    pause();
    return arg;
}

static void *keep_shared_table(void *arg)
{
    char path[64], state[256] = "";
    pid_t leader = getpid();
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)leader);
    while (!strstr(state, ") Z ")) { /* ends: the leader is past pthread_join, and leaves */
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, state, sizeof(state) - 1);
        state[n > 0 ? n : 0] = '\0';
        close(fd);
    }
    tell(to_test[1]);
    pause();
    return arg;
}

/* One thread at first, with both ends of the pipe; then two, and only the second one has them. */
static void change(int leader_ends)
{
    pthread_t thread;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    hear(from_test[0]);
    pthread_create(&thread, NULL, leader_ends ? keep_shared_table : keep_own_table, NULL);
    if (leader_ends)
        pthread_exit(NULL);
    hear(from_test[0]);
    close(ends[0]);
    close(ends[1]);
    tell(to_test[1]);
    pause();
}

START_TEST(test_threads_since_the_list)
{
    struct stat st;
    ck_assert(!pipe2(from_test, O_CLOEXEC) && !pipe2(to_test, O_CLOEXEC) && !pipe2(ends, O_CLOEXEC));
    /* What else a leader that has ended does not show. */
    int file = memfd_create("wedge-test", MFD_CLOEXEC);
    ck_assert(file >= 0 && !ftruncate(file, 4096));
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        close(file);
        change(_i);
        _exit(0);
    }
    struct wedge_examine options = {.root = pid};
    struct wedge_look look = {.options = &options};
    fstat(ends[0], &st);
    ck_assert_int_eq(wedge_machine_read(&look, false), 0);
    tell(from_test[1]);
    hear(to_test[0]);
    if (!_i) {
        tell(from_test[1]);
        hear(to_test[0]);
    }
    size_t n;
    const struct wedge_machine_end *found = wedge_look_ends(&look, st.st_dev, st.st_ino, &n);
    bool writable = false;
    for (size_t i = 0; i < n; i++)
        writable |= found[i].pid == pid && found[i].writable;
    fstat(file, &st);
    found = wedge_look_mappings(&look, (uint64_t)major(st.st_dev) << 32 | minor(st.st_dev), st.st_ino, &n);
    bool mapped = false;
    for (size_t i = 0; i < n; i++)
        mapped |= found[i].pid == pid && found[i].mapping;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(file);
    munmap(shared, 4096);
    ck_assert_msg(mapped, "of %zu mappings that are seen none is the child's", n);
    ck_assert_msg(writable, "the child's ends are not seen");
    wedge_machine_forget(&look);
    free(look.machine);
    free(look.ends);
    free(look.mappings);
}
END_TEST

static void fill(TCase *tc)
{
    tcase_add_loop_test(tc, test_threads_since_the_list, 0, 2);
}

int main(void)
{
    return wedge_test_main("machine", 60, fill);
}
