/* base/text: growth, the bound, and what may reach a terminal. */
#include <string.h>

#include "base/tests/suite.h"
#include "base/text.h"

START_TEST(test_grows_and_stays_terminated)
{
    struct wedge_text t = WEDGE_TEXT_INIT(1 << 20);
    for (int i = 0; i < 1000; i++)
        wedge_text_addf(&t, "%d,", i);
    ck_assert(!t.cut);
    ck_assert_uint_eq(t.len, strlen(t.data));
    ck_assert_str_eq(t.data + t.len - 8, "998,999,");
    wedge_text_free(&t);
    ck_assert_ptr_null(t.data);
    wedge_text_free(NULL);
}
END_TEST

START_TEST(test_bound_cuts_and_says_so)
{
    struct wedge_text t = WEDGE_TEXT_INIT(10);
    wedge_text_add(&t, "0123456789");
    ck_assert(!t.cut);
    wedge_text_add(&t, "x");
    ck_assert(t.cut);
    ck_assert_str_eq(t.data, "0123456789");
    wedge_text_free(&t);
}
END_TEST

static const struct {
    const char *in, *out;
} plain[] = {
    {"ok", "ok"},
    {"a\033[31mb", "a\\x1b[31mb"},
    {"tab\tnl\n", "tab\\x09nl\\x0a"},
    {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
    {"\xff\xfe", "\\xff\\xfe"},
    {"cut \xe2\x82", "cut \\xe2\\x82"},
    {"overlong \xc0\xaf", "overlong \\xc0\\xaf"},
    {"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
    {"c1 \xc2\x9b", "c1 \\xc2\\x9b"},
    {"del \x7f", "del \\x7f"},
    {"bidi \xe2\x80\xae \xe2\x81\xa6 \xe2\x80\x8f \xd8\x9c",
     "bidi \\xe2\\x80\\xae \\xe2\\x81\\xa6 \\xe2\\x80\\x8f \\xd8\\x9c"},
    {"line \xe2\x80\xa8 \xe2\x80\xa9", "line \\xe2\\x80\\xa8 \\xe2\\x80\\xa9"},
    {"\xe2\x80\x9cquoted\xe2\x80\x9d \xe2\x80\xa6", "\xe2\x80\x9cquoted\xe2\x80\x9d \xe2\x80\xa6"},
    {"##vso[task.complete]", "#\\x23vso[task.complete]"},
    {"a ##[error] ###", "a #\\x23[error] #\\x23\\x23"},
    {"# 1 #", "# 1 #"},
};

START_TEST(test_plain)
{
    char buf[128];
    ck_assert_str_eq(wedge_text_plain(plain[_i].in, buf, sizeof(buf)), plain[_i].out);
}
END_TEST

START_TEST(test_plain_never_splits)
{
    char buf[6];
    ck_assert_str_eq(wedge_text_plain("abc\033x", buf, sizeof(buf)), "abc");
    ck_assert_str_eq(wedge_text_plain("abcd\xe2\x82\xac", buf, sizeof(buf)), "abcd");
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_grows_and_stays_terminated);
    tcase_add_test(tcase, test_bound_cuts_and_says_so);
    tcase_add_loop_test(tcase, test_plain, 0, sizeof(plain) / sizeof(plain[0]));
    tcase_add_test(tcase, test_plain_never_splits);
}

int main(void)
{
    return wedge_test_main("text", 10, fill);
}
