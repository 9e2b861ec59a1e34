/*
 * The slots as a user meets them: many at once, both ways, larger than a slot, when full, waiting too long; what they take of
 * memory and that a task in a steady state takes none; and their parts, the ring and the bits, by themselves.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "pool/bits.h"
#include "pool/pool.h"
#include "pool/ring.h"
#include "pool/tests/util.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0 /* the sanitizer has replaced them */
#else
#define COUNTS_ALLOCATIONS 1
#endif

/* ThreadSanitizer does not see what orders two threads of one process when it happens in another: there all is one. */
#if defined(__SANITIZE_THREAD__)
#define WORKERS   "workers=threads"
#define PROCESSES 0 /* of its own that a pool has */
#else
#define WORKERS   "workers=processes"
#define PROCESSES 2
#endif

/* Allocations of this program, its workers included, while `on`. */
struct allocations {
    _Atomic uint32_t on;
    _Atomic uint64_t n;
};
static struct allocations *allocations;

#if COUNTS_ALLOCATIONS
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

static void count_allocation(void)
{
    if (allocations && atomic_load(&allocations->on))
        atomic_fetch_add(&allocations->n, 1);
}

/* Theirs take precedence over libc's, for the pool's library too. */
void *malloc(size_t bytes)
{
    count_allocation();
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    count_allocation();
    return __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes)
{
    count_allocation();
    return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    count_allocation();
    return __libc_memalign(align, bytes);
}
#endif

/* The parts. */

START_TEST(bits_are_taken_once_each_and_by_the_lowest)
{
    static struct wedge_bits bits[3];
    uint32_t got[64], at = 0;
    static const uint32_t set[] = {0, 5, 63, 64, 130};
    for (int twice = 0; twice < 2; twice++) /* adding one that is there changes nothing */
        for (size_t i = 0; i < 5; i++)
            wedge_bits_add(bits, set[i]);
    ck_assert_uint_eq(wedge_bits_take(bits, 3, &at, got, 2), 2);
    ck_assert_uint_eq(got[0], 0);
    ck_assert_uint_eq(got[1], 5);
    ck_assert_uint_eq(wedge_bits_take(bits, 3, &at, got, 64), 1);
    ck_assert_uint_eq(got[0], 63);
    at = 2;
    ck_assert_uint_eq(wedge_bits_take(bits, 3, &at, got, 64), 1);
    ck_assert_uint_eq(got[0], 130);
    ck_assert(wedge_bits_any(bits, 3));
    ck_assert_uint_eq(wedge_bits_take(bits, 3, &at, got, 64), 1); /* around the end */
    ck_assert_uint_eq(got[0], 64);
    ck_assert_uint_eq(at, 1);
    ck_assert(!wedge_bits_any(bits, 3));
    ck_assert_uint_eq(wedge_bits_take(bits, 3, &at, got, 64), 0);
}
END_TEST

enum { RING_NUMBERS = 200000, RING_CAP = 64, POPPERS = 3 };
struct popper {
    struct wedge_ring *ring;
    _Atomic uint8_t *seen;
    _Atomic uint32_t *popped;
    bool in_order;
};

static void *pop_all(void *arg)
{
    struct popper *popper = arg;
    uint32_t last = 0, number;
    popper->in_order = true;
    while (atomic_load(popper->popped) < RING_NUMBERS) {
        if (!wedge_ring_pop(popper->ring, &number)) {
            sched_yield();
            continue;
        }
        atomic_fetch_add(&popper->seen[number], 1);
        atomic_fetch_add(popper->popped, 1);
        popper->in_order = popper->in_order && (last == 0 || number > last);
        last = number;
    }
    return NULL;
}

