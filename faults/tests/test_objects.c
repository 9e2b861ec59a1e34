/* Objects: which pipe, semaphore or mutex is meant, by who made it; counting per object; over fork and exec. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/tests/suite.h"
#include "faults/agent/object_roles.h"
#include "faults/functions.h"
#include "faults/missed.h"
#include "faults/tests/run.h"

static struct run run;

static const char *target(int i)
{
    return i ? run_objects_target_no_pie() : run_objects_target();
}

static void check_missed(const char *part)
{
    char *missed = wedge_faults_missed(&run.arena);
    ck_assert_ptr_nonnull(missed);
    ck_assert_msg(*part ? strstr(missed, part) != NULL : !*missed, "\"%s\", not \"%s\"", missed, part);
    free(missed);
}

static uint32_t lost(void)
{
    return atomic_load(&wedge_arena_header(&run.arena)->lost_objects);
}

static void play(int which, const char *plan, const char *mode, const char *a, const char *b)
{
    run_whole(&run, plan, (const char *const[]){target(which), mode, a, b, NULL});
    ck_assert_msg(EXITED(run) == 0, "%s: status %d, \"%s\"", mode, run.status, run.text);
}

/* ENOSPC is 28. */
START_TEST(test_a_pipe_by_its_maker)
{
    play(_i, "define q = pipe created-in=queue_open nth=1\nf1 * write obj=q -> errno ENOSPC", "pipes", NULL, NULL);
    ck_assert_str_eq(run.text, "pipes 1 -28 1\n"
                               "copies -28 -28 -28 1\n"
                               "vfork 0: -28 -28\n"
                               "child 1 -28 -28\n"
                               "fork 0: -28\n"
                               "moved 1 -28\n"
                               "again 1 1\n");
    ck_assert_uint_eq(run_hits(&run, "f1"), 10);
    ck_assert_uint_eq(lost(), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_every_pipe_of_a_maker)
{
    play(0, "define q = pipe created-in=queue_open\nf1 * write obj=q -> errno ENOSPC", "pipes", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run.text, "pipes 1 -28 -28\n"));
    ck_assert_ptr_nonnull(strstr(run.text, "again 1 -28\n"));
    run_free(&run);
    play(0, "define q = pipe created-in=faults_target_objects!queue_open nth=2\nf1 * write obj=q -> errno ENOSPC",
         "pipes", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run.text, "pipes 1 1 -28\n"));
    run_free(&run);
    play(0, "define q = pipe nth=1\nf1 * write obj=q -> errno ENOSPC", "pipes", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run.text, "pipes -28 1 1\n"));
    run_free(&run);
    play(0, "define q = pipe created-in=libc.so.6!queue_open\nf1 * write obj=q -> errno ENOSPC", "pipes", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run.text, "pipes 1 1 1\n"));
    run_free(&run);
    play(0, "define q = socket created-in=queue_open\nf1 * write obj=q -> errno ENOSPC", "pipes", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run.text, "pipes 1 1 1\n"));
    run_free(&run);
}
END_TEST

START_TEST(test_two_defines_of_one_object)
{
    play(0,
         "define a = pipe created-in=queue_open\ndefine b = pipe nth=2\nf1 * write obj=a nth=1 per=tree -> errno "
         "ENOSPC\nf2 * write obj=b nth=2 per=tree -> errno EPIPE",
         "pipes", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run.text, "pipes 1 -28 1\ncopies -32 1 1 1\n"));
    run_free(&run);
}
END_TEST

START_TEST(test_a_pair_of_sockets_is_one_object)
{
    play(0, "define s = socket created-in=pair_open\nf1 * write obj=s -> errno ENOSPC", "sockets", NULL, NULL);
    ck_assert_str_eq(run.text, "pair -28 -28 1\n");
    run_free(&run);
}
END_TEST

