/*
 * Wrappers that follow no pattern: open with its optional mode, syscall, dlopen, prctl, pthread_setname_np. Those of processes are in wrap_process.c.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "faults/agent/agent.h"
#include "faults/agent/object.h"
#include "faults/agent/real.h"
#include "faults/agent/sys.h"
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
#define ALIAS(alias, name)
#define ALIAS_HAND(alias, name) __asm__(".globl " #alias "\n.type " #alias ", @function\n.set " #alias ", " #name "\n");
#define ALIAS_PROCESS(alias, name)
#include "faults/functions/aliases.def"
#undef ALIAS
#undef ALIAS_HAND
#undef ALIAS_PROCESS

/*
 * A call that makes a process may return twice, and on another stack (clone(2)): no frame of ours may be there when it
 * does. So the wrapper asks first and then jumps on; a rule that comes `after` does not see such a call.
 */
static bool returns_twice(long number)
{
    return number == SYS_fork || number == SYS_vfork || number == SYS_clone || number == SYS_clone3;
}

struct asked {
    bool answered;
    long value;
};
static __attribute__((noinline)) struct asked ask_before(void *caller, long number, long a, long b, long c, long d,
                                                         long e, long f)
{
    struct agent_call call;
    const uint64_t words[] = {AGENT_WORDS(number, a, b, c, d, e, f)};
    struct asked asked = {.answered = agent_enter(&call, WEDGE_FN_syscall, caller, 0, words, 7)};
    if (asked.answered)
        asked.value = (long)agent_result(&call, 0);
    return asked;
}

static __attribute__((noinline)) long call_armed(void *caller, long number, long a, long b, long c, long d, long e,
                                                 long f)
{
    struct agent_call call;
    const uint64_t words[] = {AGENT_WORDS(number, a, b, c, d, e, f)};
    if (agent_enter(&call, WEDGE_FN_syscall, caller, AGENT_WORD(number == SYS_futex ? a : 0), words, 7))
        return (long)agent_result(&call, 0);
    return (long)agent_leave(&call, agent_real.syscall(number, a, b, c, d, e, f));
}

/* The sixth argument of the system call lies on the caller's stack, if there is one: it is read only when a rule wants
 * it, and never written, for it may as well be a variable of the caller's. The jump to the real one leaves it there. */
typedef long registers_fn(long number, long a, long b, long c, long d, long e);
static __attribute__((noinline)) long ruled_syscall(long number, long a, long b, long c, long d, long e)
{
    READY(syscall);
    registers_fn *real = (registers_fn *)(void *)agent_real.syscall;
    if (!agent_is_armed(WEDGE_FN_syscall))
        return real(number, a, b, c, d, e);
    long f = ((const long *)__builtin_frame_address(0))[2]; /* behind the frame pointer and the return address */
    if (!returns_twice(number))
        return call_armed(__builtin_return_address(0), number, a, b, c, d, e, f);
    struct asked asked = ask_before(__builtin_return_address(0), number, a, b, c, d, e, f);
    if (asked.answered)
        return asked.value;
    return real(number, a, b, c, d, e);
}

/* What the agent must know of before it happens: what takes the clocks from a thread (sys.h), a new name, and an alarm,
 * which the kernel shows nobody afterwards. */
struct change {
    bool strict, counter, name;
    uint32_t before;
};
static struct change begin_change(long number, long a, long b)
{
    struct change change = {
        .strict = (number == SYS_prctl && a == PR_SET_SECCOMP && b == SECCOMP_MODE_STRICT) ||
                  (number == SYS_seccomp && a == SECCOMP_SET_MODE_STRICT),
        .counter = number == SYS_prctl && a == PR_SET_TSC && b == PR_TSC_SIGSEGV,
        .name = number == SYS_prctl && a == PR_SET_NAME,
        .before = atomic_load(&sys_no_counter),
    };
    struct agent_here here;
    if (number == SYS_alarm || number == SYS_setitimer) {
        if (agent_find_here(&here))
            agent_note_alarm(&here);
        else
            agent_miss_alarm();
    }
    if (change.strict) {
        atomic_store(&sys_last_ns, sys_now_ns());
        sys_no_clock = 1;
    } else if (change.counter) {
        atomic_store(&sys_no_counter, 1);
    }
    return change;
}

