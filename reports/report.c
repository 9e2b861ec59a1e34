/* The model as a whole: run, verdicts, faults, timeline, metrics. Processes and threads: tree.c. */
#include "reports/report.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/clock.h"
#include "base/duration.h"
#include "reports/output.h"
#include "reports/put.h"
#include "reports/tree.h"

static json_t *host_of(struct wedge_put *p)
{
    struct utsname name = {0};
    cpu_set_t cpus;
    json_t *o = json_object();
    uname(&name);
    wedge_put_str(p, o, "kernel", name.release);
    wedge_put_str(p, o, "machine", name.machine);
    /* More than CPU_SETSIZE processors: sched_getaffinity(2) fails with EINVAL. */
    wedge_put_int(p, o, "cpus", sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : CPU_SETSIZE);
    wedge_put_str(p, o, "libc", gnu_get_libc_version());
    return o;
}

static json_t *started_of(int64_t unix_ms)
{
    char day[32], text[40];
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    if (unix_ms <= 0 || !gmtime_r(&s, &tm) || !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm))
        return json_null();
    snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(unix_ms % 1000));
    return json_string(text);
}

static bool redacted;

void wedge_report_redact(void)
{
    redacted = true;
}

bool wedge_report_is_redacted(void)
{
    return redacted;
}

static bool has_ended(const struct wedge_report_run *run)
{
    return run && (run->exit_status >= 0 || run->signal > 0 || run->exec_errno > 0);
}

/* NULL: nothing is known of the run yet. */
static json_t *run_of(struct wedge_put *p, const struct wedge_report_run *run)
{
    static const struct wedge_report_run none = {.exit_status = -1, .duration_ms = -1};
    json_t *o = json_object(), *command = NULL;
    run = run ? run : &none;
    if (run->command) {
        command = json_array();
        for (char *const *word = run->command; *word; word++)
            wedge_put_item(p, command, wedge_report_string(redacted && word > run->command ? "(redacted)" : *word));
    }
    wedge_put_text(p, o, "verb", run->verb);
    wedge_put_text(p, o, "scenario", run->scenario);
    wedge_put_text(p, o, "preset", run->preset);
    wedge_put(p, o, "command", run->command ? command : json_null());
    wedge_put(p, o, "started", started_of(run->started_unix_ms));
    wedge_put_int_if(p, o, "started_ns", run->started_ns > 0, run->started_ns);
    wedge_put_int_if(p, o, "duration_ms", run->duration_ms >= 0, run->duration_ms);
    wedge_put_hex(p, o, "seed", run->seed);
    wedge_put_int_if(p, o, "exit_status", run->exit_status >= 0, run->exit_status);
    wedge_put_int_if(p, o, "signal", run->signal > 0, run->signal);
    wedge_put_bool(p, o, "agent", run->agent);
    wedge_put(p, o, "host", host_of(p));
    return o;
}

static json_t *assumptions_of(struct wedge_put *p, unsigned bits)
{
    static const struct {
        unsigned bit;
        const char *word;
    } words[] = {{WEDGE_ASSUME_NO_OUTSIDE_SIGNAL, "no-outside-signal"},
                 {WEDGE_ASSUME_NO_OUTSIDE_KILL, "no-outside-kill"},
                 {WEDGE_ASSUME_POSIX_OWNER, "posix-owner"},
                 {WEDGE_ASSUME_COMPLETE_VIEW, "complete-view"}};
    json_t *all = json_array();
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (bits & words[i].bit)
            wedge_put_item(p, all, json_string(words[i].word));
    return all;
}

static json_t *verdict_of(struct wedge_put *p, const struct wedge_snapshot *s, const struct wedge_verdict *v)
{
    json_t *o = json_object(), *culprits = json_array(), *victims = json_array();
    wedge_put_str(p, o, "kind", wedge_verdict_words[v->kind]);
    wedge_put_str(p, o, "certainty", wedge_certainty_words[v->certainty]);
    wedge_put_str(p, o, "scope", wedge_scope_words[v->scope]);
    wedge_put_bool(p, o, "hang", wedge_verdict_is_hang(v->kind));
    wedge_put_str(p, o, "reason", v->reason);
    wedge_put(p, o, "assumptions", assumptions_of(p, v->assumptions));
    wedge_put_str(p, o, "summary", v->summary);
    wedge_put_str(p, o, "signature", v->signature);
    wedge_put_str(p, o, "signature_roles", v->signature_roles);
    wedge_put_int_if(p, o, "stuck_until_ms", v->stuck_until_ns != INT64_MAX && wedge_verdict_is_hang(v->kind),
                     v->stuck_until_ns / WEDGE_NS_PER_MS);
    for (size_t i = 0; i < v->n_dead; i++)
        wedge_put_item(p, culprits, wedge_tree_dead_party(p, s, v->dead[i]));
    for (size_t i = 0; i < v->n_culprits; i++)
        wedge_put_item(p, culprits, wedge_tree_party(p, s, v->culprits[i]));
    for (size_t i = 0; i < v->n_victims; i++)
        wedge_put_item(p, victims, wedge_tree_party(p, s, v->victims[i]));
    wedge_put(p, o, "culprits", culprits);
    wedge_put(p, o, "victims", victims);
    return o;
}