START_TEST(test_accept_is_about_the_listener_and_makes_the_connection)
{
    play(0,
         "define l = socket created-in=listener_open\ndefine c = socket created-in=take\n"
         "f1 * accept4 obj=l nth=1 -> delay 1ms after\nf2 * accept4 obj=l nth=1 -> delay 1ms\n"
         "f3 * accept4 obj=c -> exit 9 after\nf4 * write obj=c -> errno ENOSPC",
         "connection", NULL, NULL);
    ck_assert_str_eq(run.text, "connection -28 1\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f2")->fired), 1);
    run_free(&run);
}
END_TEST

START_TEST(test_descriptors_over_exec)
{
    static const char plan[] = "define q = pipe created-in=queue_open\ndefine e = eventfd created-in=bell_open\n"
                               "f1 * write obj=q -> errno ENOSPC\nf2 * write obj=e -> errno EAGAIN";
    play(_i, plan, "exec", "self", NULL);
    ck_assert_str_eq(run.text, "used 1 -28 -11\nnew 1\n");
    run_free(&run);
    play(_i, plan, "exec", "fork", NULL);
    ck_assert_str_eq(run.text, "used 1 -28 -11\nnew 1\n");
    run_free(&run);
#ifndef __SANITIZE_THREAD__ /* which makes a fork of it */
    play(_i, plan, "exec", "vfork", NULL); /* another process: an eventfd is not followed there */
    ck_assert_str_eq(run.text, "used 1 -28 8\nnew 1\n");
    run_free(&run);
    play(_i, plan, "exec", "spawn", NULL);
    ck_assert_str_eq(run.text, "used 1 -28 8\nnew 1\n");
    run_free(&run);
    play(_i, plan, "exec", "move", NULL);
    ck_assert_str_eq(run.text, "used 1 -28 8\nnew 1\n");
    run_free(&run);
#endif
}
END_TEST

START_TEST(test_a_shared_semaphore_is_one_object)
{
    play(_i, "define s = sem created-in=make_sem nth=1\nf1 * sem_post obj=s nth=3.. per=obj -> drop", "sems", NULL,
         NULL);
    ck_assert_str_eq(run.text, "parent 2 1\nchild 2 3\nparent 0: 2 2\n");
    ck_assert_uint_eq(run_hits(&run, "f1"), 4);
    run_free(&run);
    /* The private one is the child's own, and of the same define. */
    play(_i, "define s = sem created-in=make_sem nth=2\nf1 * sem_post obj=s nth=2 per=obj -> drop", "sems", NULL, NULL);
    ck_assert_str_eq(run.text, "parent 2 1\nchild 3 2\nparent 0: 4 1\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 2);
    run_free(&run);
}
END_TEST

/* EINVAL is 22. */
START_TEST(test_shared_by_attribute)
{
    static const char *const kinds[][2] = {{"mutex", "pthread_mutex_lock"},
                                           {"cond", "pthread_cond_signal"},
                                           {"rwlock", "pthread_rwlock_rdlock"},
                                           {"barrier", "pthread_barrier_wait"},
                                           {"spin", "pthread_spin_lock"}};
    char plan[128];
    snprintf(plan, sizeof(plan), "f1 * %s nth=3 per=obj -> errno EINVAL", kinds[_i][1]);
    play(0, plan, "shared", kinds[_i][0], NULL);
    ck_assert_str_eq(run.text, "parent 0 0 0 0\nchild 22 0\n");
    ck_assert_uint_eq(run_hits(&run, "f1"), 6);
    run_free(&run);
}
END_TEST

START_TEST(test_counts_per_object)
{
    play(0, "f1 * sem_post nth=7 per=obj -> drop", "posts", "4", "5");
    ck_assert_str_eq(run.text, "posted 19 19\nagain 5\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 2);
    ck_assert_uint_eq(run_hits(&run, "f1"), 45);
    run_free(&run);
    play(0, "f1 * sem_post nth=4 per=obj -> drop", "posts", "4", "5"); /* the count ends with the object */
    ck_assert_str_eq(run.text, "posted 19 19\nagain 4\n");
    ck_assert_uint_eq(run_hits(&run, "f1"), 45);
    run_free(&run);
    play(0, "f1 * sem_post max=3 per=obj -> drop\nf2 * sem_post max=2 per=obj -> delay 1ms", "posts", "4", "5");
    ck_assert_str_eq(run.text, "posted 17 17\nagain 2\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f2")->fired), 6);
    run_free(&run);
    play(0, "f1 * sem_post nth=5 -> drop", "posts", "4", "4"); /* for comparison: per thread */
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 4);
    run_free(&run);
}
END_TEST

