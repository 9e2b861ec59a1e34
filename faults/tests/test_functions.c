/*
 * Every function of the tables: is there, under the version of libc that it has there; does without a rule what it
 * does without the agent; and answers as a rule says. Table-driven: a row without a call in target_functions*.c fails.
 */
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#include "faults/agent/cut.h"
#include "faults/functions.h"
#include "faults/launch.h"
#include "faults/missed.h"
#include "faults/plan_internal.h"
#include "faults/tests/run.h"

enum { PER_PLAN = 40, LINE = 160, ODD = 2147483000 }; /* ODD: neither a descriptor, an identifier, nor an address */

/* Functions that make processes: what they do is tested by what is born (test_births.c). */
static const char *const elsewhere[] = {
#define F(ret, name, ...) #name,
#define H                 F
#define V                 F
#include "faults/functions/processes.def"
#undef F
#undef H
#undef V
    NULL};

static bool is_elsewhere(size_t row)
{
    for (size_t i = 0; elsewhere[i]; i++)
        if (strcmp(elsewhere[i], wedge_functions[row].name) == 0)
            return true;
    return false;
}

static bool is_allocation(size_t row)
{
    return strcmp(wedge_functions[row].family, "malloc") == 0 || strcmp(wedge_functions[row].family, "free") == 0;
}

static const char *target(void)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s_functions", run_target());
    return path;
}

struct told {
    char name[40], text[64];
    long result;
    int error;
};
/* The lines of an output; returns their number. */
static size_t parse(const char *text, struct told *told, size_t most)
{
    size_t n = 0;
    for (const char *at = text; *at; at = strchr(at, '\n') + 1, n++) {
        ck_assert_uint_lt(n, most);
        memset(&told[n], 0, sizeof(told[n]));
        ck_assert_msg(
            sscanf(at, "%39s %ld %d%*1[ ]%63[^\n]", told[n].name, &told[n].result, &told[n].error, told[n].text) >= 3,
            "%s", at);
        ck_assert_ptr_nonnull(strchr(at, '\n'));
    }
    return n;
}

static const struct told *find(const struct told *told, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(told[i].name, name) == 0)
            return &told[i];
    ck_abort_msg("no call of %s in target_functions*.c", name);
    return NULL;
}

/* What every call gives without the agent. */
static struct told plain[WEDGE_FN_COUNT];
static size_t n_plain;
static char plain_text[16384];
static void run_plain(void)
{
    if (n_plain)
        return;
    FILE *out = popen(target(), "r");
    ck_assert_ptr_nonnull(out);
    size_t len = fread(plain_text, 1, sizeof(plain_text) - 1, out);
    plain_text[len] = 0;
    ck_assert_int_eq(pclose(out), 0);
    n_plain = parse(plain_text, plain, WEDGE_FN_COUNT);
}

/* Runs `names` of the target in one process under `plan`; `how`: an option of the target, NULL none. */
static size_t under(const char *plan, const char *const *names, const char *how, struct run *run, struct told *told,
                    size_t most)
{
    const char *argv[PER_PLAN + 3] = {target()};
    size_t n = 1;
    if (how)
        argv[n++] = how;
    for (size_t i = 0; names[i]; i++)
        argv[n++] = names[i];
    argv[n] = NULL;
    run_whole(run, plan, argv);
    ck_assert_msg(WIFEXITED(run->status) && WEXITSTATUS(run->status) == 0, "status 0x%x under:\n%s", run->status, plan);
    return parse(run->text, told, most);
}

START_TEST(test_every_row_has_a_call)
{
    run_plain();
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
        if (!is_elsewhere(i))
            find(plain, n_plain, wedge_functions[i].name);
}
END_TEST

static void *library(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    return handle;
}

static const char *agent_path(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", run_target());
    snprintf(strrchr(path, '/') + 1, 64, "../lib/%s", name);
    return path;
}

static bool is_of(const char *name, const void *symbol)
{
    Dl_info info;
    return symbol && dladdr(symbol, &info) && strstr(info.dli_fname, name);
}

