#include "scenarios/expect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenarios/verdict.h"

const char *wedge_expect_counts_line(const char *output)
{
    const char *last = NULL;
    for (const char *line = output; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, "counts:", 7) == 0)
            last = line;
    return last;
}

bool wedge_expect_count(const char *output, const char *name, int64_t *ret)
{
    const char *at = wedge_expect_counts_line(output);
    size_t len = strlen(name);
    for (at = at ? at + 7 : NULL; at && *at && *at != '\n';) {
        at += strspn(at, " ");
        size_t word = strcspn(at, " \n");
        if (word > len + 1 && strncmp(at, name, len) == 0 && at[len] == '=') {
            char *end;
            long long value = strtoll(at + len + 1, &end, 10);
            if (end != at + word)
                return false;
            *ret = value;
            return true;
        }
        at += word;
    }
    return false;
}

bool wedge_expect_hung(const struct wedge_outcome *outcome)
{
    return outcome->end == WEDGE_HUNG || outcome->end == WEDGE_LIMIT ||
           strcmp(wedge_headline(outcome->report).kind, "contention") == 0;
}

bool wedge_expect_ended_as(const struct wedge_expect *e, int exit_status, int signal, const char *output, char *message,
                           size_t size)
{
    static const char *const signs[] = {"=", ">=", "<="}; /* enum wedge_count_is */
    if (signal || exit_status != e->status) {
        char status[32] = "well";
        if (e->status)
            snprintf(status, sizeof(status), "with status %d", e->status);
        snprintf(message, size, "expected it to finish %s, but it ended with %s %d", status,
                 signal ? "signal" : "status", signal ? signal : exit_status);
        return false;
    }
    for (size_t i = 0; i < e->n_counts; i++) {
        const struct wedge_count *count = &e->counts[i];
        int64_t got;
        if (!wedge_expect_count(output, count->name, &got)) {
            snprintf(message, size, "its output has no count '%s'", count->name);
            return false;
        }
        if ((got < count->value && count->is != WEDGE_COUNT_AT_MOST) ||
            (got > count->value && count->is != WEDGE_COUNT_AT_LEAST)) {
            snprintf(message, size, "expected %s%s%" PRId64 ", got %" PRId64, count->name, signs[count->is],
                     count->value, got);
            return false;
        }
    }
    return true;
}

static bool ended_as(const struct wedge_expect *e, const struct wedge_outcome *out, char *message, size_t size)
{
    return wedge_expect_ended_as(e, out->exit_status, out->signal, out->output, message, size);
}

static bool finished(const struct wedge_expect *e, const struct wedge_outcome *out, char *message, size_t size)
{
    struct wedge_headline h = wedge_headline(out->report);
    if (out->end == WEDGE_LIMIT) {
        snprintf(message, size, "did not finish before its limit");
        return false;
    }
    if (out->end == WEDGE_HUNG) {
        snprintf(message, size, "expected it to finish, but it hangs: %s (%s): %s", h.kind, h.certainty, h.summary);
        return false;
    }
    if (wedge_expect_hung(out)) {
        snprintf(message, size, "expected it to finish, but on the way there was %s (%s): %s", h.kind, h.certainty,
                 h.summary);
        return false;
    }
    return ended_as(e, out, message, size);
}

static int rank(const char *certainty)
{
    static const char *const words[] = {"suspected", "evident", "proved"};
    for (int i = 0; i < 3; i++)
        if (strcmp(words[i], certainty) == 0)
            return i;
    return -1;
}

/* Whether there is such a one among the verdict's `list`. */
static bool is_named(const struct wedge_party *party, const char *list, const char *word,
                     const struct wedge_outcome *out, char *message, size_t size)
{
    const char *where = party->function ? party->function : party->point;
    if ((!party->role && !where) || wedge_headline_names(out->report, list, party))
        return true;
    snprintf(message, size, "no %s is %s%s%s", word, party->role ? party->role : "any role",
             party->function ? " in "
             : where         ? " that died at "
                             : "",
             where ? where : "");
    return false;
}

static bool hung(const struct wedge_expect *e, int64_t within_ms, const struct wedge_outcome *out, char *message,
                 size_t size)
{
    struct wedge_headline h = wedge_headline(out->report);
    bool ended = out->end == WEDGE_ENDED;
    if (ended && !wedge_expect_hung(out)) {
        snprintf(message, size, "expected %s, but it ended with %s %d", e->kind, out->signal ? "signal" : "status",
                 out->signal ? out->signal : out->exit_status);
        return false;
    }
    if (strcmp(h.kind, e->kind) != 0) {
        snprintf(message, size, "expected %s, got %s (%s): %s", e->kind, h.kind, h.certainty, h.summary);
        return false;
    }
    if (e->certainty && rank(h.certainty) < rank(e->certainty)) {
        snprintf(message, size, "expected it %s, got %s", e->certainty, h.certainty);
        return false;
    }
    if (e->scope && strcmp(h.scope, e->scope) != 0) {
        snprintf(message, size, "expected scope %s, got %s", e->scope, h.scope);
        return false;
    }
    if (!is_named(&e->culprit, "culprits", "culprit", out, message, size) ||
        !is_named(&e->victim, "victims", "victim", out, message, size))
        return false;
    if (within_ms && out->verdict_after_fault_ns > within_ms * 1000000) {
        snprintf(message, size, "the verdict came %" PRId64 " ms after the last fault, expected within %" PRId64 " ms",
                 out->verdict_after_fault_ns / 1000000, within_ms);
        return false;
    }
    return !ended || ended_as(e, out, message, size);
}

bool wedge_expect_holds(const struct wedge_expect *expect, int64_t within_ms, const struct wedge_outcome *outcome,
                        char *message, size_t size)
{
    if (strcmp(expect->kind, "finished") == 0)
        return finished(expect, outcome, message, size);
    return hung(expect, within_ms, outcome, message, size);
}
