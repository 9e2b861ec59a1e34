/* Who is born of whom, by every way there is; what a cleared environment loses; who is named for not being there. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "faults/functions.h"
#include "faults/launch.h"
#include "faults/tests/run.h"

static struct run run;

static const char *target(void)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.*s/faults_births", (int)(strrchr(run_target(), '/') - run_target()), run_target());
    return path;
}

static struct wedge_arena_proc *proc(uint32_t slot)
{
    return wedge_arena_live(&run.arena, WEDGE_SEC_PROCS, slot);
}

static bool is_taken(uint32_t slot)
{
    uint32_t gen = atomic_load(&proc(slot)->gen);
    ck_assert_msg(gen % 2 == 0, "slot %u is torn", slot);
    return gen != 0;
}

static uint32_t count_slots(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++)
        n += is_taken(i);
    return n;
}

/* The one process that took the role leaf[index]. */
static const struct wedge_arena_proc *leaf(uint32_t index)
{
    const struct wedge_arena_proc *found = NULL;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++)
        if (is_taken(i) && strcmp(proc(i)->role, "leaf") == 0 && proc(i)->role_index == index) {
            ck_assert_msg(!found, "leaf %u is there twice", index);
            found = proc(i);
        }
    ck_assert_msg(found != NULL, "leaf %u never checked in: %s", index, run.text);
    return found;
}

/* splitmix64, as the agent draws pedigrees. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static void is_nth_child(const struct wedge_arena_proc *p, uint32_t nth, const char *what)
{
    ck_assert_msg(p->parent == 0, "%s: parent %u", what, p->parent);
    ck_assert_msg(p->nth_child == nth, "%s: the %u-th child is counted as %u", what, nth, p->nth_child);
    ck_assert_msg(p->pedigree == mix(proc(0)->pedigree + nth), "%s: pedigree", what);
    ck_assert_int_gt(p->pid, 0);
}

/* How each way leads to its leaf. */
static const struct {
    const char *name;
    uint32_t execs;
    bool bare; /* also with the environment cleared */
} ways[] = {
    {"fork", 0, false},      {"_Fork", 0, false},    {"raw-fork", 0, false},   {"fork-exec", 1, true},
    {"forkpty", 0, false},   {"clone", 0, false},    {"clone-vfork", 1, true}, {"vfork", 1, true},
    {"execv", 1, true},      {"execvp", 1, true},    {"execvpe", 1, true},     {"execl", 1, true},
    {"execlp", 1, true},     {"execle", 1, true},    {"fexecve", 1, true},     {"execveat", 1, true},
    {"second-try", 1, true}, {"raw-exec", 0, false}, {"posix_spawn", 1, true}, {"posix_spawnp", 1, true},
    {"system", 2, true},     {"popen", 2, true},
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

/* Three of each way in a row, with a fork before and behind: ordinals and pedigrees are those of the calls. */
START_TEST(test_ordinals)
{
    char want[256];
    const char *way = ways[_i].name;
    RUN(&run, NULL, target(), "list", "fork", way, way, "fork", way);
    snprintf(want, sizeof(want), "fork 0\n%s 0\n%s 0\nfork 0\n%s 0\n", way, way, way);
    ck_assert_str_eq(run.text, want);
    bool raw = strcmp(way, "raw-exec") == 0; /* a vfork counts, and the image counts itself: nobody saw its exec */
    for (uint32_t i = 1; i <= 5 && !raw; i++)
        is_nth_child(leaf(i), i, way);
    ck_assert_uint_eq(leaf(2)->exec_count, ways[_i].execs);
    ck_assert_uint_eq(leaf(5)->parent, 0);
    ck_assert_uint_eq(count_slots(), 6);
    for (uint32_t i = 0; i < 6; i++) /* every one of them has an ordinal of its own */
        for (uint32_t j = 0; j < i; j++)
            ck_assert_uint_ne(proc(i)->ordinal, proc(j)->ordinal);
    run_free(&run);
}
END_TEST

/* Rules at every birth, and for no process there is: what is kept about births does not hang on who is meant. */
#define FOR_NOBODY                                                                                                     \
    "n1 nobody fork:family,posix_spawn:family,execve:family -> stop\n"                                                 \
    "n2 nobody system,popen,daemon,pthread_create:family -> stop"

/* Every way once, one after the other. */
START_TEST(test_all_ways_in_a_row)
{
    static const char *const plans[] = {"f1 leaf[*] t.leaf nth=1 per=tree -> delay 1us",
                                        "f1 leaf[*] t.leaf nth=1 per=tree -> delay 1us\n" FOR_NOBODY};
    const char *argv[WAYS + 3] = {target(), "list"};
    uint32_t n = 0;
    for (unsigned i = 0; i < WAYS; i++)
        if (strcmp(ways[i].name, "raw-exec") != 0)
            argv[2 + n++] = ways[i].name;
    run_whole(&run, plans[_i], argv);
    for (uint32_t i = 1; i <= n; i++)
        is_nth_child(leaf(i), i, argv[1 + i]);
    ck_assert_uint_eq(count_slots(), n + 1);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 1);
    run_free(&run);
}
END_TEST

