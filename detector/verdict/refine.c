/*
 * What the stack adds: which libc function a futex wait belongs to. Words alone: nobody becomes a waker or ceases to
 * be one by it, since the stack is read after the passes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "detector/verdict/verdict.h"

static const struct {
    const char *part; /* of the function's name */
    enum wedge_wait_class class;
    const char *word;
} calls[] = {
    {"pthread_cond_", WEDGE_WAIT_COND, "condition variable"},
    {"cnd_", WEDGE_WAIT_COND, "condition variable"},
    {"pthread_barrier_wait", WEDGE_WAIT_BARRIER, "barrier"},
    {"pthread_rwlock_", WEDGE_WAIT_RWLOCK, "rwlock"},
    {"pthread_once", WEDGE_WAIT_ONCE, "once control"},
    {"call_once", WEDGE_WAIT_ONCE, "once control"},
    {"sem_wait", WEDGE_WAIT_SEM, "semaphore"},
    {"sem_timedwait", WEDGE_WAIT_SEM, "semaphore"},
    {"sem_clockwait", WEDGE_WAIT_SEM, "semaphore"},
    {"pthread_mutex_", WEDGE_WAIT_MUTEX, "mutex"},
    {"mtx_", WEDGE_WAIT_MUTEX, "mutex"},
};

static void refine_class(struct wedge_thread *t, size_t n_libc)
{
    for (size_t i = 0; i < n_libc; i++) {
        const char *name = t->frames[i].function;
        for (size_t k = 0; name && k < sizeof(calls) / sizeof(calls[0]); k++) {
            if (!strstr(name, calls[k].part))
                continue;
            struct wedge_object *o = &t->wait.object;
            t->wait.class = calls[k].class;
            if (!o->full && strstr(o->describe, "futex word"))
                snprintf(o->describe, sizeof(o->describe), "%s%s at 0x%" PRIx64,
                         strncmp(o->describe, "shared", 6) == 0 ? "shared " : "", calls[k].word, o->address);
            return;
        }
    }
}

/* Locks that runtimes build of libc's: by a function of the runtime, or by the module that it is in. */
static const struct {
    const char *function, *module, *word;
} runtimes[] = {
    {"PyThread_acquire_lock_timed", NULL, "a lock of Python: threading"},
    {"take_gil", NULL, "Python's global interpreter lock"},
    {NULL, "/_multiprocessing.", "a lock of Python: multiprocessing"},
    {"std::__atomic_semaphore::", NULL, "a std::counting_semaphore"},
    {"std::__atomic_wait", NULL, "a std::atomic"},
    {"std::__detail::__waiter", NULL, "a std::atomic"},
    {"std::sys::", NULL, "a lock of Rust"},
};

static void add_runtime(struct wedge_thread *t, size_t n_libc)
{
    enum { NEAR = 4 };
    struct wedge_object *o = &t->wait.object;
    size_t used = strlen(o->describe);
    for (size_t k = 0; k < sizeof(runtimes) / sizeof(runtimes[0]); k++)
        for (size_t i = n_libc; i < t->n_frames && i < n_libc + NEAR; i++) {
            const struct wedge_frame *f = &t->frames[i];
            bool is = runtimes[k].module ? strstr(f->module, runtimes[k].module) != NULL
                                         : f->function && strstr(f->function, runtimes[k].function);
            if (is) {
                snprintf(o->describe + used, sizeof(o->describe) - used, " (%s)", runtimes[k].word);
                return;
            }
        }
}

/* The loader's own locks are recursive mutexes (elf/dl-open.c, elf/dl-iteratephdr.c); whoever takes one is ld.so itself. */
static void add_loader(struct wedge_thread *t, size_t n_libc)
{
    struct wedge_object *o = &t->wait.object;
    size_t used = strlen(o->describe);
    for (size_t i = 0; i + 1 < n_libc; i++) {
        const char *name = t->frames[i].function, *caller = t->frames[i + 1].function;
        if (!name || !strstr(name, "pthread_mutex_lock"))
            continue;
        if (strstr(t->frames[i + 1].module, "/ld-") || (caller && strcmp(caller, "dl_iterate_phdr") == 0))
            snprintf(o->describe + used, sizeof(o->describe) - used, " of the dynamic loader");
        return;
    }
}

/* Is the thread inside of a function that pthread_once or call_once runs? Its own wait, if it is one, comes before. */
static bool runs_once(const struct wedge_thread *t)
{
    size_t i = 0;
    while (i < t->n_frames && t->frames[i].libc)
        i++;
    for (; i < t->n_frames; i++)
        if (t->frames[i].libc && t->frames[i].function &&
            (strstr(t->frames[i].function, "pthread_once") || strstr(t->frames[i].function, "call_once")))
            return true;
    return false;
}

/* A once control has the generation of forks and two bits (nptl/pthread_once.c), and nobody's name: whoever runs one is told
 * from his stack, where he is the only one. */
static void name_runner(struct wedge_look *look, struct wedge_thread *t)
{
    const struct wedge_thread *runner = NULL;
    struct wedge_object *o = &t->wait.object;
    size_t n = 0, used = strlen(o->describe);
    const struct wedge_proc *p = &look->snapshot->procs[t->proc];
    for (int i = p->first_thread; i < p->first_thread + p->n_threads; i++)
        if (runs_once(&look->snapshot->threads[i])) {
            runner = &look->snapshot->threads[i];
            n++;
        }
    if (n == 1)
        snprintf(o->describe + used, sizeof(o->describe) - used, ", run by %s%d (by its stack)",
                 runner == t ? "this thread itself, " : "", (int)runner->tid);
    else if (n > 1)
        snprintf(o->describe + used, sizeof(o->describe) - used, ", run by one of %zu threads (by their stacks)", n);
}

void wedge_verdict_refine(struct wedge_look *look)
{
    for (size_t i = 0; i < look->snapshot->n_threads; i++) {
        struct wedge_thread *t = &look->snapshot->threads[i];
        size_t n_libc = 0;
        while (n_libc < t->n_frames && t->frames[n_libc].libc)
            n_libc++;
        if (t->wait.class == WEDGE_WAIT_FUTEX)
            refine_class(t, n_libc);
        if (t->wait.class == WEDGE_WAIT_ONCE && t->n_frames)
            name_runner(look, t);
        if (t->wait.class == WEDGE_WAIT_FUTEX || t->wait.class == WEDGE_WAIT_SEM || t->wait.class == WEDGE_WAIT_COND)
            add_runtime(t, n_libc);
        if (t->wait.class == WEDGE_WAIT_MUTEX)
            add_loader(t, n_libc);
        if (n_libc && n_libc < t->n_frames && t->frames[n_libc - 1].function && t->wait.class != WEDGE_WAIT_HELD &&
            t->wait.class != WEDGE_WAIT_NONE)
            t->wait.call = t->frames[n_libc - 1].function;
        wedge_record_describe(look, (int)i);
    }
}
