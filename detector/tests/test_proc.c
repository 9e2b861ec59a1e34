/* detector/proc: what the kernel writes is understood; what nobody should write is refused and sets nothing. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/kernel/clocks.h"
#include "detector/kernel/mounts.h"
#include "detector/kernel/proc.h"

#define STATUS_OF(tracer, nspid)                                                                                       \
    "Name:\tx\nState:\tS (sleeping)\nTracerPid:\t" tracer "\nUid:\t1000\t0\t0\t0\nGid:\t100\t0\t0\t0\nNSpid:\t" nspid  \
    "\nNSpgid:\t800\t0\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\nSigBlk:\t0000000000010000\nSigIgn:"      \
    "\t0000000000001000\nSigCgt:\t0000000180004002\n"                                                                  \
    "voluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t7\n"

START_TEST(test_stat)
{
    struct wedge_proc_stat s;
    ck_assert_int_eq(
        wedge_proc_stat_parse("77 (a) R (b\n) S 5 6 7 0 -1 4194304 1 2 3 4 10 20 0 0 20 0 3 0 12345 9 9\n", &s), 0);
    ck_assert_int_eq(s.pid, 77);
    ck_assert_str_eq(s.comm, "a) R (b\n");
    ck_assert_int_eq(s.state, 'S');
    ck_assert_int_eq(s.ppid, 5);
    ck_assert_int_eq(s.pgrp, 6);
    ck_assert_int_eq(s.session, 7);
    ck_assert_uint_eq(s.cpu_ticks, 30);
    ck_assert_uint_eq(s.start_ticks, 12345);
    ck_assert_int_eq(s.threads, 3);
    ck_assert(!s.kernel);
    ck_assert_int_eq(wedge_proc_stat_parse("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0\n", &s),
                     0);
    ck_assert(s.kernel);
}
END_TEST

static const char *const bad_stats[] = {
    "",
    "77",
    "77 (",
    "77 )x( S 5 6 7 0 -1 4194304 1 2 3 4 10 20 0 0 20 0 3 0 12345",
    "(x) S 5 6 7 0 -1 4194304 1 2 3 4 10 20 0 0 20 0 3 0 12345",
    "a (x) S 5 6 7 0 -1 4194304 1 2 3 4 10 20 0 0 20 0 3 0 12345",
    "77 (x) S 5 6 7 0 -1 4194304 1 2 3 4 10 20 0 0 20 0 3 0",
    "77 (x)",
    "77 (x) S five 6 7 0 -1 4194304 1 2 3 4 10 20 0 0 20 0 3 0 12345",
};
START_TEST(test_bad_stat)
{
    struct wedge_proc_stat s = {.pid = -4};
    ck_assert_int_eq(wedge_proc_stat_parse(bad_stats[_i], &s), -EBADMSG);
    ck_assert_int_eq(s.pid, -4);
}
END_TEST

/* As Linux 6.18 writes it; then what it does not write. */
static const struct {
    const char *text;
    bool sends;
    uint64_t signals;
} timers[] = {
    {"", false, 0},
    {"ID: 0\nsignal: 10/00005581bd7f2a10\nnotify: signal/pid.4711\nClockID: 1\n", true, 1u << 9},
    {"ID: 0\nsignal: 10/0\nnotify: none/pid.4711\nClockID: 1\n", false, 0},
    {"ID: 0\nsignal: 14/0\nnotify: signal/tid.9\nClockID: 1\nID: 1\nsignal: 64/0\nnotify: signal/pid.9\n", true,
     1u << 13 | 1ull << 63},
    {"notify: signal/pid.4711\n", true, UINT64_MAX},
    {"signal: 65/0\nnotify: signal/pid.4711", true, UINT64_MAX},
    {"signal: x\nnotify: signal/pid.4711", true, UINT64_MAX},
};
START_TEST(test_timers)
{
    uint64_t signals = 77;
    ck_assert(wedge_proc_timers_parse(timers[_i].text, &signals) == timers[_i].sends);
    ck_assert_uint_eq(signals, timers[_i].signals);
}
END_TEST