/* Any order of any ways. */
START_TEST(test_shuffled_ways)
{
    enum { LENGTH = 40 };
    const char *argv[LENGTH + 3] = {target(), "list"};
    uint64_t random = (uint64_t)_i;
    for (int i = 0; i < LENGTH;) {
        const char *way = ways[(random = mix(random)) % WAYS].name;
        if (strcmp(way, "raw-exec") != 0)
            argv[2 + i++] = way;
    }
    run_whole(&run, NULL, argv);
    for (uint32_t i = 1; i <= LENGTH; i++)
        is_nth_child(leaf(i), i, argv[1 + i]);
    ck_assert_uint_eq(count_slots(), LENGTH + 1);
    run_free(&run);
}
END_TEST

START_TEST(test_cleared_environment)
{
    if (!ways[_i].bare)
        return;
    char want[128];
    const char *way = ways[_i].name;
    RUN(&run, "f1 leaf[2] t.leaf -> exit 42\n" FOR_NOBODY, target(), "bare", way, way);
    snprintf(want, sizeof(want), "%s 0\n%s 42\n", way, way);
    ck_assert_str_eq(run.text, want);
    for (uint32_t i = 1; i <= 2; i++)
        is_nth_child(leaf(i), i, way);
    ck_assert_uint_eq(count_slots(), 3);
    run_free(&run);
}
END_TEST

/* A call that fails counts as a child, and leaves no slot behind. */
START_TEST(test_failed_births)
{
    RUN(&run, "f1 * fork nth=2 -> errno EAGAIN", target(), "list", "fork", "failed-spawn", "fork", "fork");
    ck_assert_str_eq(run.text, "fork 0\nfailed-spawn 0\nfork -1\nfork 0\n");
    is_nth_child(leaf(1), 1, "fork");
    is_nth_child(leaf(2), 3, "failed-spawn");
    is_nth_child(leaf(4), 4, "fork"); /* the one that a rule answered was no call of libc's */
    ck_assert_uint_eq(count_slots(), 4);
    run_free(&run);
}
END_TEST

START_TEST(test_chains)
{
    static const char *const chains[] = {
        /* $1 is the leaf's program */
        "env -i \"$1\" leaf 1; true",
        "exec env -i /bin/sh -c 'exec env -i \"$1\" leaf 1' sh \"$1\"",
        "env -u LD_PRELOAD \"$1\" leaf 1; true",
        "unset WEDGE_ARENA; \"$1\" leaf 1; true",
        "LD_PRELOAD=libm.so.6 \"$1\" leaf 1; true",
        "env -i /bin/sh -c 'env -i \"$1\" leaf 1; true' sh \"$1\"; true",
    };
    RUN(&run, "f1 leaf[1] t.leaf -> delay 1us", "/bin/sh", "-c", chains[_i], "sh", target());
    ck_assert_int_eq(WEXITSTATUS(run.status), 0);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 1);
    ck_assert_str_eq(leaf(1)->role, "leaf");
    run_free(&run);
}
END_TEST