START_TEST(a_ring_gives_each_number_once_and_in_order_to_many)
{
    static _Atomic uint64_t head __attribute__((aligned(64))), tail __attribute__((aligned(64)));
    static _Atomic uint32_t cells[RING_CAP], popped;
    static _Atomic uint8_t seen[RING_NUMBERS + 1];
    struct wedge_ring ring = {.head = &head, .tail = &tail, .cells = cells, .cap = RING_CAP};
    struct popper poppers[POPPERS];
    pthread_t threads[POPPERS];
    for (int i = 0; i < POPPERS; i++) {
        poppers[i] = (struct popper){.ring = &ring, .seen = seen, .popped = &popped};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, pop_all, &poppers[i]), 0);
    }
    for (uint32_t number = 1; number <= RING_NUMBERS; number++) {
        while (number - 1 - atomic_load(&head) >= RING_CAP)
            sched_yield();
        wedge_ring_lay(&ring, number - 1, number);
        wedge_ring_show(&ring, number);
    }
    for (int i = 0; i < POPPERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(poppers[i].in_order);
    }
    for (uint32_t number = 1; number <= RING_NUMBERS; number++)
        ck_assert_uint_eq(atomic_load(&seen[number]), 1);
    ck_assert(!wedge_ring_any(&ring));
}
END_TEST

/* Many at once. */

enum { CROWD = 3, EACH = 3000 };
struct crowd {
    struct wedge_pool *pool;
    _Atomic uint32_t times[CROWD * EACH]; /* by number, which meta points to */
    _Atomic uint32_t wrong, reported;
    uint32_t mark[CROWD * EACH];
};

static void crowd_count(struct crowd *crowd, const struct wedge_pool_result *result, const void *data)
{
    uint64_t square = 0;
    const uint32_t *mark = result->meta;
    uint64_t number = mark ? (uint64_t)(mark - crowd->mark) : 0;
    if (result->bytes == sizeof(square))
        memcpy(&square, data, sizeof(square));
    if (!mark || result->outcome != WEDGE_POOL_OK || square != number * number)
        atomic_fetch_add(&crowd->wrong, 1);
    else
        atomic_fetch_add(&crowd->times[number], 1);
    atomic_fetch_add(&crowd->reported, 1);
}

static void crowd_collect(const struct wedge_pool_result *result, void *context)
{
    crowd_count(context, result, result->data);
}

struct crowd_putter {
    struct crowd *crowd;
    uint32_t first, batch;
};

static void *crowd_put(void *arg)
{
    struct crowd_putter *putter = arg;
    struct crowd *crowd = putter->crowd;
    for (uint32_t at = putter->first; at < putter->first + EACH;) {
        struct wedge_pool_input inputs[100];
        uint64_t numbers[100];
        uint32_t n = putter->first + EACH - at < putter->batch ? putter->first + EACH - at : putter->batch;
        for (uint32_t i = 0; i < n; i++) {
            numbers[i] = at + i;
            inputs[i] = (struct wedge_pool_input){
                .data = &numbers[i], .bytes = sizeof(numbers[i]), .meta = &crowd->mark[at + i]};
        }
        int rc = wedge_pool_put_many(crowd->pool, inputs, n, WEDGE_POOL_NEVER);
        for (int i = 1; i < rc; i++)
            if (inputs[i].id <= inputs[i - 1].id)
                atomic_fetch_add(&crowd->wrong, 1);
        if (rc > 0)
            at += (uint32_t)rc;
        else if (rc == -ENOBUFS) /* nobody has come to take yet */
            sched_yield();
        else
            break;
    }
    return NULL;
}

static void *crowd_take(void *arg)
{
    struct crowd *crowd = arg;
    struct wedge_pool_result results[70];
    uint64_t squares[70];
    int rc;
    while ((rc = wedge_pool_take_many(crowd->pool, results, 70, squares, sizeof(squares[0]), WEDGE_POOL_NEVER)) > 0)
        for (int i = 0; i < rc; i++)
            crowd_count(crowd, &results[i], &squares[i]);
    return NULL;
}

