/*
 * A snapshot grows in a small builder: processes with their threads first, then edges, dead, faults, the verdict.
 * Everything lies in the snapshot's obstack, so that wedge_snapshot_free gives it all back.
 */
#include "reports/tests/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/clock.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

enum { MOST = 64 };
#define MS WEDGE_NS_PER_MS

const char *const sample_names[SAMPLE_COUNT] = {"lock-cycle",  "orphaned-wait", "stuck-callback", "mutual-backpressure",
                                                "no-progress", "idle",          "hostile"};

const char sample_hostile_text[] =
    "</script><script>alert(1)</script>&<!--\033[31m\033]0;t\a\r\n\t\x01\x7f"
    "\xff\xc0\xaf\xed\xa0\x80 \xe2\x80\xa8\xe2\x80\xa9\xef\xbf\xbf]]>\"'gr\xc3\xbc\xc3\x9f";

static void *take(struct wedge_snapshot *s, size_t bytes)
{
    void *p = obstack_alloc(&s->mem, bytes);
    memset(p, 0, bytes);
    return p;
}

static struct wedge_snapshot *begin(pid_t root)
{
    struct wedge_snapshot *s = calloc(1, sizeof(*s));
    if (!s)
        abort();
    obstack_init(&s->mem);
    s->root = root;
    s->taken_ns = 100000 * MS + 850 * MS;
    s->complete = "";
    s->procs = take(s, MOST * sizeof(*s->procs));
    s->threads = take(s, MOST * sizeof(*s->threads));
    s->dead = take(s, MOST * sizeof(*s->dead));
    s->edges = take(s, MOST * MOST * sizeof(*s->edges));
    s->verdicts = take(s, 4 * sizeof(*s->verdicts));
    s->faults = take(s, MOST * sizeof(*s->faults));
    s->firings = take(s, MOST * sizeof(*s->firings));
    return s;
}

static int add_proc(struct wedge_snapshot *s, pid_t pid, pid_t ppid, const char *comm, const char *cmdline,
                    const char *role, int index)
{
    s->procs[s->n_procs] = (struct wedge_proc){.pid = pid,
                                               .ppid = ppid,
                                               .start_ticks = 4700000 + (uint64_t)pid,
                                               .uid = 1000,
                                               .state = 'S',
                                               .comm = comm,
                                               .exe = "/usr/bin/sample",
                                               .cmdline = cmdline,
                                               .in_tree = true,
                                               .agent = role[0] != 0,
                                               .role = role,
                                               .role_index = index,
                                               .first_thread = (int)s->n_threads,
                                               .note = ""};
    return (int)s->n_procs++;
}

/* A thread of the process added last, asleep and not live. */
static int add_thread(struct wedge_snapshot *s, pid_t tid, const char *name, enum wedge_wait_class class,
                      const char *call, int number)
{
    struct wedge_thread *t = &s->threads[s->n_threads];
    *t = (struct wedge_thread){.proc = (int)s->n_procs - 1,
                               .tid = tid,
                               .name = name,
                               .state = 'S',
                               .syscall = number,
                               .wait = {.class = class, .call = call, .earliest_ns = INT64_MAX, .reason = ""},
                               .callback = "",
                               .last_point = "",
                               .rule = -1,
                               .stack_note = "",
                               .stopped_ns = 310 * 1000};
    s->procs[s->n_procs - 1].n_threads++;
    s->stopped_anything = true;
    s->longest_stop_ns = 480 * 1000;
    return (int)s->n_threads++;
}

static void set_object(struct wedge_snapshot *s, int thread, const char *key, const char *describe, bool full)
{
    struct wedge_object *o = &s->threads[thread].wait.object;
    snprintf(o->key, sizeof(o->key), "%s", key);
    snprintf(o->describe, sizeof(o->describe), "%s", describe);
    o->full = full;
}

