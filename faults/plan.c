/*
 * Plans: lines, references between rules, and the way into the arena.
 *
 *   plan      = "plan" "1" { line }                     the first line that is neither blank nor a comment
 *   line      = [ "seed" NUMBER | rule ] [ "#" … ]      a "#" at the beginning of a word begins a comment
 *   rule      = ID who what { clause } "->" action [ "before" | "after" ]
 *   ID        = a letter, then letters, digits, "_", "-"; at most 15 bytes; each once
 *   who       = "*" | "root" | ROLE [ "[" (N | "*") "]" ] [ ".gen=" N ] | "proc[" N "]" | "thread=" NAME
 *   what      = "start" | "exit" | place | function { "," function }
 *   place     = NAME with a "." in it | "point:" NAME   a WEDGE_POINT, WEDGE_ASK or WEDGE_CALLBACK_BEGIN
 *   function  = NAME [ ":family" ]                      of faults/functions.h
 *   clause    = "nth=" N [ ".." [ N ] ] | "every=" N | "p=" 0..1 | "max=" N | "after=" condition
 *             | "time=" DURATION | "per=" ("thread" | "proc" | "tree")
 *   condition = "fired(" ID [ "," N ] ")" | "mark(" NAME [ "," N ] ")"
 *   action    = "kill" SIG | "exit" N | "stop" | "delay" DURATION | "block" | "yield" "until=" condition | "quiesce"
 *             | "errno" E | "return" V | "drop" | "full" | "empty" | "short" N | "spurious"
 *
 * Meaning, where the words do not say it:
 * - A hit is a pass of WHAT by WHO while `after` and `time` hold; `nth`, `every`, `p` and `max` count hits, per thread
 *   (functions, places) or per process (start, exit) unless `per` says otherwise. `every=2 nth=3..` is 3, 5, 7, …
 * - fired(ID,N): rule ID fired at least N times in the whole tree (default 1). mark(NAME,N): a place of that name was
 *   passed at least N times in the whole tree. `yield until=fired(own id,3)` is a meeting of three.
 * - `start` is the check-in of a process (its start, its birth by fork, or exec); with a role, the moment at which the
 *   process takes that role, since it is not known earlier. `exit` is exit, _exit, _Exit or the return of main.
 * - full, empty, drop, errno and return need a WEDGE_ASK when WHAT is a place: at any other the rule does not fire.
 * - `after` as the last word: once the function has done its work. Places and start have no effect to come after.
 * - `nth`, `after` or `time` make a rule one that must fire.
 */
#include "faults/plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/plan_internal.h"

enum { MOST_TOKENS = 32 };

