/* The agent in real programs: who is hit, which hit, what happens, and what is written down about it. */
#include <errno.h>
#include <limits.h>
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

#define KILLED(run) (WIFSIGNALED((run).status) ? WTERMSIG((run).status) : 0)
#define EXITED(run) (WIFEXITED((run).status) ? WEXITSTATUS((run).status) : -1)

static struct run run;
static struct wedge_arena_copy copy;

static void take_copy(void)
{
    struct wedge_err err;
    ck_assert_int_eq(wedge_arena_copy(&run.arena, true, &copy, &err), 0);
}

static const struct wedge_arena_proc *proc(uint32_t slot)
{
    return wedge_arena_at(&copy, WEDGE_SEC_PROCS, slot);
}

START_TEST(test_nth_hit_kills)
{
    const char *targets[2] = {run_target(), run_target_no_pie()};
    RUN(&run, "f1 root t.step nth=5 -> kill KILL", targets[_i], "steps", "9");
    ck_assert_int_eq(KILLED(run), SIGKILL);
    ck_assert_str_eq(run.text, "step 1\nstep 2\nstep 3\nstep 4\nstep 5\n");
    ck_assert_uint_eq(run_hits(&run, "f1"), 5);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    take_copy();
    ck_assert_int_eq(proc(0)->pid, run.pid);
    ck_assert_uint_eq(proc(0)->killed_by_rule, 1);
    const struct wedge_arena_event *firing = wedge_arena_firing(&copy, 0);
    ck_assert_ptr_nonnull(firing);
    ck_assert_uint_eq(firing->rule, 1);
    ck_assert_int_eq(firing->pid, run.pid);
    ck_assert_str_eq(wedge_arena_text(&copy, firing->name), "t.step");
    ck_assert_ptr_null(wedge_arena_firing(&copy, 1));
    uint32_t slot;
    const struct wedge_arena_thread *thread = wedge_arena_thread_of(&copy, run.pid, run.pid, &slot);
    ck_assert_ptr_nonnull(thread);
    ck_assert_str_eq(wedge_arena_text(&copy, thread->last_point), "t.step");
    ck_assert_uint_eq(thread->last_rule, 1);
    uint32_t fired = 0, points = 0;
    for (uint32_t i = 0; wedge_arena_event(&copy, slot, i); i++) {
        fired += wedge_arena_event(&copy, slot, i)->kind == WEDGE_EV_FIRED;
        points += wedge_arena_event(&copy, slot, i)->kind == WEDGE_EV_POINT;
    }
    ck_assert_uint_eq(fired, 1);
    ck_assert_uint_eq(points, 5);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

/* Which of ten hits fire, against the steps the program could make or the answers it got. */
START_TEST(test_which_hits)
{
    static const struct {
        const char *when, *answers; /* one letter a hit: F fired, . not */
    } cases[] = {
        {"", "FFFFFFFFFF"},
        {"nth=1", "F........."},
        {"nth=10", ".........F"},
        {"nth=3..", "..FFFFFFFF"},
        {"nth=3..5", "..FFF....."},
        {"every=3", "..F..F..F."},
        {"every=3 nth=2..", ".F..F..F.."},
        {"every=2 nth=3..7", "..F.F.F..."},
        {"max=2", "FF........"},
        {"max=2 every=4", "...F...F.."},
        {"max=1 per=tree", "F........."},
        {"nth=4 per=tree", "...F......"},
        {"nth=4 per=proc", "...F......"},
        {"p=1", "FFFFFFFFFF"},
        {"after=mark(t.ask,4) nth=2", "....F....."},
        {"after=mark(never.passed)", ".........."},
        {"time=1h", ".........."},
    };
    char plan[128], want[256] = "";
    snprintf(plan, sizeof(plan), "f1 * t.ask %s -> full", cases[_i].when);
    for (const char *at = cases[_i].answers; *at; at++)
        strcat(want, *at == 'F' ? "1 77\n" : "0 77\n");
    RUN(&run, plan, run_target(), "asks", "10");
    ck_assert_int_eq(EXITED(run), 0);
    ck_assert_str_eq(run.text, want);
    run_free(&run);
}
END_TEST

START_TEST(test_answers_of_an_ask)
{
    RUN(&run,
        "a * t.ask nth=1 -> full\nb * t.ask nth=2 -> empty\nc * t.ask nth=3 -> drop\nd * t.ask nth=4 -> errno EAGAIN\n"
        "e * t.ask nth=5 -> return 42",
        run_target(), "asks", "6");
    ck_assert_str_eq(run.text, "1 77\n2 77\n3 77\n-11 77\n42 77\n0 77\n");
    run_free(&run);
}
END_TEST

START_TEST(test_an_answer_at_a_mere_point_does_not_fire)
{
    RUN(&run, "f1 * t.step nth=2 -> full", run_target(), "steps", "3");
    ck_assert_int_eq(EXITED(run), 0);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 0);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->misplaced), 1);
    char *missed = wedge_faults_missed(&run.arena);
    ck_assert_str_eq(missed, "f1 has an answer for what asks nothing: its place is no WEDGE_ASK");
    free(missed);
    run_free(&run);
}
END_TEST