static bool is_of_agent(const void *symbol)
{
    return is_of("/libwedge-agent.so", symbol);
}

START_TEST(test_exported_and_of_libc)
{
    void *agent = library(agent_path("libwedge-agent.so")), *libc = library("libc.so.6");
    void *second = library(agent_path("libwedge-agent-malloc.so"));
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) {
        const char *name = wedge_functions[i].name;
        bool apart = is_allocation(i);
        ck_assert_msg(apart ? is_of("/libwedge-agent-malloc.so", dlsym(second, name)) : is_of_agent(dlsym(agent, name)),
                      "the agent does not export %s", name);
        ck_assert_msg(!apart || !is_of_agent(dlsym(agent, name)), "%s is exported by the agent itself", name);
        ck_assert_msg(dlsym(libc, name) != NULL, "libc has no %s", name);
    }
}
END_TEST

/* A call of the agent's own that went through a wrapper would count as the program's, and might not come back. */
START_TEST(test_agent_calls_nothing_it_wraps)
{
    static const char *const objects[] = {"libwedge-agent.so", "libwedge-agent-malloc.so"};
    char command[PATH_MAX + 64], line[512], symbol[128];
    unsigned n = 0;
    snprintf(command, sizeof(command), "readelf -rW '%s'", agent_path(objects[_i]));
    FILE *out = popen(command, "r");
    ck_assert_ptr_nonnull(out);
    while (fgets(line, sizeof(line), out)) {
        if (sscanf(line, "%*s %*s %*s %*s %127[^@ \n]", symbol) != 1)
            continue;
        n++;
        for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
            ck_assert_msg(strcmp(wedge_functions[i].name, symbol) != 0, "%s calls %s", objects[_i], symbol);
    }
    ck_assert_int_eq(pclose(out), 0);
    ck_assert_uint_ge(n, 4);
}
END_TEST

/* All versions that glibc for x86-64 has had. */
static bool next_version(unsigned *at, char version[24])
{
    static const char *const odd[] = {"2.2.5", "2.2.6", "2.3.2", "2.3.3", "2.3.4"};
    unsigned i = (*at)++;
    if (i < 5)
        snprintf(version, 24, "GLIBC_%s", odd[i]);
    else
        snprintf(version, 24, "GLIBC_2.%u", i - 2); /* 2.3 and on */
    return i < 60;
}

START_TEST(test_versions_are_kept_apart)
{
    void *agent = library(agent_path("libwedge-agent.so")), *libc = library("libc.so.6");
    unsigned apart = 0;
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) {
        const char *name = wedge_functions[i].name;
        void *first = NULL, *newest = dlsym(libc, name), *ours_of_first = NULL;
        bool several = false;
        char version[24];
        for (unsigned at = 0; next_version(&at, version);) {
            void *theirs = dlvsym(libc, name, version);
            several |= theirs && theirs != newest;
        }
        if (!several || is_allocation(i))
            continue; /* one of no version serves them all */
        apart++;
        for (unsigned at = 0; next_version(&at, version);) {
            void *theirs = dlvsym(libc, name, version);
            if (!theirs)
                continue;
            void *ours = dlvsym(agent, name, version);
            ck_assert_msg(is_of_agent(ours), "%s@%s is not the agent's", name, version);
            if (!first) {
                first = theirs;
                ours_of_first = ours;
            }
            ck_assert_msg((theirs == first) == (ours == ours_of_first), "%s@%s is mixed up", name, version);
        }
        ck_assert_msg((dlsym(agent, name) == ours_of_first) == (newest == first), "the default %s", name);
    }
    ck_assert_uint_ge(apart, 12); /* condition variables, timers, pthread_kill */
}
END_TEST

/* A plan with one rule for all functions, or all that are about an object when it counts per object, or, for `after`,
 * those that come back. */
