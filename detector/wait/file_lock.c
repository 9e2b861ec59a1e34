/*
 * File locks: flock(2), fcntl(2) and OFD locks, lockf(3). The kernel's list says which lock a process waits for; the
 * `lock:` lines of fdinfo say who has it.
 *
 *   thread in flock(fd) -> its line "->" in /proc/locks -> the lock of that number -> every descriptor on the machine
 *                                                          that shows it -> the processes that can give it up
 *
 * A flock or OFD lock is given up by any holder of the open file description, whoever took it; fcntl's by its process
 * alone. So the number in the list, perhaps of somebody dead, is for words, and never a waker.
 *
 * Several threads of a process that wait on one file are not told apart: each may be waiting for any of their locks.
 * Locks of file systems that are served from elsewhere (NFS, FUSE, 9p) have holders that nobody here can see: outside.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "detector/kernel/fdinfo.h"
#include "detector/kernel/file_locks.h"
#include "detector/wait/descriptor.h"

#define MOST_LIST_BYTES (4u << 20)
#define MOST_PATH_SHOWN 72

static const char *const kind_words[] = {
    [WEDGE_LOCK_FLOCK] = "flock", [WEDGE_LOCK_POSIX] = "fcntl lock", [WEDGE_LOCK_OFD] = "OFD lock"};

struct question {
    struct wedge_descriptor_wait wait; /* thread and fd: the file that is to be locked */
    enum wedge_file_lock_kind kind;
    uint32_t dev_major, dev_minor;
    uint64_t inode;
    int holders; /* processes found */
    pid_t holder; /* the last of them */
};

/* Which file it is, in the words of the kernel's list. NULL, or why that is not known. */
static const char *find_file(struct wedge_look *look, struct question *q)
{
    const struct wedge_thread *t = &look->snapshot->threads[q->wait.thread];
    pid_t pid = look->snapshot->procs[t->proc].pid;
    char info[4096], *mounts = NULL;
    int mount;
    bool local = false;
    if (wedge_descriptor_info(look, &q->wait, info, sizeof(info)) < 0 || !wedge_fdinfo_inode(info, &q->inode, &mount))
        return "its file cannot be looked up";
    if (wedge_proc_read_all(pid, look->procs[t->proc].reader, "mountinfo", MOST_LIST_BYTES, &mounts) < 0)
        return "its file system cannot be looked up";
    bool found = wedge_file_lock_mount(mounts, mount, &q->dev_major, &q->dev_minor, &local);
    free(mounts);
    if (found)
        return local ? NULL : "its file system may keep locks for other machines";
    /* memfd and its like live in a mount that nobody sees; every other unseen mount could be anything. */
    char name[32], link[64] = "";
    snprintf(name, sizeof(name), "fd/%d", q->wait.fd->number);
    wedge_proc_link(pid, look->procs[t->proc].reader, name, link, sizeof(link));
    q->dev_major = (uint32_t)(q->wait.fd->dev >> 32);
    q->dev_minor = (uint32_t)q->wait.fd->dev;
    return strncmp(link, "/memfd:", 7) == 0 ? NULL : "its file system cannot be looked up";
}

static bool is_waiter(const struct question *q, const struct wedge_file_lock *lock, pid_t pid)
{
    return lock->waits && lock->kind == q->kind && lock->inode == q->inode && lock->dev_major == q->dev_major &&
           lock->dev_minor == q->dev_minor && lock->pid == (q->kind == WEDGE_LOCK_OFD ? -1 : pid);
}

/* Does descriptor `number` of the process have the lock? */
static bool has_lock(pid_t pid, int number, const struct wedge_file_lock *lock)
{
    char name[32], *info = NULL;
    bool has = false;
    snprintf(name, sizeof(name), "fdinfo/%d", number);
    if (wedge_proc_read_all(pid, 0, name, MOST_LIST_BYTES, &info) < 0)
        return false;
    for (const char *at = info, *line; !has && (line = wedge_fdinfo_lock(&at));) {
        struct wedge_file_lock own;
        has = wedge_file_lock_parse(line, &own) == 0 && wedge_file_lock_same(&own, lock);
    }
    free(info);
    return has;
}

