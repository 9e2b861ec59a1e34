#include "detector/wait/descriptor.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "detector/look/members.h"

#define NO_ARG (-1)

static const struct wedge_descriptor_class *const classes[] = {
    &wedge_descriptor_pipe,    &wedge_descriptor_pidfd,    &wedge_descriptor_epoll,  &wedge_descriptor_eventfd,
    &wedge_descriptor_timerfd, &wedge_descriptor_signalfd, &wedge_descriptor_device, &wedge_descriptor_socket,
};

static const struct wedge_descriptor_class *class_of(enum wedge_fd_kind kind)
{
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (classes[i]->kind == kind)
            return classes[i];
    return NULL;
}

/* ---- for classes ---- */

static bool is_stream_of(struct wedge_look *look, int proc, uint64_t dev, uint64_t inode)
{
    const struct wedge_look_proc *own = &look->procs[proc];
    if (wedge_look_fds(look, proc))
        return true;
    for (int number = 0; number <= 2; number++) {
        const struct wedge_fd *fd = wedge_fds_find(own->fds, own->n_fds, number);
        if (fd && fd->dev == dev && fd->inode == inode)
            return true;
    }
    return false;
}

/* The root has it as a standard stream: whoever is above it gave it that, and may have the other end. Where there
 * is no root, each process that nobody of the tree is above. */
static bool is_standard_stream(struct wedge_look *look, uint64_t dev, uint64_t inode)
{
    if (wedge_members_root(look))
        return is_stream_of(look, 0, dev, inode);
    for (size_t i = 0; i < look->snapshot->n_procs; i++)
        if (wedge_members_is_top(look, (int)i) && is_stream_of(look, (int)i, dev, inode))
            return true;
    return false;
}

bool wedge_descriptor_is_hidden(struct wedge_look *look, uint64_t dev, uint64_t inode)
{
    return look->hidden_ends || (look->hidden_above && is_standard_stream(look, dev, inode));
}

static void add_process(struct wedge_look *look, struct wedge_descriptor_wait *wait, pid_t pid, unsigned flags,
                        const char *why)
{
    const struct wedge_machine_proc *m = wedge_look_machine_of(look, pid);
    if (m && m->blind)
        wedge_descriptor_by_outside(look, wait, "whoever runs wedge holds the other end");
    else
        wedge_waker_add_pid(look, wait->thread, wait->set, pid, flags, why);
}

void wedge_descriptor_by_process(struct wedge_look *look, struct wedge_descriptor_wait *wait, pid_t pid,
                                 const char *why)
{
    wait->elsewhere |= pid != look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid;
    add_process(look, wait, pid, 0, why);
}

size_t wedge_descriptor_by_holders(struct wedge_look *look, struct wedge_descriptor_wait *wait, uint64_t dev,
                                   uint64_t inode, unsigned want, const char *why)
{
    size_t n, found = 0;
    const struct wedge_machine_end *ends = wedge_look_ends(look, dev, inode, &n);
    pid_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if ((want & WEDGE_WANT_READ && !ends[i].readable) || (want & WEDGE_WANT_WRITE && !ends[i].writable) ||
            ends[i].pid == last)
            continue;
        last = ends[i].pid;
        found++;
        wedge_descriptor_by_process(look, wait, last, why);
    }
    return found;
}

/* The tree may stand for it: it is of the tree, was read, and is live only by a thread of its own. */
static bool is_one_of_tree(const struct wedge_look *look, pid_t pid)
{
    int proc = wedge_look_proc_of(look, pid);
    return proc >= 0 && look->snapshot->procs[proc].in_tree && !look->procs[proc].skipped &&
           !look->snapshot->procs[proc].armed_timer;
}

/* Where thousands of processes read one pipe each of them could do it for each other one: the tree stands for all of it. Who
 * else lives in the tree counts then as well, which makes a verdict weaker and never wrong. */
void wedge_descriptor_by_reopeners(struct wedge_look *look, struct wedge_descriptor_wait *wait, uint64_t dev,
                                   uint64_t inode, unsigned want)
{
    enum { MANY = 64 };
    static const char why[] = "a process that has the same end could open the other one through /proc";
    pid_t last = look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid; /* its own is one in any case */
    size_t n, of_tree = 0;
    const struct wedge_machine_end *ends = wedge_look_ends(look, dev, inode, &n);
    for (size_t i = 0; i < n; i++) {
        bool has = (!(want & WEDGE_WANT_READ) || ends[i].readable) && (!(want & WEDGE_WANT_WRITE) || ends[i].writable);
        if (has || ends[i].pid == last)
            continue;
        last = ends[i].pid;
        if (n <= MANY || !is_one_of_tree(look, last))
            add_process(look, wait, last, WEDGE_WAKER_UNLESS_RARE, why);
        else
            of_tree++;
    }
    if (of_tree)
        wedge_waker_add(look, wait->thread, wait->set, WEDGE_TO_TREE, -1, WEDGE_WAKER_UNLESS_RARE, why);
}