static void rule_for_all(const char *who, const char *when, char *plan, size_t size)
{
    bool objects = strncmp(when, "per=obj", 7) == 0, first = true;
    size_t len = (size_t)snprintf(plan, size, "f1 %s ", who);
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) {
        const struct wedge_function_row *row = &wedge_functions[i];
        if (objects && (row->kind == WEDGE_OBJECT_NONE || row->kind == WEDGE_OBJECT_PROCESS ||
                        row->effect == WEDGE_EFFECT_RESULT || row->effect == WEDGE_EFFECT_CREATE))
            continue;
        if (strstr(when, " after") && (row->extra & WEDGE_EXTRA_NOT_AFTER))
            continue;
        len += (size_t)snprintf(plan + len, size - len, "%s%s", first ? "" : ",", row->name);
        first = false;
    }
    len += (size_t)snprintf(plan + len, size - len, " %s", when);
    ck_assert_uint_lt(len, size);
}

/* Passed through: with an empty plan, with every function named by a rule for nobody, and by one that does nothing. */
START_TEST(test_without_a_fault_as_without_agent)
{
    static const char *const rules[][2] = {{NULL},
                                           {"proc[9999]", "-> stop"},
                                           {"*", "-> delay 1ms"},
                                           {"*", "-> delay 1ms after"},
                                           {"*", "per=obj nth=2.. -> delay 1ms"}};
    static struct told told[WEDGE_FN_COUNT];
    char plan[8192];
    if (strncmp(rules[_i][1] ? rules[_i][1] : "", "per=obj", 7) == 0 && !(PLAN_POSSIBLE & PLAN_PART_PER_OBJ))
        return;
    run_plain();
    struct run run;
    if (rules[_i][0])
        rule_for_all(rules[_i][0], rules[_i][1], plan, sizeof(plan));
    size_t n = under(rules[_i][0] ? plan : NULL, (const char *const[]){NULL}, NULL, &run, told, WEDGE_FN_COUNT);
    ck_assert_uint_eq(n, n_plain);
    for (size_t i = 0; i < n; i++) {
        const struct told *other = find(told, n, plain[i].name);
        ck_assert_msg(other->result == plain[i].result && other->error == plain[i].error &&
                          strcmp(other->text, plain[i].text) == 0,
                      "%s: %ld %d %s, without the agent %ld %d %s", plain[i].name, other->result, other->error,
                      other->text, plain[i].result, plain[i].error, plain[i].text);
    }
    run_free(&run);
}
END_TEST

/* One call under one rule and what must come of it. */
struct expected {
    size_t row;
    char rule[LINE];
    long result;
    int error;
    const char *text; /* NULL any; behind a "?": one byte of it is another one */
};
static struct expected queue[PER_PLAN];
static size_t n_queue;
static unsigned n_checked;

static bool one_differs(const char *a, const char *b)
{
    size_t differs = 0;
    if (strlen(a) != strlen(b))
        return false;
    for (; *a; a++, b++)
        differs += *a != *b;
    return differs == 1;
}

/* Plays what is queued, in one process: the nth call of a function meets the rule for its nth. */
static void play(const char *how)
{
    char plan[PER_PLAN * LINE], names[PER_PLAN][48];
    const char *list[PER_PLAN + 1] = {NULL};
    struct told told[PER_PLAN];
    struct run run;
    size_t len = 0;
    for (size_t i = 0; i < n_queue; i++) {
        len += (size_t)snprintf(plan + len, sizeof(plan) - len, "%s\n", queue[i].rule);
        snprintf(names[i], sizeof(names[i]), "%s", wedge_functions[queue[i].row].name);
        list[i] = names[i];
    }
    ck_assert_uint_eq(under(plan, list, how, &run, told, PER_PLAN), n_queue);
    for (size_t i = 0; i < n_queue; i++) {
        char id[8];
        ck_assert_str_eq(told[i].name, names[i]);
        ck_assert_msg(told[i].result == queue[i].result && told[i].error == queue[i].error,
                      "%s: %ld, errno %d; not %ld, errno %d", queue[i].rule, told[i].result, told[i].error,
                      queue[i].result, queue[i].error);
        if (queue[i].text && queue[i].text[0] == '?')
            ck_assert_msg(one_differs(told[i].text, queue[i].text + 1), "%s: \"%s\"", queue[i].rule, told[i].text);
        else if (queue[i].text)
            ck_assert_msg(strcmp(told[i].text, queue[i].text) == 0, "%s: \"%s\"", queue[i].rule, told[i].text);
        snprintf(id, sizeof(id), "f%zu", i);
        ck_assert_uint_eq(atomic_load(&run_rule(&run, id)->fired), 1);
    }
    n_checked += (unsigned)n_queue;
    n_queue = 0;
    run_free(&run);
}

