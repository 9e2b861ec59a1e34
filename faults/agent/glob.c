/* fnmatch(3) without flags, locale and memory. */
#include "faults/agent/where.h"

/* Does the set after "[" hold c? *at is moved behind its "]". -1: there is no such end, so the "[" is itself. */
static int in_set(const char **at, const char *end, unsigned char c)
{
    const char *p = *at;
    bool negated = p < end && (*p == '!' || *p == '^'), in = false;
    p += negated;
    for (const char *first = p;; first = NULL) {
        if (p >= end)
            return -1;
        unsigned char low = (unsigned char)*p++;
        if (low == ']' && !first)
            break;
        if (low == '\\') {
            if (p >= end)
                return 2;
            low = (unsigned char)*p++;
        }
        unsigned char high = low;
        if (p + 1 < end && p[0] == '-' && p[1] != ']') {
            p++;
            if (*p == '\\' && ++p >= end)
                return 2;
            high = (unsigned char)*p++;
        }
        in |= low <= c && c <= high;
    }
    *at = p;
    return in != negated;
}

/* Does one character match what is at *at, which is not a star? *at is moved on. */
static bool matches_one(const char **at, const char *end, unsigned char c)
{
    unsigned char want = (unsigned char)*(*at)++;
    const char *after = *at;
    switch (want) {
    case '?':
        return true;
    case '[': {
        int in = in_set(&after, end, c);
        if (in >= 0) {
            *at = after;
            return in == 1;
        }
        return c == '[';
    }
    case '\\':
        return *at < end && (unsigned char)*(*at)++ == c;
    default:
        return want == c;
    }
}

bool agent_glob(const char *pattern, size_t size, const char *text)
{
    const char *end = pattern, *star = NULL, *retry = NULL;
    while (end < pattern + size && *end)
        end++;
    while (*text) {
        if (pattern < end && *pattern == '*') {
            star = ++pattern;
            retry = text;
            continue;
        }
        if (pattern < end && matches_one(&pattern, end, (unsigned char)*text)) {
            text++;
            continue;
        }
        if (!star)
            return false;
        pattern = star; /* the last star takes one more */
        text = ++retry;
    }
    while (pattern < end && *pattern == '*')
        pattern++;
    return pattern == end;
}
