/*
 * Signatures: the same hang has the same one in every run. Hashed are the kind and the sorted set of (class of wait,
 * outermost libc call, first three functions of the program) over the core of the set; no roles, counts, addresses,
 * certainty or dead processes. Who else waits for the core depends on the moment, so they are left out.
 *
 * A tree that makes no progress may move all the same: what its threads are in at the moment, who of them moves, and which
 * processes there are that come and go, is chance. Of each thread only its program counts, and the function in which it began, and
 * the passing processes do not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/text.h"
#include "detector/verdict/verdict.h"
#include "detector/wait/wait.h"

#define MOST_TEXT (1u << 20)

/* What the compiler appends to the name of a part or a copy of a function. */
static size_t plain_length(const char *name)
{
    static const char *const suffixes[] = {".cold", ".isra.", ".part.", ".constprop."};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        const char *at = strstr(name, suffixes[i]);
        if (at && (size_t)(at - name) < len)
            len = (size_t)(at - name);
    }
    return len;
}

/* One thread as a line; false when a name is missing. */
static bool line_of(const struct wedge_look *look, const struct wedge_thread *t, bool roles, char *buf, size_t size)
{
    struct wedge_text text = WEDGE_TEXT_INIT(4096);
    const struct wedge_proc *p = &look->snapshot->procs[t->proc];
    bool complete = t->n_frames > 0 && !*t->stack_note;
    int named = 0;
    if (roles)
        wedge_text_addf(&text, "%s|", p->role);
    wedge_text_addf(&text, "%s|%s", wedge_wait_words[t->wait.class], t->wait.call);
    for (size_t i = 0; i < t->n_frames && named < 3; i++) {
        const struct wedge_frame *f = &t->frames[i];
        if (f->libc || f->signal)
            continue;
        const char *name = f->function ? f->function : "?";
        complete &= f->function != NULL;
        wedge_text_addf(&text, "|%.*s", (int)plain_length(name), name);
        named++;
    }
    snprintf(buf, size, "%s", text.data ? text.data : "");
    wedge_text_free(&text);
    return complete && named > 0;
}

/* The outermost function of the program's own. */
static const char *outermost(const struct wedge_thread *t)
{
    for (size_t i = t->n_frames; i > 0 && !*t->stack_note; i--)
        if (!t->frames[i - 1].libc && !t->frames[i - 1].signal)
            return t->frames[i - 1].function;
    return NULL;
}

/* "/usr/bin/server (deleted)" is "server": a new version was installed (proc(5)). */
static int program_length(const char *name)
{
    const char *gone = strstr(name, " (deleted)");
    return (int)(gone ? (size_t)(gone - name) : strlen(name));
}

static bool line_of_beginning(const struct wedge_look *look, const struct wedge_thread *t, bool roles, char *buf,
                              size_t size)
{
    const struct wedge_proc *p = &look->snapshot->procs[t->proc];
    const char *name = outermost(t), *slash = strrchr(p->exe, '/'), *program = slash ? slash + 1 : p->exe;
    snprintf(buf, size, "%s|%.*s|%.*s", roles ? p->role : "", program_length(program), program,
             name ? (int)plain_length(name) : 1, name ? name : "?");
    return name != NULL;
}

/* ---- what makes no progress ---- */

static bool is_unfounded(enum wedge_verdict_kind kind)
{
    return kind == WEDGE_VERDICT_NO_PROGRESS || kind == WEDGE_VERDICT_LIVELOCK;
}

/* Its process was not there for half of the time. */
static bool is_passing(const struct wedge_look *look, const struct wedge_thread *t)
{
    const struct wedge_proc *p = &look->snapshot->procs[t->proc];
    return t->proc != 0 && wedge_wait_age_ns(p) < look->options->stalled_ns / 2;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *sign(struct wedge_look *look, const struct wedge_verdict *v, bool roles, const char *prefix)
{
    struct wedge_text text = WEDGE_TEXT_INIT(MOST_TEXT);
    size_t n = wedge_verdict_core(look, v), kept = 0;
    bool weak = n == 0, unfounded = is_unfounded(v->kind);
    char **lines = calloc(n + 1, sizeof(*lines));
    if (!lines)
        return "";
    for (size_t i = 0; i < n; i++) {
        const struct wedge_thread *t = &look->snapshot->threads[v->victims[i]];
        char line[2048];
        if (unfounded && is_passing(look, t))
            continue;
        /* A stuck user's function is the hang; who else is in its circle is not. */
        if (v->kind == WEDGE_VERDICT_STUCK_CALLBACK && !t->wait.callback)
            continue;
        weak |= !(unfounded ? line_of_beginning : line_of)(look, t, roles, line, sizeof(line));
        lines[kept] = strdup(line);
        kept += lines[kept] != NULL;
    }
    if (kept)
        qsort(lines, kept, sizeof(*lines), compare_lines);
    wedge_text_addf(&text, "%s\n", wedge_verdict_words[v->kind]);
    for (size_t i = 0; i < kept; i++)
        if (i == 0 || strcmp(lines[i], lines[i - 1]) != 0)
            wedge_text_addf(&text, "%s\n", lines[i]);
    XXH64_hash_t hash = XXH64(text.data ? text.data : "", text.len, 0);
    for (size_t i = 0; i < kept; i++)
        free(lines[i]);
    free(lines);
    wedge_text_free(&text);
    return wedge_look_textf(look, "%s%016llx%s", prefix, (unsigned long long)hash, weak ? ":weak" : "");
}

void wedge_verdict_sign(struct wedge_look *look, struct wedge_verdict *verdict)
{
    if (!wedge_verdict_is_hang(verdict->kind))
        return;
    verdict->signature = sign(look, verdict, false, "sig1:");
    verdict->signature_roles = sign(look, verdict, true, "sig1+roles:");
}
