#include "reports/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64, WIDEST_ESCAPE = 12 };

struct dump {
    char *data;
    size_t len, cap, tail;
    unsigned flags;
    bool failed;
};

static bool grow(struct dump *d, size_t more)
{
    size_t cap = d->cap ? d->cap : 65536;
    if (d->failed || more > WEDGE_DUMP_MAX_BYTES - d->len)
        d->failed = true;
    while (!d->failed && cap < d->len + more + d->tail)
        cap *= 2;
    char *data = d->failed ? NULL : realloc(d->data, cap);
    if (!data) {
        d->failed = true;
        return false;
    }
    d->data = data;
    d->cap = cap;
    return true;
}

/* `cap` is at most twice the most: what fits is not too much. */
static inline bool room(struct dump *d, size_t more)
{
    return (!d->failed && d->len + more + d->tail <= d->cap && d->len + more <= WEDGE_DUMP_MAX_BYTES) || grow(d, more);
}

static inline void put(struct dump *d, const char *bytes, size_t len)
{
    if (!room(d, len))
        return;
    memcpy(d->data + d->len, bytes, len);
    d->len += len;
}

static void line_end(struct dump *d, int depth)
{
    static const char blanks[] = "\n                                                                "
                                 "                                                                ";
    if (d->flags & WEDGE_DUMP_INDENT)
        put(d, blanks, 1 + 2 * (size_t)depth);
}

/* Length of the UTF-8 sequence at `s` (jansson has checked that it is one), and its character. */
static size_t decode(const unsigned char *s, uint32_t *ret)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3fu);
    *ret = c;
    return n;
}

/* Escapes the character at `s`. Returns the bytes that it took. */
static size_t escape(struct dump *d, const unsigned char *s)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    char text[WIDEST_ESCAPE + 1];
    uint32_t c;
    size_t n = decode(s, &c);
    const char *known = c < 0x80 && c ? strchr(plain, (int)c) : NULL;
    int len;
    if (known)
        len = snprintf(text, sizeof(text), "\\%c", letters[known - plain]);
    else if (c > 0xffff)
        len = snprintf(text, sizeof(text), "\\u%04X\\u%04X", 0xd800 | ((c - 0x10000) >> 10 & 0x3ff),
                       0xdc00 | ((c - 0x10000) & 0x3ff));
    else
        len = snprintf(text, sizeof(text), c == '<' || c == '>' || c == '&' ? "\\u%04x" : "\\u%04X", c);
    put(d, text, (size_t)len);
    return n;
}

/* What a byte is: whether it must be escaped, always or by the flags. */
enum { PLAIN, ALWAYS = 1, IF_ASCII = 2, IF_HTML = 4 };
static const unsigned char class_of[256] = {[0 ... 31] = ALWAYS,     ['"'] = ALWAYS,  ['\\'] = ALWAYS,
                                            ['<'] = IF_HTML,         ['>'] = IF_HTML, ['&'] = IF_HTML,
                                            [128 ... 255] = IF_ASCII};

static void put_string(struct dump *d, const char *s, size_t len)
{
    const unsigned char *at = (const unsigned char *)s, *end = at + len;
    const unsigned escaped =
        ALWAYS | (d->flags & WEDGE_DUMP_ASCII ? IF_ASCII : 0u) | (d->flags & WEDGE_DUMP_HTML ? IF_HTML : 0u);
    if (!room(d, len + 2)) /* as a rule that is all: nothing is escaped */
        return;
    char *out = d->data + d->len;
    *out++ = '"';
    for (; at < end && !(class_of[*at] & escaped); at++)
        *out++ = (char)*at;
    d->len = (size_t)(out - d->data);
    while (at < end) {
        const unsigned char *from = at;
        while (at < end && !(class_of[*at] & escaped))
            at++;
        put(d, (const char *)from, (size_t)(at - from));
        if (at < end)
            at += escape(d, at);
    }
    put(d, "\"", 1);
}

static void put_int(struct dump *d, json_int_t value)
{
    char text[24], *at = text + sizeof(text);
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0)
        *--at = '-';
    put(d, at, (size_t)(text + sizeof(text) - at));
}