START_TEST(test_per_thread_counts)
{
    RUN(&run,
        "a * t.step nth=5 -> delay 1ms\nb * t.step nth=5 per=tree -> delay 1ms\nc * t.step nth=40 -> delay 1ms\n"
        "d * t.step nth=40 per=proc -> delay 1ms",
        run_target(), "threads", "6", "20");
    ck_assert_str_eq(run.text, "done\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "a")->fired), 6);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "b")->fired), 1);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "c")->fired), 0);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "d")->fired), 1);
    ck_assert_uint_eq(run_hits(&run, "b"), 120);
    ck_assert_uint_eq(run_name(&run, "t.step")->passes, 120);
    take_copy();
    uint32_t threads = 0, born = 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *thread = wedge_arena_at(&copy, WEDGE_SEC_THREADS, i);
        if (atomic_load(&thread->gen) == 0)
            continue;
        threads++;
        if (thread->creator != UINT32_MAX)
            born |= 1u << thread->nth_child;
    }
    ck_assert_uint_eq(threads, 7);
    ck_assert_uint_eq(born, 0x7e); /* children 1 to 6 of the first thread */
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

/* `max` is of each thread, like the hits, unless `per` says otherwise. */
START_TEST(test_max_is_per_what_is_counted)
{
    RUN(&run,
        "a * t.step max=2 -> delay 1us\nb * t.step max=2 per=proc -> delay 1us\nc * t.step max=2 per=tree -> delay "
        "1us\n"
        "d * t.step nth=1 max=1 -> delay 1us\ne * t.step nth=1 max=1 per=tree -> delay 1us",
        run_target(), "threads", "6", "5");
    static const struct {
        const char *id;
        uint64_t fired;
    } expected[] = {{"a", 12}, {"b", 2}, {"c", 2}, {"d", 6}, {"e", 1}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        ck_assert_msg(atomic_load(&run_rule(&run, expected[i].id)->fired) == expected[i].fired, "%s", expected[i].id);
    run_free(&run);
}
END_TEST

START_TEST(test_chance_is_the_seeds)
{
    char first[2048];
    RUN(&run, "seed 7\nf1 * t.ask p=0.5 -> full", run_target(), "asks", "60");
    strcpy(first, run.text);
    uint64_t fired = atomic_load(&run_rule(&run, "f1")->fired);
    ck_assert_uint_gt(fired, 10);
    ck_assert_uint_lt(fired, 50);
    run_free(&run);
    RUN(&run, "seed 7\nf0 * t.ask p=0.5 -> delay 1ms\nf1 * t.ask p=0.5 -> full", run_target(), "asks", "60");
    ck_assert_str_eq(run.text, first); /* another rule changes nothing for this one */
    run_free(&run);
    RUN(&run, "seed 8\nf1 * t.ask p=0.5 -> full", run_target(), "asks", "60");
    ck_assert_str_ne(run.text, first);
    run_free(&run);
}
END_TEST

START_TEST(test_block_until_released)
{
    run_start(&run, "f1 * t.a -> block\nf2 * t.b -> yield until=fired(f1)",
              (const char *const[]){run_target(), "pair", NULL});
    run_read_until(&run, "b\n"); /* f1 has fired: the other thread is, or will be at once, held */
    struct wedge_arena_rule *rule = run_rule(&run, "f1");
    run_await(&rule->holding, 1);
    ck_assert_ptr_null(strstr(run.text, "a\n"));
    take_copy();
    uint32_t held = 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *thread = wedge_arena_at(&copy, WEDGE_SEC_THREADS, i);
        if (thread->wait[0].kind != WEDGE_WAITING_HELD)
            continue;
        held++;
        ck_assert_uint_eq(thread->wait[0].rule, 1);
        ck_assert_uint_eq(thread->wait[0].deadline_ns, UINT64_MAX);
        ck_assert_str_eq(wedge_arena_text(&copy, thread->wait[0].name), "t.a");
    }
    ck_assert_uint_eq(held, 1);
    wedge_arena_copy_free(&copy);
    struct wedge_err err;
    ck_assert_int_eq(wedge_faults_release(&run.arena, "f3", &err), -ENOENT);
    ck_assert_int_eq(wedge_faults_release(&run.arena, "f1", &err), 0);
    run_finish(&run);
    ck_assert_str_eq(run.text, "b\na\ndone\n");
    ck_assert_uint_eq(atomic_load(&rule->holding), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_yield_orders_threads)
{
    static const struct {
        const char *plan, *output;
    } cases[] = {
        {"f1 * t.a -> yield until=mark(t.b.done)", "b\na\ndone\n"},
        {"f1 * t.b -> yield until=mark(t.a.done)", "a\nb\ndone\n"},
        {"f1 thread=pass-a t.a -> yield until=mark(t.b.done)\nf2 thread=pass-b t.a -> kill KILL", "b\na\ndone\n"},
        {"f1 * t.a -> yield until=fired(f2)\nf2 * t.b.done -> delay 1ms", "b\na\ndone\n"},
    };
    RUN(&run, cases[_i].plan, run_target(), "pair");
    ck_assert_str_eq(run.text, cases[_i].output);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    run_free(&run);
}
END_TEST

START_TEST(test_yield_as_a_meeting)
{
    RUN(&run, "f1 * t.step nth=1 -> yield until=fired(f1,5)", run_target(), "threads", "5", "3");
    ck_assert_str_eq(run.text, "done\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 5);
    run_free(&run);
}
END_TEST

START_TEST(test_quiesce_lets_all_go)
{
    run_start(&run, "f1 * t.a -> block\nf2 * t.b -> delay 10min", (const char *const[]){run_target(), "pair", NULL});
    run_await(&run_rule(&run, "f1")->holding, 1);
    run_await(&run_rule(&run, "f2")->holding, 1);
    wedge_faults_quiesce(&run.arena);
    run_finish(&run);
    ck_assert_ptr_nonnull(strstr(run.text, "done\n"));
    run_free(&run);
    /* By a rule: at t.b the first waits for the block, the second then ends it. */
    RUN(&run, "f1 * t.a -> block\nf2 * t.b -> yield until=fired(f1)\nf3 * t.b after=fired(f1) -> quiesce", run_target(),
        "pair");
    ck_assert_ptr_nonnull(strstr(run.text, "done\n"));
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f3")->fired), 1);
    run_free(&run);
}
END_TEST

START_TEST(test_delay_passes)
{
    RUN(&run, "f1 * t.step -> delay 2ms", run_target(), "steps", "3");
    ck_assert_str_eq(run.text, "step 1\nstep 2\nstep 3\ndone\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 3);
    take_copy();
    uint32_t released = 0;
    for (uint32_t i = 0; wedge_arena_event(&copy, 0, i); i++)
        released += wedge_arena_event(&copy, 0, i)->kind == WEDGE_EV_RELEASED;
    ck_assert_uint_eq(released, 3);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_not_before_its_time)
{
    RUN(&run, "a * t.ask nth=1 -> delay 30ms\nb * t.ask time=20ms nth=1 -> full\nc * t.ask time=10min -> empty",
        run_target(), "asks", "3");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "b")->fired), 1);
    take_copy();
    const struct wedge_arena_control *control = wedge_arena_at(&copy, WEDGE_SEC_CONTROL, 0);
    const struct wedge_arena_event *firing = wedge_arena_firing(&copy, 1); /* after the delay's */
    ck_assert_uint_eq(firing->rule, 2);
    ck_assert_uint_ge(firing->when_ns, atomic_load(&control->begun_ns) + 20000000);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "c")->fired), 0);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_roles_and_generations)
{
    static const struct {
        const char *plan, *output;
    } cases[] = {
        {"f1 worker[2] t.child -> kill KILL", "worker 1.0 exited 1\nworker 2.0 killed 9\nworker 3.0 exited 3\n"},
        {"f1 worker[*] t.child -> kill TERM", "worker 1.0 killed 15\nworker 2.0 killed 15\nworker 3.0 killed 15\n"},
        {"f1 worker t.child nth=1 per=tree -> exit 42",
         "worker 1.0 exited 42\nworker 2.0 exited 2\nworker 3.0 exited 3\n"},
        {"f1 proc[3] t.child -> kill KILL", "worker 1.0 exited 1\nworker 2.0 killed 9\nworker 3.0 exited 3\n"},
        {"f1 worker[3] start -> exit 9", "worker 1.0 exited 1\nworker 2.0 exited 2\nworker 3.0 exited 9\n"},
        {"f1 worker[3] exit -> exit 8", "worker 1.0 exited 1\nworker 2.0 exited 2\nworker 3.0 exited 8\n"},
        {"f1 worker[3] t.before_role -> kill KILL",
         "worker 1.0 exited 1\nworker 2.0 exited 2\nworker 3.0 exited 3\n"}, /* the role is not known there yet */
        {"f1 proc[2] start -> kill KILL", "worker 1.0 killed 9\nworker 2.0 exited 2\nworker 3.0 exited 3\n"},
        {"f1 other[2] t.child -> kill KILL", "worker 1.0 exited 1\nworker 2.0 exited 2\nworker 3.0 exited 3\n"},
    };
    RUN(&run, cases[_i].plan, run_target(), "workers", "3");
    ck_assert_str_eq(run.text, cases[_i].output);
    run_free(&run);
}
END_TEST