/* EDEADLK is 35. */
START_TEST(test_static_mutexes_are_made_by_their_first_use)
{
    play(_i, "define m = mutex created-in=lock_second\nf1 * pthread_mutex_lock obj=m -> errno EDEADLK", "mutexes", NULL,
         NULL);
    ck_assert_str_eq(run.text, "locked 0 35 35\nchild 0 35 35\n");
    run_free(&run);
    play(_i, "define m = mutex created-in=lock_both\nf1 * pthread_mutex_lock obj=m -> errno EDEADLK", "mutexes", NULL,
         NULL);
    ck_assert_str_eq(run.text, "locked 0 0 0\nchild 0 0 0\n");
    run_free(&run);
    /* The child's copies are counted apart: each has had none of its parent's hits. */
    play(_i, "define m = mutex nth=1\nf1 * pthread_mutex_lock obj=m nth=2 per=obj -> errno EDEADLK", "mutexes", NULL,
         NULL);
    ck_assert_str_eq(run.text, "locked 0 0 3500\nchild 0 0 3500\n");
    run_free(&run);
}
END_TEST

START_TEST(test_a_rush_to_one_object)
{
    for (int i = 0; i < 30; i++) {
        play(0,
             "define m = mutex nth=1\nf1 * pthread_mutex_lock obj=m max=1 per=obj -> delay 1ms\n"
             "f2 * pthread_mutex_lock per=obj nth=400 -> delay 1ms",
             "rush", NULL, NULL);
        ck_assert_uint_eq(run_hits(&run, "f2"), 400);
        ck_assert_uint_eq(atomic_load(&run_rule(&run, "f2")->fired), 1);
        const struct wedge_arena_define *define = wedge_arena_live(&run.arena, WEDGE_SEC_DEFINES, 0);
        ck_assert_uint_eq(atomic_load(&define->seen), 1);
        run_free(&run);
    }
}
END_TEST

START_TEST(test_no_hit_is_lost_where_objects_come_and_go)
{
    run_whole(&run, "f1 * sem_post nth=3 per=obj -> drop",
              (const char *const[]){target(0), "churn", "3", "4", "400", NULL});
    ck_assert_str_eq(run.text, "bad 0\n");
    ck_assert_uint_eq(lost(), 0);
    ck_assert_uint_eq(run_hits(&run, "f1"), 3 * 4 * 400 * 3 * 4);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 3 * 4 * 400 * 3);
    run_free(&run);
}
END_TEST

