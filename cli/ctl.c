/* wedge ctl: the rules of a running tree. What one call arms and disarms switches at once (faults/control.h). */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/ctl.h"
#include "faults/control.h"
#include "faults/launch.h"

enum { MOST_RUNS = 64 };
enum command { LIST, ARM, DISARM, RELEASE, QUIESCE, COUNT, COMMANDS };
static const char *const command_words[] = {"list", "arm", "disarm", "release", "quiesce", "count", NULL};

struct options {
    struct wedge_cli cli;
    char **words; /* RUN COMMAND…; NULL none */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->cli;
        return 0;
    case ARGP_KEY_ARGS:
        o->words = state->argv + state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    NULL,
    parse,
    "[RUN [COMMAND [NAME...]]...]",
    "Controls the rules of a run while it runs. RUN is the PID of wedge or of any process under it, or `last`, the run "
    "that was started last in this session (terminal); without it the runs are listed. Commands: list (the default), "
    "arm ID..., disarm ID..., "
    "release ID..., quiesce, count [NAME...]. All that one call arms and disarms is switched at once. Exit status: 0 "
    "done, 2 bad usage or no such rule, 3 there is no such run, or it may not be looked into."
    "\vExamples:\n  wedge ctl 4711 list\n  wedge ctl 4711 arm f1 f3 disarm f2\n  wedge ctl last release f1",
    wedge_cli_children,
    NULL,
    NULL};

/* What a call asks for. */
struct request {
    struct wedge_control_switch what;
    bool switches, commands[COMMANDS];
    uint64_t release[WEDGE_ARENA_RULES / 64];
    const char *names[WEDGE_ARENA_RULES]; /* of count */
    size_t n_names;
};

static int find_command(const char *word)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(word, command_words[i]) == 0)
            return i;
    return -1;
}

static int usage(struct wedge_err *err, const char *what, const char *remedy)
{
    wedge_err_input(err, NULL, 0, 0, "%s", what);
    wedge_err_remedy(err, "%s", remedy);
    return -EINVAL;
}

static int take_name(struct request *r, int command, const char *word, const struct wedge_arena *arena,
                     struct wedge_err *err)
{
    if (command == LIST || command == QUIESCE) {
        wedge_err_input(err, NULL, 0, 0, "`%s` takes no name, and `%s` is no command", command_words[command], word);
        const char *near = wedge_err_nearest(word, command_words);
        wedge_err_remedy(err, near ? "did you mean `%s`?" : "commands are list, arm, disarm, release, quiesce, count",
                         near);
        return -EINVAL;
    }
    if (command == COUNT) {
        if (r->n_names == WEDGE_ARENA_RULES)
            return usage(err, "too many names to count", "give none for all");
        r->names[r->n_names++] = word;
        return 0;
    }
    int rule = wedge_control_rule(arena, word, err);
    if (rule < 0)
        return rule;
    uint64_t *bits = command == ARM ? r->what.arm : command == DISARM ? r->what.disarm : r->release;
    bits[rule / 64] |= 1ull << (rule % 64);
    r->switches |= command != RELEASE;
    return 0;
}

static int read_request(char *const *words, const struct wedge_arena *arena, struct request *r, struct wedge_err *err)
{
    int command = -1, rc = 0;
    bool named = true;
    for (; *words && !rc; words++) {
        int next = find_command(*words);
        if (next < 0 && command < 0) {
            wedge_err_input(err, NULL, 0, 0, "unknown command `%s`", *words);
            const char *near = wedge_err_nearest(*words, command_words);
            wedge_err_remedy(
                err, near ? "did you mean `%s`?" : "commands are list, arm, disarm, release, quiesce, count", near);
            return -EINVAL;
        }
        if (next < 0) {
            rc = take_name(r, command, *words, arena, err);
            named = true;
            continue;
        }
        if (!named)
            break;
        command = next;
        r->commands[command] = true;
        named = command != ARM && command != DISARM && command != RELEASE;
    }
    if (!rc && !named) {
        wedge_err_input(err, NULL, 0, 0, "%s which rules?", command_words[command]);
        wedge_err_remedy(err, "name them, as in `wedge ctl last %s f1 f2`", command_words[command]);
        return -EINVAL;
    }
    for (unsigned w = 0; w < WEDGE_ARENA_RULES / 64 && !rc; w++)
        if (r->what.arm[w] & r->what.disarm[w])
            rc = usage(err, "one rule cannot be armed and disarmed by one call", "name it once");
    return rc;
}

/* In the order in which they cannot undo each other: switch, let go, end all. */
static int obey(const struct request *r, const struct wedge_arena *arena, struct wedge_err *err)
{
    int rc = r->switches ? wedge_control_apply(arena, &r->what, err) : 0;
    for (uint32_t i = 0; !rc && i < WEDGE_ARENA_RULES; i++) {
        if (!(r->release[i / 64] >> (i % 64) & 1))
            continue;
        const struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, i);
        char id[WEDGE_RULE_ID_BYTES + 1] = "";
        memcpy(id, rule->id, WEDGE_RULE_ID_BYTES);
        rc = wedge_faults_release(arena, id, err);
    }
    if (!rc && r->commands[QUIESCE])
        wedge_faults_quiesce(arena);
    return rc;
}

