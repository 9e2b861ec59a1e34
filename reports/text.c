/*
 * A report for a person at a terminal, 60 to 120 columns wide.
 *
 *   HANG: orphaned wait (proved, the whole program)
 *     what happened, in the words of the summary
 *   Cause            who could have acted and did not
 *   Who waits        thread by thread: call, function, line, object, and under it who could end that wait
 *   Faults           what the plan did
 *   Rests on         the assumptions
 *   What to do next
 *
 * Invariant: every text of the model passes wedge_text_plain before it is printed; the only escape sequences are ours.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/text.h"
#include "reports/describe.h"
#include "reports/report.h"
#include "reports/words.h"
#include "reports/write.h"

enum { MOST_BYTES = 8 << 20, MOST_GROUPS = 40, MOST_WAKERS = 8, MOST_DISTURBED = 8, LONGEST = 2048 };

enum style { PLAIN, BOLD, RED, YELLOW, GREEN, DIM };

struct page {
    struct wedge_text out;
    const json_t *report;
    struct wedge_describe *nodes;
    int columns;
    bool color, all;
};

static const char *get(const json_t *object, const char *path)
{
    return wedge_report_text(object, path);
}

/* Threads that look the same: one line for all. */
struct group {
    const json_t *process, *thread;
    size_t count;
};

static void styled(struct page *p, enum style style, const char *text)
{
    static const char *const codes[] = {"", "\033[1m", "\033[1;31m", "\033[33m", "\033[32m", "\033[2m"};
    char plain[4 * LONGEST];
    wedge_text_plain(text, plain, sizeof(plain));
    if (p->color && style != PLAIN)
        wedge_text_addf(&p->out, "%s%s\033[0m", codes[style], plain);
    else
        wedge_text_add(&p->out, plain);
}