/* The verdict where none was reached by looking: it ended, or it was still running and nobody looked. */
static json_t *plain_verdict(struct wedge_put *p, const struct wedge_report_run *run)
{
    char summary[160], took[48], how[64];
    bool ended = has_ended(run);
    struct wedge_verdict v = {.kind = ended ? WEDGE_VERDICT_FINISHED : WEDGE_VERDICT_RUNNING,
                              .certainty = ended ? WEDGE_PROVED : WEDGE_SUSPECTED,
                              .scope = WEDGE_SCOPE_WHOLE,
                              .reason = !ended                ? "it was not examined"
                                        : run->exec_errno > 0 ? "it never began"
                                                              : "its end was seen",
                              .summary = summary,
                              .stuck_until_ns = INT64_MAX};
    if (ended && run->signal > 0)
        snprintf(how, sizeof(how), "was ended by signal %d (SIG%s)", run->signal,
                 sigabbrev_np(run->signal) ? sigabbrev_np(run->signal) : "?");
    else if (ended)
        snprintf(how, sizeof(how), "ended by itself with status %d", run->exit_status);
    if (ended && run->exec_errno > 0)
        snprintf(summary, sizeof(summary), "The command could not be executed: %s.", strerror(run->exec_errno));
    else if (!ended)
        snprintf(summary, sizeof(summary), "The command was still running and was not examined.");
    else if (run->duration_ms >= 0)
        snprintf(summary, sizeof(summary), "The command %s after %s.", how,
                 wedge_duration_text(run->duration_ms * WEDGE_NS_PER_MS, took, sizeof(took)));
    else
        snprintf(summary, sizeof(summary), "The command %s.", how);
    return verdict_of(p, NULL, &v);
}

static json_t *firings_of(struct wedge_put *p, const struct wedge_snapshot *s, int rule)
{
    json_t *all = json_array();
    for (size_t i = 0; i < s->n_firings; i++) {
        const struct wedge_firing *f = &s->firings[i];
        if (f->rule != rule)
            continue;
        json_t *o = json_object();
        wedge_put_count(p, o, "order", f->order);
        wedge_put_int(p, o, "at_ns", f->when_ns);
        wedge_put_int(p, o, "pid", f->pid);
        wedge_put_int(p, o, "tid", f->tid);
        wedge_put_role(p, o, f->role, f->role_index, f->role_gen);
        wedge_put_str(p, o, "place", f->place);
        wedge_put_item(p, all, o);
    }
    return all;
}

static json_t *faults_of(struct wedge_put *p, const struct wedge_snapshot *s)
{
    json_t *all = json_array();
    for (size_t i = 0; i < s->n_faults; i++) {
        const struct wedge_fault *f = &s->faults[i];
        json_t *o = json_object();
        wedge_put_str(p, o, "id", f->id);
        wedge_put_str(p, o, "text", f->text);
        wedge_put_int_if(p, o, "line", f->line > 0, f->line);
        wedge_put_count(p, o, "hits", f->hits);
        wedge_put_count(p, o, "fired", f->fired);
        wedge_put_bool(p, o, "must_fire", f->must_fire);
        wedge_put_bool(p, o, "held_now", f->held_now);
        wedge_put(p, o, "firings", firings_of(p, s, (int)i));
        wedge_put_item(p, all, o);
    }
    return all;
}

static void put_event(struct wedge_put *p, json_t *timeline, int64_t at_ns, const char *what, json_t *node,
                      const char *text)
{
    json_t *o = json_object();
    wedge_put_int(p, o, "at_ns", at_ns);
    wedge_put(p, o, "at_ms", json_null());
    wedge_put(p, o, "what", json_string(what));
    wedge_put(p, o, "node", node);
    wedge_put_str(p, o, "text", text);
    wedge_put_item(p, timeline, o);
}

static void firing_event(struct wedge_put *p, const struct wedge_snapshot *s, const struct wedge_firing *f,
                         json_t *timeline)
{
    char text[400], who[80];
    const char *id = wedge_tree_rule(s, f->rule);
    if (f->role && *f->role)
        snprintf(who, sizeof(who), "%s[%d]", f->role, f->role_index);
    else
        snprintf(who, sizeof(who), "process %d", f->pid);
    snprintf(text, sizeof(text), "rule %s fired in %s%s%s", id ? id : "?", who, f->place && *f->place ? " at " : "",
             f->place ? f->place : "");
    put_event(p, timeline, f->when_ns, "fault", json_null(), text);
}