/* Threads that make children at the same time: each child gets the ordinal of its own call. */
START_TEST(test_births_at_once)
{
    RUN(&run, NULL, target(), "several", "4", "20");
    ck_assert_str_eq(run.text, "done\n");
    bool seen[81] = {false};
    for (uint32_t t = 1; t <= 4; t++) {
        uint32_t before = 0;
        for (uint32_t i = 1; i <= 20; i++) {
            const struct wedge_arena_proc *p = leaf(t * 1000 + i);
            ck_assert_uint_gt(p->nth_child, before);
            before = p->nth_child;
            ck_assert_uint_le(before, 80);
            ck_assert(!seen[before]);
            seen[before] = true;
            is_nth_child(p, before, "several");
        }
    }
    run_free(&run);
}
END_TEST

/* The one slot that is not RUNNING or EXITING. */
static uint32_t absent(void)
{
    uint32_t found = UINT32_MAX;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++)
        if (is_taken(i) && atomic_load(&proc(i)->state) == WEDGE_PROC_EXECED) {
            ck_assert_uint_eq(found, UINT32_MAX);
            found = i;
        }
    ck_assert_uint_ne(found, UINT32_MAX);
    return found;
}

/* An environment larger than the agent copies: inherited it serves as it is; without our variables there is no help, which
 * is said. */
START_TEST(test_large_environments)
{
    static const struct {
        const char *mode, *n, *way;
        bool there;
    } cases[] = {
        {"wide", "900", "posix_spawn", true},      {"wide", "5000", "posix_spawn", true},
        {"wide", "5000", "vfork", true},           {"wide", "5000", "system", true},
        {"bare-wide", "900", "posix_spawn", true}, {"bare-wide", "900", "execle", true},
        {"bare-wide", "900", "system", true},      {"bare-wide", "5000", "posix_spawn", false},
        {"bare-wide", "5000", "execle", false},    {"bare-wide", "5000", "system", false},
    };
    char want[64];
    RUN(&run, NULL, target(), cases[_i].mode, cases[_i].n, cases[_i].way);
    snprintf(want, sizeof(want), "%s 0\n", cases[_i].way);
    ck_assert_str_eq(run.text, want);
    if (cases[_i].there)
        is_nth_child(leaf(1), 1, cases[_i].way);
    else {
        const struct wedge_arena_birth *birth = wedge_arena_live(&run.arena, WEDGE_SEC_BIRTHS, absent());
        ck_assert_uint_eq(birth->why, WEDGE_BIRTH_NO_ROOM);
    }
    run_free(&run);
}
END_TEST

#ifdef HAVE_ASAN_TARGET
/* A program whose sanitizer must come first, behind a shell that needs none; with and without an environment. */
START_TEST(test_asan_further_down)
{
    static const char *const commands[] = {"$1 asks 3; true", "exec $1 asks 3",
                                           "env -i ASAN_OPTIONS=detect_leaks=0 $1 asks 3; true",
                                           "LD_PRELOAD= $1 asks 3; true"};
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    RUN(&run, "f1 * t.ask nth=2 -> full", "/bin/sh", "-c", commands[_i], "sh", run_asan_target());
    ck_assert_str_eq(run.text, "0 77\n1 77\n0 77\n");
    run_free(&run);
}
END_TEST
#endif

