/*
 * libiberty's demanglers, kept within bounds. A name refers back to parts of itself, and each of these may hold such
 * references again: 233 bytes become 109 MB in 1.6 s, and ten bytes more double that twice (libiberty of binutils 2.40). Only
 * the way through a callback can be left before its end, and only by a jump: what it prints cannot be refused.
 *
 * cplus_demangle() of the same library asks Rust first, then C++ (DMGL_AUTO), and so does this. Its limit of recursion refuses
 * what has more than 1,024 bytes, as names of templates do. Ours is the length: 4,096 bytes of whatever nests need less than
 * 2 MiB of stack (measured with nineteen kinds of nesting).
 */
#include "detector/stacks/demangle.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <libiberty/demangle.h>

enum { MANGLED_MOST = 4096, OPTIONS = DMGL_AUTO | DMGL_PARAMS | DMGL_ANSI };
static const char dots[] = "…";

struct output {
    jmp_buf full;
    size_t n; /* without a NUL; in the text is room for the dots behind it */
    char text[WEDGE_DEMANGLED_MOST - 1];
};

bool wedge_demangle_may(const char *name)
{
    return name[0] == '_' && (name[1] == 'Z' || name[1] == 'R');
}

static void take(const char *data, size_t len, void *arg)
{
    struct output *out = arg;
    size_t room = sizeof(out->text) - (sizeof(dots) - 1) - out->n, part = len < room ? len : room;
    if (part) /* an empty piece may come as NULL */
        memcpy(out->text + out->n, data, part);
    out->n += part;
    if (part < len)
        _longjmp(out->full, 1);
}

/* No half of a character (UTF-8) before the dots. */
static void end_cut(struct output *out)
{
    while (out->n && ((unsigned char)out->text[out->n - 1] & 0xc0) == 0x80)
        out->n--;
    if (out->n && (unsigned char)out->text[out->n - 1] >= 0xc0)
        out->n--;
    memcpy(out->text + out->n, dots, sizeof(dots) - 1);
    out->n += sizeof(dots) - 1;
}

/* False: it is no name of theirs. */
static bool print(const char *name, struct output *out)
{
    if (_setjmp(out->full)) {
        end_cut(out);
        return true;
    }
    if (rust_demangle_callback(name, OPTIONS, take, out))
        return true;
    out->n = 0; /* it prints before it knows */
    return cplus_demangle_v3_callback(name, OPTIONS | DMGL_NO_RECURSE_LIMIT, take, out) != 0;
}

char *wedge_demangle(const char *name)
{
    struct output *out = NULL;
    if (wedge_demangle_may(name) && strlen(name) < MANGLED_MOST) {
        out = malloc(sizeof(*out));
        if (!out)
            return NULL;
        out->n = 0;
    }
    char *text = out && print(name, out) ? strndup(out->text, out->n) : strndup(name, strcspn(name, "@"));
    free(out);
    return text;
}
