/*
 * The agent's record with bytes of it overwritten: a target may scribble on its arena as it likes.
 *
 *   input = { section (1) · record (2) · offset in it (2) · length (1) · that many bytes }
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fuzz/fuzz.h"
#include "detector/verdict/verdict.h"
#include "detector/wait/wait.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

enum { PROCS = 2, THREADS = 4, WRITES_MAX = 64 };

static struct wedge_arena_copy copy;

struct undo {
    uint8_t *at;
    uint8_t len;
    uint8_t was[255];
};

static void make(void)
{
    struct wedge_arena arena;
    struct wedge_err err = {0};
    if (copy.data)
        return;
    if (wedge_arena_create(&arena, 0, 1, &err) || wedge_arena_copy(&arena, true, &copy, &err))
        abort();
    wedge_arena_destroy(&arena);
}

/* Writes as the input says; a write may reach past its record, not past the arena. */
static size_t scribble(const uint8_t *data, size_t size, struct undo *undo)
{
    size_t n = 0;
    while (size >= 6 && n < WRITES_MAX) {
        enum wedge_arena_section section = (enum wedge_arena_section)(data[0] % WEDGE_SEC_COUNT);
        uint32_t record = (uint32_t)(data[1] | data[2] << 8) % wedge_arena_count(section);
        size_t offset = (size_t)(data[3] | data[4] << 8) % 1024, len = data[5];
        uint8_t *at = (uint8_t *)(uintptr_t)wedge_arena_at(&copy, section, record);
        data += 6;
        size -= 6;
        len = len < size ? len : size;
        if (at && (size_t)(at - copy.data) + offset + len <= copy.bytes) {
            undo[n].at = at + offset;
            undo[n].len = (uint8_t)len;
            memcpy(undo[n].was, undo[n].at, len);
            memcpy(undo[n].at, data, len);
            n++;
        }
        data += len;
        size -= len;
    }
    return n;
}

static void look_at(struct wedge_look *look)
{
    struct wedge_snapshot *s = look->snapshot;
    wedge_wait_annotate_procs(look);
    wedge_verdict_record(look);
    for (int i = 0; i < THREADS; i++) {
        wedge_wait_annotate(look, i);
        wedge_wait_held(look, i);
        s->threads[i].wait.class = i % 2 ? WEDGE_WAIT_SEM : WEDGE_WAIT_RWLOCK;
        strcpy(s->threads[i].wait.object.key, "pid 100 0x1000");
        s->threads[i].wait.object.address = 0x1000;
        wedge_record_describe(look, i);
    }
    size_t sum = s->n_firings;
    for (size_t i = 0; i < s->n_dead; i++)
        sum += strlen(s->dead[i].role) + strlen(s->dead[i].how) + strlen(s->dead[i].last_point);
    for (size_t i = 0; i < s->n_faults; i++)
        sum += strlen(s->faults[i].id) + strlen(s->faults[i].text);
    for (size_t i = 0; i < s->n_firings; i++)
        if (s->firings[i].rule < 0 || (size_t)s->firings[i].rule >= s->n_faults)
            abort();
    if (sum == SIZE_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct undo undo[WRITES_MAX];
    make();
    struct wedge_machine_proc machine[] = {{.pid = 100, .state = 'S'}, {.pid = 200, .state = 'Z'}};
    struct wedge_proc procs[PROCS] = {{.pid = 100, .n_threads = 3, .role = ""},
                                      {.pid = 300, .first_thread = 3, .n_threads = 1, .role = ""}};
    struct wedge_thread threads[THREADS] = {0};
    struct wedge_look_proc own_procs[PROCS] = {0};
    struct wedge_look_thread own_threads[THREADS] = {0};
    struct wedge_snapshot snapshot = {.procs = procs, .n_procs = PROCS, .threads = threads, .n_threads = THREADS};
    struct wedge_examine options = {.root = 100, .arena = &copy};
    struct wedge_look look = {.options = &options,
                              .snapshot = &snapshot,
                              .procs = own_procs,
                              .threads = own_threads,
                              .machine = machine,
                              .n_machine = 2};
    for (int i = 0; i < THREADS; i++) {
        threads[i] =
            (struct wedge_thread){.proc = i == 3, .tid = 100 + i, .rule = -1, .callback = "", .last_point = ""};
        own_threads[i].status.ns_tid = 100 + i;
        own_threads[i].owner = -1;
    }
    obstack_begin(&snapshot.mem, 65536);
    size_t n = scribble(data, size, undo);
    look_at(&look);
    while (n-- > 0)
        memcpy(undo[n].at, undo[n].was, undo[n].len);
    free(look.wakers);
    free(look.wanted);
    obstack_free(&snapshot.mem, NULL);
    return 0;
}
