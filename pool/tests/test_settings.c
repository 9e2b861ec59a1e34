/* pool/settings: each preset's values, what a setting may be, and refusals that name key, value and range. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "pool/settings.h"

static struct wedge_pool_settings preset(const char *name)
{
    struct wedge_pool_settings settings;
    ck_assert_int_eq(wedge_pool_settings_init(&settings, name, NULL), 0);
    return settings;
}

START_TEST(presets_differ_where_the_table_says)
{
    struct wedge_pool_settings reported = preset("reported"), proposed = preset("proposed"), hardened = preset(NULL);
    ck_assert_str_eq(hardened.preset, "hardened");
    ck_assert(hardened.hardened && !reported.hardened && !proposed.hardened);
    ck_assert_int_eq(reported.collector_wait_ms, WEDGE_POOL_NO_LIMIT);
    ck_assert_int_eq(reported.collector_leaves, WEDGE_POOL_LEAVES_MARK);
    ck_assert_int_eq(reported.close_wait_ms, WEDGE_POOL_NO_LIMIT);
    ck_assert_int_eq(reported.start_limit_ms, WEDGE_POOL_NO_LIMIT);
    ck_assert_int_eq(reported.result_put, WEDGE_POOL_FULL_WAIT);
    ck_assert_int_eq(proposed.collector_wait_ms, 1000);
    ck_assert_int_eq(proposed.collector_leaves, WEDGE_POOL_LEAVES_EITHER);
    ck_assert_int_eq(proposed.close_wait_ms, 1000);
    ck_assert_int_eq(proposed.result_put, WEDGE_POOL_FULL_DROP);
    ck_assert_int_eq(hardened.start_limit_ms, 10000);
    ck_assert_int_eq(hardened.final_limit_ms, 10000);
    ck_assert_int_eq(reported.final_limit_ms, WEDGE_POOL_NO_LIMIT);
}
END_TEST

/* Each cure is a value that its setting takes; the hardened preset says what the list says; its hazard is another one. */
START_TEST(cures_are_one_list)
{
    struct wedge_pool_settings reported = preset("reported"), proposed = preset("proposed"), hardened = preset(NULL);
    struct wedge_pool_cure in_reported, in_proposed, in_hardened;
    unsigned n = 0, turned_off = 0;
    for (; wedge_pool_settings_cure(&reported, n, &in_reported) == 0; n++) {
        char set[128];
        ck_assert_int_eq(wedge_pool_settings_cure(&hardened, n, &in_hardened), 0);
        ck_assert_int_eq(wedge_pool_settings_cure(&proposed, n, &in_proposed), 0);
        ck_assert_str_eq(in_reported.key, in_hardened.key);
        ck_assert_str_ne(in_reported.value, in_reported.hazard);
        ck_assert_msg(!in_reported.on && in_hardened.on, "%s", in_reported.key);
        ck_assert_msg(!(in_reported.fixed && in_hardened.fixed), "%s", in_reported.key);
        ck_assert(in_proposed.fixed == in_reported.fixed);
        struct wedge_pool_settings *changed = in_reported.fixed ? &hardened : &reported;
        snprintf(set, sizeof(set), "%s=%s", in_reported.key, in_reported.value);
        ck_assert_int_eq(wedge_pool_settings_set(changed, set, NULL), 0);
        snprintf(set, sizeof(set), "%s=%s", in_reported.key, in_reported.hazard);
        ck_assert_int_eq(wedge_pool_settings_set(changed, set, NULL), 0);
        turned_off += !in_hardened.fixed;
        hardened = preset(NULL);
        reported = preset("reported");
        if (strcmp(in_proposed.key, "collector_wait") == 0)
            ck_assert(in_proposed.on && in_hardened.fixed && in_reported.is_limit);
    }
    ck_assert_uint_gt(n, 15);
    ck_assert_uint_gt(turned_off, 5);
    ck_assert_int_eq(wedge_pool_settings_cure(&hardened, n, &in_hardened), -ENOENT);
}
END_TEST

START_TEST(unknown_preset_is_refused)
{
    struct wedge_pool_settings settings = {.threads = 77};
    struct wedge_pool_err err;
    ck_assert_int_eq(wedge_pool_settings_init(&settings, "robust", &err), -EINVAL);
    ck_assert_int_eq(err.code, -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "robust"));
    ck_assert_ptr_nonnull(strstr(err.message, "hardened"));
    ck_assert_int_eq(settings.threads, 77);
}
END_TEST

