/*
 * A growing string with an upper bound, for everything that is composed before it is written. Once out of memory or
 * over its bound it stays cut and says so; nothing needs checking in between.
 */
#ifndef WEDGE_BASE_TEXT_H
#define WEDGE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct wedge_text {
    char *data; /* NUL-terminated once anything was added; owned; NULL before */
    size_t len, cap, max;
    bool cut;
};

#define WEDGE_TEXT_INIT(max_bytes)                                                                                     \
    {                                                                                                                  \
        .max = (max_bytes)                                                                                             \
    }

void wedge_text_add(struct wedge_text *t, const char *s);
void wedge_text_add_bytes(struct wedge_text *t, const void *data, size_t len);
void wedge_text_addf(struct wedge_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void wedge_text_free(struct wedge_text *t); /* takes NULL and half-built */

/* `s` with control bytes, bytes that are not UTF-8, characters that turn the direction of text, and the second # of
 * two as \xNN: safe on a terminal and in the log of a CI system. Returns buf. */
char *wedge_text_plain(const char *s, char *buf, size_t size);
/* Would it stay as it is? Asked of bytes of any kind, answered quickly: false also of some that would. */
bool wedge_text_is_plain(const char *s, size_t len);

#endif
