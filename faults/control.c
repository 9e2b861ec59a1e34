#include "faults/control.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

enum { ANCESTORS = 64, LARGEST_ENVIRONMENT = 4 << 20, WORDS = WEDGE_ARENA_RULES / 64 };
#define LOCK_NS (5 * WEDGE_NS_PER_S)

/* Opens the arena among the descriptors of this process. -ENOENT: it has none. */
static int find_descriptor(pid_t pid, struct wedge_arena *ret, struct wedge_err *err)
{
    char dir[32], path[sizeof(dir) + NAME_MAX + 2], to[64];
    int rc = -ENOENT;
    snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)pid);
    DIR *fds = opendir(dir);
    if (!fds)
        return wedge_err_set(err, -errno, "cannot look into process %d: %s", (int)pid, strerror(errno));
    for (struct dirent *entry; rc == -ENOENT && (entry = readdir(fds));) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        ssize_t n = readlink(path, to, sizeof(to) - 1);
        to[n > 0 ? n : 0] = '\0';
        if (strncmp(to, "/memfd:wedge-arena", strlen("/memfd:wedge-arena")) == 0)
            rc = wedge_arena_open(ret, path, err);
    }
    closedir(fds);
    return rc;
}

/* Parent and start of a process (fields 4 and 22 of /proc/PID/stat, proc(5)). */
static int read_stat(pid_t pid, pid_t *ret_parent, unsigned long long *ret_start)
{
    char path[32], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC), parent;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return -ESRCH;
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    if (!at || sscanf(at, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &parent,
                      ret_start) != 2)
        return -ESRCH;
    *ret_parent = parent;
    return 0;
}

/* By the variable that an agent would find it by. -ENOENT: there is none. */
static int find_by_environ(pid_t pid, struct wedge_arena *ret, struct wedge_err *err)
{
    struct wedge_text text = WEDGE_TEXT_INIT(LARGEST_ENVIRONMENT);
    char path[64], buf[4096];
    int launcher, number, rc = -ENOENT;
    unsigned long long nonce;
    ssize_t n;
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    while (!text.cut && (n = read(fd, buf, sizeof(buf))) > 0)
        wedge_text_add_bytes(&text, buf, (size_t)n);
    close(fd);
    for (size_t at = 0; rc == -ENOENT && at < text.len; at += strlen(text.data + at) + 1) {
        if (sscanf(text.data + at, WEDGE_ARENA_ENV "=%d:%d:%llx", &launcher, &number, &nonce) != 3)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", launcher, number);
        rc = wedge_arena_open(ret, path, err);
        if (!rc && wedge_arena_header(ret)->nonce != nonce) { /* the number is another's by now */
            wedge_arena_destroy(ret);
            rc = -ESRCH;
        }
        if (rc == -ENOENT || rc == -ESRCH || rc == -EBADMSG) {
            wedge_err_set(err, -ESRCH, "process %d was started by a wedge (%d) that has ended", (int)pid, launcher);
            wedge_err_remedy(err, "nothing can be told to it any more; `wedge ctl` lists the runs that there are");
            rc = -ESRCH;
        }
    }
    wedge_text_free(&text);
    return rc;
}

