#include "detector/look/kin.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct wedge_kin {
    size_t n;
    pid_t *pids; /* in order */
    uint64_t stacks[]; /* parallel to them */
};

/* As kcmp(2): 0 the same, 1 less, 2 greater; -1. */
static long compare_memory(pid_t a, pid_t b)
{
    return syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0);
}

int wedge_kin_same(pid_t a, pid_t b)
{
    long order = compare_memory(a, b);
    return order < 0 ? (errno == ESRCH ? 0 : -1) : order == 0;
}

struct one {
    pid_t pid;
    uint64_t stack;
};

static int compare_ones(const void *a, const void *b)
{
    const struct one *x = a, *y = b;
    if (x->stack != y->stack)
        return x->stack < y->stack ? -1 : 1;
    long order = compare_memory(x->pid, y->pid);
    return order == 1 ? -1 : order == 2 ? 1 : 0; /* of one that cannot be asked: next to anybody */
}

static struct wedge_kin *read_kin(const struct wedge_look *look)
{
    struct one *ones = calloc(look->n_machine + 1, sizeof(*ones));
    struct wedge_kin *kin = calloc(1, sizeof(*kin) + look->n_machine * (sizeof(pid_t) + sizeof(uint64_t)));
    size_t n = 0;
    for (size_t i = 0; ones && kin && i < look->n_machine; i++) {
        const struct wedge_machine_proc *m = &look->machine[i];
        if (m->stack && !m->kernel && !m->blind && compare_memory(m->pid, m->pid) == 0)
            ones[n++] = (struct one){m->pid, m->stack};
    }
    if (ones && kin) {
        qsort(ones, n, sizeof(*ones), compare_ones);
        kin->n = n;
        kin->pids = (pid_t *)(kin->stacks + look->n_machine);
        for (size_t i = 0; i < n; i++) {
            kin->pids[i] = ones[i].pid;
            kin->stacks[i] = ones[i].stack;
        }
    } else {
        free(kin);
        kin = NULL;
    }
    free(ones);
    return kin;
}

const pid_t *wedge_kin_of(struct wedge_look *look, pid_t pid, size_t *ret_n)
{
    if (!look->kin)
        look->kin = read_kin(look);
    struct wedge_kin *kin = look->kin;
    size_t at = 0;
    while (kin && at < kin->n && kin->pids[at] != pid)
        at++;
    if (!kin || at == kin->n)
        return NULL;
    size_t from = at, to = at + 1;
    while (from > 0 && kin->stacks[from - 1] == kin->stacks[at] && wedge_kin_same(kin->pids[from - 1], pid))
        from--;
    while (to < kin->n && kin->stacks[to] == kin->stacks[at] && wedge_kin_same(kin->pids[to], pid))
        to++;
    *ret_n = to - from;
    return kin->pids + from;
}

void wedge_kin_forget(struct wedge_look *look)
{
    free(look->kin);
    look->kin = NULL;
}