/* "function file:line" or, for libc, "function" alone. */
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
static void add_frames(struct wedge_snapshot *s, int thread, const char *const *words)
{
    struct wedge_thread *t = &s->threads[thread];
    t->frames = take(s, MOST * sizeof(*t->frames));
    for (; *words; words++) {
        const char *word = *words;
        struct wedge_frame *f = &t->frames[t->n_frames];
        const char *blank = strchr(word, ' ');
        const char *colon = blank ? strrchr(blank, ':') : NULL;
        bool libc = !blank;
        *f = (struct wedge_frame){.pc = 0x555555555000 + t->n_frames * 0x40,
                                  .module_offset = 0x1000 + t->n_frames * 0x40,
                                  .module = libc ? "/usr/lib/x86_64-linux-gnu/libc.so.6" : "/usr/bin/sample",
                                  .build_id = libc ? "6f1a5a2d" : "9d21c0de77",
                                  .libc = libc};
        f->function = blank ? obstack_copy0(&s->mem, word, (int)(blank - word)) : word;
        if (colon) {
            f->file = obstack_copy0(&s->mem, blank + 1, (int)(colon - blank - 1));
            f->line = (int)strtol(colon + 1, NULL, 10);
        }
        t->n_frames++;
    }
}

static void add_edge(struct wedge_snapshot *s, int from, enum wedge_waker_kind kind, int to, const char *why)
{
    s->edges[s->n_edges++] = (struct wedge_edge){.from = from, .to = to, .kind = kind, .why = why};
}

static void add_dead(struct wedge_snapshot *s, pid_t pid, const char *role, int index, const char *point,
                     const char *how, int rule)
{
    s->dead[s->n_dead++] = (struct wedge_dead){
        .pid = pid, .role = role, .role_index = index, .last_point = point, .how = how, .rule = rule};
}

static void add_firing(struct wedge_snapshot *s, int rule, int64_t after_ms, pid_t pid, const char *role, int index,
                       const char *place)
{
    s->firings[s->n_firings] = (struct wedge_firing){.rule = rule,
                                                     .order = s->n_firings + 1,
                                                     .when_ns = (100000 + after_ms) * MS,
                                                     .pid = pid,
                                                     .tid = pid,
                                                     .role = role,
                                                     .role_index = index,
                                                     .place = place};
    s->n_firings++;
    s->faults[rule].fired++;
    s->faults[rule].hits++;
}

static void add_members(struct wedge_snapshot *s, struct wedge_verdict *v, int victim_from, int victim_to,
                        int culprit_from, int culprit_to)
{
    v->victims = take(s, MOST * sizeof(int));
    v->culprits = take(s, MOST * sizeof(int));
    v->dead = take(s, MOST * sizeof(int));
    for (int i = victim_from; i < victim_to; i++)
        v->victims[v->n_victims++] = i;
    for (int i = culprit_from; i < culprit_to; i++)
        v->culprits[v->n_culprits++] = i;
    for (size_t i = 0; i < s->n_dead; i++)
        v->dead[v->n_dead++] = (int)i;
}

static struct wedge_verdict *add_verdict(struct wedge_snapshot *s, enum wedge_verdict_kind kind,
                                         enum wedge_certainty certainty, enum wedge_scope scope, const char *reason,
                                         const char *summary)
{
    struct wedge_verdict *v = &s->verdicts[s->n_verdicts++];
    *v = (struct wedge_verdict){
        .kind = kind,
        .certainty = certainty,
        .scope = scope,
        .assumptions = wedge_verdict_is_hang(kind) ? WEDGE_ASSUME_NO_OUTSIDE_SIGNAL | WEDGE_ASSUME_NO_OUTSIDE_KILL : 0,
        .reason = reason,
        .summary = summary,
        .signature = wedge_verdict_is_hang(kind) ? "sig1:8c1f02d95b7e6a34" : "",
        .signature_roles = "",
        .stuck_until_ns = INT64_MAX};
    return v;
}

