/*
 * Wrappers of what makes processes and threads, turns a process into another program, and ends it. A rule may act at
 * each; beside that they keep who is born of whom, whether a rule names them or not:
 *
 *  - the nth child of a process is the nth call of any of fork, _Fork, clone, daemon, vfork, posix_spawn, system and
 *    popen, failed ones too; a child that none of them made (forkpty, a raw system call) comes in the order of check-in;
 *  - the nth thread of a thread likewise;
 *  - an exec and a spawn put our variables back into the environment, and note which program it is.
 *
 * Between vfork and exec the child is on its parent's memory: no rule acts there, for it would act on the parent.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <threads.h>
#include <unistd.h>

#include "faults/agent/agent.h"
#include "faults/agent/object.h"
#include "faults/agent/real.h"

#define READY(name)                                                                                                    \
    do {                                                                                                               \
        if (AGENT_UNLIKELY(!agent_real.name))                                                                          \
            agent_resolve();                                                                                           \
    } while (0)
/* Looks who is here, and lets the rules for `fn` act. True: the call is answered. Who is born of whom is kept for those
 * calls too that no rule of this process is for: `function` says whether one is. */
static bool enter(struct agent_call *call, enum wedge_function fn, void *caller, uint64_t object, const uint64_t *args,
                  unsigned n)
{
    call->known = false;
    if (AGENT_UNLIKELY(agent_is_armed(fn)) && agent_enter(call, fn, caller, object, args, n))
        return true;
    call->function = call->known ? fn : WEDGE_FN_COUNT;
    if (!call->known)
        call->known = agent_find_here(&call->here);
    return false;
}

static int64_t leave(struct agent_call *call, int64_t result)
{
    return AGENT_UNLIKELY(call->function != WEDGE_FN_COUNT) ? agent_leave(call, result) : result;
}
#define WORDS(...)                                                                                                     \
    (const uint64_t[])                                                                                                 \
    {                                                                                                                  \
        AGENT_WORDS(__VA_ARGS__)                                                                                       \
    }
