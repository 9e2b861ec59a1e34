#include "scenarios/ablation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/settings.h"
#include "reports/report.h"
#include "scenarios/expect.h"
#include "scenarios/strings.h"

#define DEMO   "wedge-pool-demo"
#define PRESET "--preset="
/* Nobody waits for the ten seconds of the hardened preset; long enough for a worker to start on a busy machine. */
#define SHORT_MS "300"

enum outcome { NOT_PLAYED, HANGS, FINISHES, CONTENDS, LOSES, FAILS, INVALID, UNCLEAR, VARIES };
static const char *const outcome_words[] = {"not played", "hangs",   "finishes", "contends", "loses",
                                            "fails",      "invalid", "unclear",  "varies"};

struct cell {
    struct wedge_check check; /* argv and unfired_ok are its own */
    char name[64]; /* its folder: "as-is", "queue_lock=owned", "twin" */
    char set[64]; /* "queue_lock=owned", "" nothing */
    enum outcome outcome;
    char verdict[64], certainty[16], detail[1024], counts[512], files[4096];
    double seconds;
    long rounds;
};

struct row {
    const struct wedge_scenario *s;
    const char *why_not; /* NULL: it has a place */
    size_t cells; /* its first; as it is, each cure, and last its twin where it has one here */
    bool twin;
};

struct wedge_ablation {
    struct wedge_pool_settings preset;
    struct wedge_pool_cure *cures; /* those that can be turned */
    char (*fixed)[32];
    size_t n_cures, n_fixed;
    struct row *rows;
    size_t n_rows;
    struct cell *cells;
    struct wedge_playing_check *checks; /* parallel to cells */
    size_t n_cells, played;
    long rounds; /* of the cell that has most */
};

static int no_memory(struct wedge_err *err)
{
    return wedge_err_set(err, -ENOMEM, "no memory for the ablation");
}

/* Settings go to the demo itself, or to a shell's script that hands its arguments on. */
static bool takes_settings(char *const *argv)
{
    const char *slash = strrchr(argv[0], '/');
    if (strcmp(slash ? slash + 1 : argv[0], DEMO) == 0)
        return true;
    for (; *argv; argv++)
        if (strstr(*argv, DEMO) && strstr(*argv, "\"$@\""))
            return true;
    return false;
}

static bool runs_demo(char *const *argv)
{
    for (; *argv; argv++)
        if (strstr(*argv, DEMO))
            return true;
    return false;
}

/* The argument that says the preset: "--preset=reported", or that word alone for a script. */
static const char *is_preset(const char *arg)
{
    static const char *const words[] = {"reported", "proposed", "hardened"};
    const char *word = strncmp(arg, PRESET, strlen(PRESET)) == 0 ? arg + strlen(PRESET) : arg;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(word, words[i]) == 0)
            return word;
    return NULL;
}

static const char *preset_of(char *const *argv)
{
    for (; *argv; argv++)
        if (is_preset(*argv))
            return is_preset(*argv);
    return "hardened"; /* the library's own */
}

/* The check that a row begins with: the file's own for this preset, for it may need other arguments. */
static const struct wedge_check *base_of(const struct wedge_ablation *a, const struct wedge_scenario *s)
{
    const struct wedge_check *hang = &s->checks[WEDGE_CHECK_HANG], *proposed = &s->checks[WEDGE_CHECK_PROPOSED];
    if (strcmp(preset_of(hang->argv), a->preset.preset) == 0)
        return hang;
    if (a->preset.hardened)
        return &s->checks[WEDGE_CHECK_HARDENED];
    return proposed->present && strcmp(a->preset.preset, "proposed") == 0 ? proposed : hang;
}

static const char *why_not(const struct wedge_ablation *a, const struct wedge_scenario *s)
{
    const struct wedge_check *hang = &s->checks[WEDGE_CHECK_HANG], *base = base_of(a, s);
    const char *preset = preset_of(hang->argv);
    if (!runs_demo(hang->argv))
        return "does not run the pool's demo";
    if (!base->present)
        return "has no hardened check";
    if (!takes_settings(base->argv))
        return "its command takes no further settings";
    if (strcmp(preset, "reported") != 0 && strcmp(preset, a->preset.preset) != 0)
        return "begins with another preset";
    return NULL;
}