/* More children than slots, one third of them killed: none is lost while somebody clears up behind them. */
START_TEST(test_a_thousand_children)
{
    size_t freed = 0;
    run_start(&run, "f1 * t.crowd -> delay 1us", (const char *const[]){target(), "crowd", "1000", NULL});
    for (int i = 100; i <= 1000; i += 100) {
        char line[16];
        snprintf(line, sizeof(line), "%d\n", i);
        run_read_until(&run, line);
        freed += wedge_faults_recycle(&run.arena);
        ck_assert_int_eq(write(run.in, "x", 1), 1);
    }
    run_finish(&run);
    ck_assert_ptr_nonnull(strstr(run.text, "failed 0\n"));
    ck_assert_uint_eq(atomic_load(&wedge_arena_header(&run.arena)->lost_procs), 0);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 1000);
    ck_assert_uint_ge(freed, 1001 - wedge_arena_count(WEDGE_SEC_PROCS));
    run_free(&run);
}
END_TEST

START_TEST(test_absent_are_noted)
{
    char copy[PATH_MAX], folder[] = "/tmp/wedge-births-XXXXXX", command[PATH_MAX + 64];
    static const char *const hows[] = {"exec", "sh", "sh -c"};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(copy, sizeof(copy), "%s/static", folder);
    ck_assert_int_eq(symlink(run_static_target(), copy), 0);
    if (_i == 0)
        RUN(&run, NULL, target(), "exec", copy);
    else {
        snprintf(command, sizeof(command), _i == 1 ? "exec %s" : "%s; true", copy);
        RUN(&run, NULL, "/bin/sh", "-c", command);
    }
    uint32_t slot = absent();
    const struct wedge_arena_birth *birth = wedge_arena_live(&run.arena, WEDGE_SEC_BIRTHS, slot);
    ck_assert_msg(strcmp(birth->path, copy) == 0, "%s: %s", hows[_i], birth->path);
    ck_assert_uint_eq(birth->why, WEDGE_BIRTH_STATIC);
    ck_assert_uint_eq(slot, _i == 1 ? 0 : 1);
    run_free(&run);
    unlink(copy);
    rmdir(folder);
}
END_TEST

/* A thread's destructors run when it has left its slot: what they pass is counted for the process, not for a thread. */
START_TEST(test_passes_of_an_ended_thread)
{
    RUN(&run,
        "f1 * t.late nth=1 -> kill KILL\nf2 * t.late nth=2 per=proc -> delay 1us\nf3 * t.early nth=1 -> delay 1us",
        target(), "late");
    ck_assert_str_eq(run.text, "done\n");
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 0);
    ck_assert_uint_eq(run_rule(&run, "f2")->fired, 1);
    ck_assert_uint_eq(run_rule(&run, "f3")->fired, 1);
    ck_assert_uint_eq(run_name(&run, "t.late")->passes, 3);
    run_free(&run);
}
END_TEST

START_TEST(test_start_of_each_image)
{
    /* Born and become another program: two starts; born as another program: one. With a role, which exec keeps, the
     * moment in which it is taken and each exec behind it. */
    static const struct {
        const char *plan, *way;
        uint64_t fired;
    } cases[] = {
        {"f1 proc[2] start -> delay 1us", "fork", 1},
        {"f1 proc[2] start -> delay 1us", "fork-exec", 2},
        {"f1 proc[2] start -> delay 1us", "vfork", 1},
        {"f1 proc[2] start -> delay 1us", "posix_spawn", 1},
        {"f1 proc[2] start -> delay 1us", "system", 2},
        {"f1 leaf[1] start -> delay 1us", "fork-exec", 1},
        {"f1 leaf[1] start -> delay 1us", "posix_spawn", 1},
        {"f1 * start nth=2 -> delay 1us", "fork-exec", 1},
        {"define x = descendant of root\nf1 x start -> delay 1us", "fork-exec", 2},
    };
    RUN(&run, cases[_i].plan, target(), "list", cases[_i].way);
    ck_assert_msg(run_rule(&run, "f1")->fired == cases[_i].fired, "%s %s: %llu", cases[_i].plan, cases[_i].way,
                  (unsigned long long)run_rule(&run, "f1")->fired);
    run_free(&run);
}
END_TEST