/* Everyone who has the lock. A process may have the file under several numbers. */
static void add_holders(struct wedge_look *look, struct question *q, const struct wedge_file_lock *lock)
{
    const struct wedge_fd *file = q->wait.fd;
    size_t n_ends;
    const struct wedge_machine_end *ends = wedge_look_ends(look, file->dev, file->inode, &n_ends);
    for (size_t i = 0; i < n_ends; i++) {
        struct wedge_fd *fds = NULL;
        size_t n = 0;
        pid_t pid = ends[i].pid;
        bool has = false;
        if ((i && ends[i - 1].pid == pid) || wedge_fds_read(pid, 0, &fds, &n))
            continue;
        wedge_look_note(look, pid, "descriptors");
        for (size_t k = 0; k < n && !has; k++)
            has = fds[k].dev == file->dev && fds[k].inode == file->inode && has_lock(pid, fds[k].number, lock);
        free(fds);
        if (!has)
            continue;
        wedge_descriptor_by_process(look, &q->wait, pid, "holds the file lock");
        q->holders++;
        q->holder = pid;
    }
}

/* The one thread of a process that has but one: what it holds, that thread holds. -1 else. */
static int only_thread(const struct wedge_look *look, pid_t pid)
{
    int proc = wedge_look_proc_of(look, pid), found = -1;
    if (proc < 0)
        return -1;
    const struct wedge_proc *p = &look->snapshot->procs[proc];
    for (int i = p->first_thread; i < p->first_thread + p->n_threads; i++) {
        char state = look->snapshot->threads[i].state;
        if (state == 'Z' || state == 'X')
            continue;
        if (found >= 0)
            return -1;
        found = i;
    }
    return found;
}

static void describe(struct wedge_look *look, const struct question *q, const struct wedge_file_lock *lock)
{
    struct wedge_thread *t = &look->snapshot->threads[q->wait.thread];
    struct wedge_object *o = &t->wait.object;
    pid_t self = look->snapshot->procs[t->proc].pid;
    char name[32], path[WEDGE_PROC_PATH_BYTES] = "?", holders[64] = "";
    snprintf(name, sizeof(name), "fd/%d", q->wait.fd->number);
    wedge_proc_link(self, look->procs[t->proc].reader, name, path, sizeof(path));
    size_t len = strlen(path), cut = len > MOST_PATH_SHOWN ? len - MOST_PATH_SHOWN : 0;
    bool gone = lock->pid > 0 && !wedge_look_machine_of(look, lock->pid), several = q->holders > 1;
    if (q->holders == 1 && q->holder == self)
        snprintf(holders, sizeof(holders), ", held by itself");
    else if (q->holders == 1)
        snprintf(holders, sizeof(holders), ", held by %d", (int)q->holder);
    else if (q->holders > 1)
        snprintf(holders, sizeof(holders), ", held by %d processes", q->holders);
    size_t used = strlen(holders);
    if (lock->pid > 0 && (gone || several))
        snprintf(holders + used, sizeof(holders) - used, " (taken by %d%s)", (int)lock->pid,
                 gone ? ", which is gone" : "");
    snprintf(o->key, sizeof(o->key), "%s %" PRIx32 ":%" PRIx32 ":%" PRIu64 "@%" PRIu64, kind_words[lock->kind],
             q->dev_major, q->dev_minor, q->inode, lock->start);
    snprintf(o->describe, sizeof(o->describe), "%s on %s%s%s", kind_words[q->kind], cut ? "…" : "", path + cut,
             holders);
}

