/* When a program that a test examines sleeps again: it says that it is ready before it does, and every stop wakes it. */
#ifndef WEDGE_BASE_TESTS_ASLEEP_H
#define WEDGE_BASE_TESTS_ASLEEP_H

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.h"

/* Is this how /proc/TID/syscall begins? "running" while the thread is on its way (proc(5)). */
static inline bool wedge_test_is_in(pid_t tid, int syscall)
{
    char path[64], text[128] = "";
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool read_it = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0;
    if (fd >= 0)
        close(fd);
    return read_it && text[0] >= '0' && text[0] <= '9' && atoi(text) == syscall;
}

/* Until the factory's server sleeps in accept and its pool of two in their futexes. */
static inline void wedge_test_await_server(pid_t pid)
{
    int64_t deadline = wedge_clock_ns() + 20 * WEDGE_NS_PER_S;
    for (int asleep = 0; asleep != 3;) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        DIR *tasks = opendir(path);
        ck_assert_ptr_nonnull(tasks);
        asleep = 0;
        for (struct dirent *entry; (entry = readdir(tasks));)
            asleep += wedge_test_is_in((pid_t)atoi(entry->d_name), atoi(entry->d_name) == pid ? SYS_accept : SYS_futex);
        closedir(tasks);
        ck_assert_msg(wedge_clock_ns() < deadline, "%d of the server's 3 threads sleep", asleep);
        poll(NULL, 0, asleep == 3 ? 0 : 1);
    }
}

#endif
