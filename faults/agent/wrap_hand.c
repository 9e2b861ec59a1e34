/*
 * Wrappers that follow no pattern: open with its optional mode, dlopen. Those of processes are in wrap_process.c.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "faults/agent/agent.h"
#include "faults/agent/object.h"
#include "faults/agent/real.h"
#include "faults/agent/where.h"

#define READY(name)                                                                                                    \
    do {                                                                                                               \
        if (AGENT_UNLIKELY(!agent_real.name))                                                                          \
            agent_resolve();                                                                                           \
    } while (0)
#define ENTER(call, name, object, ...)                                                                                 \
    agent_enter(call, WEDGE_FN_##name, __builtin_return_address(0), AGENT_WORD(object),                                \
                (const uint64_t[]){AGENT_WORDS(__VA_ARGS__)},                                                          \
                sizeof((const uint64_t[]){AGENT_WORDS(__VA_ARGS__)}) / sizeof(uint64_t))

/* The mode is there only with these flags (open(2)); read otherwise it would be what happens to be in a register. */
#define TAKE_MODE(mode, flags)                                                                                         \
    mode_t mode = 0;                                                                                                   \
    if (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE) {                                                       \
        va_list ap_;                                                                                                   \
        va_start(ap_, flags);                                                                                          \
        mode = va_arg(ap_, mode_t);                                                                                    \
        va_end(ap_);                                                                                                   \
    }
#define OPEN(name)                                                                                                     \
    AGENT_EXPORT int name(const char *path, int flags, ...)                                                            \
    {                                                                                                                  \
        TAKE_MODE(mode, flags)                                                                                         \
        READY(name);                                                                                                   \
        if (AGENT_LIKELY(!agent_is_armed(WEDGE_FN_##name)))                                                            \
            return agent_real.name(path, flags, mode);                                                                 \
        struct agent_call call;                                                                                        \
        if (ENTER(&call, name, 0, path, flags, mode))                                                                  \
            return (int)agent_result(&call, 0);                                                                        \
        return (int)agent_leave(&call, agent_real.name(path, flags, mode));                                            \
    }
#define OPENAT(name)                                                                                                   \
    AGENT_EXPORT int name(int dir, const char *path, int flags, ...)                                                   \
    {                                                                                                                  \
        TAKE_MODE(mode, flags)                                                                                         \
        READY(name);                                                                                                   \
        if (AGENT_LIKELY(!agent_is_armed(WEDGE_FN_##name)))                                                            \
            return agent_real.name(dir, path, flags, mode);                                                            \
        struct agent_call call;                                                                                        \
        if (ENTER(&call, name, 0, dir, path, flags, mode))                                                             \
            return (int)agent_result(&call, 0);                                                                        \
        return (int)agent_leave(&call, agent_real.name(dir, path, flags, mode));                                       \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/*
 * A library loaded later has places too. dlopen asks for its caller by the return address (RUNPATH, $ORIGIN); where
 * that matters, for a name without a slash or with a "$", the call is passed on as a jump, which keeps the address and
 * leaves nobody to arm the places afterwards: such a library's places stay unarmed until the next dlopen by path.
 */
AGENT_EXPORT void *dlopen(const char *file, int mode)
{
    bool path = false, dollar = false;
    READY(dlopen);
    for (const char *at = file; at && *at; at++) {
        path |= *at == '/';
        dollar |= *at == '$';
    }
    if (!agent_arena.ready || !path || dollar)
        return agent_real.dlopen(file, mode);
    void *library = agent_real.dlopen(file, mode);
    if (library) {
        agent_arm_places();
        agent_where_resolve();
    }
    return library;
}