static void check_crowd(struct crowd *crowd)
{
    struct wedge_pool_stats stats;
    ck_assert_uint_eq(atomic_load(&crowd->wrong), 0);
    ck_assert_uint_eq(atomic_load(&crowd->reported), CROWD * EACH);
    for (uint32_t i = 0; i < CROWD * EACH; i++)
        ck_assert_msg(atomic_load(&crowd->times[i]) == 1, "task %u was reported %u times", i, crowd->times[i]);
    wedge_pool_stats(crowd->pool, &stats);
    ck_assert_uint_eq(stats.accepted, CROWD * EACH);
    ck_assert_uint_eq(stats.reported, CROWD * EACH);
    ck_assert_uint_eq(stats.outcomes[WEDGE_POOL_OK], CROWD * EACH);
    ck_assert_uint_eq(stats.finished, CROWD * EACH);
    ck_assert_uint_eq(stats.queued, 0);
    ck_assert_uint_gt(stats.queue_high, 0);
    ck_assert_uint_eq(stats.results, 0);
    ck_assert_uint_gt(stats.put_waits, 0); /* the queue is far shorter than the crowd's tasks */
    ck_assert_int_gt(stats.put_wait_longest_ns, 0);
}

/* _i: with a collector, or with as many takers as putters. */
START_TEST(many_put_and_many_take_and_each_task_is_reported_once)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    pthread_t putters[CROWD], takers[CROWD];
    struct crowd_putter jobs[CROWD];
    struct wedge_pool_callbacks callbacks = {
        .task = square_task, .collect = _i ? crowd_collect : NULL, .context = crowd};
    struct wedge_pool_err err;
    crowd->pool = MAKE_POOL("hardened", WORKERS, "processes=2", "threads=2", "queue=40");
    ck_assert_int_eq(wedge_pool_start(crowd->pool, &callbacks, &err), 0);
    for (uint32_t i = 0; i < CROWD; i++) {
        jobs[i] = (struct crowd_putter){.crowd = crowd, .first = i * EACH, .batch = i == 0 ? 1 : i * 50};
        ck_assert_int_eq(pthread_create(&putters[i], NULL, crowd_put, &jobs[i]), 0);
        if (!_i)
            ck_assert_int_eq(pthread_create(&takers[i], NULL, crowd_take, crowd), 0);
    }
    for (int i = 0; i < CROWD; i++)
        pthread_join(putters[i], NULL);
    ck_assert_int_eq(wedge_pool_join(crowd->pool, WEDGE_POOL_NEVER, &err), 0);
    for (int i = 0; i < CROWD && !_i; i++)
        pthread_join(takers[i], NULL);
    check_crowd(crowd);
    wedge_pool_destroy(crowd->pool);
    free(crowd);
    check_no_child();
}
END_TEST

/* put_many, take_many: their edges. */

START_TEST(put_many_stops_at_the_first_that_does_not_fit)
{
    struct tally *tally = calloc(1, sizeof(*tally));
    struct wedge_pool_callbacks callbacks = square_callbacks(tally);
    struct wedge_pool *pool = MAKE_POOL("hardened", WORKERS, "processes=1", "payload_bytes=64");
    uint64_t one = 1, two = 2;
    char large[65] = {0};
    struct wedge_pool_input inputs[] = {{.data = &one, .bytes = 8},
                                        {.data = &two, .bytes = 8},
                                        {.data = large, .bytes = 65},
                                        {.data = &one, .bytes = 8}};
    struct wedge_pool_err err;
    tally_init(tally);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), 0);
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs, 0, WEDGE_POOL_NEVER), 0);
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs, 4, WEDGE_POOL_NEVER), 2);
    ck_assert_uint_eq(inputs[0].id, 1);
    ck_assert_uint_eq(inputs[1].id, 2);
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs + 2, 2, WEDGE_POOL_NEVER), -EMSGSIZE);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, &err), 0);
    ck_assert_int_eq(wedge_pool_put_many(pool, inputs, 1, WEDGE_POOL_NEVER), -EPIPE);
    tally_check_each_once(tally, 2);
    wedge_pool_destroy(pool);
    free(tally);
}
END_TEST

