#include "faults/tests/run.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "faults/launch.h"
#include "faults/plan.h"

enum wedge_record run_record = WEDGE_RECORD_PLACES;
enum wedge_census_of run_census = WEDGE_CENSUS_NONE;

void run_start(struct run *run, const char *plan_text, const char *const *argv)
{
    struct wedge_err err;
    struct wedge_plan *plan;
    char text[16384], message[1024];
    int in[2], out[2];
    char **env;

    memset(run, 0, sizeof(*run));
    ck_assert_int_eq(wedge_arena_create(&run->arena, 0, 1, &err), 0);
    struct wedge_arena_control *control = wedge_arena_live(&run->arena, WEDGE_SEC_CONTROL, 0);
    control->record = run_census ? WEDGE_RECORD_NOTHING : run_record;
    control->census = run_census;
    snprintf(text, sizeof(text), "plan 1\n%s\n", plan_text ? plan_text : "");
    if (wedge_plan_parse("test", text, &plan, &err))
        ck_abort_msg("%s", wedge_err_text(&err, message, sizeof(message)));
    ck_assert_int_eq(wedge_plan_install(plan, &run->arena, &err), 0);
    wedge_plan_free(plan);
    if (wedge_faults_environ(&run->arena, argv[0], &env, &err))
        ck_abort_msg("%s", wedge_err_text(&err, message, sizeof(message)));
    ck_assert_int_eq(pipe(in), 0);
    ck_assert_int_eq(pipe(out), 0);
    run->pid = fork();
    ck_assert_int_ge(run->pid, 0);
    if (run->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int i = 0; i < 2; i++) {
            close(in[i]);
            close(out[i]);
        }
        execvpe(argv[0], (char *const *)argv, env);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    run->in = in[1];
    run->out = out[0];
    wedge_faults_environ_free(env);
}

static bool read_more(struct run *run)
{
    ck_assert_uint_lt(run->len, sizeof(run->text) - 1);
    ssize_t n = read(run->out, run->text + run->len, sizeof(run->text) - 1 - run->len);
    ck_assert(n >= 0 || errno == EINTR);
    if (n > 0)
        run->len += (size_t)n;
    run->text[run->len] = 0;
    return n != 0;
}

void run_read_until(struct run *run, const char *text)
{
    while (!strstr(run->text, text))
        ck_assert_msg(read_more(run), "the program ended without saying \"%s\": %s", text, run->text);
}

void run_finish(struct run *run)
{
    if (run->in >= 0)
        close(run->in);
    run->in = -1;
    while (read_more(run))
        ;
    ck_assert_int_eq(waitpid(run->pid, &run->status, 0), run->pid);
}

void run_whole(struct run *run, const char *plan, const char *const *argv)
{
    run_start(run, plan, argv);
    run_finish(run);
}

void run_free(struct run *run)
{
    if (run->in >= 0)
        close(run->in);
    close(run->out);
    wedge_arena_destroy(&run->arena);
}

static uint32_t rule_number(struct run *run, const char *id)
{
    for (uint32_t i = 0; i < WEDGE_ARENA_RULES; i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(&run->arena, WEDGE_SEC_RULES, i);
        if (strcmp(rule->id, id) == 0)
            return i;
    }
    ck_abort_msg("no rule %s", id);
    return 0;
}

struct wedge_arena_rule *run_rule(struct run *run, const char *id)
{
    return wedge_arena_live(&run->arena, WEDGE_SEC_RULES, rule_number(run, id));
}

uint64_t run_hits(struct run *run, const char *id)
{
    return wedge_arena_rule_hits(&run->arena, rule_number(run, id));
}

const struct wedge_arena_name *run_name(struct run *run, const char *name)
{
    for (uint32_t i = 1; i < wedge_arena_count(WEDGE_SEC_NAMES); i++) {
        const struct wedge_arena_name *entry = wedge_arena_live(&run->arena, WEDGE_SEC_NAMES, i);
        if (strcmp(entry->text, name) == 0)
            return entry;
    }
    return NULL;
}

void run_await(const _Atomic uint32_t *word, uint32_t value)
{
    int64_t deadline = wedge_clock_ns() + 10 * WEDGE_NS_PER_S;
    while (atomic_load(word) < value) {
        ck_assert_msg(wedge_clock_ns() < deadline, "the word stays at %u", atomic_load(word));
        usleep(500);
    }
}

/* A path in the folder of the test; a buffer for each of the callers below. */
static const char *beside(const char *name, char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 64);
    ck_assert_int_gt(n, 0);
    path[n] = 0;
    strcpy(strrchr(path, '/') + 1, name);
    return path;
}

const char *run_target(void)
{
    static char path[PATH_MAX];
    return beside("faults_target", path);
}

const char *run_target_no_pie(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_no_pie", path);
}

const char *run_objects_target(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_objects", path);
}

const char *run_objects_target_no_pie(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_objects_no_pie", path);
}

const char *run_objects_target_asan(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_objects_asan", path);
}

const char *run_kinds_target(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_kinds", path);
}

const char *run_many_target(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_many", path);
}

const char *run_calls_target(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_calls", path);
}

const char *run_static_target(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_static", path);
}

const char *run_asan_target(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_asan", path);
}

const char *run_semantics_target(void)
{
    static char path[PATH_MAX];
    return beside("faults_target_semantics", path);
}

void run_copy(const struct run *run, struct wedge_arena_copy *ret)
{
    struct wedge_err err;
    ck_assert_int_eq(wedge_arena_copy(&run->arena, true, ret, &err), 0);
}

const struct wedge_arena_proc *run_proc(const struct wedge_arena_copy *copy, uint32_t slot)
{
    return wedge_arena_at(copy, WEDGE_SEC_PROCS, slot);
}
