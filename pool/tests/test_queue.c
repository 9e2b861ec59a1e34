/* The count of a queue under owned locks (queue.h), step by step: what each step leaves, and who makes good what a death left. */
#include "pool/queue.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/util.h"

enum { PARENT, WORKER, BOUND = 2 };

static struct wedge_queue queue;

/* A thread that waits for a message holds the readers' lock: it comes to the lock without a message, too. */
static void open_queue(void)
{
    const struct wedge_pool_settings settings = {.queue_lock = WEDGE_POOL_QUEUE_LOCK_OWNED,
                                                 .idle_holds_reader = WEDGE_POOL_IDLE_READER_HOLDS};
    struct wedge_queue_shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    ck_assert_int_eq(wedge_queue_open(&queue, shared, BOUND, &settings), 0);
}

static void close_queue(void)
{
    wedge_queue_close(&queue);
    munmap(queue.shared, sizeof(*queue.shared));
}

static bool reserve_as(uint32_t process)
{
    queue.process = process;
    return wedge_queue_reserve(&queue, false);
}

static void write_one(void)
{
    const struct wedge_message head = {.kind = WEDGE_MESSAGE_TASK, .id = 7};
    ck_assert(reserve_as(PARENT));
    ck_assert_int_eq(wedge_queue_write(&queue, &head, NULL), 0);
}

/* What is there now. */
static int receive(struct wedge_message *ret, wedge_queue_taker *took)
{
    uint8_t none;
    return wedge_queue_receive(&queue, ret, &none, NULL, 0, took, NULL);
}

static void end_child(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Who asked and was refused has nothing listed: its death gives back what it has, and no room of another one. */
START_TEST(a_refused_one_has_nothing_listed)
{
    open_queue();
    ck_assert(reserve_as(PARENT));
    ck_assert(reserve_as(WORKER));
    for (int i = 0; i < 3; i++)
        ck_assert(!reserve_as(WORKER));
    wedge_queue_forget_writer(&queue, WORKER);
    ck_assert_uint_eq(wedge_queue_count(&queue), 1);
    ck_assert(reserve_as(WORKER));
    ck_assert(!reserve_as(PARENT));
    close_queue();
}
END_TEST

/* What a writer says because somebody could not settle tells the count, and is no message. */
START_TEST(a_settling_is_no_message)
{
    struct wedge_message got = {0};
    open_queue();
    atomic_store(&queue.shared->unsettled, 1);
    write_one();
    ck_assert_uint_eq(atomic_load(&queue.shared->unsettled), 0);
    ck_assert_int_eq(receive(&got, NULL), 0);
    ck_assert_uint_eq(got.kind, WEDGE_MESSAGE_TASK);
    ck_assert_uint_eq(got.id, 7);
    ck_assert(wedge_queue_readable(&queue));
    got = (struct wedge_message){0};
    ck_assert_int_eq(receive(&got, NULL), -ETIMEDOUT);
    ck_assert_uint_eq(got.kind, 0);
    ck_assert(!wedge_queue_readable(&queue));
    ck_assert_uint_eq(wedge_queue_count(&queue), 0);
    close_queue();
}
END_TEST

static void die(void *context, const struct wedge_message *head)
{
    (void)context, (void)head;
    kill(getpid(), SIGKILL);
}

static pid_t fork_writer(int said)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        wedge_queue_lock_take(&queue.shared->writers, INT64_MAX);
        if (write(said, "w", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    return pid;
}

/*
 * A reader dies with the message, and who comes after it cannot settle, for a writer is at work. That one dies too: nothing is
 * written any more, and the next reader has to look.
 */
START_TEST(the_next_reader_settles_what_could_not_be)
{
    struct wedge_message got;
    int said[2];
    open_queue();
    make_pipe(said);
    write_one();
    pid_t reader = fork();
    ck_assert_int_ge(reader, 0);
    if (reader == 0) {
        receive(&got, die);
        _exit(1);
    }
    end_child(reader);
    pid_t writer = fork_writer(said[1]);
    ck_assert_int_eq(read_byte(said[0]), 'w');
    ck_assert_int_eq(receive(&got, NULL), -ETIMEDOUT);
    ck_assert_uint_eq(wedge_queue_count(&queue), 1);
    ck_assert_int_eq(kill(writer, SIGKILL), 0);
    end_child(writer);
    ck_assert_int_eq(receive(&got, NULL), -ETIMEDOUT);
    ck_assert_uint_eq(wedge_queue_count(&queue), 0);
    close_queue();
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, a_refused_one_has_nothing_listed);
    tcase_add_test(tcase, a_settling_is_no_message);
    tcase_add_test(tcase, the_next_reader_settles_what_could_not_be);
}

int main(void)
{
    return wedge_test_main("queue", 30, fill);
}