static json_t *timeline_of(struct wedge_put *p, const struct wedge_snapshot *s)
{
    json_t *all = json_array();
    for (size_t i = 0; i < s->n_firings; i++)
        firing_event(p, s, &s->firings[i], all);
    for (size_t i = 0; i < s->n_threads; i++) {
        const struct wedge_thread *t = &s->threads[i];
        char text[400], node[24];
        if (!t->callback || !*t->callback || t->callback_since_ns <= 0)
            continue;
        snprintf(text, sizeof(text), "the user's %s%s%s%s began and has not returned", t->callback,
                 t->callback_function ? " (" : "", t->callback_function ? t->callback_function : "",
                 t->callback_function ? ")" : "");
        snprintf(node, sizeof(node), "t%d", t->tid);
        put_event(p, all, t->callback_since_ns, "callback", json_string(node), text);
    }
    char text[80];
    if (!s->n_verdicts)
        return all;
    snprintf(text, sizeof(text), "verdict: %s", wedge_verdict_words[s->verdicts[0].kind]);
    put_event(p, all, s->taken_ns, "verdict", json_null(), text);
    return all;
}

static json_t *metrics_of(struct wedge_put *p, const struct wedge_snapshot *s)
{
    json_t *o = json_object();
    size_t live = 0;
    uint64_t fired = 0;
    for (size_t i = 0; s && i < s->n_threads; i++)
        live += s->threads[i].live;
    for (size_t i = 0; s && i < s->n_faults; i++)
        fired += s->faults[i].fired;
    wedge_put_count(p, o, "processes", s ? s->n_procs : 0);
    wedge_put_count(p, o, "threads", s ? s->n_threads : 0);
    wedge_put_count(p, o, "stuck_threads", s ? s->n_threads - live : 0);
    wedge_put_count(p, o, "live_threads", live);
    wedge_put_count(p, o, "dead_processes", s ? s->n_dead : 0);
    wedge_put_count(p, o, "edges", s ? s->n_edges : 0);
    wedge_put_count(p, o, "faults_fired", fired);
    wedge_put_count(p, o, "progress", s ? s->progress : 0);
    return o;
}

static void put_snapshot(struct wedge_put *p, json_t *report, const struct wedge_snapshot *s)
{
    json_t *verdicts = json_array();
    for (size_t i = 0; i < s->n_verdicts; i++)
        wedge_put_item(p, verdicts, verdict_of(p, s, &s->verdicts[i]));
    wedge_put(p, report, "root", s->root ? json_integer(s->root) : json_null());
    wedge_put_int(p, report, "taken_ns", s->taken_ns);
    wedge_put(p, report, "verdict", json_incref(json_array_get(verdicts, 0)));
    wedge_put(p, report, "verdicts", verdicts);
    wedge_tree_processes(p, s, report);
    wedge_put(p, report, "dead", wedge_tree_dead(p, s));
    wedge_put(p, report, "edges", wedge_tree_edges(p, s));
    wedge_put(p, report, "faults", faults_of(p, s));
    wedge_put(p, report, "timeline", timeline_of(p, s));
    wedge_put(p, report, "disturbance", wedge_tree_disturbance(p, s));
    wedge_put_str(p, report, "complete", s->complete);
}

