/*
 * Reading a scenario. The YAML document is loaded whole (libyaml), then walked against tables of known keys, so that
 * each complaint has a place and each unknown word the nearest known one.
 *
 *   format: wedge.scenario/1
 *   name, title, item, severity, learn          text
 *   reference                                   text: public reports, REPOSITORY#NUMBER separated by commas
 *   command                                     text split at blanks, or a list
 *   plan                                        text, the plan language of wedge-plan(5)
 *   within, limit                               a duration: 500ms, 30s, 2min
 *   expect                                      kind, certainty, scope, culprit {role, function}, counts {name: n}, status
 *   twin                                        cure, add [arguments], replace {argument: argument}, expect, unfired-ok
 *   hardened                                    as twin, without cure
 */
#include "scenarios/scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#include "base/duration.h"
#include "scenarios/strings.h"

const char *const wedge_check_words[WEDGE_CHECKS] = {"hang", "proposed", "twin", "hardened"};

enum { LARGEST_FILE = 1 << 20 };

struct reader {
    yaml_document_t doc;
    const char *file, *build;
    struct wedge_err *err;
};

/* Complains about a node: where it stands, and what is wrong with it. */
#define bad(r, node, ...)                                                                                              \
    wedge_err_input((r)->err, (r)->file, (int)(node)->start_mark.line + 1, (int)(node)->start_mark.column + 1,         \
                    __VA_ARGS__)

/* NULL: not a scalar, or one with a NUL ("\0"), behind which the rest would be left out without a word. */
static const char *scalar(const yaml_node_t *node)
{
    bool plain = node->type == YAML_SCALAR_NODE && !memchr(node->data.scalar.value, 0, node->data.scalar.length);
    return plain ? (const char *)node->data.scalar.value : NULL;
}

/* Walks a mapping: each key must be one of `words`; a key twice is an error. nodes[i] is the value of words[i]. */
static int read_map(struct reader *r, yaml_node_t *map, const char *const *words, yaml_node_t **nodes)
{
    if (map->type != YAML_MAPPING_NODE)
        return bad(r, map, "expected a mapping with keys such as '%s'", words[0]);
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        const char *word = scalar(key);
        size_t i = 0;
        if (!word)
            return bad(r, key, "a key must be plain text");
        while (words[i] && strcmp(words[i], word) != 0)
            i++;
        if (!words[i]) {
            bad(r, key, "unknown key '%s'", word);
            const char *near = wedge_err_nearest(word, words);
            if (near)
                wedge_err_remedy(r->err, "did you mean '%s'?", near);
            return -EINVAL;
        }
        if (nodes[i])
            return bad(r, key, "'%s' is given twice", word);
        nodes[i] = yaml_document_get_node(&r->doc, p->value);
    }
    return 0;
}

static int read_text(struct reader *r, yaml_node_t *node, char **ret)
{
    const char *text = scalar(node);
    if (!text || !*text)
        return bad(r, node, "expected text");
    return (*ret = strdup(text)) ? 0 : -ENOMEM;
}

/* Text that must be one of `words`. */
static int read_word(struct reader *r, yaml_node_t *node, const char *const *words, char **ret)
{
    int rc = read_text(r, node, ret);
    if (rc)
        return rc;
    for (size_t i = 0; words[i]; i++)
        if (strcmp(words[i], *ret) == 0)
            return 0;
    bad(r, node, "unknown word '%s'", *ret);
    const char *near = wedge_err_nearest(*ret, words);
    wedge_err_remedy(r->err, near ? "did you mean '%s'?" : "the first of the valid words is '%s'",
                     near ? near : words[0]);
    return -EINVAL;
}

static int read_duration(struct reader *r, yaml_node_t *node, int64_t *ret_ms)
{
    const char *text = scalar(node);
    int64_t ns;
    if (!text || wedge_duration_parse(text, &ns))
        return bad(r, node, "expected a duration such as 500ms, 30s or 2min, not '%s'", text ? text : "a collection");
    if (ns < 1000000) /* 0 would be none */
        return bad(r, node, "expected at least a millisecond, not '%s'", text);
    *ret_ms = ns / 1000000;
    return 0;
}

