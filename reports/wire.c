#include "reports/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { DEEPEST = 64 };

/* ---- packing ---- */

/* What was written once: a text or a key. */
struct known {
    uint64_t hash;
    const char *at; /* NULL: free */
    size_t len;
    size_t number, json_bytes;
};
struct table {
    struct known *slots;
    size_t n, cap; /* cap: a power of two, at least a quarter of it free */
};

/* A key, and the number of the one that came behind it last time: as a rule it does so again, and is not looked for. */
struct key {
    const char *at;
    size_t json_bytes, next;
};

struct pack {
    char *data;
    size_t len, cap;
    bool failed;
    struct table texts, key_numbers;
    struct key *keys; /* by their numbers, from 1; before the first, 0 stands for none */
    size_t n_keys, cap_keys, last_key;
};

static bool grow(struct table *t)
{
    size_t cap = t->cap ? 2 * t->cap : 256;
    struct known *slots = calloc(cap, sizeof(*slots));
    if (!slots)
        return false;
    for (size_t i = 0; i < t->cap; i++) {
        size_t k = t->slots[i].hash & (cap - 1);
        while (t->slots[i].at && slots[k].at)
            k = (k + 1) & (cap - 1);
        if (t->slots[i].at)
            slots[k] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots;
    t->cap = cap;
    return true;
}

/* The slot of these bytes, which is free (at NULL) where they are new. NULL: no memory. It stays until the next one is asked
 * for. */
static struct known *slot_of(struct table *t, const char *at, size_t len)
{
    uint64_t hash = XXH64(at, len, 0);
    if (4 * (t->n + 1) > 3 * t->cap && !grow(t))
        return NULL;
    size_t i = hash & (t->cap - 1);
    for (; t->slots[i].at; i = (i + 1) & (t->cap - 1))
        if (t->slots[i].hash == hash && t->slots[i].len == len && memcmp(t->slots[i].at, at, len) == 0)
            return &t->slots[i];
    t->slots[i].hash = hash;
    t->slots[i].len = len;
    return &t->slots[i];
}

static void take(struct table *t, struct known *slot, const char *at)
{
    slot->at = at;
    slot->number = t->n++;
}

static void put(struct pack *p, const void *bytes, size_t len)
{
    if (p->failed)
        return;
    if (p->len + len > p->cap) {
        size_t cap = p->cap ? p->cap : 65536;
        while (cap < p->len + len)
            cap *= 2;
        char *data = realloc(p->data, cap);
        if (!data) {
            p->failed = true;
            return;
        }
        p->data = data;
        p->cap = cap;
    }
    memcpy(p->data + p->len, bytes, len);
    p->len += len;
}

static void put_tag(struct pack *p, char tag, uint64_t number)
{
    unsigned char bytes[12];
    size_t n = 0;
    bytes[n++] = (unsigned char)tag;
    for (; number >= 0x80; number >>= 7)
        bytes[n++] = (unsigned char)(number | 0x80);
    bytes[n++] = (unsigned char)number;
    put(p, bytes + !tag, n - !tag);
}

/* As JSON, with its quotes. */
static size_t quoted_bytes(const char *text, size_t len)
{
    size_t n = len + 2;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\' || (c < 0x20 && strchr("\b\f\n\r\t", c) && c))
            n += 1;
        else if (c < 0x20)
            n += 5;
    }
    return n;
}

static size_t put_text(struct pack *p, const char *text, size_t len)
{
    struct known *slot = slot_of(&p->texts, text, len);
    if (!slot) {
        p->failed = true;
        return 0;
    }
    if (slot->at) {
        put_tag(p, '=', slot->number);
        return slot->json_bytes;
    }
    slot->json_bytes = quoted_bytes(text, len);
    take(&p->texts, slot, text);
    put_tag(p, 's', len);
    put(p, text, len);
    return slot->json_bytes;
}

/* The number of a key; 0: it is new, and has the next one from now on, or there is no memory. */
static size_t number_of_key(struct pack *p, const char *key)
{
    size_t len = strlen(key);
    struct known *slot = slot_of(&p->key_numbers, key, len);
    if (slot && slot->at)
        return slot->number + 1;
    if (slot && p->n_keys + 1 >= p->cap_keys) {
        size_t cap = p->cap_keys ? 2 * p->cap_keys : 256;
        struct key *keys = realloc(p->keys, cap * sizeof(*keys));
        slot = keys ? slot : NULL;
        p->keys = keys ? keys : p->keys;
        p->cap_keys = keys ? cap : p->cap_keys;
    }
    if (!slot) {
        p->failed = true;
        return 0;
    }
    take(&p->key_numbers, slot, key);
    p->keys[++p->n_keys] = (struct key){key, quoted_bytes(key, len), 0};
    put_tag(p, 0, 0);
    put_tag(p, 0, len);
    put(p, key, len);
    return 0;
}

