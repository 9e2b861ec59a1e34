/*
 * A JSON tree as text, ten times as fast as jansson, which spends its time on telling whether a tree is a circle: ours are
 * made without one, or parsed. Without INDENT these are the very bytes that jansson would write.
 */
#ifndef WEDGE_REPORTS_DUMP_H
#define WEDGE_REPORTS_DUMP_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define WEDGE_DUMP_INDENT                                                                                              \
    1u /* by two blanks; an object or array of plain values stands on one line. Without it JSON_COMPACT */
#define WEDGE_DUMP_ASCII 2u /* JSON_ENSURE_ASCII */
#define WEDGE_DUMP_HTML  4u /* `<`, `>` and `&` as \u00XX: it cannot end a script element */

#define WEDGE_DUMP_MAX_BYTES ((size_t)512 << 20)

/* The text, with `tail` bytes of room behind it; the caller's to free. NULL: no memory, more than the most, or nested
 * deeper than 64. */
char *wedge_report_dump(const json_t *tree, unsigned flags, size_t tail, size_t *ret_len);

/* The tree, indented, and a line end. */
char *wedge_report_dump_lines(const json_t *tree, size_t *ret_len);

/* The same into a file. 0 or -EIO, -ENOMEM. */
int wedge_report_dump_file(const json_t *tree, FILE *out);

#endif
