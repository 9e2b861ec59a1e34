/*
 * eventfds: readable while the counter is not 0, writable while there is room for one more. Whoever has the same
 * descriptor may write and read it. The kernel may raise one too, for AIO, io_uring or KVM: a process with one of these
 * is never proved stuck (verdict.c).
 *
 * Source: eventfd(2); fs/eventfd.c, whose fdinfo has the counter since Linux 3.8 and eventfd-id since 5.2.
 */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "detector/kernel/fdinfo.h"
#include "detector/wait/descriptor.h"

#define COUNTER_MAX (UINT64_MAX - 1) /* a write that would lead beyond it waits */

/* The least that is to be added: what a write gives; poll asks for room for 1. */
static uint64_t added(struct wedge_look *look, const struct wedge_descriptor_wait *wait)
{
    const struct wedge_thread *t = &look->snapshot->threads[wait->thread];
    uint64_t value = 1;
    if (t->syscall == SYS_write && wedge_look_memory(look, t->proc, t->args[1], &value, sizeof(value)))
        value = 1;
    return value;
}

/* The kernel raises eventfds for devices (KVM, VFIO, GPU) and for control groups of version 1 (cgroup.event_control),
 * and nothing shows which. Whoever asked for that has had the device, or the group's file, open. */
static bool has_source(struct wedge_look *look, int proc)
{
    static const char *const harmless[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",  "/dev/urandom",
                                           "/dev/pts/", "/dev/tty",  "/dev/ptmx", "/dev/console", "/dev/shm/"};
    const struct wedge_look_proc *own = &look->procs[proc];
    for (size_t i = 0; i < own->n_fds; i++) {
        char name[32], link[64] = "";
        if (own->fds[i].kind != WEDGE_FD_OTHER)
            continue;
        snprintf(name, sizeof(name), "fd/%d", own->fds[i].number);
        wedge_proc_link(look->snapshot->procs[proc].pid, own->reader, name, link, sizeof(link));
        bool device = strncmp(link, "/dev/", 5) == 0;
        for (size_t k = 0; k < sizeof(harmless) / sizeof(harmless[0]) && device; k++)
            device = strncmp(link, harmless[k], strlen(harmless[k])) != 0;
        if (device || strncmp(link, "/sys/fs/cgroup/", 15) == 0)
            return true;
    }
    return false;
}

static void wakers(struct wedge_look *look, struct wedge_descriptor_wait *wait)
{
    char text[1024];
    uint64_t count = 0;
    int id = -1;
    bool reads = wait->want & WEDGE_WANT_READ, writes = wait->want & WEDGE_WANT_WRITE;
    if (wedge_descriptor_info(look, wait, text, sizeof(text)) <= 0 || !wedge_fdinfo_event(text, &count, &id)) {
        wedge_descriptor_by_outside(look, wait, "its eventfd cannot be read");
        return;
    }
    if (id >= 0)
        snprintf(wait->key, sizeof(wait->key), "eventfd %d", id);
    snprintf(wait->describe, sizeof(wait->describe), "eventfd, descriptor %d (counter %s)", wait->fd->number,
             count == 0 ? "0" : "full");
    wait->class = WEDGE_WAIT_EVENT;
    wait->reason = reads ? "somebody must write to it" : "somebody must read from it";
    wait->full = writes && !reads;
    if (reads && count)
        wedge_descriptor_is_ready(wait, "its event has been raised: it is about to wake");
    if (writes && count < COUNTER_MAX && added(look, wait) <= COUNTER_MAX - count)
        wedge_descriptor_is_ready(wait, "its eventfd has room: it is about to wake");
    const char *why = reads ? "may raise it" : "may take from it";
    wedge_descriptor_by_process(look, wait, look->snapshot->procs[look->snapshot->threads[wait->thread].proc].pid, why);
    wedge_descriptor_by_sharers(look, wait, why);
    if (reads && has_source(look, look->snapshot->threads[wait->thread].proc))
        wedge_descriptor_by_chance(look, wait,
                                   "the kernel may raise it for a device or a control group that it has open");
    look->threads[wait->thread].assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
}

/* Here, and in older kernels. */
static const char *const wchans[] = {"wait_intr_irq", "eventfd", NULL};
const struct wedge_descriptor_class wedge_descriptor_eventfd = {
    .kind = WEDGE_FD_EVENTFD, .wchans = wchans, .wakers = wakers};