START_TEST(test_generation_of_a_role)
{
    RUN(&run, "f1 worker[1].gen=0 t.child -> kill KILL\nf2 worker[2].gen=1 t.child -> kill KILL", run_target(),
        "workers", "2", "again");
    ck_assert_str_eq(run.text, "worker 1.0 killed 9\nworker 1.1 exited 1\nworker 2.0 exited 2\n");
    run_free(&run);
}
END_TEST

START_TEST(test_children_are_numbered)
{
    RUN(&run, NULL, run_target(), "workers", "4");
    take_copy();
    ck_assert_uint_eq(atomic_load(&proc(0)->children), 4);
    for (uint32_t i = 1; i <= 4; i++) {
        ck_assert_uint_eq(proc(i)->parent, 0);
        ck_assert_uint_eq(proc(i)->nth_child, i);
        ck_assert_uint_eq(proc(i)->ordinal, i + 1);
        ck_assert_str_eq(proc(i)->role, "worker");
        ck_assert_uint_eq(proc(i)->role_index, i);
        ck_assert_uint_eq(atomic_load(&proc(i)->state), WEDGE_PROC_EXITING);
        ck_assert_uint_ne(proc(i)->pedigree, proc(i - 1)->pedigree);
    }
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_records_of_a_wait)
{
    run_start(&run, NULL, (const char *const[]){run_target(), "wait", NULL});
    run_read_until(&run, "waiting\n");
    take_copy();
    const struct wedge_arena_thread *thread = wedge_arena_thread_of(&copy, run.pid, run.pid, NULL);
    ck_assert_ptr_nonnull(thread);
    ck_assert_uint_eq(thread->wait[0].kind, 2); /* WEDGE_WAIT_FOR_ITEM */
    ck_assert_int_eq(thread->wait[0].holder, 4711);
    ck_assert_uint_ne(thread->wait[0].object, 0);
    ck_assert_uint_eq(atomic_load(&thread->wait[0].seq) % 2, 0);
    ck_assert_str_eq(wedge_arena_text(&copy, thread->callback.name), "t.callback");
    ck_assert_uint_eq(thread->callback.limit_ms, 250);
    ck_assert_uint_ne(thread->callback.function, 0);
    ck_assert_str_eq(proc(0)->role, "waiter");
    ck_assert_uint_eq(proc(0)->role_index, 7);
    ck_assert_uint_eq(proc(0)->role_gen, 2);
    ck_assert_uint_ne(proc(0)->start_ticks, 0);
    wedge_arena_copy_free(&copy);
    run_finish(&run);
    take_copy();
    thread = wedge_arena_thread_of(&copy, run.pid, run.pid, NULL);
    ck_assert_uint_eq(thread->wait[0].kind, WEDGE_WAITING_NOT);
    ck_assert_uint_eq(thread->callback.name, 0);
    ck_assert_uint_eq(atomic_load(&thread->progress), 42);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_a_callback_can_be_blocked)
{
    run_start(&run, "f1 waiter[7] point:t.callback -> block", (const char *const[]){run_target(), "wait", NULL});
    run_await(&run_rule(&run, "f1")->holding, 1);
    take_copy();
    const struct wedge_arena_thread *thread = wedge_arena_thread_of(&copy, run.pid, run.pid, NULL);
    ck_assert_uint_eq(thread->wait[0].kind, WEDGE_WAITING_HELD);
    ck_assert_str_eq(wedge_arena_text(&copy, thread->callback.name), "t.callback");
    wedge_arena_copy_free(&copy);
    wedge_faults_quiesce(&run.arena);
    run_finish(&run);
    ck_assert_str_eq(run.text, "waiting\nwaited\n");
    run_free(&run);
}
END_TEST