static void end_change(const struct change *change, bool failed)
{
    if (failed && change->strict)
        sys_no_clock = 0;
    else if (failed && change->counter)
        atomic_store(&sys_no_counter, change->before);
    if (change->name)
        agent_name_changed(true);
}

static __attribute__((noinline)) long changing_syscall(long number, long a, long b, long c, long d, long e)
{
    struct change change = begin_change(number, a, b);
    long rc = ruled_syscall(number, a, b, c, d, e);
    end_change(&change, rc != 0);
    return rc;
}

AGENT_EXPORT long agent_wrap_syscall(long number, long a, long b, long c, long d, long e) __asm__("syscall");
AGENT_EXPORT long agent_wrap_syscall(long number, long a, long b, long c, long d, long e)
{
    if (AGENT_UNLIKELY(number == SYS_prctl || number == SYS_seccomp || number == SYS_alarm || number == SYS_setitimer))
        return changing_syscall(number, a, b, c, d, e);
    if (AGENT_LIKELY(agent_real.syscall && !agent_is_armed(WEDGE_FN_syscall)))
        return ((registers_fn *)(void *)agent_real.syscall)(number, a, b, c, d, e);
    return ruled_syscall(number, a, b, c, d, e);
}

/*
 * A library loaded later has places and functions too. dlopen asks for its caller by the return address: where that one,
 * or whoever loaded it, brought a search path of its own (DT_RUNPATH, DT_RPATH) and the name leaves a search to do, and
 * where the name has a "$", the call is passed on as a jump, which keeps the address and leaves nobody to look at the
 * library afterwards: what it has is found by the next dlopen that is not.
 */
struct search {
    uintptr_t caller;
    bool own; /* found: a path of the caller's, or anybody's that his callers inherit */
};

static int visit_dynamic(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *search = arg;
    const ElfW(Dyn) *dynamic = NULL;
    bool is_caller = false;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_DYNAMIC)
            dynamic = (const void *)begin;
        is_caller |= header->p_type == PT_LOAD && search->caller - begin < header->p_memsz;
    }
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++)
        search->own |= dynamic->d_tag == DT_RPATH || (is_caller && dynamic->d_tag == DT_RUNPATH);
    return search->own;
}

/* Not part of dlopen: with a local of its own whose address is known elsewhere, that could not be left by a jump. */
static __attribute__((noinline)) bool matters_who_calls(const char *file, void *caller)
{
    struct search search = {.caller = (uintptr_t)caller};
    bool path = false;
    for (const char *at = file; at && *at; at++) {
        path |= *at == '/';
        if (*at == '$')
            return true;
    }
    if (file && !path)
        dl_iterate_phdr(visit_dynamic, &search);
    return search.own;
}

AGENT_EXPORT void *dlopen(const char *file, int mode)
{
    READY(dlopen);
    if (file && (mode & RTLD_DEEPBIND)) /* it looks in its own libraries first, where libc is */
        agent_unreachable_library();
    if (!agent_arena.ready || matters_who_calls(file, __builtin_return_address(0)))
        return agent_real.dlopen(file, mode);
    void *library = agent_real.dlopen(file, mode);
    if (library) {
        agent_arm_places();
        agent_where_resolve();
        agent_census_modules();
    }
    return library;
}

/* Another name space has a libc of its own, and no preloaded library. */
AGENT_EXPORT void *dlmopen(Lmid_t space, const char *file, int mode)
{
    READY(dlmopen);
    if (space != LM_ID_BASE)
        agent_unreachable_library();
    return agent_real.dlmopen(space, file, mode);
}

/* Not for rules: as in C the arguments that an option does not have are whatever is in their registers. */
AGENT_EXPORT int agent_wrap_prctl(int option, unsigned long a, unsigned long b, unsigned long c,
                                  unsigned long d) __asm__("prctl");
AGENT_EXPORT int agent_wrap_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    READY(prctl);
    struct change change = begin_change(SYS_prctl, option, (long)a);
    int rc = agent_real.prctl(option, a, b, c, d);
    end_change(&change, rc != 0);
    return rc;
}

AGENT_EXPORT int pthread_setname_np(pthread_t thread, const char *name)
{
    READY(pthread_setname_np);
    int rc = agent_real.pthread_setname_np(thread, name);
    agent_name_changed((void *)thread == __builtin_thread_pointer()); /* what pthread_self gives */
    return rc;
}