/* The number that one of the scenario's own checks gives for a limit, so that nobody waits for the hardened preset's ten seconds. */
static const char *own_number(const struct wedge_scenario *s, const char *key)
{
    size_t len = strlen(key);
    for (int role = 0; role < WEDGE_CHECKS; role++)
        for (char **arg = s->checks[role].argv; arg && *arg; arg++)
            if (strncmp(*arg, key, len) == 0 && (*arg)[len] == '=' && (*arg)[len + 1] >= '0' && (*arg)[len + 1] <= '9')
                return *arg + len + 1;
    return NULL;
}

/* Whether the twin's cure is this setting, or one of several: then what its plan need not fire holds here too. */
static bool is_of_twin(const struct wedge_scenario *s, const char *key)
{
    const struct wedge_check *twin = &s->checks[WEDGE_CHECK_TWIN];
    size_t before = 0, len = strlen(key);
    while (s->checks[WEDGE_CHECK_HANG].argv[before])
        before++;
    for (size_t i = 0; twin->argv && twin->argv[i]; i++)
        if (i >= before && strncmp(twin->argv[i], key, len) == 0 && twin->argv[i][len] == '=')
            return true;
    return false;
}

static int add_set(struct wedge_strings *argv, const char *set)
{
    int rc = *set ? wedge_strings_add(argv, "--set") : 0;
    return rc || !*set ? rc : wedge_strings_add(argv, set);
}

/* The limits that a preset of streams has are as short as those that are turned on: hardened's are what its check says. */
static int add_short_limits(const struct wedge_ablation *a, const struct wedge_scenario *s, struct wedge_strings *argv)
{
    int rc = 0;
    for (size_t i = 0; !rc && !a->preset.hardened && i < a->n_cures; i++) {
        const char *own = own_number(s, a->cures[i].key);
        char set[64];
        snprintf(set, sizeof(set), "%s=%s", a->cures[i].key, own ? own : SHORT_MS);
        if (a->cures[i].is_limit && a->cures[i].on)
            rc = add_set(argv, set);
    }
    return rc;
}

/* `from` with the preset's word in place and, where `set` says something, one setting more. */
static int make_argv(const struct wedge_ablation *a, const struct wedge_scenario *s, char *const *from, const char *set,
                     char ***ret)
{
    struct wedge_strings argv = {0};
    int rc = 0;
    for (; !rc && *from; from++) {
        char word[64];
        const char *preset = is_preset(*from);
        snprintf(word, sizeof(word), "%s%s", preset == *from ? "" : PRESET, a->preset.preset);
        rc = wedge_strings_add(&argv, preset ? word : *from);
    }
    if (!rc)
        rc = add_short_limits(a, s, &argv);
    if (!rc)
        rc = add_set(&argv, set);
    *ret = wedge_strings_take(&argv);
    return rc || !*ret ? -ENOMEM : 0;
}

static int copy_excused(struct cell *cell, const struct wedge_check *a, const struct wedge_check *b)
{
    struct wedge_strings ids = {0};
    int rc = 0;
    for (char **id = a->unfired_ok; !rc && id && *id; id++)
        rc = wedge_strings_add(&ids, *id);
    for (char **id = b ? b->unfired_ok : NULL; !rc && id && *id; id++)
        rc = wedge_strings_add(&ids, *id);
    cell->check.unfired_ok = wedge_strings_take(&ids);
    return rc || !cell->check.unfired_ok ? -ENOMEM : 0;
}

/* One cell more; room was made. */
static int add_cell(struct wedge_ablation *a, const struct row *row, const struct wedge_check *check, const char *name,
                    const char *set, const struct wedge_check *excuses)
{
    struct cell *cell = &a->cells[a->n_cells];
    cell->check.present = true;
    cell->check.plan = check->plan; /* the scenario's */
    snprintf(cell->set, sizeof(cell->set), "%s", set);
    snprintf(cell->name, sizeof(cell->name), "%s", name);
    a->checks[a->n_cells] = (struct wedge_playing_check){
        .scenario = row->s, .role = WEDGE_CHECK_HANG, .instead = &cell->check, .name = cell->name};
    a->n_cells++;
    int rc = make_argv(a, row->s, check->argv, set, &cell->check.argv);
    return rc ? rc : copy_excused(cell, check, excuses);
}