START_TEST(test_signal_handler)
{
    RUN(&run, "f1 * t.handler every=10 -> delay 1ms\nf2 * t.handler nth=100 -> delay 1ms", run_target(), "handler");
    ck_assert_str_eq(run.text, "errno 77\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 10);
    ck_assert_uint_eq(run_name(&run, "t.handler")->passes, 100);
    run_free(&run);
}
END_TEST

START_TEST(test_shared_object)
{
    RUN(&run, "f1 * so.ask -> errno EIO", run_target(), "library");
    ck_assert_str_eq(run.text, "answer -5\n");
    run_free(&run);
}
END_TEST

START_TEST(test_exactly_one_of_a_crowd)
{
    RUN(&run, "f1 * t.step nth=777 per=tree -> kill KILL\nf2 * t.step max=3 per=tree -> delay 1ms", run_target(),
        "crowd", "8", "200");
    ck_assert_str_eq(run.text, "killed 1\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f2")->fired), 3);
    take_copy();
    for (uint32_t i = 0; i < 4; i++) { /* the firing order has no gap and no double */
        const struct wedge_arena_event *firing = wedge_arena_firing(&copy, i);
        ck_assert_ptr_nonnull(firing);
        ck_assert_uint_eq(firing->order, i + 1);
    }
    ck_assert_ptr_null(wedge_arena_firing(&copy, 4));
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_full_tables_are_said)
{
    RUN(&run, "f1 * t.step nth=1 -> delay 1us", run_target(), "many", "1100", "together");
    ck_assert_str_eq(run.text, "done\n");
    const struct wedge_arena_header *header = wedge_arena_header(&run.arena);
    uint32_t room = wedge_arena_count(WEDGE_SEC_THREADS) - 1; /* the first thread has one */
    ck_assert_uint_ge(atomic_load(&header->lost_threads), 1100 - room);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), room);
    run_free(&run);

    RUN(&run, "f1 worker[290] t.child -> kill KILL", run_target(), "workers", "300");
    header = wedge_arena_header(&run.arena);
    ck_assert_uint_eq(atomic_load(&header->lost_procs), 300 - (wedge_arena_count(WEDGE_SEC_PROCS) - 1));
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 0);
    ck_assert_int_eq(EXITED(run), 0);
    /* All of them are gone. */
    ck_assert_uint_eq(wedge_faults_recycle(&run.arena), wedge_arena_count(WEDGE_SEC_PROCS));
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *thread = wedge_arena_live(&run.arena, WEDGE_SEC_THREADS, i);
        ck_assert_uint_eq(atomic_load(&thread->gen), 0);
    }
    run_free(&run);
}
END_TEST

