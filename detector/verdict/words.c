/*
 * Summaries: one or two plain sentences that name threads, functions, lines, objects and the cause. A person who reads
 * nothing else of a report should know from them where to look.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "detector/look/members.h"
#include "detector/verdict/short_name.h"
#include "detector/verdict/verdict.h"

#define MOST_NAMED 3 /* more threads than this are counted instead of named */
#define MOST_TEXT  4096

static void add_proc(struct wedge_text *text, const char *role, int index, const char *comm, pid_t pid)
{
    if (*role && index)
        wedge_text_addf(text, "%s[%d] (pid %d)", role, index, (int)pid);
    else
        wedge_text_addf(text, "%s (pid %d)", *role ? role : *comm ? comm : "process", (int)pid);
}

/* "worker[1] (pid 77)", and the thread where it is not the leader. */
static void add_who(struct wedge_text *text, const struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_proc *p = &look->snapshot->procs[t->proc];
    if (t->tid != p->pid)
        wedge_text_addf(text, "thread %s (tid %d) of ", t->name, (int)t->tid);
    add_proc(text, p->role, p->role_index, p->comm, p->pid);
}

static void add_function(struct wedge_text *text, const char *function)
{
    char name[160];
    wedge_short_name(function, name, sizeof(name));
    wedge_text_add(text, name);
}

/* "g() (h.c:1)": the file without its folders, which the stacks below have in full. */
static void add_frame(struct wedge_text *text, const struct wedge_frame *f)
{
    add_function(text, f->function);
    if (!f->file)
        return;
    const char *slash = strrchr(f->file, '/');
    wedge_text_addf(text, " (%s:%d)", slash ? slash + 1 : f->file, f->line);
}

/* Did a signal interrupt the thread further out than here? */
static bool is_in_handler(const struct wedge_thread *t, const struct wedge_frame *from)
{
    for (const struct wedge_frame *f = from; f < t->frames + t->n_frames; f++)
        if (f->signal)
            return true;
    return false;
}

/* The function that called it, and whose helper that was: a wrapper's name alone says little. */
static void add_callers(struct wedge_text *text, const struct wedge_thread *t, const char *how)
{
    const struct wedge_frame *f = wedge_verdict_own_frame(t);
    if (!f || !f->function)
        return;
    wedge_text_add(text, how);
    add_frame(text, f);
    const struct wedge_frame *caller = f + 1;
    if (caller < t->frames + t->n_frames && caller->function && !caller->libc && !caller->runtime) {
        wedge_text_add(text, " in ");
        add_frame(text, caller);
    }
    if (is_in_handler(t, f))
        wedge_text_add(text, ", in a signal handler");
}

static void add_where(struct wedge_text *text, const struct wedge_thread *t)
{
    if (t->wait.call && *t->wait.call)
        wedge_text_addf(text, " in %s()", t->wait.call);
    add_callers(text, t, ", called from ");
}

static const char *rule_id(const struct wedge_look *look, int rule)
{
    return rule >= 0 && (size_t)rule < look->snapshot->n_faults ? look->snapshot->faults[rule].id : "?";
}

/* "X waits for Y in f(), called from g() at h.c:1". */
static void add_wait(struct wedge_text *text, const struct wedge_look *look, int thread)
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    add_who(text, look, thread);
    if (t->wait.class == WEDGE_WAIT_HELD) {
        wedge_text_addf(text, " is held by fault rule %s", rule_id(look, t->rule));
        if (t->wait.call && *t->wait.call)
            wedge_text_addf(text, " at %s", t->wait.call);
        add_callers(text, t, ", in ");
        return;
    }
    if (t->wait.class == WEDGE_WAIT_NONE || t->wait.class == WEDGE_WAIT_SLEEP) {
        wedge_text_add(text, t->wait.class == WEDGE_WAIT_NONE ? " runs" : " sleeps");
        add_where(text, t);
        return;
    }
    if (t->wait.class == WEDGE_WAIT_STOPPED && !*t->wait.object.describe) {
        wedge_text_add(text, " is stopped by a signal");
        return;
    }
    wedge_text_addf(text, " waits for %s", *t->wait.object.describe ? t->wait.object.describe : "something");
    add_where(text, t);
}

/* Both wait in the same way for the same thing: naming one tells of the other. */
static bool alike(const struct wedge_thread *a, const struct wedge_thread *b)
{
    return a->wait.class == b->wait.class && *a->wait.object.key && strcmp(a->wait.object.key, b->wait.object.key) == 0;
}

static void add_waits(struct wedge_text *text, const struct wedge_look *look, const int *threads, size_t n)
{
    size_t named = 0;
    for (size_t i = 0; i < n && named < MOST_NAMED; i++) {
        bool told = false;
        for (size_t k = 0; k < i && !told; k++)
            told = alike(&look->snapshot->threads[threads[i]], &look->snapshot->threads[threads[k]]);
        if (told)
            continue;
        wedge_text_add(text, named++ == 0 ? "" : "; ");
        add_wait(text, look, threads[i]);
    }
    if (n > named)
        wedge_text_addf(text, "; and %zu more thread%s", n - named, n - named == 1 ? "" : "s");
}

