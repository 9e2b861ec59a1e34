/*
 * Which calls make, copy, use and end objects, by the names and kinds of the function tables. Only functions that the
 * plan needs for its objects get a role; the others cost nothing.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ipc.h>

#include "faults/agent/object_internal.h"
#include "faults/agent/object_roles.h"

uint8_t agent_object_roles[WEDGE_FN_COUNT];
bool agent_object_follows;
static uint8_t made_by[WEDGE_FN_COUNT], argument[WEDGE_FN_COUNT];

static const struct {
    const char *name;
    uint8_t kind, effect;
} functions[WEDGE_FN_COUNT] = {
#define F(ret, name, family, style, extra, kind, effect, ...)                                                          \
    [WEDGE_FN_##name] = {#name, WEDGE_OBJECT_##kind, WEDGE_EFFECT_##effect},
#include "faults/functions/all.def"
#undef F
};

static uint8_t role_of(unsigned function)
{
    uint8_t kind = functions[function].kind;
    for (size_t i = 0; i < sizeof(agent_object_special) / sizeof(agent_object_special[0]); i++)
        if (strcmp(agent_object_special[i].name, functions[function].name) == 0) {
            made_by[function] = agent_object_special[i].made;
            argument[function] = agent_object_special[i].at;
            return agent_object_special[i].role;
        }
    switch (functions[function].effect) {
    case WEDGE_EFFECT_NONE:
        return NO_ROLE;
    case WEDGE_EFFECT_CREATE:
        return kind == WEDGE_OBJECT_FD ? NO_ROLE : MAKES;
    case WEDGE_EFFECT_RESULT:
        return kind == WEDGE_OBJECT_FD ? MAKES_DESCRIPTOR : MAKES_RESULT;
    case WEDGE_EFFECT_DESTROY:
        return kind == WEDGE_OBJECT_FD ? CLOSES : ENDS;
    default: /* what a descriptor is used for does not make it */
        return kind == WEDGE_OBJECT_FD ? NO_ROLE : USES;
    }
}

/* Kinds of which the plan wants each object; *ret_descriptors: descriptors must be followed. */
static uint32_t wanted_kinds(bool *ret_descriptors)
{
    uint32_t kinds = 0;
    *ret_descriptors = false;
    for (uint32_t i = 0; i < agent_arena.n_defines; i++) {
        const struct wedge_arena_define *define = &agent_arena.defines[i];
        if (define->what != WEDGE_DEFINE_OBJECT || define->kind >= WEDGE_OBJECT_COUNT)
            continue;
        *ret_descriptors |= define->kind == WEDGE_OBJECT_FD;
        /* A descriptor that no call was seen to make can be of this define. */
        bool any = define->made == WEDGE_MADE_ANY && !define->function[0] && !define->exe[0];
        if (define->kind != WEDGE_OBJECT_FD || any)
            kinds |= 1u << define->kind;
    }
    for (uint32_t i = 0; i < agent_arena.n_rules; i++) {
        const struct wedge_arena_rule *rule = &agent_arena.rules[i];
        bool shuts = rule->action == WEDGE_ACT_FULL || rule->action == WEDGE_ACT_EMPTY;
        if (rule->what != WEDGE_WHAT_FUNCTION || (rule->per != WEDGE_PER_OBJ && !shuts))
            continue;
        for (unsigned f = 0; f < WEDGE_FN_COUNT; f++)
            if (rule->functions[f / 64] >> (f % 64) & 1)
                kinds |= 1u << functions[f].kind;
    }
    if (agent_census)
        kinds = (1u << WEDGE_OBJECT_COUNT) - 1;
    kinds &= ~(1u << WEDGE_OBJECT_NONE);
    *ret_descriptors |= kinds >> WEDGE_OBJECT_FD & 1;
    return kinds;
}

void agent_object_watch(uint64_t watched[WEDGE_RULE_FUNCTIONS_WORDS])
{
    bool descriptors;
    agent_object_kept = wanted_kinds(&descriptors);
    uint8_t slot = 0;
    for (uint32_t i = 0; i < WEDGE_ARENA_RULES; i++) {
        bool counts = i < agent_arena.n_rules && agent_arena.rules[i].per == WEDGE_PER_OBJ && slot < WEDGE_OBJECT_RULES;
        agent_object_slots[i] = counts ? slot++ : AGENT_NO_SLOT;
    }
    agent_object_follows = descriptors;
    if (!agent_object_kept && !descriptors)
        return;
    for (unsigned f = 0; f < WEDGE_FN_COUNT; f++) {
        uint8_t role = role_of(f);
        bool descriptor = role >= MAKES_DESCRIPTOR && role <= CLOSES_FROM;
        if (descriptor ? !descriptors : !(agent_object_kept >> functions[f].kind & 1))
            role = NO_ROLE;
        agent_object_roles[f] = role;
        if (role)
            watched[f / 64] |= 1ull << (f % 64);
    }
}