static struct wedge_snapshot *lock_cycle(void)
{
    struct wedge_snapshot *s = begin(4711);
    add_proc(s, 4711, 900, "bank", "./bank --transfer", "", 0);
    int a = add_thread(s, 4711, "bank", WEDGE_WAIT_MUTEX, "pthread_mutex_lock", SYS_futex);
    add_frames(s, a,
               WORDS("__futex_abstimed_wait_common", "pthread_mutex_lock", "lock_account bank/account.c:41",
                     "transfer bank/transfer.c:88", "main bank/main.c:30", "__libc_start_main"));
    set_object(s, a, "shm 0:25:77+0x140", "process-shared mutex at 0x7f11c0000140, owned by thread 4712", false);
    add_proc(s, 4712, 4711, "bank", "./bank --transfer", "", 0);
    int b = add_thread(s, 4712, "bank", WEDGE_WAIT_MUTEX, "pthread_mutex_lock", SYS_futex);
    add_frames(s, b,
               WORDS("__futex_abstimed_wait_common", "pthread_mutex_lock", "lock_account bank/account.c:41",
                     "audit bank/audit.c:52", "main bank/main.c:34", "__libc_start_main"));
    set_object(s, b, "shm 0:25:77+0x100", "process-shared mutex at 0x7f11c0000100, owned by thread 4711", false);
    add_edge(s, a, WEDGE_WAKER_THREAD, b, "owns the mutex");
    add_edge(s, b, WEDGE_WAKER_THREAD, a, "owns the mutex");
    struct wedge_verdict *v = add_verdict(
        s, WEDGE_VERDICT_LOCK_CYCLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, "each wait has one owner, and all are in the set",
        "bank (4711) in transfer (bank/transfer.c:88) waits for a mutex that bank (4712) holds; bank (4712) in audit "
        "(bank/audit.c:52) waits for one that bank (4711) holds.");
    v->assumptions = WEDGE_ASSUME_NO_OUTSIDE_SIGNAL | WEDGE_ASSUME_NO_OUTSIDE_KILL | WEDGE_ASSUME_POSIX_OWNER;
    add_members(s, v, 0, 2, 0, 2);
    return s;
}

static struct wedge_snapshot *orphaned(void)
{
    static const char how[] = "killed by rule f1 (SIGKILL)", point[] = "pool.worker.got_task";
    struct wedge_snapshot *s = begin(5200);
    s->faults[s->n_faults++] = (struct wedge_fault){
        .id = "f1", .text = "f1 worker[*] pool.worker.got_task nth=5 -> kill KILL", .line = 3, .must_fire = true};
    add_proc(s, 5200, 900, "wedge-pool-demo", "wedge-pool-demo --preset=reported --tasks=200", "parent", 1);
    int main_thread = add_thread(s, 5200, "wedge-pool-demo", WEDGE_WAIT_JOIN, "pthread_join", SYS_futex);
    add_frames(s, main_thread,
               WORDS("__futex_abstimed_wait_common", "__pthread_clockjoin_ex", "wedge_pool_join pool/pool.c:412",
                     "run pool/demo.c:133", "main pool/demo.c:201", "__libc_start_main"));
    set_object(s, main_thread, "tid 5203", "thread 5203, to end", false);
    int collector = add_thread(s, 5203, "collector", WEDGE_WAIT_SEM, "sem_wait", SYS_futex);
    add_frames(s, collector,
               WORDS("__futex_abstimed_wait_common", "sem_wait", "take_result pool/collector.c:66",
                     "collector_main pool/collector.c:120", "start_thread", "clone3"));
    set_object(s, collector, "shm 0:1:4711+0x240", "semaphore at 0x7f3a10000240, value 0, 1 waiter", false);
    for (int i = 0; i < 4; i++) {
        add_dead(s, 5210 + i, "worker", i + 1, point, how, 0);
        add_firing(s, 0, 310 + 12 * i, 5210 + i, "worker", i + 1, point);
    }
    s->faults[0].hits = 23;
    add_edge(s, main_thread, WEDGE_WAKER_THREAD, collector, "has to end first");
    for (int i = 0; i < 4; i++)
        add_edge(s, collector, WEDGE_WAKER_DEAD, i, "posted results");
    struct wedge_verdict *v = add_verdict(
        s, WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE,
        "every process that maps the semaphore waits for it or is dead",
        "The collector (pool/collector.c:66) waits for a result in sem_wait, and every worker that could post "
        "one is dead: worker[1] to worker[4] were killed by rule f1 at pool.worker.got_task. The main thread "
        "waits in wedge_pool_join (pool/pool.c:412) for the collector to end.");
    v->signature_roles = "sig1+roles:1d7be0aa44c95f12";
    add_members(s, v, 0, 2, 0, 0);
    s->progress = 19;
    return s;
}

