/* The kernel's list of file locks, and what a target may make of the texts that the detector reads for it. */
#include "detector/kernel/file_locks.h"

#include "detector/kernel/fdinfo.h"

#include <errno.h>
#include <stdlib.h>

#include "base/tests/suite.h"

static const char list[] = "1: FLOCK  ADVISORY  WRITE 32653 fe:00:10043622 0 EOF\n"
                           "1: -> FLOCK  ADVISORY  WRITE 32703 fe:00:10043622 0 EOF\n"
                           "2: OFDLCK ADVISORY  READ  -1 00:1a:7 128 255\n"
                           "2: -> POSIX  ADVISORY  WRITE 32714 00:1a:7 0 EOF\n"
                           "2:  -> OFDLCK ADVISORY  WRITE -1 00:1a:7 0 EOF\n"
                           "3: LEASE  ACTIVE    READ  77 fe:00:9 0 EOF\n"
                           "4: POSIX  *NOINODE* WRITE 78 <none>:0 0 EOF\n"
                           "5: DELEG  BREAKING  UNLCK 79 fe:00:9 0 EOF\n";

START_TEST(test_list)
{
    struct wedge_file_lock *locks = NULL;
    size_t n = 0;
    ck_assert_int_eq(wedge_file_locks_parse(list, &locks, &n), 0);
    ck_assert_uint_eq(n, 5);
    ck_assert_uint_eq(locks[0].id, 1);
    ck_assert(!locks[0].waits && locks[0].write);
    ck_assert_int_eq(locks[0].kind, WEDGE_LOCK_FLOCK);
    ck_assert_int_eq(locks[0].pid, 32653);
    ck_assert_uint_eq(locks[0].dev_major, 0xfe);
    ck_assert_uint_eq(locks[0].inode, 10043622);
    ck_assert_uint_eq(locks[0].end, UINT64_MAX);
    ck_assert(locks[1].waits && locks[1].id == 1 && locks[1].pid == 32703);
    ck_assert(!wedge_file_lock_same(&locks[0], &locks[1]));
    ck_assert_int_eq(locks[2].kind, WEDGE_LOCK_OFD);
    ck_assert(!locks[2].write);
    ck_assert_int_eq(locks[2].pid, -1);
    ck_assert_uint_eq(locks[2].start, 128);
    ck_assert_uint_eq(locks[2].end, 255);
    ck_assert_int_eq(locks[3].kind, WEDGE_LOCK_POSIX);
    ck_assert(locks[4].waits && locks[4].id == 2);
    free(locks);
}
END_TEST

/* The line of fdinfo is that of the list, in another order. */
START_TEST(test_same)
{
    struct wedge_file_lock a, b;
    ck_assert_int_eq(wedge_file_lock_parse("\t9: OFDLCK ADVISORY  READ -1 00:1a:7 128 255\n", &a), 0);
    ck_assert_int_eq(wedge_file_lock_parse("2: OFDLCK ADVISORY  READ  -1 00:1a:7 128 255", &b), 0);
    ck_assert(wedge_file_lock_same(&a, &b));
    b.start++;
    ck_assert(!wedge_file_lock_same(&a, &b));
}
END_TEST

static const char *const bad_lines[] = {
    "",
    "1",
    "1:",
    "1: ->",
    "1: -> ",
    "x: FLOCK  ADVISORY  WRITE 1 fe:00:1 0 EOF",
    "1: FLOCKS ADVISORY  WRITE 1 fe:00:1 0 EOF",
    "1: FLOCK  ADVISORY  WRITES 1 fe:00:1 0 EOF",
    "1: FLOCK  ADVISORY  UNLCK 1 fe:00:1 0 EOF",
    "1: FLOCK  ADVISORY  WRITE x fe:00:1 0 EOF",
    "1: FLOCK  ADVISORY  WRITE 1 fe:00 0 EOF",
    "1: FLOCK  ADVISORY  WRITE 1 <none>:0 0 EOF",
    "1: FLOCK  ADVISORY  WRITE 1 fe:00:1 0",
    "1: FLOCK  ADVISORY  WRITE 1 fe:00:1 0 END",
    "1: FLOCK  ADVISORY  WRITE 1 fe:00:1 EOF EOF",
    "1: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA B C 1 fe:00:1 0 EOF",
};
START_TEST(test_bad_line)
{
    struct wedge_file_lock lock = {.inode = 42};
    ck_assert_int_eq(wedge_file_lock_parse(bad_lines[_i], &lock), -EBADMSG);
    ck_assert_uint_eq(lock.inode, 42);
}
END_TEST

START_TEST(test_inode)
{
    uint64_t inode = 0;
    int mount = 0;
    ck_assert(wedge_fdinfo_inode("pos:\t0\nflags:\t02\nmnt_id:\t27\nino:\t10043622\nlock:\t", &inode, &mount));
    ck_assert_uint_eq(inode, 10043622);
    ck_assert_int_eq(mount, 27);
    ck_assert(!wedge_fdinfo_inode("pos:\t0\nflags:\t02\nmnt_id:\t27\n", &inode, &mount)); /* before Linux 5.14 */
    ck_assert(!wedge_fdinfo_inode("", &inode, &mount));
}
END_TEST

START_TEST(test_mount)
{
    static const char mounts[] = "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
                                 "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"
                                 "28 27 0:44 / /mnt/a\\040b rw master:3 propagate_from:2 - nfs4 srv:/x rw\n"
                                 "29 27 0:45 / /mnt/cut rw,relatime\n"
                                 "30 27 0:46 / /mnt/fuse rw - fuse.sshfs x rw\n";
    uint32_t major = 0, minor = 0;
    bool local = false;
    ck_assert(wedge_file_lock_mount(mounts, 27, &major, &minor, &local));
    ck_assert(local);
    ck_assert_uint_eq(major, 254);
    ck_assert_uint_eq(minor, 0);
    ck_assert(wedge_file_lock_mount(mounts, 28, &major, &minor, &local));
    ck_assert(!local);
    ck_assert_uint_eq(minor, 44);
    ck_assert(!wedge_file_lock_mount(mounts, 29, &major, &minor, &local));
    ck_assert(wedge_file_lock_mount(mounts, 30, &major, &minor, &local));
    ck_assert(!local);
    ck_assert(!wedge_file_lock_mount(mounts, 2, &major, &minor, &local));
    ck_assert(!wedge_file_lock_mount("", 2, &major, &minor, &local));
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_list);
    tcase_add_test(tcase, test_same);
    tcase_add_loop_test(tcase, test_bad_line, 0, (int)(sizeof(bad_lines) / sizeof(bad_lines[0])));
    tcase_add_test(tcase, test_inode);
    tcase_add_test(tcase, test_mount);
}

int main(void)
{
    return wedge_test_main("file_locks", 10, fill);
}
