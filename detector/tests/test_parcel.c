/* detector/parcel: what goes in comes out, in pieces of any size; what is not right ends the taking and changes nobody
 * else's threads. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/stacks/parcel.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

static struct wedge_proc procs[2];
static struct wedge_thread threads[3];
static struct wedge_snapshot snapshot;
static struct wedge_parcel_taker taker;
static bool open_procs[2];
static int wants, want_thread, want_answer;
static uint64_t want_need;

static int on_want(void *arg, int thread, uint64_t need)
{
    (void)arg;
    wants++;
    want_thread = thread;
    want_need = need;
    return want_answer;
}

/* Two processes, of two threads and of one. */
static void setup(void)
{
    memset(procs, 0, sizeof(procs));
    memset(threads, 0, sizeof(threads));
    memset(&snapshot, 0, sizeof(snapshot));
    obstack_begin(&snapshot.mem, 4096);
    snapshot.procs = procs;
    snapshot.n_procs = 2;
    snapshot.threads = threads;
    snapshot.n_threads = 3;
    procs[0].n_threads = 2;
    procs[1].first_thread = 2;
    procs[1].n_threads = 1;
    threads[2].proc = 1;
    open_procs[0] = open_procs[1] = true;
    wants = want_answer = 0;
    for (int i = 0; i < 3; i++)
        threads[i].stack_note = "";
    taker = (struct wedge_parcel_taker){.snapshot = &snapshot, .open = open_procs, .want = on_want};
}

static void teardown(void)
{
    wedge_parcel_taker_free(&taker);
    obstack_free(&snapshot.mem, NULL);
}

/* ---- a round trip ---- */

static size_t send_some(char *buf, size_t size)
{
    static struct wedge_parcel_sender sender;
    int ends[2];
    struct wedge_frame frames[3] = {
        {.pc = 0x1000,
         .module_offset = 0x10,
         .function = "read",
         .module = "/lib/libc.so.6",
         .build_id = "ab",
         .libc = true},
        {.pc = 0x2000,
         .module_offset = 0x20,
         .function = "f",
         .file = "a.c",
         .line = 7,
         .module = "/bin/x",
         .build_id = "",
         .inlined = true},
        {.pc = 0x3000, .module_offset = 0x30, .module = "", .build_id = "", .signal = true},
    };
    struct wedge_thread one = {.frames = frames, .n_frames = 3, .stack_note = "", .callback_function = "cb"};
    struct wedge_thread none = {.stack_note = "no stack: gone"};
    memset(&sender, 0, sizeof(sender));
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    sender.out = ends[1];
    wedge_parcel_send_thread(&sender, &one, 0);
    wedge_parcel_send_want(&sender, 1, 0x7fff0000);
    wedge_parcel_send_thread(&sender, &none, 1);
    wedge_parcel_send_done(&sender, 0);
    wedge_parcel_send_failed(&sender, 1, "no memory");
    ck_assert_int_eq(sender.error, 0);
    ssize_t n = read(ends[0], buf, size);
    ck_assert_int_gt(n, 0);
    close(ends[0]);
    close(ends[1]);
    return (size_t)n;
}

START_TEST(test_round_trip)
{
    char buf[4096];
    static const size_t steps[] = {1, 7, 4096};
    size_t n = send_some(buf, sizeof(buf));
    for (size_t at = 0; at < n; at += steps[_i])
        ck_assert_int_eq(wedge_parcel_take(&taker, buf + at, n - at < steps[_i] ? n - at : steps[_i]), 0);
    ck_assert_uint_eq(threads[0].n_frames, 3);
    const struct wedge_frame *f = threads[0].frames;
    ck_assert_str_eq(f[0].function, "read");
    ck_assert_str_eq(f[0].module, "/lib/libc.so.6");
    ck_assert(f[0].libc && !f[0].signal && !f[0].inlined && !f[0].file);
    ck_assert_str_eq(f[1].file, "a.c");
    ck_assert(f[1].inlined && f[1].line == 7 && f[1].module_offset == 0x20);
    ck_assert(f[2].signal && !f[2].function && f[2].pc == 0x3000);
    ck_assert_str_eq(f[2].module, "");
    ck_assert_str_eq(threads[0].callback_function, "cb");
    ck_assert_str_eq(threads[1].stack_note, "no stack: gone");
    ck_assert_str_eq(threads[2].stack_note, "no memory");
    ck_assert(!open_procs[0] && !open_procs[1]);
    ck_assert_int_eq(wants, 1);
    ck_assert_int_eq(want_thread, 1);
    ck_assert_uint_eq(want_need, 0x7fff0000);
}
END_TEST