/* What a column turns its setting to. A limit cures by being there, not by its length. */
static const char *turned(const struct wedge_pool_cure *cure)
{
    if (cure->on)
        return cure->hazard;
    return cure->is_limit && strtol(cure->value, NULL, 10) > strtol(SHORT_MS, NULL, 10) ? SHORT_MS : cure->value;
}

static int add_row(struct wedge_ablation *a, struct row *row)
{
    const struct wedge_scenario *s = row->s;
    const struct wedge_check *base = base_of(a, s), *twin = &s->checks[WEDGE_CHECK_TWIN];
    row->cells = a->n_cells;
    row->twin = !a->preset.hardened;
    int rc = add_cell(a, row, base, "as-is", "", NULL);
    for (size_t i = 0; !rc && i < a->n_cures; i++) {
        const struct wedge_pool_cure *cure = &a->cures[i];
        const char *own = cure->value[0] <= '9' && !cure->on ? own_number(s, cure->key) : NULL;
        char set[64];
        snprintf(set, sizeof(set), "%s=%s", cure->key, own ? own : turned(cure));
        rc = add_cell(a, row, base, set, set, !cure->on && is_of_twin(s, cure->key) ? twin : NULL);
    }
    return rc || !row->twin ? rc : add_cell(a, row, twin, "twin", "", NULL);
}

static int take_cures(struct wedge_ablation *a)
{
    struct wedge_pool_cure cure;
    unsigned n = 0;
    while (wedge_pool_settings_cure(&a->preset, n, &cure) == 0)
        n++;
    a->cures = calloc(n, sizeof(*a->cures));
    a->fixed = calloc(n, sizeof(*a->fixed));
    for (unsigned i = 0; a->cures && a->fixed && i < n; i++) {
        wedge_pool_settings_cure(&a->preset, i, &cure);
        if (cure.fixed)
            snprintf(a->fixed[a->n_fixed++], sizeof(*a->fixed), "%s", cure.key);
        else
            a->cures[a->n_cures++] = cure;
    }
    return a->cures && a->fixed ? 0 : -ENOMEM;
}

int wedge_ablation_new(const struct wedge_scenario *const *scenarios, size_t n, const char *preset,
                       struct wedge_ablation **ret, struct wedge_err *err)
{
    struct wedge_ablation *a = calloc(1, sizeof(*a));
    struct wedge_pool_err refused;
    size_t rows = 0;
    int rc = 0;
    if (!a)
        return no_memory(err);
    if (wedge_pool_settings_init(&a->preset, preset, &refused)) {
        rc = wedge_err_input(err, NULL, 0, 0, "unknown preset '%s'", preset);
        wedge_err_remedy(err, "one of reported, proposed, hardened");
    }
    if (!rc && (take_cures(a) || !(a->rows = calloc(n + 1, sizeof(*a->rows)))))
        rc = no_memory(err);
    for (size_t i = 0; !rc && i < n; i++) {
        a->rows[i] = (struct row){.s = scenarios[i], .why_not = why_not(a, scenarios[i])};
        rows += !a->rows[i].why_not;
        a->n_rows++;
    }
    if (!rc && !rows) {
        rc = wedge_err_input(err, NULL, 0, 0, "no scenario that was named can be played with single settings: %s %s",
                             n ? scenarios[0]->name : "none", n ? a->rows[0].why_not : "");
        wedge_err_remedy(err, "`wedge run --ablate=%s` without a name plays those of the hang report", preset);
    }
    size_t most = rows * (a->n_cures + 2);
    if (!rc && (!(a->cells = calloc(most, sizeof(*a->cells))) || !(a->checks = calloc(most, sizeof(*a->checks)))))
        rc = no_memory(err);
    for (size_t i = 0; !rc && i < n; i++)
        if (!a->rows[i].why_not && add_row(a, &a->rows[i]))
            rc = no_memory(err);
    if (rc)
        wedge_ablation_free(a);
    else
        *ret = a;
    return rc;
}

