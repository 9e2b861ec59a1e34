#include "detector/verdict/short_name.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LONG_ARGUMENTS 24 /* template arguments of more bytes become "…" */

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len >= n && memcmp(text + len - n, end, n) == 0;
}

/* Is the bracket at `at` part of an operator's name: operator<, operator->, operator() ? */
static bool is_of_operator(const char *name, size_t at)
{
    for (int i = 0; i < 2 && at > 0 && strchr("<>-=(", name[at - 1]); i++) /* operator<=> is the longest */
        at--;
    return ends_with(name, at, "operator") &&
           (at == 8 || !(isalnum((unsigned char)name[at - 9]) || name[at - 9] == '_'));
}

/* The bracket that opens what the one at `close` closes, or `close` where there is none. */
static size_t opening(const char *name, size_t close)
{
    size_t depth = 0;
    for (size_t i = close + 1; i-- > 0;) {
        if (name[i] == ')')
            depth++;
        else if (name[i] == '(' && --depth == 0)
            return i;
    }
    return close;
}

/* The length without [clone …], qualifiers and parameters. */
static size_t without_parameters(const char *name, size_t len)
{
    static const char *const qualifiers[] = {" const", " volatile", " &", " &&", " noexcept"};
    const char *clone = strstr(name, " [clone ");
    if (clone && clone != name)
        len = (size_t)(clone - name);
    size_t bare = len;
    for (size_t i = 0; i < sizeof(qualifiers) / sizeof(qualifiers[0]); i++)
        if (ends_with(name, bare, qualifiers[i])) {
            bare -= strlen(qualifiers[i]);
            i = (size_t)-1; /* there may be others before it */
        }
    if (bare == 0 || name[bare - 1] != ')')
        return len;
    size_t open = opening(name, bare - 1);
    bool is_name = open == bare - 1 || open == 0 || name[open - 1] == ':' || name[open - 1] == '.' ||
                   (open == bare - 2 && ends_with(name, open, "operator"));
    return is_name ? len : open;
}

/* Where the name begins: behind the return type, which templates have. */
static size_t behind_return_type(const char *name, size_t len)
{
    size_t begin = 0;
    int depth = 0;
    for (size_t i = 0; i < len; i++) {
        bool bracket = !is_of_operator(name, i);
        if (bracket && strchr("<({[", name[i]))
            depth++;
        else if (bracket && strchr(">)}]", name[i]))
            depth -= depth > 0;
        if (name[i] != ' ' || depth || i + 1 == len || name[i + 1] == '<')
            continue;
        if (ends_with(name, i, "operator")) /* operator unsigned long */
            break;
        begin = i + 1;
    }
    return begin;
}

/* Copies without what stands in the outermost <> where that is long. */
static size_t copy(const char *name, size_t len, char *buf, size_t room)
{
    size_t n = 0, from = 0;
    int depth = 0;
    for (size_t i = 0; i < len && n < room; i++) {
        bool bracket = (name[i] == '<' || name[i] == '>') && !is_of_operator(name, i) && !(i && name[i - 1] == '-');
        if (bracket && name[i] == '<' && depth++ == 0)
            from = n + 1;
        if (bracket && name[i] == '>' && depth > 0 && --depth == 0 && n > from && n - from > LONG_ARGUMENTS &&
            from > 1) {
            static const char dots[] = "…";
            memcpy(buf + from, dots, sizeof(dots) - 1);
            n = from + sizeof(dots) - 1;
        }
        buf[n++] = name[i];
    }
    return n;
}

void wedge_short_name(const char *name, char *buf, size_t size)
{
    static const char end[] = "()", cut[] = "…()";
    if (size < sizeof(cut) + 8) {
        snprintf(buf, size, "%s", "");
        return;
    }
    size_t len = without_parameters(name, strlen(name)), begin = behind_return_type(name, len);
    size_t room = size - sizeof(cut), n = copy(name + begin, len - begin, buf, room);
    const char *last = n == room ? cut : n && buf[n - 1] == ')' ? "" : end; /* operator() has them already */
    while (last == cut && n > 0 && ((unsigned char)buf[n - 1] & 0x80)) /* no half of a character */
        n--;
    snprintf(buf + n, size - n, "%s", last);
}