static void expect_text(size_t row, const char *how, const char *action, long result, int error, const char *text)
{
    unsigned nth = 1;
    for (size_t i = 0; i < n_queue; i++)
        nth += queue[i].row == row;
    struct expected *e = &queue[n_queue];
    *e = (struct expected){.row = row, .result = result, .error = error, .text = text};
    snprintf(e->rule, sizeof(e->rule), "f%zu thread=probe %s nth=%u -> %s", n_queue, wedge_functions[row].name, nth,
             action);
    if (++n_queue == PER_PLAN)
        play(how);
}

static void expect(size_t row, const char *how, const char *action, long result, int error)
{
    expect_text(row, how, action, result, error, NULL);
}

static int thrd_code(int code)
{
    return code == EBUSY ? thrd_busy : code == ENOMEM ? thrd_nomem : code == ETIMEDOUT ? thrd_timedout : thrd_error;
}

static void expect_errno(size_t row, int code)
{
    char action[32];
    snprintf(action, sizeof(action), "errno %s", strerrorname_np(code));
    switch (wedge_functions[row].style) {
    case WEDGE_STYLE_MINUS1:
        expect(row, "-r", action, -1, code);
        break;
    case WEDGE_STYLE_CODE:
        expect(row, "-r", action, code, 0);
        break;
    case WEDGE_STYLE_LEFT:
        expect(row, "-r", action, 0, 0); /* the target sleeps for 0 s */
        break;
    case WEDGE_STYLE_NULLED:
        expect(row, "-r", action, 0, code);
        break;
    case WEDGE_STYLE_THRD:
        expect(row, "-r", action, thrd_code(code), 0);
        break;
    default:
        break;
    }
}

START_TEST(test_errnos)
{
    unsigned legal = 0;
    n_checked = 0;
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) {
        const struct wedge_function_row *row = &wedge_functions[i];
        if (is_elsewhere(i))
            continue;
        for (const int *code = row->errnos; *code; code++, legal++) {
            ck_assert_msg(row->style != WEDGE_STYLE_PLAIN && row->style != WEDGE_STYLE_VOID, "%s", row->name);
            expect_errno(i, *code);
        }
        if (row->style != WEDGE_STYLE_PLAIN && row->style != WEDGE_STYLE_VOID && !row->errnos[0]) {
            expect_errno(i, EIO); /* illegal, and yet possible */
            legal++;
        }
    }
    if (n_queue)
        play("-r");
    ck_assert_uint_eq(n_checked, legal);
    ck_assert_uint_ge(legal, 400);
}
END_TEST

START_TEST(test_returns)
{
    char action[32];
    snprintf(action, sizeof(action), "return %d", ODD);
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
        if (!is_elsewhere(i) && wedge_functions[i].style != WEDGE_STYLE_VOID)
            expect(i, "-r", action, ODD, 0);
    if (n_queue)
        play("-r");
}
END_TEST

/* A dropped call says what the real one says. */
START_TEST(test_drops)
{
    n_checked = 0;
    run_plain();
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
        if (!is_elsewhere(i) && (wedge_functions[i].extra & WEDGE_EXTRA_DROP))
            expect_text(i, NULL, "drop", find(plain, n_plain, wedge_functions[i].name)->result, 0,
                        wedge_functions[i].extra & WEDGE_EXTRA_SHORT ? "" : NULL); /* nothing arrived */
    if (n_queue)
        play(NULL);
    ck_assert_uint_ge(n_checked, 50);
}
END_TEST

