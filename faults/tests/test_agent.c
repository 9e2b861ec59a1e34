/* The agent in real programs: who is hit, which hit, what happens, and what is written down about it. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "faults/launch.h"
#include "faults/missed.h"
#include "faults/tests/run.h"

static struct run run;
static struct wedge_arena_copy copy;

START_TEST(test_nth_hit_kills)
{
    const char *targets[2] = {run_target(), run_target_no_pie()};
    RUN(&run, "f1 root t.step nth=5 -> kill KILL", targets[_i], "steps", "9");
    ck_assert_int_eq(KILLED(run), SIGKILL);
    ck_assert_str_eq(run.text, "step 1\nstep 2\nstep 3\nstep 4\nstep 5\n");
    ck_assert_uint_eq(run_hits(&run, "f1"), 5);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    run_copy(&run, &copy);
    ck_assert_int_eq(run_proc(&copy, 0)->pid, run.pid);
    ck_assert_uint_eq(run_proc(&copy, 0)->killed_by_rule, 1);
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
    run_copy(&run, &copy);
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
    run_copy(&run, &copy);
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
    run_copy(&run, &copy);
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
    run_copy(&run, &copy);
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
    run_copy(&run, &copy);
    ck_assert_uint_eq(atomic_load(&run_proc(&copy, 0)->children), 4);
    for (uint32_t i = 1; i <= 4; i++) {
        ck_assert_uint_eq(run_proc(&copy, i)->parent, 0);
        ck_assert_uint_eq(run_proc(&copy, i)->nth_child, i);
        ck_assert_uint_eq(run_proc(&copy, i)->ordinal, i + 1);
        ck_assert_str_eq(run_proc(&copy, i)->role, "worker");
        ck_assert_uint_eq(run_proc(&copy, i)->role_index, i);
        ck_assert_uint_eq(atomic_load(&run_proc(&copy, i)->state), WEDGE_PROC_EXITING);
        ck_assert_uint_ne(run_proc(&copy, i)->pedigree, run_proc(&copy, i - 1)->pedigree);
    }
    wedge_arena_copy_free(&copy);
    run_free(&run);
}
END_TEST

START_TEST(test_records_of_a_wait)
{
    run_start(&run, NULL, (const char *const[]){run_target(), "wait", NULL});
    run_read_until(&run, "waiting\n");
    run_copy(&run, &copy);
    const struct wedge_arena_thread *thread = wedge_arena_thread_of(&copy, run.pid, run.pid, NULL);
    ck_assert_ptr_nonnull(thread);
    ck_assert_uint_eq(thread->wait[0].kind, 2); /* WEDGE_WAIT_FOR_ITEM */
    ck_assert_int_eq(thread->wait[0].holder, 4711);
    ck_assert_uint_ne(thread->wait[0].object, 0);
    ck_assert_uint_eq(atomic_load(&thread->wait[0].seq) % 2, 0);
    ck_assert_str_eq(wedge_arena_text(&copy, thread->callback.name), "t.callback");
    ck_assert_uint_eq(thread->callback.limit_ms, 250);
    ck_assert_uint_ne(thread->callback.function, 0);
    ck_assert_str_eq(run_proc(&copy, 0)->role, "waiter");
    ck_assert_uint_eq(run_proc(&copy, 0)->role_index, 7);
    ck_assert_uint_eq(run_proc(&copy, 0)->role_gen, 2);
    ck_assert_uint_ne(run_proc(&copy, 0)->start_ticks, 0);
    wedge_arena_copy_free(&copy);
    run_finish(&run);
    run_copy(&run, &copy);
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
    run_copy(&run, &copy);
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
    run_copy(&run, &copy);
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
}

int main(void)
{
    return wedge_test_main("agent", 30, fill);
}
