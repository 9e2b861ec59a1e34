#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct wedge_text *t, size_t more)
{
    if (t->cut || more > t->max || t->len > t->max - more) {
        t->cut = true;
        return false;
    }
    size_t want = t->len + more + 1;
    if (want <= t->cap)
        return true;
    size_t cap = t->cap ? t->cap : 256;
    while (cap < want)
        cap *= 2;
    char *data = realloc(t->data, cap);
    if (!data) {
        t->cut = true;
        return false;
    }
    t->data = data;
    t->cap = cap;
    return true;
}

void wedge_text_add_bytes(struct wedge_text *t, const void *data, size_t len)
{
    if (!reserve(t, len))
        return;
    memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = 0;
}

void wedge_text_add(struct wedge_text *t, const char *s)
{
    wedge_text_add_bytes(t, s, strlen(s));
}

void wedge_text_addf(struct wedge_text *t, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && reserve(t, (size_t)n)) {
        vsnprintf(t->data + t->len, (size_t)n + 1, fmt, again);
        t->len += (size_t)n;
    }
    va_end(again);
}

void wedge_text_free(struct wedge_text *t)
{
    if (!t)
        return;
    free(t->data);
    t->data = NULL;
    t->len = t->cap = 0;
}

/* Length of the well-formed UTF-8 sequence at s (RFC 3629), 0 if it is none or a C1 control. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    if (!n || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f) || (s[0] == 0xc2 && s[1] < 0xa0))
        return 0;
    return n;
}

/* What changes the order of what stands beside it, or where a line ends, so that a text shows as another one: the
 * directional formatting characters (Unicode Standard Annex 9: U+061C, U+200E, U+200F, U+202A to E, U+2066 to 9), and
 * U+2028 and U+2029, which are line ends in some places. */
static bool is_deceptive(const unsigned char *s, size_t n)
{
    if (n == 2)
        return s[0] == 0xd8 && s[1] == 0x9c;
    if (n != 3 || s[0] != 0xe2 || (s[1] != 0x80 && s[1] != 0x81))
        return false;
    return s[1] == 0x80 ? s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae) : s[2] >= 0xa6 && s[2] <= 0xa9;
}

bool wedge_text_is_plain(const char *s, size_t len)
{
    unsigned char other = 0;
    for (size_t i = 0; i < len; i++)
        other |= (unsigned char)(s[i] < 0x20 || s[i] == 0x7f || s[i] == '#');
    return !other;
}

char *wedge_text_plain(const char *s, char *buf, size_t size)
{
    const unsigned char *in = (const unsigned char *)s;
    size_t out = 0;
    if (!size)
        return buf;
    while (*in) {
        size_t n = utf8_length(in);
        /* "##" begins a command to Azure Pipelines, TeamCity and GitHub Actions wherever in a line of a log it stands. */
        bool command = *in == '#' && in > (const unsigned char *)s && in[-1] == '#';
        size_t escaped = n == 0 || (n == 1 && (*in < 0x20 || *in == 0x7f)) || command ? 1 : is_deceptive(in, n) ? n : 0;
        if (escaped) {
            if (out + 4 * escaped >= size)
                break;
            for (; escaped; escaped--)
                out += (size_t)snprintf(buf + out, size - out, "\\x%02x", *in++);
            continue;
        }
        if (out + n >= size)
            break;
        memcpy(buf + out, in, n);
        out += n;
        in += n;
    }
    buf[out] = 0;
    return buf;
}
