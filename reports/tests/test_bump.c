/* Memory that only grows: what was allocated stays apart from what else was, over chunks, huge places and what fits in neither. */
#include <check.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "reports/bump.h"

enum { PARTS = 10000, LARGE = 3 << 20 }; /* some 6 MiB of small ones: several places of 2 MiB */

static json_t *make(int from)
{
    json_t *all = json_array();
    for (int i = from; i < from + PARTS; i++)
        ck_assert_int_eq(json_array_append_new(all, json_pack("{s:i, s:s}", "number", i, "text", "some text")), 0);
    return all;
}

static void check(const json_t *all, int from)
{
    ck_assert_uint_eq(json_array_size(all), PARTS);
    for (int i = 0; i < PARTS; i++) {
        const json_t *one = json_array_get(all, (size_t)i);
        ck_assert_int_eq(json_integer_value(json_object_get(one, "number")), from + i);
        ck_assert_str_eq(json_string_value(json_object_get(one, "text")), "some text");
    }
}

static void *make_others(void *arg)
{
    (void)arg;
    return make(-PARTS);
}

START_TEST(test_all_of_it_stays)
{
    char *large = malloc(LARGE + 1);
    pthread_t thread;
    void *others;
    ck_assert_ptr_nonnull(large);
    memset(large, 'x', LARGE);
    large[LARGE] = 0;
    wedge_bump_json();
    ck_assert_int_eq(pthread_create(&thread, NULL, make_others, NULL), 0);
    wedge_bump_await();
    json_t *all = make(0), *text = json_string(large), *more = make(PARTS);
    ck_assert_int_eq(pthread_join(thread, &others), 0);
    check(all, 0);
    check(more, PARTS);
    check(others, -PARTS);
    ck_assert_uint_eq(json_string_length(text), LARGE);
    ck_assert_str_eq(json_string_value(text), large);
    free(large);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_all_of_it_stays);
}

int main(void)
{
    return wedge_test_main("bump", 60, fill);
}
