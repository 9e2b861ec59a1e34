/*
 * The ring of events, by itself and under writers that are killed, and the ways in which a pool tells of itself. In the
 * storm each text can be computed from who wrote it, so what is torn or out of order shows.
 */
#include "pool/event_ring.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "pool/tests/util.h"

#define PATIENCE_NS (WEDGE_EVENT_PATIENCE_MS * WEDGE_NS_PER_MS)
#define N           WEDGE_EVENT_RING_CELLS

static void *shared(size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    return map;
}

static struct wedge_event_ring *make_ring(void)
{
    struct wedge_event_ring *ring = shared(sizeof(*ring));
    wedge_event_ring_init(ring);
    return ring;
}

static bool write_number(struct wedge_event_ring *ring, unsigned number)
{
    uint64_t at = wedge_event_ring_claim(ring, getpid());
    if (at == WEDGE_EVENT_RING_FULL)
        return false;
    struct wedge_event_record *record = wedge_event_ring_record(ring, at);
    record->kind = number;
    snprintf(record->text, sizeof(record->text), "number %u", number);
    return wedge_event_ring_publish(ring, at, getpid());
}

/* The next record must be this one. */
static void check_next(struct wedge_event_ring *ring, struct wedge_event_reader *reader, unsigned number)
{
    struct wedge_event_record record;
    char text[32];
    snprintf(text, sizeof(text), "number %u", number);
    ck_assert_int_eq(wedge_event_ring_take(ring, reader, 1, &record), WEDGE_EVENT_TAKEN);
    ck_assert_uint_eq(record.kind, number);
    ck_assert_str_eq(record.text, text);
}

static void check_none(struct wedge_event_ring *ring, struct wedge_event_reader *reader)
{
    struct wedge_event_record record;
    ck_assert_int_eq(wedge_event_ring_take(ring, reader, 1, &record), WEDGE_EVENT_NONE);
}

START_TEST(ring_keeps_order_over_many_laps)
{
    struct wedge_event_ring *ring = make_ring();
    struct wedge_event_reader reader = {0};
    unsigned written = 0, read = 0;
    check_none(ring, &reader);
    for (int lap = 0; lap < 50; lap++) {
        for (int i = 0; i < 100 + lap; i++)
            ck_assert(write_number(ring, written++));
        while (read < written)
            check_next(ring, &reader, read++);
        check_none(ring, &reader);
    }
}
END_TEST

START_TEST(ring_that_is_full_drops_the_new)
{
    struct wedge_event_ring *ring = make_ring();
    struct wedge_event_reader reader = {0};
    for (unsigned i = 0; i < N; i++)
        ck_assert(write_number(ring, i));
    ck_assert(!write_number(ring, N));
    check_next(ring, &reader, 0);
    ck_assert(write_number(ring, N + 1));
    ck_assert(!write_number(ring, N + 2));
    for (unsigned i = 1; i < N; i++)
        check_next(ring, &reader, i);
    check_next(ring, &reader, N + 1);
    check_none(ring, &reader);
}
END_TEST