START_TEST(take_many_refuses_none_and_says_the_whole_size)
{
    struct wedge_pool_callbacks callbacks = {.task = square_task};
    struct wedge_pool *pool = MAKE_POOL("hardened", WORKERS, "processes=1");
    struct wedge_pool_result results[3];
    struct wedge_pool_err err;
    uint8_t cut[3][4];
    int taken = 0;
    ck_assert_int_eq(wedge_pool_take_many(pool, results, 3, NULL, 0, 0), -EINVAL);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), 0);
    ck_assert_int_eq(wedge_pool_take_many(pool, results, 0, NULL, 0, 0), -EINVAL);
    ck_assert_int_eq(wedge_pool_take_many(pool, results, 3, NULL, 0, 0), -ETIMEDOUT);
    for (uint64_t i = 1; i <= 3; i++)
        put_number(pool, i);
    while (taken < 3) {
        int rc = wedge_pool_take_many(pool, results, 3, cut, sizeof(cut[0]), WEDGE_POOL_NEVER);
        ck_assert_int_gt(rc, 0);
        for (int i = 0; i < rc; i++) {
            uint64_t square = results[i].id * results[i].id;
            ck_assert_uint_eq(results[i].bytes, 8);
            ck_assert_ptr_eq(results[i].data, cut[i]);
            ck_assert_mem_eq(cut[i], &square, sizeof(cut[i]));
            ck_assert_ptr_null(results[i].meta);
        }
        taken += rc;
    }
    ck_assert_int_eq(wedge_pool_close(pool, 0), 0);
    ck_assert_int_eq(wedge_pool_take_many(pool, results, 3, NULL, 0, WEDGE_POOL_NEVER), -ENODATA);
    wedge_pool_destroy(pool);
}
END_TEST

/* Larger than a slot. */

static int reverse_task(struct wedge_pool_task *task, void *context)
{
    const uint8_t *data = task->data;
    uint8_t *result = task->result;
    (void)context;
    for (size_t i = 0; i < task->bytes; i++)
        result[i] = data[task->bytes - 1 - i];
    task->result_bytes = task->bytes;
    return 0;
}

/* Byte k of task i: nothing that a wrong place would hold by chance. */
static uint8_t pattern(uint64_t i, size_t k)
{
    return (uint8_t)(i * 31 + k * 7 + (k >> 8));
}

/* _i: an arena that holds a few at once, one, or all that the queue holds. */
START_TEST(payloads_of_any_size_travel_whole_both_ways)
{
    static const char *const arenas[] = {"arena_bytes=300000", "arena_bytes=65536", "arena_bytes=auto"};
    enum { TASKS = 400, LARGEST = 30000 };
    struct wedge_pool_callbacks callbacks = {.task = reverse_task};
    struct wedge_pool *pool =
        MAKE_POOL("hardened", WORKERS, "processes=2", "queue=8", "payload_bytes=30000", "slot_bytes=64", arenas[_i]);
    struct wedge_pool_err err;
    struct wedge_pool_result result;
    uint8_t *task = malloc(LARGEST), *back = malloc(LARGEST);
    uint64_t put = 0, taken = 0;
    ck_assert_msg(wedge_pool_start(pool, &callbacks, &err) == 0, "%s", err.message);
    while (taken < TASKS) {
        size_t bytes = put % 5 == 0 ? LARGEST : (size_t)(put * 7919 % (put % 3 == 0 ? LARGEST : 200));
        for (size_t k = 0; k < bytes; k++)
            task[k] = pattern(put + 1, k);
        int rc = put < TASKS ? wedge_pool_put(pool, task, bytes, 0, NULL) : -ETIMEDOUT;
        ck_assert(rc == 0 || rc == -ENOBUFS || rc == -ETIMEDOUT);
        put += rc == 0;
        if (rc == 0)
            continue;
        ck_assert_int_eq(wedge_pool_take(pool, &result, back, LARGEST, WEDGE_POOL_NEVER), 0);
        uint64_t i = result.id - 1;
        bytes = i % 5 == 0 ? LARGEST : (size_t)(i * 7919 % (i % 3 == 0 ? LARGEST : 200));
        ck_assert_int_eq(result.outcome, WEDGE_POOL_OK);
        ck_assert_uint_eq(result.bytes, bytes);
        size_t right = 0;
        for (size_t k = 0; k < bytes; k++)
            right += back[k] == pattern(result.id, bytes - 1 - k);
        ck_assert_uint_eq(right, bytes);
        taken++;
    }
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, &err), 0);
    wedge_pool_destroy(pool);
    free(task);
    free(back);
}
END_TEST