START_TEST(test_ended_threads_make_room)
{
    RUN(&run, "f1 * t.step nth=1 -> delay 1us", run_target(), "many", "2200");
    ck_assert_str_eq(run.text, "done\n");
    ck_assert_uint_eq(atomic_load(&wedge_arena_header(&run.arena)->lost_threads), 0);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 2200);
    run_free(&run);
}
END_TEST

/* They never said that they leave: the kernel and /proc do. The parent's slot is free too, as it has left. */
START_TEST(test_those_ended_from_outside_make_room)
{
    RUN(&run, NULL, run_target(), "slain", "240");
    ck_assert_str_eq(run.text, "done\n");
    ck_assert_uint_eq(wedge_faults_recycle(&run.arena), 241);
    run_free(&run);
    RUN(&run, NULL, run_target(), "slain", "200"); /* kept while there is room: a report may name them */
    ck_assert_uint_eq(wedge_faults_recycle(&run.arena), 1);
    run_free(&run);
}
END_TEST

START_TEST(test_what_a_report_names_is_kept)
{
    /* More than half of the table, less than nearly all: workers have a role. */
    RUN(&run, NULL, run_target(), "workers", "200");
    ck_assert_uint_eq(wedge_faults_recycle(&run.arena), 1); /* their parent, which has none */
    run_free(&run);
    RUN(&run, NULL, run_target(), "workers", "20");
    ck_assert_uint_eq(wedge_faults_recycle(&run.arena), 0);
    run_free(&run);
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(WEDGE_COVERAGE)
/* Not with a runtime that makes calls of its own. What reads the clock without a system call; with another clock a
 * pass makes one, and a filter as strict as this one is not for it. */
static bool clock_needs_no_call(void)
{
    char name[32] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file) {
        char *got = fgets(name, sizeof(name), file);
        fclose(file);
        return got && (strncmp(name, "tsc", 3) == 0 || strncmp(name, "kvm-clock", 9) == 0);
    }
    return false;
}

