/*
 * Lines of a long text, one at a time.
 *
 * A line is copied before sscanf(3) sees it: glibc's looks for the end of the whole string first (_IO_str_init_static_internal
 * in libio/strops.c calls rawmemchr), so that reading n lines in place costs n times the whole text. Measured with 60,000
 * finished connections: 30 s instead of 0.1 s.
 */
#ifndef WEDGE_DETECTOR_LINES_H
#define WEDGE_DETECTOR_LINES_H

#include <string.h>

/* Copies the beginning of the line at `at`, as much as fits, with a NUL behind it. Returns the length of the whole line
 * without its newline. */
static inline size_t wedge_line_copy(const char *at, char *ret, size_t size)
{
    size_t len = (size_t)(strchrnul(at, '\n') - at), n = len < size ? len : size - 1;
    memcpy(ret, at, n);
    ret[n] = '\0';
    return len;
}

/* Where the line behind the one at `at` begins, which is `len` long; at its NUL there is none. */
static inline const char *wedge_line_next(const char *at, size_t len)
{
    return at + len + (at[len] == '\n');
}

#endif