size_t wedge_descriptor_by_sharers_as(struct wedge_look *look, struct wedge_descriptor_wait *wait, unsigned flags,
                                      const char *why)
{
    bool keyed = wedge_fds_is_keyed(wait->fd->kind);
    pid_t self = look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid, last = self;
    size_t n, found = 0;
    const struct wedge_machine_end *ends = wedge_look_ends(look, wait->fd->dev, wait->fd->inode, &n);
    for (size_t i = 0; i < n; i++) {
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, ends[i].pid);
        if (ends[i].pid == last || ends[i].pid == self || (m && m->blind))
            continue;
        /* 0: the same open file; 1 and 2: another (kcmp(2)). */
        long same = keyed ? 0 : syscall(SYS_kcmp, self, ends[i].pid, KCMP_FILE, wait->fd->number, ends[i].number);
        if (same > 0 || (same < 0 && (errno == ESRCH || errno == EBADF)))
            continue;
        if (same < 0) {
            wedge_descriptor_by_outside(look, wait, "another process may have the same open file (kcmp fails)");
            return found;
        }
        last = ends[i].pid;
        found++;
        if (flags)
            add_process(look, wait, last, flags, why);
        else
            wedge_descriptor_by_process(look, wait, last, why);
    }
    if (look->hidden_ends)
        wedge_descriptor_by_outside(look, wait, "a process that may have the same open file cannot be read");
    return found;
}

size_t wedge_descriptor_by_sharers(struct wedge_look *look, struct wedge_descriptor_wait *wait, const char *why)
{
    return wedge_descriptor_by_sharers_as(look, wait, 0, why);
}

static void add_receivers(struct wedge_look *look, struct wedge_descriptor_wait *wait, unsigned flags)
{
    size_t n;
    pid_t self = look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid;
    const struct wedge_carrier *carriers = wedge_look_carriers(look, &n);
    for (size_t i = 0; i < n; i++) {
        size_t n_ends;
        const struct wedge_machine_end *ends =
            wedge_look_ends(look, wedge_fds_device(WEDGE_FD_SOCKET), carriers[i].inode, &n_ends);
        /* Whose message it is nobody can tell: one of another program has hardly anything to do with this wait. */
        for (size_t k = 0; k < n_ends; k++) {
            const struct wedge_machine_proc *m = wedge_look_machine_of(look, ends[k].pid);
            const char *why = "may receive a descriptor that is on its way in a message";
            if (m && m->tree) {
                wait->elsewhere |= ends[k].pid != self;
                add_process(look, wait, ends[k].pid, flags, why);
            } else {
                add_process(look, wait, ends[k].pid,
                            flags | WEDGE_WAKER_BYSTANDER | (carriers[i].perhaps ? WEDGE_WAKER_UNLESS_RARE : 0), why);
            }
        }
    }
    if (look->hidden_carriers)
        wedge_descriptor_by_outside(look, wait, "descriptors are kept where nobody sees them (io_uring)");
}

void wedge_descriptor_by_receivers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    if (!wait->outside)
        add_receivers(look, wait, 0);
}

bool wedge_waker_add_receivers(struct wedge_look *look, int thread, uint16_t set, unsigned flags)
{
    struct wedge_descriptor_wait wait = {.thread = thread, .set = set};
    add_receivers(look, &wait, flags);
    return wait.elsewhere;
}

void wedge_descriptor_by_outside(struct wedge_look *look, struct wedge_descriptor_wait *wait, const char *why)
{
    wait->elsewhere = true;
    if (!wait->outside)
        wait->outside = why;
    wedge_waker_add(look, wait->thread, wait->set, WEDGE_TO_OUTSIDE, -1, 0, why);
}

void wedge_descriptor_by_chance(struct wedge_look *look, struct wedge_descriptor_wait *wait, const char *why)
{
    wedge_waker_add(look, wait->thread, wait->set, WEDGE_TO_OUTSIDE, -1, WEDGE_WAKER_UNLESS_RARE, why);
}

void wedge_descriptor_will_wake(struct wedge_descriptor_wait *wait, const char *why)
{
    if (!wait->ready)
        wait->ready = why;
}

void wedge_descriptor_is_ready(struct wedge_descriptor_wait *wait, const char *why)
{
    if (!wait->edge)
        wedge_descriptor_will_wake(wait, why);
}