static const struct {
    const char *text;
    bool good;
    int64_t ns;
} clocks[] = {
    {"monotonic           864000         5\nboottime            0         0\n", true, 864000000000005},
    {"monotonic           -3         500000000\nboottime            0         0\n", true, -2500000000},
    {"monotonic 0 0", true, 0},
    {"", false, 7},
    {"boottime 1 1\n", false, 7},
    {"monotonic\n", false, 7},
    {"monotonic 5\n", false, 7},
    {"monotonic 5 -1\n", false, 7},
    {"monotonic 5 1000000000\n", false, 7},
    {"monotonic 9223372036854775807 0\n", false, 7},
    {"monotonic x 0\n", false, 7},
};
START_TEST(test_clocks)
{
    int64_t ns = 7;
    ck_assert(wedge_clocks_parse(clocks[_i].text, &ns) == clocks[_i].good);
    ck_assert_int_eq(ns, clocks[_i].ns);
    ck_assert_int_eq(wedge_clocks_ahead(getpid(), 0, &ns), 0);
    ck_assert_int_eq(ns, 0);
}
END_TEST

START_TEST(test_status)
{
    struct wedge_proc_status s;
    ck_assert_int_eq(wedge_proc_status_parse(STATUS_OF("42", "900\t31\t3"), &s), 0);
    ck_assert_int_eq(s.tracer, 42);
    ck_assert_int_eq(s.ns_tid, 3);
    ck_assert_int_eq(s.tids.n, 3);
    ck_assert_int_eq(s.tids.numbers[1], 31);
    ck_assert_int_eq(s.groups.n, 2);
    ck_assert_int_eq(s.groups.numbers[0], 800);
    ck_assert_int_eq(s.groups.numbers[1], 0);
    /* More namespaces than there is room for: the innermost counts all the same. */
    ck_assert_int_eq(wedge_proc_status_parse(STATUS_OF("42", "1\t2\t3\t4\t5\t6\t7\t8\t9\t10"), &s), 0);
    ck_assert_int_eq(s.ns_tid, 10);
    ck_assert_int_eq(s.tids.n, 10);
    ck_assert_int_eq(s.tids.numbers[WEDGE_PROC_NAMESPACES - 1], 8);
    ck_assert_int_eq(wedge_proc_status_parse(STATUS_OF("42", "900\t31\t3"), &s), 0);
    ck_assert_int_eq(s.uid, 1000);
    ck_assert_uint_eq(s.switches, 157);
    ck_assert_uint_eq(s.sig_pending, 1);
    ck_assert_uint_eq(s.sig_shared_pending, 2);
    ck_assert_uint_eq(s.sig_blocked, 0x10000);
    ck_assert_uint_eq(s.sig_ignored, 0x1000);
    ck_assert_uint_eq(s.sig_caught, 0x180004002);
    ck_assert(!s.dumping);
    ck_assert_int_eq(wedge_proc_status_parse("CoreDumping:\t0\n" STATUS_OF("0", "3"), &s), 0);
    ck_assert(!s.dumping);
    ck_assert_int_eq(wedge_proc_status_parse("CoreDumping:\t1\nCpus_allowed:\t3\n" STATUS_OF("0", "3"), &s), 0);
    ck_assert(s.dumping);
}
END_TEST

static const char *const bad_statuses[] = {
    "",
    "\n\n\n",
    "Name:\tx\n",
    STATUS_OF("", "1"),
    STATUS_OF("4x", "1"),
    STATUS_OF("0", ""),
    STATUS_OF("0", "0"),
    STATUS_OF("0", "-3"),
    STATUS_OF("0", "99999999999"),
    "TracerPid:\t0\nUid:\t0\nGid:\t0\nNSpid:\t1\nSigPnd:\t0\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\nvoluntary_"
    "ctxt_"
    "switches:\t1\n"
    "nonvoluntary_ctxt_switches:\t1\n", /* no NSpgid */
    "TracerPid:\t0\nUid:\t0\nGid:\t0\nNSpid:\t1\nNSpgid:\t1\nSigPnd:\tzz\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:"
    "\t0\nvoluntary_ctxt_switches:\t1\n"
    "nonvoluntary_ctxt_switches:\t1\n",
    "TracerPid:\t0\nUid:\t0\nGid:\t0\nNSpid:\t1\nNSpgid:\t1\nSigPnd:\t0\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:"
    "\t0\nvoluntary_ctxt_switches:\t1\n",
};
START_TEST(test_bad_status)
{
    struct wedge_proc_status s = {.tracer = -4};
    ck_assert_int_eq(wedge_proc_status_parse(bad_statuses[_i], &s), -EBADMSG);
    ck_assert_int_eq(s.tracer, -4);
}
END_TEST

