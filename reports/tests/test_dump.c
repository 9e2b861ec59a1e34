/* reports/dump: what jansson would write, and for people its plain parts on one line each. */
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

/* Line ends and blanks apart, which mean nothing: the same values under the same keys in the same order. */
static void same_indented(const json_t *tree, unsigned flags)
{
    size_t len, plain_len;
    char *ours = wedge_report_dump(tree, flags | WEDGE_DUMP_INDENT, 1, &len);
    char *plain = wedge_report_dump(tree, flags, 1, &plain_len);
    ck_assert_ptr_nonnull(ours);
    ck_assert_ptr_nonnull(plain);
    json_t *again = json_loadb(ours, len, 0, NULL);
    size_t again_len;
    char *again_plain = again ? wedge_report_dump(again, flags, 1, &again_len) : NULL;
    ck_assert_ptr_nonnull(again_plain);
    ck_assert_uint_eq(again_len, plain_len);
    ck_assert_mem_eq(again_plain, plain, plain_len);
    json_decref(again);
    free(again_plain);
    free(plain);
    free(ours);
}

/* What is written for people ends its last line. */
static void same_lines(const json_t *tree)
{
    size_t len, lines_len;
    char *whole = wedge_report_dump(tree, WEDGE_DUMP_INDENT, 0, &len),
         *lines = wedge_report_dump_lines(tree, &lines_len);
    ck_assert_ptr_nonnull(whole);
    ck_assert_ptr_nonnull(lines);
    ck_assert_uint_eq(lines_len, len + 1);
    ck_assert_mem_eq(lines, whole, len);
    ck_assert_int_eq(lines[len], '\n');
    free(lines);
    free(whole);
}

static void same_in_all_ways(const json_t *tree)
{
    same_lines(tree);
    same_as_jansson(tree, 0, JSON_COMPACT);
    same_as_jansson(tree, WEDGE_DUMP_ASCII, JSON_COMPACT | JSON_ENSURE_ASCII);
    same_indented(tree, 0);
    same_indented(tree, WEDGE_DUMP_ASCII);
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

/* What holds no container is a line; the same part stands so at every depth. */
START_TEST(test_lines)
{
    static const char wanted[] = "{\n"
                                 "  \"a\": 1,\n"
                                 "  \"b\": {\"x\": 1, \"y\": null},\n"
                                 "  \"c\": [\n"
                                 "    [],\n"
                                 "    {},\n"
                                 "    [2, 3],\n"
                                 "    {\"x\": 1, \"y\": null}\n"
                                 "  ]\n"
                                 "}";
    json_t *part = json_pack("{s:i,s:n}", "x", 1, "y");
    json_t *tree = json_pack("{s:i,s:O,s:[[],{},[i,i],O]}", "a", 1, "b", part, "c", 2, 3, part);
    size_t len;
    char *text = wedge_report_dump(tree, WEDGE_DUMP_INDENT, 1, &len);
    ck_assert_ptr_nonnull(text);
    text[len] = 0;
    ck_assert_str_eq(text, wanted);
    free(text);
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
    tcase_add_test(tc, test_lines);
    tcase_add_test(tc, test_html);
    tcase_add_test(tc, test_too_deep);
}

int main(void)
{
    return wedge_test_main("dump", 60, fill);
}
