/* The owned lock of a stream, when a wake-up has gone with a waiter that died (queue_lock.h). */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "pool/queue_lock.h"
#include "pool/tests/util.h"

static struct wedge_queue_lock *lock;
static int said[2];

/* A process that takes the lock, says so and leaves it orderly. It sleeps for it when this returns. */
static pid_t fork_waiter(void)
{
    int64_t until_ns = wedge_pool_after_ms(10000);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (wedge_queue_lock_take(lock, INT64_MAX) == 0 && write(said[1], "t", 1) == 1)
            wedge_queue_lock_give(lock);
        _exit(0);
    }
    while (waits_in(pid) != SYS_futex)
        ck_assert_int_lt(wedge_clock_ns(), until_ns);
    return pid;
}

/*
 * The state that is left when the chosen waiter dies behind a newcomer: the word says free, and the other one sleeps. Made here
 * by letting go without a wake-up, as an owner does that does not know of waiters.
 */
START_TEST(a_lost_wake_up_is_made_good_after_a_death)
{
    lock = mmap(NULL, sizeof(*lock), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(lock, MAP_FAILED);
    make_pipe(said);
    ck_assert_int_eq(wedge_queue_lock_init(lock, true), 0);
    ck_assert_int_eq(wedge_queue_lock_take(lock, 0), 0);
    pid_t pid = fork_waiter();
    __atomic_and_fetch(&lock->mutex.__data.__lock, 0x7fffffff,
                       __ATOMIC_SEQ_CST); /* FUTEX_WAITERS: not known any more */
    wedge_queue_lock_give(lock);
    ck_assert_int_eq(closed_or_readable_within(said[0], 100), 0); /* it sleeps beside a free lock */
    wedge_queue_lock_renew(lock);
    ck_assert_int_eq(read_byte(said[0]), 't');
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(wedge_queue_lock_take(lock, 0), 0); /* and it is a lock as before */
    wedge_queue_lock_give(lock);
    munmap(lock, sizeof(*lock));
}
END_TEST

/* Where it is held all is as it was: who was woken for nothing sleeps again, and is woken when it is let go. */
START_TEST(renewing_a_held_lock_changes_nothing)
{
    lock = mmap(NULL, sizeof(*lock), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(lock, MAP_FAILED);
    make_pipe(said);
    ck_assert_int_eq(wedge_queue_lock_init(lock, true), 0);
    ck_assert_int_eq(wedge_queue_lock_take(lock, 0), 0);
    pid_t pid = fork_waiter();
    wedge_queue_lock_renew(lock);
    ck_assert_int_eq(closed_or_readable_within(said[0], 50), 0);
    wedge_queue_lock_give(lock);
    ck_assert_int_eq(read_byte(said[0]), 't');
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    munmap(lock, sizeof(*lock));
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, a_lost_wake_up_is_made_good_after_a_death);
    tcase_add_test(t, renewing_a_held_lock_changes_nothing);
}

int main(void)
{
    return wedge_test_main("queue_lock", 20, fill);
}