ssize_t wedge_descriptor_info(struct wedge_look *look, const struct wedge_descriptor_wait *wait, char *buf, size_t size)
{
    int proc = look->snapshot->threads[wait->thread].proc;
    char name[32];
    snprintf(name, sizeof(name), "fdinfo/%d", wait->fd->number);
    return wedge_proc_read(look->snapshot->procs[proc].pid, look->procs[proc].reader, name, buf, size);
}

/* ---- asking ---- */

void wedge_descriptor_ask(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    const struct wedge_descriptor_class *class = class_of(wait->fd->kind);
    wait->class = wait->fd->kind == WEDGE_FD_SIGNALFD ? WEDGE_WAIT_SIGNAL : WEDGE_WAIT_OUTSIDE;
    snprintf(wait->describe, sizeof(wait->describe), "%s, descriptor %d", wedge_fds_word(wait->fd->kind),
             wait->fd->number);
    if (class)
        class->wakers(look, wait);
    else
        wedge_descriptor_by_outside(look, wait, "something outside may end it");
}

void wedge_descriptor_member(struct wedge_look *look, struct wedge_descriptor_wait *all, int number, unsigned want,
                             bool edge)
{
    const struct wedge_look_proc *own = &look->procs[look->snapshot->threads[all->thread].proc];
    struct wedge_descriptor_wait one = {.thread = all->thread,
                                        .fd = wedge_fds_find(own->fds, own->n_fds, number),
                                        .want = want,
                                        .polled = true,
                                        .edge = edge,
                                        .depth = all->depth + 1,
                                        .set = all->set};
    if (!one.fd) {
        /* poll reports POLLNVAL at once, so it was closed since. */
        wedge_descriptor_by_outside(look, all, "a descriptor that it watches is not there");
        return;
    }
    wedge_descriptor_ask(look, &one);
    all->elsewhere |= one.elsewhere;
    all->full |= one.full;
    all->outside = all->outside ? all->outside : one.outside;
    all->ready = all->ready ? all->ready : one.ready;
}

/* ---- calls that block in one descriptor, or in one of two ---- */

/* Which argument is the descriptor that is read, written or connected. Where a call has two, either may be what it
 * sleeps on: the wakers of both end it. */
static const struct {
    int number;
    int8_t reads, writes, connects;
} calls_of[] = {
    {SYS_read, 0, NO_ARG, NO_ARG},     {SYS_readv, 0, NO_ARG, NO_ARG},    {SYS_pread64, 0, NO_ARG, NO_ARG},
    {SYS_preadv, 0, NO_ARG, NO_ARG},   {SYS_preadv2, 0, NO_ARG, NO_ARG},  {SYS_write, NO_ARG, 0, NO_ARG},
    {SYS_writev, NO_ARG, 0, NO_ARG},   {SYS_pwrite64, NO_ARG, 0, NO_ARG}, {SYS_pwritev, NO_ARG, 0, NO_ARG},
    {SYS_pwritev2, NO_ARG, 0, NO_ARG}, {SYS_accept, 0, NO_ARG, NO_ARG},   {SYS_accept4, 0, NO_ARG, NO_ARG},
    {SYS_recvfrom, 0, NO_ARG, NO_ARG}, {SYS_recvmsg, 0, NO_ARG, NO_ARG},  {SYS_recvmmsg, 0, NO_ARG, NO_ARG},
    {SYS_sendto, NO_ARG, 0, NO_ARG},   {SYS_sendmsg, NO_ARG, 0, NO_ARG},  {SYS_sendmmsg, NO_ARG, 0, NO_ARG},
    {SYS_sendfile, 1, 0, NO_ARG},      {SYS_splice, 0, 2, NO_ARG},        {SYS_tee, 0, 1, NO_ARG},
    {SYS_vmsplice, NO_ARG, 0, NO_ARG}, {SYS_connect, NO_ARG, NO_ARG, 0},
};

static bool is_in(const char *wchan, const char *const *parts)
{
    for (const char *const *w = parts; *w; w++)
        if (strstr(wchan, *w))
            return true;
    return false;
}

bool wedge_descriptor_sleeps_in(const struct wedge_look *look, const struct wedge_descriptor_wait *wait,
                                const char *const *wchans)
{
    const char *wchan = look->threads[wait->thread].wchan;
    return wait->polled || !*wchan || strcmp(wchan, "0") == 0 || is_in(wchan, wchans);
}

/* Where it sleeps fits a wait for this: 1 yes, 0 no, -1 nobody knows. splice tells the direction of a pipe
 * (pipe_wait_readable, pipe_wait_writable in fs/splice.c). */