/* All of them carry "hello". */
START_TEST(test_shorts)
{
    n_checked = 0;
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
        if (!is_elsewhere(i) && (wedge_functions[i].extra & WEDGE_EXTRA_SHORT)) {
            expect_text(i, NULL, "short 1", 1, 0, "h");
            expect_text(i, NULL, "short 3", 3, 0, "hel"); /* within the last piece of a vector */
            expect_text(i, NULL, "short 5", 5, 0, "hello");
        }
    if (n_queue)
        play(NULL);
    ck_assert_uint_ge(n_checked, 90);
}
END_TEST

/* Of "hello" one byte is another one. */
START_TEST(test_corrupts)
{
    n_checked = 0;
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
        if ((wedge_functions[i].extra & WEDGE_EXTRA_CORRUPT) && (wedge_functions[i].extra & WEDGE_EXTRA_SHORT))
            expect_text(i, NULL, "corrupt", 5, 0, "?hello");
    if (n_queue)
        play(NULL);
    ck_assert_uint_ge(n_checked, 25);
}
END_TEST

/* What does not wait finds no room, or nothing there; a file is at its end, or its disk full. */
START_TEST(test_full_and_empty)
{
    static const struct {
        const char *name;
        int code;
    } others[] = {
        {"sem_post", EOVERFLOW}, {"msgrcv", ENOMSG}, {"sem_timedwait", ETIMEDOUT}, {"sem_clockwait", ETIMEDOUT}};
    n_checked = 0;
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) {
        const struct wedge_function_row *row = &wedge_functions[i];
        int code = EAGAIN;
        for (size_t k = 0; k < sizeof(others) / sizeof(others[0]); k++)
            if (strcmp(row->name, others[k].name) == 0)
                code = others[k].code;
        if (row->extra & WEDGE_EXTRA_FULL)
            expect(i, "-n", "full", -1, strcmp(row->family, "write") == 0 ? ENOSPC : code);
        if (!(row->extra & WEDGE_EXTRA_EMPTY) || strcmp(row->name, "sem_wait") == 0) /* which can but wait */
            continue;
        if (strcmp(row->family, "read") == 0)
            expect(i, "-n", "empty", 0, 0);
        else
            expect(i, "-n", "empty", -1, code);
    }
    if (n_queue)
        play("-n");
    ck_assert_uint_ge(n_checked, 30);
}
END_TEST

START_TEST(test_spurious)
{
    n_checked = 0;
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++)
        if (!is_elsewhere(i) && (wedge_functions[i].extra & WEDGE_EXTRA_SPURIOUS) &&
            i != WEDGE_FN_syscall) /* whose call here wakes, and does not wait: test_semantics */
            expect(i, NULL, "spurious", 0, 0);
    if (n_queue)
        play(NULL);
    ck_assert_uint_ge(n_checked, 5);
}
END_TEST

/* By number: all six arguments arrive, a child comes back as one, and only the rule's number is hit. */
START_TEST(test_syscalls)
{
    struct run run;
    RUN(&run,
        "f1 thread=probe syscall arg1==202 -> errno EINTR\n"
        "f2 thread=probe syscall arg1==56 nth=2 -> errno EAGAIN\n"
        "f3 thread=probe syscall arg1==9 arg7==0 -> stop",
        target(), "syscalls");
    ck_assert_str_eq(run.text, "mmap: second\nclone: 7\nclone: -11\nfutex: -1 4\n");
    run_free(&run);
}
END_TEST

/* The errno of a function that tells none, by what it returns. */
START_TEST(test_interrupted_sleep)
{
    struct run run;
    RUN(&run, "f1 thread=probe nanosleep:family -> errno EINTR", target(), "left");
    ck_assert_str_eq(run.text, "left 5\n");
    run_free(&run);
}
END_TEST