/* The same array of frames goes over once, and is one array again; one of another process is none of it. */
START_TEST(test_alike)
{
    static struct wedge_parcel_sender sender;
    char buf[4096];
    int ends[2];
    struct wedge_frame frames[40] = {{.pc = 0x1000, .function = "read", .module = "", .build_id = ""}};
    for (size_t i = 1; i < 40; i++)
        frames[i] = frames[0];
    struct wedge_thread one = {.frames = frames, .n_frames = 40, .stack_note = ""}, two = one, other = one;
    two.stack_note = "cut";
    two.callback_function = "cb";
    memset(&sender, 0, sizeof(sender));
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    sender.out = ends[1];
    wedge_parcel_send_thread(&sender, &one, 0);
    size_t before = sender.len;
    wedge_parcel_send_thread(&sender, &two, 1);
    ck_assert_uint_lt(sender.len - before, 100);
    wedge_parcel_send_done(&sender, 0);
    wedge_parcel_send_thread(&sender, &other, 2);
    wedge_parcel_send_done(&sender, 1);
    ck_assert_int_eq(sender.error, 0);
    ssize_t n = read(ends[0], buf, sizeof(buf));
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(wedge_parcel_take(&taker, buf, (size_t)n), 0);
    ck_assert_ptr_eq(threads[0].frames, threads[1].frames);
    ck_assert_uint_eq(threads[1].n_frames, 40);
    ck_assert_str_eq(threads[0].stack_note, "");
    ck_assert_str_eq(threads[1].stack_note, "cut");
    ck_assert_str_eq(threads[1].callback_function, "cb");
    ck_assert_ptr_null(threads[0].callback_function);
    ck_assert_uint_eq(threads[2].n_frames, 40);
    ck_assert_ptr_ne(threads[2].frames, threads[0].frames);
    ck_assert_str_eq(threads[2].frames[39].function, "read");
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(test_answer_refused)
{
    char buf[4096];
    size_t n = send_some(buf, sizeof(buf));
    want_answer = -EPIPE;
    ck_assert_int_eq(wedge_parcel_take(&taker, buf, n), -EPIPE);
    ck_assert(open_procs[0]);
}
END_TEST

/* ---- what must be refused ---- */

#define U32(x)                                                                                                         \
    (uint8_t)(x), (uint8_t)((uint32_t)(x) >> 8), (uint8_t)((uint32_t)(x) >> 16), (uint8_t)((uint32_t)(x) >> 24)
#define HEADER(k, n)  U32(k), U32(n)
#define ZERO8         0, 0, 0, 0, 0, 0, 0, 0
#define STRING_A      HEADER(1, 1), 'a'
#define EMPTY(thread) HEADER(2, 16), U32(thread), U32(0), U32(0), U32(0)
#define FRAME(fn, fl) ZERO8, ZERO8, U32(fn), U32(0), U32(0), U32(0), U32(0), U32(fl)
#define DONE(proc)    HEADER(4, 8), U32(proc), U32(0)
#define CASE(text, ...)                                                                                                \
    {                                                                                                                  \
        text, (const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__})                       \
    }
