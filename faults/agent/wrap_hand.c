/*
 * Wrappers that follow no pattern: open with its optional mode, fork and pthread_create
 * (who is born of whom), and the ways out of a process.
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

AGENT_EXPORT pid_t fork(void)
{
    READY(fork);
    struct agent_call call;
    if (AGENT_LIKELY(!agent_is_armed(WEDGE_FN_fork)))
        call.known = agent_find_here(&call.here);
    else if (agent_enter(&call, WEDGE_FN_fork, __builtin_return_address(0), 0, NULL, 0))
        return (pid_t)agent_result(&call, 0);
    if (!call.known)
        return agent_real.fork();
    agent_before_fork(&call.here);
    agent_objects_before_fork();
    pid_t pid = agent_real.fork();
    if (pid < 0)
        agent_objects_fork_failed();
    agent_after_fork(pid == 0);
    if (pid <= 0 || !agent_is_armed(WEDGE_FN_fork))
        return pid;
    return (pid_t)agent_leave(&call, pid);
}

/* vfork returns twice on one stack frame, so its wrapper may not have one: it jumps on, with the caller's return
 * address on top of the stack as it was. */
void *agent_prepare_vfork(void);
__attribute__((used)) void *agent_prepare_vfork(void)
{
    READY(vfork);
    agent_before_vfork();
    agent_objects_before_exec();
    return (void *)agent_real.vfork;
}
__asm__(".text\n"
        ".globl vfork\n"
        ".type vfork, @function\n"
        "vfork:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    subq $8, %rsp\n" /* a call wants the stack at a multiple of 16 */
        "    .cfi_adjust_cfa_offset 8\n"
        "    call agent_prepare_vfork\n"
        "    addq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    jmp *%rax\n"
        "    .cfi_endproc\n"
        ".size vfork, . - vfork\n");

/*
 * A thread's slot is claimed by its creator, so that "the nth thread of that thread" does not depend on who runs
 * first. Start routine and argument wait here, one entry per slot; the claim makes the entry the creator's alone, and
 * pthread_create orders it before the thread's start.
 */
enum { STARTS = 1024 };
static struct {
    void *(*start)(void *);
    void *arg;
} starts[STARTS];

static void end_thread(void *arg)
{
    (void)arg;
    agent_end_thread();
}

static void *begin_thread(void *arg)
{
    uint32_t slot = (uint32_t)(uintptr_t)arg;
    void *(*start)(void *) = starts[slot].start;
    void *result, *start_arg = starts[slot].arg;
    agent_announce_thread(slot);
    pthread_cleanup_push(end_thread, NULL); /* by return, pthread_exit and cancellation alike */
    result = start(start_arg);
    pthread_cleanup_pop(1);
    return result;
}

AGENT_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    READY(pthread_create);
    struct agent_here here;
    if (!agent_find_here(&here) || !here.thread)
        return agent_real.pthread_create(thread, attr, start, arg);
    uint32_t nth = atomic_fetch_add_explicit(&here.thread->children, 1, memory_order_relaxed) + 1;
    uint32_t slot = agent_claim_thread(here.proc_slot, here.thread_slot, nth);
    if (slot >= STARTS) {
        if (slot != AGENT_NONE)
            agent_abandon_thread(slot);
        return agent_real.pthread_create(thread, attr, start, arg);
    }
    starts[slot].start = start;
    starts[slot].arg = arg;
    int rc = agent_real.pthread_create(thread, attr, begin_thread, (void *)(uintptr_t)slot);
    if (rc)
        agent_abandon_thread(slot);
    return rc;
}

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

#define WAY_OUT(name)                                                                                                  \
    AGENT_EXPORT __attribute__((noreturn)) void name(int status)                                                       \
    {                                                                                                                  \
        READY(name);                                                                                                   \
        agent_exit();                                                                                                  \
        agent_real.name(status);                                                                                       \
        __builtin_unreachable();                                                                                       \
    }
WAY_OUT(exit)
WAY_OUT(_exit)
WAY_OUT(_Exit)
WAY_OUT(quick_exit)