/* What must be refused, and the three things that the message must name. */
static const struct {
    const char *preset, *setting, *key, *value, *range;
} refusals[] = {
    {"hardened", "", "", "''", "key=value"},
    {"hardened", "threads", "threads", "threads", "key=value"},
    {"hardened", "=3", "", "=3", "key=value"},
    {"hardened", "thread=3", "thread", "thread", "no such setting"},
    {"hardened", "threads =3", "threads ", "", "no such setting"},
    {"hardened", "THREADS=3", "THREADS", "", "no such setting"},
    {"hardened", "threads=", "threads", "''", "1 to 64"},
    {"hardened", "threads=0", "threads", "'0'", "1 to 64"},
    {"hardened", "threads=65", "threads", "'65'", "1 to 64"},
    {"hardened", "threads=-1", "threads", "'-1'", "1 to 64"},
    {"hardened", "threads=+2", "threads", "'+2'", "1 to 64"},
    {"hardened", "threads=2 ", "threads", "'2 '", "1 to 64"},
    {"hardened", "threads= 2", "threads", "' 2'", "1 to 64"},
    {"hardened", "threads=2.0", "threads", "'2.0'", "1 to 64"},
    {"hardened", "threads=0x2", "threads", "'0x2'", "1 to 64"},
    {"hardened", "threads=2e0", "threads", "'2e0'", "1 to 64"},
    {"hardened", "threads=two", "threads", "'two'", "1 to 64"},
    {"hardened", "threads=never", "threads", "'never'", "1 to 64"},
    {"hardened", "threads=99999999999999999999999999", "threads", "'9999999999", "1 to 64"},
    {"hardened", "threads=18446744073709551617", "threads", "'18446744073709551617'", "1 to 64"},
    {"hardened", "processes=0", "processes", "'0'", "1 to 256"},
    {"hardened", "processes=257", "processes", "'257'", "1 to 256"},
    {"hardened", "queue=0", "queue", "'0'", "1 to 65536 or auto"},
    {"hardened", "queue=65537", "queue", "'65537'", "1 to 65536 or auto"},
    {"hardened", "queue=Auto", "queue", "'Auto'", "1 to 65536 or auto"},
    {"hardened", "payload_bytes=7", "payload_bytes", "'7'", "8 to 1048576"},
    {"hardened", "payload_bytes=1048577", "payload_bytes", "'1048577'", "8 to 1048576"},
    {"hardened", "task_limit=0", "task_limit", "'0'", "1 to 86400000 ms or never"},
    {"reported", "queue_limit=100", "queue_limit", "", "not a setting of preset reported"},
    {"reported", "name=a b", "name", "'a b'", "1 to 31 of A-Z a-z 0-9 _ . -"},
    {"hardened", "close_by=flag", "close_by", "", "not a setting of preset hardened"},
    {"hardened", "restart_limit=0", "restart_limit", "'0'", "1 to 1000 or none"},
    {"hardened", "restart_limit=never", "restart_limit", "'never'", "1 to 1000 or none"},
    {"hardened", "collector_wait=100", "collector_wait", "", "not a setting of preset hardened"},
    {"hardened", "collector_leaves=mark", "collector_leaves", "", "not a setting of preset hardened"},
    {"hardened", "close_wait=100", "close_wait", "", "not a setting of preset hardened"},
    {"hardened", "result_bound=none", "result_bound", "", "not a setting of preset hardened"},
    {"hardened", "result_put=drop", "result_put", "", "not a setting of preset hardened"},
    {"reported", "collector_wait=0", "collector_wait", "'0'", "1 to 3600000 ms or never"},
    {"reported", "collector_leaves=", "collector_leaves", "''", "mark or no_workers or accounted or either"},
    {"reported", "collector_leaves=marks", "collector_leaves", "'marks'", "mark or no_workers or accounted"},
    {"reported", "collector_leaves=1", "collector_leaves", "'1'", "mark or no_workers or accounted"},
    {"reported", "result_bound=reserved", "result_bound", "'reserved'", "bounded or none"},
    {"reported", "result_bound=100", "result_bound", "'100'", "bounded or none"},
    {"reported", "result_put=WAIT", "result_put", "'WAIT'", "wait or drop"},
    {"reported", "close_wait=none", "close_wait", "'none'", "1 to 3600000 ms or never"},
    /* settings of the contract's table that are not built */
    {"reported", "supervisor=none", "supervisor", "", "no such setting"},
    {"reported", "transport=slots", "transport", "", "no such setting"},
    {"reported", "queue_lock=robust", "queue_lock", "'robust'", "semaphore or owned"},
    {"hardened", "final_limit=0", "final_limit", "'0'", "1 to 3600000 ms or never"},
    {"hardened", "idle_limit=1999", "idle_limit", "'1999'", "2000 to 3600000 ms or never"},
    {"hardened", "parent_death=ignored", "parent_death", "", "not a setting of preset hardened"},
    {"hardened", "log=off", "log", "'off'", "direct or reset or queued"},
};