/* Roles that the plan gives. The tree: a shell (root), two helpers one after the other, each with a child of its own. */
START_TEST(test_defined_processes)
{
    static const struct {
        const char *plan;
        int wants; /* how often f1 fires */
    } cases[] = {
        {"define helper = descendant of root exe=*/faults_births\nf1 helper start -> delay 1us", 4},
        {"define helper = descendant of root exe=*/faults_births\nf1 helper[2] start -> delay 1us", 1},
        {"define helper = descendant of root exe=*/faults_births nth=3\nf1 helper start -> delay 1us", 1},
        {"define helper = descendant of root exe=*/faults_births nth=5\nf1 helper start -> delay 1us", 0},
        {"define helper = descendant of root exe=*/faults_birth\nf1 helper start -> delay 1us", 0},
        {"define helper = descendant of root comm=faults_birt?s\nf1 helper t.leaf -> delay 1us", 0},
        {"define helper = descendant of root comm=faults_birt*\nf1 helper fork -> delay 1us", 2},
        {"define helper = descendant of root comm=faults_birt* nth=3\nf1 helper[3] fork -> delay 1us", 1},
        {"define top = descendant of root exe=*/faults_births nth=1\ndefine under = descendant of top\n"
         "f1 under start -> delay 1us",
         1},
        {"define top = descendant of root exe=*/faults_births\ndefine under = descendant of top\n"
         "f1 under start -> delay 1us",
         0}, /* what descends from one is another, and top stands first */
        {"define under = descendant of top\ndefine top = descendant of root exe=*/faults_births\n"
         "f1 under start -> delay 1us",
         2},
        {"define sh = descendant of root exe=*/*sh\nf1 sh[*] start -> delay 1us", 4}, /* forked, and kept over exec */
        {"define helper = descendant of root exe=*/faults_births\nf1 leaf t.leaf -> delay 1us", 0}, /* refused */
    };
    if (_i == 12) { /* a role of the program's own comes after */
        RUN(&run, "define helper = descendant of root\nf1 leaf t.leaf -> delay 1us\nf2 helper fork -> delay 1us",
            target(), "list", "fork", "fork");
        ck_assert_uint_eq(run_rule(&run, "f1")->fired, 2);
        ck_assert_uint_eq(run_rule(&run, "f2")->fired, 0);
    } else {
        RUN(&run, cases[_i].plan, "/bin/bash", "-c", "\"$1\" list fork; \"$1\" list fork; true", "sh", target());
        ck_assert_msg((int)run_rule(&run, "f1")->fired == cases[_i].wants, "%s: fired %d", cases[_i].plan,
                      (int)run_rule(&run, "f1")->fired);
    }
    ck_assert_int_eq(WEXITSTATUS(run.status), 0);
    run_free(&run);
}
END_TEST

START_TEST(test_rules_at_births)
{
    static const struct {
        const char *rule, *way, *want;
    } cases[] = {
        {"f1 * fork nth=1 -> errno EAGAIN", "fork", "fork -1\n"},
        {"f1 * _Fork nth=1 -> errno ENOMEM", "_Fork", "_Fork -1\n"},
        {"f1 * fork:family -> errno EAGAIN", "vfork", "vfork -1\n"},
        {"f1 * vfork -> errno EAGAIN", "vfork", "vfork -1\n"},
        {"f1 * vfork -> delay 1ms", "vfork", "vfork 0\n"},
        {"f1 * clone -> errno EAGAIN", "clone", "clone -1\n"},
        {"f1 * posix_spawn -> errno EAGAIN", "posix_spawn", "posix_spawn -1\n"},
        {"f1 * posix_spawn:family -> errno ENOMEM after", "posix_spawnp", "posix_spawnp -1\n"},
        {"f1 * system -> errno EAGAIN", "system", "system -1\n"},
        {"f1 * popen -> errno EMFILE", "popen", "popen -1\n"},
        {"f1 proc[2] execve -> errno ENOMEM", "fork-exec", "fork-exec 127\n"},
        {"f1 proc[2] execve -> exit 7", "fork-exec", "fork-exec 7\n"},
        {"f1 * execve -> kill KILL", "vfork", "vfork 0\n"}, /* on its parent's memory: it does not act */
        {"f1 * waitpid -> errno EINTR", "fork", "fork -1\n"},
    };
    RUN(&run, cases[_i].rule, target(), "list", cases[_i].way);
    ck_assert_msg(strcmp(run.text, cases[_i].want) == 0, "%s: %s", cases[_i].rule, run.text);
    run_free(&run);
}
END_TEST

