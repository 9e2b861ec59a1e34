/*
 * What is read line by line costs by the line: sixteen times the lines take about sixteen times the time, where a parser that
 * looks through all that follows at every line takes more than a hundred. Measured in the thread's own processor time, the least of
 * several rounds, so that a busy machine does not matter.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/tests/suite.h"
#include "base/text.h"
#include "detector/kernel/fdinfo.h"
#include "detector/kernel/file_locks.h"
#include "detector/kernel/frozen.h"
#include "detector/kernel/mounts.h"
#include "detector/kernel/sockets.h"
#include "detector/stacks/target_memory.h"

enum { FEW = 2000, TIMES = 16, ROUNDS = 3 };
#define MOST_RATIO (3.0 * TIMES)
#define MOST_BYTES (16u << 20)

/* Each parses all lines of the text and returns how many it saw. */

static size_t locks(char *text)
{
    struct wedge_file_lock *all = NULL;
    size_t n = 0;
    ck_assert_int_eq(wedge_file_locks_parse(text, &all, &n), 0);
    free(all);
    return n;
}

static size_t own_locks(char *text)
{
    struct wedge_file_lock lock;
    const char *at = text, *line;
    size_t n = 0;
    while ((line = wedge_fdinfo_lock(&at)))
        n += wedge_file_lock_parse(line, &lock) == 0;
    return n;
}

static size_t lock_mount(char *text)
{
    uint32_t major, minor;
    bool local;
    return wedge_file_lock_mount(text, -1, &major, &minor, &local) ? 0 : SIZE_MAX; /* is in none, which takes all */
}

static size_t served(char *text)
{
    return wedge_mounts_parse(text, 0, 1) ? 0 : SIZE_MAX;
}

static size_t group_mount(char *text)
{
    char point[64];
    return wedge_frozen_mount(text, false, point, sizeof(point)) ? 0 : SIZE_MAX;
}

static size_t group(char *text)
{
    char path[64];
    return wedge_frozen_group(text, false, path, sizeof(path)) ? 0 : SIZE_MAX;
}

static size_t members(char *text)
{
    struct wedge_fdinfo_member m;
    const char *at = text;
    size_t n = 0;
    while (wedge_fdinfo_member(&at, &m) == 1)
        n++;
    return n;
}

static size_t connections(char *text)
{
    struct wedge_sockets sockets = {0};
    ck_assert_int_eq(wedge_sockets_parse_table(&sockets, text, false), 0);
    size_t n = sockets.n_inet;
    free(sockets.inet_sockets);
    return n + 1; /* the titles */
}

static size_t mappings(char *text)
{
    struct wedge_regions all = {0};
    ck_assert_int_eq(wedge_regions_parse(strdup(text), strlen(text), &all), 0);
    size_t n = all.n;
    wedge_regions_free(&all);
    return n;
}

static const struct {
    const char *name;
    size_t (*parse)(char *text);
    const char *line; /* %1$d is its number */
} parsers[] = {
    {"/proc/locks", locks, "%1$d: POSIX  ADVISORY  WRITE 32653 fe:00:10043622 %1$d %1$d\n"},
    {"fdinfo, locks", own_locks, "lock:\t%1$d: POSIX  ADVISORY  WRITE 32653 fe:00:10043622 %1$d %1$d\n"},
    {"fdinfo, members", members, "tfd: %1$8d events:       1d data:               1a  pos:0 ino:61b2 sdev:6\n"},
    {"mountinfo, of a lock", lock_mount, "%1$d 28 0:%1$d / /run/user/%1$d rw,nosuid - tmpfs tmpfs rw,size=804k\n"},
    {"mountinfo, served", served, "%1$d 28 1:%1$d / /run/user/%1$d rw,nosuid - tmpfs tmpfs rw,size=804k\n"},
    {"mountinfo, groups", group_mount, "%1$d 28 0:%1$d / /run/user/%1$d rw,nosuid - tmpfs tmpfs rw,size=804k\n"},
    {"cgroup", group, "%1$d:memory:/user.slice/user-1000.slice\n"},
    {"net/tcp", connections,
     "%1$4d: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 %1$d 2 0 20 4\n"},
    {"maps", mappings, "%1$08x000-%1$08x100 r--p 00000000 fe:00 %1$d    /usr/lib/x86_64-linux-gnu/libc.so.6\n"},
};
#define PARSERS ((int)(sizeof(parsers) / sizeof(parsers[0])))

static char *lines(const char *line, int n)
{
    struct wedge_text text = WEDGE_TEXT_INIT(MOST_BYTES);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    for (int i = 1; i <= n; i++)
        wedge_text_addf(&text, line, i);
#pragma GCC diagnostic pop
    ck_assert(!text.cut);
    return text.data;
}

static int64_t cpu_ns(void)
{
    struct timespec now;
    ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The least time that n lines took. */
static int64_t least_ns(int which, int n)
{
    char *text = lines(parsers[which].line, n);
    int64_t least = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t began = cpu_ns();
        size_t seen = parsers[which].parse(text);
        int64_t took = cpu_ns() - began;
        ck_assert_msg(seen == (size_t)n || seen == SIZE_MAX, "%s: %zu of %d lines", parsers[which].name, seen, n);
        least = took < least ? took : least;
    }
    free(text);
    return least > 0 ? least : 1;
}

START_TEST(test_cost)
{
    int64_t few = least_ns(_i, FEW), many = least_ns(_i, TIMES * FEW);
    ck_assert_msg((double)many < MOST_RATIO * (double)few, "%s: %d lines take %.3f ms, %d take %.3f ms",
                  parsers[_i].name, FEW, (double)few / 1e6, TIMES * FEW, (double)many / 1e6);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_cost, 0, PARSERS);
}

int main(void)
{
    return wedge_test_main("lines", 60, fill);
}
