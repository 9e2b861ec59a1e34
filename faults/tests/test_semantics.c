/*
 * What the hard actions mean: full and empty over all who use an object, release, time-outs, signals and cancellation
 * in a hold, spurious, corrupt, kill before and after, stop, and a quiesce between two rules of one pass.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "faults/launch.h"
#include "faults/missed.h"
#include "faults/tests/run.h"

static struct run run;

static void play(const char *plan, const char *const *args)
{
    const char *argv[12] = {run_semantics_target()};
    for (int i = 0; args[i]; i++)
        argv[i + 1] = args[i];
    run_start(&run, plan, argv);
}
#define PLAY(plan, ...) play(plan, (const char *const[]){__VA_ARGS__, NULL})

static void finish(void)
{
    ck_assert_msg(EXITED(run) == 0, "status %x, \"%s\"", run.status, run.text);
    run_free(&run);
}

static void expect(const char *text)
{
    ck_assert_msg(strcmp(run.text, text) == 0, "\"%s\", not \"%s\"", run.text, text);
}

static void send_byte(void)
{
    ck_assert_int_eq(write(run.in, "x", 1), 1);
}

static void release(const char *id)
{
    struct wedge_err err;
    ck_assert_int_eq(wedge_faults_release(&run.arena, id, &err), 0);
}

/* The record of a thread that is held by f1, or NULL. */
static const struct wedge_arena_wait *held(void)
{
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *thread = wedge_arena_live(&run.arena, WEDGE_SEC_THREADS, i);
        for (int level = 0; level < 2; level++)
            if (thread->wait[level].kind == WEDGE_WAITING_HELD)
                return &thread->wait[level];
    }
    return NULL;
}

/* Waits until the held main thread sleeps: what comes between its record and its sleep interrupts nothing, as before a
 * system call. */
static void await_call(const char *number)
{
    char path[64], said[128] = "";
    snprintf(path, sizeof(path), "/proc/%d/syscall", run.pid);
    for (int i = 0; i < 20000; i++, usleep(500)) {
        FILE *file = fopen(path, "re");
        ck_assert_ptr_nonnull(file);
        bool sleeps = fgets(said, sizeof(said), file) && strncmp(said, number, strlen(number)) == 0;
        fclose(file);
        if (sleeps)
            return;
    }
    ck_abort_msg("it never sleeps: %s", said);
}

static void await_sleep(void)
{
    run_await(&run_rule(&run, "f1")->holding, 1);
    await_call("202 "); /* futex */
}

/* The name of a call, the rule's function where it is another, what it gives when it does not wait, and when it is
 * done. NULL: it never waits. */
