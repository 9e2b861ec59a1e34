/*
 * A JSON tree as text, for trees in which the same part stands many times: the stack of a thousand threads is composed once and
 * copied. (jansson itself spends most of its time on telling whether a tree is a circle; ours are made without one, or
 * parsed.) Without INDENT these are the very bytes that jansson would write.
 */
#ifndef WEDGE_REPORTS_DUMP_H
#define WEDGE_REPORTS_DUMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/uio.h>

#define WEDGE_DUMP_INDENT                                                                                              \
    1u /* by two blanks; an object or array of plain values stands on one line. Without it JSON_COMPACT */
#define WEDGE_DUMP_ASCII 2u /* JSON_ENSURE_ASCII */
#define WEDGE_DUMP_HTML  4u /* `<`, `>` and `&` as \u00XX: it cannot end a script element */

#define WEDGE_DUMP_MAX_BYTES ((size_t)512 << 20)

/* The text, with `tail` bytes of room behind it; the caller's to free. NULL: no memory, more than the most, or nested
 * deeper than 64. A part is recognised by its address: it must not change meanwhile. */
char *wedge_report_dump(const json_t *tree, unsigned flags, size_t tail, size_t *ret_len);

/* The same text where it lies, for a writer: what stands many times was composed once. 136 stacks of a tree of 8 x 17 threads are
 * 1.4 MB as text and 0.25 MB composed. */
struct wedge_dump_text {
    char *data; /* what was composed */
    size_t composed;
    struct iovec *parts; /* the text: pieces of `data`, one behind the other */
    size_t n;
    size_t len; /* of all of them */
};
/* `end` stands behind the tree. False: as with wedge_report_dump. */
bool wedge_report_dump_text(const json_t *tree, unsigned flags, const char *end, struct wedge_dump_text *ret);
void wedge_report_dump_text_free(struct wedge_dump_text *text); /* takes one that is empty */

/* The tree, indented, and a line end. 0 or -EIO. */
int wedge_report_dump_file(const json_t *tree, FILE *out);

#endif