START_TEST(test_aliases)
{
    static const char *const aliases[][2] = {
#define ALIAS(alias, name)      {#alias, #name},
#define ALIAS_HAND(alias, name) {#alias, #name},
#define ALIAS_PROCESS           ALIAS_HAND
#include "faults/functions/aliases.def"
#undef ALIAS
#undef ALIAS_HAND
#undef ALIAS_PROCESS
    };
    void *agent = library(agent_path("libwedge-agent.so")), *libc = library("libc.so.6");
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        void *ours = dlsym(agent, aliases[i][0]), *theirs = dlvsym(libc, aliases[i][0], "GLIBC_2.2.5");
        if (!theirs)
            theirs = dlsym(libc, aliases[i][0]);
        if (!theirs)
            theirs = dlvsym(libc, aliases[i][0], "GLIBC_2.4"); /* pthread_mutex_consistent_np */
        ck_assert_msg(is_of_agent(ours) && ours == dlsym(agent, aliases[i][1]), "%s", aliases[i][0]);
        ck_assert_msg(theirs && theirs == dlsym(libc, aliases[i][1]), "libc's %s", aliases[i][0]);
    }
}
END_TEST

/* A linear congruential generator, Knuth's MMIX: the same on each run. */
static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* What `short` makes of a vector: a prefix of its bytes, not longer than asked, and something if there is something. */
START_TEST(test_cut_vectors)
{
    enum { MOST = 20 };
    static char bytes[MOST * 8];
    unsigned cut = 0;
    uint64_t state = 1;
    for (int round = 0; round < 20000; round++) {
        struct iovec iov[MOST] = {0}, before[MOST], pieces[AGENT_CUT_PIECES];
        const struct iovec *at = iov;
        size_t count = (size_t)draw(&state) % MOST, total = 0, most = 1 + (size_t)draw(&state) % 60, kept = 0;
        for (size_t i = 0; i < count; i++) {
            iov[i] = (struct iovec){bytes + total, draw(&state) % 3 ? (size_t)draw(&state) % 8 : 0};
            total += iov[i].iov_len;
        }
        memcpy(before, iov, count * sizeof(*iov));
        size_t n = agent_cut_vector(&at, count, most, pieces);
        ck_assert_int_eq(memcmp(before, iov, count * sizeof(*iov)), 0);
        ck_assert(at == iov ? n == count : n <= AGENT_CUT_PIECES);
        for (size_t i = 0; i < n; i++) {
            if (at[i].iov_len)
                ck_assert_ptr_eq(at[i].iov_base, bytes + kept);
            kept += at[i].iov_len;
        }
        ck_assert_uint_le(kept, most);
        if (total <= most)
            ck_assert_uint_eq(kept, total);
        else if (n < AGENT_CUT_PIECES)
            ck_assert_uint_eq(kept, most);
        ck_assert(total == 0 || kept > 0);
        ck_assert_int_eq(agent_vector_bytes(iov, count), (int64_t)total);
        cut += at != iov;
    }
    ck_assert_uint_ge(cut, 5000);
    /* What the kernel refuses is not looked at. */
    const struct iovec *none = NULL;
    struct iovec pieces[AGENT_CUT_PIECES];
    ck_assert_int_eq(agent_vector_bytes((const struct iovec *)8, (size_t)-1), 0);
    ck_assert_uint_eq(agent_cut_vector(&none, 3, 1, pieces), 3);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(agent_message_bytes(NULL), 0);
    struct msghdr message;
    struct agent_cut_message cut_message = {.back = &message};
    ck_assert_ptr_null(agent_cut_message(&cut_message, NULL, 1));
    ck_assert_ptr_null(cut_message.back); /* nothing is written to it */
}
END_TEST

