/*
 * Counting who has ended (ended.h). A process is held by a pidfd from the look at which it had a role on: it becomes readable when the
 * process ends, whether or not somebody reaps it (pidfd_open(2)). Who is gone by then, number and all, has ended too.
 */
#include "faults/ended.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LOOK_NS 5000000 /* how late a process that is born, takes a role and ends may be noticed */

struct known { /* by process slot */
    pid_t pid; /* 0: nobody is known there */
    int pidfd; /* -1: counted, or nobody asks */
    uint32_t role_seq; /* as of which its names are */
    uint32_t names[2 * WEDGE_ARENA_RULES]; /* under which it counts, 0 ends */
};

struct wedge_ended {
    const struct wedge_arena *arena;
    int epoll, timer;
    uint32_t names[2 * WEDGE_ARENA_RULES]; /* that the plan asks for, 0 ends */
    struct known *known;
};

static void add_name(uint32_t names[], uint32_t name)
{
    size_t i = 0;
    while (names[i] && names[i] != name)
        i++;
    names[i] = name;
}

static struct wedge_arena_rule *rule_at(const struct wedge_arena *arena, uint32_t i)
{
    return wedge_arena_live(arena, WEDGE_SEC_RULES, i);
}

static uint32_t count_rules(const struct wedge_arena *arena)
{
    const struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    return control->n_rules < WEDGE_ARENA_RULES ? control->n_rules : WEDGE_ARENA_RULES;
}

/* Each rule has two conditions: with the 0 at the end one more would not fit, and then there is no rule without. */
static void find_names(struct wedge_ended *ended)
{
    for (uint32_t i = 0; i < count_rules(ended->arena); i++) {
        const struct wedge_rule_when *whens[] = {&rule_at(ended->arena, i)->after, &rule_at(ended->arena, i)->until};
        for (size_t k = 0; k < 2; k++)
            if (whens[k]->kind == WEDGE_WHEN_ENDED && whens[k]->ref < wedge_arena_count(WEDGE_SEC_NAMES))
                add_name(ended->names, whens[k]->ref);
    }
}

int wedge_ended_new(const struct wedge_arena *arena, struct wedge_ended **ret, struct wedge_err *err)
{
    *ret = NULL;
    struct wedge_ended *ended = calloc(1, sizeof(*ended));
    if (!ended)
        return wedge_err_set(err, -ENOMEM, "no memory to count who has ended");
    *ended = (struct wedge_ended){.arena = arena, .epoll = -1, .timer = -1};
    find_names(ended);
    if (!ended->names[0]) {
        free(ended);
        return 0;
    }
    const struct itimerspec often = {.it_interval.tv_nsec = LOOK_NS, .it_value.tv_nsec = LOOK_NS};
    struct epoll_event event = {.events = EPOLLIN};
    ended->known = calloc(wedge_arena_count(WEDGE_SEC_PROCS), sizeof(*ended->known));
    ended->epoll = epoll_create1(EPOLL_CLOEXEC);
    ended->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (!ended->known || ended->epoll < 0 || ended->timer < 0 || timerfd_settime(ended->timer, 0, &often, NULL) ||
        epoll_ctl(ended->epoll, EPOLL_CTL_ADD, ended->timer, &event)) {
        int rc = ended->known ? -errno : -ENOMEM;
        wedge_ended_free(ended);
        return wedge_err_set(err, rc, "cannot count who has ended: %s", strerror(-rc));
    }
    *ret = ended;
    return 0;
}

int wedge_ended_fd(const struct wedge_ended *ended)
{
    return ended ? ended->epoll : -1;
}