static struct wedge_snapshot *callback(void)
{
    struct wedge_snapshot *s = begin(6100);
    s->faults[s->n_faults++] = (struct wedge_fault){.id = "f1",
                                                    .text = "f1 worker[2] in=process_init start -> block",
                                                    .line = 2,
                                                    .must_fire = true,
                                                    .held_now = true};
    add_proc(s, 6100, 900, "wedge-pool-demo", "wedge-pool-demo --init=stall", "parent", 1);
    int put = add_thread(s, 6100, "wedge-pool-demo", WEDGE_WAIT_CHILD, "waitpid", SYS_wait4);
    add_frames(
        s, put,
        WORDS("wait4", "start_worker pool/pool.c:288", "wedge_pool_put pool/pool.c:350", "main pool/demo.c:190"));
    set_object(s, put, "pid 6102 ready", "worker[2] to become ready", false);
    add_proc(s, 6102, 6100, "wedge-pool-demo", "wedge-pool-demo --init=stall", "worker", 2);
    int init = add_thread(s, 6102, "worker-2", WEDGE_WAIT_HELD, "read", SYS_futex);
    add_frames(
        s, init,
        WORDS("read", "open_database app/database.c:57", "process_init app/init.c:23", "worker_main pool/worker.c:91"));
    set_object(s, init, "rule f1", "rule f1 of the plan", false);
    s->threads[init].callback = "process_init";
    s->threads[init].callback_function = "process_init";
    s->threads[init].callback_since_ns = 100000 * MS + 120 * MS;
    s->threads[init].callback_limit_ms = 500;
    s->threads[init].rule = 0;
    add_firing(s, 0, 121, 6102, "worker", 2, "start");
    add_proc(s, 6103, 6100, "wedge-pool-demo", "wedge-pool-demo --init=stall", "worker", 3);
    int busy = add_thread(s, 6103, "worker-3", WEDGE_WAIT_NONE, "", -1);
    s->threads[busy].live = true;
    s->threads[busy].state = 'R';
    s->threads[busy].moved = true;
    add_frames(s, busy, WORDS("compute app/task.c:77", "worker_main pool/worker.c:133"));
    add_edge(s, put, WEDGE_WAKER_THREAD, init, "has to say that it is ready");
    add_edge(s, init, WEDGE_WAKER_RULE, 0, "holds it");
    struct wedge_verdict *v = add_verdict(
        s, WEDGE_VERDICT_STUCK_CALLBACK, WEDGE_PROVED, WEDGE_SCOPE_PART, "held by a rule that nothing releases",
        "The user's process_init (app/init.c:23) in worker[2] has not returned for 730 ms, its limit is 500 ms; "
        "wedge_pool_put (pool/pool.c:350) waits for it.");
    add_members(s, v, 0, 1, 1, 2);
    return s;
}

static struct wedge_snapshot *backpressure(void)
{
    struct wedge_snapshot *s = begin(7000);
    s->faults[s->n_faults++] = (struct wedge_fault){
        .id = "f1", .text = "f1 root pool.results.take after=mark(full) -> delay 200ms", .line = 2};
    s->faults[s->n_faults++] = (struct wedge_fault){
        .id = "f2", .text = "f2 worker[1] write obj=results nth=900 -> short 8", .line = 3, .hits = 12};
    add_proc(s, 7000, 900, "wedge-pool-demo", "wedge-pool-demo --result-bound=16", "parent", 1);
    int root = add_thread(s, 7000, "wedge-pool-demo", WEDGE_WAIT_PIPE_WRITE, "write", SYS_write);
    add_frames(s, root,
               WORDS("write", "stream_put pool/stream.c:144", "wedge_pool_put pool/pool.c:350", "fill pool/demo.c:98",
                     "main pool/demo.c:190", "__libc_start_main"));
    set_object(s, root, "pipe:[81231]", "pipe, 65536 of 65536 bytes", true);
    for (int i = 0; i < 4; i++) {
        add_proc(s, 7010 + i, 7000, "wedge-pool-demo", "wedge-pool-demo --result-bound=16", "worker", i + 1);
        for (int j = 0; j < 2; j++) {
            int t = add_thread(s, 7010 + i + 10 * j, j ? "feeder" : "task", WEDGE_WAIT_PIPE_WRITE, "write", SYS_write);
            add_frames(s, t,
                       WORDS("write", "stream_put pool/stream.c:144",
                             j ? "feed pool/feeder.c:61" : "report_result pool/worker.c:171",
                             "worker_thread pool/worker.c:203", "start_thread", "clone3"));
            set_object(s, t, "pipe:[81244]", "pipe, 65536 of 65536 bytes", true);
        }
    }
    for (size_t i = 1; i < s->n_threads; i++) {
        add_edge(s, root, WEDGE_WAKER_THREAD, (int)i, "reads tasks");
        add_edge(s, (int)i, WEDGE_WAKER_THREAD, root, "reads results");
        add_edge(s, (int)i, WEDGE_WAKER_SIGNAL, root, "may send a signal");
    }
    add_firing(s, 0, 240, 7000, "parent", 1, "pool.results.take");
    struct wedge_verdict *v = add_verdict(
        s, WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE,
        "all that hold an end of the two pipes are in the set",
        "The parent waits in wedge_pool_put (pool/pool.c:350) for room in the task queue, and the 8 threads of "
        "worker[1] to worker[4] wait in report_result (pool/worker.c:171) for room in the result queue, which "
        "only the parent empties.");
    add_members(s, v, 0, (int)s->n_threads, 0, 1);
    return s;
}

