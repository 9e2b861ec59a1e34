/*
 * Between the parser of lines (plan.c), the parsers of words (plan_who.c, plan_clause.c, plan_where.c, plan_define.c,
 * plan_action.c) and what ties the lines together (plan_link.c).
 */
#ifndef WEDGE_FAULTS_PLAN_INTERNAL_H
#define WEDGE_FAULTS_PLAN_INTERNAL_H

#include "faults/plan.h"

#define PLAN_RULES      WEDGE_ARENA_RULES
#define PLAN_DEFINES    WEDGE_ARENA_DEFINES
#define PLAN_NAME_BYTES 56

/*
 * Parts of the language that the agent has to do its share for. A part whose bit is not in PLAN_POSSIBLE is refused as
 * "not possible yet"; whoever teaches the agent a part adds its bit here and takes it out of "Not possible yet" in
 * wedge-plan(5). (Which action a function allows is not here but in the function tables.)
 */
#define PLAN_PART_OBJ     WEDGE_WHERE_OBJ /* obj=, and define of objects */
#define PLAN_PART_FD      WEDGE_WHERE_FD
#define PLAN_PART_PATH    WEDGE_WHERE_PATH
#define PLAN_PART_CALLER  WEDGE_WHERE_CALLER
#define PLAN_PART_IN      WEDGE_WHERE_IN
#define PLAN_PART_ARG     WEDGE_WHERE_ARG
#define PLAN_PART_PER_OBJ 64u
#define PLAN_PART_PROCESS 128u /* define of processes */
#define PLAN_PART_FULL    256u /* full and empty at functions */
#define PLAN_PART_CORRUPT 512u
#define PLAN_PART_ALL     1023u

#define PLAN_POSSIBLE                                                                                                  \
    (PLAN_PART_OBJ | PLAN_PART_FD | PLAN_PART_PATH | PLAN_PART_CALLER | PLAN_PART_IN | PLAN_PART_ARG |                 \
     PLAN_PART_PER_OBJ | PLAN_PART_PROCESS | PLAN_PART_FULL | PLAN_PART_CORRUPT)

/* A word of a line. */
struct plan_token {
    const char *at;
    int len;
    int column; /* from 1, in bytes */
};

/* Where the parser is; errors are made from it. */
struct plan_source {
    const char *file;
    int line;
    unsigned possible; /* PLAN_PART_… */
    struct wedge_err *err;
};

/* fired(ID[,N]), mark(NAME[,N]) or ended(ROLE[,N]) before names are resolved. */
struct plan_condition {
    uint32_t kind; /* enum wedge_rule_when_kind */
    uint32_t count;
    char name[PLAN_NAME_BYTES]; /* of ended: WEDGE_ENDED_NAME and the role */
    int column;
};

struct plan_rule {
    struct wedge_arena_rule rule; /* all but place, object and the conditions' refs */
    char place[PLAN_NAME_BYTES]; /* "" none */
    char object[WEDGE_ROLE_BYTES]; /* obj=, "" none */
    struct plan_condition after, until;
    int id_column, who_column, what_column, object_column;
};

struct plan_define {
    struct wedge_arena_define define; /* all but `of` */
    char of[WEDGE_ROLE_BYTES]; /* processes: whose descendants, "" the root's */
    int line, name_column, of_column;
};

struct wedge_plan {
    char file[256];
    bool has_seed;
    uint64_t seed;
    size_t n, n_defines;
    struct plan_rule rules[PLAN_RULES];
    struct plan_define defines[PLAN_DEFINES];
};

/* wedge_plan_parse with the parts that the agent does as an argument. */
int plan_parse(const char *file, const char *text, unsigned possible, struct wedge_plan **ret, struct wedge_err *err);

