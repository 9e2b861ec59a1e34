/*
 * Who is on the stack: libgcc's unwinder, linked into the agent for itself alone.
 *
 * On glibc 2.35 and later it finds a frame's tables by _dl_find_object, which takes no lock and may be called in signal
 * handlers, and allocates nothing. What it has beside that for others (tables registered at run time, emulated TLS)
 * would ask libc for locks and memory; nobody in the agent does that, so those calls end here (--wrap): they are never
 * made, and if one were, it would be seen at once instead of being a lock or an allocation inside the program.
 */
#include <unwind.h>

#include "faults/agent/where.h"

enum { FRAMES = 72 }; /* 64 of the program behind those of the agent */

#define NEVER(name)                                                                                                    \
    void __wrap_##name(void);                                                                                          \
    void __wrap_##name(void)                                                                                           \
    {                                                                                                                  \
        __builtin_trap();                                                                                              \
    }
NEVER(abort)
NEVER(calloc)
NEVER(free)
NEVER(malloc)
NEVER(realloc)
NEVER(pthread_getspecific)
NEVER(pthread_setspecific)
NEVER(pthread_key_create)
NEVER(__pthread_key_create)
NEVER(pthread_mutex_lock)
NEVER(pthread_mutex_unlock)

/* How libgcc fills a table at its first unwinding. Refused, it fills it without, if it is empty; and the first
 * unwinding is in the constructor (agent_where_prepare). */
int __wrap_pthread_once(void *control, void (*function)(void));
int __wrap_pthread_once(void *control, void (*function)(void))
{
    (void)control;
    (void)function;
    return 1;
}

struct behind {
    uintptr_t address;
    unsigned frames;
    bool in; /* the runtime has been reached */
};

static _Unwind_Reason_Code visit_behind(struct _Unwind_Context *context, void *arg)
{
    struct behind *behind = arg;
    uintptr_t address = _Unwind_GetIP(context);
    if (agent_is_runtime(address))
        behind->in = true;
    else if (behind->in)
        behind->address = address;
    return behind->address || ++behind->frames == FRAMES ? _URC_NORMAL_STOP : _URC_NO_REASON;
}

uint64_t agent_caller_behind(uint64_t caller)
{
    struct behind behind = {0};
    _Unwind_Backtrace(visit_behind, &behind);
    return behind.address ? behind.address : caller;
}

struct search {
    uint32_t list;
    unsigned frames;
    bool found;
};

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *arg)
{
    struct search *search = arg;
    int exact = 0; /* 1: a signal interrupted this one here, so that nothing was called */
    uintptr_t address = _Unwind_GetIPInfo(context, &exact);
    if (agent_is_in(search->list, address + (exact ? 1 : 0)))
        search->found = true;
    return search->found || ++search->frames == FRAMES ? _URC_NORMAL_STOP : _URC_NO_REASON;
}

bool agent_stack_has(uint32_t list)
{
    struct search search = {.list = list};
    _Unwind_Backtrace(visit, &search);
    return search.found;
}