static const struct {
    const char *kind, *mode, *uses;
} kinds[] = {
    {"mutex", "mutex", "pthread_mutex_trylock"},
    {"mutex", "mtx", "mtx_trylock"},
    {"cond", "cond", "pthread_cond_broadcast"},
    {"rwlock", "rwlock", "pthread_rwlock_rdlock"},
    {"barrier", "barrier", "pthread_barrier_wait"},
    {"spin", "spin", "pthread_spin_lock"},
    {"once", "once", "pthread_once"},
    {"sem", "sem", "sem_post"},
    {"sem", "named", "sem_post"},
    {"thread", "thread", "pthread_join"},
    {"mapping", "mapping", "munmap"},
    {"semset", "semset", "semop"},
    {"msgqueue", "msgqueue", "msgrcv"},
    {"segment", "segment", "shmat"},
    {"socket", "socket", "listen"},
    {"file", "file", "write"},
    {"eventfd", "eventfd", "read"},
    {"fd", "fd", "read"},
    {"timerfd", "timerfd", "timerfd_settime"},
    {"signalfd", "signalfd", "read"},
    {"epoll", "epoll", "epoll_wait"},
    {"mqueue", "mqueue", "mq_send"},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* The object that make_it made is met once by its users, and twice when it is made by its use. */
START_TEST(test_every_kind)
{
    char plan[256];
    snprintf(plan, sizeof(plan),
             "define x = %s created-in=make_it\nf1 * %s obj=x -> delay 1ms\nf2 * %s per=obj nth=1 -> delay 1ms",
             kinds[_i].kind, kinds[_i].uses, kinds[_i].uses);
    run_whole(&run, plan, (const char *const[]){run_kinds_target(), kinds[_i].mode, NULL});
    if (EXITED(run) != 77) {
        bool by_use = strcmp(kinds[_i].kind, "once") == 0;
        ck_assert_str_eq(run.text, "used 0 0\n");
        ck_assert_uint_eq(run_hits(&run, "f1"), by_use ? 2 : 1);
        ck_assert_uint_eq(run_hits(&run, "f2"), by_use ? 4 : 2);
        ck_assert_uint_eq(atomic_load(&run_rule(&run, "f2")->fired), 2);
        ck_assert_uint_eq(lost(), 0);
        check_missed("");
    }
    run_free(&run);
}
END_TEST

START_TEST(test_more_objects_than_room_is_told)
{
    play(0, "define s = sem nth=1\ndefine q = pipe\nf1 * sem_post obj=s -> delay 1ms\nf2 * write obj=q -> errno ENOSPC",
         "crowd", "1200", NULL);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    ck_assert_uint_eq(lost(), 1); /* the descriptor of a high number */
    ck_assert_ptr_nonnull(strstr(run.text, "high 1\n"));
    run_free(&run);
    play(0, "define s = sem nth=1\nf1 * sem_post obj=s -> delay 1ms", "crowd", "4000", NULL);
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 1);
    ck_assert_uint_ge(lost(), 4000 - wedge_arena_count(WEDGE_SEC_OBJECTS));
    check_missed("times an object found no room: there is room for 2048");
    run_free(&run);
    play(0, "f1 * write fd=1 -> delay 1ms", "crowd", "4000", NULL); /* a plan without objects keeps none */
    ck_assert_uint_eq(lost(), 0);
    check_missed("");
    atomic_store(&wedge_arena_header(&run.arena)->lost_functions, 3);
    check_missed("3 modules or functions that the plan names found no room");
    run_free(&run);
}
END_TEST