START_TEST(an_arena_that_holds_no_task_is_refused_at_start)
{
    struct wedge_pool_callbacks callbacks = {.task = square_task};
    struct wedge_pool *pool = MAKE_POOL("hardened", WORKERS, "payload_bytes=100000", "arena_bytes=4096");
    struct wedge_pool_err err;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "arena_bytes"));
    wedge_pool_destroy(pool);
}
END_TEST

/* Tasks that wait in a worker's hand until the test lets them go. */

static int wait_task(struct wedge_pool_task *task, void *context)
{
    struct tally *tally = context;
    char byte = 0;
    if (task->place.process != 0 && (write(tally->say_fd, &byte, 1) != 1 || read(tally->go_fd, &byte, 1) != 1))
        return EIO;
    return square_task(task, NULL);
}

struct held {
    struct tally *tally;
    int said, go;
    struct wedge_pool *pool;
};

static struct held hold(const char *preset, const char *const *settings)
{
    struct held held = {.tally = calloc(1, sizeof(*held.tally)), .pool = make_pool(preset, settings)};
    struct wedge_pool_err err;
    int say[2], go[2];
    make_pipe(say);
    make_pipe(go);
    tally_init(held.tally);
    held.said = say[0];
    held.go = go[1];
    held.tally->say_fd = say[1];
    held.tally->go_fd = go[0];
    struct wedge_pool_callbacks callbacks = {.task = wait_task, .context = held.tally};
    ck_assert_int_eq(wedge_pool_start(held.pool, &callbacks, &err), 0);
    return held;
}

static void release(struct held *held, unsigned tasks)
{
    struct wedge_pool_err err;
    for (unsigned i = 0; i < tasks; i++)
        ck_assert_int_eq(write(held->go, "g", 1), 1);
    ck_assert_int_eq(wedge_pool_close(held->pool, 0), 0);
    take_all(held->pool, held->tally);
    ck_assert_int_eq(wedge_pool_join(held->pool, WEDGE_POOL_NEVER, &err), 0);
    wedge_pool_destroy(held->pool);
    check_no_child();
}

START_TEST(a_full_queue_says_so_in_each_way)
{
    struct held held = hold("hardened", (const char *const[]){WORKERS, "processes=1", "threads=1", "queue=2", NULL});
    uint64_t number = 4;
    for (uint64_t i = 1; i <= 3; i++)
        put_number(held.pool, i);
    read_byte(held.said);
    ck_assert_int_eq(wedge_pool_put(held.pool, &number, 8, WEDGE_POOL_NEVER, NULL),
                     -ENOBUFS); /* it would wait for itself */
    struct wedge_pool_stats stats;
    wedge_pool_stats(held.pool, &stats);
    ck_assert_uint_eq(stats.accepted, 3);
    ck_assert_uint_eq(stats.queued, 2);
    ck_assert_uint_eq(stats.running, 1);
    release(&held, 3);
    tally_check_each_once(held.tally, 3);
    free(held.tally);
}
END_TEST

START_TEST(the_caller_runs_what_finds_no_room)
{
    struct held held = hold(
        "hardened", (const char *const[]){WORKERS, "processes=1", "threads=2", "queue=1", "when_full=caller", NULL});
    struct wedge_pool_stats stats;
    uint64_t number = 6;
    for (uint64_t i = 1; i <= 3; i++)
        put_number(held.pool, i); /* two in hand, one queued: full */
    read_byte(held.said);
    read_byte(held.said);
    put_number(held.pool, 4); /* runs here: nobody lets the others go */
    put_number(held.pool, 5);
    wedge_pool_stats(held.pool, &stats);
    ck_assert_uint_eq(stats.accepted, 5);
    ck_assert_uint_eq(stats.finished, 2);
    ck_assert_uint_eq(stats.results, 2);
    /* As many as there are worker threads; then it is full in earnest. */
    ck_assert_int_eq(wedge_pool_put(held.pool, &number, 8, WEDGE_POOL_NEVER, NULL), -ENOBUFS);
    release(&held, 3);
    tally_check_each_once(held.tally, 5);
    ck_assert_uint_eq(held.tally->outcomes[WEDGE_POOL_OK], 5);
    free(held.tally);
}
END_TEST