/* Adds the holders of each lock that the process may be waiting for. NULL, or why it is about to wake. */
static const char *find_holders(struct wedge_look *look, struct question *q, const struct wedge_file_lock *locks,
                                size_t n)
{
    pid_t self = look->snapshot->procs[look->snapshot->threads[q->wait.thread].proc].pid;
    const struct wedge_file_lock *held = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!is_waiter(q, &locks[i], self))
            continue;
        const struct wedge_file_lock *lock = NULL;
        for (size_t k = 0; k < n && !lock; k++)
            if (locks[k].id == locks[i].id && !locks[k].waits)
                lock = &locks[k];
        if (!lock)
            return "the lock that it waits for is not listed";
        if (held == lock)
            continue;
        held = lock;
        int before = q->holders;
        add_holders(look, q, lock);
        if (q->holders == before)
            wedge_descriptor_by_outside(look, &q->wait, "nobody is seen to hold the lock: incomplete view");
    }
    if (!held)
        return "it is about to get its lock";
    describe(look, q, held);
    return NULL;
}

static void decode(struct wedge_look *look, int thread)
{
    struct wedge_thread *t = &look->snapshot->threads[thread];
    struct wedge_look_thread *own = &look->threads[thread];
    const struct wedge_look_proc *proc = &look->procs[t->proc];
    struct wedge_file_lock *locks = NULL;
    size_t n = 0;
    char *text = NULL;
    if (t->syscall == SYS_fcntl && t->args[1] != F_SETLKW && t->args[1] != F_OFD_SETLKW) {
        wedge_wait_unknown(look, thread, "a system call that is not decoded");
        return;
    }
    struct question q = {.wait = {.thread = thread},
                         .kind = t->syscall == SYS_flock      ? WEDGE_LOCK_FLOCK
                                 : t->args[1] == F_OFD_SETLKW ? WEDGE_LOCK_OFD
                                                              : WEDGE_LOCK_POSIX};
    q.wait.fd = wedge_look_fds(look, t->proc) ? NULL : wedge_fds_find(proc->fds, proc->n_fds, (int)t->args[0]);
    if (!q.wait.fd || !q.wait.fd->inode) {
        wedge_wait_unknown(look, thread, "the file that it locks cannot be looked up");
        return;
    }
    const char *why = find_file(look, &q);
    if (why) {
        wedge_wait_outside(look, thread, WEDGE_WAIT_FILE_LOCK, why);
        return;
    }
    if (wedge_proc_read_all(0, 0, "locks", MOST_LIST_BYTES, &text) < 0 || wedge_file_locks_parse(text, &locks, &n))
        why = "the list of locks cannot be read";
    else
        why = find_holders(look, &q, locks, n);
    free(text);
    free(locks);
    if (why) {
        wedge_wait_unknown(look, thread, why);
        return;
    }
    wedge_descriptor_by_receivers(look, &q.wait);
    if (wedge_descriptor_is_hidden(look, q.wait.fd->dev, q.wait.fd->inode))
        wedge_descriptor_by_outside(look, &q.wait, "a process that may hold the lock cannot be read");
    own->assumptions |= WEDGE_ASSUME_COMPLETE_VIEW;
    own->shared = true;
    own->own_process_only = !q.wait.elsewhere;
    if (q.holders == 1 && !q.wait.outside)
        own->owner = only_thread(look, q.holder);
    wedge_wait_is(look, thread, WEDGE_WAIT_FILE_LOCK, q.wait.outside ? q.wait.outside : "its holder must give it up");
    wedge_waker_add_signals(look, thread);
}

static const int calls[] = {SYS_flock, SYS_fcntl, -1};
static const char *const wchans[] = {"locks_lock_inode_wait", "flock_lock_inode_wait", "fcntl_setlk",
                                     "do_lock_file_wait",     "posix_lock_inode_wait", NULL};
const struct wedge_wait_ops wedge_wait_file_lock = {
    .name = "file lock", .calls = calls, .wchans = wchans, .decode = decode};
