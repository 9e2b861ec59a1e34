/* reports/wire: nothing is lost on the way, and nothing that comes is believed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "reports/dump.h"
#include "reports/tests/samples.h"
#include "reports/wire.h"

/* Through the wire and back: an equal tree, which would have been as long as was said. */
static json_t *through(const json_t *tree, size_t *ret_len)
{
    size_t len = 0, as_json = 0, as_text = 0;
    json_t *after = NULL;
    struct wedge_err err = {0};
    char *bytes = wedge_wire_pack(tree, &len, &as_json), *text = wedge_report_dump(tree, 0, 0, &as_text);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(as_json, as_text);
    ck_assert_msg(wedge_wire_unpack(bytes, len, &after, &err) == 0, "%s", err.message);
    ck_assert(json_equal(tree, after));
    free(text);
    free(bytes);
    *ret_len = len;
    return after;
}

START_TEST(test_samples)
{
    size_t len, text_len;
    json_t *report = sample_report((enum sample)_i), *after = through(report, &len);
    char *text = wedge_report_dump(report, 0, 0, &text_len);
    ck_assert_uint_lt(len, text_len);
    free(text);
    json_decref(after);
    json_decref(report);
}
END_TEST

START_TEST(test_odd_values)
{
    size_t len;
    json_t *tree =
        json_pack("{s:[],s:{},s:n,s:b,s:b,s:[I,I,i,i,i],s:[f,f],s:s,s:s,s:s}", "a", "b", "c", "d", 1, "e", 0, "f",
                  (json_int_t)INT64_MIN, (json_int_t)INT64_MAX, 0, -1, 127, "g", 0.5, -1e300, "h",
                  "\x01\x1f\x7f\"\\/\b\f\n\r\t", "i\"", "\xc3\xa4\xe2\x80\xa8\xf0\x9f\x98\x80\xef\xbf\xbf", "j", "");
    ck_assert_ptr_nonnull(tree);
    json_t *after = through(tree, &len);
    json_decref(after);
    json_decref(tree);
}
END_TEST

/* Texts that stand in several places are one, on the wire and behind it; a part of the tree that does is not. */
START_TEST(test_texts_once)
{
    size_t len, len_twice;
    json_t *part = json_pack("{s:s,s:[i,i]}", "x", "a text of some length", "y", 2, 3);
    json_t *tree = json_pack("[O,O,[O]]", part, part, part);
    json_t *after = through(tree, &len);
    const json_t *first = json_array_get(after, 0), *second = json_array_get(after, 1);
    ck_assert_ptr_ne(second, first);
    ck_assert_ptr_eq(json_object_get(second, "x"), json_object_get(first, "x"));
    json_array_append(tree, json_object_get(part, "x"));
    json_decref(after);
    json_decref(through(tree, &len_twice));
    ck_assert_uint_le(len_twice, len + 2);
    json_decref(part);
    json_decref(tree);
}
END_TEST

START_TEST(test_too_deep)
{
    size_t len, as_json;
    json_t *tree = json_array();
    for (int i = 0; i < 100; i++)
        tree = json_pack("[o]", tree);
    ck_assert_ptr_null(wedge_wire_pack(tree, &len, &as_json));
    json_decref(tree);
}
END_TEST

#define MESSAGE(text) text, sizeof(text) - 1
static const struct {
    const char *what, *bytes;
    size_t len;
} bad[] = {
    {"nothing", MESSAGE("")},
    {"something behind it", MESSAGE("nn")},
    {"no tag", MESSAGE("x")},
    {"a NUL for a tag", MESSAGE("\0")},
    {"an array without a size", MESSAGE("[")},
    {"an array that ends early", MESSAGE("[\2n")},
    {"an array of more than there is", MESSAGE("[\xff\xff\xff\xff\xff\xff\xff\xff\xff\1n")},
    {"a number without an end", MESSAGE("i\x80")},
    {"a number of 65 bits", MESSAGE("i\xff\xff\xff\xff\xff\xff\xff\xff\xff\2")},
    {"a number of ten bytes and more", MESSAGE("i\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1")},
    {"a text that ends early", MESSAGE("s\2a")},
    {"a text of more than there is", MESSAGE("s\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"
                                             "a")},
    {"a text with a NUL", MESSAGE("s\3a\0b")},
    {"a text that is no UTF-8", MESSAGE("s\1\xff")},
    {"half a character", MESSAGE("s\1\xc3")},
    {"an earlier value before the first", MESSAGE("=\0")},
    {"an earlier value that comes later", MESSAGE("[\2=\0s\1a")},
    {"an earlier array", MESSAGE("[\2[\0=\0")},
    {"an object that ends early", MESSAGE("{\1\0\1a")},
    {"an object without its key", MESSAGE("{\1")},
    {"a key before the first", MESSAGE("{\1\1n")},
    {"a key twice", MESSAGE("{\2\0\1an\1n")},
    {"a key that is spelled twice", MESSAGE("{\2\0\1an\0\1an")},
    {"a key with a NUL", MESSAGE("{\1\0\1\0n")},
    {"a key that is no UTF-8", MESSAGE("{\1\0\1\xffn")},
    {"half a real", MESSAGE("r\0\0\0\0\0\0\0")},
    {"no number at all", MESSAGE("r\0\0\0\0\0\0\xf8\x7f")},
    {"an infinite one", MESSAGE("r\0\0\0\0\0\0\xf0\x7f")},
};

static void refused(const char *what, const char *bytes, size_t len)
{
    struct wedge_err err = {0};
    json_t *const untouched = json_null();
    json_t *tree = untouched;
    char *copy = malloc(len ? len : 1); /* so that a byte too many is seen */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, len);
    ck_assert_msg(wedge_wire_unpack(copy, len, &tree, &err) == -EBADMSG, "%s was taken", what);
    ck_assert_ptr_eq(tree, untouched);
    ck_assert_str_ne(err.message, "");
    free(copy);
}

START_TEST(test_bad_messages)
{
    refused(bad[_i].what, bad[_i].bytes, bad[_i].len);
}
END_TEST

/* No part of a message is one. */
START_TEST(test_cut_short)
{
    size_t len, as_json;
    json_t *report = sample_report(SAMPLE_LOCK_CYCLE);
    char *bytes = wedge_wire_pack(report, &len, &as_json);
    for (size_t i = 0; i < len; i++)
        refused("a message cut short", bytes, i);
    free(bytes);
    json_decref(report);
}
END_TEST

/* One inside of the other, a hundred times: nobody could walk through it. */
START_TEST(test_too_deep_message)
{
    char bytes[202];
    for (size_t i = 0; i < sizeof(bytes); i += 2) {
        bytes[i] = '[';
        bytes[i + 1] = 1;
    }
    bytes[sizeof(bytes) - 1] = 0;
    refused("arrays a hundred deep", bytes, sizeof(bytes));
}
END_TEST

static void fill(TCase *tc)
{
    tcase_add_loop_test(tc, test_samples, 0, SAMPLE_COUNT);
    tcase_add_test(tc, test_odd_values);
    tcase_add_test(tc, test_texts_once);
    tcase_add_test(tc, test_too_deep);
    tcase_add_loop_test(tc, test_bad_messages, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tc, test_cut_short);
    tcase_add_test(tc, test_too_deep_message);
}

int main(void)
{
    return wedge_test_main("wire", 60, fill);
}