/* A process that is killed between claim and publish; reaped. */
static void die_writing(struct wedge_event_ring *ring)
{
    pid_t pid = fork();
    if (pid == 0) {
        wedge_event_ring_claim(ring, getpid());
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(ring_passes_over_the_dead_at_once)
{
    struct wedge_event_ring *ring = make_ring();
    struct wedge_event_reader reader = {0};
    unsigned number = 0;
    for (int lap = 0; lap < 3; lap++) { /* a cell comes back into service: else the third lap has fewer */
        die_writing(ring);
        for (unsigned i = 0; i < N - 1; i++)
            ck_assert_msg(write_number(ring, number + i), "lap %d: the ring was full at %u", lap, i);
        ck_assert(!write_number(ring, 0));
        for (unsigned i = 0; i < N - 1; i++)
            check_next(ring, &reader, number++);
        check_none(ring, &reader);
        ck_assert_uint_eq(reader.torn, (uint64_t)lap + 1);
    }
}
END_TEST

START_TEST(ring_passes_over_the_slow_and_takes_its_cell_back)
{
    struct wedge_event_ring *ring = make_ring();
    struct wedge_event_reader reader = {0};
    struct wedge_event_record record;
    uint64_t slow = wedge_event_ring_claim(ring, getpid());
    ck_assert(write_number(ring, 1));
    ck_assert_int_eq(wedge_event_ring_take(ring, &reader, 1, &record), WEDGE_EVENT_BUSY);
    ck_assert_int_eq(wedge_event_ring_take(ring, &reader, PATIENCE_NS, &record), WEDGE_EVENT_BUSY);
    ck_assert_int_eq(wedge_event_ring_take(ring, &reader, PATIENCE_NS + 1, &record), WEDGE_EVENT_TAKEN);
    ck_assert_uint_eq(record.kind, 1);
    ck_assert_uint_eq(reader.torn, 1);
    /* Out of service: a whole lap, and nobody else gets its bytes. */
    for (unsigned i = 0; i < N - 1; i++) {
        uint64_t at = wedge_event_ring_claim(ring, getpid());
        ck_assert_ptr_ne(wedge_event_ring_record(ring, at), wedge_event_ring_record(ring, slow));
        ck_assert(wedge_event_ring_publish(ring, at, getpid()));
        ck_assert_int_eq(wedge_event_ring_take(ring, &reader, 2, &record), WEDGE_EVENT_TAKEN);
    }
    ck_assert(!wedge_event_ring_publish(ring, slow, getpid())); /* says that it was lost, and gives the cell back */
    for (unsigned i = 0; i < N; i++) { /* until the reader comes by it */
        ck_assert(write_number(ring, i));
        check_next(ring, &reader, i);
        check_none(ring, &reader);
    }
    for (unsigned i = 0; i < N; i++)
        ck_assert(write_number(ring, i));
    for (unsigned i = 0; i < N; i++)
        check_next(ring, &reader, i);
    check_none(ring, &reader);
}
END_TEST

START_TEST(ring_of_slow_writers_alone_is_full_and_recovers)
{
    struct wedge_event_ring *ring = make_ring();
    struct wedge_event_reader reader = {0};
    struct wedge_event_record record;
    static uint64_t slow[N];
    int64_t now_ns = 1;
    for (unsigned i = 0; i < N; i++)
        slow[i] = wedge_event_ring_claim(ring, getpid());
    ck_assert_uint_eq(wedge_event_ring_claim(ring, getpid()), WEDGE_EVENT_RING_FULL);
    while (reader.torn < N && now_ns < 3 * N * PATIENCE_NS) {
        wedge_event_ring_take(ring, &reader, now_ns, &record);
        now_ns += PATIENCE_NS;
    }
    ck_assert_uint_eq(reader.torn, N);
    ck_assert_uint_eq(wedge_event_ring_claim(ring, getpid()), WEDGE_EVENT_RING_FULL); /* and ends */
    for (unsigned i = 0; i < N; i++)
        ck_assert(!wedge_event_ring_publish(ring, slow[i], getpid()));
    check_none(ring, &reader);
    for (unsigned i = 0; i < 3 * N; i++) {
        if (!write_number(ring, i)) /* what its skipping left over is put right by the reader's next look */
            check_none(ring, &reader);
        else
            check_next(ring, &reader, i);
    }
    ck_assert(write_number(ring, 7));
    check_next(ring, &reader, 7);
}
END_TEST

static struct wedge_event_ring *handler_ring;
static volatile unsigned handler_wrote, handler_lost;

static void write_in_handler(int signal)
{
    (void)signal;
    if (write_number(handler_ring, handler_wrote))
        handler_wrote++;
    else
        handler_lost++;
}

static void *interrupt(void *arg)
{
    const pthread_t *target = arg;
    for (int i = 0; i < 2000; i++)
        pthread_kill(*target, SIGUSR1);
    return NULL;
}

START_TEST(ring_takes_events_of_signal_handlers)
{
    struct wedge_event_reader reader = {0};
    struct wedge_event_record record;
    pthread_t self = pthread_self(), other;
    unsigned wrote = 0, lost = 0;
    handler_ring = make_ring();
    struct sigaction writing = {.sa_handler = write_in_handler}, ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGUSR1, &writing, NULL);
    ck_assert_int_eq(pthread_create(&other, NULL, interrupt, &self), 0);
    for (int i = 0; i < 20000; i++) {
        if (write_number(handler_ring, 0))
            wrote++;
        else
            lost++;
        if (i % 64 == 0) /* not at each: laps, and "full" too */
            while (wedge_event_ring_take(handler_ring, &reader, 1, &record) == WEDGE_EVENT_TAKEN)
                wrote--;
    }
    pthread_join(other, NULL);
    sigaction(SIGUSR1, &ignored, NULL);
    unsigned left = wrote + handler_wrote;
    while (wedge_event_ring_take(handler_ring, &reader, 1, &record) == WEDGE_EVENT_TAKEN)
        left--;
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_gt(handler_wrote, 0);
    ck_assert_uint_eq(wrote + lost + handler_lost > 0, 1);
}
END_TEST

/* The storm: 4 processes × 4 threads tell 100,000 events; every so often a process is killed and another one begins. */
enum { PROCESSES = 4, THREADS = 4, EVENTS = 100000, LIVES = 64 };

struct storm {
    struct wedge_event_ring ring;
    struct wedge_event_reader reader;
    _Atomic uint64_t begun, dropped, published, overtaken; /* overtaken: passed over, and lived to hear it */
    uint64_t delivered, spoilt, disordered;
    uint32_t last[LIVES * PROCESSES][THREADS]; /* per life of a process */
};
struct storm_thread {
    struct storm *storm;
    uint32_t life, thread;
};

/* What this event's text must be: as long as its number says, and of one letter. */
static void storm_text(uint32_t life, uint32_t thread, uint32_t number, char *buf, size_t size)
{
    size_t used = (size_t)snprintf(buf, size, "%u.%u.%u ", life, thread, number);
    size_t end = used + (life * 7 + thread * 5 + number) % (size - used - 1);
    memset(buf + used, 'a' + (int)((life + thread + number) % 26), end - used);
    buf[end] = '\0';
}

static void *storm_writer(void *arg)
{
    const struct storm_thread *self = arg;
    struct storm *storm = self->storm;
    for (uint32_t number = 1; atomic_fetch_add(&storm->begun, 1) < EVENTS; number++) {
        uint64_t at = wedge_event_ring_claim(&storm->ring, getpid());
        if (at == WEDGE_EVENT_RING_FULL) {
            atomic_fetch_add(&storm->dropped, 1);
            sched_yield();
            continue;
        }
        struct wedge_event_record *record = wedge_event_ring_record(&storm->ring, at);
        record->process = self->life;
        record->generation = self->thread;
        record->kind = number;
        storm_text(self->life, self->thread, number, record->text, sizeof(record->text));
        if (self->life % 2 == 0 && self->thread == 1 && number == 1000)
            raise(SIGKILL); /* surely halfway; the others die wherever they are */
        if (wedge_event_ring_publish(&storm->ring, at, getpid()))
            atomic_fetch_add(&storm->published, 1);
        else
            atomic_fetch_add(&storm->overtaken, 1);
    }
    return NULL;
}

static pid_t storm_process(struct storm *storm, uint32_t life)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    pthread_t threads[THREADS];
    struct storm_thread args[THREADS];
    for (uint32_t t = 0; t < THREADS; t++) {
        args[t] = (struct storm_thread){.storm = storm, .life = life, .thread = t};
        if (pthread_create(&threads[t], NULL, storm_writer, &args[t]) != 0)
            _exit(1);
    }
    for (uint32_t t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    _exit(0);
}

static enum wedge_event_take storm_read(struct storm *storm)
{
    struct wedge_event_record record;
    char right[WEDGE_EVENT_TEXT + 1];
    enum wedge_event_take took = wedge_event_ring_take(&storm->ring, &storm->reader, wedge_clock_ns(), &record);
    if (took != WEDGE_EVENT_TAKEN)
        return took;
    storm->delivered++;
    if (record.process >= LIVES * PROCESSES || record.generation >= THREADS) {
        storm->spoilt++;
        return took;
    }
    storm_text(record.process, record.generation, record.kind, right, sizeof(right));
    storm->spoilt += strcmp(right, record.text) != 0;
    uint32_t *last = &storm->last[record.process][record.generation];
    storm->disordered += record.kind <= *last;
    *last = record.kind;
    return took;
}

START_TEST(storm_of_writers_that_are_killed)
{
    struct storm *storm = shared(sizeof(*storm));
    pid_t pids[PROCESSES];
    uint32_t lives = 0;
    unsigned living = PROCESSES, killed = 0;
    wedge_event_ring_init(&storm->ring);
    srand48(1);
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = storm_process(storm, lives++);
    uint64_t kill_at = 2000;
    while (living > 0) {
        for (int i = 0; i < 500; i++)
            storm_read(storm);
        int victim = (int)(lrand48() % PROCESSES);
        if (storm->delivered > kill_at && lives < LIVES && pids[victim]) {
            kill(pids[victim], SIGKILL); /* ours, not reaped */
            kill_at = storm->delivered + 1500;
        }
        for (int i = 0; i < PROCESSES; i++) {
            int status;
            if (pids[i] == 0 || waitpid(pids[i], &status, WNOHANG) != pids[i])
                continue;
            killed += WIFSIGNALED(status);
            pids[i] = WIFSIGNALED(status) && lives < LIVES * PROCESSES ? storm_process(storm, lives++) : 0;
            living -= pids[i] == 0;
        }
    }
    int64_t until_ns = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    while (storm_read(storm) != WEDGE_EVENT_NONE)
        ck_assert_msg(wedge_clock_ns() < until_ns, "the ring is stuck");
    ck_assert_uint_eq(storm->spoilt, 0);
    ck_assert_uint_eq(storm->disordered, 0);
    ck_assert_uint_ge(killed, 10);
    ck_assert_uint_ge(storm->reader.torn, 1);
    /* Delivered + dropped + torn = told. Each process that was killed leaves up to a word per thread uncounted on either side:
     * begun and not claimed, or claimed and published and not yet counted. */
    uint64_t told = atomic_load(&storm->begun), accounted = storm->delivered + storm->dropped + storm->reader.torn;
    ck_assert_uint_le(accounted, told);
    ck_assert_uint_le(told - accounted, (uint64_t)(killed + PROCESSES) * THREADS); /* the last look of each ends it */
    ck_assert_uint_ge(storm->delivered, storm->published);
    ck_assert_uint_ge(storm->reader.torn, storm->overtaken);
    check_no_child();
}
END_TEST

/* What a pool's event callback heard. */
struct heard {
    struct tally tally;
    _Atomic unsigned kinds[32];
    _Atomic unsigned elsewhere; /* not in the events' thread of this process */
    pid_t parent;
    int go_fd, say_fd; /* the callback waits for a byte; -1: it does not */
};

static int hold_task(struct wedge_pool_task *task, void *context)
{
    const struct heard *heard = context;
    char byte;
    (void)task;
    return read(heard->tally.go_fd, &byte, 1) == 1 ? 0 : EIO;
}

static void hear(const struct wedge_pool_event *event, void *context)
{
    struct heard *heard = context;
    char name[16] = "", byte;
    pthread_getname_np(pthread_self(), name, sizeof(name));
    if (strcmp(name, "events") != 0 || getpid() != heard->parent)
        heard->elsewhere++;
    heard->kinds[event->kind % 32]++;
    if (heard->say_fd >= 0)
        ck_assert_int_eq(write(heard->say_fd, "e", 1), 1);
    if (heard->go_fd >= 0)
        ck_assert_int_ge(read(heard->go_fd, &byte, 1), 0);
}

/* A pool of one thread that holds its task and has three more queued in a queue of three: over 80 %. */
static struct wedge_pool *start_full_pool(struct heard *heard, const char *log)
{
    struct wedge_pool *pool =
        MAKE_POOL("hardened", "processes=1", "threads=1", "queue=3", "alarms=instant", log, "idle_limit=never");
    struct wedge_pool_callbacks callbacks = {.task = hold_task, .event = hear, .context = heard};
    ck_assert_int_eq(wedge_pool_start(pool, &callbacks, NULL), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(wedge_pool_put(pool, "x", 1, WEDGE_POOL_NEVER, NULL), 0);
    return pool;
}

static void init_heard(struct heard *heard, int pipes[2])
{
    memset(heard, 0, sizeof(*heard));
    tally_init(&heard->tally);
    make_pipe(pipes);
    heard->tally.go_fd = pipes[0];
    heard->parent = getpid();
    heard->go_fd = heard->say_fd = -1;
}

START_TEST(pool_tells_its_alarms_in_its_own_thread)
{
    static struct heard heard;
    int go[2], say[2];
    struct wedge_pool_stats stats;
    init_heard(&heard, go);
    make_pipe(say);
    heard.say_fd = say[1];
    struct wedge_pool *pool = start_full_pool(&heard, _i ? "log=direct" : "log=queued");
    while (heard.kinds[WEDGE_POOL_EVENT_ALARM] == 0)
        read_byte(say[0]); /* fails after ten seconds; the supervisor looks once a second */
    ck_assert_int_eq(write(go[1], "gggg", 4), 4);
    while (heard.kinds[WEDGE_POOL_EVENT_ALARM_OVER] == 0)
        read_byte(say[0]);
    ck_assert_int_eq(wedge_pool_close(pool, WEDGE_POOL_NEVER), 0);
    take_all(pool, &heard.tally);
    wedge_pool_stats(pool, &stats);
    ck_assert_uint_eq(stats.accepted, 4);
    wedge_pool_destroy(pool);
    if (_i)
        ck_assert_uint_gt(heard.elsewhere, 0);
    else
        ck_assert_uint_eq(heard.elsewhere, 0);
    check_no_child();
}
END_TEST

static int count_threads(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[128];
    int threads = 0;
    ck_assert_ptr_nonnull(status);
    while (threads == 0 && fgets(line, sizeof(line), status))
        if (sscanf(line, "Threads: %d", &threads) != 1)
            threads = 0;
    fclose(status);
    return threads;
}

static void *say_tid(void *arg)
{
    *(pid_t *)arg = gettid();
    return NULL;
}

/* ThreadSanitizer starts a thread of its own beside the first one of the program: it is there once this one is gone. */
static void start_a_first_thread(void)
{
    pid_t tid;
    pthread_t thread;
    char path[64];
    int64_t until_ns = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    ck_assert_int_eq(pthread_create(&thread, NULL, say_tid, &tid), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    snprintf(path, sizeof(path), "/proc/self/task/%d", (int)tid);
    while (access(path, F_OK) == 0)
        ck_assert_int_lt(wedge_clock_ns(), until_ns);
}

/* A sink that never comes back holds up nothing but destroy, and that for as long as events.h says. */
START_TEST(sink_that_is_stuck_is_left_behind)
{
    static struct heard heard;
    int go[2], say[2], sink[2];
    init_heard(&heard, go);
    make_pipe(say);
    make_pipe(sink);
    heard.say_fd = say[1];
    heard.go_fd = sink[0];
    start_a_first_thread();
    int threads = count_threads();
    struct wedge_pool *pool = start_full_pool(&heard, "log=queued");
    read_byte(say[0]); /* it is in the sink, for good */
    ck_assert_int_eq(write(go[1], "gggg", 4), 4);
    ck_assert_int_eq(wedge_pool_join(pool, wedge_pool_after_ms(20000), NULL), 0);
    take_all(pool, &heard.tally);
    ck_assert_uint_eq(heard.tally.reported, 4);
    int64_t began_ns = wedge_clock_ns();
    wedge_pool_destroy(pool);
    ck_assert_int_lt(wedge_clock_ns() - began_ns, 10 * WEDGE_NS_PER_S);
    unsigned before = 0, after = 0;
    for (int i = 0; i < 32; i++)
        before += heard.kinds[i];
    close(sink[1]); /* let go: it may come back, and is called no more */
    close(say[1]);
    int64_t until_ns = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    while (count_threads() > threads)
        ck_assert_int_lt(wedge_clock_ns(), until_ns);
    for (int i = 0; i < 32; i++)
        after += heard.kinds[i];
    ck_assert_uint_eq(before, after);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, ring_keeps_order_over_many_laps);
    tcase_add_test(tcase, ring_that_is_full_drops_the_new);
    tcase_add_test(tcase, ring_passes_over_the_dead_at_once);
    tcase_add_test(tcase, ring_passes_over_the_slow_and_takes_its_cell_back);
    tcase_add_test(tcase, ring_of_slow_writers_alone_is_full_and_recovers);
    tcase_add_test(tcase, ring_takes_events_of_signal_handlers);
    tcase_add_test(tcase, storm_of_writers_that_are_killed);
    tcase_add_loop_test(tcase, pool_tells_its_alarms_in_its_own_thread, 0, 2);
    tcase_add_test(tcase, sink_that_is_stuck_is_left_behind);
}

int main(void)
{
    return wedge_test_main("events", 60, fill);
}
