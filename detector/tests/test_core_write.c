/*
 * A core file of a running process: what is in it, what is not, and that the process goes on.
 *
 * That debuggers read it is shown in cli/tests/test_actions.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/core/core_file.h"
#include "detector/core/core_write.h"
#include "detector/kernel/proc.h"

static char path[64];
static pid_t child;
static int ready;

/* Two words that must not be found in the test's own constants, and a gigabyte that nobody touches. */
static void make(char *word, char first)
{
    word[0] = first;
    for (int i = 1; i < 32; i++)
        word[i] = (char)('a' + i % 26);
}

static void setup(void)
{
    int ends[2];
    snprintf(path, sizeof(path), "/tmp/wedge-test-core-XXXXXX");
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        char *open_page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        char *secret = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mmap(NULL, 1u << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        madvise(secret, 8192, MADV_DONTDUMP);
        make(open_page, 'O');
        make(secret, 'S');
        if (write(ends[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ends[1]);
    ready = ends[0];
    char c;
    ck_assert_int_eq(read(ready, &c, 1), 1);
}

static void teardown(void)
{
    close(ready);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    unlink(path);
}

static int order(uint64_t start_ticks, uint64_t max_bytes, struct wedge_err *err)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    struct wedge_core_order o = {
        .pid = child, .start_ticks = start_ticks, .fd = fd, .max_bytes = max_bytes, .deadline_ms = 10000};
    int rc = wedge_core_write(&o, err);
    close(fd);
    return rc;
}

static bool holds(char first)
{
    char word[32];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(fstat(fd, &st), 0);
    char *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    ck_assert_ptr_ne(data, MAP_FAILED);
    close(fd);
    make(word, first);
    bool found = memmem(data, (size_t)st.st_size, word, sizeof(word)) != NULL;
    munmap(data, (size_t)st.st_size);
    return found;
}

START_TEST(test_what_is_in_it)
{
    struct wedge_err err = {0};
    struct wedge_core *core = NULL;
    struct stat st;
    char text[1024];
    struct wedge_proc_stat now;
    ck_assert_msg(order(0, 8ull << 30, &err) == 0, "%s", err.message);
    ck_assert(holds('O'));
    ck_assert(!holds('S'));
    /* What nobody touched takes no room on the disk. */
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_gt(st.st_size, 1l << 30);
    ck_assert_int_lt(st.st_blocks * 512l, 64l << 20);
    ck_assert_msg(wedge_core_open(path, NULL, &core, &err) == 0, "%s", err.message);
    ck_assert_int_eq(core->pid, child);
    ck_assert_int_eq(core->ppid, getpid());
    ck_assert(!core->cut);
    ck_assert_uint_eq(core->n_threads, 1);
    ck_assert_int_eq(core->threads[0].tid, child);
    wedge_core_close(core);
    /* It goes on: neither stopped nor traced. */
    ck_assert_int_gt(wedge_proc_read(child, 0, "stat", text, sizeof(text)), 0);
    ck_assert_int_eq(wedge_proc_stat_parse(text, &now), 0);
    ck_assert(now.state == 'S' || now.state == 'R');
}
END_TEST

/* Headers and threads, and nothing of their memory: there is nothing to be told from it, and that is said. */
START_TEST(test_cut_before_the_stacks)
{
    struct wedge_err err = {0};
    struct wedge_core *core = NULL;
    ck_assert_msg(order(0, 8ull << 30, &err) == 0, "%s", err.message);
    ck_assert_int_eq(truncate(path, 32768), 0);
    ck_assert_int_eq(wedge_core_open(path, NULL, &core, &err), -EINVAL);
    ck_assert_str_eq(err.message, "the core file is cut off before the stacks of its threads");
}
END_TEST

START_TEST(test_what_does_not_fit_is_left_out)
{
    struct wedge_err err = {0};
    struct wedge_core *core = NULL;
    struct stat st;
    ck_assert_int_eq(order(0, 1u << 20, &err), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_lt(st.st_size, 2l << 20);
    ck_assert_int_eq(wedge_core_open(path, NULL, &core, &err), 0);
    wedge_core_close(core);
}
END_TEST

START_TEST(test_another_process_of_that_number)
{
    struct wedge_err err = {0};
    ck_assert_int_eq(order(12345, 8ull << 30, &err), -ESRCH);
    ck_assert_ptr_nonnull(strstr(err.message, "it has ended"));
}
END_TEST

/* A file that takes no more is an error, and not a core that looks whole. */
START_TEST(test_a_full_disk)
{
    struct wedge_err err = {0};
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct wedge_core_order o = {.pid = child, .fd = fd, .max_bytes = 8ull << 30, .deadline_ms = 10000};
    ck_assert_int_eq(wedge_core_write(&o, &err), -ENOSPC);
    close(fd);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_what_is_in_it);
    tcase_add_test(tcase, test_cut_before_the_stacks);
    tcase_add_test(tcase, test_what_does_not_fit_is_left_out);
    tcase_add_test(tcase, test_another_process_of_that_number);
    tcase_add_test(tcase, test_a_full_disk);
}

int main(void)
{
    return wedge_test_main("core_write", 60, fill);
}