static int read_strings(struct reader *r, yaml_node_t *node, struct wedge_strings *strings)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return bad(r, node, "expected a list");
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        yaml_node_t *item = yaml_document_get_node(&r->doc, *i);
        const char *text = scalar(item);
        if (!text)
            return bad(r, item, "expected text");
        int rc = wedge_strings_add(strings, text);
        if (rc)
            return rc;
    }
    return 0;
}

/* ${BUILD} is the only variable; any other is an error rather than an empty word. */
static int expand(struct reader *r, const yaml_node_t *node, char **word)
{
    char *dollar;
    while ((dollar = strstr(*word, "${"))) {
        if (strncmp(dollar, "${BUILD}", 8) != 0)
            return bad(r, node, "unknown variable in '%s': only ${BUILD} is known", *word);
        char *expanded;
        if (asprintf(&expanded, "%.*s%s%s", (int)(dollar - *word), *word, r->build, dollar + 8) < 0)
            return -ENOMEM;
        bool again = strstr(r->build, "${") != NULL;
        free(*word);
        *word = expanded;
        if (again)
            break;
    }
    return 0;
}

static int read_command(struct reader *r, yaml_node_t *node, struct wedge_strings *argv)
{
    int rc = 0;
    const char *text = scalar(node);
    if (text) {
        char *copy = strdup(text), *save = NULL;
        if (!copy)
            return -ENOMEM;
        for (char *w = strtok_r(copy, " \t\n", &save); w && !rc; w = strtok_r(NULL, " \t\n", &save))
            rc = wedge_strings_add(argv, w);
        free(copy);
    } else {
        rc = read_strings(r, node, argv);
    }
    for (size_t i = 0; !rc && i < argv->n; i++)
        rc = expand(r, node, &argv->items[i]);
    if (!rc && argv->n == 0)
        rc = bad(r, node, "the command is empty");
    return rc;
}

/* Only what finishes has a status. */
static int read_status(struct reader *r, yaml_node_t *node, struct wedge_expect *expect)
{
    const char *digits = scalar(node);
    char *end = NULL;
    long value = digits && *digits ? strtol(digits, &end, 10) : -1;
    if (!end || *end || value < 0 || value > 255)
        return bad(r, node, "expected an exit status from 0 to 255");
    if (strcmp(expect->kind, "finished") != 0)
        return bad(r, node, "'status' goes with 'kind: finished'");
    expect->status = (int)value;
    return 0;
}

/* "12", ">=3" or "<=-4". */
static int read_bound(struct reader *r, yaml_node_t *node, struct wedge_count *ret)
{
    const char *text = scalar(node);
    char *end = NULL;
    if (text && text[0] && text[1] == '=')
        ret->is = *text == '>' ? WEDGE_COUNT_AT_LEAST : *text == '<' ? WEDGE_COUNT_AT_MOST : WEDGE_COUNT_EQUAL;
    const char *digits = text && ret->is != WEDGE_COUNT_EQUAL ? text + 2 : text;
    errno = 0;
    ret->value = digits && *digits ? strtoll(digits, &end, 10) : 0;
    return end && !*end && !errno ? 0 : bad(r, node, "expected a whole number, >=N or <=N");
}

static int read_counts(struct reader *r, yaml_node_t *map, struct wedge_expect *expect)
{
    if (map->type != YAML_MAPPING_NODE)
        return bad(r, map, "expected a mapping of names to numbers");
    size_t n = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
    expect->counts = calloc(n ? n : 1, sizeof(*expect->counts));
    if (!expect->counts)
        return -ENOMEM;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        struct wedge_count *count = &expect->counts[expect->n_counts];
        int rc = read_bound(r, yaml_document_get_node(&r->doc, p->value), count);
        if (!rc)
            rc = read_text(r, key, &count->name);
        if (rc)
            return rc;
        expect->n_counts++;
    }
    return 0;
}

