/*
 * The arena from wedge's side. Sections and their sizes are constants of this build (the table below), so that no
 * number in the shared memory is needed to find anything in it; only the rings' depth depends on the arena's size.
 */
#include "base/arena.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rt/name.h"

enum { RULES = WEDGE_ARENA_RULES, NAMES = 1024, PROCS = 256, THREADS = 1024, OBJECTS = 2048, FIRINGS = 4096 };
enum { DEFAULT_BYTES = 8 << 20, RING_LEAST = 16, RING_MOST = 1 << 16 };

static const struct {
    uint32_t count, stride;
} section_sizes[WEDGE_SEC_COUNT] = {
    [WEDGE_SEC_CONTROL] = {1, sizeof(struct wedge_arena_control)},
    [WEDGE_SEC_RULES] = {RULES, sizeof(struct wedge_arena_rule)},
    [WEDGE_SEC_DEFINES] = {WEDGE_ARENA_DEFINES, sizeof(struct wedge_arena_define)},
    [WEDGE_SEC_NAMES] = {NAMES, sizeof(struct wedge_arena_name)},
    [WEDGE_SEC_PROCS] = {PROCS, sizeof(struct wedge_arena_proc)},
    [WEDGE_SEC_BIRTHS] = {PROCS, sizeof(struct wedge_arena_birth)},
    [WEDGE_SEC_THREADS] = {THREADS, sizeof(struct wedge_arena_thread)},
    [WEDGE_SEC_OBJECTS] = {OBJECTS, sizeof(struct wedge_arena_object)},
    [WEDGE_SEC_FIRINGS] = {FIRINGS, sizeof(struct wedge_arena_event)},
    [WEDGE_SEC_COUNTS] = {(THREADS + PROCS) * RULES, sizeof(struct wedge_arena_counts)},
    [WEDGE_SEC_OBJ_COUNTS] = {OBJECTS * WEDGE_OBJECT_RULES, sizeof(struct wedge_arena_object_counts)},
    /* One thread's shallowest ring each; the rest of the arena deepens them. */
    [WEDGE_SEC_RINGS] = {THREADS * RING_LEAST, sizeof(struct wedge_arena_event)},
};

/* Where a section begins; sizes are multiples of 16, so the round-up keeps each on a line of its own. */
static size_t section_offset(enum wedge_arena_section section)
{
    size_t offset = 4096;
    for (unsigned s = 0; s < section; s++)
        offset += ((size_t)section_sizes[s].count * section_sizes[s].stride + 63) & ~(size_t)63;
    return offset;
}

/* Events per thread in an arena of `bytes`: the largest power of two that fits; 0 when the least does not. */
static uint32_t ring_events(size_t bytes)
{
    size_t rings = section_offset(WEDGE_SEC_RINGS), each = sizeof(struct wedge_arena_event) * THREADS;
    if (bytes < rings || (bytes - rings) / each < RING_LEAST)
        return 0;
    uint32_t events = RING_LEAST;
    while (events < RING_MOST && (bytes - rings) / each >= 2 * events)
        events *= 2;
    return events;
}

/* Does the time-stamp counter run at one rate, whatever the processors do? It says so itself (CPUID, "invariant TSC"),
 * and the kernel, which compares those of all processors, goes by it. */
static bool has_steady_counter(void)
{
    unsigned a, b, c, d = 0;
    char source[16] = "";
    if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || !(d & 1u << 8))
        return false;
    int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, source, sizeof(source) - 1);
    if (fd >= 0)
        close(fd);
    return n > 0 && strcmp(source, "tsc\n") == 0;
}

/* Both clocks at one moment, as far as that goes: the best of a few attempts. */
static void read_clocks(uint64_t *ret_tsc, uint64_t *ret_ns)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t before = __builtin_ia32_rdtsc(), ns = (uint64_t)wedge_clock_ns(), after = __builtin_ia32_rdtsc();
        if (after - before < best) {
            best = after - before;
            *ret_tsc = before + best / 2;
            *ret_ns = ns;
        }
    }
}