int wedge_control_find(pid_t pid, struct wedge_arena *ret, struct wedge_err *err)
{
    struct wedge_err own;
    unsigned long long start;
    pid_t parent = 0, at = pid;
    bool forbidden = false;
    if (read_stat(pid, &parent, &start)) {
        wedge_err_set(err, -ESRCH, "there is no process %d", (int)pid);
        wedge_err_remedy(err, "`wedge ctl` lists the runs that there are");
        return -ESRCH;
    }
    /* wedge is the subreaper of all that it starts: it is among their ancestors while it lives. */
    for (int i = 0; i < ANCESTORS && at > 0; i++, at = parent) {
        int rc = at == getpid() ? -ENOENT : find_descriptor(at, ret, &own);
        if (rc == 0)
            return 0;
        forbidden |= rc == -EACCES || rc == -EPERM;
        if (rc == -EPROTO) {
            if (err)
                *err = own;
            return rc;
        }
        if (read_stat(at, &parent, &start))
            break;
    }
    int rc = find_by_environ(pid, ret, &own);
    if (rc == 0)
        return 0;
    if (rc == -ESRCH || rc == -EPROTO) {
        if (err)
            *err = own;
        return rc;
    }
    if (forbidden || rc == -EACCES || rc == -EPERM) {
        wedge_err_set(err, -EACCES, "process %d, or the wedge above it, may not be looked into", (int)pid);
        wedge_err_remedy(err, "run `wedge ctl` as the user who started that wedge, or as root: it needs the right to "
                              "trace it (ptrace(2))");
        return -EACCES;
    }
    wedge_err_set(err, -ENOENT, "process %d is not in a run of wedge that has an agent", (int)pid);
    wedge_err_remedy(err, "start it by `wedge inject -f PLAN -- CMD`; `wedge ctl` lists the runs that there are");
    return -ENOENT;
}

int wedge_control_list(pid_t *ret_pids, size_t most, struct wedge_err *err)
{
    unsigned long long starts[256];
    size_t n = 0;
    most = most < 256 ? most : 256;
    DIR *proc = opendir("/proc");
    if (!proc)
        return wedge_err_set(err, -errno, "cannot list /proc: %s", strerror(errno));
    for (struct dirent *entry; (entry = readdir(proc));) {
        struct wedge_arena arena = {.fd = -1};
        unsigned long long start;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10), parent;
        if (pid <= 0 || pid == getpid() || find_descriptor(pid, &arena, NULL))
            continue;
        bool own = wedge_arena_header(&arena)->launcher_pid == pid; /* its copiers have the descriptor too */
        wedge_arena_destroy(&arena);
        if (!own || read_stat(pid, &parent, &start))
            continue;
        size_t at = n < most ? n++ : most;
        for (; at > 0 && starts[at - 1] < start; at--)
            if (at < most) {
                starts[at] = starts[at - 1];
                ret_pids[at] = ret_pids[at - 1];
            }
        if (at < most) {
            starts[at] = start;
            ret_pids[at] = pid;
        }
    }
    closedir(proc);
    return (int)n;
}

static uint32_t count_rules(const struct wedge_arena *arena)
{
    const struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    return control->n_rules < WEDGE_ARENA_RULES ? control->n_rules : WEDGE_ARENA_RULES;
}

int wedge_control_rule(const struct wedge_arena *arena, const char *id, struct wedge_err *err)
{
    char ids[WEDGE_ARENA_RULES][WEDGE_RULE_ID_BYTES + 1];
    const char *words[WEDGE_ARENA_RULES + 1] = {NULL};
    uint32_t n = count_rules(arena);
    for (uint32_t i = 0; i < n; i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, i);
        memcpy(ids[i], rule->id, WEDGE_RULE_ID_BYTES);
        ids[i][WEDGE_RULE_ID_BYTES] = '\0';
        words[i] = ids[i];
        if (strcmp(ids[i], id) == 0)
            return (int)i;
    }
    wedge_err_input(err, NULL, 0, 0, "no rule has the id `%s`", id);
    const char *near = wedge_err_nearest(id, words);
    if (n == 0)
        wedge_err_remedy(err, "the run has no plan: rules come from -f PLAN");
    else if (near)
        wedge_err_remedy(err, "did you mean `%s`?", near);
    else
        wedge_err_remedy(err, "there are %s%s%s", ids[0], n > 1 ? ", " : "", n > 1 ? ids[1] : "");
    return -ENOENT;
}