static size_t put_key(struct pack *p, const char *key)
{
    size_t guess = p->n_keys ? p->keys[p->last_key].next : 0;
    size_t number = guess && strcmp(p->keys[guess].at, key) == 0 ? guess : number_of_key(p, key);
    if (p->failed)
        return 0;
    if (number)
        put_tag(p, 0, number);
    else
        number = p->n_keys;
    p->keys[p->last_key].next = number;
    p->last_key = number;
    return p->keys[number].json_bytes;
}

static size_t put_int(struct pack *p, int64_t value)
{
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    size_t digits = 1 + (value < 0);
    put_tag(p, 'i', (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0));
    for (; left >= 10; left /= 10)
        digits++;
    return digits;
}

static size_t put_real(struct pack *p, const json_t *value)
{
    double real = json_real_value(value);
    put(p, "r", 1);
    put(p, &real, sizeof(real));
    return json_dumpb(value, NULL, 0, JSON_ENCODE_ANY);
}

static size_t put_value(struct pack *p, const json_t *value, int depth);

static size_t put_container(struct pack *p, const json_t *value, int depth)
{
    json_t *object = (json_t *)value; /* jansson's iterators take no const */
    size_t n = json_is_array(value) ? json_array_size(value) : json_object_size(value), bytes = 2 + (n ? n - 1 : 0);
    if (json_is_array(value)) {
        put_tag(p, '[', n);
        for (size_t i = 0; i < n; i++)
            bytes += put_value(p, json_array_get(value, i), depth + 1);
        return bytes;
    }
    put_tag(p, '{', n);
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        bytes += put_key(p, json_object_iter_key(at)) + 1;
        bytes += put_value(p, json_object_iter_value(at), depth + 1);
    }
    return bytes;
}

static size_t put_value(struct pack *p, const json_t *value, int depth)
{
    if (!value || depth > DEEPEST)
        p->failed = true;
    if (p->failed)
        return 0;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return put_container(p, value, depth);
    case JSON_STRING:
        return put_text(p, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        return put_int(p, json_integer_value(value));
    case JSON_REAL:
        return put_real(p, value);
    case JSON_TRUE:
        put(p, "t", 1);
        return 4;
    case JSON_FALSE:
        put(p, "f", 1);
        return 5;
    case JSON_NULL:
        put(p, "n", 1);
        return 4;
    }
    p->failed = true;
    return 0;
}

char *wedge_wire_pack(const json_t *tree, size_t *ret_len, size_t *ret_json_bytes)
{
    struct pack p = {0};
    size_t json_bytes = put_value(&p, tree, 0);
    free(p.texts.slots);
    free(p.key_numbers.slots);
    free(p.keys);
    if (p.failed) {
        free(p.data);
        return NULL;
    }
    *ret_len = p.len;
    *ret_json_bytes = json_bytes;
    return p.data;
}

/* ---- unpacking ---- */

struct unpack {
    const unsigned char *at, *end;
    json_t **texts;
    size_t n_texts, cap_texts;
    char **keys;
    size_t n_keys, cap_keys;
    int error; /* 0, -EBADMSG, -ENOMEM */
};

static json_t *fail(struct unpack *u, int error)
{
    u->error = u->error ? u->error : error;
    return NULL;
}

static uint64_t get_number(struct unpack *u)
{
    uint64_t n = 0;
    for (unsigned shift = 0; u->at < u->end && shift < 64; shift += 7) {
        unsigned char byte = *u->at++;
        if (shift == 63 && byte > 1)
            break;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return n;
    }
    fail(u, -EBADMSG);
    return 0;
}

/* So many bytes, NULL: they are not there. */
static const char *get_bytes(struct unpack *u, uint64_t len)
{
    const char *bytes = (const char *)u->at;
    if (u->error || len > (uint64_t)(u->end - u->at)) {
        fail(u, -EBADMSG);
        return NULL;
    }
    u->at += len;
    return bytes;
}

/* Room for one more in an array of `*cap`. */
static bool room(struct unpack *u, void **array, size_t n, size_t *cap, size_t size)
{
    size_t more = *cap ? 2 * *cap : 256;
    void *bigger = n < *cap ? *array : realloc(*array, more * size);
    if (!bigger) {
        fail(u, -ENOMEM);
        return false;
    }
    *array = bigger;
    *cap = n < *cap ? *cap : more;
    return true;
}