static const struct {
    const char *name, *action;
    int refused, done;
    const char *by;
    bool no_dontwait, never_waits;
} calls[] = {
    {"write", "full", -EAGAIN, 1, "write", true, false},
    {"writev", "full", -EAGAIN, 1, "writev", true, false},
    {"pwritev2", "full", -EAGAIN, 1, "pwritev2", true, false},
    {"send", "full", -EAGAIN, 1, "send", false, false},
    {"sendto", "full", -EAGAIN, 1, "sendto", false, false},
    {"sendmsg", "full", -EAGAIN, 1, "sendmsg", false, false},
    {"sendmmsg", "full", -EAGAIN, 1, "sendmmsg", false, false},
    {"eventfd_write", "full", -EAGAIN, 0, "eventfd_write", true, false},
    {"mq_send", "full", -EAGAIN, 0, "mq_send", true, false},
    {"mq_timedsend", "full", -EAGAIN, 0, "mq_timedsend", true, false},
    {"msgsnd", "full", -EAGAIN, 0, "msgsnd", true, false},
    {"sem_post", "full", -EOVERFLOW, 0, "sem_post", true, true},
    {"read", "empty", -EAGAIN, 1, "read", true, false},
    {"__read_chk", "empty", -EAGAIN, 1, "__read_chk", true, false},
    {"readv", "empty", -EAGAIN, 1, "readv", true, false},
    {"preadv2", "empty", -EAGAIN, 1, "preadv2", true, false},
    {"recv", "empty", -EAGAIN, 1, "recv", false, false},
    {"__recv_chk", "empty", -EAGAIN, 1, "__recv_chk", false, false},
    {"recvfrom", "empty", -EAGAIN, 1, "recvfrom", false, false},
    {"__recvfrom_chk", "empty", -EAGAIN, 1, "__recvfrom_chk", false, false},
    {"recvmsg", "empty", -EAGAIN, 1, "recvmsg", false, false},
    {"recvmmsg", "empty", -EAGAIN, 1, "recvmmsg", false, false},
    {"eventfd_read", "empty", -EAGAIN, 0, "eventfd_read", true, false},
    {"accept", "empty", -EAGAIN, 1, "accept", true, false},
    {"accept4", "empty", -EAGAIN, 1, "accept4", true, false},
    {"mq_receive", "empty", -EAGAIN, 3, "mq_receive", true, false},
    {"mq_timedreceive", "empty", -EAGAIN, 3, "mq_timedreceive", true, false},
    {"msgrcv", "empty", -ENOMSG, 8, "msgrcv", true, false},
    {"sem_wait", "empty", 0, 0, "sem_wait", true, false},
    {"sem_timedwait", "empty", 0, 0, "sem_timedwait", true, false},
    {"sem_clockwait", "empty", 0, 0, "sem_clockwait", true, false},
    {"sem_trywait", "empty", -EAGAIN, 0, "sem_trywait", true, true},
};
enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

/* Refused twice (the rule fires once), done after the release. */
static void check_refused(int i, const char *how)
{
    char plan[128], text[256];
    const char *name = calls[i].name;
    snprintf(plan, sizeof(plan), "f1 * %s nth=1 -> %s", calls[i].by, calls[i].action);
    PLAY(plan, "op", how, name, name, "-", name);
    run_read_until(&run, "next\n");
    ck_assert_ptr_null(held());
    release("f1");
    send_byte();
    run_finish(&run);
    snprintf(text, sizeof(text), "%s %d\n%s %d\nnext\n%s %d\n", name, calls[i].refused, name, calls[i].refused, name,
             calls[i].done);
    expect(text);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    finish();
}

START_TEST(test_refused_without_waiting)
{
    if (calls[_i].refused)
        check_refused(_i, "nonblock");
    if (!calls[_i].no_dontwait)
        check_refused(_i, "dontwait");
}
END_TEST

START_TEST(test_waits_until_released)
{
    char plan[128], text[128];
    const char *name = calls[_i].name;
    if (calls[_i].never_waits)
        return;
    snprintf(plan, sizeof(plan), "f1 * %s nth=1 -> %s", calls[_i].by, calls[_i].action);
    PLAY(plan, "op", "block", name);
    run_await(&run_rule(&run, "f1")->holding, 1);
    const struct wedge_arena_wait *wait = held();
    ck_assert_ptr_nonnull(wait);
    ck_assert_uint_eq(wait->rule, 1);
    ck_assert_uint_ne(wait->object, 0);
    release("f1");
    run_finish(&run);
    snprintf(text, sizeof(text), "%s %d\n", name, calls[_i].done);
    expect(text);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->holding), 0);
    ck_assert_ptr_null(held());
    finish();
}
END_TEST

