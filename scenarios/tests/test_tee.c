/* scenarios/tee: every byte arrives, the last ones are kept, a reader that leaves is noticed by the writer. */
#include "scenarios/tee.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"

START_TEST(test_every_byte_and_the_last_ones)
{
    enum { LINES = 40000 };
    struct wedge_tee tee;
    struct wedge_err err;
    char name[] = "/tmp/wedge-test-tee-XXXXXX", line[32], buf[64];
    int out = mkstemp(name);
    ck_assert_int_ge(out, 0);
    unlink(name);
    ck_assert_int_eq(wedge_tee_start(&tee, out, &err), 0);
    off_t total = 0;
    for (int i = 0; i < LINES; i++) {
        int n = snprintf(line, sizeof(line), "line %d\n", i);
        ck_assert_int_eq(write(tee.input, line, (size_t)n), n);
        total += n;
    }
    close(tee.input);
    wedge_tee_drain(&tee, 20000);
    ck_assert_int_eq(tee.pid, 0);
    ck_assert_int_eq(lseek(out, 0, SEEK_END), total);
    ck_assert_uint_eq(wedge_tee_bytes(&tee), (uint64_t)total);
    ck_assert_str_eq(wedge_tee_tail(&tee, buf, 12), "line 39999\n");
    wedge_tee_free(&tee);
    close(out);
}
END_TEST

START_TEST(test_a_reader_that_leaves)
{
    struct wedge_tee tee;
    struct wedge_err err;
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(wedge_tee_start(&tee, ends[1], &err), 0);
    close(ends[0]);
    close(ends[1]);
    ssize_t n;
    while ((n = write(tee.input, "x", 1)) == 1)
        ;
    ck_assert_int_eq(errno, EPIPE);
    close(tee.input);
    wedge_tee_drain(&tee, 20000);
    ck_assert_int_eq(tee.pid, 0);
    wedge_tee_free(&tee);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_every_byte_and_the_last_ones);
    tcase_add_test(tcase, test_a_reader_that_leaves);
}

int main(void)
{
    return wedge_test_main("tee", 30, fill);
}
