/*
 * Lines that begin with `define`: names for objects, by how and where they are made, and for processes, by what they
 * descend from and run. The grammar is in plan.c.
 */
#include <ctype.h>
#include <string.h>

#include "faults/plan_internal.h"

/* The words for kinds of objects, and whether a path leads to one. */
static const struct {
    const char *word;
    enum wedge_object_kind kind;
    enum wedge_define_made made;
    bool path;
} kinds[] = {
    {"pipe", WEDGE_OBJECT_FD, WEDGE_MADE_PIPE, false},
    {"socket", WEDGE_OBJECT_FD, WEDGE_MADE_SOCKET, false},
    {"file", WEDGE_OBJECT_FD, WEDGE_MADE_FILE, true},
    {"eventfd", WEDGE_OBJECT_FD, WEDGE_MADE_EVENTFD, false},
    {"timerfd", WEDGE_OBJECT_FD, WEDGE_MADE_TIMERFD, false},
    {"signalfd", WEDGE_OBJECT_FD, WEDGE_MADE_SIGNALFD, false},
    {"epoll", WEDGE_OBJECT_FD, WEDGE_MADE_EPOLL, false},
    {"mqueue", WEDGE_OBJECT_FD, WEDGE_MADE_MQUEUE, true},
    {"fd", WEDGE_OBJECT_FD, WEDGE_MADE_ANY, true},
    {"mutex", WEDGE_OBJECT_MUTEX, WEDGE_MADE_ANY, false},
    {"cond", WEDGE_OBJECT_COND, WEDGE_MADE_ANY, false},
    {"rwlock", WEDGE_OBJECT_RWLOCK, WEDGE_MADE_ANY, false},
    {"barrier", WEDGE_OBJECT_BARRIER, WEDGE_MADE_ANY, false},
    {"spin", WEDGE_OBJECT_SPIN, WEDGE_MADE_ANY, false},
    {"once", WEDGE_OBJECT_ONCE, WEDGE_MADE_ANY, false},
    {"sem", WEDGE_OBJECT_SEM, WEDGE_MADE_ANY, false},
    {"mapping", WEDGE_OBJECT_MAPPING, WEDGE_MADE_ANY, false},
    {"thread", WEDGE_OBJECT_THREAD, WEDGE_MADE_ANY, false},
    {"semset", WEDGE_OBJECT_SEMSET, WEDGE_MADE_ANY, false},
    {"msgqueue", WEDGE_OBJECT_MSGQUEUE, WEDGE_MADE_ANY, false},
    {"segment", WEDGE_OBJECT_SEGMENT, WEDGE_MADE_ANY, false},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

const char *plan_define_word(const struct wedge_arena_define *define)
{
    for (unsigned i = 0; i < KINDS; i++)
        if (define->kind == (uint32_t)kinds[i].kind && define->made == (uint32_t)kinds[i].made)
            return kinds[i].word;
    return "object";
}

const char *wedge_plan_kind_word(enum wedge_object_kind kind)
{
    static const char *const words[WEDGE_OBJECT_COUNT] = {
        [WEDGE_OBJECT_NONE] = "no object",  [WEDGE_OBJECT_FD] = "descriptor",   [WEDGE_OBJECT_MUTEX] = "mutex",
        [WEDGE_OBJECT_COND] = "cond",       [WEDGE_OBJECT_RWLOCK] = "rwlock",   [WEDGE_OBJECT_BARRIER] = "barrier",
        [WEDGE_OBJECT_SPIN] = "spin",       [WEDGE_OBJECT_ONCE] = "once",       [WEDGE_OBJECT_SEM] = "sem",
        [WEDGE_OBJECT_WORD] = "futex word", [WEDGE_OBJECT_MAPPING] = "mapping", [WEDGE_OBJECT_THREAD] = "thread",
        [WEDGE_OBJECT_PROCESS] = "process", [WEDGE_OBJECT_SEMSET] = "semset",   [WEDGE_OBJECT_MSGQUEUE] = "msgqueue",
        [WEDGE_OBJECT_SEGMENT] = "segment",
    };
    return kind < WEDGE_OBJECT_COUNT && words[kind] ? words[kind] : "object";
}

static int parse_name(const struct plan_source *source, const struct wedge_plan *plan, const struct plan_token *token,
                      struct plan_define *out)
{
    out->name_column = token->column;
    if (!isalpha((unsigned char)token->at[0]) || !plan_is_name(token->at, token->len, false))
        return plan_error(source, token->column,
                          "`%.*s` is not a name to define: a letter, then letters, digits, _ or -", token->len,
                          token->at);
    if (plan_is(token, "root") || plan_is(token, "proc") || plan_is(token, "thread"))
        return plan_error(source, token->column, "`%.*s` has a meaning of its own as WHO", token->len, token->at);
    if (!plan_copy(token->at, token->len, out->define.name, sizeof(out->define.name)))
        return plan_error(source, token->column, "a name to define has at most %zu bytes",
                          sizeof(out->define.name) - 1);
    for (size_t i = 0; i < plan->n_defines; i++)
        if (strcmp(plan->defines[i].define.name, out->define.name) == 0)
            return plan_error(source, token->column, "`%s` is defined by line %d", out->define.name,
                              plan->defines[i].line);
    return 0;
}

static int parse_nth(const struct plan_source *source, const struct plan_token *value, struct plan_define *out)
{
    uint64_t number;
    if (!plan_number(value->at, value->len, &number) || number == 0 || number > UINT32_MAX)
        return plan_error(source, value->column, "`%.*s` is not a match: nth=2 is the second one; all without nth",
                          value->len, value->at);
    out->define.nth = (uint32_t)number;
    return 0;
}

static int parse_text(const struct plan_source *source, const struct plan_token *value, char *buf, size_t size)
{
    if (!plan_copy(value->at, value->len, buf, size))
        return plan_error(source, value->column, "a pattern has at most %zu bytes here", size - 1);
    return plan_check_pattern(source, value);
}

static int parse_path(const struct plan_source *source, const struct plan_token *value, struct plan_define *out)
{
    for (unsigned i = 0; i < KINDS; i++)
        if (out->define.kind == (uint32_t)kinds[i].kind && out->define.made == (uint32_t)kinds[i].made &&
            !kinds[i].path)
            return plan_error(source, value->column - 5,
                              "a %s is not made by a path; possible: created-in=, nth=", kinds[i].word);
    return parse_text(source, value, out->define.exe, sizeof(out->define.exe));
}

static int parse_exe(const struct plan_source *source, const struct plan_token *value, struct plan_define *out)
{
    return parse_text(source, value, out->define.exe, sizeof(out->define.exe));
}

static int parse_comm(const struct plan_source *source, const struct plan_token *value, struct plan_define *out)
{
    return parse_text(source, value, out->define.comm, sizeof(out->define.comm));
}

static int parse_created_in(const struct plan_source *source, const struct plan_token *value, struct plan_define *out)
{
    return plan_parse_symbol(source, value, out->define.module, out->define.function);
}

enum { CLAUSES = 5, OBJECT = 1u << WEDGE_DEFINE_OBJECT, PROCESS = 1u << WEDGE_DEFINE_PROCESS };
static const struct {
    const char *key;
    unsigned of; /* OBJECT | PROCESS */
    int (*parse)(const struct plan_source *source, const struct plan_token *value, struct plan_define *out);
} clauses[CLAUSES] = {{"created-in", OBJECT, parse_created_in},
                      {"path", OBJECT, parse_path},
                      {"nth", OBJECT | PROCESS, parse_nth},
                      {"exe", PROCESS, parse_exe},
                      {"comm", PROCESS, parse_comm}};

static int parse_clause(const struct plan_source *source, const struct plan_token *token, unsigned *seen,
                        struct plan_define *out)
{
    const char *words[CLAUSES + 1];
    bool object = out->define.what == WEDGE_DEFINE_OBJECT;
    unsigned which = 0, n = 0;
    struct plan_token key = *token;
    key.len = plan_find(token, '=');
    while (which < CLAUSES && !(plan_is(&key, clauses[which].key) && (clauses[which].of & 1u << out->define.what)))
        which++;
    if (which == CLAUSES) {
        for (unsigned i = 0; i < CLAUSES; i++)
            if (clauses[i].of & 1u << out->define.what)
                words[n++] = clauses[i].key;
        words[n] = NULL;
        return plan_error_near(source, token->column, token->at, key.len, words,
                               object ? "`%.*s` is no clause of an object; possible: created-in= path= nth="
                                      : "`%.*s` is no clause of processes; possible: exe= comm= nth=",
                               token->len, token->at);
    }
    if (key.len + 1 >= token->len)
        return plan_error(source, token->column + token->len, "a value is missing after `%s`", clauses[which].key);
    if (*seen & 1u << which)
        return plan_error(source, token->column, "`%s=` is given twice", clauses[which].key);
    *seen |= 1u << which;
    struct plan_token value = plan_rest(token, key.len + 1);
    return clauses[which].parse(source, &value, out);
}

/* "KIND" or "descendant of WHO", from tokens[3] on; *ret_next is the first clause. */
static int parse_kind(const struct plan_source *source, const struct plan_token *tokens, int n, int end_column,
                      struct plan_define *out, int *ret_next)
{
    const char *words[KINDS + 2];
    for (unsigned i = 0; i < KINDS; i++) {
        words[i] = kinds[i].word;
        if (!plan_is(&tokens[3], kinds[i].word))
            continue;
        out->define.what = WEDGE_DEFINE_OBJECT;
        out->define.kind = kinds[i].kind;
        out->define.made = kinds[i].made;
        *ret_next = 4;
        return plan_need(source, tokens[3].column, PLAN_PART_OBJ, "define of an object");
    }
    words[KINDS] = "descendant";
    words[KINDS + 1] = NULL;
    if (!plan_is(&tokens[3], "descendant"))
        return plan_error_near(source, tokens[3].column, tokens[3].at, tokens[3].len, words,
                               "`%.*s` is nothing to define; possible: descendant of WHO, pipe, socket, file, eventfd, "
                               "timerfd, signalfd, epoll, mqueue, fd, mutex, cond, rwlock, barrier, spin, once, sem, "
                               "mapping, thread, semset, msgqueue, segment",
                               tokens[3].len, tokens[3].at);
    if (n < 5 || !plan_is(&tokens[4], "of"))
        return plan_error(source, n < 5 ? end_column : tokens[4].column, "descendant of whom? descendant of root");
    if (n < 6)
        return plan_error(source, end_column, "descendant of whom? root, or the name of another define");
    out->of_column = tokens[5].column;
    if (!plan_is_name(tokens[5].at, tokens[5].len, false))
        return plan_error(source, tokens[5].column, "`%.*s`: possible: root, or the name of another define",
                          tokens[5].len, tokens[5].at);
    if (!plan_is(&tokens[5], "root") && !plan_copy(tokens[5].at, tokens[5].len, out->of, sizeof(out->of)))
        return plan_error(source, tokens[5].column, "a defined name has at most %zu bytes", sizeof(out->of) - 1);
    out->define.what = WEDGE_DEFINE_PROCESS;
    *ret_next = 6;
    return plan_need(source, tokens[3].column, PLAN_PART_PROCESS, "define of processes");
}

int plan_parse_define(const struct plan_source *source, struct wedge_plan *plan, const struct plan_token *tokens, int n)
{
    int end_column = tokens[n - 1].column + tokens[n - 1].len, next = n, rc;
    unsigned seen = 0;
    if (plan->n_defines == PLAN_DEFINES)
        return plan_error(source, tokens[0].column, "more than %u defines in one plan", PLAN_DEFINES);
    struct plan_define *out = &plan->defines[plan->n_defines];
    memset(out, 0, sizeof(*out));
    out->line = source->line;
    if (n < 2)
        return plan_error(source, end_column, "`define` takes a name: define NAME = KIND …");
    if ((rc = parse_name(source, plan, &tokens[1], out)))
        return rc;
    if (n < 3 || !plan_is(&tokens[2], "="))
        return plan_error(source, n < 3 ? end_column : tokens[2].column, "`=` is missing, with a blank on both sides");
    if (n < 4)
        return plan_error(source, end_column, "define %s as what? A kind of object, or descendant of WHO",
                          out->define.name);
    if ((rc = parse_kind(source, tokens, n, end_column, out, &next)))
        return rc;
    for (; next < n; next++)
        if ((rc = parse_clause(source, &tokens[next], &seen, out)))
            return rc;
    plan->n_defines++;
    return 0;
}
