/* What libc's objects look like from outside: every kind of lock, hung and slow, and words that merely look like one. */
#include "detector/tests/cases.h"

static const struct hang hangs[] = {
    {"cross-recursive", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_lock",
     "recursive mutex", "take_both"},
    {"cross-adaptive", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_lock",
     "adaptive mutex", "take_both"},
    {"cross-robust", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_lock", "robust mutex",
     "take_both"},
    {"cross-pi", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_lock",
     "which the kernel refuses", "take_both"},
    {"cross-pi-at-once", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 4, "pthread_mutex_lock",
     "which the kernel refuses", "take_at_once"},
    {"cross-two-hours", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_timedlock",
     "Nothing moves before", "take_both"},
    {"cross-timed", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_timedlock",
     "take_mutex_until()", "take_both"},
    {"cross-clock", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_mutex_clocklock",
     "take_mutex_by_clock()", "take_both"},
    {"cross-rwlock", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_rwlock_wrlock", "rwlock",
     "take_both"},
    {"cross-files", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "flockfile", "lock of a FILE",
     "take_both"},
    {"cross-once", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_join",
     "run by one of 2 threads (by their stacks)", "cross_once|init_one|init_two"},
    {"self-once", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "pthread_once",
     "run by this thread itself", NULL},
    {"self-pi", WEDGE_VERDICT_SELF_DEADLOCK, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "pthread_mutex_lock",
     "which the kernel refuses", "self_pi"},
    {"self-timed", WEDGE_VERDICT_SELF_DEADLOCK, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "pthread_mutex_timedlock",
     "owns itself", "self_timed"},
    {"join-ring", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_join", "end of thread",
     "join_ring|join_next"},
    {"cond-mutex-kept", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "pthread_join",
     "pthread_cond_wait()", "cond_mutex_kept|wait_and_finish"},
    {"sem-cross", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_join", "semaphore",
     "sem_cross|wait_then_post"},
    {"file-and-join", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "pthread_join", "lock of a FILE",
     "file_and_join|print"},
    {"file-abandoned", WEDGE_VERDICT_ABANDONED_LOCK, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "flockfile", "lock of a FILE",
     NULL},
    {"zone-forked", WEDGE_VERDICT_ABANDONED_LOCK, WEDGE_PROVED, WEDGE_SCOPE_PART, 1, "localtime", "lock inside of libc",
     NULL},
    {"zone-in-handler", WEDGE_VERDICT_SELF_DEADLOCK, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "localtime",
     "in a signal handler", "zone_in_handler"},
    {"load", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "pthread_join", "of the dynamic loader",
     "start|load_more"},
    {"forked-robust", WEDGE_VERDICT_ABANDONED_LOCK, WEDGE_PROVED, WEDGE_SCOPE_PART, 1, "pthread_mutex_lock",
     "was copied by fork: its owner", "hold_and_sleep"},
    {"forked-recursive", WEDGE_VERDICT_ABANDONED_LOCK, WEDGE_PROVED, WEDGE_SCOPE_PART, 1, "pthread_mutex_lock",
     "was copied by fork: its owner", "hold_and_sleep"},
    {"shared-pi", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "pthread_mutex_lock", "PI mutex",
     "shared_pi"},
    {"waitv-alone", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "syscall", "one of 2 futex words",
     NULL},
    {"cross-words", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 3, "pthread_join", "futex word",
     "cross_words|take_word"},
};

/* A stop for a stack would wake these: the kernel looks at the word again. */
static const struct hang lost[] = {
    {"released-without-wake", WEDGE_VERDICT_LOST_WAKEUP, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, NULL, NULL, NULL},
    {"word-without-wake", WEDGE_VERDICT_LOST_WAKEUP, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, NULL, NULL, NULL},
};

static const struct healthy healthy[] = {
    {"slow-recursive", false, WEDGE_WAIT_MUTEX},     {"slow-adaptive", false, WEDGE_WAIT_MUTEX},
    {"slow-robust", false, WEDGE_WAIT_MUTEX},        {"slow-pi", false, WEDGE_WAIT_MUTEX},
    {"slow-timed", false, WEDGE_WAIT_MUTEX},         {"slow-writer-lock", false, WEDGE_WAIT_RWLOCK},
    {"slow-reader-lock", false, WEDGE_WAIT_RWLOCK},  {"slow-file", false, WEDGE_WAIT_MUTEX},
    {"self-with-deadline", false, WEDGE_WAIT_MUTEX}, {"slow-once", false, WEDGE_WAIT_ONCE},
    {"slow-join", false, WEDGE_WAIT_JOIN},           {"slow-barrier", false, WEDGE_WAIT_BARRIER},
    {"forked-shared", false, WEDGE_WAIT_MUTEX},      {"robust-handover", false, WEDGE_WAIT_MUTEX},
    {"slow-zone", false, WEDGE_WAIT_MUTEX},          {"segment-semaphore", false, WEDGE_WAIT_SEM},
    {"looks-like-a-mutex", false, WEDGE_WAIT_FUTEX}, {"slow-waitv", false, WEDGE_WAIT_FUTEX},
    {"requeued", false, WEDGE_WAIT_FUTEX},           {"slow-semaphore-on-stack", false, WEDGE_WAIT_SEM},
    {"pi-with-deadline", false, WEDGE_WAIT_MUTEX},
};

START_TEST(test_lost_wakeup)
{
    hang_check_without_stacks(&lost[_i]);
}
END_TEST

static void more(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_lost_wakeup, 0, 2);
}

int main(void)
{
    return cases_main("libc", hangs, sizeof(hangs) / sizeof(hangs[0]), healthy, sizeof(healthy) / sizeof(healthy[0]),
                      more);
}
