/*
 * What a report means to a session: a hang of the whole that is proved ends it at once, one that is only evident has to last,
 * a part is said once; and what is done about it.
 */
#include "scenarios/session_state.h"

#include <stdio.h>
#include <string.h>

#include "detector/stacks/stacks.h"
#include "faults/launch.h"
#include "scenarios/verdict.h"

/* When the last rule fired, 0 none did. */
static int64_t last_fired_ns(const struct wedge_session_state *st)
{
    struct wedge_arena_copy copy;
    int64_t last = 0;
    if (!st->agent || wedge_arena_copy(&st->arena, false, &copy, NULL))
        return 0;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_FIRINGS); i++) {
        const struct wedge_arena_event *e = wedge_arena_firing(&copy, i);
        if (e && (int64_t)e->when_ns > last)
            last = (int64_t)e->when_ns;
    }
    wedge_arena_copy_free(&copy);
    return last;
}

static void take_report(struct wedge_session_state *st, json_t *report)
{
    json_decref(st->out->report);
    st->out->report = report;
}

/* What was asked for beside the report: before anything is killed. */
static void act(struct wedge_session_state *st, const struct wedge_act *what, const json_t *report)
{
    struct wedge_headline h = wedge_headline(report);
    struct wedge_tree tree = {0};
    struct wedge_act_scene scene = {.tree = &tree,
                                    .dir = st->s->dir ? st->s->dir : ".",
                                    .root = st->root,
                                    .kind = h.kind,
                                    .scope = h.scope,
                                    .mask = &st->command_mask,
                                    .on_note = st->s->on_note,
                                    .arg = st->s->arg};
    if (what->core && wedge_session_list_tree(st, &tree) == 0)
        wedge_act_cores(&scene);
    wedge_tree_free(&tree);
    if (what->command)
        wedge_act_command(&scene, what->command);
    if (what->kill)
        st->out->still_alive = wedge_session_kill_tree(st);
}

/* Is there a thread whose stack was not taken because the stop would have ended its wait? */
static bool was_spared(const json_t *report)
{
    size_t i, k;
    const json_t *process, *thread;
    json_array_foreach(json_object_get(report, "processes"), i, process)
        json_array_foreach(json_object_get(process, "threads"), k, thread) {
            const char *note = json_string_value(json_object_get(thread, "stack_note"));
            if (note && strcmp(note, "no stack: " WEDGE_STACKS_SPARED) == 0)
                return true;
        }
    return false;
}

/* What is reported has stacks. A hang of the whole that is proved was looked at so from the beginning
 * (detector/stacks/stacks.c), and has all of them, which is wanted before a tree is killed. Of another one this is a second
 * look, believed if it says the same; without stacks the same hang has another signature. */
static json_t *record(struct wedge_session_state *st, bool all, json_t *report)
{
    struct wedge_headline h = wedge_headline(report);
    json_t *full = NULL;
    bool spared = was_spared(report);
    if ((h.whole && h.proved) || (!all && !spared) ||
        wedge_session_examine(st, 0, all ? WEDGE_SESSION_ALL : WEDGE_SESSION_PARTIES, &full))
        return report;
    struct wedge_headline again = wedge_headline(full);
    bool same = strcmp(again.kind, h.kind) == 0 && (spared || strcmp(again.signature, h.signature) == 0);
    json_decref(same ? report : full);
    return same ? full : report;
}

/* A hang that is acted upon, or the limit: report, then what was asked for. A command that we launched and are not
 * to end is waited for; of a process that we attached to nothing more is wanted. */
void wedge_session_finish(struct wedge_session_state *st, enum wedge_session_end end, const struct wedge_act *what,
                          json_t *report)
{
    if (end == WEDGE_HUNG)
        report = record(st, what->kill, report);
    int64_t fired = last_fired_ns(st);
    if (fired)
        st->out->verdict_after_fault_ns = wedge_clock_ns() - fired;
    st->out->end = end;
    take_report(st, report);
    if (st->s->on_report)
        st->s->on_report(st->s->arg, report, true);
    wedge_session_look_for_absent(st, NULL, true);
    act(st, what, report);
    st->done = what->kill || st->s->attach;
}

static bool lasted(struct wedge_session_state *st, const struct wedge_headline *h, int64_t now)
{
    if (strcmp(st->lasting, h->signature) != 0) {
        snprintf(st->lasting, sizeof(st->lasting), "%s", h->signature);
        st->lasting_since_ns = now;
    }
    return now - st->lasting_since_ns >= st->stall_ns;
}

/* A proved hang of a part that has lasted: once, unless its words change. */
static bool act_on_part(struct wedge_session_state *st, json_t *report)
{
    const struct wedge_act *what = &st->s->on_part;
    if ((!what->core && !what->kill && !what->command) || strcmp(st->acted, st->lasting) == 0)
        return false;
    snprintf(st->acted, sizeof(st->acted), "%s", st->lasting);
    if (what->kill)
        wedge_session_finish(st, WEDGE_HUNG, what, report);
    else
        act(st, what, report);
    return what->kill;
}

/* What an examination means. Takes the report over. */
void wedge_session_judge(struct wedge_session_state *st, json_t *report, bool stalled, int64_t now)
{
    struct wedge_headline h = wedge_headline(report);
    if (!h.hang) {
        st->lasting[0] = 0;
        st->ripe_at_ns = 0;
        if (st->out->end == WEDGE_HUNG) { /* it was reported, and dissolved after all */
            st->out->end = WEDGE_ENDED;
            take_report(st, NULL);
        }
        json_decref(report);
        return;
    }
    bool lasts = (!h.whole || !h.proved) && lasted(st, &h, now);
    bool waits = !lasts && (!h.whole || !h.proved);
    st->ripe_at_ns = waits ? st->lasting_since_ns + st->stall_ns : 0;
    bool evident = strcmp(h.certainty, "evident") == 0;
    if (h.whole && (h.proved || stalled || (lasts && evident && st->s->act_on_evident))) {
        if (st->out->end == WEDGE_HUNG)
            json_decref(report);
        else
            wedge_session_finish(st, WEDGE_HUNG, &st->s->on_hang, report);
        return;
    }
    /* What is not acted upon is reported once, unless its words change. */
    bool contention = strcmp(h.kind, "contention") == 0; /* has lasted, else it would not be said */
    bool worth = lasts || contention || (!h.whole && h.proved);
    if (worth && strcmp(st->reported, h.signature) != 0) {
        snprintf(st->reported, sizeof(st->reported), "%s", h.signature);
        report = record(st, false, report);
        take_report(st, json_incref(report));
        if (st->s->on_report)
            st->s->on_report(st->s->arg, report, false);
        if (contention && st->s->contention_quiesces && st->agent)
            wedge_faults_quiesce(&st->arena);
    }
    if (!h.whole && h.proved && lasts && act_on_part(st, report))
        return;
    json_decref(report);
}