/* Each function of processes.def under each error that its man page allows it, or EIO where it allows none. */
static void answers(const struct wedge_function_row *row, int code)
{
    char rule[128], want[128];
    bool second = strcmp(row->name, "pthread_create") == 0;
    snprintf(rule, sizeof(rule), "f1 root %s nth=%d -> errno %s", row->name, second ? 2 : 1, strerrorname_np(code));
    RUN(&run, rule, target(), "call", row->name);
    int thrd = code == ENOMEM ? thrd_nomem : thrd_error;
    snprintf(want, sizeof(want), "%s %d %d\n", row->name,
             row->style == WEDGE_STYLE_MINUS1   ? -1
             : row->style == WEDGE_STYLE_NULLED ? 0
             : row->style == WEDGE_STYLE_THRD   ? thrd
                                                : code,
             row->style == WEDGE_STYLE_MINUS1 || row->style == WEDGE_STYLE_NULLED ? code : 0);
    ck_assert_msg(strcmp(run.text, want) == 0, "%s: %s", rule, run.text);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 1);
    run_free(&run);
}

START_TEST(test_every_answer)
{
    static const enum wedge_function functions[] = {
#define F(ret, name, ...) WEDGE_FN_##name,
#define H                 F
#define V                 F
#include "faults/functions/processes.def"
#undef F
#undef H
#undef V
    };
    int played = 0;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        const struct wedge_function_row *row = &wedge_functions[functions[i]];
        if (row->style == WEDGE_STYLE_VOID)
            continue;
        for (const int *code = row->errnos; *code; code++, played++)
            answers(row, *code);
        if (!row->errnos[0]) {
            answers(row, EIO);
            played++;
        }
    }
    ck_assert_int_ge(played, 60);
}
END_TEST

START_TEST(test_other_acts)
{
    static const struct {
        const char *rule, *name, *want;
        int status; /* exit status, or a signal below zero */
    } cases[] = {
        {"f1 * kill -> drop", "kill", "kill 0 0\n", 0},
        {"f1 * kill:family -> drop", "killpg", "killpg 0 0\n", 0},
        {"f1 * pthread_cancel -> drop", "pthread_cancel", "pthread_cancel 0 0\n", 0},
        {"f1 * kill -> return 0", "kill", "kill 0 0\n", 0},
        {"f1 * kill -> kill USR1", "kill", "", -SIGUSR1},
        {"f1 * pthread_exit -> exit 9", "pthread_exit", "pthread_exit 4711 0\n", 9},
        {"f1 * pthread_exit -> delay 1ms", "pthread_exit", "pthread_exit 4711 0\n", 0},
        {"f1 * thrd_create -> delay 1ms", "thrd_create", "thrd_create 0 0\n", 0},
        {"f1 * thrd_create -> delay 1ms after", "thrd_create", "thrd_create 0 0\n", 0},
        {"f1 * system -> delay 1ms after", "system", "system 768 0\n", 0},
        {"f1 * system -> return 5 after", "system", "system 5 0\n", 0},
        {"f1 * execve:family -> exit 8", "execlp", "", 8},
        {"f1 * fork nth=1 -> exit 7 after", "fork", "", 7},
        {"f1 * waitpid:family -> return -1", "wait3", "wait3 -1 0\n", 0},
    };
    RUN(&run, cases[_i].rule, target(), "call", cases[_i].name);
    const char *rule = cases[_i].rule;
    if (strcmp(cases[_i].name, "fork") == 0) /* its child says a word of its own */
        ck_assert_ptr_nonnull(strstr(run.text, "fork 0 0"));
    else
        ck_assert_msg(strcmp(run.text, cases[_i].want) == 0, "%s: %s", rule, run.text);
    if (cases[_i].status < 0)
        ck_assert_msg(WIFSIGNALED(run.status) && WTERMSIG(run.status) == -cases[_i].status, "%s", rule);
    else
        ck_assert_msg(WIFEXITED(run.status) && WEXITSTATUS(run.status) == cases[_i].status, "%s", rule);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 1);
    run_free(&run);
}
END_TEST