/* `recalled`: what the agent's record tells of a run that is over, NULL none. */
static void put_nothing_seen(struct wedge_put *p, json_t *report, const struct wedge_report_run *run,
                             const struct wedge_snapshot *recalled)
{
    static const struct wedge_snapshot nothing;
    json_t *verdicts = json_array();
    wedge_put_item(p, verdicts, plain_verdict(p, run));
    wedge_put(p, report, "root", json_null());
    wedge_put(p, report, "taken_ns", json_null());
    wedge_put(p, report, "verdict", json_incref(json_array_get(verdicts, 0)));
    wedge_put(p, report, "verdicts", verdicts);
    wedge_put(p, report, "faults", recalled ? faults_of(p, recalled) : json_array());
    wedge_put(p, report, "timeline", recalled ? timeline_of(p, recalled) : json_array());
    static const char *const lists[] = {"frames", "stacks", "processes", "dead", "edges"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        wedge_put(p, report, lists[i], json_array());
    wedge_put(p, report, "disturbance", wedge_tree_disturbance(p, &nothing));
    wedge_put_str(p, report, "complete", "");
}

static int64_t event_time(const json_t *event)
{
    return json_integer_value(json_object_get(event, "at_ns"));
}

/* Sorts the events by time; few enough for insertion. Events at the same moment keep their order. */
static int sort_timeline(json_t *timeline)
{
    for (size_t i = 1; i < json_array_size(timeline); i++) {
        json_t *event = json_incref(json_array_get(timeline, i));
        size_t to = i;
        while (to > 0 && event_time(json_array_get(timeline, to - 1)) > event_time(event))
            to--;
        int rc = to == i ? 0 : json_array_remove(timeline, i) || json_array_insert(timeline, to, event);
        json_decref(event);
        if (rc)
            return rc;
    }
    return 0;
}

/* Puts the start and the end of the run, where it was ours, into the timeline, and every event's time since then. */
static void date_timeline(struct wedge_put *p, json_t *timeline, const struct wedge_report_run *run)
{
    bool known = run && run->command && run->started_ns > 0;
    for (size_t i = json_array_size(timeline); i-- > 0;) {
        const char *what = json_string_value(json_object_get(json_array_get(timeline, i), "what"));
        if (what && (strcmp(what, "started") == 0 || strcmp(what, "ended") == 0))
            json_array_remove(timeline, i);
    }
    if (known)
        put_event(p, timeline, run->started_ns, "started", json_null(), "the command began");
    if (known && has_ended(run) && run->duration_ms >= 0)
        put_event(p, timeline, run->started_ns + run->duration_ms * WEDGE_NS_PER_MS, "ended", json_null(),
                  "the command ended");
    if (sort_timeline(timeline))
        p->failed = true;
    size_t i;
    json_t *event;
    json_array_foreach(timeline, i, event)
        wedge_put_int_if(p, event, "at_ms", known, known ? (event_time(event) - run->started_ns) / WEDGE_NS_PER_MS : 0);
}

static json_t *injection_of(struct wedge_put *p, const struct wedge_report_injection *from)
{
    json_t *o = json_object(), *unfired = json_array(), *absent = json_array();
    char id[64];
    wedge_put_bool(p, o, "invalid", from->invalid);
    for (const char *at = from->unfired; *(at += strspn(at, " ")); at += strcspn(at, " ")) {
        snprintf(id, sizeof(id), "%.*s", (int)strcspn(at, " "), at);
        wedge_put_item(p, unfired, wedge_report_string(id));
    }
    wedge_put(p, o, "unfired", unfired);
    wedge_put_str(p, o, "missed", from->missed);
    wedge_put_str(p, o, "noted", from->noted);
    for (size_t i = 0; i < from->n_absent; i++) {
        json_t *one = json_object();
        wedge_put_int_if(p, one, "pid", from->absent[i].pid > 0, from->absent[i].pid);
        wedge_put_str(p, one, "path", from->absent[i].path);
        wedge_put_str(p, one, "why", from->absent[i].why);
        wedge_put_item(p, absent, one);
    }
    wedge_put(p, o, "absent", absent);
    wedge_put_count(p, o, "more_absent", from->more_absent);
    wedge_put_count(p, o, "lost_processes", from->lost_processes);
    wedge_put_count(p, o, "lost_threads", from->lost_threads);
    return o;
}

static int put_run(struct wedge_put *p, json_t *report, const struct wedge_report_run *run)
{
    const char *kind = wedge_report_text(report, "verdict.kind");
    wedge_put(p, report, "run", run_of(p, run));
    wedge_put(p, report, "injection", run && run->injection ? injection_of(p, run->injection) : json_null());
    wedge_put(p, report, "output", wedge_output_lines(run && !redacted ? run->output_tail : NULL));
    date_timeline(p, json_object_get(report, "timeline"), run);
    if (has_ended(run) && (strcmp(kind, "running") == 0 || strcmp(kind, "idle") == 0)) {
        json_t *verdicts = json_array();
        wedge_put_item(p, verdicts, plain_verdict(p, run));
        wedge_put(p, report, "verdict", json_incref(json_array_get(verdicts, 0)));
        wedge_put(p, report, "verdicts", verdicts);
    }
    return p->failed ? -ENOMEM : 0;
}

int wedge_report_set_run(json_t *report, const struct wedge_report_run *run)
{
    struct wedge_put p = {0};
    return put_run(&p, report, run);
}

json_t *wedge_report_new(const struct wedge_report_run *run, const struct wedge_snapshot *snapshot)
{
    struct wedge_put p = {0};
    json_t *report = json_object(), *wedge = json_object();
    wedge_put(&p, report, "schema", json_string(WEDGE_REPORT_SCHEMA));
    wedge_put_str(&p, wedge, "version", WEDGE_VERSION);
    wedge_put(&p, report, "wedge", wedge);
    if (snapshot && snapshot->n_verdicts)
        put_snapshot(&p, report, snapshot);
    else
        put_nothing_seen(&p, report, run, snapshot);
    wedge_put(&p, report, "metrics", metrics_of(&p, snapshot));
    wedge_put(&p, report, "skipped", json_array());
    put_run(&p, report, run);
    if (!p.failed)
        return report;
    json_decref(report);
    return NULL;
}