START_TEST(test_processes_that_are_gone_leave_room)
{
    play(0, "define s = sem nth=5\nf1 * sem_post obj=s -> delay 1ms", "generations", "120", NULL);
    ck_assert_str_eq(run.text, "bad 0\n");
    ck_assert_uint_eq(lost(), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_children_that_end_leave_room)
{
    static const char *const how[] = {"exit", "_exit", "exit", "exit", "exec", "fail"};
    static const char *const rule[] = {"", "", "f2 * t.child -> kill KILL", "f2 * t.child -> exit 0", "", ""};
    char plan[256];
    snprintf(plan, sizeof(plan), "define q = pipe created-in=queue_open\nf1 * write obj=q -> errno ENOSPC\n%s",
             rule[_i]);
    play(0, plan, "inherited", how[_i], NULL);
    ck_assert_str_eq(run.text, "bad 0\n");
    ck_assert_uint_eq(lost(), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_a_child_past_the_wrappers)
{
    play(0, "define q = pipe created-in=queue_open\nf1 * write obj=q -> errno ENOSPC", "bare", NULL, NULL);
    ck_assert_str_eq(run.text, "child -28\n");
    run_free(&run);
}
END_TEST

START_TEST(test_an_identifier_is_one_in_the_whole_tree)
{
    run_whole(&run, "define q = msgqueue created-in=queue_get\nf1 * msgsnd obj=q nth=2 per=obj -> errno ENOMEM",
              (const char *const[]){target(0), "messages", NULL});
    if (EXITED(run) != 77) { /* a container may have no System V queues */
        ck_assert_int_eq(EXITED(run), 0);
        ck_assert_str_eq(run.text, "child 0\nparent 0 -12\n");
    }
    run_free(&run);
}
END_TEST

/* Who makes a descriptor must be known to make which kind; and no row of that table is of a function that is gone. */
START_TEST(test_makers_are_known)
{
    enum { SPECIAL = sizeof(agent_object_special) / sizeof(agent_object_special[0]) };
    for (unsigned f = 0; f < WEDGE_FN_COUNT; f++) {
        const struct wedge_function_row *row = &wedge_functions[f];
        bool makes =
            row->kind == WEDGE_OBJECT_FD && (row->effect == WEDGE_EFFECT_RESULT || row->effect == WEDGE_EFFECT_CREATE);
        bool special = false;
        for (unsigned i = 0; i < SPECIAL; i++)
            special |= strcmp(agent_object_special[i].name, row->name) == 0;
        ck_assert_msg(!makes || special, "%s", row->name);
    }
    for (unsigned i = 0; i < SPECIAL; i++) {
        bool there = false;
        for (unsigned f = 0; f < WEDGE_FN_COUNT; f++)
            there |= strcmp(agent_object_special[i].name, wedge_functions[f].name) == 0;
        ck_assert_msg(there, "%s", agent_object_special[i].name);
    }
}
END_TEST

/* By chance: no two objects draw the same, and each the same again in another run; with a second rule too. */
START_TEST(test_each_object_has_its_own_luck)
{
    static const char *const plans[] = {"seed 3\nf1 * write,pthread_mutex_lock,sem_post p=0.5 per=obj -> errno EINVAL",
                                        "seed 3\nf1 * write,pthread_mutex_lock,sem_post p=0.5 per=obj -> errno EINVAL\n"
                                        "f2 * close,pthread_cond_signal,pthread_join per=obj p=0.1 -> delay 1us"};
    enum { LINES = 12, LINE = 61 };
    char first[LINES * LINE + 1];
    for (int i = 0; i < 4; i++) {
        RUN(&run, plans[i % 2], run_objects_target(), "chances");
        ck_assert_uint_eq(strlen(run.text), LINES * LINE);
        if (i == 0)
            strcpy(first, run.text);
        ck_assert_str_eq(run.text, first);
        run_free(&run);
    }
    for (int a = 0; a < LINES; a++)
        for (int b = 0; b < a; b++)
            ck_assert_msg(strncmp(first + a * LINE, first + b * LINE, LINE) != 0, "lines %d and %d:\n%s", b, a, first);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_each_object_has_its_own_luck);
    tcase_add_loop_test(tcase, test_a_pipe_by_its_maker, 0, 2);
    tcase_add_test(tcase, test_makers_are_known);
    tcase_add_test(tcase, test_every_pipe_of_a_maker);
    tcase_add_test(tcase, test_two_defines_of_one_object);
    tcase_add_test(tcase, test_a_pair_of_sockets_is_one_object);
    tcase_add_loop_test(tcase, test_descriptors_over_exec, 0, 2);
    tcase_add_loop_test(tcase, test_a_shared_semaphore_is_one_object, 0, 2);
    tcase_add_loop_test(tcase, test_shared_by_attribute, 0, 5);
    tcase_add_test(tcase, test_accept_is_about_the_listener_and_makes_the_connection);
    tcase_add_test(tcase, test_counts_per_object);
    tcase_add_loop_test(tcase, test_static_mutexes_are_made_by_their_first_use, 0, 2);
    tcase_add_test(tcase, test_a_rush_to_one_object);
    tcase_add_test(tcase, test_no_hit_is_lost_where_objects_come_and_go);
    tcase_add_loop_test(tcase, test_every_kind, 0, KINDS);
    tcase_add_test(tcase, test_more_objects_than_room_is_told);
    tcase_add_test(tcase, test_processes_that_are_gone_leave_room);
    tcase_add_loop_test(tcase, test_children_that_end_leave_room, 0, 6);
    tcase_add_test(tcase, test_a_child_past_the_wrappers);
    tcase_add_test(tcase, test_an_identifier_is_one_in_the_whole_tree);
}

int main(void)
{
    return wedge_test_main("objects", 60, fill);
}