START_TEST(test_syscall)
{
    struct wedge_proc_syscall c;
    ck_assert_int_eq(wedge_proc_syscall_parse("202 0x10 0x80 0x2 0x0 0x5 0xffffffffffffffff 0x7ffc 0x7f01\n", &c), 0);
    ck_assert_int_eq(c.number, 202);
    ck_assert_uint_eq(c.args[0], 0x10);
    ck_assert_uint_eq(c.args[5], UINT64_MAX);
    ck_assert_uint_eq(c.sp, 0x7ffc);
    ck_assert_uint_eq(c.pc, 0x7f01);
    ck_assert_int_eq(wedge_proc_syscall_parse("-1 0x7ffc 0x7f01\n", &c), 0);
    ck_assert_int_eq(c.number, -1);
    ck_assert_uint_eq(c.sp, 0x7ffc);
    ck_assert_uint_eq(c.args[0], 0);
    ck_assert_int_eq(wedge_proc_syscall_parse("running\n", &c), 0);
    ck_assert_int_eq(c.number, -1);
    ck_assert_uint_eq(c.pc, 0);
}
END_TEST

static const char *const bad_syscalls[] = {
    "",
    "runningx\n",
    "202\n",
    "202 0x1 0x2\n",
    "202 0x1 0x2 0x3 0x4 0x5 0x6 0x7\n",
    "-2 0x1 0x2\n",
    "-1 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n",
    "x 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n",
};
START_TEST(test_bad_syscall)
{
    struct wedge_proc_syscall c = {.number = -9};
    ck_assert_int_eq(wedge_proc_syscall_parse(bad_syscalls[_i], &c), -EBADMSG);
    ck_assert_int_eq(c.number, -9);
}
END_TEST

START_TEST(test_map)
{
    char shared[] = "7f00-8f00 rw-s 00001000 00:1a 4711                     /memfd:a b (deleted)\n";
    char code[] = "1000-2000 r-xp 00000000 fe:00 12 /usr/lib/x (deleted)y\n",
         plain[] = "1000-2000 rw-p 00000000 00:00 0 ";
    struct wedge_proc_map m;
    ck_assert_int_eq(wedge_proc_map_parse(shared, &m), 0);
    ck_assert_uint_eq(m.start, 0x7f00);
    ck_assert_uint_eq(m.end, 0x8f00);
    ck_assert_uint_eq(m.offset, 0x1000);
    ck_assert_uint_eq(m.dev_minor, 0x1a);
    ck_assert_uint_eq(m.inode, 4711);
    ck_assert(m.shared && m.deleted && !m.executable);
    ck_assert_str_eq(m.path, "/memfd:a b");
    ck_assert_int_eq(wedge_proc_map_parse(code, &m), 0);
    ck_assert(!m.shared && !m.deleted && m.executable);
    ck_assert_str_eq(m.path, "/usr/lib/x (deleted)y");
    ck_assert_int_eq(wedge_proc_map_parse(plain, &m), 0);
    ck_assert_str_eq(m.path, "");
}
END_TEST

static const char *const bad_maps[] = {
    "",
    "garbage",
    "1000-2000",
    "2000-1000 rw-p 0 00:00 0 ",
    "1000-1000 rw-p 0 00:00 0 ",
    "1000-2000 rw 0 00:00 0 ",
    "1000-2000 rw-p 0 00 0 ",
    "1000-2000 rw-p 0 00:00",
};
START_TEST(test_bad_map)
{
    char line[128];
    struct wedge_proc_map m = {.start = 5};
    snprintf(line, sizeof(line), "%s", bad_maps[_i]);
    ck_assert_int_eq(wedge_proc_map_parse(line, &m), -EBADMSG);
    ck_assert_uint_eq(m.start, 5);
}
END_TEST