#define ENTER(call, fn, object, n, ...)                                                                                \
    enter(call, WEDGE_FN_##fn, __builtin_return_address(0), AGENT_WORD(object), WORDS(__VA_ARGS__), n)

/* fork and its kin. What follows in the child runs there too. */
#define FORK(name)                                                                                                     \
    AGENT_EXPORT pid_t name(void)                                                                                      \
    {                                                                                                                  \
        struct agent_call call;                                                                                        \
        READY(name);                                                                                                   \
        if (enter(&call, WEDGE_FN_##name, __builtin_return_address(0), 0, NULL, 0))                                    \
            return (pid_t)agent_result(&call, 0);                                                                      \
        if (!call.known)                                                                                               \
            return agent_real.name();                                                                                  \
        agent_before_fork(&call.here);                                                                                 \
        agent_objects_before_fork();                                                                                   \
        pid_t pid = agent_real.name();                                                                                 \
        if (pid < 0)                                                                                                   \
            agent_objects_fork_failed();                                                                               \
        agent_after_fork(pid == 0);                                                                                    \
        return pid > 0 ? (pid_t)leave(&call, pid) : pid;                                                               \
    }
FORK(fork)
FORK(_Fork)

AGENT_EXPORT int daemon(int keep_folder, int keep_streams)
{
    struct agent_call call;
    READY(daemon);
    if (ENTER(&call, daemon, 0, 2, keep_folder, keep_streams))
        return (int)agent_result(&call, 0);
    if (!call.known)
        return agent_real.daemon(keep_folder, keep_streams);
    agent_before_fork(&call.here);
    agent_objects_before_fork();
    int rc = agent_real.daemon(keep_folder, keep_streams);
    if (rc)
        agent_objects_fork_failed();
    struct wedge_arena_proc *parent = call.here.proc;
    agent_after_fork(true); /* looks for itself: a child unless it failed */
    call.known = agent_find_here(&call.here);
    if (call.known && call.here.proc != parent) /* which leaves inside libc, past our wrappers */
        atomic_store_explicit(&parent->state, WEDGE_PROC_EXITING, memory_order_relaxed);
    return (int)leave(&call, rc);
}

/* A child that shares our memory has our TLS as well, unless it brings its own: like one of vfork. */
AGENT_EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
    struct agent_call call;
    va_list ap;
    va_start(ap, arg);
    pid_t *parent_tid = va_arg(ap, pid_t *);
    void *tls = va_arg(ap, void *);
    pid_t *child_tid = va_arg(ap, pid_t *);
    va_end(ap);
    READY(clone);
    if (ENTER(&call, clone, 0, 5, fn, stack, flags, arg, parent_tid))
        return (int)agent_result(&call, 0);
    bool process = call.known && !(flags & CLONE_THREAD);
    if (process && (flags & CLONE_VM))
        agent_before_vfork(&call.here);
    else if (process) {
        agent_before_fork(&call.here);
        agent_objects_before_fork();
    }
    int pid = agent_real.clone(fn, stack, flags, arg, parent_tid, tls, child_tid);
    if (process && pid < 0 && !(flags & CLONE_VM))
        agent_objects_fork_failed();
    if (process)
        agent_after_fork(false);
    return call.known ? (int)leave(&call, pid) : pid;
}

/* vfork returns twice on one stack frame, so its wrapper may not have one: it jumps on, with the caller's return
 * address on top of the stack as it was. */
struct vforking {
    void *go_on; /* NULL: answered */
    int64_t answer;
};
struct vforking agent_prepare_vfork(void *caller);
__attribute__((used)) struct vforking agent_prepare_vfork(void *caller)
{
    struct agent_call call;
    READY(vfork);
    if (enter(&call, WEDGE_FN_vfork, caller, 0, NULL, 0))
        return (struct vforking){NULL, agent_result(&call, 0)};
    if (call.known)
        agent_before_vfork(&call.here);
    agent_objects_before_exec();
    return (struct vforking){(void *)agent_real.vfork, 0};
}
__asm__(".text\n"
        ".globl vfork\n"
        ".type vfork, @function\n"
        "vfork:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    movq (%rsp), %rdi\n"
        "    subq $8, %rsp\n" /* a call wants the stack at a multiple of 16 */
        "    .cfi_adjust_cfa_offset 8\n"
        "    call agent_prepare_vfork\n"
        "    addq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    testq %rax, %rax\n"
        "    jz 1f\n"
        "    jmp *%rax\n"
        "1:  movq %rdx, %rax\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size vfork, . - vfork\n");

typedef int spawn_function(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                           const posix_spawnattr_t *attr, char *const *argv, char *const *env);
static int spawn(spawn_function *real, struct agent_call *call, bool search, pid_t *pid, const char *path,
                 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr, char *const *argv,
                 char *const *env)
{
    struct agent_exec exec;
    pid_t child = 0;
    if (!call->known)
        return real(pid, path, actions, attr, argv, env);
    agent_exec_judge(&exec, AT_FDCWD, path, search, env, true);
    uint32_t slot = agent_before_spawn(&call->here, exec.why, exec.path, exec.entries > 0);
    agent_objects_before_exec();
    if (exec.entries) {
        char **room = __builtin_alloca(exec.entries * sizeof(*room));
        agent_exec_fill(&exec, slot, room);
        env = room;
    }
    int rc = real(&child, path, actions, attr, argv, env);
    if (rc == 0 && pid)
        *pid = child;
    agent_after_spawn(slot, rc ? -1 : child);
    return (int)leave(call, rc);
}

#define SPAWN(name, wrapper, real, search)                                                                             \
    AGENT_EXPORT int wrapper(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,                  \
                             const posix_spawnattr_t *attr, char *const *argv, char *const *env)                       \
    {                                                                                                                  \
        struct agent_call call;                                                                                        \
        READY(name);                                                                                                   \
        if (ENTER(&call, name, 0, 6, pid, path, actions, attr, argv, env))                                             \
            return (int)agent_result(&call, 0);                                                                        \
        return spawn(agent_real.real, &call, search, pid, path, actions, attr, argv, env);                             \
    }
/* The old versions hand a file that is no program to the shell. */
spawn_function agent_new_posix_spawn, agent_new_posix_spawnp, agent_old_posix_spawn, agent_old_posix_spawnp;
SPAWN(posix_spawn, agent_new_posix_spawn, posix_spawn, false)
SPAWN(posix_spawnp, agent_new_posix_spawnp, posix_spawnp, true)
SPAWN(posix_spawn, agent_old_posix_spawn, old_posix_spawn, false)
SPAWN(posix_spawnp, agent_old_posix_spawnp, old_posix_spawnp, true)
__asm__(".symver agent_new_posix_spawn, posix_spawn@@@GLIBC_2.15");
__asm__(".symver agent_new_posix_spawnp, posix_spawnp@@@GLIBC_2.15");
__asm__(".symver agent_old_posix_spawn, posix_spawn@GLIBC_2.2.5, remove");
__asm__(".symver agent_old_posix_spawnp, posix_spawnp@GLIBC_2.2.5, remove");

/*
 * system and popen give their shell the program's own environment. Where that has lost our variables, another one is
 * lent to the program for the call. It is never freed, so that a thread that reads the environment meanwhile reads
 * what is there; one call at a time has it, the shell of another is named as not injected.
 */
extern char **environ;
static char *lent[AGENT_EXEC_ENTRIES];
static struct agent_exec lent_words;
static _Atomic uint32_t lending;

struct shell {
    uint32_t slot;
    bool lends;
    char **before; /* NULL after clearenv */
};
static struct shell begin_shell(const struct agent_call *call)
{
    struct shell shell = {.slot = AGENT_NONE};
    struct agent_exec exec;
    if (!call->known)
        return shell;
    agent_exec_judge(&exec, AT_FDCWD, "/bin/sh", false, environ, false);
    if (exec.entries && atomic_exchange(&lending, 1))
        exec.why = WEDGE_BIRTH_NO_ROOM;
    else if (exec.entries) {
        lent_words = exec;
        agent_exec_fill(&lent_words, AGENT_NONE, lent);
        shell.lends = true;
        shell.before = environ;
        environ = lent;
    }
    agent_objects_before_exec();
    shell.slot = agent_before_spawn(&call->here, exec.why, "/bin/sh", false);
    return shell;
}

static void end_shell(const struct shell *shell)
{
    if (!shell->lends)
        return;
    if (environ == lent) /* else setenv has made one of its own of it */
        environ = shell->before;
    atomic_store(&lending, 0);
}

/* A cancelled system() has ended its shell (system(3)). */
static void cancel_shell(void *arg)
{
    const struct shell *shell = arg;
    end_shell(shell);
    agent_after_spawn(shell->slot, 0);
}

AGENT_EXPORT int system(const char *command)
{
    struct agent_call call;
    int status;
    READY(system);
    if (ENTER(&call, system, 0, 1, command))
        return (int)agent_result(&call, 0);
    struct shell shell = begin_shell(&call);
    pthread_cleanup_push(cancel_shell, &shell);
    status = agent_real.system(command);
    pthread_cleanup_pop(0);
    end_shell(&shell);
    agent_after_spawn(shell.slot, status == -1 ? -1 : 0);
    return (int)leave(&call, status);
}

AGENT_EXPORT FILE *popen(const char *command, const char *type)
{
    struct agent_call call;
    READY(popen);
    if (ENTER(&call, popen, 0, 2, command, type))
        return (FILE *)agent_result(&call, 0);
    struct shell shell = begin_shell(&call);
    FILE *stream = agent_real.popen(command, type);
    end_shell(&shell);
    if (!stream)
        agent_after_spawn(shell.slot, -1);
    return (FILE *)leave(&call, (int64_t)stream);
}

/* The exec family: `how` it finds its file. */
enum how { BY_PATH, BY_SEARCH, BY_FD, BY_FD_AND_PATH };
static int become(struct agent_call *call, enum how how, int fd, const char *path, char *const *argv, char *const *env,
                  int flags)
{
    struct agent_exec exec;
    uint32_t slot = AGENT_NONE;
    if (call->known) {
        agent_exec_judge(&exec, fd, path, how == BY_SEARCH, env, false);
        slot = agent_before_exec(&call->here, exec.why, exec.path);
        agent_objects_become();
        if (exec.entries) {
            char **room = __builtin_alloca(exec.entries * sizeof(*room));
            agent_exec_fill(&exec, AGENT_NONE, room);
            env = room;
        }
    }
    int rc = how == BY_PATH     ? agent_real.execve(path, argv, env)
             : how == BY_SEARCH ? agent_real.execvpe(path, argv, env)
             : how == BY_FD     ? agent_real.fexecve(fd, argv, env)
                                : agent_real.execveat(fd, path, argv, env, flags);
    int saved = errno; /* a wrapper that comes after us may be a sanitizer's */
    if (call->known) {
        agent_objects_become_failed();
        agent_exec_failed(&call->here, slot);
    }
    errno = saved;
    return rc;
}

#define EXEC(name, how, fd, path, env, flags, n, params, ...)                                                          \
    AGENT_EXPORT int name params                                                                                       \
    {                                                                                                                  \
        struct agent_call call;                                                                                        \
        READY(name);                                                                                                   \
        if (ENTER(&call, name, 0, n, __VA_ARGS__))                                                                     \
            return (int)agent_result(&call, 0);                                                                        \
        return become(&call, how, fd, path, argv, env, flags);                                                         \
    }
EXEC(execve, BY_PATH, AT_FDCWD, path, env, 0, 3, (const char *path, char *const *argv, char *const *env), path, argv,
     env)
EXEC(execv, BY_PATH, AT_FDCWD, path, environ, 0, 2, (const char *path, char *const *argv), path, argv)
EXEC(execvp, BY_SEARCH, AT_FDCWD, file, environ, 0, 2, (const char *file, char *const *argv), file, argv)
EXEC(execvpe, BY_SEARCH, AT_FDCWD, file, env, 0, 3, (const char *file, char *const *argv, char *const *env), file, argv,
     env)
EXEC(fexecve, BY_FD, fd, "", env, 0, 3, (int fd, char *const *argv, char *const *env), fd, argv, env)
EXEC(execveat, BY_FD_AND_PATH, dir, path, env, flags, 5,
     (int dir, const char *path, char *const *argv, char *const *env, int flags), dir, path, argv, env, flags)

/* The arguments from a list, as exec(3): on the stack, as libc has them. */
#define EXEC_LIST(name, how, environment)                                                                              \
    AGENT_EXPORT int name(const char *path, const char *arg, ...)                                                      \
    {                                                                                                                  \
        struct agent_call call;                                                                                        \
        size_t n = 1;                                                                                                  \
        va_list ap;                                                                                                    \
        READY(name);                                                                                                   \
        va_start(ap, arg);                                                                                             \
        while (va_arg(ap, const char *))                                                                               \
            n++;                                                                                                       \
        va_end(ap);                                                                                                    \
        const char **argv = __builtin_alloca((n + 1) * sizeof(*argv));                                                 \
        va_start(ap, arg);                                                                                             \
        argv[0] = arg;                                                                                                 \
        for (size_t i = 1; i <= n; i++)                                                                                \
            argv[i] = va_arg(ap, const char *);                                                                        \
        char *const *env = (environment);                                                                              \
        va_end(ap);                                                                                                    \
        if (ENTER(&call, name, 0, 3, path, arg, argv[1]))                                                              \
            return (int)agent_result(&call, 0);                                                                        \
        return become(&call, how, AT_FDCWD, path, (char *const *)argv, env, 0);                                        \
    }
EXEC_LIST(execl, BY_PATH, environ)
EXEC_LIST(execlp, BY_SEARCH, environ)
EXEC_LIST(execle, BY_PATH, va_arg(ap, char *const *))

/*
 * A thread's slot is claimed by its creator, so that "the nth thread of that thread" does not depend on who runs
 * first. Start routine and argument wait here, one entry per slot; the claim makes the entry the creator's alone, and
 * pthread_create orders it before the thread's start.
 */
enum { STARTS = 1024 };
static struct {
    union {
        void *(*posix)(void *);
        int (*c11)(void *);
    } start;
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
    void *(*start)(void *) = starts[slot].start.posix;
    void *result, *start_arg = starts[slot].arg;
    agent_announce_thread(slot);
    pthread_cleanup_push(end_thread, NULL); /* by return, pthread_exit and cancellation alike */
    result = start(start_arg);
    pthread_cleanup_pop(1);
    return result;
}

static int begin_c11_thread(void *arg)
{
    uint32_t slot = (uint32_t)(uintptr_t)arg;
    int (*start)(void *) = starts[slot].start.c11;
    int result;
    void *start_arg = starts[slot].arg;
    agent_announce_thread(slot);
    pthread_cleanup_push(end_thread, NULL);
    result = start(start_arg);
    pthread_cleanup_pop(1);
    return result;
}

/* The slot of the next thread of this one; AGENT_NONE: it will be found when it passes. */
static uint32_t claim_start(const struct agent_call *call)
{
    if (!call->known || !call->here.thread)
        return AGENT_NONE;
    uint32_t nth = atomic_fetch_add_explicit(&call->here.thread->children, 1, memory_order_relaxed) + 1;
    uint32_t slot = agent_claim_thread(call->here.proc_slot, call->here.thread_slot, nth);
    if (slot >= STARTS && slot != AGENT_NONE) {
        agent_abandon_thread(slot);
        slot = AGENT_NONE;
    }
    return slot;
}

AGENT_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    struct agent_call call;
    READY(pthread_create);
    if (ENTER(&call, pthread_create, 0, 4, thread, attr, start, arg))
        return (int)agent_result(&call, 0);
    uint32_t slot = claim_start(&call);
    if (slot == AGENT_NONE)
        return (int)leave(&call, agent_real.pthread_create(thread, attr, start, arg));
    starts[slot].start.posix = start;
    starts[slot].arg = arg;
    int rc = agent_real.pthread_create(thread, attr, begin_thread, (void *)(uintptr_t)slot);
    if (rc)
        agent_abandon_thread(slot);
    return (int)leave(&call, rc);
}

/* Not by pthread_create, which libc calls past us here. */
AGENT_EXPORT int thrd_create(thrd_t *thread, thrd_start_t start, void *arg)
{
    struct agent_call call;
    READY(thrd_create);
    if (ENTER(&call, thrd_create, 0, 3, thread, start, arg))
        return (int)agent_result(&call, 0);
    uint32_t slot = claim_start(&call);
    if (slot == AGENT_NONE)
        return (int)leave(&call, agent_real.thrd_create(thread, start, arg));
    starts[slot].start.c11 = start;
    starts[slot].arg = arg;
    int rc = agent_real.thrd_create(thread, begin_c11_thread, (void *)(uintptr_t)slot);
    if (rc != thrd_success)
        agent_abandon_thread(slot);
    return (int)leave(&call, rc);
}

AGENT_EXPORT __attribute__((noreturn)) void pthread_exit(void *result)
{
    struct agent_call call;
    READY(pthread_exit);
    ENTER(&call, pthread_exit, 0, 1, result);
    agent_real.pthread_exit(result);
    __builtin_unreachable();
}

/* exit runs what the program has still to do, and ends in init.c. */
#define WAY_OUT(name, leaves)                                                                                          \
    AGENT_EXPORT __attribute__((noreturn)) void name(int status)                                                       \
    {                                                                                                                  \
        READY(name);                                                                                                   \
        agent_exit();                                                                                                  \
        if (leaves)                                                                                                    \
            agent_objects_leave();                                                                                     \
        agent_real.name(status);                                                                                       \
        __builtin_unreachable();                                                                                       \
    }
WAY_OUT(exit, false)
WAY_OUT(_exit, true)
WAY_OUT(_Exit, true)
WAY_OUT(quick_exit, true)

#define ALIAS(alias, name)
#define ALIAS_HAND(alias, name)
#define ALIAS_PROCESS(alias, name)                                                                                     \
    __asm__(".globl " #alias "\n.type " #alias ", @function\n.set " #alias ", " #name "\n");
#include "faults/functions/aliases.def"
#undef ALIAS
#undef ALIAS_HAND
#undef ALIAS_PROCESS
