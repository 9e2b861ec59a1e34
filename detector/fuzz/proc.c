/* Texts of /proc: the first byte says which. A process chooses its name, its arguments and its paths. */
#include "detector/kernel/proc.h"

#include <stdlib.h>
#include <string.h>

#include "base/fuzz/fuzz.h"
#include "detector/kernel/file_locks.h"
#include "detector/kernel/mounts.h"
#include "detector/kernel/sockets.h"
#include "detector/stacks/target_memory.h"

/* Every region lies behind the one before it, and a search finds it. */
static void regions(char *text, size_t len)
{
    struct wedge_regions all = {0};
    if (wedge_regions_parse(text, len, &all)) {
        free(text);
        return;
    }
    for (size_t i = 0; i < all.n; i++)
        if (wedge_regions_find(&all, all.all[i].start) != &all.all[i] ||
            wedge_regions_find(&all, all.all[i].end - 1) != &all.all[i] || strlen(all.all[i].path) > len)
            abort();
    wedge_regions_free(&all);
}

/* /proc/locks, and what fdinfo and mountinfo say of an open file. */
static void locks(const char *text)
{
    struct wedge_file_lock *all = NULL;
    size_t n = 0;
    uint32_t dev_major, dev_minor;
    int mount = 0;
    bool local;
    if (wedge_file_locks_parse(text, &all, &n) == 0)
        free(all);
    wedge_file_lock_mount(text, mount, &dev_major, &dev_minor, &local);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wedge_proc_stat stat;
    struct wedge_proc_status status;
    struct wedge_proc_syscall call;
    struct wedge_proc_map map;
    struct wedge_inet_socket inet;
    if (!size)
        return 0;
    char *text = fuzz_text(data + 1, size - 1);
    switch (data[0] % 8) {
    case 0:
        if (wedge_proc_stat_parse(text, &stat) == 0 && strlen(stat.comm) >= sizeof(stat.comm))
            abort();
        break;
    case 1:
        if (wedge_proc_status_parse(text, &status) == 0 && status.ns_tid <= 0)
            abort();
        break;
    case 2:
        wedge_proc_syscall_parse(text, &call);
        break;
    case 3:
        if (wedge_proc_map_parse(text, &map) == 0 && map.start >= map.end)
            abort();
        break;
    case 6:
        locks(text);
        break;
    case 7:
        wedge_sockets_parse_inet(text, &inet);
        break;
    case 5:
        wedge_mounts_parse(text, 0, size & 255);
        break;
    case 4:
        regions(text, size - 1);
        return 0;
    }
    free(text);
    return 0;
}