/* Who waits lives, and has no last place. */
static int read_party(struct reader *r, yaml_node_t *node, bool may_be_dead, struct wedge_party *ret)
{
    static const char *const words[] = {"role", "function", "point", NULL};
    char **const texts[] = {&ret->role, &ret->function, &ret->point};
    yaml_node_t *v[3] = {NULL};
    int rc = read_map(r, node, words, v);
    for (int i = 0; !rc && i < 3; i++)
        if (v[i])
            rc = read_text(r, v[i], texts[i]);
    if (!rc && v[2] && (v[1] || !may_be_dead))
        rc = bad(r, v[2], "a '%s' is where one died, who has no function and does not wait", "point");
    if (!rc && !v[0] && !v[1] && !v[2])
        rc = bad(r, node, "it names nobody: it needs 'role' or '%s'", "function");
    return rc;
}

static const char *const kind_words[] = {
    "self-deadlock", "abandoned-lock", "lock-cycle",  "stuck-callback", "mutual-backpressure",
    "orphaned-wait", "closed-wait",    "lost-wakeup", "stopped",        "livelock",
    "contention",    "no-progress",    "idle",        "finished",       NULL};

static int read_expect(struct reader *r, yaml_node_t *node, struct wedge_expect *expect)
{
    static const char *const words[] = {"kind", "certainty", "scope", "culprit", "victim", "counts", "status", NULL};
    static const char *const certainties[] = {"proved", "evident", "suspected", NULL};
    static const char *const scopes[] = {"whole", "part", NULL};
    yaml_node_t *v[7] = {NULL};
    int rc = read_map(r, node, words, v);
    if (rc)
        return rc;
    if (!v[0])
        return bad(r, node, "'expect' needs '%s'", "kind");
    rc = read_word(r, v[0], kind_words, &expect->kind);
    if (!rc && v[1])
        rc = read_word(r, v[1], certainties, &expect->certainty);
    if (!rc && v[2])
        rc = read_word(r, v[2], scopes, &expect->scope);
    if (!rc && v[3])
        rc = read_party(r, v[3], true, &expect->culprit);
    if (!rc && v[4])
        rc = read_party(r, v[4], false, &expect->victim);
    if (!rc && v[5])
        rc = read_counts(r, v[5], expect);
    if (!rc && v[6])
        rc = read_status(r, v[6], expect);
    for (int i = 1; !rc && i < 5; i++)
        if (v[i] && strcmp(expect->kind, "finished") == 0)
            rc = bad(r, v[i], "'%s' does not go with 'kind: finished'", words[i]);
    return rc;
}

/* Replaces arguments: each pair's first must stand in the command, so that a renamed option cannot turn the twin
 * into the hang itself unnoticed. */
static int replace(struct reader *r, yaml_node_t *map, struct wedge_strings *argv)
{
    if (map->type != YAML_MAPPING_NODE)
        return bad(r, map, "expected a mapping of argument to argument");
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        const char *from = scalar(key), *to = scalar(yaml_document_get_node(&r->doc, p->value));
        bool found = false;
        if (!from || !to)
            return bad(r, key, "expected text");
        for (size_t i = 0; i < argv->n; i++) {
            if (strcmp(argv->items[i], from) != 0)
                continue;
            char *copy = strdup(to);
            if (!copy)
                return -ENOMEM;
            free(argv->items[i]);
            argv->items[i] = copy;
            found = true;
        }
        if (!found)
            return bad(r, key, "the command has no argument '%s' to replace", from);
    }
    return 0;
}

static bool same(char *const *a, char *const *b)
{
    for (; *a && *b && strcmp(*a, *b) == 0; a++, b++)
        ;
    return !*a && !*b;
}