static json_t *get_text(struct unpack *u)
{
    uint64_t len = get_number(u);
    const char *bytes = get_bytes(u, len);
    if (!bytes || memchr(bytes, 0, len))
        return fail(u, -EBADMSG);
    if (!room(u, (void **)&u->texts, u->n_texts, &u->cap_texts, sizeof(*u->texts)))
        return NULL;
    json_t *text = json_stringn(bytes, len); /* NULL: no UTF-8, or no memory */
    return text ? json_incref(u->texts[u->n_texts++] = text) : fail(u, -EBADMSG);
}

static const char *get_key(struct unpack *u)
{
    uint64_t number = get_number(u);
    if (u->error || number > u->n_keys) {
        fail(u, -EBADMSG);
        return NULL;
    }
    if (number)
        return u->keys[number - 1];
    uint64_t len = get_number(u);
    const char *bytes = get_bytes(u, len);
    json_t *text = bytes && !memchr(bytes, 0, len) ? json_stringn(bytes, len) : NULL;
    if (!text) {
        fail(u, -EBADMSG);
        return NULL;
    }
    json_decref(text);
    if (!room(u, (void **)&u->keys, u->n_keys, &u->cap_keys, sizeof(*u->keys)))
        return NULL;
    char *key = malloc(len + 1); /* not strndup(3): a strict sanitizer wants an end of the string behind the bytes */
    if (!key) {
        fail(u, -ENOMEM);
        return NULL;
    }
    memcpy(key, bytes, len);
    key[len] = '\0';
    return u->keys[u->n_keys++] = key;
}

static json_t *get_value(struct unpack *u, int depth);

static json_t *get_parts(struct unpack *u, bool object, int depth)
{
    uint64_t n = get_number(u);
    json_t *parts = object ? json_object() : json_array();
    if (!parts)
        return fail(u, -ENOMEM);
    for (uint64_t i = 0; i < n && !u->error; i++) {
        const char *key = object ? get_key(u) : "";
        json_t *value = key ? get_value(u, depth + 1) : NULL;
        if (!value)
            break;
        if (object ? json_object_set_new_nocheck(parts, key, value) : json_array_append_new(parts, value))
            fail(u, -ENOMEM);
    }
    if (!u->error && object && json_object_size(parts) != n)
        fail(u, -EBADMSG); /* a key twice */
    if (!u->error)
        return parts;
    json_decref(parts);
    return NULL;
}

static json_t *get_known(struct unpack *u)
{
    uint64_t number = get_number(u);
    return u->error || number >= u->n_texts ? fail(u, -EBADMSG) : json_incref(u->texts[number]);
}

static json_t *get_real(struct unpack *u)
{
    double real;
    const char *bytes = get_bytes(u, sizeof(real));
    if (!bytes)
        return NULL;
    memcpy(&real, bytes, sizeof(real));
    json_t *value = json_real(real); /* NULL: not a number */
    return value ? value : fail(u, -EBADMSG);
}

static json_t *get_int(struct unpack *u)
{
    uint64_t zigzag = get_number(u);
    json_t *value = u->error ? NULL : json_integer((json_int_t)(zigzag >> 1 ^ -(zigzag & 1)));
    return value ? value : fail(u, -ENOMEM);
}

static json_t *get_value(struct unpack *u, int depth)
{
    if (u->error || u->at == u->end || depth > DEEPEST)
        return fail(u, -EBADMSG);
    unsigned char tag = *u->at++;
    switch (tag) {
    case 'n':
        return json_null();
    case 't':
        return json_true();
    case 'f':
        return json_false();
    case 'i':
        return get_int(u);
    case 'r':
        return get_real(u);
    case 's':
        return get_text(u);
    case '=':
        return get_known(u);
    case '[':
    case '{':
        return get_parts(u, tag == '{', depth);
    default:
        return fail(u, -EBADMSG);
    }
}

int wedge_wire_unpack(const char *data, size_t len, json_t **ret, struct wedge_err *err)
{
    const unsigned char *bytes = (const unsigned char *)data;
    struct unpack u = {.at = bytes, .end = bytes + len};
    json_t *tree = get_value(&u, 0);
    if (tree && u.at != u.end)
        fail(&u, -EBADMSG);
    for (size_t i = 0; i < u.n_texts; i++)
        json_decref(u.texts[i]);
    for (size_t i = 0; i < u.n_keys; i++)
        free(u.keys[i]);
    free(u.texts);
    free(u.keys);
    if (!u.error) {
        *ret = tree;
        return 0;
    }
    json_decref(tree);
    return wedge_err_set(err, u.error,
                         u.error == -ENOMEM ? "no memory for the report" : "the examination sent no report");
}
