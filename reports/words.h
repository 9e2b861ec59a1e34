/* What the words of a verdict mean, for somebody who meets them for the first time. The same in every writer. */
#ifndef WEDGE_REPORTS_WORDS_H
#define WEDGE_REPORTS_WORDS_H

struct wedge_word {
    const char *word; /* as in the model: "lock-cycle" */
    const char *title; /* "Lock cycle" */
    const char *means; /* one plain sentence */
    const char *next; /* kinds only: where to look, what usually cures it; "" nothing to do */
};

/* Each returns an entry with empty texts and the word itself for a word it does not know. */
struct wedge_word wedge_word_kind(const char *kind);
struct wedge_word wedge_word_certainty(const char *certainty);
struct wedge_word wedge_word_scope(const char *scope, const char *certainty); /* a suspicion claims less */
struct wedge_word wedge_word_assumption(const char *assumption);

#endif