/* The older versions are injected too, and otherwise behave as they always did. */
START_TEST(test_old_versions)
{
    struct run run;
    RUN(&run,
        "f1 thread=probe pthread_kill nth=3 -> errno EAGAIN\nf2 thread=probe pthread_cond_signal -> errno EIO\n"
        "f3 thread=probe timer_create -> errno ENOMEM",
        target(), "old");
    ck_assert_str_eq(run.text, "old pthread_kill: 3 0 11\nold pthread_cond_signal: 5\nold timer_create: -1 12\n");
    run_free(&run);
}
END_TEST

/* Rules for malloc cannot act where the program has its own; that is said, if they are meant for it. */
START_TEST(test_own_allocator)
{
    static const struct {
        const char *program, *rule;
        uint32_t lost;
    } cases[] = {{"malloc", "f1 * malloc -> errno ENOMEM", 1},
                 {"malloc", "f1 proc[9] malloc -> errno ENOMEM", 0},
                 {"malloc", "f1 * read -> errno EIO", 0},
                 {"malloc", "f1 worker[1] free -> delay 1ms", 1},
                 /* Takes the address of malloc, which is then a jump of its own to the first one there is. */
                 {"malloc_of_libc", "f1 * malloc -> delay 1ms", 0}};
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s_%s", run_target(), cases[_i].program);
    struct run run;
    RUN(&run, cases[_i].rule, path);
    ck_assert_int_eq(run.status, 0);
    ck_assert_uint_eq(atomic_load(&wedge_arena_header(&run.arena)->lost_allocators), cases[_i].lost);
    char *missed = wedge_faults_missed(&run.arena);
    ck_assert(missed && !!strstr(missed, "an allocator of ") == !!cases[_i].lost);
    free(missed);
    run_free(&run);
}
END_TEST

/* The object of the malloc family is there when a rule names one of it, and not otherwise. */
START_TEST(test_object_of_malloc)
{
    struct wedge_arena arena;
    struct wedge_plan *plan;
    struct wedge_err err;
    char **env;
    bool found = false;
    ck_assert_int_eq(wedge_arena_create(&arena, 0, 1, &err), 0);
    ck_assert_int_eq(
        wedge_plan_parse("test", _i ? "plan 1\nf1 * free -> delay 1ms\n" : "plan 1\nf1 * read -> stop\n", &plan, &err),
        0);
    ck_assert_int_eq(wedge_plan_install(plan, &arena, &err), 0);
    ck_assert_int_eq(wedge_faults_environ(&arena, target(), &env, &err), 0);
    for (char **entry = env; *entry; entry++)
        found |= strncmp(*entry, "LD_PRELOAD=", 11) == 0 && strstr(*entry, "libwedge-agent-malloc.so");
    ck_assert_int_eq(found, _i);
    wedge_faults_environ_free(env);
    wedge_plan_free(plan);
    wedge_arena_destroy(&arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("functions");
    TCase *tcase = tcase_create("functions");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_every_row_has_a_call);
    tcase_add_test(tcase, test_exported_and_of_libc);
    tcase_add_loop_test(tcase, test_agent_calls_nothing_it_wraps, 0, 2);
    tcase_add_test(tcase, test_versions_are_kept_apart);
    tcase_add_loop_test(tcase, test_without_a_fault_as_without_agent, 0, 5);
    tcase_add_test(tcase, test_errnos);
    tcase_add_test(tcase, test_returns);
    tcase_add_test(tcase, test_drops);
    tcase_add_test(tcase, test_shorts);
    tcase_add_test(tcase, test_spurious);
    tcase_add_test(tcase, test_corrupts);
    tcase_add_test(tcase, test_full_and_empty);
    tcase_add_test(tcase, test_cut_vectors);
    tcase_add_test(tcase, test_old_versions);
    tcase_add_test(tcase, test_syscalls);
    tcase_add_test(tcase, test_interrupted_sleep);
    tcase_add_test(tcase, test_aliases);
    tcase_add_loop_test(tcase, test_own_allocator, 0, 5);
    tcase_add_loop_test(tcase, test_object_of_malloc, 0, 2);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