/* Reading the processor's counter would be the end of such a program. */
START_TEST(test_no_clock)
{
    const char *hows[] = {"seccomp", "tsc", "rawprctl", "rawtsc", "rawseccomp"};
    RUN(&run, "f0 thread=faults_target t.step -> errno EIO\nf1 * t.ask -> full\nf2 * write -> errno EIO after",
        run_target(), "clockless", hows[_i]);
    ck_assert_str_eq(run.text, "answer 1\n");
    ck_assert_int_eq(EXITED(run), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_no_call_of_its_own)
{
    RUN(&run, "f0 thread=faults_target t.step -> errno EIO\nf1 boxed[1] t.ask -> full\nf2 * write -> errno EIO after",
        run_target(), "sandbox");
    ck_assert_uint_eq(run_hits(&run, "f0"), 1);
    ck_assert_str_eq(run.text, "answer 1\n");
    ck_assert_int_eq(EXITED(run), 0);
    run_free(&run);
}
END_TEST
#endif

/* A name counts from the moment it is given, by whatever call and whomever. */
START_TEST(test_names_of_threads)
{
    RUN(&run,
        "a thread=faults_target t.ask -> return 1\nb thread=first t.ask -> return 2\nc thread=second t.ask -> return "
        "3\n"
        "d thread=third t.ask -> return 4\ne thread=fourth t.ask -> return 5",
        run_target(), "names");
    ck_assert_str_eq(run.text, "1\n2\n3\n4\n5\n");
    ck_assert_int_eq(EXITED(run), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_library_loaded_later)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.*s/../lib/libfaults_plugin.so", (int)(strrchr(run_target(), '/') - run_target()),
             run_target());
    RUN(&run, "f1 * so.ask -> errno EIO", run_target(), "plugin", path);
    ck_assert_str_eq(run.text, "answer -5\n");
    run_free(&run);
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* whose runtimes refuse such libraries */
START_TEST(test_library_past_the_wrappers)
{
    static const struct {
        const char *rule;
        uint32_t lost;
    } cases[] = {{"f1 * write -> errno EIO", 2}, {"f1 proc[9] write -> errno EIO", 0}, {"f1 * so.ask -> errno EIO", 0}};
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.*s/../lib/libfaults_plugin.so", (int)(strrchr(run_target(), '/') - run_target()),
             run_target());
    RUN(&run, cases[_i].rule, run_target(), "deep", path);
    ck_assert_int_eq(EXITED(run), 0);
    ck_assert_uint_eq(atomic_load(&wedge_arena_header(&run.arena)->lost_libraries), cases[_i].lost);
    char *missed = wedge_faults_missed(&run.arena);
    ck_assert(missed && !!strstr(missed, "RTLD_DEEPBIND") == !!cases[_i].lost);
    free(missed);
    run_free(&run);
}
END_TEST
#endif

START_TEST(test_functions)
{
    static const struct {
        const char *rule, *want; /* a line of the output */
    } cases[] = {
        {"f1 * write nth=1 -> errno EIO", "write -1 5\nwrite 1 0\nread 1 !\n"},
        {"f1 * write nth=1 -> errno EIO after", "write -1 5\nwrite 1 0\nread 6 hello!\n"},
        {"f1 * write nth=1 -> drop", "write 5 0\nwrite 1 0\nread 1 !\n"},
        {"f1 * write nth=1 -> short 2", "write 2 0\nwrite 1 0\nread 3 he!\n"},
        {"f1 * write -> return 0 after", "write 0 0\nwrite 0 0\nread 6 hello!\n"},
        {"f1 * read -> short 3", "read 3 hel\n"},
        {"f1 * open:family -> errno EMFILE", "open -24\n"},
        {"f1 * open,openat -> errno EMFILE", "open 0\n"},
        {"f1 * sem_post -> drop", "sem_post 0 0\nsem_timedwait -1 110\n"},
        {"f1 * sem_wait:family -> errno EINTR", "sem_timedwait -1 4\n"},
        {"f1 * sem_wait -> errno EINTR", "sem_timedwait 0 0\n"},
        {"f1 * read,pthread_mutex_lock nth=2 -> errno EDEADLK", "lock 35\n"},
        {"f1 * pthread_cond_wait:family -> spurious", "cond 0\n"},
        {"f1 * pthread_cond_wait -> spurious", "cond 110\n"},
        {"f1 * pthread_cond_timedwait -> errno ETIMEDOUT", "cond 110\n"},
        {"f1 * close -> errno EIO", "cond 110\n"},
    };
    RUN(&run, cases[_i].rule, run_target(), "calls");
    ck_assert_int_eq(EXITED(run), 0);
    ck_assert_msg(strstr(run.text, cases[_i].want) != NULL, "%s: %s", cases[_i].rule, run.text);
    run_free(&run);
}
END_TEST

START_TEST(test_kill_after_the_effect)
{
    run_start(&run, "f1 * fork nth=2 -> kill KILL after", (const char *const[]){run_target(), "workers", "3", NULL});
    run_finish(&run);
    ck_assert_int_eq(KILLED(run), SIGKILL);
    ck_assert_str_eq(run.text, "worker 1.0 exited 1\n");
    take_copy();
    ck_assert_int_gt(proc(2)->pid, 0); /* the second child was born */
    wedge_arena_copy_free(&copy);
    run_free(&run);
    RUN(&run, "f1 * fork nth=2 -> errno EAGAIN", run_target(), "workers", "3");
    ck_assert_int_eq(EXITED(run), 1);
    run_free(&run);
}
END_TEST