/* How many blanks a line of the file begins with: YAML takes a block's indentation away and does not tell. */
static int indent_of_line(const char *file, int line)
{
    FILE *in = fopen(file, "re");
    int c = 0, indent = 0;
    while (in && --line > 0)
        while ((c = getc(in)) != '\n' && c != EOF)
            ;
    while (in && getc(in) == ' ')
        indent++;
    if (in)
        fclose(in);
    return indent;
}

static int read_plan(struct reader *r, yaml_node_t *node, struct wedge_scenario_plan *ret)
{
    /* A block scalar's text begins on the line after its "|". */
    bool block = node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_LITERAL_SCALAR_STYLE;
    ret->line = (int)node->start_mark.line + 1 + block;
    ret->indent = block ? indent_of_line(r->file, ret->line) : (int)node->start_mark.column;
    return read_text(r, node, &ret->text);
}

static int read_variant(struct reader *r, yaml_node_t *node, enum wedge_check_role role, struct wedge_scenario *s)
{
    static const char *const words[] = {"expect", "add", "replace", "unfired-ok", "cure", "plan", NULL};
    const struct wedge_check *hang = &s->checks[WEDGE_CHECK_HANG];
    struct wedge_check *check = &s->checks[role];
    const bool twin = role == WEDGE_CHECK_TWIN;
    yaml_node_t *v[6] = {NULL};
    struct wedge_strings argv = {0}, unfired = {0};
    int rc = read_map(r, node, words, v);
    if (rc)
        goto out;
    check->present = true;
    if (!v[0])
        rc = bad(r, node, "this check needs '%s'", "expect");
    else if (twin && !v[4])
        rc = bad(r, node, "a twin names its '%s'", "cure");
    else if (!twin && v[4])
        rc = bad(r, v[4], "only a twin has a '%s'", "cure");
    else if (v[5] && role != WEDGE_CHECK_HARDENED)
        rc = bad(r, v[5], "only a hardened check has a '%s' of its own", "plan");
    for (char **a = hang->argv; !rc && *a; a++)
        rc = wedge_strings_add(&argv, *a);
    if (!rc && v[2])
        rc = replace(r, v[2], &argv);
    if (!rc && v[1])
        rc = read_strings(r, v[1], &argv);
    if (!rc && same(argv.items, hang->argv)) /* it would be the hang once more */
        rc = bad(r, node, "this check changes nothing: it needs 'add' or '%s'", "replace");
    if (!rc && v[3]) {
        rc = read_strings(r, v[3], &unfired);
        check->unfired_line = (int)v[3]->start_mark.line + 1;
        check->unfired_column = (int)v[3]->start_mark.column + 1;
    }
    if (!rc && v[4])
        rc = read_text(r, v[4], &check->cure);
    if (!rc && v[5])
        rc = read_plan(r, v[5], &check->plan);
    if (!rc)
        rc = read_expect(r, v[0], &check->expect);
    if (!rc && role != WEDGE_CHECK_PROPOSED && strcmp(check->expect.kind, "finished") != 0)
        rc = bad(r, v[0], "what is cured must finish: expected 'kind: %s'", "finished");
out:
    check->argv = wedge_strings_take(&argv);
    check->unfired_ok = wedge_strings_take(&unfired);
    return rc ? rc : check->argv && check->unfired_ok ? 0 : -ENOMEM;
}

/* One or several REPOSITORY#NUMBER, so that a reader, and a test, can look each of them up. */
static int read_reference(struct reader *r, yaml_node_t *node, char **ret)
{
    int rc = read_text(r, node, ret);
    for (const char *at = rc ? "" : *ret; !rc && *at;) {
        size_t place = strcspn(at, "#, "), digits = at[place] == '#' ? strspn(at + place + 1, "0123456789") : 0;
        const char *end = at + place + 1 + digits;
        bool more = digits && strncmp(end, ", ", 2) == 0 && end[2];
        if (!place || !digits || (*end && !more))
            return bad(r, node, "expected references such as '%s', separated by ', '", "python/cpython#94777");
        at = more ? end + 2 : end;
    }
    return rc;
}