int plan_error(const struct plan_source *source, int column, const char *fmt, ...)
{
    char message[sizeof(((struct wedge_err *)0)->message)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    return wedge_err_input(source->err, source->file, source->line, column, "%s", message);
}

bool plan_is(const struct plan_token *token, const char *word)
{
    return (size_t)token->len == strlen(word) && memcmp(token->at, word, (size_t)token->len) == 0;
}

bool plan_starts(const struct plan_token *token, const char *prefix)
{
    size_t n = strlen(prefix);
    return (size_t)token->len >= n && memcmp(token->at, prefix, n) == 0;
}

bool plan_number(const char *at, int len, uint64_t *ret)
{
    unsigned base = 10;
    uint64_t value = 0;
    if (len > 2 && at[0] == '0' && at[1] == 'x') {
        base = 16;
        at += 2;
        len -= 2;
    }
    if (len <= 0)
        return false;
    for (; len > 0; at++, len--) {
        unsigned digit;
        if (*at >= '0' && *at <= '9')
            digit = (unsigned)(*at - '0');
        else if (base == 16 && isxdigit((unsigned char)*at))
            digit = (unsigned)(tolower((unsigned char)*at) - 'a') + 10;
        else
            return false;
        if (value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *ret = value;
    return true;
}

bool plan_copy(const char *at, int len, char *buf, size_t size)
{
    if (len < 0 || (size_t)len >= size)
        return false;
    memcpy(buf, at, (size_t)len);
    buf[len] = 0;
    return true;
}

bool plan_is_name(const char *at, int len, bool dots)
{
    for (int i = 0; i < len; i++)
        if (!isalnum((unsigned char)at[i]) && at[i] != '_' && at[i] != '-' && !(dots && at[i] == '.'))
            return false;
    return len > 0;
}

/* Splits a line into words up to a comment. Returns their number, -EINVAL for a byte that has no place in a plan. */
static int split(const struct plan_source *source, const char *line, size_t len, struct plan_token *tokens)
{
    int n = 0;
    size_t i = 0;
    while (i < len) {
        if (line[i] == ' ' || line[i] == '\t' || line[i] == '\r') {
            i++;
            continue;
        }
        if (line[i] == '#')
            break;
        size_t begin = i;
        for (; i < len && line[i] != ' ' && line[i] != '\t' && line[i] != '\r'; i++)
            if (line[i] < 0x21 || line[i] > 0x7e)
                return plan_error(source, (int)i + 1, "byte 0x%02x has no place in a plan",
                                  (unsigned)(unsigned char)line[i]);
        if (n == MOST_TOKENS)
            return plan_error(source, (int)begin + 1, "more than %d words in one line", MOST_TOKENS);
        tokens[n++] = (struct plan_token){.at = line + begin, .len = (int)(i - begin), .column = (int)begin + 1};
    }
    return n;
}

static int parse_id(const struct plan_source *source, const struct wedge_plan *plan, const struct plan_token *token,
                    struct plan_rule *out)
{
    out->id_column = token->column;
    if (plan_is(token, "define"))
        return plan_error(source, token->column,
                          "`define` is not possible yet; a process takes a role with wedge_role() of <wedge/point.h>");
    if (!isalpha((unsigned char)token->at[0]) || !plan_is_name(token->at, token->len, false)) {
        static const char *const words[] = {"seed", "plan", NULL};
        char word[32];
        const char *near = plan_copy(token->at, token->len, word, sizeof(word)) ? wedge_err_nearest(word, words) : NULL;
        return plan_error(source, token->column,
                          "a rule begins with its id (a letter, then letters, digits, _ or -), not with `%.*s`%s%s",
                          token->len, token->at, near ? "; nearest word: " : "", near ? near : "");
    }
    if (!plan_copy(token->at, token->len, out->rule.id, sizeof(out->rule.id)))
        return plan_error(source, token->column, "id `%.*s` is longer than %d bytes", token->len, token->at,
                          WEDGE_RULE_ID_BYTES - 1);
    for (size_t i = 0; i < plan->n; i++)
        if (strcmp(plan->rules[i].rule.id, out->rule.id) == 0)
            return plan_error(source, token->column, "id `%s` is taken by line %u", out->rule.id,
                              plan->rules[i].rule.line);
    return 0;
}

static int parse_rule(const struct plan_source *source, struct wedge_plan *plan, const struct plan_token *tokens, int n,
                      const char *line, size_t len)
{
    if (plan->n == PLAN_RULES)
        return plan_error(source, tokens[0].column, "more than %u rules in one plan", PLAN_RULES);
    struct plan_rule *out = &plan->rules[plan->n];
    memset(out, 0, sizeof(*out));
    int end_column = tokens[n - 1].column + tokens[n - 1].len;

    int rc = parse_id(source, plan, &tokens[0], out);
    if (rc)
        return rc;
    int arrow = 1;
    while (arrow < n && !plan_is(&tokens[arrow], "->"))
        arrow++;
    if (arrow == n)
        return plan_error(source, end_column, "`->` and an action are missing: ID WHO WHAT [WHEN] -> ACTION");
    if (arrow < 3)
        return plan_error(source, tokens[arrow].column, "%s is missing before `->`: ID WHO WHAT [WHEN] -> ACTION",
                          arrow == 1 ? "WHO (`*`, root, role[N], proc[N], thread=NAME)"
                                     : "WHAT (a place, a function, start, exit)");
    if ((rc = plan_parse_who(source, &tokens[1], out)) || (rc = plan_parse_what(source, &tokens[2], out)))
        return rc;
    struct wedge_arena_rule *rule = &out->rule;
    bool life = rule->what == WEDGE_WHAT_START || rule->what == WEDGE_WHAT_EXIT;
    rule->per = life ? WEDGE_PER_PROC : WEDGE_PER_THREAD;
    rule->chance = UINT64_MAX;
    unsigned seen = 0;
    for (int i = 3; i < arrow; i++)
        if ((rc = plan_parse_clause(source, &tokens[i], &seen, out)))
            return rc;
    rc = plan_parse_action(source, tokens + arrow + 1, n - arrow - 1, end_column, out);
    if (rc)
        return rc;
    rule->must_fire = (seen & (PLAN_SEEN_NTH | PLAN_SEEN_AFTER | PLAN_SEEN_TIME)) != 0;
    rule->line = (uint32_t)source->line;
    while (len && isspace((unsigned char)line[len - 1]))
        len--;
    snprintf(rule->text, sizeof(rule->text), "%.*s", (int)len, line);
    plan->n++;
    return 0;
}

static int parse_seed(const struct plan_source *source, struct wedge_plan *plan, const struct plan_token *tokens, int n)
{
    int end = tokens[n - 1].column + tokens[n - 1].len;
    if (plan->has_seed)
        return plan_error(source, tokens[0].column, "the seed is given twice");
    if (n != 2)
        return plan_error(source, n < 2 ? end : tokens[2].column, "`seed` takes one number, decimal or 0x…");
    if (!plan_number(tokens[1].at, tokens[1].len, &plan->seed))
        return plan_error(source, tokens[1].column, "`%.*s` is not a number of 64 bits, decimal or 0x…", tokens[1].len,
                          tokens[1].at);
    plan->has_seed = true;
    return 0;
}

static int parse_head(const struct plan_source *source, const struct plan_token *tokens, int n)
{
    if (!plan_is(&tokens[0], "plan"))
        return plan_error(source, tokens[0].column, "a plan begins with the line `plan 1`");
    if (n != 2 || !plan_is(&tokens[1], "1"))
        return plan_error(source, n > 1 ? tokens[1].column : tokens[0].column + 4,
                          "only version 1 of the language is known: `plan 1`");
    return 0;
}

/* Fills ref of a fired() condition. A mark's name goes into the arena's table when the plan is installed. */
static int resolve(const struct plan_source *source, const struct wedge_plan *plan, const struct plan_condition *from,
                   struct wedge_rule_when *to)
{
    *to = (struct wedge_rule_when){.kind = from->kind, .count = from->count};
    if (from->kind != WEDGE_WHEN_FIRED)
        return 0;
    const char *ids[PLAN_RULES + 1];
    for (size_t i = 0; i < plan->n; i++) {
        ids[i] = plan->rules[i].rule.id;
        if (strcmp(ids[i], from->name) == 0) {
            to->ref = (uint32_t)i;
            return 0;
        }
    }
    ids[plan->n] = NULL;
    const char *near = wedge_err_nearest(from->name, ids);
    return plan_error(source, from->column, "no rule has the id `%s`%s%s", from->name, near ? "; nearest: " : "",
                      near ? near : "");
}

/* References between rules, once all are read: every id exists, and no rule waits for itself to fire. */
static int resolve_all(struct wedge_plan *plan, struct wedge_err *err)
{
    struct plan_source source = {.file = plan->file, .err = err};
    int rc;
    for (size_t i = 0; i < plan->n; i++) {
        struct plan_rule *out = &plan->rules[i];
        source.line = (int)out->rule.line;
        if ((rc = resolve(&source, plan, &out->after, &out->rule.after)) ||
            (rc = resolve(&source, plan, &out->until, &out->rule.until)))
            return rc;
        if (out->rule.until.kind == WEDGE_WHEN_FIRED && out->rule.until.ref == i && out->rule.until.count < 2)
            return plan_error(&source, out->until.column,
                              "a rule has fired when it yields: until=fired(%s) holds at once; say how often: "
                              "fired(%s,N)",
                              out->rule.id, out->rule.id);
    }
    for (size_t i = 0; i < plan->n; i++) {
        size_t at = i;
        for (size_t steps = 0; plan->rules[at].rule.after.kind == WEDGE_WHEN_FIRED; steps++) {
            at = plan->rules[at].rule.after.ref;
            if (at != i && steps < plan->n)
                continue;
            if (at != i)
                break; /* a circle further on; reported for its own members */
            source.line = (int)plan->rules[i].rule.line;
            return plan_error(&source, plan->rules[i].after.column,
                              steps == 0 ? "`%s` waits for itself to fire: it never will"
                                         : "`%s` can never fire: what it waits for waits for it",
                              plan->rules[i].rule.id);
        }
    }
    return 0;
}

static int parse_lines(struct wedge_plan *plan, const char *text, struct wedge_err *err)
{
    struct plan_source source = {.file = plan->file, .err = err};
    bool begun = false;
    for (const char *line = text; *line; line += *line == '\n') {
        source.line++;
        size_t len = strcspn(line, "\n");
        struct plan_token tokens[MOST_TOKENS] = {{.at = line}};
        int n = split(&source, line, len, tokens);
        if (n < 0)
            return n;
        int rc = 0;
        if (n && !begun) {
            rc = parse_head(&source, tokens, n);
            begun = true;
        } else if (n && plan_is(&tokens[0], "seed")) {
            rc = parse_seed(&source, plan, tokens, n);
        } else if (n && plan_is(&tokens[0], "plan")) {
            rc = plan_error(&source, tokens[0].column, "`plan` stands twice; `plan` and `seed` cannot be ids");
        } else if (n) {
            rc = parse_rule(&source, plan, tokens, n, line, len);
        }
        if (rc)
            return rc;
        line += len;
    }
    if (!begun) {
        source.line = 1;
        return plan_error(&source, 1, "an empty plan: it begins with the line `plan 1`");
    }
    return resolve_all(plan, err);
}

int wedge_plan_parse(const char *file, const char *text, struct wedge_plan **ret, struct wedge_err *err)
{
    struct wedge_plan *plan = calloc(1, sizeof(*plan));
    if (!plan)
        return wedge_err_set(err, -ENOMEM, "no memory for a plan");
    snprintf(plan->file, sizeof(plan->file), "%s", file ? file : "plan");
    int rc = parse_lines(plan, text, err);
    if (rc) {
        wedge_plan_free(plan);
        return rc;
    }
    *ret = plan;
    return 0;
}

void wedge_plan_free(struct wedge_plan *plan)
{
    free(plan);
}

size_t wedge_plan_count(const struct wedge_plan *plan)
{
    return plan->n;
}

const char *wedge_plan_id(const struct wedge_plan *plan, size_t i)
{
    return i < plan->n ? plan->rules[i].rule.id : NULL;
}

const char *wedge_plan_text(const struct wedge_plan *plan, size_t i)
{
    return i < plan->n ? plan->rules[i].rule.text : NULL;
}

bool wedge_plan_must_fire(const struct wedge_plan *plan, size_t i)
{
    return i < plan->n && plan->rules[i].rule.must_fire;
}

bool wedge_plan_has_seed(const struct wedge_plan *plan)
{
    return plan->has_seed;
}

uint64_t wedge_plan_seed(const struct wedge_plan *plan)
{
    return plan->seed;
}

int wedge_plan_install(const struct wedge_plan *plan, const struct wedge_arena *arena, struct wedge_err *err)
{
    struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    for (size_t i = 0; i < plan->n; i++) {
        const struct plan_rule *from = &plan->rules[i];
        struct wedge_arena_rule *to = wedge_arena_live(arena, WEDGE_SEC_RULES, (uint32_t)i);
        if (!to)
            return wedge_err_set(err, -ENOSPC, "the arena has no room for rule `%s`", from->rule.id);
        *to = from->rule;
        if ((from->place[0] && !(to->place = wedge_arena_name(arena, from->place))) ||
            (from->after.kind == WEDGE_WHEN_MARK && !(to->after.ref = wedge_arena_name(arena, from->after.name))) ||
            (from->until.kind == WEDGE_WHEN_MARK && !(to->until.ref = wedge_arena_name(arena, from->until.name))))
            return wedge_err_set(err, -ENOSPC, "the arena's table of names is full at rule `%s`", from->rule.id);
    }
    control->n_rules = (uint32_t)plan->n;
    for (size_t i = 0; i < plan->n; i++)
        atomic_fetch_or(&control->enabled[0][i / 64], 1ull << (i % 64));
    if (plan->has_seed)
        control->seed = plan->seed;
    return 0;
}
