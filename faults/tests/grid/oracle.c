#include "faults/tests/grid/oracle.h"

#include <string.h>
#include <wedge/point.h>

#define NONE (-1)

/* What a pass was answered. */
struct reply {
    bool given, dead;
    enum oracle_action action;
    int64_t number;
};

static bool is_place(enum grid_op op)
{
    return op >= OP_POINT;
}

/* The chance of wedge-plan(5): a hash of seed, rule, who counts (process, thread) and hit. splitmix64 from a start of these
 * (the id by FNV-1a). */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t text_hash(const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

static bool lucky(const struct oracle *o, int rule, int process, int thread, uint64_t hit)
{
    uint64_t x = mix(mix(o->seed) ^ text_hash(o->rules[rule].id)), by_process = o->processes[process].pedigree;
    if (o->rules[rule].per == PER_THREAD)
        x ^= mix(by_process ^ o->thread_pedigrees[process][thread]);
    if (o->rules[rule].per == PER_PROC)
        x ^= by_process;
    x = mix(x + hit * 0x9e3779b97f4a7c15u);
    return o->rules[rule].chance >= 1 || (double)x < o->rules[rule].chance * 18446744073709551616.0;
}

static bool is_who(const struct oracle *o, const struct oracle_rule *rule, int process, int thread)
{
    switch (rule->who) {
    case WHO_ROOT:
        return process == P_ROOT;
    case WHO_ROLE:
        return o->processes[process].role && strcmp(o->processes[process].role, rule->role) == 0 &&
               (rule->index == 0 || rule->index == o->processes[process].index) &&
               (rule->generation < 0 || rule->generation == o->processes[process].generation);
    case WHO_PROC:
        return o->processes[process].ordinal == rule->index;
    case WHO_THREAD:
        return thread == (int)rule->thread;
    default:
        return true;
    }
}

static bool is_time(const struct oracle *o, const struct oracle_rule *rule)
{
    if (rule->after_rule != NONE && o->fired[rule->after_rule] < rule->after_count)
        return false;
    return rule->after_mark == NONE || o->passes[rule->after_mark] >= rule->after_count;
}

static bool fires(struct oracle *o, int number, int process, int thread, bool answers, bool can_answer)
{
    const struct oracle_rule *rule = &o->rules[number];
    int p = rule->per == PER_TREE ? 0 : process, t = rule->per == PER_THREAD ? thread : 0;
    uint64_t hit = ++o->count[number][p][t];
    o->hits[number]++;
    if (rule->from && hit < rule->from)
        return false;
    if (rule->to && hit > rule->to)
        return false;
    if (rule->every && (rule->from ? hit - rule->from : hit) % rule->every != 0)
        return false;
    if (!lucky(o, number, process, thread, hit) || o->quiesced || o->released[number] || (answers && !can_answer))
        return false;
    if (rule->max && o->admitted[number][p][t] >= rule->max)
        return false;
    o->admitted[number][p][t]++;
    return true;
}

/* A pass: every rule in the order of the plan. */
static struct reply pass(struct oracle *o, int process, int thread, enum oracle_what what, int op, bool after)
{
    struct reply reply = {0};
    if (o->quiesced)
        return reply;
    for (int i = 0; i < o->n_rules && !reply.dead; i++) {
        const struct oracle_rule *rule = &o->rules[i];
        bool answers = rule->action <= ACT_EMPTY;
        if (rule->what != what || rule->after_effect != after || (what == WHAT_OPS && !(rule->ops >> op & 1)) ||
            !is_who(o, rule, process, thread) || !is_time(o, rule))
            continue;
        if (!fires(o, i, process, thread, answers, what == WHAT_OPS && op != OP_POINT && !reply.given))
            continue;
        o->fired[i]++;
        if (o->n_firings < FIRINGS_MAX)
            o->firings[o->n_firings] = (struct oracle_firing){i, process, thread};
        o->n_firings++;
        if (answers) {
            reply.given = true;
            reply.action = rule->action;
            reply.number = rule->number;
        } else if (rule->action == ACT_BLOCK) {
            o->released[i] = true;
        } else if (rule->action == ACT_QUIESCE) {
            o->quiesced = true;
        } else if (rule->action == ACT_KILL || rule->action == ACT_EXIT) {
            reply.dead = true;
            o->processes[process].status = rule->action == ACT_KILL ? 9 : (int)rule->number << 8;
        }
    }
    return reply;
}

static bool reports_by_code(enum grid_op op)
{
    return op == OP_SIGNAL || op == OP_BROADCAST;
}

/* What the call tells when nothing is done to it, and when it is not made. */
static struct grid_seen undisturbed(enum grid_op op)
{
    bool carries = op <= OP_READV;
    return (struct grid_seen){carries ? GRID_BYTES : 0, GRID_ERRNO,
                              op == OP_WRITE || op == OP_WRITEV ? GRID_BYTES : op == OP_POST || op == OP_CLOCK};
}

static int16_t not_made(enum grid_op op)
{
    if (op == OP_READ || op == OP_READV)
        return GRID_BYTES;
    return op == OP_TRYWAIT || op == OP_WAIT || op == OP_TIMEDWAIT;
}

static void fail(struct grid_seen *seen, enum grid_op op, int64_t error)
{
    seen->value = is_place(op) ? (int32_t)-error : reports_by_code(op) ? (int32_t)error : -1;
    if (!is_place(op) && !reports_by_code(op))
        seen->error = (int16_t)error;
}

static void answer(struct grid_seen *seen, enum grid_op op, const struct reply *reply)
{
    static const int words[] = {
        [ACT_DROP] = WEDGE_ASK_DROP, [ACT_FULL] = WEDGE_ASK_FULL, [ACT_EMPTY] = WEDGE_ASK_EMPTY};
    int32_t done = seen->value;
    switch (reply->action) {
    case ACT_ERRNO:
        fail(seen, op, reply->number);
        break;
    case ACT_RETURN:
        seen->value = (int32_t)reply->number;
        break;
    case ACT_SHORT:
        seen->value = reply->number < GRID_BYTES ? (int32_t)reply->number : GRID_BYTES;
        seen->effect = (int16_t)(op == OP_WRITE || op == OP_WRITEV ? seen->value : GRID_BYTES - seen->value);
        return;
    default:
        seen->value = is_place(op) ? words[reply->action] : done;
        break;
    }
    seen->effect = not_made(op);
}

/* False: it was the process's last. */
static bool call(struct oracle *o, int process, int thread)
{
    struct grid_thread *out = &o->map.processes[process].threads[thread];
    enum grid_op op = grid_op(process, thread, out->begun++);
    struct grid_seen seen = undisturbed(op);
    if (is_place(op))
        o->passes[op]++;
    o->sem[process][thread] = op == OP_POST ? 0 : NONE;
    struct reply reply = pass(o, process, thread, WHAT_OPS, op, false);
    if (reply.dead)
        return false;
    if (reply.given)
        answer(&seen, op, &reply);
    if (!is_place(op) && (!reply.given || reply.action == ACT_SHORT)) {
        o->sem[process][thread] = op == OP_POST ? 1 : NONE;
        struct reply late = pass(o, process, thread, WHAT_OPS, op, true);
        if (late.dead)
            return false;
        int16_t effect = seen.effect;
        if (late.given)
            answer(&seen, op, &late);
        seen.effect = effect;
    }
    o->sem[process][thread] = NONE;
    out->seen[out->done++] = seen;
    return true;
}

static bool segment(struct oracle *o, int process, int thread)
{
    for (int i = 0; i < SEGMENT; i++)
        if (!call(o, process, thread))
            return false;
    return true;
}

static void make_thread(struct oracle *o, int process, int creator, int thread)
{
    o->thread_pedigrees[process][thread] =
        creator == NONE ? mix(1) : mix(o->thread_pedigrees[process][creator] + ++o->thread_children[process][creator]);
}

static bool threads(struct oracle *o, int process)
{
    make_thread(o, process, T_MAIN, T_ALPHA);
    if (!segment(o, process, T_ALPHA))
        return false;
    make_thread(o, process, T_ALPHA, T_GAMMA);
    if (!segment(o, process, T_GAMMA) || !segment(o, process, T_ALPHA))
        return false;
    make_thread(o, process, T_MAIN, T_BETA);
    return segment(o, process, T_BETA);
}

/* A role is taken: a start for those rules that wait for it. */
static bool life(struct oracle *o, int process, enum oracle_what what, bool by_role)
{
    struct oracle_rule kept[RULES_MAX];
    memcpy(kept, o->rules, sizeof(*kept) * (size_t)o->n_rules);
    for (int i = 0; i < o->n_rules; i++)
        if (what == WHAT_START && (kept[i].who == WHO_ROLE) != by_role && kept[i].what == WHAT_START)
            kept[i].what = WHAT_OPS, kept[i].ops = 0;
    const struct oracle_rule *rules = o->rules;
    o->rules = kept;
    struct reply reply = pass(o, process, T_MAIN, what, NONE, false);
    o->rules = rules;
    return !reply.dead;
}

static bool take_role(struct oracle *o, int process, const char *role, unsigned index, int generation)
{
    o->processes[process].role = role;
    o->processes[process].index = index;
    o->processes[process].generation = generation;
    return life(o, process, WHAT_START, true);
}

static void born(struct oracle *o, int process, int parent);

static bool work(struct oracle *o, int process)
{
    if (!segment(o, process, T_MAIN))
        return false;
    if (process == P_HELPER && !take_role(o, process, "helper", 1, 0))
        return false;
    if (process != P_HELPER && process != P_ROOT &&
        !take_role(o, process, "worker", process == P_WORKER2 ? 2 : 1, process == P_AGAIN))
        return false;
    if (!segment(o, process, T_MAIN) || !threads(o, process) || !segment(o, process, T_MAIN))
        return false;
    if (process == P_ROOT) {
        born(o, P_WORKER1, process);
        born(o, P_WORKER2, process);
        born(o, P_AGAIN, process);
    }
    if (process == P_WORKER2)
        born(o, P_HELPER, process);
    if (process == P_HELPER && !take_role(o, process, "helper", 1, 1))
        return false;
    return segment(o, process, T_MAIN);
}

static void born(struct oracle *o, int process, int parent)
{
    o->map.processes[process].pid = 1;
    o->processes[process].ordinal = ++o->appeared;
    o->processes[process].pedigree =
        parent == NONE ? mix(2) : mix(o->processes[parent].pedigree + ++o->processes[parent].children);
    make_thread(o, process, NONE, T_MAIN);
    o->processes[process].status = (GRID_STATUS + process) << 8;
    if (life(o, process, WHAT_START, false) && work(o, process))
        life(o, process, WHAT_EXIT, false);
    o->map.processes[process].status = o->processes[process].status;
}

void oracle_run(struct oracle *o)
{
    const struct oracle_rule *rules = o->rules;
    int n = o->n_rules;
    uint64_t seed = o->seed;
    memset(o, 0, sizeof(*o));
    o->rules = rules;
    o->n_rules = n;
    o->seed = seed;
    memset(o->sem, 0xff, sizeof(o->sem));
    born(o, P_ROOT, NONE);
}
