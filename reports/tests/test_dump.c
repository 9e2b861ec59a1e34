/* reports/dump: the same bytes as jansson's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "reports/dump.h"
#include "reports/tests/samples.h"

static void same_as_jansson(const json_t *tree, unsigned flags, size_t jansson_flags)
{
    size_t len;
    char *ours = wedge_report_dump(tree, flags, 1, &len), *theirs = json_dumps(tree, jansson_flags);
    ck_assert_ptr_nonnull(ours);
    ck_assert_ptr_nonnull(theirs);
    ours[len] = 0;
    ck_assert_str_eq(ours, theirs);
    ck_assert_uint_eq(len, strlen(theirs));
    free(ours);
    free(theirs);
}

static void same_in_all_ways(const json_t *tree)
{
    same_as_jansson(tree, WEDGE_DUMP_INDENT, JSON_INDENT(2));
    same_as_jansson(tree, 0, JSON_COMPACT);
    same_as_jansson(tree, WEDGE_DUMP_ASCII, JSON_COMPACT | JSON_ENSURE_ASCII);
    same_as_jansson(tree, WEDGE_DUMP_ASCII | WEDGE_DUMP_INDENT, JSON_INDENT(2) | JSON_ENSURE_ASCII);
}

START_TEST(test_samples)
{
    json_t *report = sample_report((enum sample)_i);
    same_in_all_ways(report);
    json_decref(report);
}
END_TEST

START_TEST(test_odd_values)
{
    json_t *tree =
        json_pack("{s:[],s:{},s:n,s:b,s:I,s:f,s:s,s:s}", "a", "b", "c", "d", 1, "e", (json_int_t)INT64_MIN, "f", 0.5,
                  "g", "\x01\x1f\x7f\"\\/\b\f\n\r\t", "h", "\xc3\xa4\xe2\x80\xa8\xf0\x9f\x98\x80\xef\xbf\xbf");
    ck_assert_ptr_nonnull(tree);
    same_in_all_ways(tree);
    json_decref(tree);
}
END_TEST

/* The same part at two depths, and one in it that is shared too. */
START_TEST(test_shared_parts)
{
    json_t *part = json_pack("{s:i,s:[i,i]}", "x", 1, "y", 2, 3);
    json_t *tree = json_pack("[O,O,[O,[O]],{s:O}]", part, part, part, json_object_get(part, "y"), "z", part);
    same_in_all_ways(tree);
    json_decref(part);
    json_decref(tree);
}
END_TEST

START_TEST(test_html)
{
    size_t len;
    json_t *tree = json_pack("{s:s}", "</script>", "<!-- & -->");
    char *text = wedge_report_dump(tree, WEDGE_DUMP_ASCII | WEDGE_DUMP_HTML, 1, &len);
    text[len] = 0;
    ck_assert_str_eq(text, "{\"\\u003c/script\\u003e\":\"\\u003c!-- \\u0026 --\\u003e\"}");
    json_t *again = json_loads(text, 0, NULL);
    ck_assert(json_equal(again, tree));
    json_decref(again);
    json_decref(tree);
    free(text);
}
END_TEST

START_TEST(test_too_deep)
{
    size_t len;
    json_t *tree = json_array();
    for (int i = 0; i < 100; i++)
        tree = json_pack("[o]", tree);
    ck_assert_ptr_null(wedge_report_dump(tree, 0, 0, &len));
    json_decref(tree);
}
END_TEST

static void fill(TCase *tc)
{
    tcase_add_loop_test(tc, test_samples, 0, SAMPLE_COUNT);
    tcase_add_test(tc, test_odd_values);
    tcase_add_test(tc, test_shared_parts);
    tcase_add_test(tc, test_html);
    tcase_add_test(tc, test_too_deep);
}

int main(void)
{
    return wedge_test_main("dump", 60, fill);
}
