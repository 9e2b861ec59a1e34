/*
 * What the agent's record adds to a verdict. The arena is a real one; its slots are filled here as an agent would fill
 * them, and the processes are forked by the test, so that they share it.
 */
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/point.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "detector/tests/harness.h"

static struct wedge_arena arena;
static pid_t *shared_pid; /* where a process of the test leaves its child's pid */

static void setup(void)
{
    struct wedge_err err = {0};
    ck_assert_msg(wedge_arena_create(&arena, 0, 1, &err) == 0, "%s", err.message);
    shared_pid = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared_pid, MAP_FAILED);
}

static void teardown(void)
{
    wedge_arena_destroy(&arena);
}

static void wait_on(_Atomic uint32_t *word)
{
    for (;;)
        syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static struct wedge_arena_rule *add_rule(enum wedge_rule_action action, int64_t arg)
{
    struct wedge_arena_control *control = wedge_arena_live(&arena, WEDGE_SEC_CONTROL, 0);
    struct wedge_arena_rule *rule = wedge_arena_live(&arena, WEDGE_SEC_RULES, control->n_rules++);
    strcpy(rule->id, "f1");
    strcpy(rule->text, "f1 worker[1] pool.init -> block");
    rule->action = action;
    rule->arg = arg;
    rule->line = 3;
    return rule;
}

static struct wedge_arena_proc *add_proc(uint32_t slot, pid_t pid, const char *role, uint32_t index)
{
    struct wedge_arena_proc *p = wedge_arena_live(&arena, WEDGE_SEC_PROCS, slot);
    p->pid = pid;
    p->parent = UINT32_MAX;
    strcpy(p->role, role);
    p->role_index = index;
    p->role_seq = 2;
    p->state = WEDGE_PROC_RUNNING;
    p->since_ns = (uint64_t)wedge_clock_ns();
    p->gen = 2;
    return p;
}

static struct wedge_arena_thread *add_thread(uint32_t slot, pid_t tid)
{
    struct wedge_arena_thread *t = wedge_arena_live(&arena, WEDGE_SEC_THREADS, slot);
    t->tid = tid;
    t->proc = slot;
    t->since_ns = (uint64_t)wedge_clock_ns();
    t->gen = 2;
    return t;
}

static void waits(struct wedge_arena_thread *t, uint16_t kind, uint16_t rule, uint64_t deadline_ns)
{
    t->wait[0] = (struct wedge_arena_wait){.kind = kind, .rule = rule, .deadline_ns = deadline_ns, .object = 0x1000};
    t->wait[0].seq = 2;
}

static struct wedge_snapshot *examine(pid_t root)
{
    struct wedge_err err = {0};
    struct wedge_arena_copy copy;
    struct wedge_snapshot *s = NULL;
    ck_assert_int_eq(wedge_arena_copy(&arena, false, &copy, &err), 0);
    struct wedge_examine options = {.root = root, .arena = &copy};
    ck_assert_int_eq(wedge_detector_examine(&options, NULL, &s, &err), 0);
    wedge_arena_copy_free(&copy);
    return s;
}

static struct wedge_snapshot *examine_until(pid_t root, size_t victims)
{
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    for (;;) {
        struct wedge_snapshot *s = examine(root);
        if ((wedge_verdict_is_hang(s->verdicts[0].kind) && s->verdicts[0].n_victims >= victims) ||
            wedge_clock_ns() > deadline)
            return s;
        wedge_snapshot_free(s);
        usleep(5000);
    }
}

static pid_t fork_child(void)
{
    pid_t parent = getpid(), pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        /* The test runner's handlers are not this program's: a caught SIGALRM alone would make a verdict evident. */
        for (int number = 1; number < 32; number++)
            signal(number, SIG_DFL);
        signal(SIGALRM, SIG_IGN); /* nor its calls of setitimer() */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

/* A process that waits for its child, which sleeps on `word`. Sets *ret_child once that is there. */
static pid_t parent_of_waiter(_Atomic uint32_t *word, pid_t *ret_child)
{
    int ends[2];
    char byte;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        pid_t child = fork_child();
        if (child == 0) {
            close(ends[0]);
            close(ends[1]);
            wait_on(word);
        }
        *shared_pid = child;
        if (write(ends[1], "x", 1) != 1)
            _exit(1);
        close(ends[0]);
        close(ends[1]);
        waitpid(child, NULL, 0);
        _exit(0);
    }
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
    *ret_child = *shared_pid;
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(test_held_in_a_callback)
{
    struct wedge_arena_rule *rule = add_rule(WEDGE_ACT_BLOCK, 0);
    pid_t child, root = parent_of_waiter(&rule->released, &child);
    add_proc(0, child, "worker", 1);
    struct wedge_arena_thread *t = add_thread(0, child);
    t->callback.name = wedge_arena_name(&arena, "process_init");
    t->callback.since_ns = (uint64_t)wedge_clock_ns();
    t->callback.limit_ms = 1000;
    t->callback.seq = 2;
    waits(t, WEDGE_WAITING_HELD, 1, UINT64_MAX);

    struct wedge_snapshot *s = examine_until(root, 2);
    const struct wedge_verdict *v = &s->verdicts[0];
    ck_assert_str_eq(wedge_verdict_words[v->kind], "stuck-callback");
    ck_assert_int_eq(v->certainty, WEDGE_PROVED);
    ck_assert_int_eq(v->scope, WEDGE_SCOPE_WHOLE);
    ck_assert_uint_eq(v->n_victims, 2);
    ck_assert_uint_eq(v->n_culprits, 1);
    const struct wedge_thread *held = &s->threads[v->culprits[0]];
    ck_assert_int_eq(held->tid, child);
    ck_assert_int_eq(held->wait.class, WEDGE_WAIT_HELD);
    ck_assert_int_eq(held->rule, 0);
    ck_assert_str_eq(held->callback, "process_init");
    ck_assert_int_eq(held->callback_limit_ms, 1000);
    ck_assert_ptr_nonnull(strstr(v->summary, "process_init"));
    ck_assert_ptr_nonnull(strstr(v->summary, "rule f1"));
    ck_assert_ptr_nonnull(strstr(v->summary, "worker[1]"));
    ck_assert_uint_eq(s->n_faults, 1);
    ck_assert_str_eq(s->faults[0].id, "f1");
    ck_assert_int_eq(s->faults[0].line, 3);
    wedge_snapshot_free(s);

    /* Released in the record, asleep still: it is about to go on. */
    rule->released = 1;
    s = examine(root);
    ck_assert(!wedge_verdict_is_hang(s->verdicts[0].kind));
    wedge_snapshot_free(s);
    end(root);
}
END_TEST

/* The user's function has returned since the record was copied, and the thread sleeps in something else. */
START_TEST(test_a_record_older_than_the_sleep)
{
    struct wedge_arena_rule *rule = add_rule(WEDGE_ACT_BLOCK, 0);
    pid_t child, root = parent_of_waiter((_Atomic uint32_t *)(shared_pid + 64), &child);
    add_proc(0, child, "worker", 1);
    struct wedge_arena_thread *t = add_thread(0, child);
    t->callback.name = wedge_arena_name(&arena, "process_init");
    t->callback.seq = 2;
    waits(t, WEDGE_WAITING_HELD, 1, UINT64_MAX);
    ck_assert_ptr_nonnull(rule);
    for (size_t victims = 0; victims < 2;) {
        struct wedge_err err = {0};
        struct wedge_arena_copy copy;
        struct wedge_snapshot *s = NULL;
        t->callback.name = wedge_arena_name(&arena, "process_init");
        ck_assert_int_eq(wedge_arena_copy(&arena, true, &copy, &err), 0);
        t->callback.name = 0;
        t->wait[0].kind = WEDGE_WAITING_NOT;
        struct wedge_examine options = {.root = root, .arena = &copy, .live = &arena};
        ck_assert_int_eq(wedge_detector_examine(&options, NULL, &s, &err), 0);
        victims = s->verdicts[0].n_victims;
        ck_assert_int_ne(s->verdicts[0].kind, WEDGE_VERDICT_STUCK_CALLBACK);
        for (size_t i = 0; i < s->n_threads; i++)
            ck_assert_str_eq(s->threads[i].callback ? s->threads[i].callback : "", "");
        wedge_snapshot_free(s);
        wedge_arena_copy_free(&copy);
    }
    end(root);
}
END_TEST

/* A yield is ended by whoever makes its condition true: here nobody runs who could. */
START_TEST(test_held_until_somebody_acts)
{
    struct wedge_arena_rule *rule = add_rule(WEDGE_ACT_YIELD, 0);
    pid_t child, root = parent_of_waiter(&rule->released, &child);
    add_proc(0, child, "worker", 1);
    waits(add_thread(0, child), WEDGE_WAITING_HELD, 1, UINT64_MAX);
    struct wedge_snapshot *s = examine_until(root, 2);
    ck_assert_int_eq(s->verdicts[0].certainty, WEDGE_PROVED);
    ck_assert_uint_eq(s->verdicts[0].n_victims, 2);
    wedge_snapshot_free(s);
    end(root);
}
END_TEST

/* A delay is ended by the clock, a yield until somebody has ended by wedge, which counts those. Examined until the child is seen
 * in it, then again: never a hang. */
START_TEST(test_held_for_a_while)
{
    bool delay = _i == 0;
    struct wedge_arena_rule *rule = add_rule(delay ? WEDGE_ACT_DELAY : WEDGE_ACT_YIELD, 0);
    rule->until.kind = delay ? WEDGE_WHEN_ALWAYS : WEDGE_WHEN_ENDED;
    pid_t child, root = parent_of_waiter(&rule->released, &child);
    add_proc(0, child, "worker", 1);
    waits(add_thread(0, child), WEDGE_WAITING_HELD, 1,
          delay ? (uint64_t)(wedge_clock_ns() + 600 * WEDGE_NS_PER_S) : UINT64_MAX);
    const struct wedge_thread *held = NULL;
    for (int i = 0; i < 1000 && !held; i++) {
        struct wedge_snapshot *s = examine(root);
        ck_assert(!wedge_verdict_is_hang(s->verdicts[0].kind));
        held = thread_in(s, WEDGE_WAIT_HELD);
        if (held && delay)
            ck_assert_int_gt(held->wait.earliest_ns, 500 * WEDGE_NS_PER_S);
        wedge_snapshot_free(s);
    }
    ck_assert_ptr_nonnull(held);
    end(root);
}
END_TEST

/* A user's function that could go on but is past its own limit: evident, and named. Before the limit: no hang. */
START_TEST(test_past_its_limit)
{
    bool past = _i;
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t root = fork_child();
    if (root == 0) {
        char byte;
        close(ends[1]); /* the test has the other end: the outside */
        _exit(read(ends[0], &byte, 1) == 1);
    }
    add_proc(0, root, "collector", 0);
    struct wedge_arena_thread *t = add_thread(0, root);
    t->callback.name = wedge_arena_name(&arena, "collect");
    t->callback.since_ns = (uint64_t)(wedge_clock_ns() - 2 * WEDGE_NS_PER_S);
    t->callback.limit_ms = past ? 1000 : 600000;
    t->callback.seq = 2;
    struct wedge_snapshot *s = examine(root);
    const struct wedge_verdict *v = &s->verdicts[0];
    if (past) {
        ck_assert_str_eq(wedge_verdict_words[v->kind], "stuck-callback");
        ck_assert_int_eq(v->certainty, WEDGE_EVIDENT);
        ck_assert_ptr_nonnull(strstr(v->summary, "The user's collect"));
    } else {
        ck_assert(!wedge_verdict_is_hang(v->kind));
    }
    wedge_snapshot_free(s);
    close(ends[0]);
    close(ends[1]);
    end(root);
}
END_TEST

/* The record says "held", but the thread sleeps elsewhere: the record is not believed. */
START_TEST(test_a_lying_record)
{
    _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    add_rule(WEDGE_ACT_BLOCK, 0);
    pid_t child, root = parent_of_waiter(word, &child);
    add_proc(0, child, "worker", 1);
    waits(add_thread(0, child), WEDGE_WAITING_HELD, 1, UINT64_MAX);
    struct wedge_snapshot *s = examine_until(root, 2);
    ck_assert_ptr_null(thread_in(s, WEDGE_WAIT_HELD));
    ck_assert_ptr_nonnull(thread_in(s, WEDGE_WAIT_FUTEX));
    wedge_snapshot_free(s);
    end(root);
}
END_TEST

/* Two processes wait on one word each, one of them for room in a full buffer. */
START_TEST(test_annotated_room)
{
    _Atomic uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child, root = parent_of_waiter(words, &child);
    add_proc(0, child, "worker", 1);
    waits(add_thread(0, child), WEDGE_WAIT_FOR_ROOM, 0, UINT64_MAX);
    struct wedge_snapshot *s = examine_until(root, 2);
    ck_assert_str_eq(wedge_verdict_words[s->verdicts[0].kind], "mutual-backpressure");
    ck_assert_int_eq(s->verdicts[0].certainty, WEDGE_PROVED);
    ck_assert(thread_in(s, WEDGE_WAIT_FUTEX)->wait.object.full);
    wedge_snapshot_free(s);
    end(root);
}
END_TEST

/* The only other process was killed by a rule: the reader's verdict names it and what it passed last; where the rule is one of a place
 * that is this one (round 1), whatever another thread came by before the end. */
START_TEST(test_the_dead_are_named)
{
    int ends[2];
    const char *point = _i ? "pool.feeder.locked" : "pool.worker.got_task";
    char words[100];
    snprintf(words, sizeof(words), "was killed by rule f1 (SIGKILL) after %s", point);
    struct wedge_arena_rule *rule = add_rule(WEDGE_ACT_KILL, SIGKILL);
    rule->what = _i ? WEDGE_WHAT_PLACE : WEDGE_WHAT_START;
    rule->place = wedge_arena_name(&arena, "pool.feeder.locked");
    pid_t dead = fork_child();
    if (dead == 0)
        for (;;)
            pause();
    end(dead);
    struct wedge_arena_proc *p = add_proc(0, dead, "worker", 2);
    p->killed_by_rule = 1;
    struct wedge_arena_thread *t = add_thread(0, dead);
    t->last_point = wedge_arena_name(&arena, "pool.worker.got_task");
    t->last_point_ns = 1;

    ck_assert_int_eq(pipe(ends), 0);
    pid_t root = fork_child();
    if (root == 0) {
        char byte;
        _exit(read(ends[0], &byte, 1) == 1);
    }
    close(ends[0]);
    close(ends[1]);
    struct wedge_snapshot *s = examine_until(root, 1);
    const struct wedge_verdict *v = &s->verdicts[0];
    ck_assert_str_eq(wedge_verdict_words[v->kind], "orphaned-wait");
    ck_assert_int_eq(v->certainty, WEDGE_PROVED);
    ck_assert_uint_eq(s->n_dead, 1);
    ck_assert_uint_eq(v->n_dead, 1);
    ck_assert_str_eq(s->dead[0].role, "worker");
    ck_assert_int_eq(s->dead[0].role_index, 2);
    ck_assert_str_eq(s->dead[0].how, "killed by rule f1 (SIGKILL)");
    ck_assert_str_eq(s->dead[0].last_point, point);
    ck_assert_ptr_nonnull(strstr(v->summary, "worker[2]"));
    ck_assert_msg(strstr(v->summary, words) != NULL, "%s", v->summary);
    wedge_snapshot_free(s);
    end(root);
}
END_TEST

/* Every number and text of the record may be garbage: an examination ends all the same, and believes none of it. */
START_TEST(test_scribbled)
{
    _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child, root = parent_of_waiter(word, &child);
    for (int section = WEDGE_SEC_CONTROL; section < WEDGE_SEC_RINGS; section++) {
        uint32_t n = wedge_arena_count(section);
        for (uint32_t i = 0; i < n && i < 64; i++) {
            char *record = wedge_arena_live(&arena, section, i);
            size_t bytes = section == WEDGE_SEC_CONTROL ? 128 : section == WEDGE_SEC_COUNTS ? 16 : 64;
            memset(record, _i, bytes);
        }
    }
    add_proc(0, child, "worker", 1)->killed_by_rule = UINT32_MAX;
    struct wedge_arena_thread *t = add_thread(0, child);
    waits(t, WEDGE_WAITING_HELD, UINT16_MAX, UINT64_MAX);
    t->last_point = UINT32_MAX;
    t->callback.name = UINT32_MAX;
    struct wedge_snapshot *s = examine_until(root, 2);
    ck_assert_ptr_null(thread_in(s, WEDGE_WAIT_HELD));
    ck_assert_int_eq(s->verdicts[0].certainty, WEDGE_PROVED);
    wedge_snapshot_free(s);
    end(root);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_held_in_a_callback);
    tcase_add_test(tcase, test_a_record_older_than_the_sleep);
    tcase_add_test(tcase, test_held_until_somebody_acts);
    tcase_add_loop_test(tcase, test_held_for_a_while, 0, 2);
    tcase_add_loop_test(tcase, test_past_its_limit, 0, 2);
    tcase_add_test(tcase, test_a_lying_record);
    tcase_add_test(tcase, test_annotated_room);
    tcase_add_loop_test(tcase, test_the_dead_are_named, 0, 2);
    tcase_add_loop_test(tcase, test_scribbled, 1, 3);
    tcase_add_loop_test(tcase, test_scribbled, 255, 256);
}

int main(void)
{
    return wedge_test_main("record", 60, fill);
}