static void add_dead(struct wedge_text *text, const struct wedge_look *look, const struct wedge_verdict *v)
{
    for (size_t i = 0; i < v->n_dead && i < MOST_NAMED; i++) {
        const struct wedge_dead *d = &look->snapshot->dead[v->dead[i]];
        wedge_text_add(text, i == 0 ? "" : ", ");
        add_proc(text, d->role, d->role_index, "", d->pid);
        wedge_text_addf(text, " %s%s",
                        strncmp(d->how, "killed", 6) == 0 || strncmp(d->how, "ended", 5) == 0 ? "was "
                        : strcmp(d->how, "gone") == 0                                         ? "is "
                                                                                              : "has ",
                        d->how);
        if (*d->last_point)
            wedge_text_addf(text, " after %s", d->last_point);
    }
    if (v->n_dead > MOST_NAMED)
        wedge_text_addf(text, " and %zu more", v->n_dead - MOST_NAMED);
}

static void say_cycle(struct wedge_text *text, const struct wedge_look *look, const struct wedge_verdict *v,
                      size_t core)
{
    for (size_t i = 0; i < core && i < MOST_NAMED; i++) {
        int owner = look->threads[v->victims[i]].owner;
        wedge_text_add(text, i == 0 ? "" : "; ");
        add_wait(text, look, v->victims[i]);
        if (owner < 0)
            continue; /* a circle that the kernel refused to close */
        wedge_text_add(text, ", which ");
        add_who(text, look, owner);
        wedge_text_add(text, " owns");
    }
    if (core > MOST_NAMED)
        wedge_text_addf(text, "; and so on over %zu threads", core);
    wedge_text_add(text, ": none of them can go on.");
}

static void say_callback(struct wedge_text *text, const struct wedge_look *look, const struct wedge_verdict *v,
                         size_t core)
{
    for (size_t i = 0; i < core; i++) {
        const struct wedge_thread *t = &look->snapshot->threads[v->victims[i]];
        if (!t->wait.callback)
            continue;
        const struct wedge_frame *at = NULL;
        for (size_t k = 0; k < t->n_frames && t->callback_function && !at; k++)
            if (t->frames[k].function && strcmp(t->frames[k].function, t->callback_function) == 0)
                at = &t->frames[k];
        wedge_text_addf(text, "The user's %s", t->callback);
        if (t->callback_function) {
            wedge_text_add(text, ", ");
            add_function(text, t->callback_function);
        }
        if (at && at->file)
            wedge_text_addf(text, " (%s:%d)", strrchr(at->file, '/') ? strrchr(at->file, '/') + 1 : at->file, at->line);
        wedge_text_add(text, v->certainty == WEDGE_PROVED ? ", never returns: " : ", does not return: ");
        add_wait(text, look, v->victims[i]);
        int64_t since = look->snapshot->taken_ns - t->callback_since_ns;
        if (t->callback_since_ns > 0 && since > 0)
            wedge_text_addf(text, " (in it for %.1f s)", (double)since / WEDGE_NS_PER_S);
        wedge_text_add(text, ".");
        return;
    }
}

/* Whose the lock is that nobody releases; who waits for it comes first among the victims. */
static void say_gone(struct wedge_text *text, const struct wedge_look *look, const struct wedge_verdict *v)
{
    const struct wedge_thread *t = &look->snapshot->threads[v->victims[0]];
    pid_t copied_from = look->threads[v->victims[0]].copied_from;
    if (copied_from) {
        wedge_text_addf(text,
                        ". The lock was copied by fork: its owner %d lives in process %d and cannot release this copy.",
                        (int)t->wait.object.owner_tid, (int)copied_from);
        return;
    }
    wedge_text_add(text, ", and the owner is gone");
    if (v->n_dead) {
        wedge_text_add(text, ": ");
        add_dead(text, look, v);
    }
    wedge_text_add(text, ".");
}

static void say_rest(struct wedge_text *text, const struct wedge_look *look, const struct wedge_verdict *v, size_t core)
{
    size_t rest = v->n_victims - core;
    if (rest == 0)
        return;
    wedge_text_add(text, " ");
    add_wait(text, look, v->victims[core]);
    if (rest > 1)
        wedge_text_addf(text, ", and %zu more thread%s for them", rest - 1, rest == 2 ? " waits" : "s wait");
    wedge_text_add(text, ".");
}