/* The streams too: the result goes the way of the others. */
START_TEST(the_caller_runs_what_finds_no_room_in_a_stream)
{
    static const char *const presets[] = {"reported", "proposed"};
    struct held held =
        hold(presets[_i], (const char *const[]){"processes=1", "threads=1", "queue=1", "when_full=caller", NULL});
    struct wedge_pool_input input = {.bytes = 8, .meta = &held};
    struct wedge_pool_result result;
    uint64_t number = 4, square;
    put_number(held.pool, 1);
    read_byte(held.said); /* in hand */
    put_number(held.pool, 2);
    put_number(held.pool, 3);
    input.data = &number;
    ck_assert_int_eq(wedge_pool_put_many(held.pool, &input, 1, 0), 1);
    ck_assert_uint_eq(input.id, 4);
    for (int i = 0; i < 4; i++) {
        ck_assert(i < 2 || write(held.go, "g", 1) == 1); /* the caller's two are there before any other */
        ck_assert_int_eq(wedge_pool_take(held.pool, &result, &square, 8, WEDGE_POOL_NEVER), 0);
        tally_add(held.tally, &result);
        ck_assert(result.id == (uint64_t)(i < 2 ? 3 + i : i - 1));
        ck_assert_ptr_eq(result.meta, result.id == 4 ? &held : NULL);
    }
    release(&held, 0);
    tally_check_each_once(held.tally, 4);
    ck_assert_uint_eq(held.tally->outcomes[WEDGE_POOL_OK], 4);
    free(held.tally);
}
END_TEST

static int stuck_in_caller(struct wedge_pool_task *task, void *context)
{
    return wait_task(&(struct wedge_pool_task){.place.process = 1, .data = task->data}, context);
}

static void *put_one(void *arg)
{
    uint64_t number = 1;
    wedge_pool_put(arg, &number, sizeof(number), WEDGE_POOL_NEVER, NULL);
    return NULL;
}

START_TEST(close_does_not_wait_for_a_task_that_its_caller_runs)
{
    struct tally tally;
    struct wedge_pool_callbacks callbacks = {.task = stuck_in_caller, .context = &tally};
    struct wedge_pool *pool = MAKE_POOL("hardened", WORKERS, "processes=1", "threads=1", "queue=1", "when_full=caller");
    struct wedge_pool_result result;
    struct wedge_pool_err err;
    int say[2], go[2], reported = 0;
    pthread_t putters[3];
    make_pipe(say);
    make_pipe(go);
    tally_init(&tally);
    tally.say_fd = say[1];
    tally.go_fd = go[0];
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), 0);
    for (int i = 0; i < 3; i++) { /* one in a worker, one queued, one in its caller */
        ck_assert_int_eq(pthread_create(&putters[i], NULL, put_one, pool), 0);
        if (i != 1)
            read_byte(say[0]);
        else
            pthread_join(putters[1], NULL);
    }
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0); /* hangs, if it does wait */
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(write(go[1], "g", 1), 1);
    while (wedge_pool_take(pool, &result, NULL, 0, WEDGE_POOL_NEVER) == 0)
        reported++;
    ck_assert_int_eq(reported, 3);
    pthread_join(putters[0], NULL);
    pthread_join(putters[2], NULL);
    wedge_pool_destroy(pool);
}
END_TEST