static struct wedge_snapshot *no_progress(void)
{
    struct wedge_snapshot *s = begin(8000);
    add_proc(s, 8000, 900, "stripped", "./stripped", "", 0);
    int t = add_thread(s, 8000, "stripped", WEDGE_WAIT_POLL, "poll", SYS_poll);
    s->threads[t].live = true;
    s->threads[t].wait.earliest_ns = 40 * MS;
    set_object(s, t, "poll", "2 descriptors", false);
    add_frames(s, t, WORDS("poll"));
    s->threads[t].frames[1] =
        (struct wedge_frame){.pc = 0x401234, .module_offset = 0x1234, .module = "/opt/stripped", .build_id = "77aa"};
    s->threads[t].n_frames = 2;
    s->threads[t].stack_note = "no unwind information beyond here";
    add_edge(s, t, WEDGE_WAKER_OUTSIDE, -1, "a peer on the network");
    s->complete = "process 8111 could not be read: permission denied";
    add_verdict(s, WEDGE_VERDICT_NO_PROGRESS, WEDGE_SUSPECTED, WEDGE_SCOPE_WHOLE,
                "its progress marks have stood still for 5.0 s, and it still polls",
                "Nothing moved for 5.0 s: stripped (8000) polls two descriptors again and again.");
    add_members(s, &s->verdicts[0], 0, 1, 0, 0);
    return s;
}

static struct wedge_snapshot *idle(void)
{
    struct wedge_snapshot *s = begin(9000);
    add_proc(s, 9000, 900, "server", "./server --port 8080", "", 0);
    int t = add_thread(s, 9000, "server", WEDGE_WAIT_SOCKET, "accept4", SYS_accept4);
    s->threads[t].live = true;
    set_object(s, t, "socket:[991]", "listening socket 0.0.0.0:8080", false);
    add_frames(s, t, WORDS("accept4", "serve server.c:90", "main server.c:120"));
    add_edge(s, t, WEDGE_WAKER_OUTSIDE, -1, "anyone may connect");
    add_verdict(s, WEDGE_VERDICT_IDLE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, "waits for the outside",
                "server (9000) waits in accept4 for a connection.");
    add_members(s, &s->verdicts[0], 0, 0, 0, 0);
    return s;
}

static struct wedge_snapshot *hostile(void)
{
    const char *x = sample_hostile_text;
    struct wedge_snapshot *s = begin(6666);
    s->faults[s->n_faults++] = (struct wedge_fault){.id = "f1", .text = x, .line = 1, .fired = 1, .hits = UINT64_MAX};
    add_proc(s, 6666, 1, x, x, x, 1);
    s->procs[0].exe = x;
    s->procs[0].note = x;
    int t = add_thread(s, 6666, x, WEDGE_WAIT_SEM, x, SYS_futex);
    add_frames(s, t, WORDS("sem_wait"));
    s->threads[t].frames[1] =
        (struct wedge_frame){.pc = UINT64_MAX, .function = x, .file = x, .line = 1, .module = x, .build_id = x};
    s->threads[t].n_frames = 2;
    s->threads[t].callback = x;
    s->threads[t].callback_function = x;
    s->threads[t].last_point = x;
    s->threads[t].stack_note = x;
    s->threads[t].wait.reason = x;
    set_object(s, t, x, x, true);
    add_dead(s, 6667, x, 2, x, x, 0);
    add_edge(s, t, WEDGE_WAKER_DEAD, 0, x);
    add_edge(s, t, WEDGE_WAKER_RULE, 0, x);
    add_firing(s, 0, 5, 6667, x, 2, x);
    s->complete = x;
    struct wedge_verdict *v = add_verdict(s, WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, x, x);
    v->signature = x;
    v->signature_roles = x;
    add_members(s, v, 0, 1, 0, 1);
    return s;
}

