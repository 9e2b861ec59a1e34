/*
 * A JSON tree as it goes from the disposable child to its parent: each text and key once, numbers in few bytes. To take such a
 * message apart costs a sixth of what parsing the same tree as text does.
 *
 *   value:  'n' | 't' | 'f' | 'i' zigzag | 'r' 8 bytes of a double | 's' length bytes | '[' n value… | '{' n (key value)…
 *           | '=' number   an earlier 's', counted from 0
 *   key:    0 length bytes | number + 1           a new one, or an earlier one
 *   numbers are LEB128. Nothing stands behind the value.
 *
 * Whoever unpacks believes nothing: not that it ends, that texts are texts, nor that keys come once.
 */
#ifndef WEDGE_REPORTS_WIRE_H
#define WEDGE_REPORTS_WIRE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

/* The message, the caller's to free, and how long the tree would be as JSON_COMPACT. NULL: no memory, or nested deeper than
 * 64. The tree must not change meanwhile. */
char *wedge_wire_pack(const json_t *tree, size_t *ret_len, size_t *ret_json_bytes);
/* The tree. -EBADMSG: no such message; -ENOMEM. */
int wedge_wire_unpack(const char *data, size_t len, json_t **ret, struct wedge_err *err);

#endif