START_TEST(refusals_name_key_value_and_range)
{
    struct wedge_pool_settings settings = preset(refusals[_i].preset), before = settings;
    struct wedge_pool_err err = {0};
    ck_assert_int_eq(wedge_pool_settings_set(&settings, refusals[_i].setting, &err), -EINVAL);
    ck_assert_int_eq(err.code, -EINVAL);
    ck_assert_msg(strstr(err.message, refusals[_i].key) != NULL, "%s", err.message);
    ck_assert_msg(strstr(err.message, refusals[_i].value) != NULL, "%s", err.message);
    ck_assert_msg(strstr(err.message, refusals[_i].range) != NULL, "%s", err.message);
    ck_assert_mem_eq(&settings, &before, sizeof(settings));
}
END_TEST

START_TEST(settings_change_what_they_name)
{
    struct wedge_pool_settings s = preset("reported");
    static const char *const all[] = {"processes=256",
                                      "threads=1",
                                      "queue=65536",
                                      "payload_bytes=8",
                                      "collector_wait=3600000",
                                      "collector_leaves=no_workers",
                                      "close_wait=1",
                                      "result_bound=none",
                                      "result_put=drop",
                                      "start_limit=300"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        ck_assert_int_eq(wedge_pool_settings_set(&s, all[i], NULL), 0);
    ck_assert_int_eq(s.processes, 256);
    ck_assert_int_eq(s.threads, 1);
    ck_assert_uint_eq(wedge_pool_settings_queue(&s), 65536);
    ck_assert_int_eq(s.payload_bytes, 8);
    ck_assert_int_eq(s.collector_wait_ms, 3600000);
    ck_assert_int_eq(s.collector_leaves, WEDGE_POOL_LEAVES_NO_WORKERS);
    ck_assert_int_eq(s.close_wait_ms, 1);
    ck_assert_int_eq(s.result_bound, WEDGE_POOL_RESULTS_GROW);
    ck_assert_int_eq(s.result_put, WEDGE_POOL_FULL_DROP);
    ck_assert_int_eq(s.start_limit_ms, 300);
    ck_assert_int_eq(wedge_pool_settings_set(&s, "start_limit=never", NULL), 0);
    ck_assert_int_eq(s.start_limit_ms, WEDGE_POOL_NO_LIMIT);
}
END_TEST

START_TEST(queue_auto_follows_the_workers)
{
    struct wedge_pool_settings s = preset("hardened");
    ck_assert_int_eq(wedge_pool_settings_set(&s, "processes=2", NULL), 0);
    ck_assert_int_eq(wedge_pool_settings_set(&s, "threads=2", NULL), 0);
    ck_assert_uint_eq(wedge_pool_settings_queue(&s), 42);
    ck_assert_int_eq(wedge_pool_settings_set(&s, "queue=7", NULL), 0);
    ck_assert_uint_eq(wedge_pool_settings_queue(&s), 7);
    ck_assert_int_eq(wedge_pool_settings_set(&s, "queue=auto", NULL), 0);
    ck_assert_uint_eq(wedge_pool_settings_queue(&s), 42);
}
END_TEST

START_TEST(deadlines_do_not_overflow)
{
    int64_t before = wedge_clock_ns();
    ck_assert_int_eq(wedge_pool_settings_until(-1), WEDGE_POOL_NEVER);
    ck_assert_int_eq(wedge_pool_settings_until(INT64_MAX), WEDGE_POOL_NEVER);
    ck_assert_int_ge(wedge_pool_settings_until(1000), before + 1000 * WEDGE_NS_PER_MS);
    ck_assert_int_le(wedge_pool_settings_until(0), wedge_clock_ns());
}
END_TEST

/* Settings that are each allowed and together are not; NULL: they are. */
static const struct {
    const char *preset, *first, *second, *third;
    const char *key, *value, *range;
} contradictions[] = {
    {"hardened", "payload_bytes=8192", "arena_bytes=16383", "slot_bytes=256", "arena_bytes", "16383", "16384"},
    {"hardened", "payload_bytes=1048576", "arena_bytes=4096", "queue=4", "arena_bytes", "4096", "2097152"},
    {"hardened", "payload_bytes=8192", "arena_bytes=16384", "slot_bytes=256", NULL, NULL, NULL},
    {"hardened", "payload_bytes=8192", "arena_bytes=auto", "slot_bytes=16", NULL, NULL, NULL},
    {"hardened", "payload_bytes=8192", "arena_bytes=4096", "slot_bytes=8192", NULL, NULL, NULL},
    {"hardened", "life=1000", "process_limit=1000", "start_limit=10", "life", "1000", "process_limit=1000"},
    {"reported", "life=1001", "process_limit=1000", "threads=1", "life", "1001", "below it, or never"},
    {"proposed", "life=86400000", "process_limit=86399999", "threads=1", "life", "86400000", "86399999"},
    {"reported", "life=999", "process_limit=1000", "threads=1", NULL, NULL, NULL},
    {"reported", "life=never", "process_limit=1", "threads=1", NULL, NULL, NULL},
    {"hardened", "workers=threads", "process_limit=60000", "threads=1", "process_limit", "60000", "never"},
    {"hardened", "workers=threads", "task_end=drain", "task_limit=100", "task_end", "drain", "kill"},
    {"hardened", "workers=threads", "task_end=kill", "task_limit=100", NULL, NULL, NULL},
    {"reported", "threads=1", "processes=1", "queue=1", NULL, NULL, NULL},
    {"proposed", "threads=64", "processes=256", "queue=65536", NULL, NULL, NULL},
    {"hardened", "threads=64", "processes=256", "queue=65536", NULL, NULL, NULL},
};

START_TEST(contradictions_name_key_value_and_range)
{
    struct wedge_pool_settings s = preset(contradictions[_i].preset);
    struct wedge_pool_err err = {0};
    const char *key = contradictions[_i].key;
    ck_assert_int_eq(wedge_pool_settings_set(&s, contradictions[_i].first, NULL), 0);
    ck_assert_int_eq(wedge_pool_settings_set(&s, contradictions[_i].second, NULL), 0);
    ck_assert_int_eq(wedge_pool_settings_set(&s, contradictions[_i].third, NULL), 0);
    ck_assert_int_eq(wedge_pool_settings_check(&s, &err), key ? -EINVAL : 0);
    ck_assert_int_eq(err.code, key ? -EINVAL : 0);
    if (!key)
        return;
    ck_assert_msg(strncmp(err.message, key, strlen(key)) == 0, "%s", err.message);
    ck_assert_msg(strstr(err.message, contradictions[_i].value) != NULL, "%s", err.message);
    ck_assert_msg(strstr(err.message, contradictions[_i].range) != NULL, "%s", err.message);
}
END_TEST

/* What an idle pool costs does not grow with it: 32 looks a second of the first threads, and 32 of all others. */
START_TEST(a_large_pool_looks_more_rarely)
{
    static const struct {
        int64_t processes, threads, first_ms, other_ms;
    } rows[] = {{1, 1, 1000, 1000}, {2, 16, 1000, 1000}, {32, 2, 1000, 2000}, {256, 64, 8000, 512000}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wedge_pool_settings settings = {.processes = rows[i].processes, .threads = rows[i].threads};
        ck_assert_int_eq(wedge_pool_idle_look_ms(&settings, 1), rows[i].first_ms);
        ck_assert_int_eq(wedge_pool_idle_look_ms(&settings, 2), rows[i].other_ms);
    }
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, a_large_pool_looks_more_rarely);
    tcase_add_test(t, presets_differ_where_the_table_says);
    tcase_add_test(t, unknown_preset_is_refused);
    tcase_add_loop_test(t, refusals_name_key_value_and_range, 0, sizeof(refusals) / sizeof(refusals[0]));
    tcase_add_loop_test(t, contradictions_name_key_value_and_range, 0,
                        sizeof(contradictions) / sizeof(contradictions[0]));
    tcase_add_test(t, settings_change_what_they_name);
    tcase_add_test(t, queue_auto_follows_the_workers);
    tcase_add_test(t, deadlines_do_not_overflow);
    tcase_add_test(t, cures_are_one_list);
}

int main(void)
{
    return wedge_test_main("settings", 10, fill);
}
