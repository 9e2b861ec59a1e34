/* Between the parser of lines (plan.c) and the parsers of words (plan_words.c, plan_action.c). */
#ifndef WEDGE_FAULTS_PLAN_INTERNAL_H
#define WEDGE_FAULTS_PLAN_INTERNAL_H

#include "faults/plan.h"

#define PLAN_RULES      WEDGE_ARENA_RULES
#define PLAN_NAME_BYTES 56

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
    struct wedge_err *err;
};

/* fired(ID[,N]) or mark(NAME[,N]) before names are resolved. */
struct plan_condition {
    uint32_t kind; /* enum wedge_rule_when_kind */
    uint32_t count;
    char name[PLAN_NAME_BYTES];
    int column;
};

struct plan_rule {
    struct wedge_arena_rule rule; /* all but place and the conditions' refs */
    char place[PLAN_NAME_BYTES]; /* "" none */
    struct plan_condition after, until;
    int id_column, what_column;
};

struct wedge_plan {
    char file[256];
    bool has_seed;
    uint64_t seed;
    size_t n;
    struct plan_rule rules[PLAN_RULES];
};

/* An error at a word, or at byte `offset` of it. Returns -EINVAL. */
int plan_error(const struct plan_source *source, int column, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

bool plan_is(const struct plan_token *token, const char *word);
bool plan_starts(const struct plan_token *token, const char *prefix);
/* A decimal or 0x number that is the whole of [at, at+len); false when it is none or does not fit. */
bool plan_number(const char *at, int len, uint64_t *ret);
/* Copies a token's bytes; false when they do not fit. */
bool plan_copy(const char *at, int len, char *buf, size_t size);
/* Letters, digits, '_', '-' and, with `dots`, '.'. */
bool plan_is_name(const char *at, int len, bool dots);

int plan_parse_who(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out);
int plan_parse_what(const struct plan_source *source, const struct plan_token *token, struct plan_rule *out);
int plan_parse_condition(const struct plan_source *source, const char *at, int len, int column,
                         struct plan_condition *out);
/* nth=, every=, p=, max=, after=, time=, per=. `seen` collects which were given, one bit each. */
int plan_parse_clause(const struct plan_source *source, const struct plan_token *token, unsigned *seen,
                      struct plan_rule *out);
#define PLAN_SEEN_NTH   1u
#define PLAN_SEEN_EVERY 2u
#define PLAN_SEEN_P     4u
#define PLAN_SEEN_MAX   8u
#define PLAN_SEEN_AFTER 16u
#define PLAN_SEEN_TIME  32u
#define PLAN_SEEN_PER   64u

/* The words after "->", and whether WHAT allows them. `end_column` is just past the line's last word. */
int plan_parse_action(const struct plan_source *source, const struct plan_token *tokens, int n, int end_column,
                      struct plan_rule *out);

#endif