/* A lock of fcntl(2) on the whole arena: the kernel drops it when its owner ends. */
static int lock(const struct wedge_arena *arena, short type, struct wedge_err *err)
{
    struct flock what = {.l_type = type, .l_whence = SEEK_SET};
    int64_t until = wedge_clock_ns() + LOCK_NS;
    while (fcntl(arena->fd, F_SETLK, &what)) {
        if (errno != EACCES && errno != EAGAIN && errno != EINTR)
            return wedge_err_set(err, -errno, "cannot lock the arena: %s", strerror(errno));
        if (wedge_clock_ns() >= until) {
            struct flock by = {.l_type = type, .l_whence = SEEK_SET};
            fcntl(arena->fd, F_GETLK, &by);
            wedge_err_set(err, -EBUSY, "process %d is switching rules and does not come to an end", (int)by.l_pid);
            wedge_err_remedy(err, "look at it (`wedge dump %d`), end it, and try again", (int)by.l_pid);
            return -EBUSY;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* a switch takes microseconds */
    }
    return 0;
}

/* Under the lock. A killed predecessor has left either nothing or the row that was not current. */
static void set_armed(struct wedge_arena_control *control, const uint64_t arm[WORDS], const uint64_t disarm[WORDS])
{
    uint32_t epoch = atomic_load(&control->epoch);
    for (unsigned w = 0; w < WORDS; w++)
        atomic_store(&control->enabled[~epoch & 1][w],
                     (atomic_load(&control->enabled[epoch & 1][w]) | arm[w]) & ~disarm[w]);
    /* Partner: the acquire of every pass, which takes the row by the epoch's lowest bit. */
    atomic_store_explicit(&control->epoch, epoch + 1, memory_order_release);
}

int wedge_control_apply(const struct wedge_arena *arena, const struct wedge_control_switch *what, struct wedge_err *err)
{
    struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    uint64_t again[WORDS] = {0}, none[WORDS] = {0}, any_arm = 0, any_again = 0;
    for (unsigned w = 0; w < WORDS; w++)
        any_arm |= what->arm[w];
    if (any_arm && atomic_load(&control->quiesce)) {
        wedge_err_set(err, -EALREADY, "the run was quiesced: no rule acts any more");
        wedge_err_remedy(err, "start it anew");
        return -EALREADY;
    }
    int rc = lock(arena, F_WRLCK, err);
    if (rc)
        return rc;
    uint32_t n = count_rules(arena);
    for (uint32_t i = 0; i < n; i++) {
        const struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, i);
        if ((what->arm[i / 64] >> (i % 64) & 1) && atomic_load(&rule->released) % 2)
            again[i / 64] |= 1ull << (i % 64);
    }
    for (unsigned w = 0; w < WORDS; w++)
        any_again |= again[w];
    /* A released rule that is still armed would begin to act before the others when it is so no more. */
    if (any_again)
        set_armed(control, none, again);
    for (uint32_t i = 0; i < n; i++) {
        struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, i);
        uint32_t released = atomic_load(&rule->released);
        if ((again[i / 64] >> (i % 64) & 1) && released % 2)
            atomic_compare_exchange_strong(&rule->released, &released, released + 1);
    }
    set_armed(control, what->arm, what->disarm);
    lock(arena, F_UNLCK, NULL);
    return 0;
}

int wedge_control_disarm(const struct wedge_arena *arena, const char *ids, struct wedge_err *err)
{
    struct wedge_control_switch what = {0};
    for (;; ids++) {
        char id[2 * WEDGE_RULE_ID_BYTES];
        size_t len = strcspn(ids, ",");
        snprintf(id, sizeof(id), "%.*s", (int)(len < sizeof(id) ? len : sizeof(id) - 1), ids);
        int rule = wedge_control_rule(arena, id, err);
        if (rule < 0)
            return rule;
        what.disarm[rule / 64] |= 1ull << (rule % 64);
        ids += len;
        if (!*ids)
            return wedge_control_apply(arena, &what, err);
    }
}

void wedge_control_armed(const struct wedge_arena_copy *copy, uint64_t ret[WORDS])
{
    const struct wedge_arena_control *control = wedge_arena_at(copy, WEDGE_SEC_CONTROL, 0);
    for (unsigned w = 0; w < WORDS; w++)
        ret[w] = control ? atomic_load(&control->enabled[atomic_load(&control->epoch) & 1][w]) : 0;
}
