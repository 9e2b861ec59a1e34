/*
 * Descriptors on their way from process to process in messages (SCM_RIGHTS, unix(7)): they are in nobody's table.
 *
 * The tables are read one after the other. What is on its way while nobody moves is found in the queues of sockets:
 * carriers. What goes from hand to hand while the tables are read may be met nowhere: where those who run could do
 * that, couriers, the view is not certain to be complete.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "detector/kernel/fdinfo.h"
#include "detector/kernel/sockets.h"
#include "detector/look/machine.h"

#define MOST_CARRIERS 256

/* How many descriptors wait in the queue of a socket, or of the connections that wait to be accepted there (Linux 5.6; of
 * listeners 6.5), or are registered with an io_uring. 0 also of what has neither; negative errno. */
static long descriptors_inside(const struct wedge_machine_end *end, pid_t reader)
{
    char name[32], text[4096];
    snprintf(name, sizeof(name), "fdinfo/%d", end->number);
    ssize_t len = wedge_proc_read(end->pid, reader, name, text, sizeof(text));
    return len < 0 ? (long)len : wedge_fdinfo_inside(text);
}

static const struct wedge_sockets *sockets_of(struct wedge_look *look, pid_t pid, pid_t reader)
{
    uint64_t namespace = wedge_sockets_namespace(pid, reader);
    for (const struct wedge_sockets *s = look->sockets; s; s = s->next)
        if (s->namespace == namespace)
            return s;
    wedge_look_note(look, pid, "sockets");
    struct wedge_sockets *read = wedge_sockets_read(pid, reader);
    if (read) {
        read->next = look->sockets;
        look->sockets = read;
    }
    return read;
}

const struct wedge_sockets *wedge_look_sockets(struct wedge_look *look, int proc)
{
    struct wedge_look_proc *own = &look->procs[proc];
    if (!own->sockets)
        own->sockets = sockets_of(look, look->snapshot->procs[proc].pid, own->reader);
    return own->sockets;
}

/* One of those who are looked at has this socket, or nobody is seen to. */
static bool is_ours(struct wedge_look *look, uint64_t inode)
{
    size_t n;
    const struct wedge_machine_end *ends = wedge_look_ends(look, wedge_fds_device(WEDGE_FD_SOCKET), inode, &n);
    for (size_t i = 0; i < n; i++)
        if (wedge_look_proc_of(look, ends[i].pid) >= 0)
            return true;
    return !n;
}

/* One of those who are looked at is in this network namespace. */
static bool is_our_network(const struct wedge_look *look, uint64_t namespace)
{
    for (size_t i = 0; i < look->snapshot->n_procs; i++)
        if (wedge_sockets_namespace(look->snapshot->procs[i].pid, look->procs[i].reader) == namespace)
            return true;
    return false;
}

/* May those who are looked at have sent what this socket carries? They did perhaps when they have it or its other end;
 * they may have when nobody has that any more, or anybody could send to its name, which is good in one network
 * namespace or in the file system. What lies between two strangers is no business of ours. */
enum reach { OUT_OF_REACH, IN_REACH, PERHAPS_IN_REACH };

static enum reach reach_of(struct wedge_look *look, uint64_t inode, const struct wedge_machine_proc *holder)
{
    if (is_ours(look, inode))
        return IN_REACH;
    const struct wedge_sockets *sockets = sockets_of(look, holder->pid, wedge_machine_reader(holder));
    const struct wedge_unix_socket *s = sockets ? wedge_sockets_unix(sockets, inode) : NULL;
    if (!s)
        return PERHAPS_IN_REACH;
    bool anybody = s->state != WEDGE_SOCKET_LISTEN && !s->peer;
    if (s->peer && is_ours(look, s->peer))
        return IN_REACH;
    for (size_t i = 0; i < s->n_waiting; i++) {
        uint64_t client = sockets->waiting[s->first_waiting + i];
        if (client && is_ours(look, client))
            return IN_REACH;
        anybody |= !client;
    }
    bool by_file = s->name_len && s->name[0];
    return anybody && (by_file || is_our_network(look, sockets->namespace)) ? PERHAPS_IN_REACH : OUT_OF_REACH;
}

