/*
 * Is this tree a report? Asked of everything that did not come straight from wedge_report_new: a file, or the
 * disposable child that parsed a hostile process. What passes here a writer may rely on without looking again.
 *
 * The grammar below says for each object which fields it must have and of which type; the schema says the same to
 * others, and a test holds that both refuse the same trees.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reports/report.h"

enum type {
    TEXT,
    WORD, /* one of `words` */
    INT,
    COUNT, /* not below 0 */
    BOOL,
    NODE,
    OBJECT, /* of `of` */
    ARRAY, /* of objects `of` */
    TEXTS, /* array of texts */
    STACK, /* the number of one */
    STACKS, /* array of arrays of numbers of frames */
};

struct shape;
struct field {
    const char *name;
    enum type type;
    bool may_be_null;
    const char *const *words;
    const struct shape *of;
};
struct shape {
    const struct field *fields; /* up to a name of NULL */
};
#define SHAPE(name, ...)                                                                                               \
    static const struct field name##_fields[] = {__VA_ARGS__, {0}};                                                    \
    static const struct shape name = {name##_fields}

static const char *const edge_kinds[] = {"thread", "dead", "rule", "signal", "outside", NULL};
static const char *const needs[] = {"all", "any", NULL};
static const char *const events[] = {"started", "fault", "callback", "verdict", "ended", NULL};

SHAPE(role, {"name", TEXT}, {"index", INT}, {"generation", INT});
SHAPE(host, {"kernel", TEXT}, {"machine", TEXT}, {"cpus", INT}, {"libc", TEXT});
SHAPE(wedge, {"version", TEXT});
SHAPE(run, {"verb", TEXT, true}, {"scenario", TEXT, true}, {"preset", TEXT, true}, {"command", TEXTS, true},
      {"started", TEXT, true}, {"started_ns", INT, true}, {"duration_ms", COUNT, true}, {"seed", TEXT},
      {"exit_status", INT, true}, {"signal", INT, true}, {"agent", BOOL}, {"host", OBJECT, false, NULL, &host});
/* A dead process and a thread have these in common; the rest is looked at by party_ok. */
SHAPE(party, {"node", NODE}, {"pid", COUNT}, {"role", OBJECT, true, NULL, &role});
SHAPE(thread_party, {"tid", COUNT}, {"name", TEXT}, {"process", TEXT}, {"call", TEXT}, {"function", TEXT, true},
      {"file", TEXT, true}, {"line", INT, true});
SHAPE(dead, {"node", NODE}, {"pid", COUNT}, {"role", OBJECT, true, NULL, &role}, {"last_point", TEXT}, {"how", TEXT},
      {"rule", TEXT, true});
SHAPE(verdict, {"kind", WORD, false, wedge_verdict_words}, {"certainty", WORD, false, wedge_certainty_words},
      {"scope", WORD, false, wedge_scope_words}, {"hang", BOOL}, {"reason", TEXT}, {"assumptions", TEXTS},
      {"summary", TEXT}, {"signature", TEXT}, {"signature_roles", TEXT}, {"stuck_until_ms", INT, true},
      {"culprits", ARRAY, false, NULL, &party}, {"victims", ARRAY, false, NULL, &party});
SHAPE(frame, {"function", TEXT, true}, {"file", TEXT, true}, {"line", INT, true}, {"module", TEXT}, {"offset", TEXT},
      {"build_id", TEXT}, {"pc", TEXT}, {"inlined", BOOL}, {"signal", BOOL}, {"libc", BOOL}, {"runtime", BOOL});
SHAPE(object_shape, {"key", TEXT}, {"describe", TEXT}, {"address", TEXT, true}, {"owner_tid", INT, true},
      {"full", BOOL});
SHAPE(wait_shape, {"class", WORD, false, wedge_wait_words}, {"call", TEXT},
      {"object", OBJECT, true, NULL, &object_shape}, {"wakes_in_ms", INT, true}, {"eintr", BOOL}, {"reason", TEXT});
SHAPE(callback, {"name", TEXT}, {"function", TEXT, true}, {"for_ms", COUNT, true}, {"limit_ms", COUNT, true});
SHAPE(thread, {"node", NODE}, {"tid", COUNT}, {"name", TEXT}, {"state", TEXT}, {"live", BOOL}, {"moved", BOOL},
      {"wait", OBJECT, false, NULL, &wait_shape}, {"callback", OBJECT, true, NULL, &callback}, {"last_point", TEXT},
      {"rule", TEXT, true}, {"stack", STACK, true}, {"stack_note", TEXT}, {"stopped_us", COUNT});
SHAPE(process, {"pid", COUNT}, {"ppid", COUNT}, {"start_ticks", COUNT}, {"uid", COUNT}, {"state", TEXT}, {"comm", TEXT},
      {"exe", TEXT}, {"cmdline", TEXT}, {"root", BOOL}, {"in_tree", BOOL}, {"agent", BOOL},
      {"role", OBJECT, true, NULL, &role}, {"catches_signals", BOOL}, {"armed_timer", BOOL}, {"note", TEXT},
      {"stopped_us", COUNT}, {"threads", ARRAY, false, NULL, &thread});
SHAPE(edge, {"from", NODE}, {"to", NODE}, {"kind", WORD, false, edge_kinds}, {"need", WORD, false, needs},
      {"set", COUNT}, {"object", TEXT}, {"why", TEXT});
SHAPE(firing, {"order", COUNT}, {"at_ns", INT}, {"pid", COUNT}, {"tid", COUNT}, {"role", OBJECT, true, NULL, &role},
      {"place", TEXT});
SHAPE(fault, {"id", TEXT}, {"text", TEXT}, {"line", INT, true}, {"hits", COUNT}, {"fired", COUNT}, {"must_fire", BOOL},
      {"held_now", BOOL}, {"firings", ARRAY, false, NULL, &firing});
SHAPE(event, {"at_ns", INT}, {"at_ms", INT, true}, {"what", WORD, false, events}, {"node", NODE, true}, {"text", TEXT});
SHAPE(metrics, {"processes", COUNT}, {"threads", COUNT}, {"stuck_threads", COUNT}, {"live_threads", COUNT},
      {"dead_processes", COUNT}, {"edges", COUNT}, {"faults_fired", COUNT}, {"progress", COUNT});
SHAPE(seen, {"node", NODE}, {"pid", COUNT}, {"tid", COUNT}, {"call", TEXT}, {"when", TEXT});
SHAPE(disturbance, {"stopped", BOOL}, {"longest_stop_us", COUNT}, {"threads_stopped", COUNT},
      {"may_have_seen_eintr", ARRAY, false, NULL, &seen});
SHAPE(absent, {"pid", COUNT, true}, {"path", TEXT}, {"why", TEXT});
SHAPE(injection, {"invalid", BOOL}, {"unfired", TEXTS}, {"missed", TEXT}, {"noted", TEXT},
      {"absent", ARRAY, false, NULL, &absent}, {"more_absent", COUNT}, {"lost_processes", COUNT},
      {"lost_threads", COUNT});
SHAPE(skipped, {"pid", COUNT}, {"step", TEXT});
SHAPE(whole, {"schema", TEXT}, {"wedge", OBJECT, false, NULL, &wedge}, {"run", OBJECT, false, NULL, &run},
      {"root", COUNT, true}, {"taken_ns", INT, true}, {"verdict", OBJECT, false, NULL, &verdict},
      {"verdicts", ARRAY, false, NULL, &verdict}, {"frames", ARRAY, false, NULL, &frame}, {"stacks", STACKS},
      {"processes", ARRAY, false, NULL, &process}, {"dead", ARRAY, false, NULL, &dead},
      {"edges", ARRAY, false, NULL, &edge}, {"faults", ARRAY, false, NULL, &fault},
      {"timeline", ARRAY, false, NULL, &event}, {"metrics", OBJECT, false, NULL, &metrics},
      {"disturbance", OBJECT, false, NULL, &disturbance}, {"output", TEXTS}, {"complete", TEXT},
      {"skipped", ARRAY, false, NULL, &skipped}, {"injection", OBJECT, true, NULL, &injection});

/* Where in the tree we are, for the message. */
struct place {
    const struct place *up;
    const char *name;
    long index; /* -1 none */
};

static void where(const struct place *at, char *buf, size_t size)
{
    if (!at) {
        buf[0] = 0;
        return;
    }
    where(at->up, buf, size);
    size_t len = strlen(buf);
    if (at->index >= 0)
        snprintf(buf + len, size - len, "[%ld]", at->index);
    else
        snprintf(buf + len, size - len, "%s%s", len ? "." : "", at->name);
}

struct check {
    struct wedge_err *err;
    size_t n_frames, n_stacks;
};

static int wrong(const struct place *at, const char *what, struct check *c)
{
    char path[200];
    where(at, path, sizeof(path));
    return wedge_err_set(c->err, -EBADMSG, "not a report: %s%s%s", path[0] ? path : "the whole", " ", what);
}

static bool digits(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == 0;
}

static bool node_ok(const json_t *value)
{
    const char *s = json_string_value(value);
    if (!s)
        return false;
    return ((s[0] == 't' || s[0] == 'd') && digits(s + 1)) || strncmp(s, "r:", 2) == 0 || strcmp(s, "outside") == 0;
}

static bool word_ok(const json_t *value, const char *const *words)
{
    const char *s = json_string_value(value);
    for (; s && *words; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

static int check_object(const json_t *object, const struct shape *shape, const struct place *at, bool closed,
                        struct check *c);

/* A culprit or victim: what it has beyond a party's fields depends on whether it is a thread or dead. */
static int check_party(const json_t *value, const struct place *at, struct check *c)
{
    int rc = check_object(value, &party, at, false, c);
    const char *node = wedge_report_text(value, "node");
    if (!rc && node[0] != 't' && node[0] != 'd')
        return wrong(at, "is neither a thread nor a dead process", c);
    return rc ? rc : check_object(value, node[0] == 'd' ? &dead : &thread_party, at, false, c);
}

static bool is_number_below(const json_t *value, size_t n)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 && (json_int_t)n > json_integer_value(value);
}

static int check_stacks(const json_t *value, const struct place *at, struct check *c)
{
    size_t i, k;
    const json_t *stack, *number;
    if (!json_is_array(value))
        return wrong(at, "is not an array", c);
    json_array_foreach(value, i, stack) {
        struct place here = {at, NULL, (long)i};
        if (json_array_size(stack) == 0)
            return wrong(&here, "is not an array of frames", c);
        json_array_foreach(stack, k, number)
            if (!is_number_below(number, c->n_frames))
                return wrong(&(struct place){&here, NULL, (long)k}, "is not the number of a frame", c);
    }
    return 0;
}

static int check_array(const json_t *value, const struct field *field, const struct place *at, struct check *c)
{
    size_t i;
    const json_t *item;
    if (!json_is_array(value))
        return wrong(at, "is not an array", c);
    json_array_foreach(value, i, item) {
        struct place here = {at, NULL, (long)i};
        int rc = field->type == TEXTS  ? (json_is_string(item) ? 0 : wrong(&here, "is not a text", c))
                 : field->of == &party ? check_party(item, &here, c)
                                       : check_object(item, field->of, &here, true, c);
        if (rc)
            return rc;
    }
    return 0;
}

static int check_value(const json_t *value, const struct field *field, const struct place *at, struct check *c)
{
    if (!value)
        return wrong(at, "is missing", c);
    if (json_is_null(value) && field->may_be_null)
        return 0;
    switch (field->type) {
    case TEXT:
        return json_is_string(value) ? 0 : wrong(at, "is not a text", c);
    case WORD:
        return word_ok(value, field->words) ? 0 : wrong(at, "is not one of its words", c);
    case INT:
        return json_is_integer(value) ? 0 : wrong(at, "is not an integer", c);
    case COUNT:
        return json_is_integer(value) && json_integer_value(value) >= 0 ? 0 : wrong(at, "is not a count", c);
    case BOOL:
        return json_is_boolean(value) ? 0 : wrong(at, "is neither true nor false", c);
    case NODE:
        return node_ok(value) ? 0 : wrong(at, "is not the name of a node", c);
    case OBJECT:
        return check_object(value, field->of, at, true, c);
    case ARRAY:
    case TEXTS:
        return check_array(value, field, at, c);
    case STACK:
        return is_number_below(value, c->n_stacks) ? 0 : wrong(at, "is not the number of a stack", c);
    case STACKS:
        return check_stacks(value, at, c);
    }
    return wrong(at, "is of no known type", c);
}

/* `closed`: no other fields than those of the shape. As a rule they come in its order, and nothing has to be looked up. */
static int check_object(const json_t *object, const struct shape *shape, const struct place *at, bool closed,
                        struct check *c)
{
    json_t *o = (json_t *)object; /* jansson's iterators take no const */
    size_t n = 0;
    if (!json_is_object(object))
        return wrong(at, "is not an object", c);
    void *next = json_object_iter(o);
    for (const struct field *f = shape->fields; f->name; f++, n++) {
        struct place here = {at, f->name, -1};
        bool in_order = next && strcmp(json_object_iter_key(next), f->name) == 0;
        int rc = check_value(in_order ? json_object_iter_value(next) : json_object_get(object, f->name), f, &here, c);
        if (rc)
            return rc;
        if (in_order)
            next = json_object_iter_next(o, next);
    }
    return closed && json_object_size(object) != n ? wrong(at, "has a field that no report has", c) : 0;
}

/* Every end of an edge is declared: a thread of a process, a dead process, a rule, or the outside. */
static int check_nodes(const json_t *report, struct check *c)
{
    size_t i, j;
    const json_t *item, *inner;
    int rc = 0;
    json_t *known = json_pack("{s:b}", "outside", 1);
    json_array_foreach(json_object_get(report, "processes"), i, item)
        json_array_foreach(json_object_get(item, "threads"), j, inner)
            json_object_set_new_nocheck(known, json_string_value(json_object_get(inner, "node")), json_true());
    json_array_foreach(json_object_get(report, "dead"), i, item)
        json_object_set_new_nocheck(known, json_string_value(json_object_get(item, "node")), json_true());
    json_array_foreach(json_object_get(report, "edges"), i, item) {
        struct place edges_at = {NULL, "edges", -1}, here = {&edges_at, NULL, (long)i};
        const char *to = json_string_value(json_object_get(item, "to"));
        if (!json_object_get(known, json_string_value(json_object_get(item, "from"))) ||
            (strncmp(to, "r:", 2) != 0 && !json_object_get(known, to))) {
            rc = wrong(&here, "leads from or to nowhere", c);
            break;
        }
    }
    json_decref(known);
    return rc;
}

int wedge_report_check(const json_t *report, struct wedge_err *err)
{
    struct check c = {.err = err,
                      .n_frames = json_array_size(json_object_get(report, "frames")),
                      .n_stacks = json_array_size(json_object_get(report, "stacks"))};
    const char *schema = json_string_value(json_object_get(report, "schema"));
    if (schema && strcmp(schema, WEDGE_REPORT_SCHEMA) != 0)
        return wedge_err_set(err, -EBADMSG, "not a report of this version: schema is '%s', not '%s'", schema,
                             WEDGE_REPORT_SCHEMA);
    int rc = check_object(report, &whole, NULL, true, &c);
    if (rc)
        return rc;
    if (json_array_size(json_object_get(report, "verdicts")) == 0)
        return wedge_err_set(err, -EBADMSG, "not a report: it has no verdict");
    return check_nodes(report, &c);
}
