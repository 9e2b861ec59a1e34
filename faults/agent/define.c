/*
 * Roles: by the program itself, and by the plan's defines of processes, which are matched when a process checks in: at
 * its start, at each fork and at each exec. A process counts once for a define, and stays what it is over exec.
 *
 * Of the path of its program a process knows what the constructor read, which fork copies; so a forked child makes no
 * system call here, unless a define asks for comm=.
 */
#include "faults/agent/agent.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>

#include "faults/agent/sys.h"
#include "faults/agent/where.h"

static char exe[PATH_MAX]; /* "" not known */

void agent_take_role(struct wedge_arena_proc *proc, const char *name, uint32_t index, uint32_t generation)
{
    atomic_fetch_add_explicit(&proc->role_seq, 1, memory_order_acq_rel);
    unsigned i = 0;
    for (; name && name[i] && i < WEDGE_ROLE_BYTES - 1; i++)
        proc->role[i] = name[i];
    for (; i < WEDGE_ROLE_BYTES; i++)
        proc->role[i] = 0;
    proc->role_index = index;
    proc->role_gen = generation;
    /* Partner: wedge takes the role under an even sequence only. */
    atomic_fetch_add_explicit(&proc->role_seq, 1, memory_order_release);
}

void agent_note_program(void)
{
    for (uint32_t i = 0; i < agent_arena.n_defines; i++)
        if (agent_arena.defines[i].what == WEDGE_DEFINE_PROCESS && agent_arena.defines[i].exe[0]) {
            long n = sys_call(SYS_readlink, (long)"/proc/self/exe", (long)exe, sizeof(exe) - 1, 0, 0, 0);
            exe[n > 0 ? n : 0] = 0;
            return;
        }
}

static bool is_it(const struct wedge_arena_define *define, const struct wedge_arena_proc *proc, bool root)
{
    char comm[16] = "";
    if (define->what != WEDGE_DEFINE_PROCESS || (define->of ? !(proc->under >> (define->of - 1) & 1) : root))
        return false;
    if (define->exe[0] && !agent_glob(define->exe, sizeof(define->exe), exe))
        return false;
    if (!define->comm[0])
        return true;
    sys_call(SYS_prctl, PR_GET_NAME, (long)comm, 0, 0, 0, 0);
    return agent_glob(define->comm, sizeof(define->comm), comm);
}

void agent_define_process(const struct agent_here *here)
{
    struct wedge_arena_proc *proc = here->proc;
    bool taken = false;
    for (uint32_t i = 0; i < agent_arena.n_defines && i < WEDGE_ARENA_DEFINES; i++) {
        struct wedge_arena_define *define = &agent_arena.defines[i];
        if ((proc->counted >> i & 1) || !is_it(define, proc, here->proc_slot == 0))
            continue;
        uint32_t nth = atomic_fetch_add(&define->seen, 1) + 1;
        proc->counted |= 1u << i;
        if (define->nth && define->nth != nth)
            continue;
        proc->defined |= 1u << i;
        if (!taken) /* the first in the plan */
            agent_take_role(proc, define->name, nth, 0);
        taken = true;
    }
}