START_TEST(test_exit)
{
    static const char *const ways[] = {"return", "exit", "_exit"};
    RUN(&run, "f1 * exit -> exit 44", run_target(), "leave", ways[_i]);
    ck_assert_int_eq(EXITED(run), 44);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    run_free(&run);
    RUN(&run, "f1 root exit nth=1 -> delay 1ms", run_target(), "leave", ways[_i]);
    ck_assert_int_eq(EXITED(run), 3);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    run_free(&run);
}
END_TEST

START_TEST(test_stop)
{
    run_start(&run, "f1 * t.step nth=2 -> stop", (const char *const[]){run_target(), "steps", "3", NULL});
    int status;
    ck_assert_int_eq(waitpid(run.pid, &status, WUNTRACED), run.pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(kill(run.pid, SIGCONT), 0);
    run_finish(&run);
    ck_assert_str_eq(run.text, "step 1\nstep 2\nstep 3\ndone\n");
    run_free(&run);
}
END_TEST

#ifndef __SANITIZE_THREAD__
START_TEST(test_vfork_child_does_not_act)
{
    RUN(&run, "f1 * t.vfork -> kill KILL\nf2 * exit -> exit 77\nf3 * t.parent -> kill KILL", run_target(), "vfork");
    ck_assert_str_eq(run.text, "child 9\n");
    ck_assert_int_eq(KILLED(run), SIGKILL);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 0);
    run_free(&run);
}
END_TEST
#endif

START_TEST(test_exec_keeps_the_process)
{
    RUN(&run, "f1 master[1] t.step nth=2 per=proc -> kill KILL", run_target(), "exec");
    ck_assert_int_eq(KILLED(run), SIGKILL);
    ck_assert_str_eq(run.text, "step 1\n");
    take_copy();
    ck_assert_uint_eq(proc(0)->exec_count, 1);
    ck_assert_uint_eq(atomic_load(&proc(1)->gen), 0);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_an_empty_plan_changes_nothing)
{
    static const struct {
        const char *argv[6], *output;
        int status;
    } cases[] = {
        {{"/bin/sh", "-c", "echo a | tr a b; (exit 3)"}, "b\n", 3},
        {{"sh", "-c", "x=$(printf '3\\n1\\n2\\n' | sort | tr '\\n' ' '); echo \"$x\"; kill -TERM $$"}, "1 2 3 \n", -1},
        {{"sort", "/dev/null"}, "", 0},
        {{"python3", "-c",
          "import threading,subprocess,os\n"
          "l=threading.Lock(); n=[0]\n"
          "def f():\n"
          "  for i in range(200):\n"
          "    with l: n[0]+=1\n"
          "t=[threading.Thread(target=f) for i in range(8)]\n"
          "[x.start() for x in t]; [x.join() for x in t]\n"
          "print(n[0], subprocess.check_output(['echo','hi']).decode().strip(), flush=True)\n"
          "p=os.fork()\n"
          "if p==0: os._exit(5)\n"
          "print(os.waitstatus_to_exitcode(os.waitpid(p,0)[1]))"},
         "1600 hi\n5\n",
         0},
    };
    run_whole(&run, NULL, cases[_i].argv);
    ck_assert_str_eq(run.text, cases[_i].output);
    ck_assert_int_eq(EXITED(run), cases[_i].status);
    take_copy();
    ck_assert_int_eq(proc(0)->pid, run.pid);
    const struct wedge_arena_header *header = wedge_arena_header(&run.arena);
    ck_assert_uint_eq(atomic_load(&header->lost_threads) + atomic_load(&header->lost_procs), 0);
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

/* A program that asks for the loader's last error before it has called it is told of none, as without the agent. */
START_TEST(test_the_loaders_error_is_the_programs)
{
    RUN(&run, "f1 * t.step -> delay 1ms", run_target(), "fresh");
    ck_assert_str_eq(run.text, "0 none\n");
    run_free(&run);
}
END_TEST

#ifdef WEDGE_COVERAGE
/* A deliberate kill leaves the target's counters behind, which SIGKILL by itself would not. */
START_TEST(test_kill_dumps_counters)
{
    char folder[] = "/tmp/wedge-gcov-XXXXXX", command[128], line[PATH_MAX];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("GCOV_PREFIX", folder, 1);
    RUN(&run, "f1 root t.step nth=2 -> kill KILL", run_target(), "steps", "3");
    unsetenv("GCOV_PREFIX");
    ck_assert_int_eq(KILLED(run), SIGKILL);
    snprintf(command, sizeof(command), "find %s -name 'target.c.gcda'; rm -r %s", folder, folder);
    FILE *find = popen(command, "r");
    ck_assert_ptr_nonnull(find);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), find));
    pclose(find);
    run_free(&run);
}
END_TEST
#endif