static int fits(const struct wedge_descriptor_class *class, const char *wchan, unsigned want)
{
    if (!class || !class->wchans || !*wchan || strcmp(wchan, "0") == 0)
        return -1;
    if ((strstr(wchan, "_readable") && want != WEDGE_WANT_READ) ||
        (strstr(wchan, "_writable") && want != WEDGE_WANT_WRITE))
        return 0;
    return is_in(wchan, class->wchans);
}

/* The questions of the call: what it may sleep on. Of two descriptors not the one that does not fit the place where it
 * sleeps, if the other one may. */
static int questions(struct wedge_look *look, int thread, struct wedge_descriptor_wait ret[3])
{
    const struct wedge_thread *t = &look->snapshot->threads[thread];
    const struct wedge_look_proc *own = &look->procs[t->proc];
    int n = 0, best = -2, how[3] = {0}, left = 0;
    for (size_t i = 0; i < sizeof(calls_of) / sizeof(calls_of[0]); i++) {
        const int8_t args[3] = {calls_of[i].writes, calls_of[i].reads, calls_of[i].connects};
        const unsigned wants[3] = {WEDGE_WANT_WRITE, WEDGE_WANT_READ, WEDGE_WANT_CONNECT};
        for (int k = 0; k < 3 && calls_of[i].number == t->syscall; k++) {
            if (args[k] == NO_ARG)
                continue;
            ret[n] = (struct wedge_descriptor_wait){
                .thread = thread, .fd = wedge_fds_find(own->fds, own->n_fds, (int)t->args[args[k]]), .want = wants[k]};
            how[n] = ret[n].fd ? fits(class_of(ret[n].fd->kind), look->threads[thread].wchan, wants[k]) : 0;
            if (!ret[n].fd)
                wedge_descriptor_will_wake(&ret[n], "its descriptor is not there");
            else if (how[n] == 0)
                wedge_descriptor_will_wake(&ret[n], "it sleeps in another place of the kernel than its call would");
            best = how[n] == 1 || best == 1 ? 1 : how[n] == -1 || best == -1 ? -1 : 0;
            n++;
        }
    }
    for (int i = 0; i < n; i++)
        if (best == 0 || (best == 1 ? how[i] == 1 : how[i] != 0))
            ret[left++] = ret[i];
    return left;
}

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_look_thread *own = &look->threads[thread];
    struct wedge_descriptor_wait parts[3];
    if (wedge_look_fds(look, t->proc)) {
        wedge_wait_unknown(look, thread, "its descriptors may not be read");
        return;
    }
    int n = questions(look, thread, parts);
    struct wedge_descriptor_wait *first = &parts[0];
    bool elsewhere = false;
    for (int i = 0; i < n; i++) {
        if (!parts[i].ready)
            wedge_descriptor_ask(look, &parts[i]);
        if (parts[i].ready && parts[i].class == WEDGE_WAIT_NONE) {
            wedge_wait_unknown(look, thread, parts[i].ready);
            return;
        }
        elsewhere |= parts[i].elsewhere;
        if (parts[i].ready || (parts[i].outside && !first->ready))
            first = &parts[i];
    }
    if (first->ready)
        t->wait.earliest_ns = 0;
    else
        wedge_descriptor_by_receivers(look, first);
    elsewhere |= first->elsewhere;
    struct wedge_object *o = &t->wait.object;
    memcpy(o->key, first->key, sizeof(o->key));
    memcpy(o->describe, first->describe, sizeof(o->describe));
    o->full = own->room = first->full;
    own->shared = true;
    own->own_process_only = !elsewhere;
    wedge_wait_is(look, thread, first->class,
                  first->ready     ? first->ready
                  : first->outside ? first->outside
                                   : first->reason);
    wedge_waker_add_signals(look, thread);
}

static const int calls[] = {SYS_read,     SYS_readv,    SYS_pread64,  SYS_preadv,   SYS_preadv2, SYS_write,
                            SYS_writev,   SYS_pwrite64, SYS_pwritev,  SYS_pwritev2, SYS_accept,  SYS_accept4,
                            SYS_recvfrom, SYS_recvmsg,  SYS_recvmmsg, SYS_sendto,   SYS_sendmsg, SYS_sendmmsg,
                            SYS_sendfile, SYS_splice,   SYS_tee,      SYS_vmsplice, SYS_connect, -1};
/* Any place of the kernel will do here: each class has its own. */
static const char *const wchans[] = {"", NULL};
const struct wedge_wait_ops wedge_wait_descriptor = {
    .name = "descriptor", .calls = calls, .wchans = wchans, .decode = decode};
