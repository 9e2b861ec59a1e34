/* Who else may end a wait: timers, what the kernel does for a program, memory and signals that come by a descriptor. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "detector/tests/cases.h"

static const struct hang hangs[] = {
    {"timer-ignored", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "pthread_mutex_lock",
     "recursive mutex", "cross|take_other_way"},
    {"ring-over", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "read", "empty pipe", NULL},
};

static const struct healthy healthy[] = {
    {"timer-leaves", true, WEDGE_WAIT_MUTEX},        {"timer-kills", true, WEDGE_WAIT_MUTEX},
    {"memory-in-message", true, WEDGE_WAIT_SEM},     {"memory-read-only", false, WEDGE_WAIT_FUTEX},
    {"urgent-byte", true, WEDGE_WAIT_MUTEX},         {"folder-watched", true, WEDGE_WAIT_MUTEX},
    {"owner-in-namespace", false, WEDGE_WAIT_FUTEX}, {"clock-ahead", false, WEDGE_WAIT_SEM},
};

/* With io_uring, where this machine lets us have it. First, a thread of the kernel's that has nothing to do any more and will not
 * end the wait: evident, for what the ring holds is not seen. Then two that are stuck for certain, and a process that waits
 * for them, for which the kernel writes: the root, which reads from that one, is no part of it. */
START_TEST(test_beside_a_ring)
{
    static const struct hang rings[] = {
        {"ring-worker", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 2, "pthread_mutex_lock",
         "recursive mutex", "cross|take_other_way"},
        {"ring-of-a-waker", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_PART, 2, "pthread_mutex_lock",
         "recursive mutex", "cross|take_other_way"},
    };
    struct io_uring_params params = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
    if (ring < 0)
        return;
    close(ring);
    hang_check_without_stacks(&rings[_i]);
    hang_check_with_stacks(&rings[_i]);
}
END_TEST

/* The call fails so from here on. */
static void refuse(unsigned call, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

/* Whom a socket or a folder signals is asked through a copy of the descriptor. Where there is none to be had, it may: under
 * a filter of somebody else's, where no number is left, or of a process whose leader has ended. */
START_TEST(test_without_pidfds)
{
    static const char *const names[] = {"urgent-byte", "folder-watched"};
    struct factory factory = factory_start(names[_i % 2]);
    refuse(_i < 2 ? SYS_pidfd_open : SYS_pidfd_getfd, _i < 2 ? EMFILE : EBADF);
    struct wedge_snapshot *s = examine_until_hang(factory.pid, WEDGE_STACKS_NEVER);
    const struct wedge_verdict *v = &s->verdicts[0];
    ck_assert_str_eq(wedge_certainty_words[v->certainty], "evident");
    ck_assert_ptr_nonnull(strstr(v->reason, "a signal was asked for"));
    wedge_snapshot_free(s);
    factory_end(&factory);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_without_pidfds, 0, 4);
    tcase_add_loop_test(tcase, test_beside_a_ring, 0, 2);
}

int main(void)
{
    return cases_main("sources", hangs, sizeof(hangs) / sizeof(hangs[0]), healthy, sizeof(healthy) / sizeof(healthy[0]),
                      fill);
}