/* The agent imports nothing that allocates, prints or locks. */
START_TEST(test_imports)
{
    static const char *const allowed[] = {
        "__cxa_finalize", "__errno_location", "__gmon_start__",
        /* pthread_cleanup_push: a list on the thread's own stack */
        "__pthread_register_cancel", "__pthread_unregister_cancel", "__pthread_unwind_next", "__sigsetjmp",
        "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "_dl_find_object", "__environ", /* its other name */
        "environ", /* what execv hands on */
        "dl_iterate_phdr", "dlerror", "dlsym", "dlvsym", "getenv", "memcmp", "memcpy", "memmove", "memset",
        /* looks at an attribute */
        "pthread_barrierattr_getpshared", "pthread_condattr_getpshared", "pthread_mutexattr_getpshared",
        "pthread_rwlockattr_getpshared",
        /* a hold in a cancellation point */
        "pthread_setcanceltype", "pthread_testcancel", "strcmp", "strcspn", "strlen", "strspn", NULL};
    char command[4096], line[256];
    snprintf(command, sizeof(command), "nm -D --undefined-only '%.*s/../lib/libwedge-agent.so'",
             (int)(strrchr(run_target(), '/') - run_target()), run_target());
    FILE *nm = popen(command, "r");
    ck_assert_ptr_nonnull(nm);
    int count = 0;
    while (fgets(line, sizeof(line), nm)) {
        char *name = strrchr(line, ' ');
        ck_assert_ptr_nonnull(name);
        name++;
        name[strcspn(name, "@\n")] = 0;
        bool ok = false;
        for (int i = 0; allowed[i]; i++)
            ok |= strcmp(name, allowed[i]) == 0;
        ck_assert_msg(ok, "the agent imports %s", name);
        count++;
    }
    ck_assert_int_eq(pclose(nm), 0);
    ck_assert_int_gt(count, 4);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_nth_hit_kills, 0, 2);
    tcase_add_loop_test(tcase, test_which_hits, 0, 17);
    tcase_add_test(tcase, test_answers_of_an_ask);
    tcase_add_test(tcase, test_an_answer_at_a_mere_point_does_not_fire);
    tcase_add_test(tcase, test_per_thread_counts);
    tcase_add_test(tcase, test_max_is_per_what_is_counted);
    tcase_add_test(tcase, test_chance_is_the_seeds);
    tcase_add_test(tcase, test_block_until_released);
    tcase_add_loop_test(tcase, test_yield_orders_threads, 0, 4);
    tcase_add_test(tcase, test_yield_as_a_meeting);
    tcase_add_test(tcase, test_quiesce_lets_all_go);
    tcase_add_test(tcase, test_delay_passes);
    tcase_add_test(tcase, test_not_before_its_time);
    tcase_add_loop_test(tcase, test_roles_and_generations, 0, 9);
    tcase_add_test(tcase, test_generation_of_a_role);
    tcase_add_test(tcase, test_children_are_numbered);
    tcase_add_test(tcase, test_records_of_a_wait);
    tcase_add_test(tcase, test_a_callback_can_be_blocked);
    tcase_add_test(tcase, test_signal_handler);
    tcase_add_test(tcase, test_shared_object);
    tcase_add_test(tcase, test_exactly_one_of_a_crowd);
    tcase_add_test(tcase, test_full_tables_are_said);
    tcase_add_test(tcase, test_ended_threads_make_room);
    tcase_add_test(tcase, test_what_a_report_names_is_kept);
    tcase_add_test(tcase, test_those_ended_from_outside_make_room);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(WEDGE_COVERAGE)
    if (clock_needs_no_call())
        tcase_add_test(tcase, test_no_call_of_its_own);
    tcase_add_loop_test(tcase, test_no_clock, 0, 5);
#endif
    tcase_add_test(tcase, test_names_of_threads);
    tcase_add_test(tcase, test_library_loaded_later);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    tcase_add_loop_test(tcase, test_library_past_the_wrappers, 0, 3);
#endif
    tcase_add_loop_test(tcase, test_functions, 0, 16);
    tcase_add_test(tcase, test_kill_after_the_effect);
    tcase_add_loop_test(tcase, test_exit, 0, 3);
    tcase_add_test(tcase, test_stop);
#ifndef __SANITIZE_THREAD__ /* whose runtime makes a fork of each vfork */
    tcase_add_test(tcase, test_vfork_child_does_not_act);
#endif
    tcase_add_test(tcase, test_exec_keeps_the_process);
    tcase_add_loop_test(tcase, test_an_empty_plan_changes_nothing, 0, 4);
    tcase_add_test(tcase, test_the_loaders_error_is_the_programs);
#ifdef WEDGE_COVERAGE
    tcase_add_test(tcase, test_kill_dumps_counters);
#endif
    tcase_add_test(tcase, test_imports);
}

int main(void)
{
    return wedge_test_main("agent", 30, fill);
}