static int add_carrier(struct wedge_look *look, struct wedge_carrier carrier)
{
    if (look->n_carriers == MOST_CARRIERS)
        return -EOVERFLOW;
    if (look->n_carriers == look->cap_carriers) {
        size_t cap = look->cap_carriers ? look->cap_carriers * 2 : 16;
        struct wedge_carrier *more = realloc(look->carriers, cap * sizeof(*more));
        if (!more)
            return -ENOMEM;
        look->carriers = more;
        look->cap_carriers = cap;
    }
    look->carriers[look->n_carriers++] = carrier;
    return 0;
}

/* Most sockets carry none for certain: what is no UNIX socket, and streams without a byte to be read (a message with
 * descriptors has one at least, and who reads it takes them out). Saves their fdinfo. */
static bool is_empty(const struct wedge_sockets *sockets, uint64_t inode)
{
    const struct wedge_unix_socket *s = wedge_sockets_unix(sockets, inode);
    return s ? s->type == SOCK_STREAM && s->state == WEDGE_SOCKET_ESTABLISHED && !s->rqueue
             : wedge_sockets_inet(sockets, inode) != NULL;
}

/* Read after the tables of descriptors, so that what left one of those on its way is seen here. */
static void read_carriers(struct wedge_look *look)
{
    uint64_t device = wedge_fds_device(WEDGE_FD_SOCKET), async = wedge_fds_device(WEDGE_FD_ASYNC), last = 0;
    struct wedge_sockets *sockets = wedge_sockets_read(getpid(), 0);
    look->carriers_read = true;
    look->n_carriers = 0;
    for (size_t i = 0; i < look->n_ends; i++) {
        const struct wedge_machine_end *end = &look->ends[i];
        if (end->dev != async &&
            (end->dev != device || end->inode == last || (sockets && is_empty(sockets, end->inode))))
            continue;
        const struct wedge_machine_proc *m = wedge_look_machine_of(look, end->pid);
        if (!m || (end->dev == async && !m->tree))
            continue;
        long n = descriptors_inside(end, wedge_machine_reader(m));
        if (n < 0) /* gone; another who has it may tell */
            continue;
        last = end->dev == device ? end->inode : last;
        if (!n)
            continue;
        enum reach reach = end->dev == async ? IN_REACH : reach_of(look, end->inode, m);
        struct wedge_carrier carrier = {.inode = end->inode, .perhaps = reach == PERHAPS_IN_REACH};
        if (end->dev == async || (reach != OUT_OF_REACH && add_carrier(look, carrier)))
            look->hidden_carriers = true;
    }
    wedge_sockets_free(sockets);
}

const struct wedge_carrier *wedge_look_carriers(struct wedge_look *look, size_t *ret_n)
{
    if (!look->carriers_read) {
        wedge_look_ends(look, 0, 0, ret_n); /* they are read once they are asked for */
        read_carriers(look);
    }
    *ret_n = look->n_carriers;
    return look->carriers;
}

/* ---- couriers ---- */

static bool runs(const struct wedge_look *look, pid_t pid)
{
    int proc = wedge_look_proc_of(look, pid);
    const struct wedge_proc *p = proc < 0 ? NULL : &look->snapshot->procs[proc];
    for (int t = p ? p->first_thread : 0; p && t < p->first_thread + p->n_threads; t++)
        if (look->snapshot->threads[t].moved || look->snapshot->threads[t].state == 'R')
            return true;
    return false;
}

static bool is_held_by_runner(struct wedge_look *look, uint64_t inode)
{
    size_t n;
    const struct wedge_machine_end *ends = wedge_look_ends(look, wedge_fds_device(WEDGE_FD_SOCKET), inode, &n);
    for (size_t i = 0; i < n; i++)
        if (runs(look, ends[i].pid))
            return true;
    return false;
}

bool wedge_look_has_couriers(struct wedge_look *look)
{
    uint64_t device = wedge_fds_device(WEDGE_FD_SOCKET);
    for (size_t i = 0; look->ends_read && i < look->n_ends; i++) {
        const struct wedge_machine_end *end = &look->ends[i];
        if (end->dev != device || !runs(look, end->pid))
            continue;
        const struct wedge_sockets *sockets = wedge_look_sockets(look, wedge_look_proc_of(look, end->pid));
        if (!sockets || sockets->unix_error)
            return true;
        const struct wedge_unix_socket *s = wedge_sockets_unix(sockets, end->inode);
        /* By a name anybody may come and go, between one table and the next. */
        if (s && (s->peer ? is_held_by_runner(look, s->peer) : s->name_len || s->state == WEDGE_SOCKET_LISTEN))
            return true;
    }
    return false;
}