/* An error at a column. Returns -EINVAL. */
int plan_error(const struct plan_source *source, int column, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, and the nearest of `words` (NULL-terminated) to the `len` bytes at `at`, where one is near. */
int plan_error_near(const struct plan_source *source, int column, const char *at, int len, const char *const *words,
                    const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* 0, or the error that `what` needs a part which the agent does not do. */
int plan_need(const struct plan_source *source, int column, unsigned part, const char *what);

bool plan_is(const struct plan_token *token, const char *word);
bool plan_starts(const struct plan_token *token, const char *prefix);
int plan_find(const struct plan_token *token, char c); /* its first place in the token; the token's length: none */
struct plan_token plan_rest(const struct plan_token *token, int from); /* the token from byte `from` on */
/* A decimal or 0x number that is the whole of [at, at+len); false when it is none or does not fit. */
bool plan_number(const char *at, int len, uint64_t *ret);
/* Copies a token's bytes; false when they do not fit. */
bool plan_copy(const char *at, int len, char *buf, size_t size);
/* Letters, digits, '_', '-' and, with `dots`, '.'. */
bool plan_is_name(const char *at, int len, bool dots);

int plan_parse_who(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out);
/* ROLE, with index and generation, of ended(); as the name under which wedge counts it. */
int plan_parse_ended(const struct plan_source *source, const struct plan_token *token, char ret_name[PLAN_NAME_BYTES]);
int plan_parse_what(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out);
int plan_parse_condition(const struct plan_source *source, const struct plan_token *token, struct plan_condition *out);
int plan_parse_duration(const struct plan_source *source, const struct plan_token *token, int64_t *ret_ns);

/* One clause of WHERE or WHEN. `seen` collects which were given, one bit each. */
int plan_parse_clause(const struct plan_source *source, const struct plan_token *token, unsigned *seen,
                      struct plan_rule *out);
/* Does what was `seen` make the rule one that must fire? */
bool plan_must_fire(unsigned seen);

/* The values of WHERE's clauses; `value` is what stands after "=". */
int plan_parse_object(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out);
int plan_parse_fd(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out);
/* The agent knows no classes of characters: [:alpha:] and the like. */
int plan_check_pattern(const struct plan_source *source, const struct plan_token *value);
int plan_parse_path(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out);
int plan_parse_caller(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out);
int plan_parse_in(const struct plan_source *source, const struct plan_token *value, struct plan_rule *out);
/* argN<op>V, the whole word. */
int plan_parse_arg(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out);
/* [MODULE!]FUNCTION. */
int plan_parse_symbol(const struct plan_source *source, const struct plan_token *value, char module[static 40],
                      char function[static 56]);
/* A constant of the system's headers by its name: O_NONBLOCK, EINTR, SIGTERM, … */
bool plan_constant(const char *name, int64_t *ret);
bool plan_errno(const char *name, int64_t *ret);
/* The constants that are neither errnos nor signals, NULL-terminated, for the nearest one. */
const char *const *plan_constants(void);

/* The first function of a rule, by its number in the tables from `from` on; WEDGE_FN_COUNT: no more. */
size_t plan_next_function(const struct plan_rule *rule, size_t from);
/* Is the function about an object that is there when it is called? */
bool plan_has_object(const struct wedge_function_row *row);

/* A line that begins with `define`. */
int plan_parse_define(const struct plan_source *source, struct wedge_plan *plan, const struct plan_token *tokens,
                      int n);
/* The word for a kind of object, of a define; of what a function is about: wedge_plan_kind_word. */
const char *plan_define_word(const struct wedge_arena_define *define);

/* The words after "->", and whether WHAT allows them. `end_column` is just past the line's last word. */
int plan_parse_action(const struct plan_source *source, const struct plan_token *tokens, int n, int end_column,
                      struct plan_rule *out);
/* What a function's row must have for an action; 0: nothing, any function will do. */
unsigned plan_action_extra(enum wedge_rule_action action);
/* The part of the language (PLAN_PART_…) that an action at a function belongs to; 0: one that was always there. */
unsigned plan_action_part(enum wedge_rule_action action);

/* References between lines, once all are read: every name exists and is of the right sort, none is idle, and nothing
 * waits for itself. */
int plan_link(const struct plan_source *source, struct wedge_plan *plan);

#endif
