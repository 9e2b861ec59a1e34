#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int fill(struct wedge_err *err, int code, enum wedge_err_class class, const char *fmt, va_list ap)
{
    if (!err)
        return code;
    memset(err, 0, sizeof(*err));
    err->code = code;
    err->class = class;
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    return code;
}

int wedge_err_set(struct wedge_err *err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(err, code, WEDGE_ERR_WORK, fmt, ap);
    va_end(ap);
    return code;
}

int wedge_err_input(struct wedge_err *err, const char *file, int line, int column, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(err, -EINVAL, WEDGE_ERR_INPUT, fmt, ap);
    va_end(ap);
    if (err) {
        snprintf(err->file, sizeof(err->file), "%s", file ? file : "");
        err->line = line;
        err->column = column;
    }
    return -EINVAL;
}

void wedge_err_remedy(struct wedge_err *err, const char *fmt, ...)
{
    if (!err)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->remedy, sizeof(err->remedy), fmt, ap);
    va_end(ap);
}

char *wedge_err_text(const struct wedge_err *err, char *buf, unsigned long size)
{
    char where[320] = "";
    if (err->file[0] && err->line && err->column)
        snprintf(where, sizeof(where), "%s:%d:%d: ", err->file, err->line, err->column);
    else if (err->file[0] && err->line)
        snprintf(where, sizeof(where), "%s:%d: ", err->file, err->line);
    else if (err->file[0])
        snprintf(where, sizeof(where), "%s: ", err->file);
    snprintf(buf, size, "%s%s%s%s", where, err->message, err->remedy[0] ? "; " : "", err->remedy);
    return buf;
}

/* Levenshtein, two rows; words longer than the rows are never near. */
static unsigned distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t la = strlen(a), lb = strlen(b);
    if (la > LONGEST || lb > LONGEST)
        return UINT_MAX;
    unsigned row[LONGEST + 1];
    for (size_t j = 0; j <= lb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[lb];
}

const char *wedge_err_nearest(const char *word, const char *const *words)
{
    const char *nearest = NULL;
    unsigned least = (unsigned)strlen(word) / 3 + 2; /* farther than this is another word */
    for (; *words; words++) {
        unsigned d = distance(word, *words);
        if (d < least) {
            least = d;
            nearest = *words;
        }
    }
    return nearest;
}