const struct wedge_playing_check *wedge_ablation_cells(const struct wedge_ablation *a, size_t *ret_n)
{
    *ret_n = a->n_cells;
    return a->checks;
}

/* An exit status that some check of the scenario expects is as good as 0. */
static bool is_expected(const struct wedge_scenario *s, int status)
{
    bool found = status == 0;
    for (int role = 0; role < WEDGE_CHECKS; role++)
        found |= s->checks[role].present && strcmp(s->checks[role].expect.kind, "finished") == 0 &&
                 s->checks[role].expect.status == status;
    return found;
}

/* What is wrong with the figures of a command that ended: tasks of which nobody ever heard, or heard twice; files that stay. */
static bool loses(const char *counts, char *detail, size_t size)
{
    int64_t accepted = 0, reported = 0, twice = 0, left = 0;
    bool both = wedge_expect_count(counts, "accepted", &accepted) && wedge_expect_count(counts, "reported", &reported);
    wedge_expect_count(counts, "twice", &twice);
    wedge_expect_count(counts, "left", &left);
    if (both && accepted > reported)
        snprintf(detail, size, "%lld of %lld tasks were never reported", (long long)(accepted - reported),
                 (long long)accepted);
    else if (twice > 0)
        snprintf(detail, size, "%lld tasks were reported twice", (long long)twice);
    else if (left > 0)
        snprintf(detail, size, "%lld files stayed in /dev/shm", (long long)left);
    else
        return false;
    return true;
}

static enum outcome judge(const struct wedge_scenario *s, const struct wedge_check_result *r, char *detail, size_t size)
{
    snprintf(detail, size, "%s", r->message);
    if (r->status == WEDGE_CHECK_INVALID)
        return INVALID;
    /* On a machine that has no time a hang may be proved by the last look alone, that of the limit. */
    if (r->end == WEDGE_HUNG ||
        (r->end == WEDGE_LIMIT && strcmp(r->certainty, "proved") == 0 && strcmp(r->scope, "whole") == 0))
        return HANGS;
    if (r->end == WEDGE_LIMIT)
        return UNCLEAR;
    if (r->status != WEDGE_CHECK_PASSED)
        return FAILS;
    if (strcmp(r->verdict, "finished") != 0)
        return CONTENDS;
    if (r->signal || !is_expected(s, r->exit_status)) {
        snprintf(detail, size, "ended with %s %d", r->signal ? "signal" : "status",
                 r->signal ? r->signal : r->exit_status);
        return FAILS;
    }
    const struct wedge_expect *shown = &s->checks[WEDGE_CHECK_HANG].expect;
    if (strcmp(shown->kind, "finished") == 0 &&
        wedge_expect_ended_as(shown, r->exit_status, r->signal, r->counts, detail, size)) {
        snprintf(detail, size, "as the scenario shows it");
        return LOSES;
    }
    detail[0] = 0;
    return loses(r->counts, detail, size) ? LOSES : FINISHES;
}

void wedge_ablation_take(struct wedge_ablation *a, size_t number, const struct wedge_check_result *r)
{
    struct cell *cell = &a->cells[number];
    char detail[sizeof(cell->detail)];
    cell->rounds++;
    a->rounds = cell->rounds > a->rounds ? cell->rounds : a->rounds;
    enum outcome outcome = judge(a->checks[number].scenario, r, detail, sizeof(detail));
    if (cell->outcome == NOT_PLAYED) {
        a->played++;
    } else if (cell->outcome != outcome || strcmp(cell->verdict, r->verdict) != 0) {
        if (cell->outcome != VARIES)
            snprintf(cell->detail, sizeof(cell->detail), "first it %s (%s), then it %s (%s)",
                     outcome_words[cell->outcome], cell->verdict, outcome_words[outcome], r->verdict);
        cell->outcome = VARIES;
        return;
    }
    cell->outcome = outcome;
    cell->seconds = (double)r->duration_ns / 1e9;
    snprintf(cell->detail, sizeof(cell->detail), "%s", detail);
    snprintf(cell->verdict, sizeof(cell->verdict), "%s", r->verdict);
    snprintf(cell->certainty, sizeof(cell->certainty), "%s", r->certainty);
    snprintf(cell->counts, sizeof(cell->counts), "%s", r->counts);
    snprintf(cell->files, sizeof(cell->files), "%s", strcmp(r->verdict, "finished") == 0 ? "" : r->dir);
}

