/*
 * Plans: lines and what they are made of. The other half of the grammar's words is read by plan_who.c (WHO, WHAT),
 * plan_clause.c (WHEN), plan_where.c (WHERE), plan_define.c and plan_action.c; plan_link.c ties the lines together.
 *
 *   plan      = "plan" "1" { line }                     the first line that is neither blank nor a comment
 *   line      = [ "seed" NUMBER | define | rule ] [ "#" … ]  a "#" at the beginning of a word begins a comment
 *   rule      = ID who what { where | when } "->" action [ "before" | "after" ]
 *   ID        = a letter, then letters, digits, "_", "-"; at most 15 bytes; each once
 *   who       = "*" | "root" | ROLE [ "[" (N | "*") "]" ] [ ".gen=" N ] | "proc[" N "]" | "thread=" NAME
 *   what      = "start" | "exit" | place | function { "," function }
 *   place     = NAME with a "." in it | "point:" NAME   a WEDGE_POINT, WEDGE_ASK or WEDGE_CALLBACK_BEGIN
 *   function  = NAME [ ":family" ]                      of faults/functions.h
 *   where     = "obj=" NAME | "fd=" N | "path=" GLOB | "caller=" symbol | "in=" symbol | "arg" N op value
 *   symbol    = [ MODULE "!" ] FUNCTION                 MODULE: a file's name without its folder
 *   op        = "==" | "!=" | "<" | "<=" | ">" | ">=" | "&"       "&": all bits of value are set
 *   value     = one { "|" one }      one = [ "-" ] NUMBER | a constant's name, such as O_NONBLOCK, SIGTERM, EINTR
 *   when      = "nth=" N [ ".." [ N ] ] | "every=" N | "p=" 0..1 | "max=" N | "after=" condition
 *             | "time=" DURATION | "per=" ("thread" | "proc" | "obj" | "tree")
 *   condition = "fired(" ID [ "," N ] ")" | "mark(" NAME [ "," N ] ")"
 *   action    = "kill" SIG | "exit" N | "stop" | "delay" DURATION | "block" | "yield" "until=" condition | "quiesce"
 *             | "errno" E | "return" V | "drop" | "full" | "empty" | "short" N | "spurious" | "corrupt"
 *   define    = "define" NAME "=" ( objects | processes )         each NAME once
 *   objects   = KIND { "created-in=" symbol | "path=" GLOB | "nth=" N }
 *   KIND      = "pipe" | "socket" | "file" | "eventfd" | "timerfd" | "signalfd" | "epoll" | "mqueue" | "fd" | "mutex"
 *             | "cond" | "rwlock" | "barrier" | "spin" | "once" | "sem" | "mapping" | "thread" | "semset"
 *             | "msgqueue" | "segment"
 *   processes = "descendant" "of" ( "root" | NAME ) { "exe=" GLOB | "comm=" GLOB | "nth=" N }
 *
 * Meaning, where the words do not say it:
 * - A hit is a pass of WHAT by WHO at WHERE while `after` and `time` hold. `nth`, `every`, `p` and `max` count hits and
 *   firings of each thread apart (functions, places) or of each process (start, exit) unless `per` says otherwise: with
 *   `nth=1 max=1` each thread has its one; with per=tree there is one in all. `every=2 nth=3..` is 3, 5, 7, …
 * - per=obj: counted for each object that the call is about, whoever calls.
 * - fired(ID,N): rule ID fired at least N times in the whole tree (default 1). mark(NAME,N): a place of that name was
 *   passed at least N times in the whole tree. `yield until=fired(own id,3)` is a meeting of three.
 * - `start` is the check-in of a process (its start, its birth by fork, or exec); with a role, the moment at which the
 *   process takes that role, since it is not known earlier. `exit` is exit, _exit, _Exit or the return of main.
 * - `define NAME` of processes makes NAME a role: its index is the number of the match. Of objects: NAME stands for
 *   those that match, in the order in which they are made in the whole tree; nth=N only the Nth.
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

int plan_error_near(const struct plan_source *source, int column, const char *at, int len, const char *const *words,
                    const char *fmt, ...)
{
    char message[sizeof(((struct wedge_err *)0)->message)], word[PLAN_NAME_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    const char *near = plan_copy(at, len, word, sizeof(word)) ? wedge_err_nearest(word, words) : NULL;
    return wedge_err_input(source->err, source->file, source->line, column, "%s%s%s", message,
                           near ? "; nearest: " : "", near ? near : "");
}

int plan_need(const struct plan_source *source, int column, unsigned part, const char *what)
{
    return (source->possible & part) ? 0 : plan_error(source, column, "%s is not possible yet", what);
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

int plan_find(const struct plan_token *token, char c)
{
    const char *at = memchr(token->at, c, (size_t)token->len);
    return at ? (int)(at - token->at) : token->len;
}

struct plan_token plan_rest(const struct plan_token *token, int from)
{
    return (struct plan_token){.at = token->at + from, .len = token->len - from, .column = token->column + from};
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
    static const char *const words[] = {"seed", "plan", "define", NULL};
    out->id_column = token->column;
    if (!isalpha((unsigned char)token->at[0]) || !plan_is_name(token->at, token->len, false))
        return plan_error_near(source, token->column, token->at, token->len, words,
                               "a rule begins with its id (a letter, then letters, digits, _ or -), not with `%.*s`",
                               token->len, token->at);
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
        return plan_error(source, end_column, "`->` and an action are missing: ID WHO WHAT [WHERE] [WHEN] -> ACTION");
    if (arrow < 3)
        return plan_error(
            source, tokens[arrow].column, "%s is missing before `->`: ID WHO WHAT [WHERE] [WHEN] -> ACTION",
            arrow == 1 ? "WHO (`*`, root, role[N], proc[N], thread=NAME)" : "WHAT (a place, a function, start, exit)");
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
    rule->must_fire = plan_must_fire(seen);
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

static int parse_lines(struct wedge_plan *plan, const char *text, unsigned possible, struct wedge_err *err)
{
    struct plan_source source = {.file = plan->file, .possible = possible, .err = err};
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
        } else if (n && plan_is(&tokens[0], "define")) {
            rc = plan_parse_define(&source, plan, tokens, n);
        } else if (n && plan_is(&tokens[0], "plan")) {
            rc = plan_error(&source, tokens[0].column, "`plan` stands twice; plan, seed and define cannot be ids");
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
    return plan_link(&source, plan);
}

int plan_parse(const char *file, const char *text, unsigned possible, struct wedge_plan **ret, struct wedge_err *err)
{
    struct wedge_plan *plan = calloc(1, sizeof(*plan));
    if (!plan)
        return wedge_err_set(err, -ENOMEM, "no memory for a plan");
    snprintf(plan->file, sizeof(plan->file), "%s", file ? file : "plan");
    int rc = parse_lines(plan, text, possible, err);
    if (rc) {
        wedge_plan_free(plan);
        return rc;
    }
    *ret = plan;
    return 0;
}

int wedge_plan_parse(const char *file, const char *text, struct wedge_plan **ret, struct wedge_err *err)
{
    return plan_parse(file, text, PLAN_POSSIBLE, ret, err);
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

bool wedge_plan_excuse(struct wedge_plan *plan, const char *id)
{
    bool found = false;
    for (size_t i = 0; i < plan->n; i++)
        if (strcmp(plan->rules[i].rule.id, id) == 0) {
            plan->rules[i].rule.must_fire = 0;
            found = true;
        }
    return found;
}

bool wedge_plan_has_seed(const struct wedge_plan *plan)
{
    return plan->has_seed;
}

uint64_t wedge_plan_seed(const struct wedge_plan *plan)
{
    return plan->seed;
}