/* Each round leaves the numbers of withdrawn slots in the ring, which nobody takes out: many rounds overflow it. */
START_TEST(tasks_that_wait_too_long_time_out_and_leave_no_trace)
{
    struct held held =
        hold("hardened", (const char *const[]){WORKERS, "processes=1", "threads=1", "queue=64", "queue_limit=1", NULL});
    struct wedge_pool_result result;
    uint64_t number = 1;
    unsigned timeouts = 0, in_hand = 0;
    put_number(held.pool, number); /* in hand, or timed out before: */
    while (wedge_pool_take(held.pool, &result, NULL, 0, 0) == 0)
        timeouts++;
    while (timeouts < 64 * 20) {
        while (wedge_pool_put(held.pool, &number, sizeof(number), 0, NULL) == 0)
            ;
        int rc = wedge_pool_take(held.pool, &result, NULL, 0, WEDGE_POOL_NEVER);
        ck_assert_int_eq(rc, 0);
        ck_assert_int_eq(result.outcome, WEDGE_POOL_TIMEOUT);
        timeouts++;
    }
    static const char all[100];
    struct wedge_pool_stats stats;
    wedge_pool_stats(held.pool, &stats);
    ck_assert_uint_le(stats.queued, 256); /* what the ring of 66 slots holds: old numbers were thrown out */
    ck_assert_int_eq(write(held.go, all, sizeof(all)), sizeof(all)); /* lets go what is in hand, and all after it */
    ck_assert_int_eq(wedge_pool_close(held.pool, 0), 0);
    while (wedge_pool_take(held.pool, &result, NULL, 0, WEDGE_POOL_NEVER) == 0)
        in_hand += result.outcome == WEDGE_POOL_OK;
    ck_assert_uint_ge(in_hand, 1);
    wedge_pool_stats(held.pool, &stats);
    ck_assert_uint_eq(stats.accepted, stats.reported);
    wedge_pool_destroy(held.pool);
    free(held.tally);
    check_no_child();
}
END_TEST

/* Memory. */

static int put_some(struct wedge_pool *pool, uint64_t n)
{
    int rc = 0;
    for (uint64_t i = 1; rc == 0 && i <= n; i++) /* no assertion in here: Check allocates for each */
        rc = wedge_pool_put(pool, &i, sizeof(i), WEDGE_POOL_NEVER, NULL);
    return rc;
}

static void count_only(const struct wedge_pool_result *result, void *context)
{
    (void)result;
    atomic_fetch_add((_Atomic uint64_t *)context, 1);
}

START_TEST(a_task_allocates_nothing)
{
    static _Atomic uint64_t collected;
    struct wedge_pool_callbacks callbacks = {.task = square_task, .collect = count_only, .context = &collected};
    struct wedge_pool *pool = MAKE_POOL("hardened", WORKERS, "processes=2", "threads=2", "queue=100");
    struct wedge_pool_err err;
    allocations = mmap(NULL, sizeof(*allocations), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(allocations, MAP_FAILED);
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), 0);
    ck_assert_int_eq(put_some(pool, 2000), 0);
    atomic_store(&allocations->on, 1);
    free(malloc(1)); /* the counter counts */
    int rc = put_some(pool, 20000);
    atomic_store(&allocations->on, 0);
    ck_assert_int_eq(rc, 0);
    if (COUNTS_ALLOCATIONS)
        ck_assert_uint_eq(atomic_load(&allocations->n), 1);
    ck_assert_int_eq(wedge_pool_join(pool, WEDGE_POOL_NEVER, &err), 0);
    ck_assert_uint_eq(atomic_load(&collected), 22000);
    wedge_pool_destroy(pool);
}
END_TEST

/* CPU time of a pool's parent and workers so far. */
static int64_t cpu_ns(struct wedge_pool *pool)
{
    int64_t sum_ns = 0;
    for (uint32_t i = 0; i <= PROCESSES; i++) {
        struct timespec used;
        clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
        if (i > 0)
            ck_assert_int_eq(clock_getcpuclockid(atomic_load(&wedge_board_seat(pool->board, i - 1)->pid), &clock), 0);
        ck_assert_int_eq(clock_gettime(clock, &used), 0);
        sum_ns += used.tv_sec * WEDGE_NS_PER_S + used.tv_nsec;
    }
    return sum_ns;
}

/* After a burst, which leaves each of its threads in a nap or a spin. */
START_TEST(an_idle_pool_takes_no_cpu)
{
    static _Atomic uint64_t collected;
    struct wedge_pool_callbacks callbacks = {.task = square_task, .collect = count_only, .context = &collected};
    struct wedge_pool *pool = MAKE_POOL("hardened", "processes=2", "threads=2", "queue=1000");
    const struct timespec pause = {.tv_nsec = 50 * WEDGE_NS_PER_MS}, second = {.tv_sec = 1};
    struct wedge_pool_err err;
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), 0);
    ck_assert_int_eq(put_some(pool, 20000), 0);
    while (atomic_load(&collected) < 20000)
        nanosleep(&pause, NULL);
    nanosleep(&pause, NULL); /* what is measured is a time, and begins once the naps are over */
    int64_t before_ns = cpu_ns(pool);
    nanosleep(&second, NULL);
    ck_assert_int_lt(cpu_ns(pool) - before_ns,
                     COUNTS_ALLOCATIONS ? 5 * WEDGE_NS_PER_MS : 50 * WEDGE_NS_PER_MS); /* 0.5 % */
    wedge_pool_destroy(pool);
}
END_TEST

