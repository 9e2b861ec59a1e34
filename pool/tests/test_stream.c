/*
 * Each hazard of the streams and its cure. A play runs in a process of its own, which is the pool's parent, and ends with
 * a verdict. With the hazard it hangs in the call that the table names (or loses something, and says so); with one
 * setting more it comes to its end. What hangs is killed with its whole process group.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "pool/tests/pace.h"
#include "pool/tests/stream_plays.h"

#define HANG_MS  400 /* how long a play is watched before what it waits in is looked at */
#define GRACE_MS 1000 /* of a shutdown: how far past its deadline it may go */
#define CURED_MS 20000

#define IN_FUTEX SYS_futex
#define IN_POLL  SYS_poll
#define IN_PPOLL SYS_ppoll
#define IN_CHILD SYS_waitid
#define IN_READ  SYS_read
#define ANYWHERE (-1)

static const struct row {
    const char *item;
    enum verdict (*play)(void);
    const char *place; /* armed */
    struct wedge_pool_callbacks stuck;
    const char *settings[6];
    const char *cure;
    enum verdict ill, cured;
    long waits_in; /* the system call that the parent's main thread hangs in */
    const char *preset, *hazard; /* where it is not `reported` that has the hazard: the one setting that makes it */
} rows[] = {
    {"1.1a", killed_in_hand, NULL, {0}, {"collector_wait=20"}, "collector_leaves=no_workers", HANGS, ENDS, IN_FUTEX},
    {"1.1b", results_closed, NULL, {0}, {"collector_wait=20"}, "collector_leaves=no_workers", HANGS, ENDS, IN_FUTEX},
    {"1.1c", mark_drained, NULL, {0}, {"collector_wait=20"}, "collector_leaves=no_workers", HANGS, ENDS, IN_FUTEX},
/* The report's cure has two parts, a deadline and a condition: without either of them it is none. */
#define ONE_SETTING(item, play, hazard)                                                                                \
    {                                                                                                                  \
        item, play, NULL, {0}, {NULL}, NULL, HANGS, ENDS, IN_FUTEX, "proposed", hazard                                 \
    }
    ONE_SETTING("1.1a", killed_in_hand, "collector_wait=never"),
    ONE_SETTING("1.1a", killed_in_hand, "collector_leaves=mark"),
    ONE_SETTING("1.1b", results_closed, "collector_wait=never"),
    ONE_SETTING("1.1b", results_closed, "collector_leaves=mark"),
    ONE_SETTING("1.1c", mark_drained, "collector_leaves=mark"),
    {"1.3a", full_and_dead, NULL, {0}, {"queue=2"}, "close_wait=20", HANGS, WELL, IN_FUTEX},
    {"1.3b", both_full, NULL, {0}, {"queue=2"}, "result_bound=none", HANGS, WELL, IN_FUTEX},
    {"recycled",
     marks_of_the_recycled,
     NULL,
     {0},
     {"life_tasks=1", "queue=33"},
     "close_by=flag",
     HANGS,
     WELL,
     IN_FUTEX},
    {"eaten",
     marks_eaten_by_others,
     NULL,
     {0},
     {"processes=2", "threads=2", "queue=1", "check=10"},
     "close_by=flag",
     HANGS,
     WELL,
     IN_PPOLL},
    {"1.4 full", no_room_for_its_mark, NULL, {0}, {"queue=2"}, "shutdown_steps=all", LOSES, WELL, ANYWHERE},
    {"1.4 late", shutdown_with_a_backlog, NULL, {0}, {NULL}, "shutdown_covers=all", HANGS, WELL, IN_FUTEX},
    {"2.1a",
     put_behind_a_look,
     NULL,
     {0},
     {"process_limit=100", "term_wait=3600000"},
     "management_lock=narrow",
     HANGS,
     WELL,
     IN_FUTEX},
    {"2.1b", put_behind_a_look, "pool.looks.fork", {0}, {NULL}, "management_lock=narrow", HANGS, WELL, IN_FUTEX},
    {"2.3a", stuck_function, NULL, {.process_init = stuck_init}, {"queue=2"}, "start_limit=80", HANGS, WELL, IN_FUTEX},
    {"2.3b", stuck_function, NULL, {.thread_init = stuck_init}, {"queue=2"}, "start_limit=80", HANGS, WELL, IN_FUTEX},
    {"2.3c",
     stuck_function,
     NULL,
     {.thread_final = stuck_final},
     {"collector_wait=20", "collector_leaves=no_workers"},
     "final_limit=80",
     HANGS,
     WELL,
     IN_CHILD},
    {"2.3d", stuck_function, NULL, {.process_final = stuck_final}, {NULL}, "final_limit=80", HANGS, WELL, IN_CHILD},
    {"3.1a",
     forked_beside_the_log,
     NULL,
     {0},
     {"management_lock=narrow", "idle_holds_reader=no"},
     "log=reset",
     HANGS,
     WELL,
     IN_CHILD},
    {"3.1b",
     logs_in_a_handler,
     "direct",
     {0},
     {"process_limit=100", "term_wait=3600000"},
     "log=queued",
     HANGS,
     WELL,
     IN_POLL},
    {"3.2ab",
     leaves_halfway,
     "abrupt",
     {0},
     {"payload_bytes=100000", "die_limit=50"},
     "leave=in_order",
     HANGS,
     WELL,
     IN_READ},
    {"idle", idle_killed, NULL, {0}, {"processes=2"}, "queue_lock=owned", HANGS, WELL, IN_CHILD},
    {"idle", idle_killed, NULL, {0}, {"processes=2"}, "idle_holds_reader=no", HANGS, WELL, IN_CHILD},
    {"hard life", idle_past_its_limit, NULL, {0}, {NULL}, "queue_lock=owned", HANGS, WELL, ANYWHERE},
    {"dead task", iteration_waits_for_the_dead, NULL, {0}, {NULL}, "dead_task=lost", HANGS, WELL, IN_READ},
    {"57 of 6",
     timed_out_again_and_again,
     NULL,
     {0},
     {"threads=2", "task_limit=100", "result_bound=none"},
     "timeouts=once",
     LOSES,
     WELL,
     ANYWHERE},
    {"crash loop",
     crash_loop,
     NULL,
     {0},
     {"queue=2", "check=10", "dead_task=lost"},
     "restart_limit=3",
     HANGS,
     WELL,
     ANYWHERE},
#define KILLED_AT(place)                                                                                               \
    {                                                                                                                  \
        place, killed_at_place, place, {0}, {"processes=2", "payload_bytes=100000", "dead_task=lost"},                 \
            "queue_lock=owned", HANGS, WELL, ANYWHERE                                                                  \
    }
    KILLED_AT("pool.reader.locked"),
    KILLED_AT("pool.reader.head"),
    KILLED_AT("pool.feeder.locked"),
    KILLED_AT("pool.feeder.head"),
    KILLED_AT("pool.feeder.written"),
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static _Noreturn void play(const struct row *row, bool cured, int done_fd)
{
    parent = getpid();
    setpgid(0, 0);
    signal(SIGTERM, SIG_DFL); /* the test runner's handler is not the workers' */
    tally_init(&tally);
    make_pipe(said);
    make_pipe(go);
    armed = row->place;
    stuck = row->stuck;
    const char *cure = cured && row->cure ? row->cure : "", *change = cured ? row->cure : row->hazard;
    idle_holds = strcmp(cure, "idle_holds_reader=no") != 0;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (strcmp(cure, "leave=in_order") == 0 || strcmp(cure, "log=queued") == 0)
        armed = NULL;
    pool = MAKE_POOL(row->preset ? row->preset : "reported", "processes=1", "threads=1");
    for (int i = 0; i < 6 && row->settings[i]; i++)
        ck_assert_int_eq(wedge_pool_set(pool, row->settings[i], NULL), 0);
    if (change)
        ck_assert_int_eq(wedge_pool_set(pool, change, NULL), 0);
    char verdict = (char)('0' + row->play());
    ck_assert_int_eq(write(done_fd, &verdict, 1), 1);
    kill(0, SIGKILL); /* what a play leaves behind goes with it */
    _exit(1);
}

START_TEST(hazard_and_cure)
{
    const struct row *row = &rows[_i / 2];
    bool cured = _i % 2;
    enum verdict expected = cured ? row->cured : row->ill, got = HANGS;
    char byte = 0;
    long in = -1;
    int done[2];
    make_pipe(done);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        play(row, cured, done[1]);
    setpgid(pid, pid); /* here as well: whichever comes first */
    close(done[1]);
    /* A shutdown that goes past its deadline is over before it is called a hang. */
    int hang_ms = row->play == mark_drained || row->play == shutdown_with_a_backlog ? HANG_MS + GRACE_MS : HANG_MS;
    int limit_ms = expected == HANGS ? hang_ms : CURED_MS;
    bool over = closed_or_readable_within(done[0], paced_ms(limit_ms));
    in = waits_in(pid);
    /* On a slow machine a play that will hang may still be on its way there; what hangs stays where it is. */
    for (int ms = limit_ms;
         !over && expected == HANGS && row->waits_in != ANYWHERE && in != row->waits_in && ms < CURED_MS;
         ms += hang_ms) {
        over = closed_or_readable_within(done[0], paced_ms(hang_ms));
        in = waits_in(pid);
    }
    if (over) {
        got = read(done[0], &byte, 1) == 1 ? (enum verdict)(byte - '0') : (enum verdict)99;
        if (expected == ENDS && got != (enum verdict)99)
            got = ENDS;
    }
    kill(-pid, SIGKILL);
    waitpid(pid, NULL, 0);
    const char *change = cured ? row->cure : row->hazard;
    ck_assert_msg(got == expected, "%s%s%s: verdict %d, expected %d; in system call %ld", row->item,
                  change ? " with " : "", change ? change : "", got, expected, in);
    if (expected == HANGS && row->waits_in != ANYWHERE)
        ck_assert_msg(in == row->waits_in, "%s: hangs in system call %ld, expected %ld", row->item, in, row->waits_in);
}
END_TEST

/* A process that removes the file when nobody has the write end of `alive` any more: when this test was killed, too. */
static pid_t guard_file(const char *path, const int alive[2])
{
    char byte;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    setsid(); /* who kills the test kills its group */
    close(alive[1]);
    while (read(alive[0], &byte, 1) < 0 && errno == EINTR)
        ;
    unlink(path);
    _exit(0);
}

/* 3.2c: what a killed parent leaves in /dev/shm; destroy leaves nothing, and what is stale is no obstacle. */
START_TEST(a_killed_parent_leaves_a_file)
{
    bool named = _i == 0;
    char path[64];
    int ready[2], guarded[2], alive[2];
    make_pipe(ready);
    make_pipe(guarded);
    make_pipe(alive);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct wedge_pool_callbacks callbacks = callbacks_of(square_task);
        setpgid(0, 0);
        close(guarded[1]);
        read_byte(guarded[0]);
        pool = MAKE_POOL("reported", "processes=1", "name=test-stream", named ? "shared=named" : "shared=unnamed");
        start(&callbacks);
        snprintf(path, sizeof(path), "/dev/shm/wedge-test-stream-%d-0", (int)getpid());
        ck_assert_int_eq(access(path, F_OK), named ? 0 : -1);
        wedge_pool_destroy(pool);
        ck_assert_int_eq(access(path, F_OK), -1);
        FILE *stale = fopen(path, "we"); /* of a process that is dead and had this pid */
        ck_assert_ptr_nonnull(stale);
        fclose(stale);
        pool = MAKE_POOL("reported", "processes=1", "name=test-stream", named ? "shared=named" : "shared=unnamed");
        start(&callbacks);
        if (!named)
            unlink(path);
        ck_assert_int_eq(write(ready[1], "r", 1), 1);
        kill(0, SIGKILL);
    }
    snprintf(path, sizeof(path), "/dev/shm/wedge-test-stream-%d-0", (int)pid);
    pid_t guard = guard_file(path, alive);
    ck_assert_int_eq(write(guarded[1], "g", 1), 1);
    ck_assert_int_eq(read_byte(ready[0]), 'r');
    waitpid(pid, NULL, 0);
    ck_assert_int_eq(access(path, F_OK), named ? 0 : -1);
    close(alive[1]);
    waitpid(guard, NULL, 0);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, hazard_and_cure, 0, 2 * N_ROWS);
    tcase_add_loop_test(t, a_killed_parent_leaves_a_file, 0, 2);
}

int main(void)
{
    return wedge_test_main("stream", 60, fill);
}