/* Columns that `len` bytes of UTF-8 take, counting each character as one. */
static int width_of(const char *s, size_t len)
{
    int n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

/* Prints words from column `at`, which the caller has reached already; goes on at `indent` in further lines, and ends
 * the last one. A word longer than a line stays whole. */
static void wrapped(struct page *p, int at, int indent, enum style style, const char *text)
{
    char plain[4 * LONGEST], word[4 * LONGEST];
    bool first = true;
    wedge_text_plain(text, plain, sizeof(plain));
    for (const char *s = plain; *s;) {
        size_t len = strcspn(s, " ");
        int width = width_of(s, len);
        if (!first && at + 1 + width > p->columns) {
            wedge_text_addf(&p->out, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        if (len) {
            if (!first) {
                wedge_text_add(&p->out, " ");
                at++;
            }
            memcpy(word, s, len);
            word[len] = 0;
            styled(p, style, word);
            at += width;
            first = false;
        }
        s += len + (s[len] == ' ');
    }
    wedge_text_add(&p->out, "\n");
}

static void heading(struct page *p, const char *title)
{
    wedge_text_add(&p->out, "\n");
    styled(p, BOLD, title);
    wedge_text_add(&p->out, "\n");
}

static void indented(struct page *p, int indent, enum style style, const char *text)
{
    wedge_text_addf(&p->out, "%*s", indent, "");
    wrapped(p, indent, indent, style, text);
}

static void headline(struct page *p)
{
    const json_t *v = json_object_get(p->report, "verdict");
    struct wedge_word kind = wedge_word_kind(get(v, "kind"));
    bool hang = json_is_true(json_object_get(v, "hang"));
    bool proved = strcmp(get(v, "certainty"), "proved") == 0;
    char sure[256];
    bool unknown = !hang && strcmp(get(v, "certainty"), "suspected") == 0; /* a core file that is cut off */
    styled(p,
           !hang && !unknown ? GREEN
           : proved          ? RED
                             : YELLOW,
           hang      ? "HANG: "
           : unknown ? "Not known: "
                     : "No hang: ");
    styled(p, BOLD, unknown ? "Whether it hangs" : kind.title);
    snprintf(sure, sizeof(sure), " (%s, %s)", wedge_word_certainty(get(v, "certainty")).title,
             wedge_word_scope(get(v, "scope"), get(v, "certainty")).title);
    if (hang)
        styled(p, PLAIN, sure);
    wedge_text_add(&p->out, "\n");
    if (*get(v, "summary"))
        indented(p, 2, PLAIN, get(v, "summary"));
    indented(p, 2, DIM,
             unknown ? "Have the core written anew, without a limit of its size (ulimit -c unlimited)." : kind.means);
    if (hang && !proved && *get(v, "reason")) {
        snprintf(sure, sizeof(sure), "Not proved: %s", get(v, "reason"));
        indented(p, 2, YELLOW, sure);
    }
}

/* `alike`: how many more look the same. */
static void party_line(struct page *p, const json_t *party, size_t alike)
{
    char who[512], line[LONGEST], more[48] = "";
    const json_t *process;
    const char *last = get(party, "last_point");
    wedge_describe_node(p->nodes, get(party, "node"), who, sizeof(who));
    if (alike)
        snprintf(more, sizeof(more), " and %zu alike", alike);
    if (get(party, "node")[0] == 'd') {
        snprintf(line, sizeof(line), "%s%s%s%s", who, *last ? ", last at " : "", last, more);
    } else {
        const char *place =
            wedge_describe_places(p->nodes, wedge_describe_find(p->nodes, get(party, "node"), &process));
        snprintf(line, sizeof(line), "%s%s: %s%s%s%s", who, more, *get(party, "call") ? "in " : "runs",
                 get(party, "call"), *place ? ", called from " : "", place);
    }
    indented(p, 2, PLAIN, line);
}

static void cause(struct page *p)
{
    const json_t *culprits = json_object_get(json_object_get(p->report, "verdict"), "culprits");
    const json_t *party, *shown[MOST_WAKERS];
    char looks[MOST_WAKERS][LONGEST], look[LONGEST];
    size_t counts[MOST_WAKERS], i, at, n = 0, more = 0;
    if (json_array_size(culprits) == 0)
        return;
    heading(p, wedge_describe_is_everyone(p->report) ? "Who is in it: each could end the wait of another"
                                                     : "Cause: who could have acted and did not");
    json_array_foreach(culprits, i, party) {
        wedge_describe_party_look(p->nodes, party, look, sizeof(look));
        for (at = 0; at < n && strcmp(looks[at], look) != 0; at++)
            ;
        if (at < n) {
            counts[at]++;
        } else if (n < MOST_WAKERS) {
            shown[n] = party;
            memcpy(looks[n], look, sizeof(look));
            counts[n++] = 0;
        } else {
            more++;
        }
    }
    for (at = 0; at < n; at++)
        party_line(p, shown[at], counts[at]);
    if (more)
        wedge_text_addf(&p->out, "  and %zu more\n", more);
}

/* Does the thread belong into the list? With a hang those that are stuck; otherwise all. */
static bool is_wanted(const struct page *p, const json_t *thread)
{
    bool hang = json_is_true(json_object_get(json_object_get(p->report, "verdict"), "hang"));
    bool some_stuck = json_integer_value(json_object_get(json_object_get(p->report, "metrics"), "stuck_threads")) > 0;
    return p->all || !hang || !some_stuck || !json_is_true(json_object_get(thread, "live"));
}

/* A look, and the group that has it. */
struct look {
    size_t group; /* MOST_GROUPS: none, there were too many */
    UT_hash_handle hh;
    char text[];
};

struct gathering {
    const struct page *page;
    struct look *looks;
    struct group *groups;
    size_t n, rest; /* groups; threads in none of them */
};

/* Puts the thread into its group. */
static void add_to_group(struct gathering *g, const json_t *process, const json_t *thread)
{
    char text[LONGEST];
    struct look *look;
    wedge_describe_thread_look(g->page->nodes, process, thread, text, sizeof(text));
    size_t len = strlen(text);
    HASH_FIND(hh, g->looks, text, len, look);
    if (!look && (look = malloc(sizeof(*look) + len + 1))) {
        memcpy(look->text, text, len + 1);
        look->group = g->n < MOST_GROUPS ? g->n : MOST_GROUPS;
        if (g->n < MOST_GROUPS)
            g->groups[g->n++] = (struct group){process, thread, 0};
        HASH_ADD(hh, g->looks, text, len, look);
    }
    if (look && look->group < MOST_GROUPS)
        g->groups[look->group].count++;
    else
        g->rest++;
}

static size_t gather(const struct page *p, struct group *groups, size_t *ret_rest)
{
    size_t i, j;
    const json_t *process, *thread;
    struct gathering g = {.page = p, .groups = groups};
    struct look *look, *next;
    json_array_foreach(json_object_get(p->report, "processes"), i, process)
        json_array_foreach(json_object_get(process, "threads"), j, thread)
            if (is_wanted(p, thread) && (json_is_true(json_object_get(process, "in_tree")) || p->all))
                add_to_group(&g, process, thread);
    HASH_ITER(hh, g.looks, look, next)
    {
        HASH_DEL(g.looks, look);
        free(look);
    }
    *ret_rest = g.rest;
    return g.n;
}

/* Who could end the wait of this thread, without those who could only interrupt it. */
static void wakers(struct page *p, const json_t *thread)
{
    struct {
        char look[LONGEST];
        const json_t *edge;
        size_t count;
    } shown[MOST_WAKERS];
    const json_t *edge;
    size_t i, n = 0, more = 0, at;
    for (i = 0; (edge = wedge_describe_edge(p->nodes, get(thread, "node"), &i));) {
        char look[LONGEST];
        if (strcmp(get(edge, "kind"), "signal") == 0)
            continue;
        wedge_describe_edge_look(p->nodes, edge, look, sizeof(look));
        for (at = 0; at < n && strcmp(shown[at].look, look) != 0; at++)
            ;
        if (at < n) {
            shown[at].count++;
        } else if (n < MOST_WAKERS) {
            memcpy(shown[n].look, look, sizeof(look));
            shown[n].edge = edge;
            shown[n++].count = 1;
        } else {
            more++;
        }
    }
    for (i = 0; i < n; i++) {
        char who[512], line[LONGEST], alike[48] = "";
        wedge_describe_node(p->nodes, get(shown[i].edge, "to"), who, sizeof(who));
        if (shown[i].count > 1)
            snprintf(alike, sizeof(alike), " and %zu alike", shown[i].count - 1);
        snprintf(line, sizeof(line), "%s%s%s%s", who, alike, *get(shown[i].edge, "why") ? ": " : "",
                 get(shown[i].edge, "why"));
        wedge_text_add(&p->out, "      <- ");
        wrapped(p, 9, 9, PLAIN, line);
    }
    if (more)
        wedge_text_addf(&p->out, "      <- and %zu more\n", more);
}

static bool is_same_frame(const json_t *a, const json_t *b)
{
    return strcmp(get(a, "pc"), get(b, "pc")) == 0 && strcmp(get(a, "function"), get(b, "function")) == 0 &&
           json_equal(json_object_get(a, "line"), json_object_get(b, "line")) &&
           json_equal(json_object_get(a, "inlined"), json_object_get(b, "inlined"));
}

/* A recursion is one line. */
static void stack(struct page *p, const json_t *thread)
{
    const json_t *frames = wedge_report_stack(p->report, thread);
    size_t n = json_array_size(frames), same;
    for (size_t i = 0; i < n; i += same) {
        const json_t *frame = wedge_report_frame(p->report, frames, i);
        for (same = 1; i + same < n && is_same_frame(frame, wedge_report_frame(p->report, frames, i + same));)
            same++;
        char place[512], line[LONGEST];
        wedge_describe_place(frame, place, sizeof(place));
        char times[48] = "";
        if (same > 1)
            snprintf(times, sizeof(times), ", %zu times", same);
        if (*place)
            snprintf(line, sizeof(line), "#%zu %s%s", i, place, times);
        else
            snprintf(line, sizeof(line), "#%zu %s+%s%s%s", i, get(frame, "module"), get(frame, "offset"),
                     json_is_true(json_object_get(frame, "signal")) ? " (a signal was delivered)" : "", times);
        bool dim = json_is_true(json_object_get(frame, "libc")) || json_is_true(json_object_get(frame, "runtime")) ||
                   strcmp(get(frame, "function"), "_start") == 0;
        indented(p, 6, dim ? DIM : PLAIN, line);
    }
    if (*get(thread, "stack_note"))
        indented(p, 6, DIM, get(thread, "stack_note"));
}

/* Of a thread in no call that waits. A leader that has ended stays until the last of its threads. */
static const char *idle_word(const json_t *thread)
{
    const json_t *wait = json_object_get(thread, "wait");
    if (strcmp(get(thread, "state"), "Z") == 0)
        return "has ended";
    return strcmp(get(wait, "class"), "none") == 0 ? "runs" : get(wait, "reason");
}

static void group_lines(struct page *p, const struct group *g)
{
    char who[512], line[LONGEST];
    const json_t *wait = json_object_get(g->thread, "wait");
    const char *place = wedge_describe_places(p->nodes, g->thread);
    const char *object = get(wait, "object.describe");
    const json_t *wakes = json_object_get(wait, "wakes_in_ms");
    char in[48], clock[96] = "";
    if (json_is_integer(wakes) &&
        json_integer_value(wakes) <= 0) /* how much is left of a sleep the kernel does not tell */
        snprintf(clock, sizeof(clock), "; it may wake at any moment");
    else if (json_is_integer(wakes))
        snprintf(clock, sizeof(clock), "; the clock wakes it in %s",
                 wedge_duration_text(json_integer_value(wakes) * WEDGE_NS_PER_MS, in, sizeof(in)));
    wedge_describe_node(p->nodes, get(g->thread, "node"), who, sizeof(who));
    if (g->count > 1)
        snprintf(line, sizeof(line), "%s and %zu alike", who, g->count - 1);
    else
        snprintf(line, sizeof(line), "%s", who);
    indented(p, 2, BOLD, line);
    if (*get(wait, "call"))
        snprintf(line, sizeof(line), "waits in %s%s%s%s%s%s", get(wait, "call"), *place ? ", called from " : "", place,
                 *object ? ", for " : "", object, clock);
    else
        snprintf(line, sizeof(line), "%s%s%s", idle_word(g->thread), *place ? " in " : "", place);
    indented(p, 4, PLAIN, line);
    if (*get(g->thread, "callback.name")) {
        snprintf(line, sizeof(line), "inside the user's %s%s%s", get(g->thread, "callback.name"),
                 *get(g->thread, "callback.function") ? ": " : "", get(g->thread, "callback.function"));
        indented(p, 4, YELLOW, line);
    }
    wakers(p, g->thread);
    if (p->all)
        stack(p, g->thread);
}

static void who_waits(struct page *p)
{
    struct group groups[MOST_GROUPS];
    size_t rest;
    size_t n = gather(p, groups, &rest);
    if (!n)
        return;
    heading(p, "Who waits for whom  (<- who could end the wait)");
    for (size_t i = 0; i < n; i++)
        group_lines(p, &groups[i]);
    if (rest)
        wedge_text_addf(&p->out, "  and %zu more threads, see report.html\n", rest);
}

static void faults(struct page *p)
{
    const json_t *all = json_object_get(p->report, "faults"), *fault;
    size_t i;
    if (json_array_size(all) == 0)
        return;
    heading(p, "Faults of the plan");
    json_array_foreach(all, i, fault) {
        char line[LONGEST];
        long long fired = json_integer_value(json_object_get(fault, "fired"));
        const char *must = !fired && json_is_true(json_object_get(fault, "must_fire")) ? " although it had to" : "";
        long long hits = json_integer_value(json_object_get(fault, "hits"));
        snprintf(line, sizeof(line), "%s  [%s %lld of %lld %s%s%s]", get(fault, "text"),
                 fired ? "fired" : "never fired:", fired, hits, hits == 1 ? "hit" : "hits", must,
                 json_is_true(json_object_get(fault, "held_now")) ? ", holds a thread now" : "");
        indented(p, 2, fired ? PLAIN : DIM, line);
    }
}

static void add_sentences(struct page *p, enum style style, const char *text)
{
    char line[LONGEST];
    while (*text) {
        const char *end = strstr(text, "; ");
        size_t len = end ? (size_t)(end - text) : strlen(text);
        snprintf(line, sizeof(line), "%.*s", (int)len, text);
        indented(p, 2, style, line);
        text += len + (end ? 2 : 0);
    }
}

/* Where no rule could act, and what of the plan could not happen. */
static void injection(struct page *p)
{
    const json_t *o = json_object_get(p->report, "injection"), *item;
    const json_t *absent = json_object_get(o, "absent"), *unfired = json_object_get(o, "unfired");
    long long procs = json_integer_value(json_object_get(o, "lost_processes"));
    long long threads = json_integer_value(json_object_get(o, "lost_threads"));
    long long more = json_integer_value(json_object_get(o, "more_absent"));
    bool invalid = json_is_true(json_object_get(o, "invalid"));
    char line[LONGEST];
    size_t i;
    if (!invalid && !*get(o, "noted") && !json_array_size(absent) && !procs && !threads)
        return;
    heading(p, invalid ? "The run is invalid: the plan did not happen as it says" : "What the agent did not reach");
    json_array_foreach(unfired, i, item) {
        snprintf(line, sizeof(line), "%s had to fire and has not", json_string_value(item));
        if (invalid)
            indented(p, 2, RED, line);
    }
    add_sentences(p, RED, get(o, "missed"));
    add_sentences(p, YELLOW, get(o, "noted"));
    json_array_foreach(absent, i, item) {
        const json_t *pid = json_object_get(item, "pid");
        char number[48] = "";
        if (json_is_integer(pid))
            snprintf(number, sizeof(number), " (%lld)", json_integer_value(pid));
        snprintf(line, sizeof(line), "without the agent: %s%s, which %s", get(item, "path"), number, get(item, "why"));
        indented(p, 2, PLAIN, line);
    }
    if (more) {
        snprintf(line, sizeof(line), "without the agent: %lld more", more);
        indented(p, 2, PLAIN, line);
    }
    if (procs || threads) {
        snprintf(line, sizeof(line), "%lld %s and %lld %s found no room in the arena", procs,
                 procs == 1 ? "process" : "processes", threads, threads == 1 ? "thread" : "threads");
        indented(p, 2, PLAIN, line);
    }
}

static void rests_on(struct page *p)
{
    const json_t *v = json_object_get(p->report, "verdict"), *item;
    size_t i;
    char line[LONGEST];
    if (json_array_size(json_object_get(v, "assumptions"))) {
        heading(p, "Rests on");
        json_array_foreach(json_object_get(v, "assumptions"), i, item)
            indented(p, 2, PLAIN, wedge_word_assumption(json_string_value(item)).means);
    }
    const json_t *skipped = json_object_get(p->report, "skipped");
    if (!*get(p->report, "complete") && !json_array_size(skipped))
        return;
    heading(p, "What could not be seen");
    if (*get(p->report, "complete"))
        indented(p, 2, PLAIN, get(p->report, "complete"));
    json_array_foreach(skipped, i, item) {
        snprintf(line, sizeof(line), "process %lld was left out (%s)", json_integer_value(json_object_get(item, "pid")),
                 get(item, "step"));
        indented(p, 2, PLAIN, line);
    }
}

/* What the look did to those it looked at. */
static void disturbed(struct page *p)
{
    const json_t *process, *seen;
    const json_t *all = json_object_get(json_object_get(p->report, "disturbance"), "may_have_seen_eintr");
    char line[LONGEST];
    size_t i, shown = 0, more = 0;
    json_array_foreach(json_object_get(p->report, "processes"), i, process) {
        long long us = json_integer_value(json_object_get(process, "stopped_us"));
        if (!us)
            continue;
        if (shown + more == 0)
            heading(p, "What the look disturbed");
        if (shown == MOST_DISTURBED) {
            more++;
            continue;
        }
        snprintf(line, sizeof(line), "%s (pid %lld) stood still for %lld.%02lld ms", get(process, "comm"),
                 json_integer_value(json_object_get(process, "pid")), us / 1000, us % 1000 / 10);
        indented(p, 2, PLAIN, line);
        shown++;
    }
    if (more) {
        snprintf(line, sizeof(line), "and %zu more processes, none for longer than %lld us", more,
                 json_integer_value(json_object_get(json_object_get(p->report, "disturbance"), "longest_stop_us")));
        indented(p, 2, PLAIN, line);
    }
    json_array_foreach(all, i, seen) {
        const char *when = get(seen, "when");
        bool part = strncmp(when, "a part done", 11) == 0, woken = strcmp(when, "its word has changed") == 0;
        snprintf(line, sizeof(line), "thread %lld %s %s%s", json_integer_value(json_object_get(seen, "tid")),
                 woken  ? "may have been woken by that from"
                 : part ? "may have come back early from"
                        : "may have seen EINTR from",
                 get(seen, "call"),
                 woken                         ? ": its word had changed, which the kernel looked at again"
                 : part                        ? ", if a part of it was done"
                 : strcmp(when, "always") == 0 ? ""
                                               : ", if its socket is one with SO_RCVTIMEO or SO_SNDTIMEO");
        if (i < MOST_DISTURBED)
            indented(p, 2, PLAIN, line);
    }
    if (json_array_size(all) > MOST_DISTURBED) {
        snprintf(line, sizeof(line), "and %zu more threads, see report.json", json_array_size(all) - MOST_DISTURBED);
        indented(p, 2, PLAIN, line);
    }
}

static void others(struct page *p)
{
    const json_t *all = json_object_get(p->report, "verdicts"), *v;
    size_t i;
    if (json_array_size(all) < 2)
        return;
    heading(p, "Also found");
    json_array_foreach(all, i, v) {
        char line[LONGEST];
        if (i == 0)
            continue;
        snprintf(line, sizeof(line), "%s (%s, %s): %s", wedge_word_kind(get(v, "kind")).title, get(v, "certainty"),
                 wedge_word_scope(get(v, "scope"), get(v, "certainty")).title, get(v, "summary"));
        indented(p, 2, PLAIN, line);
    }
}

static void next_steps(struct page *p)
{
    const json_t *v = json_object_get(p->report, "verdict");
    struct wedge_word kind = wedge_word_kind(get(v, "kind"));
    if (*kind.next) {
        heading(p, "What to do next");
        indented(p, 2, PLAIN, kind.next);
    }
    if (*get(v, "signature")) {
        wedge_text_add(&p->out, "\n");
        styled(p, DIM, get(v, "signature"));
        wedge_text_add(&p->out, "\n");
    }
}

/*
 * Nothing of it is a command to the CI system that reads the output. GitHub Actions takes a line for one that begins,
 * after blanks, with "::", and words are wrapped to where they happen to stand; "##", which is looked for anywhere, is
 * what wedge_text_plain takes care of. (actions/runner, ActionCommand.cs; learn.microsoft.com, Logging commands.)
 */
static int put_lines(const char *text, FILE *out)
{
    for (const char *line = text, *end; *line; line = end) {
        const char *word = line;
        end = line + strcspn(line, "\n");
        end += *end == '\n';
        while (*word == ' ' || *word == '\033') /* our own colours end with an m */
            word += *word == ' ' ? 1 : strcspn(word, "m") + 1;
        bool command = strncmp(word, "::", 2) == 0;
        if (fwrite(line, 1, (size_t)(word - line), out) != (size_t)(word - line) ||
            (command && fputs("\\x3a", out) < 0) ||
            fwrite(word + command, 1, (size_t)(end - word) - command, out) != (size_t)(end - word) - command)
            return -EIO;
    }
    return fflush(out) ? -EIO : 0;
}

int wedge_report_write_text(const json_t *report, FILE *out, const struct wedge_report_text_options *options,
                            struct wedge_err *err)
{
    static const struct wedge_report_text_options usual;
    options = options ? options : &usual;
    struct page p = {.out = WEDGE_TEXT_INIT(MOST_BYTES),
                     .report = report,
                     .columns = options->columns ? options->columns : 100,
                     .color = options->color,
                     .all = options->all_threads};
    p.columns = p.columns < 60 ? 60 : p.columns;
    p.nodes = wedge_describe_new(report);
    if (!p.nodes)
        return wedge_err_set(err, -ENOMEM, "no memory for the report as text");
    headline(&p);
    cause(&p);
    who_waits(&p);
    faults(&p);
    injection(&p);
    rests_on(&p);
    others(&p);
    disturbed(&p);
    next_steps(&p);
    int rc = 0;
    errno = 0;
    if (p.out.cut || !p.out.data)
        rc = wedge_err_set(err, -ENOMEM, "no memory for the report as text");
    else if (put_lines(p.out.data, out))
        rc = wedge_err_set(err, -EIO, "cannot print the report: %s", strerror(errno ? errno : EIO));
    wedge_describe_free(p.nodes);
    wedge_text_free(&p.out);
    return rc;
}