/* Shared memory that has no name, in bytes: what the slots take, and a pool's other parts. */
static uint64_t shared_bytes(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned long from, to;
    char mode[8];
    uint64_t sum = 0;
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && mode[3] == 's' && strstr(line, "/dev/zero"))
            sum += to - from;
    fclose(maps);
    return sum;
}

/* The formula of <wedge/pool.h>. */
static uint64_t stated(uint64_t slots, uint64_t slot_bytes, uint64_t payload_bytes, uint64_t arena)
{
    uint64_t room = slot_bytes < payload_bytes ? slot_bytes : payload_bytes;
    return slots * ((32 + 2 * room + 63) / 64 * 64) + arena;
}

START_TEST(memory_is_what_the_header_says)
{
    static const struct {
        const char *queue, *payload, *slot, *when_full;
        uint64_t bytes; /* stated */
        uint64_t slots;
    } rows[] = {
        {"queue=1000", "payload_bytes=256", "slot_bytes=256", "when_full=wait", 0, 1004},
        {"queue=100", "payload_bytes=8", "slot_bytes=256", "when_full=caller", 0, 108},
        {"queue=4000", "payload_bytes=65536", "slot_bytes=1024", "when_full=wait", 0, 4004},
    };
    uint64_t want[] = {stated(1004, 256, 256, 0), stated(108, 256, 8, 0),
                       stated(4004, 1024, 65536, (uint64_t)64 * 2 * 65536)};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wedge_pool_callbacks callbacks = {.task = square_task};
        struct wedge_pool *pool = MAKE_POOL("hardened", WORKERS, "processes=2", "threads=2", rows[i].queue,
                                            rows[i].payload, rows[i].slot, rows[i].when_full);
        struct wedge_pool_err err;
        uint64_t before = shared_bytes();
        ck_assert_int_eq(wedge_pool_start(pool, &callbacks, &err), 0);
        uint64_t took = shared_bytes() - before;
        ck_assert_uint_eq(pool->board->slots, rows[i].slots);
        ck_assert_uint_eq(pool->board->slots * pool->board->slot_bytes + pool->board->arena_bytes, want[i]);
        ck_assert_uint_ge(took, want[i]);
        ck_assert_uint_le(took, want[i] + 17 * rows[i].slots + 1024 + 4096); /* and what a page rounds up */
        wedge_pool_destroy(pool);
    }
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, bits_are_taken_once_each_and_by_the_lowest);
    tcase_add_test(t, a_ring_gives_each_number_once_and_in_order_to_many);
    tcase_add_loop_test(t, many_put_and_many_take_and_each_task_is_reported_once, 0, 2);
    tcase_add_test(t, put_many_stops_at_the_first_that_does_not_fit);
    tcase_add_test(t, take_many_refuses_none_and_says_the_whole_size);
    tcase_add_loop_test(t, payloads_of_any_size_travel_whole_both_ways, 0, 3);
    tcase_add_test(t, an_arena_that_holds_no_task_is_refused_at_start);
    tcase_add_test(t, a_full_queue_says_so_in_each_way);
    tcase_add_test(t, the_caller_runs_what_finds_no_room);
    tcase_add_loop_test(t, the_caller_runs_what_finds_no_room_in_a_stream, 0, 2);
    tcase_add_test(t, close_does_not_wait_for_a_task_that_its_caller_runs);
    tcase_add_test(t, tasks_that_wait_too_long_time_out_and_leave_no_trace);
    tcase_add_test(t, a_task_allocates_nothing);
    tcase_add_test(t, an_idle_pool_takes_no_cpu);
    tcase_add_test(t, memory_is_what_the_header_says);
}

int main(void)
{
    return wedge_test_main("slots", 60, fill);
}
