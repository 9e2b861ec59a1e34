/* The arena from wedge's side: layout, seals, names, and copies that stay inside whatever a target scribbled. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/tests/suite.h"

static struct wedge_arena arena;
static struct wedge_err err;

static void make(void)
{
    ck_assert_int_eq(wedge_arena_create(&arena, 0, 42, &err), 0);
}

START_TEST(test_sealed_and_allocated)
{
    make();
    struct stat st;
    ck_assert_int_eq(fstat(arena.fd, &st), 0);
    ck_assert_int_eq(st.st_size, 8 << 20);
    ck_assert_int_ge(st.st_blocks * 512, 8 << 20);
    ck_assert_int_eq(ftruncate(arena.fd, 4096), -1);
    ck_assert_int_eq(ftruncate(arena.fd, 16 << 20), -1);
    ck_assert_int_eq(fcntl(arena.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    wedge_arena_destroy(&arena);
    ck_assert_ptr_null(arena.live);
    wedge_arena_destroy(&arena);
    wedge_arena_destroy(NULL);
}
END_TEST

START_TEST(test_sections_do_not_overlap)
{
    make();
    const struct wedge_arena_header *header = wedge_arena_header(&arena);
    ck_assert_uint_eq(header->magic, WEDGE_ARENA_MAGIC);
    ck_assert_uint_eq(header->total_bytes, arena.bytes);
    ck_assert_int_eq(header->launcher_pid, getpid());
    ck_assert_uint_eq(strlen(header->boot_id), 36);
    ck_assert_uint_ne(header->pidns_inode, 0);
    uint64_t end = 4096;
    for (int s = 0; s < WEDGE_SEC_COUNT; s++) {
        const struct wedge_arena_span *span = &header->sections[s];
        ck_assert_uint_ge(span->offset, end);
        ck_assert_uint_eq(span->offset % 64, 0);
        end = span->offset + (uint64_t)span->count * span->stride;
        if (s != WEDGE_SEC_RINGS) {
            ck_assert_ptr_eq(wedge_arena_live(&arena, (enum wedge_arena_section)s, 0), arena.live + span->offset);
            ck_assert_ptr_null(wedge_arena_live(&arena, (enum wedge_arena_section)s, span->count));
        }
    }
    ck_assert_uint_le(end, arena.bytes);
    ck_assert_uint_ge(header->ring_events, 64);
    ck_assert_uint_eq(header->ring_events & (header->ring_events - 1), 0);
    const struct wedge_arena_control *control = wedge_arena_live(&arena, WEDGE_SEC_CONTROL, 0);
    ck_assert_uint_eq(control->seed, 42);
    wedge_arena_destroy(&arena);
}
END_TEST

START_TEST(test_too_small)
{
    struct wedge_arena none = {.fd = 77};
    ck_assert_int_eq(wedge_arena_create(&none, 4096, 0, &err), -EINVAL);
    ck_assert_int_eq(none.fd, 77);
    ck_assert_str_ne(err.remedy, "");
}
END_TEST

/* Where a file may not be so large the kernel would end us by a signal (setrlimit(2)). */
START_TEST(test_larger_than_a_file_may_be)
{
    struct wedge_arena none = {.fd = -1};
    struct rlimit before, few;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    few = (struct rlimit){.rlim_cur = 65536, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &few), 0);
    int rc = wedge_arena_create(&none, 0, 1, &err);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(rc, -EFBIG);
    ck_assert_ptr_nonnull(strstr(err.remedy, "ulimit -f"));
}
END_TEST

START_TEST(test_names)
{
    make();
    uint32_t a = wedge_arena_name(&arena, "pool.worker.got_task"), b = wedge_arena_name(&arena, "x");
    ck_assert_uint_ne(a, 0);
    ck_assert_uint_ne(a, b);
    ck_assert_uint_eq(wedge_arena_name(&arena, "pool.worker.got_task"), a);
    ck_assert_uint_eq(wedge_arena_name(&arena, ""), 0);
    char longest[57];
    memset(longest, 'n', 56);
    longest[56] = 0;
    ck_assert_uint_eq(wedge_arena_name(&arena, longest), 0);
    longest[55] = 0;
    ck_assert_uint_ne(wedge_arena_name(&arena, longest), 0);
    uint32_t added = 3;
    for (int i = 0;; i++) {
        char text[16];
        snprintf(text, sizeof(text), "n%d", i);
        if (wedge_arena_name(&arena, text) == 0)
            break;
        added++;
    }
    ck_assert_uint_eq(added, wedge_arena_count(WEDGE_SEC_NAMES) - 1); /* all but index 0 */
    ck_assert_uint_eq(wedge_arena_name(&arena, "x"), b);
    wedge_arena_destroy(&arena);
}
END_TEST

