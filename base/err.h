/*
 * Errors: a negative errno as the return value, and what to tell a person in a struct wedge_err.
 * Nothing here allocates. Libraries never print; the command line prints the message once, with the remedy.
 */
#ifndef WEDGE_BASE_ERR_H
#define WEDGE_BASE_ERR_H

#include <stdbool.h>

/* Which exit status of design.md an error leads to. */
enum wedge_err_class {
    WEDGE_ERR_WORK, /* 3: could not do its work */
    WEDGE_ERR_INPUT, /* 2: bad usage or input */
};

struct wedge_err {
    int code; /* negative errno, 0 none */
    enum wedge_err_class class;
    char file[256]; /* input file, "" none */
    int line, column; /* from 1; 0 not known */
    char message[512];
    char remedy[256]; /* what to do next, "" none */
};

/* Each fills *err (which may be NULL); the first two return `code`, so that a caller can `return wedge_err_…(…)`. */
int wedge_err_set(struct wedge_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int wedge_err_input(struct wedge_err *err, const char *file, int line, int column, const char *fmt, ...)
    __attribute__((format(printf, 5, 6))); /* returns -EINVAL */
/* Adds a remedy to an error already set; its code the caller knows, also where there is no *err. */
void wedge_err_remedy(struct wedge_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One line: "file:line:column: message; remedy". Writes at most `size` bytes with the NUL; returns buf. */
char *wedge_err_text(const struct wedge_err *err, char *buf, unsigned long size);

/* The nearest of `words` (NULL-terminated) to `word` by edit distance, or NULL when none is near. */
const char *wedge_err_nearest(const char *word, const char *const *words);

#endif