bool wedge_scenario_name_fits(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
    for (const char *part = name;; part++) {
        size_t length = strcspn(part, "/");
        if (length <= 2 && strspn(part, ".") >= length) /* none, "." and ".." */
            return false;
        part += length;
        if (!*part)
            return name[strspn(name, letters)] == '\0';
    }
}

/* What may be left out comes last. */
enum {
    FORMAT,
    NAME,
    TITLE,
    SEVERITY,
    LEARN,
    COMMAND,
    EXPECT,
    TWIN,
    ITEM,
    REFERENCE,
    PLAN,
    WITHIN,
    LIMIT,
    PATIENCE,
    PROPOSED,
    HARDENED,
    KEYS
};
static const char *const keys[KEYS + 1] = {"format", "name",     "title",    "severity",  "learn", "command",
                                           "expect", "twin",     "item",     "reference", "plan",  "within",
                                           "limit",  "patience", "proposed", "hardened",  NULL};

static int read_checks(struct reader *r, yaml_node_t **v, struct wedge_scenario *s)
{
    struct wedge_check *hang = &s->checks[WEDGE_CHECK_HANG];
    struct wedge_strings argv = {0}, none = {0};
    hang->present = true;
    int rc = read_command(r, v[COMMAND], &argv);
    hang->argv = wedge_strings_take(&argv);
    hang->unfired_ok = wedge_strings_take(&none);
    if (!rc && (!hang->argv || !hang->unfired_ok))
        rc = -ENOMEM;
    if (!rc)
        rc = read_expect(r, v[EXPECT], &hang->expect);
    if (!rc)
        rc = read_variant(r, v[TWIN], WEDGE_CHECK_TWIN, s);
    if (!rc && v[PROPOSED])
        rc = read_variant(r, v[PROPOSED], WEDGE_CHECK_PROPOSED, s);
    if (!rc && v[HARDENED])
        rc = read_variant(r, v[HARDENED], WEDGE_CHECK_HARDENED, s);
    return rc;
}

static int read_scenario(struct reader *r, struct wedge_scenario *s)
{
    static const char *const severities[] = {"severe", "medium", "low", NULL};
    yaml_node_t *root = yaml_document_get_root_node(&r->doc), *v[KEYS] = {NULL};
    if (!root)
        return wedge_err_input(r->err, r->file, 1, 1, "the file is empty");
    int rc = read_map(r, root, keys, v);
    for (int i = 0; !rc && i < ITEM; i++)
        if (!v[i] && i != TWIN)
            rc = bad(r, root, "'%s' is missing", keys[i]);
    if (!rc && !v[TWIN]) {
        rc = bad(r, root, "a scenario without a '%s' is not accepted", keys[TWIN]);
        wedge_err_remedy(r->err, "say what cures it, as in `twin: {cure: what it is, add: [--option], expect: {kind: "
                                 "finished}}`");
    }
    if (rc)
        return rc;
    if (!scalar(v[FORMAT]) || strcmp(scalar(v[FORMAT]), "wedge.scenario/1") != 0)
        return bad(r, v[FORMAT], "the format must be '%s'", "wedge.scenario/1");
    rc = read_text(r, v[NAME], &s->name);
    if (!rc && !wedge_scenario_name_fits(s->name))
        rc = bad(r, v[NAME], "a name has letters, digits and ._-/ only, and stays in its folder, not '%s'", s->name);
    if (!rc)
        rc = read_text(r, v[TITLE], &s->title);
    if (!rc && v[ITEM])
        rc = read_text(r, v[ITEM], &s->item);
    if (!rc && v[REFERENCE])
        rc = read_reference(r, v[REFERENCE], &s->reference);
    if (!rc)
        rc = read_word(r, v[SEVERITY], severities, &s->severity);
    if (!rc)
        rc = read_text(r, v[LEARN], &s->learn);
    if (!rc && v[PLAN])
        rc = read_plan(r, v[PLAN], &s->plan);
    if (!rc && v[WITHIN])
        rc = read_duration(r, v[WITHIN], &s->within_ms);
    if (!rc && v[LIMIT])
        rc = read_duration(r, v[LIMIT], &s->limit_ms);
    if (!rc && v[PATIENCE])
        rc = read_duration(r, v[PATIENCE], &s->patience_ms);
    return rc ? rc : read_checks(r, v, s);
}