/* Is the object that this call makes one of all processes that share its memory? */
static bool is_shared(const struct agent_call *call)
{
    unsigned at = argument[call->function];
    const void *attr = (const void *)(uintptr_t)(at && at <= call->site.n_args ? call->site.args[at - 1] : 0);
    int shared = PTHREAD_PROCESS_PRIVATE;
    switch (call->site.kind) {
    case WEDGE_OBJECT_SEM: /* sem_open's has a name */
        return agent_object_roles[call->function] == MAKES_RESULT || attr != NULL;
    case WEDGE_OBJECT_SPIN:
        return (uintptr_t)attr == PTHREAD_PROCESS_SHARED;
    case WEDGE_OBJECT_MUTEX:
        if (attr && call->function != WEDGE_FN_mtx_init) /* whose second argument is a number */
            pthread_mutexattr_getpshared(attr, &shared);
        break;
    case WEDGE_OBJECT_COND:
        if (attr)
            pthread_condattr_getpshared(attr, &shared);
        break;
    case WEDGE_OBJECT_RWLOCK:
        if (attr)
            pthread_rwlockattr_getpshared(attr, &shared);
        break;
    case WEDGE_OBJECT_BARRIER:
        if (attr)
            pthread_barrierattr_getpshared(attr, &shared);
        break;
    default:
        break;
    }
    return shared == PTHREAD_PROCESS_SHARED;
}

void agent_object_before(struct agent_call *call)
{
    uint8_t role = agent_object_roles[call->function];
    /* An end is looked up while it can be, for rules that come after it. */
    if (role == USES || role == ENDS || role == CLOSES)
        agent_site_object(&call->here, &call->site);
}

void agent_object_effect(struct agent_call *call)
{
    const uint64_t *args = call->site.args;
    switch (agent_object_roles[call->function]) {
    case CLOSES:
        agent_descriptor_closed(&call->here, (int)call->site.object);
        break;
    case CLOSES_RANGE: /* close_range(2): the third are flags, and one of them closes nothing now */
        if (call->site.n_args < 3 || !((unsigned)args[2] & 4u /* CLOSE_RANGE_CLOEXEC */))
            agent_descriptors_closed(&call->here, (unsigned)args[0], (unsigned)args[1]);
        break;
    case CLOSES_FROM:
        agent_descriptors_closed(&call->here, (int)args[0] < 0 ? 0 : (unsigned)args[0], UINT32_MAX);
        break;
    default:
        break;
    }
}

static void set_row(struct agent_call *call, uint64_t object, uint32_t row)
{
    call->site.object = object;
    call->site.row = row == AGENT_NONE ? AGENT_NONE : row + 1;
}

static void make_descriptor(struct agent_call *call, int fd)
{
    const uint64_t *args = call->site.args;
    unsigned path = call->site.path;
    if (made_by[call->function] == WEDGE_MADE_SIGNALFD && (int)args[0] != -1)
        return; /* signalfd(2) changed the one that was given */
    uint32_t row =
        agent_descriptor_made(&call->here, fd, made_by[call->function], call->site.caller,
                              path && path <= call->site.n_args ? (const char *)(uintptr_t)args[path - 1] : NULL);
    if (functions[call->function].effect == WEDGE_EFFECT_RESULT) /* accept is about what it was called with */
        set_row(call, (uint64_t)fd, row);
}

void agent_object_after(struct agent_call *call, int64_t result)
{
    const uint64_t *args = call->site.args;
    uint8_t role = agent_object_roles[call->function], at = argument[call->function];
    switch (role) {
    case MAKES_DESCRIPTOR:
        if ((int)result >= 0)
            make_descriptor(call, (int)result);
        break;
    case MAKES_PAIR:
        if (result == 0 && at <= call->site.n_args) {
            const int *ends = (const int *)(uintptr_t)args[at - 1];
            set_row(call, (uint64_t)ends[0],
                    agent_descriptors_made(&call->here, ends, made_by[call->function], call->site.caller));
        }
        break;
    case CONTROLS:
        if ((int)args[1] != F_DUPFD && (int)args[1] != F_DUPFD_CLOEXEC)
            break;
        __attribute__((fallthrough));
    case COPIES:
        if ((int)result >= 0)
            agent_descriptor_copied(&call->here, (int)args[0], (int)result);
        break;
    case MAKES:
        if (result == 0)
            set_row(
                call, call->site.object,
                agent_object_made(&call->here, call->site.kind, call->site.object, is_shared(call), call->site.caller));
        break;
    case MAKES_THREAD:
        if (result == 0) {
            uint64_t thread = *(const pthread_t *)(uintptr_t)args[0];
            set_row(call, thread,
                    agent_object_made(&call->here, WEDGE_OBJECT_THREAD, thread, false, call->site.caller));
        }
        break;
    case MAKES_RESULT:
        if (result != -1 && (result != 0 || call->site.kind >= WEDGE_OBJECT_SEMSET)) /* 0 is an identifier */
            set_row(
                call, (uint64_t)result,
                agent_object_made(&call->here, call->site.kind, (uint64_t)result, is_shared(call), call->site.caller));
        break;
    case ENDS:
        if (result == 0)
            agent_object_gone(&call->here, call->site.kind, call->site.object);
        break;
    case REMOVES:
        if (result == 0 && at <= call->site.n_args && (int)args[at - 1] == IPC_RMID)
            agent_object_gone(&call->here, call->site.kind, call->site.object);
        break;
    default:
        break;
    }
}