static void put_value(struct dump *d, const json_t *value, int depth);

/* What holds no further container stands on one line, however deep it is: a frame and a stack are read more easily so, and
 * take half the bytes. */
static bool is_leaf(const json_t *container)
{
    json_t *c = (json_t *)container; /* jansson's iterators take no const */
    if (json_is_array(c)) {
        for (size_t i = 0; i < json_array_size(c); i++)
            if (json_is_object(json_array_get(c, i)) || json_is_array(json_array_get(c, i)))
                return false;
        return true;
    }
    for (void *iter = json_object_iter(c); iter; iter = json_object_iter_next(c, iter))
        if (json_is_object(json_object_iter_value(iter)) || json_is_array(json_object_iter_value(iter)))
            return false;
    return true;
}

/* Between two values, or between a bracket and a value where there is no comma. */
static void put_gap(struct dump *d, bool comma, bool leaf, int depth)
{
    if (comma)
        put(d, ", ", leaf && d->flags & WEDGE_DUMP_INDENT ? 2 : 1);
    if (!leaf)
        line_end(d, depth);
}

static void put_array(struct dump *d, const json_t *array, int depth, bool leaf)
{
    size_t n = json_array_size(array);
    put(d, "[", 1);
    for (size_t i = 0; i < n; i++) {
        put_gap(d, i > 0, leaf, depth + 1);
        put_value(d, json_array_get(array, i), depth + 1);
    }
    put_gap(d, false, leaf, depth);
    put(d, "]", 1);
}

static void put_object(struct dump *d, const json_t *object, int depth, bool leaf)
{
    json_t *o = (json_t *)object; /* jansson's iterators take no const */
    void *iter = json_object_iter(o);
    put(d, "{", 1);
    for (bool first = true; iter; iter = json_object_iter_next(o, iter), first = false) {
        const char *key = json_object_iter_key(iter);
        put_gap(d, !first, leaf, depth + 1);
        put_string(d, key, strlen(key));
        put(d, ": ", d->flags & WEDGE_DUMP_INDENT ? 2 : 1);
        put_value(d, json_object_iter_value(iter), depth + 1);
    }
    put_gap(d, false, leaf, depth);
    put(d, "}", 1);
}

static void put_container(struct dump *d, const json_t *value, int depth)
{
    const bool leaf = is_leaf(value);
    if (json_is_array(value))
        put_array(d, value, depth, leaf);
    else
        put_object(d, value, depth, leaf);
}

static void put_value(struct dump *d, const json_t *value, int depth)
{
    char text[64];
    if (d->failed || depth > DEEPEST) {
        d->failed = true;
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        put_container(d, value, depth);
        break;
    case JSON_STRING:
        put_string(d, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        put_int(d, json_integer_value(value));
        break;
    case JSON_REAL:
        if (json_dumpb(value, text, sizeof(text), JSON_ENCODE_ANY) > sizeof(text))
            d->failed = true;
        else
            put(d, text, json_dumpb(value, text, sizeof(text), JSON_ENCODE_ANY));
        break;
    case JSON_TRUE:
        put(d, "true", 4);
        break;
    case JSON_FALSE:
        put(d, "false", 5);
        break;
    case JSON_NULL:
        put(d, "null", 4);
        break;
    }
}

char *wedge_report_dump(const json_t *tree, unsigned flags, size_t tail, size_t *ret_len)
{
    struct dump d = {.flags = flags, .tail = tail};
    put_value(&d, tree, 0);
    if (d.failed) {
        free(d.data);
        return NULL;
    }
    *ret_len = d.len;
    return d.data;
}

char *wedge_report_dump_lines(const json_t *tree, size_t *ret_len)
{
    char *text = wedge_report_dump(tree, WEDGE_DUMP_INDENT, 1, ret_len);
    if (text)
        text[(*ret_len)++] = '\n';
    return text;
}

int wedge_report_dump_file(const json_t *tree, FILE *out)
{
    size_t len;
    char *text = wedge_report_dump_lines(tree, &len);
    if (!text)
        return -ENOMEM;
    bool written = fwrite(text, 1, len, out) == len && fflush(out) == 0;
    free(text);
    return written ? 0 : -EIO;
}