/* "Nothing moves before 14:03:07." A deadline further away than a year was meant as none. */
static void say_until(struct wedge_text *text, const struct wedge_look *look, const struct wedge_verdict *v)
{
    enum { DAY_S = 86400, YEAR_S = 365 * DAY_S };
    time_t left = (time_t)(v->stuck_until_ns / WEDGE_NS_PER_S), at = time(NULL) + left;
    char words[64];
    struct tm tm;
    if (look->core || left >= YEAR_S || !localtime_r(&at, &tm) ||
        !strftime(words, sizeof(words), left < DAY_S ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm))
        return;
    wedge_text_addf(text, " Nothing moves before %s: one of these waits has a deadline.", words);
}

static void say_hang(struct wedge_text *text, const struct wedge_look *look, const struct wedge_verdict *v)
{
    size_t core = wedge_verdict_core(look, v);
    switch (v->kind) {
    case WEDGE_VERDICT_SELF_DEADLOCK:
        add_wait(text, look, v->victims[0]);
        wedge_text_add(text, look->threads[v->victims[0]].refused ? "." : ", which it owns itself.");
        break;
    case WEDGE_VERDICT_LOCK_CYCLE:
        say_cycle(text, look, v, core);
        break;
    case WEDGE_VERDICT_STUCK_CALLBACK:
        say_callback(text, look, v, core);
        break;
    case WEDGE_VERDICT_ABANDONED_LOCK:
        add_waits(text, look, v->victims, core);
        say_gone(text, look, v);
        break;
    case WEDGE_VERDICT_ORPHANED_WAIT:
        add_waits(text, look, v->victims, core);
        wedge_text_add(text, ". Nobody is left who could end it");
        if (v->n_dead) {
            wedge_text_add(text, ": ");
            add_dead(text, look, v);
        }
        wedge_text_add(text, ".");
        break;
    case WEDGE_VERDICT_LOST_WAKEUP:
        add_waits(text, look, v->victims, core);
        wedge_text_add(text,
                       ". It has happened already: whoever did it did not wake who waits, and nobody is left to.");
        break;
    case WEDGE_VERDICT_CONTENTION:
        add_waits(text, look, v->victims, core);
        wedge_text_addf(text, ". For %.1f s ", (double)look->threads[v->victims[0]].asleep_ns / WEDGE_NS_PER_S);
        add_who(text, look, v->culprits[0]);
        wedge_text_add(text, " has had it: ");
        add_wait(text, look, v->culprits[0]);
        wedge_text_add(text, ".");
        break;
    case WEDGE_VERDICT_MUTUAL_BACKPRESSURE:
        add_waits(text, look, v->victims, core);
        wedge_text_add(text, ": a buffer is full, and whoever would empty it waits as well.");
        break;
    default:
        add_waits(text, look, v->victims, core);
        wedge_text_add(text, ". Nobody who could end this can run.");
    }
    say_rest(text, look, v, core);
    say_until(text, look, v);
}

static void add_root(struct wedge_text *text, const struct wedge_look *look)
{
    const struct wedge_proc *root = wedge_members_root(look);
    if (root)
        add_proc(text, root->role, root->role_index, root->comm, root->pid);
    else
        wedge_text_addf(text, "What user %u has running", (unsigned)look->options->user);
}

/* A sentence that begins with "thread x (tid 1) of …" begins with a capital; with a program's name it does not. */
static void capitalise(struct wedge_text *text)
{
    for (char *at = text->data; (at = at ? strstr(at, "thread ") : NULL) != NULL; at++)
        if (at == text->data || (at - text->data >= 2 && at[-1] == ' ' && at[-2] == '.'))
            *at = 'T';
}

const char *wedge_verdict_summary(struct wedge_look *look, const struct wedge_verdict *v)
{
    struct wedge_text text = WEDGE_TEXT_INIT(MOST_TEXT);
    switch (v->kind) {
    case WEDGE_VERDICT_IDLE:
        add_root(&text, look);
        wedge_text_add(&text, " waits for the outside: no hang.");
        break;
    case WEDGE_VERDICT_RUNNING:
        add_root(&text, look);
        if (v->certainty == WEDGE_SUSPECTED)
            wedge_text_addf(&text, " cannot be judged: %s.", v->reason);
        else
            wedge_text_add(&text, " runs.");
        break;
    case WEDGE_VERDICT_FINISHED:
        add_root(&text, look);
        wedge_text_add(&text, " has ended.");
        break;
    case WEDGE_VERDICT_LIVELOCK:
    case WEDGE_VERDICT_NO_PROGRESS:
        add_root(&text, look);
        wedge_text_addf(&text, " has made no progress for %.1f s%s. ",
                        (double)look->options->stalled_ns / WEDGE_NS_PER_S,
                        v->kind == WEDGE_VERDICT_LIVELOCK ? ", and burns CPU time" : "");
        add_waits(&text, look, v->victims, v->n_victims);
        wedge_text_add(&text, ".");
        break;
    default:
        say_hang(&text, look, v);
    }
    capitalise(&text);
    const char *copy = wedge_look_text(look, text.data);
    wedge_text_free(&text);
    return copy;
}
