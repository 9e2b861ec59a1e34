/* detector/target_memory: the parser of maps against malformed ones, and that only constant memory is read. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/stacks/target_memory.h"

static int parse(const char *text, size_t len, struct wedge_regions *ret)
{
    char *copy = malloc(len + 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len);
    copy[len] = 0;
    int rc = wedge_regions_parse(copy, len, ret);
    if (rc)
        free(copy);
    return rc;
}

#define GOOD "00400000-00401000 r-xp 00001000 08:01 42         /bin/x\n"

static const char *const malformed[] = {
    "x\n",
    "\n",
    " " GOOD,
    "00400000\n",
    "00400000-\n",
    "-00401000 r-xp 00000000 08:01 42 /bin/x\n",
    "00400000-00401000\n",
    "00400000-00401000 \n",
    "00400000-00401000 r-x\n",
    "00400000-00401000 r-xp\n",
    "00400000-00401000 r-xp \n",
    "00400000-00401000 r-xp 0\n",
    "00400000-00401000 r-xp 0 08\n",
    "00400000-00401000 r-xp 0 08:\n",
    "00400000-00401000 r-xp 0 08:01\n",
    "00400000-00401000 r-xp 0 08:01 \n",
    "00400000-00401000 r-xp 0 08:01 -1 /bin/x\n",
    "00400000-00401000 r-xp 0 08:01 x /bin/x\n",
    "00400000-00401000 r-xp 0 08:01 42x /bin/x\n",
    "00400000-00401000 r-xp 0 08:01 99999999999999999999999 /bin/x\n",
    "00400000-00401000 R-xp 0 08:01 42 /bin/x\n",
    "00400000-00401000 rwxq 0 08:01 42 /bin/x\n",
    "00400000-00401000 xwrp 0 08:01 42 /bin/x\n",
    "00400000-00401000 r-xp 0 08:0G 42 /bin/x\n",
    "00400000-00401000 r-xp 0x0 08:01 42 /bin/x\n",
    "00401000-00400000 r-xp 0 08:01 42 /bin/x\n",
    "00400000-00400000 r-xp 0 08:01 42 /bin/x\n",
    "00000000000400000-00401000 r-xp 0 08:01 42 /bin/x\n",
    "00400000-fffffffffffffffff r-xp 0 08:01 42 /bin/x\n",
    "00400000 -00401000 r-xp 0 08:01 42 /bin/x\n",
    "0040A000-0040b000 r-xp 0 08:01 42 /bin/x\n",
    GOOD GOOD, /* overlapping */
    GOOD "00300000-00301000 r-xp 00000000 08:01 42 /bin/x\n", /* not ascending */
    GOOD "00400800-00402000 r-xp 00000000 08:01 42 /bin/x\n", /* overlapping in part */
    GOOD "00500000-00501000 r-xp 00000000 08:01 42 /bin/x", /* cut off */
    GOOD "\n",
};

START_TEST(test_malformed)
{
    struct wedge_regions regions = {.n = 77};
    int rc = parse(malformed[_i], strlen(malformed[_i]), &regions);
    if (rc == 0)
        wedge_regions_free(&regions);
    ck_assert_msg(rc == -EINVAL, "%d for: %s", rc, malformed[_i]);
    ck_assert_uint_eq(regions.n, 77);
}
END_TEST

START_TEST(test_nul_inside)
{
    struct wedge_regions regions;
    static const char text[] = "00400000-00401000 r-xp 00000000 08:01 42 /bin\0/x\n";
    ck_assert_int_eq(parse(text, sizeof(text) - 1, &regions), -EINVAL);
}
END_TEST