const char *wedge_ablation_word(const struct wedge_ablation *a, size_t number)
{
    const struct cell *cell = &a->cells[number];
    return cell->outcome == HANGS || cell->outcome == CONTENDS ? cell->verdict : outcome_words[cell->outcome];
}

const char *wedge_ablation_verb(const char *preset, char *buf, size_t size)
{
    snprintf(buf, size, "run --ablate=%s", preset);
    return buf;
}

static json_t *cell_model(const struct cell *cell, const char *dir)
{
    size_t len = strlen(dir);
    const char *files =
        strncmp(cell->files, dir, len) == 0 && cell->files[len] == '/' ? cell->files + len + 1 : cell->files;
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:s,s:f,s:o}", "outcome", outcome_words[cell->outcome], "verdict",
                     cell->verdict, "certainty", cell->certainty, "set", cell->set, "detail",
                     wedge_report_string(cell->detail), "counts", cell->counts, "seconds", cell->seconds, "files",
                     *files ? wedge_report_string(files) : json_null());
}

static json_t *row_model(const struct wedge_ablation *a, const struct row *row, const char *dir)
{
    const struct wedge_scenario *s = row->s;
    const struct cell *cell = &a->cells[row->cells];
    json_t *cures = json_array();
    json_t *as_is = cell_model(cell++, dir);
    for (size_t i = 0; i < a->n_cures; i++)
        json_array_append_new(cures, cell_model(cell++, dir));
    return json_pack("{s:s,s:o,s:s,s:s,s:o,s:o,s:o,s:o}", "name", s->name, "title", wedge_report_string(s->title),
                     "item", s->item ? s->item : "", "severity", s->severity, "as_is", as_is, "cures", cures, "twin",
                     row->twin ? cell_model(cell, dir) : json_null(), "twin_cure",
                     wedge_report_string(row->twin ? s->checks[WEDGE_CHECK_TWIN].cure : ""));
}

json_t *wedge_ablation_model(const struct wedge_ablation *a, const char *dir, bool complete, double seconds)
{
    json_t *cures = json_array(), *fixed = json_array(), *left_out = json_array(), *scenarios = json_array();
    for (size_t i = 0; i < a->n_cures; i++) {
        const struct wedge_pool_cure *cure = &a->cures[i];
        json_array_append_new(cures, json_pack("{s:s,s:s,s:s}", "setting", cure->key, "value", turned(cure), "turned",
                                               cure->on ? "off" : "on"));
    }
    for (size_t i = 0; i < a->n_fixed; i++)
        json_array_append_new(fixed, json_string(a->fixed[i]));
    for (size_t i = 0; i < a->n_rows; i++)
        if (a->rows[i].why_not)
            json_array_append_new(left_out,
                                  json_pack("{s:s,s:s}", "scenario", a->rows[i].s->name, "why", a->rows[i].why_not));
        else
            json_array_append_new(scenarios, row_model(a, &a->rows[i], dir));
    return json_pack("{s:s,s:s,s:b,s:f,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "schema", "wedge.ablation/1", "preset",
                     a->preset.preset, "complete", complete, "seconds", seconds, "rounds", (json_int_t)a->rounds,
                     "played", (json_int_t)a->played, "cells", (json_int_t)a->n_cells, "cures", cures, "fixed", fixed,
                     "left_out", left_out, "scenarios", scenarios);
}

void wedge_ablation_free(struct wedge_ablation *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_cells; i++) {
        wedge_strings_free(a->cells[i].check.argv);
        wedge_strings_free(a->cells[i].check.unfired_ok);
    }
    free(a->cells);
    free(a->checks);
    free(a->rows);
    free(a->cures);
    free(a->fixed);
    free(a);
}
