/*
 * Building JSON without a check after every line: each put remembers a failure (no memory) and the builder asks once
 * at the end. All texts pass wedge_report_string. Used by report.c and tree.c alone.
 */
#ifndef WEDGE_REPORTS_PUT_H
#define WEDGE_REPORTS_PUT_H

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "reports/report.h"

struct wedge_put {
    bool failed; /* something is missing: the whole is to be thrown away */
};

/* Takes `value` over, in any case. */
static inline void wedge_put(struct wedge_put *p, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new_nocheck(object, key, value))
        p->failed = true;
}

static inline void wedge_put_item(struct wedge_put *p, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value))
        p->failed = true;
}

/* NULL stands as null. */
static inline void wedge_put_text(struct wedge_put *p, json_t *object, const char *key, const char *text)
{
    wedge_put(p, object, key, text ? wedge_report_string(text) : json_null());
}

/* NULL stands as "". */
static inline void wedge_put_str(struct wedge_put *p, json_t *object, const char *key, const char *text)
{
    wedge_put(p, object, key, wedge_report_string(text ? text : ""));
}

static inline void wedge_put_int(struct wedge_put *p, json_t *object, const char *key, int64_t value)
{
    wedge_put(p, object, key, json_integer(value));
}

/* null when the value is not known. */
static inline void wedge_put_int_if(struct wedge_put *p, json_t *object, const char *key, bool known, int64_t value)
{
    wedge_put(p, object, key, known ? json_integer(value) : json_null());
}

/* A counter of 64 bits; jansson's integers are signed. */
static inline void wedge_put_count(struct wedge_put *p, json_t *object, const char *key, uint64_t value)
{
    wedge_put(p, object, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

static inline void wedge_put_bool(struct wedge_put *p, json_t *object, const char *key, bool value)
{
    wedge_put(p, object, key, json_boolean(value));
}

/* By hand: there are thousands, and printf(3) takes ten times as long. */
static inline void wedge_put_hex(struct wedge_put *p, json_t *object, const char *key, uint64_t value)
{
    char text[24], *at = text + sizeof(text);
    do
        *--at = "0123456789abcdef"[value % 16];
    while (value /= 16);
    *--at = 'x';
    *--at = '0';
    wedge_put(p, object, key, json_stringn_nocheck(at, (size_t)(text + sizeof(text) - at)));
}

/* null for the role "". */
static inline void wedge_put_role(struct wedge_put *p, json_t *object, const char *name, int index, int generation)
{
    if (!name || !*name) {
        wedge_put(p, object, "role", json_null());
        return;
    }
    json_t *role = json_object();
    wedge_put_text(p, role, "name", name);
    wedge_put_int(p, role, "index", index);
    wedge_put_int(p, role, "generation", generation);
    wedge_put(p, object, "role", role);
}

#endif