START_TEST(test_fields)
{
    static const char text[] =
        GOOD "00500000-00502000 rw-s 00000000 fe:0a 7 /tmp/a b\\012c (deleted)\n"
             "7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
             "7fff00000000-7fff00001000 r-xp 00000000 00:00 0                          [vdso]\n"
             "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
    struct wedge_regions regions;
    ck_assert_int_eq(parse(text, sizeof(text) - 1, &regions), 0);
    ck_assert_uint_eq(regions.n, 5);
    ck_assert_str_eq(regions.all[0].path, "/bin/x");
    ck_assert_uint_eq(regions.all[0].offset, 0x1000);
    ck_assert_uint_eq(regions.all[0].inode, 42);
    ck_assert(regions.all[0].read && !regions.all[0].write && regions.all[0].exec && !regions.all[0].deleted);
    ck_assert_str_eq(regions.all[1].path, "/tmp/a b\nc");
    ck_assert(regions.all[1].deleted && regions.all[1].write);
    ck_assert_uint_eq(regions.all[1].dev_major, 0xfe);
    ck_assert_uint_eq(regions.all[1].dev_minor, 0xa);
    ck_assert_str_eq(regions.all[2].path, "");
    ck_assert(!regions.all[2].read);
    ck_assert_str_eq(regions.all[3].path, "[vdso]");
    ck_assert_ptr_eq(wedge_regions_find(&regions, 0x400000), &regions.all[0]);
    ck_assert_ptr_eq(wedge_regions_find(&regions, 0x400fff), &regions.all[0]);
    ck_assert_ptr_null(wedge_regions_find(&regions, 0x401000));
    ck_assert_ptr_null(wedge_regions_find(&regions, 0));
    ck_assert_ptr_eq(wedge_regions_find(&regions, 0xffffffffff600fff), &regions.all[4]);
    ck_assert_ptr_null(wedge_regions_find(&regions, UINT64_MAX));
    wedge_regions_free(&regions);
    ck_assert_int_eq(parse("", 0, &regions), 0);
    ck_assert_ptr_null(wedge_regions_find(&regions, 0x400000));
    wedge_regions_free(&regions);
    wedge_regions_free(NULL);
}
END_TEST

/* Lines that somebody else parsed come to the same. */
START_TEST(test_of_lines)
{
    static const char text[] = "1000-2000 r-xp 00003000 08:01 17                         /lib/a\\012b.so (deleted)\n"
                               "2000-3000 rw-p 00000000 00:00 0 \n"
                               "4000-5000 ---s 00001000 fd:02 18    [heap]\n";
    struct wedge_proc_map maps[3];
    struct wedge_regions direct, made;
    char *whole = strdup(text), *lines = strdup(text), *line = lines;
    ck_assert_int_eq(wedge_regions_parse(whole, sizeof(text) - 1, &direct), 0);
    for (size_t i = 0; i < 3; i++) {
        char *next = strchr(line, '\n');
        *next = '\0';
        ck_assert_int_eq(wedge_proc_map_parse(line, &maps[i]), 0);
        line = next + 1;
    }
    ck_assert_int_eq(wedge_regions_of(maps, 3, &made), 0);
    free(lines); /* it has what it needs */
    ck_assert_uint_eq(made.n, direct.n);
    for (size_t i = 0; i < made.n; i++) {
        const struct wedge_region *a = &direct.all[i], *b = &made.all[i];
        ck_assert_str_eq(b->path, a->path);
        ck_assert(b->start == a->start && b->end == a->end && b->offset == a->offset && b->inode == a->inode);
        ck_assert(b->dev_major == a->dev_major && b->dev_minor == a->dev_minor && b->deleted == a->deleted);
        ck_assert(b->read == a->read && b->write == a->write && b->exec == a->exec);
    }
    wedge_regions_free(&direct);
    wedge_regions_free(&made);
    maps[0].path = maps[1].path = maps[2].path = "";
    maps[2].start = 0x2800; /* within the one before */
    ck_assert_int_eq(wedge_regions_of(maps, 3, &made), -EINVAL);
}
END_TEST

