/* pool/word: a sleeper is woken by a bump from another process, never sleeps past a bump, and keeps its deadline. */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/word.h"

static struct wedge_word *shared_words(int n)
{
    void *map =
        mmap(NULL, sizeof(struct wedge_word) * (size_t)n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    return map;
}

START_TEST(a_bump_before_the_sleep_is_not_missed)
{
    struct wedge_word *word = shared_words(1);
    uint32_t seen = wedge_word_read(word);
    wedge_word_bump(word, 1);
    ck_assert_int_eq(wedge_word_wait(word, seen, WEDGE_WAIT_FOR_ITEM, INT64_MAX), 0);
    ck_assert_uint_eq(atomic_load(&word->waiters), 0);
}
END_TEST

START_TEST(a_deadline_ends_the_sleep)
{
    struct wedge_word *word = shared_words(1);
    int64_t until = wedge_clock_ns() + 20 * WEDGE_NS_PER_MS;
    int rc;
    while ((rc = wedge_word_wait(word, wedge_word_read(word), WEDGE_WAIT_FOR_ROOM, until)) == 0)
        ;
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_int_ge(wedge_clock_ns(), until);
    ck_assert_int_eq(wedge_word_wait(word, wedge_word_read(word), WEDGE_WAIT_FOR_ROOM, 0), -ETIMEDOUT);
    ck_assert_int_eq(wedge_word_wait(word, wedge_word_read(word), WEDGE_WAIT_FOR_ROOM, -1), -ETIMEDOUT);
}
END_TEST

/* Two processes hand a turn back and forth: each turn is one sleep that only the other's bump can end. */
START_TEST(processes_wake_each_other)
{
    enum { TURNS = 2000 };
    struct wedge_word *words = shared_words(2);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        struct wedge_word *mine = &words[pid == 0], *other = &words[pid != 0];
        if (pid == 0)
            while (wedge_word_read(mine) == turn)
                wedge_word_wait(mine, turn, WEDGE_WAIT_FOR_PEER, INT64_MAX);
        wedge_word_bump(other, 1);
        if (pid != 0)
            while (wedge_word_read(mine) == turn)
                wedge_word_wait(mine, turn, WEDGE_WAIT_FOR_PEER, INT64_MAX);
    }
    if (pid == 0)
        _exit(0);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(wedge_word_read(&words[0]), TURNS);
    ck_assert_uint_eq(wedge_word_read(&words[1]), TURNS);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, a_bump_before_the_sleep_is_not_missed);
    tcase_add_test(t, a_deadline_ends_the_sleep);
    tcase_add_test(t, processes_wake_each_other);
}

int main(void)
{
    return wedge_test_main("word", 30, fill);
}