static const struct bad {
    const char *what;
    const unsigned char *bytes;
    size_t len;
} bad[] = {
    CASE("no kind", HEADER(0, 0)),
    CASE("an unknown kind", HEADER(7, 0)),
    CASE("a message that is too long", HEADER(2, 0x7fffffff)),
    CASE("an empty string", HEADER(1, 0)),
    CASE("a string with a NUL", HEADER(1, 2), 'a', 0),
    CASE("a string that is too long", HEADER(1, 8193)),
    CASE("a thread that is not there", EMPTY(3)),
    CASE("a negative thread", EMPTY(-1)),
    CASE("a thread twice", EMPTY(0), EMPTY(0)),
    CASE("a thread of a process that is done", EMPTY(0), EMPTY(1), DONE(0), EMPTY(1)),
    CASE("half a thread", HEADER(2, 12), U32(0), U32(0), U32(0)),
    CASE("fewer frames than it says", HEADER(2, 16), U32(0), U32(0), U32(0), U32(1)),
    CASE("more frames than it says", HEADER(2, 64), U32(0), U32(0), U32(0), U32(0), FRAME(0, 0)),
    CASE("too many frames", HEADER(2, 16), U32(0), U32(0), U32(0), U32(0xffffffff)),
    CASE("a note that never came", HEADER(2, 16), U32(0), U32(1), U32(0), U32(0)),
    CASE("a callback that never came", HEADER(2, 16), U32(0), U32(0), U32(9), U32(0)),
    CASE("a name that never came", STRING_A, HEADER(2, 64), U32(0), U32(0), U32(0), U32(1), FRAME(2, 0)),
    CASE("unknown flags", HEADER(2, 64), U32(0), U32(0), U32(0), U32(1), FRAME(0, 8)),
    CASE("a negative line", HEADER(2, 64), U32(0), U32(0), U32(0), U32(1), ZERO8, ZERO8, U32(0), U32(0), U32(0), U32(0),
         U32(-1), U32(0)),
    CASE("done before its threads came", EMPTY(0), DONE(0)),
    CASE("a process that is not there", DONE(2)),
    CASE("a negative process", DONE(-1)),
    CASE("done twice", EMPTY(2), DONE(1), DONE(1)),
    CASE("failed for a reason that never came", HEADER(5, 8), U32(0), U32(1)),
    CASE("half an alike", EMPTY(0), HEADER(6, 12), U32(1), U32(0), U32(0)),
    CASE("alike to a thread that did not come", HEADER(6, 16), U32(1), U32(0), U32(0), U32(0)),
    CASE("alike to itself", HEADER(6, 16), U32(1), U32(0), U32(0), U32(1)),
    CASE("alike to a thread of another process", EMPTY(2), HEADER(6, 16), U32(0), U32(0), U32(0), U32(2)),
    CASE("alike to a thread that is not there", EMPTY(0), HEADER(6, 16), U32(1), U32(0), U32(0), U32(3)),
    CASE("alike to a negative thread", EMPTY(0), HEADER(6, 16), U32(1), U32(0), U32(0), U32(-1)),
    CASE("alike, of a thread that came", EMPTY(0), EMPTY(1), HEADER(6, 16), U32(1), U32(0), U32(0), U32(0)),
    CASE("alike with a note that never came", EMPTY(0), HEADER(6, 16), U32(1), U32(1), U32(0), U32(0)),
    CASE("alike with a callback that never came", EMPTY(0), HEADER(6, 16), U32(1), U32(0), U32(1), U32(0)),
    CASE("half a wish", HEADER(3, 8), U32(0), U32(0)),
    CASE("a wish for a thread that is not there", HEADER(3, 16), U32(7), U32(0), ZERO8),
    CASE("a wish for a thread that came", EMPTY(0), HEADER(3, 16), U32(0), U32(0), ZERO8),
};

START_TEST(test_bad)
{
    int rc = 0;
    /* Byte by byte: a message must not be judged, nor read past, before it is there. */
    for (size_t i = 0; i < bad[_i].len && !rc; i++)
        rc = wedge_parcel_take(&taker, (const char *)bad[_i].bytes + i, 1);
    if (!rc) { /* refused for what it announces, at the latest when that comes */
        static char rest[WEDGE_PARCEL_STRING_MAX + 1];
        memset(rest, 'a', sizeof(rest));
        rc = wedge_parcel_take(&taker, rest, sizeof(rest));
    }
    ck_assert_msg(rc == -EBADMSG, "%s: %d", bad[_i].what, rc);
}
END_TEST

START_TEST(test_too_much)
{
    static char block[1 << 20];
    int rc = 0;
    /* Strings of the largest size, one after the other. */
    for (size_t at = 0; at + 8 + WEDGE_PARCEL_STRING_MAX <= sizeof(block); at += 8 + WEDGE_PARCEL_STRING_MAX) {
        const uint32_t header[2] = {1, WEDGE_PARCEL_STRING_MAX};
        memcpy(block + at, header, sizeof(header));
        memset(block + at + 8, 'x', WEDGE_PARCEL_STRING_MAX);
    }
    size_t whole = sizeof(block) / (8 + WEDGE_PARCEL_STRING_MAX) * (8 + WEDGE_PARCEL_STRING_MAX);
    for (int i = 0; i < 100 && !rc; i++)
        rc = wedge_parcel_take(&taker, block, whole);
    ck_assert_int_eq(rc, -E2BIG);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_round_trip, 0, 3);
    tcase_add_test(tcase, test_alike);
    tcase_add_test(tcase, test_answer_refused);
    tcase_add_loop_test(tcase, test_bad, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tcase, test_too_much);
}

int main(void)
{
    return wedge_test_main("parcel", 60, fill);
}
