#include "detector/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* PF_KTHREAD of linux/sched.h, field 9 of stat. */
#define FLAG_KERNEL_THREAD 0x00200000ul

void wedge_proc_path(pid_t pid, pid_t tid, const char *file, char *buf, size_t size)
{
    if (tid)
        snprintf(buf, size, "/proc/%d/task/%d/%s", pid, tid, file);
    else if (pid)
        snprintf(buf, size, "/proc/%d/%s", pid, file);
    else
        snprintf(buf, size, "/proc/%s", file);
}

static ssize_t read_up_to(int fd, char *buf, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t got = read(fd, buf + len, size - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    return (ssize_t)len;
}

static int open_file(pid_t pid, pid_t tid, const char *file)
{
    char path[128];
    wedge_proc_path(pid, tid, file, path, sizeof(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

ssize_t wedge_proc_read(pid_t pid, pid_t tid, const char *file, char *buf, size_t size)
{
    int fd = open_file(pid, tid, file);
    if (fd < 0)
        return fd;
    ssize_t len = read_up_to(fd, buf, size - 1);
    close(fd);
    if (len >= 0)
        buf[len] = '\0';
    return len;
}

ssize_t wedge_proc_read_all(pid_t pid, pid_t tid, const char *file, size_t max_bytes, char **ret)
{
    size_t cap = 16384, len = 0;
    char *data = malloc(cap + 1);
    int fd = open_file(pid, tid, file);
    ssize_t got = fd < 0 ? fd : data ? 0 : -ENOMEM;
    while (got >= 0) {
        got = read_up_to(fd, data + len, cap - len);
        if (got < 0 || (len += (size_t)got) < cap || cap >= max_bytes)
            break;
        cap = cap * 2 < max_bytes ? cap * 2 : max_bytes;
        char *more = realloc(data, cap + 1);
        if (!more)
            got = -ENOMEM;
        else
            data = more;
    }
    if (fd >= 0)
        close(fd);
    if (got < 0) {
        free(data);
        return got;
    }
    data[len] = '\0';
    *ret = data;
    return (ssize_t)len;
}

ssize_t wedge_proc_link(pid_t pid, pid_t tid, const char *file, char *buf, size_t size)
{
    char path[128];
    wedge_proc_path(pid, tid, file, path, sizeof(path));
    ssize_t len = readlink(path, buf, size - 1);
    if (len < 0)
        return -errno;
    buf[len] = '\0';
    return len;
}

static int compare_pids(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
    return (x > y) - (x < y);
}

/* A name of digits alone that fits a pid; 0 otherwise. */
static pid_t number_of(const char *name)
{
    char *end;
    if (!isdigit((unsigned char)*name))
        return 0;
    long n = strtol(name, &end, 10);
    return *end == '\0' && n > 0 && n <= INT_MAX ? (pid_t)n : 0;
}

int wedge_proc_list(pid_t pid, size_t max, pid_t **ret, size_t *ret_n)
{
    char path[64] = "/proc";
    if (pid)
        wedge_proc_path(pid, 0, "task", path, sizeof(path));
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    pid_t *list = NULL;
    size_t n = 0, cap = 0;
    int rc = 0;
    for (struct dirent *e; !rc && (e = readdir(dir));) {
        pid_t number = number_of(e->d_name);
        if (!number)
            continue;
        if (n == max) {
            rc = -EOVERFLOW;
        } else if (n == cap) {
            cap = cap ? cap * 2 : 64;
            pid_t *more = realloc(list, cap * sizeof(*list));
            if (!more)
                rc = -ENOMEM;
            else
                list = more;
        }
        if (!rc)
            list[n++] = number;
    }
    closedir(dir);
    if (!rc && n == 0)
        rc = -ESRCH;
    if (rc) {
        free(list);
        return rc;
    }
    qsort(list, n, sizeof(*list), compare_pids);
    *ret = list;
    *ret_n = n;
    return 0;
}

/* PID (COMM) STATE PPID …: the name may hold anything, brackets and newlines too, so it ends at the last ')'. */
int wedge_proc_stat_parse(const char *text, struct wedge_proc_stat *ret)
{
    struct wedge_proc_stat s = {0};
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (!open || !close || close < open || sscanf(text, "%d (", &s.pid) != 1)
        return -EBADMSG;
    size_t len = (size_t)(close - open - 1);
    if (len >= sizeof(s.comm))
        len = sizeof(s.comm) - 1;
    memcpy(s.comm, open + 1, len);
    unsigned long flags, utime, stime;
    unsigned long long start;
    /* fields 3 to 6, 9, 14, 15, 20, 22 */
    int n = sscanf(close + 1, " %c %d %d %d %*d %*d %lu %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld %*d %llu", &s.state,
                   &s.ppid, &s.pgrp, &s.session, &flags, &utime, &stime, &s.threads, &start);
    if (n != 9)
        return -EBADMSG;
    s.cpu_ticks = utime + stime;
    s.start_ticks = start;
    s.kernel = flags & FLAG_KERNEL_THREAD;
    *ret = s;
    return 0;
}

/* The value of a "Key:" line, NULL when there is none. The Name line escapes newlines, so no key can be forged. */
static const char *value_of(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, key, len) == 0 && line[len] == ':')
            return line + len + 1;
        if (!*line)
            break;
    }
    return NULL;
}

static int value_number(const char *text, const char *key, int base, uint64_t *ret)
{
    const char *v = value_of(text, key);
    if (!v)
        return -EBADMSG;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(v, &end, base);
    if (end == v || errno || (*end && !isspace((unsigned char)*end)))
        return -EBADMSG;
    *ret = n;
    return 0;
}

/* "NSpid: 4711 12 1": from the reader's namespace to the innermost. A group that a namespace does not see is 0 there. */
static int namespaces(const char *text, const char *key, struct wedge_proc_ns *ret, pid_t *ret_last)
{
    const char *v = value_of(text, key);
    *ret = (struct wedge_proc_ns){0};
    *ret_last = -1;
    while (v && *v && *v != '\n') {
        char *end;
        long n = strtol(v, &end, 10);
        if (end == v)
            break;
        if (n < 0 || n > INT_MAX)
            return -EBADMSG;
        *ret_last = (pid_t)n;
        if (ret->n < WEDGE_PROC_NAMESPACES)
            ret->numbers[ret->n] = (pid_t)n;
        ret->n++;
        v = end;
    }
    return *ret_last < 0 ? -EBADMSG : 0;
}

int wedge_proc_status_parse(const char *text, struct wedge_proc_status *ret)
{
    struct wedge_proc_status s = {0};
    uint64_t tracer, uid, gid, voluntary, involuntary;
    pid_t group;
    if (value_number(text, "TracerPid", 10, &tracer) || value_number(text, "Uid", 10, &uid) ||
        value_number(text, "Gid", 10, &gid) ||
        value_number(text, "voluntary_ctxt_switches", 10, &voluntary) ||
        value_number(text, "nonvoluntary_ctxt_switches", 10, &involuntary) ||
        value_number(text, "SigPnd", 16, &s.sig_pending) || value_number(text, "ShdPnd", 16, &s.sig_shared_pending) ||
        value_number(text, "SigBlk", 16, &s.sig_blocked) || value_number(text, "SigIgn", 16, &s.sig_ignored) ||
        value_number(text, "SigCgt", 16, &s.sig_caught) || namespaces(text, "NSpid", &s.tids, &s.ns_tid) ||
        s.ns_tid == 0 || namespaces(text, "NSpgid", &s.groups, &group))
        return -EBADMSG;
    s.tracer = (pid_t)tracer;
    s.uid = (uid_t)uid;
    s.gid = (gid_t)gid;
    s.switches = voluntary + involuntary;
    *ret = s;
    return 0;
}

/* "running", "-1 SP PC" or "NR A0 … A5 SP PC". */
int wedge_proc_syscall_parse(const char *text, struct wedge_proc_syscall *ret)
{
    struct wedge_proc_syscall c = {.number = -1};
    if (strncmp(text, "running", 7) == 0 && (text[7] == '\n' || text[7] == '\0')) {
        *ret = c;
        return 0;
    }
    uint64_t *a = c.args;
    int n =
        sscanf(text, "%d %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64,
               &c.number, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &c.sp, &c.pc);
    if (n == 3 && c.number == -1) {
        c.sp = a[0];
        c.pc = a[1];
        memset(a, 0, sizeof(c.args));
    } else if (n != 9 || c.number < 0) {
        return -EBADMSG;
    }
    *ret = c;
    return 0;
}

/* START-END PERM OFFSET MAJ:MIN INODE [PATH] */
int wedge_proc_map_parse(char *line, struct wedge_proc_map *ret)
{
    static const char gone[] = " (deleted)";
    struct wedge_proc_map m = {0};
    char perms[8];
    int path_at = 0;
    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %x:%x %" SCNu64 " %n", &m.start, &m.end, perms, &m.offset,
               &m.dev_major, &m.dev_minor, &m.inode, &path_at) != 7 ||
        strlen(perms) != 4 || m.end <= m.start || !path_at)
        return -EBADMSG;
    m.shared = perms[3] == 's';
    m.writable = perms[1] == 'w';
    m.executable = perms[2] == 'x';
    char *path = line + path_at;
    size_t len = strlen(path);
    if (len >= sizeof(gone) - 1 && strcmp(path + len - (sizeof(gone) - 1), gone) == 0) {
        path[len - (sizeof(gone) - 1)] = '\0';
        m.deleted = true;
    }
    m.path = path;
    *ret = m;
    return 0;
}

int wedge_proc_memory(pid_t pid, uint64_t address, void *buf, size_t size)
{
    struct iovec local = {.iov_base = buf, .iov_len = size};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (got < 0)
        return -errno;
    return (size_t)got == size ? 0 : -EFAULT;
}
