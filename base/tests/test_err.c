/* base/err: codes, positions, the one line a person reads, the nearest word. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/tests/suite.h"

START_TEST(test_set_returns_the_code_and_fills)
{
    struct wedge_err err;
    ck_assert_int_eq(wedge_err_set(&err, -ENOENT, "no %s here", "plan"), -ENOENT);
    ck_assert_int_eq(err.code, -ENOENT);
    ck_assert_int_eq(err.class, WEDGE_ERR_WORK);
    ck_assert_str_eq(err.message, "no plan here");
    ck_assert_int_eq(wedge_err_set(NULL, -EPERM, "x"), -EPERM);
}
END_TEST

START_TEST(test_text_has_place_message_and_remedy)
{
    struct wedge_err err;
    char buf[1024];
    ck_assert_int_eq(wedge_err_input(&err, "a.plan", 3, 7, "unknown action"), -EINVAL);
    ck_assert_int_eq(err.class, WEDGE_ERR_INPUT);
    ck_assert_str_eq(wedge_err_text(&err, buf, sizeof(buf)), "a.plan:3:7: unknown action");
    wedge_err_remedy(&err, "did you mean %s?", "kill");
    ck_assert_str_eq(wedge_err_text(&err, buf, sizeof(buf)), "a.plan:3:7: unknown action; did you mean kill?");
    wedge_err_input(&err, "b.yaml", 0, 0, "is empty");
    ck_assert_str_eq(wedge_err_text(&err, buf, sizeof(buf)), "b.yaml: is empty");
    ck_assert_str_eq(wedge_err_text(&err, buf, 5), "b.ya");
}
END_TEST

START_TEST(test_nearest)
{
    static const char *const words[] = {"kill", "block", "delay", NULL};
    ck_assert_str_eq(wedge_err_nearest("kil", words), "kill");
    ck_assert_str_eq(wedge_err_nearest("blokc", words), "block");
    ck_assert_ptr_null(wedge_err_nearest("terminate", words));
    ck_assert_ptr_null(wedge_err_nearest("", words));
    char longest[200];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    ck_assert_ptr_null(wedge_err_nearest(longest, words));
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_set_returns_the_code_and_fills);
    tcase_add_test(tcase, test_text_has_place_message_and_remedy);
    tcase_add_test(tcase, test_nearest);
}

int main(void)
{
    return wedge_test_main("err", 10, fill);
}