void wedge_arena_set_clock(const struct wedge_arena *arena)
{
    struct wedge_arena_clock *clock = &wedge_arena_header(arena)->clock;
    uint64_t tsc = 0, ns = 0;
    if (!arena->tsc)
        return;
    read_clocks(&tsc, &ns);
    if (tsc <= arena->tsc || ns <= arena->ns)
        return;
    uint64_t mult = (uint64_t)((((unsigned __int128)(ns - arena->ns)) << 32) / (tsc - arena->tsc));
    /* Partner: agent_now_ns, which takes the three only under an even number that has not changed. */
    atomic_fetch_add(&clock->seq, 1);
    atomic_store(&clock->tsc, tsc);
    atomic_store(&clock->ns, ns);
    atomic_store(&clock->mult, mult);
    atomic_fetch_add(&clock->seq, 1);
}

static void lay_out(struct wedge_arena *arena, uint64_t seed)
{
    struct wedge_arena_header *header = wedge_arena_header(arena);
    header->abi = WEDGE_ARENA_ABI;
    header->header_bytes = sizeof(*header);
    header->total_bytes = arena->bytes;
    header->launcher_pid = getpid();
    header->ring_events = ring_events(arena->bytes);
    for (unsigned s = 0; s < WEDGE_SEC_COUNT; s++)
        header->sections[s] = (struct wedge_arena_span){
            .offset = section_offset(s), .count = section_sizes[s].count, .stride = section_sizes[s].stride};
    header->sections[WEDGE_SEC_RINGS].count = THREADS * header->ring_events;

    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, header->boot_id, sizeof(header->boot_id) - 1);
        if (n > 0 && header->boot_id[n - 1] == '\n')
            header->boot_id[n - 1] = 0;
        close(fd);
    }
    struct stat st;
    if (stat("/proc/self/ns/pid", &st) == 0)
        header->pidns_inode = st.st_ino;

    struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    control->seed = seed;
    control->record = WEDGE_RECORD_PLACES;
    header->magic = WEDGE_ARENA_MAGIC;
}

int wedge_arena_create(struct wedge_arena *ret, size_t bytes, uint64_t seed, struct wedge_err *err)
{
    struct wedge_arena arena = {.fd = -1, .bytes = bytes ? bytes : DEFAULT_BYTES};
    int rc;

    if (has_steady_counter())
        read_clocks(&arena.tsc, &arena.ns);
    arena.bytes = (arena.bytes + 4095) & ~(size_t)4095;
    if (arena.bytes < bytes || ring_events(arena.bytes) == 0) {
        wedge_err_set(err, -EINVAL, "an arena of %zu bytes is too small", bytes);
        wedge_err_remedy(err, "give at least %zu bytes",
                         section_offset(WEDGE_SEC_RINGS) + THREADS * RING_LEAST * sizeof(struct wedge_arena_event));
        return -EINVAL;
    }
    struct rlimit most;
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 &&
        most.rlim_cur < arena.bytes) { /* else a signal would end us (setrlimit(2)) */
        rc = wedge_err_set(err, -EFBIG, "cannot allocate the arena of %zu bytes: %s", arena.bytes, strerror(EFBIG));
        wedge_err_remedy(err, "raise the limit of file sizes (ulimit -f), or choose a smaller --arena");
        goto fail;
    }
    arena.fd = memfd_create("wedge-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (arena.fd < 0) {
        rc = wedge_err_set(err, -errno, "cannot make the arena: memfd_create: %s", strerror(errno));
        goto fail;
    }
    /* In full: a hole that cannot be filled later would be a SIGBUS in the target. posix_fallocate returns the error. */
    int full = posix_fallocate(arena.fd, 0, (off_t)arena.bytes);
    if (full) {
        rc = wedge_err_set(err, -full, "cannot allocate the arena of %zu bytes: %s", arena.bytes, strerror(full));
        wedge_err_remedy(err, "free some memory, or choose a smaller --arena");
        goto fail;
    }
    if (fcntl(arena.fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
        rc = wedge_err_set(err, -errno, "cannot seal the arena: %s", strerror(errno));
        goto fail;
    }
    void *live = mmap(NULL, arena.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena.fd, 0);
    if (live == MAP_FAILED) {
        rc = wedge_err_set(err, -errno, "cannot map the arena: %s", strerror(errno));
        goto fail;
    }
    arena.live = live;
    struct wedge_arena_header *header = wedge_arena_header(&arena);
    if (getrandom(&header->nonce, sizeof(header->nonce), 0) != sizeof(header->nonce) ||
        getrandom(header->run_id, sizeof(header->run_id), 0) != sizeof(header->run_id)) {
        rc = wedge_err_set(err, -errno, "cannot draw the arena's nonce: %s", strerror(errno));
        goto fail;
    }
    lay_out(&arena, seed);
    wedge_arena_set_clock(&arena); /* the allocation has taken milliseconds: enough for a first rate */
    snprintf(arena.env, sizeof(arena.env), "%d:%d:%llx", (int)getpid(), arena.fd, (unsigned long long)header->nonce);
    *ret = arena;
    return 0;
fail:
    wedge_arena_destroy(&arena);
    return rc;
}