/* The kernel's own files of this very process. */
START_TEST(test_real_files)
{
    char text[4096];
    struct wedge_proc_stat stat;
    struct wedge_proc_status status;
    ck_assert_int_gt(wedge_proc_read(getpid(), 0, "stat", text, sizeof(text)), 0);
    ck_assert_int_eq(wedge_proc_stat_parse(text, &stat), 0);
    ck_assert_int_eq(stat.pid, getpid());
    ck_assert_int_eq(stat.ppid, getppid());
    ck_assert_int_gt(wedge_proc_read(getpid(), getpid(), "status", text, sizeof(text)), 0);
    ck_assert_int_eq(wedge_proc_status_parse(text, &status), 0);
    ck_assert_int_eq(status.uid, getuid());

    pid_t *list;
    size_t n;
    ck_assert_int_eq(wedge_proc_list(getpid(), 100, &list, &n), 0);
    bool listed = false; /* not alone: ThreadSanitizer has a thread of its own */
    for (size_t i = 0; i < n; i++)
        listed |= list[i] == getpid();
    ck_assert(listed);
    free(list);
    ck_assert_int_eq(wedge_proc_list(0, 1, &list, &n), -EOVERFLOW);
    ck_assert_int_eq(wedge_proc_list(INT32_MAX, 100, &list, &n), -ENOENT);
}
END_TEST

START_TEST(test_reads_are_bounded)
{
    char text[8], *all;
    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(wedge_proc_read(getpid(), 0, "status", text, sizeof(text)), 7);
    ck_assert_uint_eq(strlen(text), 7);
    ssize_t len = wedge_proc_read_all(getpid(), 0, "maps", 16384, &all);
    ck_assert_int_gt(len, 0);
    ck_assert_uint_eq((size_t)len, strlen(all));
    ck_assert_uint_le(strlen(all), 16384);
    free(all);
    ck_assert_int_eq(wedge_proc_read(getpid(), 0, "nothing", text, sizeof(text)), -ENOENT);
}
END_TEST

START_TEST(test_memory)
{
    int value = 4711, got = 0;
    ck_assert_int_eq(wedge_proc_memory(getpid(), (uint64_t)(uintptr_t)&value, &got, sizeof(got)), 0);
    ck_assert_int_eq(got, 4711);
    ck_assert_int_eq(wedge_proc_memory(getpid(), 8, &got, sizeof(got)), -EFAULT);
    /* The second half is not there: a part is not enough. */
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), buf[16];
    ck_assert_ptr_ne(two, MAP_FAILED);
    ck_assert_int_eq(munmap(two + page, page), 0);
    ck_assert_int_eq(wedge_proc_memory(getpid(), (uint64_t)(uintptr_t)(two + page - 8), buf, sizeof(buf)), -EFAULT);
    munmap(two, page);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

START_TEST(test_served_devices)
{
    static const char text[] = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
                               "40 35 0:64 / /tmp/a\\040-\\040fuse rw - fuse.slow slow rw\n"
                               "41 35 0:65 / /b rw shared:3 - fuse x rw\n"
                               "42 35 0:66 / /c rw - fusectl fusectl rw\n"
                               "43 35 0:67 / /d rw - tmpfs fuse rw\n"
                               "44 35 0:68 /e";
    ck_assert(!wedge_mounts_parse(text, 98, 0));
    ck_assert(wedge_mounts_parse(text, 0, 64));
    ck_assert(wedge_mounts_parse(text, 0, 65));
    ck_assert(!wedge_mounts_parse(text, 0, 66));
    ck_assert(!wedge_mounts_parse(text, 0, 67));
    ck_assert(!wedge_mounts_parse(text, 0, 68));
    ck_assert(!wedge_mounts_parse(text, 0, 6));
    ck_assert(!wedge_mounts_parse("", 0, 64));
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_served_devices);
    tcase_add_test(tcase, test_stat);
    tcase_add_loop_test(tcase, test_bad_stat, 0, COUNT(bad_stats));
    tcase_add_loop_test(tcase, test_timers, 0, COUNT(timers));
    tcase_add_loop_test(tcase, test_clocks, 0, COUNT(clocks));
    tcase_add_test(tcase, test_status);
    tcase_add_loop_test(tcase, test_bad_status, 0, COUNT(bad_statuses));
    tcase_add_test(tcase, test_syscall);
    tcase_add_loop_test(tcase, test_bad_syscall, 0, COUNT(bad_syscalls));
    tcase_add_test(tcase, test_map);
    tcase_add_loop_test(tcase, test_bad_map, 0, COUNT(bad_maps));
    tcase_add_test(tcase, test_real_files);
    tcase_add_test(tcase, test_reads_are_bounded);
    tcase_add_test(tcase, test_memory);
}

int main(void)
{
    return wedge_test_main("proc", 30, fill);
}
