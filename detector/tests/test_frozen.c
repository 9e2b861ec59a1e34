/* What the kernel says of control groups, whole and in pieces. */
#include "detector/kernel/frozen.h"

#include "base/tests/suite.h"

static const char hybrid[] = "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
                             "36 31 0:31 /docker/1 /sys/fs/cgroup/inner rw shared:4 - cgroup cgroup rw,freezer\n"
                             "37 31 0:32 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
                             "38 31 0:33 / /sys/fs/cgroup/freezer rw,relatime shared:9 - cgroup cgroup rw,freezer\n"
                             "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

START_TEST(test_mount)
{
    char path[192] = "";
    ck_assert(wedge_frozen_mount(hybrid, false, path, sizeof(path)));
    ck_assert_str_eq(path, "/sys/fs/cgroup/unified");
    ck_assert(wedge_frozen_mount(hybrid, true, path, sizeof(path)));
    ck_assert_str_eq(path, "/sys/fs/cgroup/freezer");
    ck_assert(!wedge_frozen_mount("", true, path, sizeof(path)));
    ck_assert(!wedge_frozen_mount("1 2 0:1 / /x rw - cgroup2\n", false, path, sizeof(path)));
    ck_assert(!wedge_frozen_mount("1 2 0:1 / /x\\040y rw - cgroup2 none rw\n", false, path, sizeof(path)));
    ck_assert(!wedge_frozen_mount("- cgroup2 cgroup2 rw", false, path, sizeof(path)));
}
END_TEST

START_TEST(test_group)
{
    static const char text[] = "3:cpu,freezer:/a:b\n2:cpuacct:/\n0::/user.slice/x\n";
    char path[64] = "";
    ck_assert(wedge_frozen_group(text, false, path, sizeof(path)));
    ck_assert_str_eq(path, "/user.slice/x");
    ck_assert(wedge_frozen_group(text, true, path, sizeof(path)));
    ck_assert_str_eq(path, "/a:b");
    ck_assert(!wedge_frozen_group("0::/../outside\n", false, path, sizeof(path)));
    ck_assert(!wedge_frozen_group("0:", false, path, sizeof(path)));
    ck_assert(!wedge_frozen_group("x\n\n::/\n", false, path, sizeof(path)));
    ck_assert(!wedge_frozen_group("", true, path, sizeof(path)));
}
END_TEST

START_TEST(test_state)
{
    ck_assert(wedge_frozen_state("populated 1\nfrozen 1\n", false));
    ck_assert(!wedge_frozen_state("populated 1\nfrozen 0\n", false));
    ck_assert(!wedge_frozen_state("", false));
    ck_assert(wedge_frozen_state("FROZEN\n", true));
    ck_assert(!wedge_frozen_state("FREEZING\n", true));
    ck_assert(!wedge_frozen_state("THAWED\n", true));
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_mount);
    tcase_add_test(tcase, test_group);
    tcase_add_test(tcase, test_state);
}

int main(void)
{
    return wedge_test_main("frozen", 10, fill);
}
