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
    ck_assert_int_eq(wedge_tee_start(&tee, out, 0, &err), 0);
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
    ck_assert_int_eq(wedge_tee_start(&tee, ends[1], 0, &err), 0);
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

/* `total` bytes, each with a value that its place gives, through a copy that keeps `keep` at each end. */
static off_t kept(size_t total, size_t keep, char *ret, size_t size)
{
    struct wedge_tee tee;
    struct wedge_err err;
    char name[] = "/tmp/wedge-test-tee-XXXXXX", block[777];
    int out = mkstemp(name);
    ck_assert_int_ge(out, 0);
    unlink(name);
    ck_assert_int_eq(wedge_tee_start(&tee, out, keep, &err), 0);
    for (size_t done = 0; done < total;) {
        size_t n = total - done < sizeof(block) ? total - done : sizeof(block);
        for (size_t i = 0; i < n; i++)
            block[i] = (char)('a' + (done + i) % 23);
        ck_assert_int_eq(write(tee.input, block, n), (ssize_t)n);
        done += n;
    }
    close(tee.input);
    wedge_tee_drain(&tee, 20000);
    ck_assert_int_eq(tee.pid, 0);
    ck_assert_uint_eq(wedge_tee_bytes(&tee), total);
    wedge_tee_free(&tee);
    off_t len = lseek(out, 0, SEEK_END);
    ck_assert_int_lt(len, (off_t)size);
    ck_assert_int_eq(pread(out, ret, size, 0), len);
    ret[len] = 0;
    close(out);
    return len;
}

static void check_bytes(const char *text, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(text[i] == (char)('a' + (from + i) % 23), "byte %zu is '%c'", from + i, text[i]);
}

START_TEST(test_first_and_last_bytes)
{
    enum { KEEP = 1000 };
    static char text[200000];
    const size_t whole[] = {0, 1, KEEP - 1, KEEP, KEEP + 1, 2 * KEEP - 1, 2 * KEEP};
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        ck_assert_int_eq(kept(whole[i], KEEP, text, sizeof(text)), (off_t)whole[i]);
        check_bytes(text, 0, whole[i]);
    }
    const size_t cut[] = {2 * KEEP + 1, 3 * KEEP, 100003}; /* the last in blocks longer than what is kept */
    for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
        char said[96];
        off_t len = kept(cut[i], KEEP, text, sizeof(text));
        size_t line =
            (size_t)snprintf(said, sizeof(said), "\n[wedge: %zu bytes are left out here]\n", cut[i] - 2 * KEEP);
        ck_assert_int_eq(len, (off_t)(2 * KEEP + line));
        check_bytes(text, 0, KEEP);
        ck_assert_msg(strncmp(text + KEEP, said, line) == 0, "%.60s", text + KEEP);
        check_bytes(text + KEEP + line, cut[i] - KEEP, KEEP);
    }
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_every_byte_and_the_last_ones);
    tcase_add_test(tcase, test_a_reader_that_leaves);
    tcase_add_test(tcase, test_first_and_last_bytes);
}

int main(void)
{
    return wedge_test_main("tee", 30, fill);
}