START_TEST(test_copy_is_checked)
{
    make();
    uint32_t name = wedge_arena_name(&arena, "torn");
    struct wedge_arena_name *live_name = wedge_arena_live(&arena, WEDGE_SEC_NAMES, name);
    memset(live_name->text, 'A', sizeof(live_name->text)); /* a target scribbled: no NUL left */
    struct wedge_arena_proc *old = wedge_arena_live(&arena, WEDGE_SEC_PROCS, 3);
    struct wedge_arena_proc *young = wedge_arena_live(&arena, WEDGE_SEC_PROCS, 9);
    struct wedge_arena_proc *torn = wedge_arena_live(&arena, WEDGE_SEC_PROCS, 10);
    *old = (struct wedge_arena_proc){.gen = 2, .state = WEDGE_PROC_RUNNING, .pid = 50, .since_ns = 5};
    *young = (struct wedge_arena_proc){.gen = 2, .state = WEDGE_PROC_RUNNING, .pid = 50, .since_ns = 6};
    *torn = (struct wedge_arena_proc){.gen = 3, .state = WEDGE_PROC_RUNNING, .pid = 50, .since_ns = 9};
    struct wedge_arena_thread *thread = wedge_arena_live(&arena, WEDGE_SEC_THREADS, 1023);
    *thread = (struct wedge_arena_thread){.gen = 4, .tid = 51, .proc = 9, .event_seq = 0xfffffff0};

    struct wedge_arena_copy copy;
    ck_assert_int_eq(wedge_arena_copy(&arena, true, &copy, &err), 0);
    uint32_t slot = 0;
    ck_assert_ptr_nonnull(wedge_arena_proc_of(&copy, 50, &slot));
    ck_assert_uint_eq(slot, 9);
    ck_assert_ptr_null(wedge_arena_proc_of(&copy, 51, &slot));
    ck_assert_ptr_nonnull(wedge_arena_thread_of(&copy, 50, 51, &slot));
    ck_assert_uint_eq(slot, 1023);
    ck_assert_ptr_null(wedge_arena_thread_of(&copy, 50, 52, &slot));
    ck_assert_uint_eq(strlen(wedge_arena_text(&copy, name)), 55);
    ck_assert_str_eq(wedge_arena_text(&copy, 0), "");
    ck_assert_str_eq(wedge_arena_text(&copy, UINT32_MAX), "");
    for (uint32_t i = 0; i < 100; i++)
        ck_assert_ptr_null(wedge_arena_event(&copy, 1023, i)); /* sequence says written, the records do not */
    ck_assert_ptr_null(wedge_arena_event(&copy, 1024, 0));
    wedge_arena_copy_free(&copy);

    ck_assert_int_eq(wedge_arena_copy(&arena, false, &copy, &err), 0);
    ck_assert_ptr_nonnull(wedge_arena_at(&copy, WEDGE_SEC_OBJECTS, 0));
    ck_assert_ptr_null(wedge_arena_event(&copy, 1023, 0));
    wedge_arena_copy_free(&copy);
    wedge_arena_copy_free(NULL);
    wedge_arena_destroy(&arena);
}
END_TEST

START_TEST(test_open_checks_what_it_is_given)
{
    char path[64];
    make();
    struct wedge_arena other = {.fd = 77};
    snprintf(path, sizeof(path), "/proc/self/fd/%d", arena.fd);
    wedge_arena_name(&arena, "seen");
    ck_assert_int_eq(wedge_arena_open(&other, path, &err), 0);
    ck_assert_uint_eq(other.bytes, arena.bytes);
    ck_assert_uint_eq(wedge_arena_name(&other, "seen"), wedge_arena_name(&arena, "seen"));
    wedge_arena_destroy(&other);
    other.fd = 77;
    wedge_arena_header(&arena)->sections[WEDGE_SEC_RULES].stride = 8;
    ck_assert_int_eq(wedge_arena_open(&other, path, &err), -EPROTO);
    ck_assert_str_ne(err.remedy, "");
    wedge_arena_header(&arena)->magic = 1;
    ck_assert_int_eq(wedge_arena_open(&other, path, &err), -EBADMSG);
    ck_assert_int_eq(wedge_arena_open(&other, "/", &err), -EISDIR);
    ck_assert_int_eq(wedge_arena_open(&other, "/dev/null", &err), -EBADMSG);
    ck_assert_int_eq(wedge_arena_open(&other, "/no/such/file", &err), -ENOENT);
    ck_assert_int_eq(other.fd, 77);
    wedge_arena_destroy(&arena);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_sealed_and_allocated);
    tcase_add_test(tcase, test_sections_do_not_overlap);
    tcase_add_test(tcase, test_too_small);
    tcase_add_test(tcase, test_larger_than_a_file_may_be);
    tcase_add_test(tcase, test_names);
    tcase_add_test(tcase, test_copy_is_checked);
    tcase_add_test(tcase, test_open_checks_what_it_is_given);
}

int main(void)
{
    return wedge_test_main("arena", 10, fill);
}