static void count(struct wedge_ended *ended, struct known *known)
{
    struct wedge_arena_control *control = wedge_arena_live(ended->arena, WEDGE_SEC_CONTROL, 0);
    for (const uint32_t *name = known->names; *name; name++) {
        struct wedge_arena_name *at = wedge_arena_live(ended->arena, WEDGE_SEC_NAMES, *name);
        atomic_fetch_add(&at->passes, 1);
    }
    if (known->pidfd >= 0)
        close(known->pidfd);
    known->pidfd = -1;
    /* As the agent announces a mark (faults/agent/rule.c): the held thread reads this word before the condition. */
    atomic_fetch_add(&control->released, 1);
    syscall(SYS_futex, &control->released, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static bool has_ended(const struct known *known)
{
    struct pollfd pfd = {.fd = known->pidfd, .events = POLLIN};
    return poll(&pfd, 1, 0) > 0;
}

/* The names under which the process in the slot counts, anew where its role has changed. False: it has none yet, or one is
 * being written. */
static bool find_role(const struct wedge_ended *ended, const struct wedge_arena_proc *proc, struct known *known)
{
    char role[WEDGE_ROLE_BYTES] = "", forms[4][64];
    uint32_t seq = atomic_load(&proc->role_seq);
    if (known->pid && seq == known->role_seq)
        return true;
    memcpy(role, proc->role, sizeof(role) - 1);
    uint32_t index = proc->role_index, gen = proc->role_gen;
    atomic_thread_fence(memory_order_acquire); /* partner: the even seq is stored after the role */
    if (seq % 2 || atomic_load(&proc->role_seq) != seq || !role[0])
        return false;
    snprintf(forms[0], sizeof(forms[0]), WEDGE_ENDED_NAME "%s", role);
    snprintf(forms[1], sizeof(forms[1]), WEDGE_ENDED_NAME "%s[%u]", role, index);
    snprintf(forms[2], sizeof(forms[2]), WEDGE_ENDED_NAME "%s.gen=%u", role, gen);
    snprintf(forms[3], sizeof(forms[3]), WEDGE_ENDED_NAME "%s[%u].gen=%u", role, index, gen);
    memset(known->names, 0, sizeof(known->names));
    for (const uint32_t *name = ended->names; *name; name++) {
        const struct wedge_arena_name *at = wedge_arena_live(ended->arena, WEDGE_SEC_NAMES, *name);
        for (int i = 0; i < 4; i++)
            if (strncmp(at->text, forms[i], sizeof(at->text)) == 0)
                add_name(known->names, *name);
    }
    known->role_seq = seq;
    return true;
}

/* A rule that waits for the end of a role that somebody had is not misspelled. */
static void note_found(const struct wedge_ended *ended, uint32_t name)
{
    for (uint32_t i = 0; i < count_rules(ended->arena); i++) {
        struct wedge_arena_rule *rule = rule_at(ended->arena, i);
        if (rule->after.kind == WEDGE_WHEN_ENDED && rule->after.ref == name)
            atomic_fetch_or(&rule->found, WEDGE_FOUND_AFTER);
        if (rule->until.kind == WEDGE_WHEN_ENDED && rule->until.ref == name)
            atomic_fetch_or(&rule->found, WEDGE_FOUND_UNTIL);
    }
}

/* Takes hold of a process that has a role since the last look. */
static void take(struct wedge_ended *ended, struct known *known, pid_t pid)
{
    known->pid = pid;
    known->pidfd = pidfd_open(pid, 0);
    if (known->pidfd >= 0) {
        struct epoll_event event = {.events = EPOLLIN};
        epoll_ctl(ended->epoll, EPOLL_CTL_ADD, known->pidfd, &event); /* failed: noticed when the timer is due */
    } else if (errno == ESRCH) {
        count(ended, known);
    } else {
        known->pid = 0; /* no descriptor to be had: at the next look, perhaps */
    }
}

void wedge_ended_look(struct wedge_ended *ended)
{
    uint64_t times;
    if (!ended)
        return;
    while (read(ended->timer, &times, sizeof(times)) > 0)
        ;
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_PROCS); i++) {
        const struct wedge_arena_proc *proc = wedge_arena_live(ended->arena, WEDGE_SEC_PROCS, i);
        struct known *known = &ended->known[i];
        uint32_t gen = atomic_load(&proc->gen);
        pid_t pid = gen && gen % 2 == 0 ? proc->pid : 0;
        bool there = pid > 0 && known->pid == pid;
        if (known->pid && !there && known->pidfd >= 0) /* its slot is another's, so it is gone */
            count(ended, known);
        if (!there)
            known->pid = 0;
        if (pid > 0 && !(there && known->pidfd < 0) && find_role(ended, proc, known)) {
            for (const uint32_t *name = known->names; *name; name++)
                note_found(ended, *name);
            if (!there)
                take(ended, known, pid);
        }
        if (known->pid && known->pidfd >= 0 && has_ended(known))
            count(ended, known);
    }
}

void wedge_ended_free(struct wedge_ended *ended)
{
    if (!ended)
        return;
    for (uint32_t i = 0; ended->known && i < wedge_arena_count(WEDGE_SEC_PROCS); i++)
        if (ended->known[i].pid && ended->known[i].pidfd >= 0)
            close(ended->known[i].pidfd);
    free(ended->known);
    if (ended->epoll >= 0)
        close(ended->epoll);
    if (ended->timer >= 0)
        close(ended->timer);
    free(ended);
}