/* Laid out as this build would? Nothing in it is believed further than that. */
static bool is_of_this_build(const struct wedge_arena_header *header, size_t bytes)
{
    if (header->abi != WEDGE_ARENA_ABI || header->header_bytes != sizeof(*header) ||
        header->ring_events != ring_events(bytes))
        return false;
    for (unsigned s = 0; s < WEDGE_SEC_RINGS; s++)
        if (header->sections[s].offset != section_offset(s) || header->sections[s].count != section_sizes[s].count ||
            header->sections[s].stride != section_sizes[s].stride)
            return false;
    return true;
}

int wedge_arena_open(struct wedge_arena *ret, const char *path, struct wedge_err *err)
{
    struct wedge_arena arena = {.fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    struct stat st;
    int rc;

    if (arena.fd < 0)
        return wedge_err_set(err, -errno, "cannot open the run's arena, %s: %s", path, strerror(errno));
    if (fstat(arena.fd, &st) || !S_ISREG(st.st_mode) || st.st_size < (off_t)section_offset(WEDGE_SEC_RINGS)) {
        rc = wedge_err_set(err, -EBADMSG, "%s is not a run's arena", path);
        goto fail;
    }
    arena.bytes = (size_t)st.st_size;
    void *live = mmap(NULL, arena.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena.fd, 0);
    if (live == MAP_FAILED) {
        rc = wedge_err_set(err, -errno, "cannot map the arena: %s", strerror(errno));
        goto fail;
    }
    arena.live = live;
    const struct wedge_arena_header *header = wedge_arena_header(&arena);
    if (header->magic != WEDGE_ARENA_MAGIC || header->total_bytes != arena.bytes) {
        rc = wedge_err_set(err, -EBADMSG, "%s is not a run's arena", path);
        goto fail;
    }
    if (!is_of_this_build(header, arena.bytes)) {
        rc = wedge_err_set(err, -EPROTO, "the run is of another build of wedge");
        wedge_err_remedy(err, "use the wedge that started it");
        goto fail;
    }
    *ret = arena;
    return 0;
fail:
    if (arena.live)
        munmap(arena.live, arena.bytes);
    close(arena.fd);
    return rc;
}

void wedge_arena_destroy(struct wedge_arena *arena)
{
    if (!arena)
        return;
    if (arena->live)
        munmap(arena->live, arena->bytes);
    if (arena->bytes && arena->fd >= 0)
        close(arena->fd);
    *arena = (struct wedge_arena){.fd = -1};
}

void *wedge_arena_live(const struct wedge_arena *arena, enum wedge_arena_section section, uint32_t i)
{
    if ((unsigned)section >= WEDGE_SEC_RINGS || i >= section_sizes[section].count)
        return NULL;
    return arena->live + section_offset(section) + (size_t)i * section_sizes[section].stride;
}

uint32_t wedge_arena_count(enum wedge_arena_section section)
{
    return (unsigned)section < WEDGE_SEC_COUNT ? section_sizes[section].count : 0;
}

uint32_t wedge_arena_name(const struct wedge_arena *arena, const char *text)
{
    return wedge_rt_name(wedge_arena_live(arena, WEDGE_SEC_NAMES, 0), NAMES, text, true);
}

int wedge_arena_copy(const struct wedge_arena *arena, bool rings, struct wedge_arena_copy *ret, struct wedge_err *err)
{
    size_t bytes = rings ? arena->bytes : section_offset(WEDGE_SEC_RINGS), done = 0;
    uint8_t *data = malloc(bytes);
    if (!data)
        return wedge_err_set(err, -ENOMEM, "no memory for a copy of the arena");
    while (done < bytes) {
        ssize_t n = pread(arena->fd, data + done, bytes - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int rc = n < 0 ? -errno : -EIO;
            free(data);
            return wedge_err_set(err, rc, "cannot read the arena: %s", strerror(-rc));
        }
        done += (size_t)n;
    }
    *ret = (struct wedge_arena_copy){.data = data, .bytes = bytes, .rings = rings};
    return 0;
}

void wedge_arena_copy_free(struct wedge_arena_copy *copy)
{
    if (!copy)
        return;
    free(copy->data);
    *copy = (struct wedge_arena_copy){0};
}

const void *wedge_arena_at(const struct wedge_arena_copy *copy, enum wedge_arena_section section, uint32_t i)
{
    if ((unsigned)section >= WEDGE_SEC_RINGS || i >= section_sizes[section].count)
        return NULL;
    size_t at = section_offset(section) + (size_t)i * section_sizes[section].stride;
    return copy->data && at + section_sizes[section].stride <= copy->bytes ? copy->data + at : NULL;
}

const char *wedge_arena_text(struct wedge_arena_copy *copy, uint32_t name)
{
    struct wedge_arena_name *entry = (struct wedge_arena_name *)wedge_arena_at(copy, WEDGE_SEC_NAMES, name);
    if (!entry || name == 0 || atomic_load(&entry->state) != WEDGE_NAME_READY)
        return "";
    entry->text[sizeof(entry->text) - 1] = 0;
    return entry->text;
}

/* The sum over a live arena or a copy. While rows are being cleared it may be short by what is on its way. */
static uint64_t sum_hits(const uint8_t *data, uint32_t rule)
{
    const struct wedge_arena_rule *rules = (const void *)(data + section_offset(WEDGE_SEC_RULES));
    const struct wedge_arena_counts *counts = (const void *)(data + section_offset(WEDGE_SEC_COUNTS));
    const struct wedge_arena_object_counts *objects = (const void *)(data + section_offset(WEDGE_SEC_OBJ_COUNTS));
    uint64_t sum = atomic_load_explicit(&rules[rule].hits, memory_order_relaxed);
    uint32_t before = 0; /* rules before this one that count per object */
    for (uint32_t i = 0; i < THREADS + PROCS; i++)
        sum += atomic_load_explicit(&counts[i * RULES + rule].hits, memory_order_relaxed);
    for (uint32_t i = 0; i < rule; i++)
        before += rules[i].per == WEDGE_PER_OBJ;
    for (uint32_t i = 0; rules[rule].per == WEDGE_PER_OBJ && before < WEDGE_OBJECT_RULES && i < OBJECTS; i++)
        sum += atomic_load_explicit(&objects[i * WEDGE_OBJECT_RULES + before].word, memory_order_relaxed) &
               WEDGE_OBJECT_HITS_MASK;
    return sum;
}

uint64_t wedge_arena_rule_hits(const struct wedge_arena *arena, uint32_t rule)
{
    return rule < RULES ? sum_hits(arena->live, rule) : 0;
}

uint64_t wedge_arena_copy_hits(const struct wedge_arena_copy *copy, uint32_t rule)
{
    return rule < RULES && copy->data && copy->bytes >= section_offset(WEDGE_SEC_RINGS) ? sum_hits(copy->data, rule)
                                                                                        : 0;
}

/* A generation that says: complete. */
static bool complete(const _Atomic uint32_t *gen)
{
    uint32_t value = atomic_load(gen);
    return value != 0 && value % 2 == 0;
}

const struct wedge_arena_proc *wedge_arena_proc_of(const struct wedge_arena_copy *copy, int32_t pid, uint32_t *ret_slot)
{
    const struct wedge_arena_proc *best = NULL;
    uint32_t slot = 0;
    for (uint32_t i = 0; i < PROCS; i++) {
        const struct wedge_arena_proc *proc = wedge_arena_at(copy, WEDGE_SEC_PROCS, i);
        if (!proc || !complete(&proc->gen) || proc->pid != pid || atomic_load(&proc->state) == WEDGE_PROC_FREE)
            continue;
        /* A number may have been used again: the younger one is running. */
        if (!best || proc->since_ns > best->since_ns) {
            best = proc;
            slot = i;
        }
    }
    if (best && ret_slot)
        *ret_slot = slot;
    return best;
}

const struct wedge_arena_thread *wedge_arena_thread_of(const struct wedge_arena_copy *copy, int32_t pid, int32_t tid,
                                                       uint32_t *ret_slot)
{
    uint32_t proc_slot, slot = 0;
    const struct wedge_arena_thread *best = NULL;
    if (!wedge_arena_proc_of(copy, pid, &proc_slot))
        return NULL;
    for (uint32_t i = 0; i < THREADS; i++) {
        const struct wedge_arena_thread *thread = wedge_arena_at(copy, WEDGE_SEC_THREADS, i);
        if (!thread || !complete(&thread->gen) || thread->proc != proc_slot || thread->tid != tid ||
            atomic_load(&thread->ended))
            continue;
        if (!best || thread->since_ns > best->since_ns) {
            best = thread;
            slot = i;
        }
    }
    if (best && ret_slot)
        *ret_slot = slot;
    return best;
}

uint32_t wedge_arena_event_count(const struct wedge_arena_copy *copy, uint32_t thread_slot)
{
    const struct wedge_arena_thread *thread = wedge_arena_at(copy, WEDGE_SEC_THREADS, thread_slot);
    uint32_t depth = ring_events(copy->bytes), written = thread ? atomic_load(&thread->event_seq) : 0;
    return !copy->rings ? 0 : written < depth ? written : depth;
}

const struct wedge_arena_event *wedge_arena_event(const struct wedge_arena_copy *copy, uint32_t thread_slot, uint32_t i)
{
    const struct wedge_arena_thread *thread = wedge_arena_at(copy, WEDGE_SEC_THREADS, thread_slot);
    uint32_t depth = ring_events(copy->bytes);
    if (!copy->rings || !thread || depth == 0)
        return NULL;
    uint32_t written = atomic_load(&thread->event_seq), kept = written < depth ? written : depth;
    if (i >= kept)
        return NULL;
    uint32_t number = written - kept + i;
    size_t at = section_offset(WEDGE_SEC_RINGS) +
                ((size_t)thread_slot * depth + (number & (depth - 1))) * sizeof(struct wedge_arena_event);
    if (at + sizeof(struct wedge_arena_event) > copy->bytes)
        return NULL;
    const struct wedge_arena_event *event = (const void *)(copy->data + at);
    return atomic_load(&event->seq) == number + 1 ? event : NULL;
}

const struct wedge_arena_event *wedge_arena_firing(const struct wedge_arena_copy *copy, uint32_t i)
{
    const struct wedge_arena_event *event = wedge_arena_at(copy, WEDGE_SEC_FIRINGS, i);
    return event && atomic_load(&event->seq) == i + 1 && event->order == (uint64_t)i + 1 ? event : NULL;
}

const struct wedge_arena_census *wedge_arena_census_row(const struct wedge_arena_copy *copy, uint32_t i, bool *ret_end)
{
    size_t at = section_offset(WEDGE_SEC_RINGS) + WEDGE_CENSUS_MODULES * sizeof(struct wedge_arena_module) +
                (size_t)i * sizeof(struct wedge_arena_census);
    *ret_end = !copy->rings || i >= wedge_census_rows(ring_events(copy->bytes) * THREADS) ||
               at + sizeof(struct wedge_arena_census) > copy->bytes;
    if (*ret_end)
        return NULL;
    const struct wedge_arena_census *row = (const void *)(copy->data + at);
    return atomic_load(&row->state) == WEDGE_NAME_READY ? row : NULL;
}

const char *wedge_arena_census_module(struct wedge_arena_copy *copy, uint32_t module)
{
    size_t at = section_offset(WEDGE_SEC_RINGS) + (size_t)(module - 1) * sizeof(struct wedge_arena_module);
    if (!copy->rings || module == 0 || module > WEDGE_CENSUS_MODULES)
        return "";
    struct wedge_arena_module *row = (void *)(copy->data + at);
    row->path[sizeof(row->path) - 1] = 0;
    return atomic_load(&row->state) == WEDGE_NAME_READY ? row->path : "";
}