static int show(const struct options *o, const struct request *r, const struct wedge_arena *arena, bool list,
                struct wedge_err *err)
{
    struct wedge_ctl_view view = {.names = r->names, .n_names = r->n_names};
    int rc = wedge_arena_copy(arena, false, &view.copy, err);
    for (size_t i = 0; !rc && i < r->n_names; i++)
        if (!wedge_ctl_has(&view, r->names[i])) {
            rc = wedge_err_input(err, NULL, 0, 0, "no rule and no point is called `%s`", r->names[i]);
            wedge_err_remedy(err, "`wedge ctl %s count` shows all; a point is known from its first pass on",
                             o->words[0]);
        }
    if (!rc && o->cli.json) {
        json_t *root = wedge_ctl_json(&view, r->commands[COUNT]);
        if (!root || json_dumpf(root, stdout, JSON_INDENT(2)) || putchar('\n') == EOF)
            rc = wedge_err_set(err, -EIO, "cannot write to standard output");
        json_decref(root);
    } else if (!rc && r->commands[COUNT]) {
        wedge_ctl_print_counts(&view, stdout);
    } else if (!rc && list) {
        wedge_ctl_print_rules(&view, stdout);
    }
    wedge_arena_copy_free(&view.copy);
    return rc;
}

/* "wedge inject -f x.plan -- ./server", cut. */
static const char *command_line(pid_t pid, char buf[256])
{
    char path[32], raw[200];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    FILE *in = fopen(path, "re");
    size_t n = in ? fread(raw, 1, sizeof(raw) - 1, in) : 0;
    if (in)
        fclose(in);
    for (size_t i = 0; i < n; i++)
        if (!raw[i])
            raw[i] = ' ';
    raw[n] = '\0';
    return wedge_text_plain(raw, buf, 256);
}

static int list_runs(const struct options *o, struct wedge_err *err)
{
    pid_t pids[MOST_RUNS];
    char text[256];
    int n = wedge_control_list(pids, MOST_RUNS, err);
    if (n < 0)
        return n;
    json_t *runs = json_array();
    for (int i = 0; i < n; i++) {
        json_array_append_new(runs,
                              json_pack("{s:i,s:s}", "pid", (int)pids[i], "command", command_line(pids[i], text)));
        if (!o->cli.json)
            printf("%8d  %s\n", (int)pids[i], command_line(pids[i], text));
    }
    json_t *root = json_pack("{s:s,s:o}", "format", "wedge.ctl/1", "runs", runs);
    if (o->cli.json && (!root || json_dumpf(root, stdout, JSON_INDENT(2)) || putchar('\n') == EOF))
        n = wedge_err_set(err, -EIO, "cannot write to standard output");
    json_decref(root);
    if (n == 0 && !o->cli.json)
        wedge_cli_say(&o->cli, "there is no run that you may look into");
    return n < 0 ? n : 0;
}

/* Of this terminal, or whatever else the session is: never that of somebody who works beside us. */
static pid_t find_last(struct wedge_err *err)
{
    pid_t pids[MOST_RUNS];
    int n = wedge_control_list(pids, MOST_RUNS, err);
    for (int i = 0; i < n; i++)
        if (getsid(pids[i]) == getsid(0))
            return pids[i];
    if (n < 0)
        return n;
    wedge_err_set(err, -ENOENT, "no run was started in this session that is still there");
    wedge_err_remedy(err, "`wedge ctl` lists all runs: give the PID of one");
    return -ENOENT;
}

static int find_run(const char *word, struct wedge_arena *ret, struct wedge_err *err)
{
    char *end;
    errno = 0;
    long pid = strtol(word, &end, 10);
    if (strcmp(word, "last") == 0) {
        pid = find_last(err);
        if (pid < 0)
            return (int)pid;
    } else if (errno || *end || end == word || pid <= 0 || pid > INT_MAX) {
        wedge_err_input(err, NULL, 0, 0, "'%s' is no run", word);
        wedge_err_remedy(err, "give the PID of wedge or of a process under it, or `last`; `wedge ctl` lists runs");
        return -EINVAL;
    }
    return wedge_control_find((pid_t)pid, ret, err);
}

int wedge_cli_ctl(int argc, char **argv)
{
    struct options o = {0};
    struct request request = {0};
    struct wedge_arena arena = {.fd = -1};
    struct wedge_err err = {0};
    wedge_cli_defaults(&o.cli);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int rc;
    if (!o.words) {
        rc = list_runs(&o, &err);
    } else if (!(rc = find_run(o.words[0], &arena, &err))) {
        rc = read_request(o.words + 1, &arena, &request, &err);
        if (!rc)
            rc = obey(&request, &arena, &err);
        if (!rc)
            rc = show(&o, &request, &arena, !o.words[1] || request.commands[LIST], &err);
    }
    wedge_arena_destroy(&arena);
    return rc ? wedge_cli_error(&err) : WEDGE_EXIT_OK;
}