/* A thread by thrd_create is its creator's nth, as one by pthread_create is; libc makes it past that one. */
START_TEST(test_threads_of_c11)
{
    RUN(&run, "f1 * t.c11 nth=1 -> delay 1us", target(), "call", "thrd_create");
    const struct wedge_arena_thread *first = NULL, *c11 = NULL;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        const struct wedge_arena_thread *thread = wedge_arena_live(&run.arena, WEDGE_SEC_THREADS, i);
        if (atomic_load(&thread->gen) && thread->creator == UINT32_MAX)
            first = thread;
        if (atomic_load(&thread->gen) && thread->nth_child == 2)
            c11 = thread;
    }
    ck_assert(first && c11);
    ck_assert_ptr_eq(wedge_arena_live(&run.arena, WEDGE_SEC_THREADS, c11->creator), first);
    ck_assert_uint_eq(c11->pedigree, mix(first->pedigree + 2));
    ck_assert_uint_eq(atomic_load(&c11->ended), 1);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 1);
    run_free(&run);
}
END_TEST

/* The environment lent for a shell is taken back when its caller is cancelled. */
START_TEST(test_cancelled_in_system)
{
    RUN(&run, NULL, target(), "cancel");
    ck_assert_str_eq(run.text, "cancelled as it was\n0\n");
    is_nth_child(leaf(1), 2, "system");
    run_free(&run);
}
END_TEST

/* daemon(3) ends its caller inside libc and goes on in a child. */
START_TEST(test_daemon)
{
    RUN(&run, "f1 leaf[1] t.leaf nth=1 -> delay 1us", target(), "list", "daemon");
    ck_assert_str_eq(run.text, "daemon 0\n");
    is_nth_child(leaf(1), 1, "daemon");
    ck_assert_uint_eq(atomic_load(&proc(0)->state), WEDGE_PROC_EXITING);
    ck_assert_uint_eq(run_rule(&run, "f1")->fired, 1);
    run_free(&run);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_ordinals, 0, WAYS);
    tcase_add_loop_test(tcase, test_all_ways_in_a_row, 0, 2);
    tcase_add_loop_test(tcase, test_shuffled_ways, 0, 5);
    tcase_add_loop_test(tcase, test_cleared_environment, 0, WAYS);
    tcase_add_test(tcase, test_failed_births);
    tcase_add_loop_test(tcase, test_chains, 0, 6);
    tcase_add_test(tcase, test_births_at_once);
    tcase_add_loop_test(tcase, test_large_environments, 0, 10);
#ifdef HAVE_ASAN_TARGET
    tcase_add_loop_test(tcase, test_asan_further_down, 0, 4);
#endif
    tcase_add_test(tcase, test_a_thousand_children);
    tcase_add_loop_test(tcase, test_absent_are_noted, 0, 3);
    tcase_add_test(tcase, test_passes_of_an_ended_thread);
    tcase_add_loop_test(tcase, test_start_of_each_image, 0, 9);
    tcase_add_loop_test(tcase, test_defined_processes, 0, 13);
    tcase_add_loop_test(tcase, test_rules_at_births, 0, 14);
    tcase_add_test(tcase, test_every_answer);
    tcase_add_loop_test(tcase, test_other_acts, 0, 14);
    tcase_add_test(tcase, test_threads_of_c11);
    tcase_add_test(tcase, test_cancelled_in_system);
    tcase_add_test(tcase, test_daemon);
}

int main(void)
{
    return wedge_test_main("births", 30, fill);
}
