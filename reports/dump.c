#include "reports/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

enum { DEEPEST = 64, WIDEST_ESCAPE = 12, LEAST_PIECE = 1024 };

/* A part that stands more than once, and where it was written first. */
struct part {
    const json_t *value;
    int depth;
    bool leaf;
    size_t from, len;
    UT_hash_handle hh;
};

/* A piece of the text: bytes of `data`. */
struct piece {
    size_t from, len;
};

struct dump {
    char *data;
    size_t len, cap, tail;
    unsigned flags;
    bool failed;
    struct part *parts;
    /* Where the text may lie in pieces: */
    bool in_pieces;
    int recording; /* parts that we are in: each is to lie in one piece */
    struct piece *pieces;
    size_t n_pieces, cap_pieces;
    size_t begin; /* of the piece that is being composed */
    size_t again; /* bytes that were not composed again */
};

static bool grow(struct dump *d, size_t more)
{
    size_t cap = d->cap ? d->cap : 65536;
    if (d->failed || more > WEDGE_DUMP_MAX_BYTES - d->len - d->again)
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
    return (!d->failed && d->len + more + d->tail <= d->cap && d->len + d->again + more <= WEDGE_DUMP_MAX_BYTES) ||
           grow(d, more);
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

/* What holds no further container stands on one line, however deep it is: a frame is read more easily so, and a stack of 25 frames
 * takes half the bytes. */
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

static void add_piece(struct dump *d, size_t from, size_t len)
{
    if (d->n_pieces == d->cap_pieces) {
        size_t cap = d->cap_pieces ? 2 * d->cap_pieces : 64;
        struct piece *pieces = realloc(d->pieces, cap * sizeof(*pieces));
        if (!pieces) {
            d->failed = true;
            return;
        }
        d->pieces = pieces;
        d->cap_pieces = cap;
    }
    d->pieces[d->n_pieces++] = (struct piece){from, len};
}

/* The part stands here too, where it lies. */
static void refer(struct dump *d, const struct part *part)
{
    if (d->failed || part->len > WEDGE_DUMP_MAX_BYTES - d->len - d->again) {
        d->failed = true;
        return;
    }
    add_piece(d, d->begin, d->len - d->begin);
    add_piece(d, part->from, part->len);
    d->begin = d->len;
    d->again += part->len;
}

/* Copies what was written of the same value before. In a line of its own it must stand as deep as it did. */
static bool put_again(struct dump *d, const json_t *value, int depth, struct part **ret)
{
    struct part *part;
    HASH_FIND_PTR(d->parts, &value, part);
    *ret = part;
    if (!part || !part->len || (part->depth != depth && !part->leaf && d->flags & WEDGE_DUMP_INDENT))
        return false;
    if (d->in_pieces && !d->recording && part->len >= LEAST_PIECE) {
        refer(d, part);
        return true;
    }
    if (room(d, part->len))
        memcpy(d->data + d->len, d->data + part->from, part->len);
    d->len += d->failed ? 0 : part->len;
    return true;
}

static void put_container(struct dump *d, const json_t *value, int depth)
{
    struct part *part = NULL;
    bool shared = value->refcount > 1;
    if (shared && put_again(d, value, depth, &part))
        return;
    if (shared && !part && (part = calloc(1, sizeof(*part)))) {
        part->value = value;
        HASH_ADD_PTR(d->parts, value, part);
    }
    size_t from = d->len;
    d->recording += part != NULL;
    const bool leaf = is_leaf(value);
    if (json_is_array(value))
        put_array(d, value, depth, leaf);
    else
        put_object(d, value, depth, leaf);
    if (part) {
        d->recording--;
        part->leaf = leaf;
        part->from = from;
        part->depth = depth;
        part->len = d->len - from;
    }
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

static void run(struct dump *d, const json_t *tree)
{
    struct part *part, *next;
    put_value(d, tree, 0);
    HASH_ITER(hh, d->parts, part, next)
    {
        HASH_DEL(d->parts, part);
        free(part);
    }
}

char *wedge_report_dump(const json_t *tree, unsigned flags, size_t tail, size_t *ret_len)
{
    struct dump d = {.flags = flags, .tail = tail};
    run(&d, tree);
    if (d.failed) {
        free(d.data);
        return NULL;
    }
    *ret_len = d.len;
    return d.data;
}

bool wedge_report_dump_text(const json_t *tree, unsigned flags, const char *end, struct wedge_dump_text *ret)
{
    struct dump d = {.flags = flags, .in_pieces = true};
    struct wedge_dump_text text = {0};
    run(&d, tree);
    put(&d, end, strlen(end));
    if (!d.failed)
        add_piece(&d, d.begin, d.len - d.begin);
    if (!d.failed && (text.parts = calloc(d.n_pieces, sizeof(*text.parts)))) {
        text.data = d.data;
        text.composed = d.len;
        for (size_t i = 0; i < d.n_pieces; i++)
            if (d.pieces[i].len)
                text.parts[text.n++] = (struct iovec){d.data + d.pieces[i].from, d.pieces[i].len};
        text.len = d.len + d.again;
        *ret = text;
    } else {
        free(d.data);
    }
    free(d.pieces);
    return text.parts != NULL;
}

void wedge_report_dump_text_free(struct wedge_dump_text *text)
{
    free(text->data);
    free(text->parts);
    *text = (struct wedge_dump_text){0};
}

int wedge_report_dump_file(const json_t *tree, FILE *out)
{
    struct wedge_dump_text text;
    if (!wedge_report_dump_text(tree, WEDGE_DUMP_INDENT, "\n", &text))
        return -ENOMEM;
    bool written = true;
    for (size_t i = 0; i < text.n && written; i++)
        written = fwrite(text.parts[i].iov_base, 1, text.parts[i].iov_len, out) == text.parts[i].iov_len;
    written = written && fflush(out) == 0;
    wedge_report_dump_text_free(&text);
    return written ? 0 : -EIO;
}