/* Calls that no rule can name for it respect what another has shut. */
START_TEST(test_other_calls_see_it)
{
    static const struct {
        const char *plan, *first, *second, *text;
    } cases[] = {
        {"f1 * write nth=1 -> full", "write", "sendfile", "write -11\nsendfile -11\nnext\nsendfile 1\n"},
        {"f1 * write nth=1 -> full", "write", "vmsplice", "write -11\nvmsplice -11\nnext\nvmsplice 1\n"},
        {"f1 * write nth=1 -> full", "write", "splice_to", "write -11\nsplice_to -11\nnext\nsplice_to 1\n"},
        {"f1 * write nth=1 -> full", "write", "writev", "write -11\nwritev -11\nnext\nwritev 1\n"},
        {"f1 * write nth=1 -> full", "write", "read", "write -11\nread 1\nnext\nread 1\n"},
        {"f1 * write nth=1 -> full", "write", "send", "write -11\nsend 1\nnext\nsend 1\n"},
        {"f1 * read nth=1 -> empty", "read", "readv", "read -11\nreadv -11\nnext\nreadv 1\n"},
        {"f1 * read nth=1 -> empty", "read", "splice_from", "read -11\nsplice_from -11\nnext\nsplice_from 1\n"},
        {"f1 * read nth=1 -> empty", "read", "tee", "read -11\ntee -11\nnext\ntee 1\n"},
        {"f1 * read nth=1 -> empty", "read", "write", "read -11\nwrite 1\nnext\nwrite 1\n"},
        {"f1 * sem_trywait nth=1 -> empty", "sem_trywait", "sem_post",
         "sem_trywait -11\nsem_post 0\nnext\nsem_post 0\n"},
        {"f1 * recv nth=1 -> empty", "recv", "recvmsg", "recv -11\nrecvmsg -11\nnext\nrecvmsg 1\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        PLAY(cases[i].plan, "op", "nonblock", cases[i].first, cases[i].second, "-", cases[i].second);
        run_read_until(&run, "next\n");
        release("f1");
        send_byte();
        run_finish(&run);
        expect(cases[i].text);
        finish();
    }
}
END_TEST

START_TEST(test_quiesce_opens)
{
    PLAY("f1 * write nth=1 -> full", "op", "nonblock", "write", "-", "write");
    run_read_until(&run, "next\n");
    wedge_faults_quiesce(&run.arena);
    send_byte();
    run_finish(&run);
    expect("write -11\nnext\nwrite 1\n");
    finish();
    PLAY("f1 * write nth=1 -> full", "op", "block", "write");
    run_await(&run_rule(&run, "f1")->holding, 1);
    wedge_faults_quiesce(&run.arena);
    run_finish(&run);
    expect("write 1\n");
    finish();
}
END_TEST

/* A rule that is armed again does not shut what it shut before. */
START_TEST(test_release_forgets)
{
    PLAY("f1 * write nth=1 -> full", "op", "nonblock", "write", "-", "write");
    run_read_until(&run, "next\n");
    release("f1");
    atomic_fetch_add(&run_rule(&run, "f1")->released, 1); /* as wedge_faults_control does: it is armed again */
    send_byte();
    run_finish(&run);
    expect("write -11\nnext\nwrite 1\n");
    finish();
}
END_TEST

static const char *const looks[] = {"poll",       "ppoll",       "select",       "pselect",
                                    "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_edge",
                                    "epoll_once", "epoll_excl",  "nested"};
enum { LOOKS = sizeof(looks) / sizeof(looks[0]) };

/* Beside a healthy descriptor: not reported, its time kept, the other one reported, woken by the release. */
START_TEST(test_looks)
{
    for (int out = 0; out < 2; out++) {
        const char *how = looks[_i];
        char text[256];
        bool once = strstr(how, "edge") || strstr(how, "once");
        PLAY(out ? "define q = pipe created-in=queue_open\nf1 * write obj=q nth=1 -> full"
                 : "define q = pipe created-in=queue_open\nf1 * read obj=q nth=1 -> empty",
             "look", how, out ? "full" : "empty");
        run_read_until(&run, "next\n");
        release("f1");
        run_finish(&run);
        snprintf(text, sizeof(text), "open 1\nshut -11\nlook 0 late\nother 2\nnext\nreleased 1\n%s",
                 once ? "again 0\n" : "");
        expect(text);
        finish();
    }
}
END_TEST

/* As without the agent: such a look is not restarted, and the mask that it was given holds for it alone. */
START_TEST(test_signals_interrupt_looks)
{
    static const struct {
        const char *how, *call;
    } cases[] = {{"epoll_wait", "281 "}, {"ppoll", "271 "}, {"pselect", "271 "}};
    PLAY("define q = pipe created-in=queue_open\nf1 * write obj=q nth=1 -> full", "looks", cases[_i].how);
    run_read_until(&run, "shut -11\n");
    await_call(cases[_i].call);
    kill(run.pid, SIGUSR1);
    run_finish(&run);
    expect("shut -11\nlook -4 handled 1 mask 1\n");
    finish();
}
END_TEST

/* A file never makes anybody wait: no room is ENOSPC, nothing to take the end of it. */
START_TEST(test_files)
{
    PLAY("f1 * write -> full\nf2 * read -> empty", "file");
    run_finish(&run);
    expect("read 0\nwrite -28\npoll 1\n");
    finish();
}
END_TEST

/* An edge that was there before the object was shut, and that nobody had looked at. */
START_TEST(test_an_edge_from_before)
{
    static const char *const how[] = {"epoll_edge", "epoll_once", "epoll_wait"};
    PLAY("define q = pipe created-in=queue_open\nf1 * write obj=q nth=1 -> full", "look", how[_i], "full", "late");
    run_read_until(&run, "next\n");
    release("f1");
    run_finish(&run);
    ck_assert_msg(strstr(run.text, "shut -11\nlook 0 late\nother 2\nnext\nreleased 1\n") != NULL, "%s", run.text);
    finish();
}
END_TEST

START_TEST(test_an_edge_for_who_was_refused)
{
    bool out = _i % 2, wait = _i / 2 % 2; /* several times: the threads race */
    PLAY(out ? "define q = pipe created-in=queue_open\nf1 * write obj=q nth=1 -> full"
             : "define q = pipe created-in=queue_open\nf1 * read obj=q nth=1 -> empty",
         "edge", out ? "full" : "empty", wait ? "wait" : "now");
    if (wait) {
        run_read_until(&run, "open 1\n");
        send_byte();
    }
    run_read_until(&run, "next\n");
    ck_assert_ptr_null(strstr(run.text, "thread"));
    release("f1");
    if (!wait)
        send_byte();
    run_finish(&run);
    expect("open 1\nshut -11\nnext\nthread 1\n");
    finish();
}
END_TEST

START_TEST(test_an_edge_while_a_thread_waits)
{
    PLAY("define q = pipe created-in=queue_open\nf1 * write obj=q nth=1 -> full", "waiting");
    send_byte();
    run_read_until(&run, "next\n");
    ck_assert_ptr_null(strstr(run.text, "thread"));
    release("f1");
    run_finish(&run);
    expect("shut -11\nnext\nthread 1\n");
    finish();
}
END_TEST

START_TEST(test_times)
{
    PLAY("f1 * sem_timedwait,sem_clockwait nth=1 -> empty\nf2 * mq_timedsend nth=1 -> full\n"
         "f3 * mq_timedreceive nth=1 -> empty\nf4 * send nth=1 -> full\nf5 * recv nth=1 -> empty",
         "times");
    run_finish(&run);
    expect("sem_timedwait -110 late\nsem_clockwait -110 late\nmq_timedsend -110 late\nmq_timedreceive -110 late\n"
           "send -11 late\nrecv -11 late\n");
    finish();
}
END_TEST

/* What the other end says by closing ends the hold, as it would of a pipe that is full or empty indeed. */
START_TEST(test_the_other_end_closes)
{
    PLAY("define q = pipe created-in=queue_open\nf1 * write obj=q nth=1 -> full", "end", "full");
    run_await(&run_rule(&run, "f1")->holding, 1);
    send_byte();
    run_finish(&run);
    expect("write -32\n");
    finish();
    PLAY("define q = pipe created-in=queue_open\nf1 * read obj=q nth=1 -> empty", "end", "empty");
    run_await(&run_rule(&run, "f1")->holding, 1);
    send_byte();
    run_finish(&run);
    expect("read 1\n");
    finish();
}
END_TEST

START_TEST(test_two_processes)
{
    PLAY("f1 * send nth=1 per=tree -> full", "two");
    run_await(&run_rule(&run, "f1")->holding, 1);
    run_read_until(&run, "child -11\n");
    release("f1");
    run_finish(&run);
    expect("parent -11\nchild -11\nchild 1\n");
    finish();
}
END_TEST

static const char *const held_calls[] = {"write", "sem_wait"};

START_TEST(test_signal_handlers_run)
{
    char plan[64], text[64];
    const char *name = held_calls[_i % 2], *action = _i % 2 ? "empty" : "full";
    snprintf(plan, sizeof(plan), "f1 * %s nth=1 -> %s", name, _i < 2 ? action : "block");
    PLAY(plan, "signal", "restart", name);
    await_sleep();
    kill(run.pid, SIGUSR1);
    run_read_until(&run, "handled\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->holding), 1);
    release("f1");
    run_read_until(&run, "next\n");
    send_byte();
    run_finish(&run);
    snprintf(text, sizeof(text), "handled\n%s %d\nnext\n", name, _i % 2 ? 0 : 1);
    expect(text);
    finish();
}
END_TEST

START_TEST(test_signals_interrupt)
{
    char plan[64], text[64];
    snprintf(plan, sizeof(plan), "f1 * %s nth=1 -> %s", held_calls[_i], _i ? "empty" : "full");
    PLAY(plan, "signal", "interrupt", held_calls[_i]);
    await_sleep();
    kill(run.pid, SIGUSR1);
    run_read_until(&run, "next\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->holding), 0);
    ck_assert_ptr_null(held());
    send_byte();
    run_finish(&run);
    snprintf(text, sizeof(text), "handled\n%s -4\nnext\n", held_calls[_i]);
    expect(text);
    finish();
}
END_TEST

/* A jump out of a hold leaves nothing that says the thread waits once it passes anything, and the next hold works. */
START_TEST(test_jumps_out_of_a_hold)
{
    static const char *const actions[] = {"full", "block", "delay 60s", "yield until=fired(f2)"};
    char plan[160];
    snprintf(plan, sizeof(plan), "f1 * write nth=1..2 -> %s\nf2 * sched_yield nth=9 -> delay 1ms", actions[_i]);
    PLAY(plan, "signal", "jump", "write");
    await_sleep();
    kill(run.pid, SIGUSR1);
    run_read_until(&run, "next\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->holding), 0);
    const struct wedge_arena_control *control = wedge_arena_live(&run.arena, WEDGE_SEC_CONTROL, 0);
    ck_assert_uint_eq(atomic_load(&control->yielders), 0);
    ck_assert_ptr_null(held());
    send_byte();
    run_await(&run_rule(&run, "f1")->holding, 1);
    const struct wedge_arena_thread *thread = wedge_arena_live(&run.arena, WEDGE_SEC_THREADS, 0);
    ck_assert_ptr_eq(held(), &thread->wait[0]);
    release("f1");
    run_finish(&run);
    expect("jumped\nnext\nwrite 1\n");
    finish();
}
END_TEST

/* In a cancellation point a held thread is cancelled, and nothing says that it waits. */
START_TEST(test_cancelled_in_a_hold)
{
    static const struct {
        const char *plan, *name;
    } cases[] = {{"f1 * write nth=1 -> full", "write"},
                 {"f1 * sem_wait nth=1 -> empty", "sem_wait"},
                 {"f1 * read nth=1 -> block", "read"},
                 {"f1 * read nth=1 -> delay 60s", "read"},
                 {"f1 * read nth=1 -> yield until=fired(f1,2)", "read"}};
    PLAY(cases[_i].plan, "cancel", cases[_i].name);
    run_await(&run_rule(&run, "f1")->holding, 1);
    send_byte();
    run_read_until(&run, "joined 1\n");
    ck_assert_ptr_null(held());
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->holding), 0);
    send_byte();
    run_finish(&run);
    ck_assert_ptr_nonnull(strstr(run.text, "cleaned\n"));
    ck_assert_ptr_null(strstr(run.text, cases[_i].name));
    finish();
}
END_TEST

/* A look at nothing but what is shut is told as held, by which rule, and goes on when it is released. */
START_TEST(test_held_in_a_look)
{
    PLAY("define q = pipe created-in=queue_open\nf1 * write obj=q nth=1 -> full", "op", "block", "poll");
    run_read_until(&run, "shut\n");
    run_await(&run_rule(&run, "f1")->holding, 1);
    const struct wedge_arena_thread *thread = wedge_arena_live(&run.arena, WEDGE_SEC_THREADS, 0);
    ck_assert_uint_eq(thread->wait[0].kind, WEDGE_WAITING_HELD);
    ck_assert_uint_eq(thread->wait[0].rule, 1);
    ck_assert_uint_eq(thread->wait[0].deadline_ns, UINT64_MAX);
    release("f1");
    run_finish(&run);
    ck_assert_ptr_nonnull(strstr(run.text, "poll 1\n"));
    ck_assert_uint_eq(run_rule(&run, "f1")->holding, 0);
    finish();
}
END_TEST

START_TEST(test_cancelled_in_a_look)
{
    const char *name = _i ? "epoll_wait" : "poll";
    PLAY("define q = pipe created-in=queue_open\nf1 * write obj=q nth=1 -> full", "cancel", name);
    run_read_until(&run, "shut\n");
    send_byte();
    run_read_until(&run, "joined 1\n");
    send_byte();
    run_finish(&run);
    ck_assert_ptr_nonnull(strstr(run.text, "cleaned\n")); /* before or after the other thread says its part */
    ck_assert_ptr_null(strstr(run.text, name));
    finish();
}
END_TEST

/* Elsewhere not: the lock is taken first. */
START_TEST(test_not_cancelled_in_a_lock)
{
    PLAY("f1 * pthread_mutex_lock nth=1 -> block", "cancel", "lock");
    run_await(&run_rule(&run, "f1")->holding, 1);
    send_byte();
    run_read_until(&run, "cancelled\n");
    release("f1");
    send_byte();
    run_finish(&run);
    expect("cancelled\nlock 0\ncleaned\njoined 1\n");
    finish();
}
END_TEST

START_TEST(test_spurious)
{
    PLAY("f1 * pthread_cond_wait:family -> spurious\nf2 * syscall -> spurious", "spurious");
    run_finish(&run);
    expect("flag 1 0\nnot held 1\nheld 0 1\nc11 1 1\nfutex 0\npid 1\n");
    finish();
}
END_TEST

/* What does not wait is not woken, and the run says so. */
START_TEST(test_spurious_is_for_waits)
{
    PLAY("f1 * syscall arg1==39 -> spurious\nf2 * pthread_cond_wait:family -> spurious", "spurious");
    run_read_until(&run, "pid 1\n");
    char *missed = wedge_faults_missed(&run.arena);
    ck_assert_msg(missed && strstr(missed, "f1 is for a wait") != NULL, "%s", missed);
    free(missed);
    run_finish(&run);
    finish();
}
END_TEST

static const char *const carriers[] = {"write",  "writev",  "pwrite",  "pwritev2", "send",
                                       "sendto", "sendmsg", "mq_send", "read",     "readv",
                                       "pread",  "recv",    "trunc",   "recvmsg",  "mq_receive"};
enum { CARRIERS = sizeof(carriers) / sizeof(carriers[0]), WORDS = 33 };

static int corrupted_at(const char *plan, const char *name)
{
    int mine, at;
    long n, m;
    char said[32];
    PLAY(plan, "corrupt", name);
    run_finish(&run);
    ck_assert_msg(sscanf(run.text, "%31s %ld %ld mine %d at %d", said, &n, &m, &mine, &at) == 5, "%s", run.text);
    ck_assert_int_eq(n, WORDS);
    ck_assert_int_eq(m, WORDS);
    ck_assert_int_eq(mine, -1);
    const struct wedge_arena_event *event = wedge_arena_live(&run.arena, WEDGE_SEC_FIRINGS, 0);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    ck_assert_uint_eq(event->arg, (uint64_t)at);
    finish();
    return at;
}

/* One byte, another by another seed, the same by the same; the caller's own memory is as it was. */
START_TEST(test_corrupt)
{
    const char *name = carriers[_i], *function = strcmp(name, "trunc") == 0 ? "recv" : name;
    char plan[64];
    bool differs = false;
    int first = 0;
    for (int seed = 1; seed <= 6; seed++) {
        snprintf(plan, sizeof(plan), "seed %d\nf1 * %s -> corrupt", seed, function);
        int at = corrupted_at(plan, name);
        ck_assert_int_ge(at, 0);
        ck_assert_int_eq(corrupted_at(plan, name), at);
        differs |= seed > 1 && at != first;
        first = at;
    }
    ck_assert(differs);
}
END_TEST

START_TEST(test_kill_before_and_after)
{
    PLAY("f1 proc[2] write -> kill KILL", "child");
    run_finish(&run);
    expect("bytes 0, signal 9\n");
    finish();
    PLAY("f1 proc[2] write -> kill KILL after", "child");
    run_finish(&run);
    expect("bytes 1, signal 9\n");
    finish();
    PLAY("f1 proc[2] write -> stop\nf2 proc[2] write -> kill TERM", "child"); /* for SIGTERM waits for the stop's end */
    for (int i = 0; i < 20000 && atomic_load(&run_rule(&run, "f1")->fired) == 0; i++)
        usleep(500);
    ck_assert_msg(atomic_load(&run_rule(&run, "f1")->fired) == 1, "the rule for the stop has not fired");
    const struct wedge_arena_proc *proc = wedge_arena_live(&run.arena, WEDGE_SEC_PROCS, 1);
    kill(proc->pid, SIGKILL);
    run_finish(&run);
    expect("bytes 0, signal 9\n");
    finish();
}
END_TEST

/* At a function, before its effect and after it, and at the end of a process. */
START_TEST(test_exit_of_a_rule)
{
    static const struct {
        const char *plan, *says;
    } cases[] = {{"f1 proc[2] write -> exit 7", "bytes 0, status 7\n"},
                 {"f1 proc[2] write -> exit 7 after", "bytes 1, status 7\n"},
                 {"f1 proc[2] start -> exit 255", "bytes 0, status 255\n"},
                 {"f1 proc[2] exit -> exit 9", "bytes 1, status 9\n"}};
    PLAY(cases[_i].plan, "child");
    run_finish(&run);
    expect(cases[_i].says);
    finish();
}
END_TEST

/* Two processes, each of which yields for what the other one does: a meeting, and one before the other. */
START_TEST(test_yield_across_processes)
{
    static const char *const plans[] = {
        "f1 proc[2] write -> yield until=fired(f2)\nf2 root syscall arg1==0 -> delay 1ms",
        "f1 root syscall arg1==0 -> yield until=fired(f2)\nf2 proc[2] exit -> delay 1ms",
        "f1 root syscall arg1==0 -> yield until=fired(f2)\nf2 proc[2] write -> yield until=fired(f1)"};
    PLAY(plans[_i], "child");
    run_finish(&run);
    expect("bytes 1, status 3\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f2")->fired), 1);
    /* Who yielded went on when the other one had fired, and not before. */
    uint64_t released = 0, fired = 0;
    struct wedge_arena_copy copy;
    struct wedge_err err;
    ck_assert_int_eq(wedge_arena_copy(&run.arena, true, &copy, &err), 0);
    for (uint32_t slot = 0; slot < wedge_arena_count(WEDGE_SEC_THREADS); slot++)
        for (uint32_t i = 0; wedge_arena_event(&copy, slot, i); i++) {
            const struct wedge_arena_event *event = wedge_arena_event(&copy, slot, i);
            if (event->kind == WEDGE_EV_RELEASED && event->rule == 1)
                released = event->when_ns;
            if (event->kind == WEDGE_EV_FIRED && event->rule == 2)
                fired = event->when_ns;
        }
    ck_assert_msg(released && fired && fired <= released, "fired at %llu, released at %llu", (unsigned long long)fired,
                  (unsigned long long)released);
    wedge_arena_copy_free(&copy);
    finish();
}
END_TEST

