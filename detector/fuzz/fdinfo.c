/* What fdinfo says of a descriptor: a process chooses numbers, events, times and how many there are. */
#include "detector/kernel/fdinfo.h"

#include <stdlib.h>
#include <string.h>

#include "base/fuzz/fuzz.h"
#include "detector/kernel/file_locks.h"

/* Each step leads on, so that the loop ends, and only what is promised is set. */
static void members(const char *text)
{
    const char *at = text, *before = at;
    struct wedge_fdinfo_member m;
    for (; wedge_fdinfo_member(&at, &m) != 0; before = at)
        if (at <= before || at > text + strlen(text))
            abort();
    const char *line;
    before = at = text;
    for (; (line = wedge_fdinfo_lock(&at)); before = at) {
        struct wedge_file_lock lock;
        if (at <= before || line > text + strlen(text))
            abort();
        wedge_file_lock_parse(line, &lock);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wedge_fdinfo_timer timer;
    uint64_t number;
    int id = 0, mount;
    char *text = fuzz_text(data, size);
    members(text);
    if (wedge_fdinfo_timer(text, &timer) && timer.left_ns < 0)
        abort();
    if (wedge_fdinfo_event(text, &number, &id) && id < -1 && !strstr(text, "eventfd-id:"))
        abort();
    wedge_fdinfo_signals(text, &number);
    wedge_fdinfo_pid(text, &id);
    wedge_fdinfo_inode(text, &number, &mount);
    wedge_fdinfo_inside(text);
    free(text);
    return 0;
}