/* What stood behind a second "---" would be left out without a word. */
static int read_end(struct reader *r, yaml_parser_t *parser)
{
    yaml_document_t next;
    if (!yaml_parser_load(parser, &next))
        return wedge_err_input(r->err, r->file, (int)parser->problem_mark.line + 1,
                               (int)parser->problem_mark.column + 1, "not valid YAML: %s",
                               parser->problem ? parser->problem : "unreadable");
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    int rc = root ? bad(r, root, "expected one scenario in a file, and this is a second %s", "document") : 0;
    yaml_document_delete(&next);
    return rc;
}

static FILE *open_regular(const char *file, struct wedge_err *err)
{
    struct stat st;
    FILE *in = fopen(file, "re");
    if (!in) {
        wedge_err_input(err, file, 0, 0, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    if (fstat(fileno(in), &st) || !S_ISREG(st.st_mode) || st.st_size > LARGEST_FILE) {
        wedge_err_input(err, file, 0, 0, "is not a regular file of at most 1 MiB");
        fclose(in);
        return NULL;
    }
    return in;
}

int wedge_scenario_load(const char *file, const char *build, struct wedge_scenario **ret, struct wedge_err *err)
{
    struct reader r = {.file = file, .build = build, .err = err};
    struct wedge_scenario *s = NULL;
    yaml_parser_t parser;
    FILE *in = open_regular(file, err);
    if (!in)
        return -EINVAL;
    int rc = -ENOMEM;
    if (!yaml_parser_initialize(&parser)) {
        fclose(in);
        return rc;
    }
    yaml_parser_set_input_file(&parser, in);
    if (!yaml_parser_load(&parser, &r.doc)) {
        rc = wedge_err_input(err, file, (int)parser.problem_mark.line + 1, (int)parser.problem_mark.column + 1,
                             "not valid YAML: %s", parser.problem ? parser.problem : "unreadable");
        goto out;
    }
    s = calloc(1, sizeof(*s));
    if (s && (s->file = strdup(file))) {
        s->limit_ms = 30000;
        s->patience_ms = 10000;
        rc = read_scenario(&r, s);
    }
    if (!rc)
        rc = read_end(&r, &parser);
    yaml_document_delete(&r.doc);
out:
    yaml_parser_delete(&parser);
    fclose(in);
    if (rc)
        wedge_scenario_free(s);
    else
        *ret = s;
    return rc;
}

static void free_party(struct wedge_party *party)
{
    free(party->role);
    free(party->function);
    free(party->point);
}

static void free_check(struct wedge_check *check)
{
    struct wedge_expect *e = &check->expect;
    for (size_t i = 0; i < e->n_counts; i++)
        free(e->counts[i].name);
    free(e->counts);
    free(e->kind);
    free(e->certainty);
    free(e->scope);
    free_party(&e->culprit);
    free_party(&e->victim);
    free(check->cure);
    free(check->plan.text);
    wedge_strings_free(check->argv);
    wedge_strings_free(check->unfired_ok);
}

void wedge_scenario_free(struct wedge_scenario *s)
{
    if (!s)
        return;
    for (int i = 0; i < WEDGE_CHECKS; i++)
        free_check(&s->checks[i]);
    free(s->file);
    free(s->name);
    free(s->title);
    free(s->item);
    free(s->reference);
    free(s->severity);
    free(s->learn);
    free(s->plan.text);
    free(s);
}