START_TEST(test_stop)
{
    PLAY("f1 proc[2] sched_yield -> stop", "stop");
    run_finish(&run);
    expect("stopped 19\nended 3\n");
    finish();
}
END_TEST

/* A pass that is held by one rule when the quiesce comes does not act by the next. */
START_TEST(test_quiesce_within_a_pass)
{
    PLAY("f1 * sched_yield -> block\nf2 * sched_yield -> kill KILL", "pass");
    run_await(&run_rule(&run, "f1")->holding, 1);
    wedge_faults_quiesce(&run.arena);
    run_finish(&run);
    expect("passed\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f2")->fired), 0);
    finish();
}
END_TEST

/* Whatever is shut when, and released when: what was put arrives, in order, and both come to the end. */
START_TEST(test_nothing_is_lost)
{
    static const char *const how[] = {"poll", "select", "epoll_wait", "epoll_edge", "block"};
    enum { RULES = 12 };
    for (unsigned seed = 1; seed <= 4; seed++) {
        char plan[1024] = "define q = pipe created-in=queue_open\n";
        unsigned left = RULES;
        bool done[RULES] = {false};
        srand(seed * 100 + (unsigned)_i);
        for (int i = 0; i < RULES; i++) {
            char line[80];
            bool out = rand() % 2;
            snprintf(line, sizeof(line), "f%d * %s obj=q nth=%d per=tree -> %s\n", i, out ? "write" : "read",
                     1 + rand() % 3900, out ? "full" : "empty");
            strcat(plan, line);
        }
        PLAY(plan, "stream", how[_i]);
        for (int round = 0; left && round < 200000; round++) { /* one at a time, and not those that come next */
            int i = rand() % RULES;
            char id[8];
            snprintf(id, sizeof(id), "f%d", i);
            if (!done[i] && atomic_load(&run_rule(&run, id)->fired)) {
                release(id);
                done[i] = true;
                left--;
            }
            usleep(50);
        }
        ck_assert_uint_eq(left, 0);
        run_finish(&run);
        expect("stream 4000\n");
        finish();
    }
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_refused_without_waiting, 0, CALLS);
    tcase_add_loop_test(tcase, test_waits_until_released, 0, CALLS);
    tcase_add_test(tcase, test_other_calls_see_it);
    tcase_add_test(tcase, test_quiesce_opens);
    tcase_add_test(tcase, test_release_forgets);
    tcase_add_loop_test(tcase, test_looks, 0, LOOKS);
    tcase_add_loop_test(tcase, test_signals_interrupt_looks, 0, 3);
    tcase_add_test(tcase, test_files);
    tcase_add_loop_test(tcase, test_an_edge_from_before, 0, 3);
    tcase_add_loop_test(tcase, test_an_edge_for_who_was_refused, 0, 40);
    tcase_add_test(tcase, test_an_edge_while_a_thread_waits);
    tcase_add_test(tcase, test_times);
    tcase_add_test(tcase, test_the_other_end_closes);
    tcase_add_test(tcase, test_two_processes);
    tcase_add_loop_test(tcase, test_signal_handlers_run, 0, 4);
    tcase_add_loop_test(tcase, test_signals_interrupt, 0, 2);
    tcase_add_loop_test(tcase, test_jumps_out_of_a_hold, 0, 4);
    tcase_add_loop_test(tcase, test_cancelled_in_a_hold, 0, 5);
    tcase_add_test(tcase, test_held_in_a_look);
    tcase_add_loop_test(tcase, test_cancelled_in_a_look, 0, 2);
    tcase_add_test(tcase, test_not_cancelled_in_a_lock);
    tcase_add_test(tcase, test_spurious);
    tcase_add_test(tcase, test_spurious_is_for_waits);
    tcase_add_loop_test(tcase, test_corrupt, 0, CARRIERS);
    tcase_add_test(tcase, test_kill_before_and_after);
    tcase_add_loop_test(tcase, test_exit_of_a_rule, 0, 4);
    tcase_add_loop_test(tcase, test_yield_across_processes, 0, 3);
    tcase_add_test(tcase, test_stop);
    tcase_add_test(tcase, test_quiesce_within_a_pass);
    tcase_add_loop_test(tcase, test_nothing_is_lost, 0, 5);
}

int main(void)
{
    return wedge_test_main("semantics", 60, fill);
}