/* Constant memory is read across chunk borders; what may change, and what is not there, is refused and named. */
START_TEST(test_memory)
{
    size_t page = 4096, size = 64 * page;
    uint8_t *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(area, MAP_FAILED);
    for (size_t i = 0; i < size; i++)
        area[i] = (uint8_t)(i * 7 + (i >> 12));
    /* Readable but for a hole, then a writable page. */
    ck_assert_int_eq(mprotect(area, size - page, PROT_READ), 0);
    ck_assert_int_eq(munmap(area + 40 * page, page), 0);
    struct wedge_regions regions;
    struct wedge_target_memory memory;
    ck_assert_int_eq(wedge_regions_read(getpid(), getpid(), &regions), 0);
    ck_assert_int_eq(wedge_target_memory_open(getpid(), getpid(), &regions, &memory), 0);
    static uint8_t buf[40 * 4096];
    uint64_t at = (uint64_t)(uintptr_t)area;
    ck_assert(wedge_target_memory_read(&memory, at, buf, sizeof(buf)));
    ck_assert_mem_eq(buf, area, sizeof(buf));
    for (size_t offset = 0; offset < 36 * page; offset += 4093) {
        ck_assert(wedge_target_memory_read(&memory, at + offset, buf, 9000));
        ck_assert_mem_eq(buf, area + offset, 9000);
    }
    ck_assert(!memory.refused);
    ck_assert(!wedge_target_memory_read(&memory, at + 40 * page - 1, buf, 2));
    ck_assert_uint_eq(memory.refused_at, at + 40 * page);
    ck_assert(wedge_target_memory_read(&memory, at + 41 * page, buf, page));
    ck_assert_mem_eq(buf, area + 41 * page, page);
    ck_assert(!wedge_target_memory_read(&memory, at + 63 * page, buf, 1));
    ck_assert_uint_eq(memory.refused_at, at + 63 * page);
    ck_assert(wedge_target_memory_read(&memory, at, buf, 0));
    ck_assert(wedge_target_memory_alive(&memory, at));
    wedge_target_memory_close(&memory);
    wedge_target_memory_close(&memory);
    wedge_target_memory_close(NULL);
    wedge_regions_free(&regions);
}
END_TEST

/* The descriptor stays with the address space: after an exec it reads nothing, rather than something else. */
START_TEST(test_exec_is_noticed)
{
    int hold[2], ready[2];
    char byte;
    ck_assert_int_eq(pipe2(hold, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(hold[1]);
        if (write(ready[1], "r", 1) == 1 && read(hold[0], &byte, 1) == 1)
            execl("/bin/cat", "cat", (char *)NULL);
        _exit(1);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    struct wedge_regions regions;
    struct wedge_target_memory memory;
    uint64_t text = (uint64_t)(uintptr_t)&wedge_regions_parse;
    uint8_t code[16];
    ck_assert_int_eq(wedge_regions_read(pid, pid, &regions), 0);
    ck_assert_int_eq(wedge_target_memory_open(pid, pid, &regions, &memory), 0);
    ck_assert(wedge_target_memory_alive(&memory, text));
    ck_assert(wedge_target_memory_read(&memory, text, code, sizeof(code)));
    ck_assert_int_eq(write(hold[1], "g", 1), 1);
    ck_assert_int_eq(read(ready[0], &byte, 1), 0); /* closed by the exec */
    ck_assert(!wedge_target_memory_alive(&memory, text));
    uint64_t elsewhere = (uint64_t)(uintptr_t)&malloc; /* not cached yet */
    ck_assert(!wedge_target_memory_read(&memory, elsewhere, code, sizeof(code)));
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    wedge_target_memory_close(&memory);
    wedge_regions_free(&regions);
}
END_TEST

START_TEST(test_gone)
{
    struct wedge_regions regions;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(0);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(wedge_regions_read(pid, pid, &regions), -ESRCH); /* a zombie has no maps */
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(wedge_regions_read(pid, pid, &regions), -ESRCH);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_malformed, 0, sizeof(malformed) / sizeof(malformed[0]));
    tcase_add_test(tcase, test_nul_inside);
    tcase_add_test(tcase, test_fields);
    tcase_add_test(tcase, test_of_lines);
    tcase_add_test(tcase, test_memory);
    tcase_add_test(tcase, test_exec_is_noticed);
    tcase_add_test(tcase, test_gone);
}

int main(void)
{
    return wedge_test_main("target_memory", 30, fill);
}
