/*
 * Loading: find the arena by WEDGE_ARENA ("PID:FD:NONCE", ":SLOT" behind it in a child of posix_spawn), map it, check it, arm what the rules need, check in.
 *
 * Whatever does not fit (no variable, wedge gone, privileges dropped, another ABI) leaves the agent out of it: every
 * wrapper passes through, no place is armed, nothing is printed. The launcher names a child that did not check in.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "faults/agent/agent.h"
#include "faults/agent/object.h"
#include "faults/agent/sys.h"
#include "faults/agent/where.h"

struct agent_arena agent_arena;
char agent_arena_path[64];

/* A number in `base` that ends at `end` and fits 64 bits; *at moves behind the end. */
static bool take_number(const char **at, unsigned base, char end, uint64_t *ret)
{
    const char *from = *at;
    uint64_t value = 0;
    for (; **at && **at != end; (*at)++) {
        char c = **at;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 99;
        if (digit >= base || value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    if (*at == from || **at != end)
        return false;
    if (end)
        (*at)++;
    *ret = value;
    return true;
}

static char *put_number(char *to, uint64_t value)
{
    char digits[20];
    int n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (n)
        *to++ = digits[--n];
    return to;
}

static char *put_text(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    return to;
}

/* Does the section lie within the arena, with records of our size? */
static bool fits(const struct wedge_arena_header *header, enum wedge_arena_section section, size_t stride)
{
    const struct wedge_arena_span *span = &header->sections[section];
    return span->stride == stride && span->count > 0 && span->offset % 64 == 0 && span->offset <= header->total_bytes &&
           (header->total_bytes - span->offset) / stride >= span->count;
}

static bool header_is_ours(const struct wedge_arena_header *header, uint64_t bytes, uint64_t nonce)
{
    const struct wedge_arena_span *s = header->sections;
    return header->magic == WEDGE_ARENA_MAGIC && header->abi == WEDGE_ARENA_ABI && header->nonce == nonce &&
           header->total_bytes == bytes && fits(header, WEDGE_SEC_CONTROL, sizeof(struct wedge_arena_control)) &&
           fits(header, WEDGE_SEC_RULES, sizeof(struct wedge_arena_rule)) &&
           fits(header, WEDGE_SEC_DEFINES, sizeof(struct wedge_arena_define)) &&
           fits(header, WEDGE_SEC_NAMES, sizeof(struct wedge_arena_name)) &&
           fits(header, WEDGE_SEC_PROCS, sizeof(struct wedge_arena_proc)) &&
           fits(header, WEDGE_SEC_BIRTHS, sizeof(struct wedge_arena_birth)) &&
           s[WEDGE_SEC_BIRTHS].count >= s[WEDGE_SEC_PROCS].count &&
           fits(header, WEDGE_SEC_THREADS, sizeof(struct wedge_arena_thread)) &&
           fits(header, WEDGE_SEC_OBJECTS, sizeof(struct wedge_arena_object)) &&
           fits(header, WEDGE_SEC_FIRINGS, sizeof(struct wedge_arena_event)) &&
           fits(header, WEDGE_SEC_COUNTS, sizeof(struct wedge_arena_counts)) &&
           fits(header, WEDGE_SEC_OBJ_COUNTS, sizeof(struct wedge_arena_object_counts)) &&
           s[WEDGE_SEC_OBJ_COUNTS].count / WEDGE_OBJECT_RULES >= s[WEDGE_SEC_OBJECTS].count &&
           s[WEDGE_SEC_OBJECTS].count <= AGENT_OBJECTS_MOST &&
           fits(header, WEDGE_SEC_RINGS, sizeof(struct wedge_arena_event)) && header->ring_events &&
           !(header->ring_events & (header->ring_events - 1)) &&
           s[WEDGE_SEC_RINGS].count / header->ring_events >= s[WEDGE_SEC_THREADS].count &&
           s[WEDGE_SEC_COUNTS].count / WEDGE_ARENA_RULES >= s[WEDGE_SEC_THREADS].count + s[WEDGE_SEC_PROCS].count;
}

static bool use(uint8_t *base)
{
    struct wedge_arena_header *header = (void *)base;
    const struct wedge_arena_span *s = header->sections;
    agent_arena = (struct agent_arena){
        .base = base,
        .header = header,
        .control = (void *)(base + s[WEDGE_SEC_CONTROL].offset),
        .rules = (void *)(base + s[WEDGE_SEC_RULES].offset),
        .defines = (void *)(base + s[WEDGE_SEC_DEFINES].offset),
        .names = (void *)(base + s[WEDGE_SEC_NAMES].offset),
        .procs = (void *)(base + s[WEDGE_SEC_PROCS].offset),
        .births = (void *)(base + s[WEDGE_SEC_BIRTHS].offset),
        .threads = (void *)(base + s[WEDGE_SEC_THREADS].offset),
        .objects = (void *)(base + s[WEDGE_SEC_OBJECTS].offset),
        .firings = (void *)(base + s[WEDGE_SEC_FIRINGS].offset),
        .counts = (void *)(base + s[WEDGE_SEC_COUNTS].offset),
        .object_counts = (void *)(base + s[WEDGE_SEC_OBJ_COUNTS].offset),
        .rings = (void *)(base + s[WEDGE_SEC_RINGS].offset),
        .n_names = s[WEDGE_SEC_NAMES].count,
        .n_procs = s[WEDGE_SEC_PROCS].count,
        .n_threads = s[WEDGE_SEC_THREADS].count,
        .n_objects = s[WEDGE_SEC_OBJECTS].count,
        .n_firings = s[WEDGE_SEC_FIRINGS].count,
        .ring_events = header->ring_events,
    };
    agent_arena.n_rules = agent_arena.control->n_rules;
    agent_arena.n_defines = agent_arena.control->n_defines;
    return agent_arena.n_rules <= WEDGE_ARENA_RULES && agent_arena.n_rules <= s[WEDGE_SEC_RULES].count &&
           agent_arena.n_defines <= s[WEDGE_SEC_DEFINES].count;
}

/* Cuts the slot off, which is for this program and not for its children. AGENT_NONE: none is named. */
static uint32_t take_slot(char *where)
{
    uint64_t slot;
    unsigned colons = 0;
    for (; *where; where++)
        if (*where == ':' && ++colons == 3) {
            const char *at = where + 1;
            *where = 0;
            return take_number(&at, 10, 0, &slot) && slot < AGENT_NONE ? (uint32_t)slot : AGENT_NONE;
        }
    return AGENT_NONE;
}

static bool map_arena(const char *where)
{
    uint64_t pid, fd_number, nonce;
    char *path = agent_arena_path, *end = path;
    if (!take_number(&where, 10, ':', &pid) || !take_number(&where, 10, ':', &fd_number) ||
        !take_number(&where, 16, 0, &nonce))
        return false;
    end = put_number(put_text(end, "/proc/"), pid);
    end = put_number(put_text(end, "/fd/"), fd_number);
    *end = 0;
    long fd = sys_call(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, 0, 0);
    if (fd < 0)
        return false;
    struct stat st = {0};
    long base = -1;
    if (sys_call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) == 0 && S_ISREG(st.st_mode) &&
        st.st_size >= (off_t)sizeof(struct wedge_arena_header))
        base = sys_call(SYS_mmap, 0, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
    if (base <= 0 && base > -4096)
        return false;
    if (header_is_ours((void *)base, (uint64_t)st.st_size, nonce) && use((uint8_t *)base))
        return true;
    agent_arena = (struct agent_arena){0};
    sys_call(SYS_munmap, base, st.st_size, 0, 0, 0, 0);
    return false;
}

/* The page by which a child notices itself. Wiped by fork since Linux 4.14 (madvise(2)). */
static bool make_page(void)
{
    long page = sys_call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page <= 0 && page > -4096)
        return false;
    if (sys_call(SYS_madvise, page, 4096, MADV_WIPEONFORK, 0, 0, 0)) {
        sys_call(SYS_munmap, page, 4096, 0, 0, 0, 0);
        return false;
    }
    agent_page = (struct agent_page *)page;
    return true;
}

__attribute__((constructor(101))) static void load(void)
{
    agent_resolve();
    char *where = getenv("WEDGE_ARENA");
    uint32_t slot = where ? take_slot(where) : AGENT_NONE;
    if (!where || !map_arena(where))
        return;
    agent_note_environ(where, getenv("LD_PRELOAD"));
    if (!make_page()) {
        agent_arena = (struct agent_arena){0};
        return;
    }
    agent_note_program();
    agent_rules_prepare();
    agent_check_in_image(slot);
    agent_where_prepare();
    agent_census_begin();
    agent_arm_functions();
    agent_objects_inherit();
    agent_arm_places();
    agent_arena.ready = true;
    struct agent_here here;
    if (agent_find_here(&here)) {
        agent_note_missed_alarm(here.proc);
        agent_born(&here);
    }
}

/* The return of main comes here through exit, which libc calls past our wrapper. */
__attribute__((destructor(101))) static void unload(void)
{
    agent_exit();
    agent_objects_leave();
}