struct wedge_snapshot *sample_snapshot(enum sample which)
{
    switch (which) {
    case SAMPLE_LOCK_CYCLE:
        return lock_cycle();
    case SAMPLE_ORPHANED:
        return orphaned();
    case SAMPLE_CALLBACK:
        return callback();
    case SAMPLE_BACKPRESSURE:
        return backpressure();
    case SAMPLE_NO_PROGRESS:
        return no_progress();
    case SAMPLE_IDLE:
        return idle();
    case SAMPLE_HOSTILE:
        return hostile();
    case SAMPLE_COUNT:
        break;
    }
    abort();
}

struct wedge_report_run sample_run(enum sample which)
{
    static char bank[] = "./bank", transfer[] = "--transfer", demo[] = "wedge-pool-demo",
                preset[] = "--preset=reported";
    static char hostile_word[sizeof(sample_hostile_text)];
    static char *plain[] = {bank, transfer, NULL}, *pool[] = {demo, preset, NULL}, *attack[] = {hostile_word, NULL};
    memcpy(hostile_word, sample_hostile_text, sizeof(hostile_word));
    const bool of_pool = which == SAMPLE_ORPHANED || which == SAMPLE_CALLBACK || which == SAMPLE_BACKPRESSURE;
    struct wedge_report_run run = {.command = of_pool                   ? pool
                                              : which == SAMPLE_HOSTILE ? attack
                                                                        : plain,
                                   .verb = of_pool ? "run" : "watch",
                                   .started_ns = 100000 * MS,
                                   .started_unix_ms = 1764000000123,
                                   .duration_ms = 900,
                                   .seed = 0x5eed,
                                   .exit_status = -1,
                                   .output_tail = "\033[1mpool\033[0m: 4 workers\ntasks 10%\rtasks 20%\nputting\t42\n",
                                   .agent = of_pool};
    if (of_pool) {
        run.preset = "reported";
        run.scenario = which == SAMPLE_ORPHANED ? "1.1a" : which == SAMPLE_CALLBACK ? "2.3a" : "2.2";
    }
    static const struct wedge_report_absent absent[] = {{4800, "/usr/bin/sudo", "is set-user-ID"},
                                                        {0, "./tool", "is statically linked"}};
    static const struct wedge_report_injection partly = {.unfired = "",
                                                         .missed = "",
                                                         .noted =
                                                             "no loaded module has the place pool.worker.gto (f2), "
                                                             "nearest: pool.worker.got_task",
                                                         .absent = absent,
                                                         .n_absent = 2};
    static const struct wedge_report_injection hostile = {.invalid = true,
                                                          .unfired = "f1 f2",
                                                          .missed = sample_hostile_text,
                                                          .noted = sample_hostile_text,
                                                          .more_absent = 3,
                                                          .lost_processes = 1,
                                                          .lost_threads = 2};
    run.injection = which == SAMPLE_ORPHANED ? &partly : which == SAMPLE_HOSTILE ? &hostile : NULL;
    if (which == SAMPLE_IDLE)
        run.command = NULL;
    if (which == SAMPLE_HOSTILE) {
        run.scenario = sample_hostile_text;
        run.output_tail = sample_hostile_text;
    }
    return run;
}

json_t *sample_report(enum sample which)
{
    struct wedge_snapshot *s = sample_snapshot(which);
    struct wedge_report_run run = sample_run(which);
    json_t *report = wedge_report_new(&run, s);
    wedge_snapshot_free(s);
    if (!report)
        abort();
    return report;
}
