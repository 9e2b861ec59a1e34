#include "detector/kernel/proc.h"

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

/* `line_bytes` above 0: a read that leaves room for such a line in a page was the last one (see proc.h). */
static ssize_t read_up_to(int fd, char *buf, size_t size, size_t line_bytes)
{
    const size_t page = line_bytes ? (size_t)sysconf(_SC_PAGESIZE) : 0;
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
        if ((size_t)got + line_bytes <= page)
            break;
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

ssize_t wedge_proc_read_file(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t len = fd < 0 ? -errno : read_up_to(fd, buf, size - 1, 0);
    if (fd >= 0)
        close(fd);
    if (len >= 0)
        buf[len] = '\0';
    return len;
}

ssize_t wedge_proc_read(pid_t pid, pid_t tid, const char *file, char *buf, size_t size)
{
    char path[128];
    wedge_proc_path(pid, tid, file, path, sizeof(path));
    return wedge_proc_read_file(path, buf, size);
}

/* "4711/status" without printf: there are many. */
static void name_of(pid_t number, const char *file, char *buf)
{
    char digits[16];
    size_t n = 0;
    for (unsigned rest = (unsigned)number; rest || !n; rest /= 10)
        digits[n++] = (char)('0' + rest % 10);
    while (n)
        *buf++ = digits[--n];
    *buf++ = '/';
    strcpy(buf, file);
}

int wedge_proc_open_at(int dir, pid_t number, const char *file)
{
    char name[64];
    name_of(number, file, name);
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

ssize_t wedge_proc_read_open(int fd, char *buf, size_t size)
{
    ssize_t len;
    do
        len = pread(fd, buf, size - 1, 0);
    while (len < 0 && errno == EINTR);
    buf[len > 0 ? len : 0] = '\0';
    return len < 0 ? -errno : len == 0 ? -ESRCH : len;
}

ssize_t wedge_proc_read_at(int dir, pid_t number, const char *file, char *buf, size_t size)
{
    int fd = wedge_proc_open_at(dir, number, file);
    if (fd < 0)
        return fd;
    ssize_t len = wedge_proc_read_open(fd, buf, size);
    close(fd);
    return len;
}

ssize_t wedge_proc_read_all(pid_t pid, pid_t tid, const char *file, size_t max_bytes, char **ret)
{
    return wedge_proc_read_table(pid, tid, file, 0, max_bytes, ret);
}

ssize_t wedge_proc_read_table(pid_t pid, pid_t tid, const char *file, size_t line_bytes, size_t max_bytes, char **ret)
{
    size_t cap = 16384, len = 0;
    char *data = malloc(cap + 1);
    int fd = open_file(pid, tid, file);
    ssize_t got = fd < 0 ? fd : data ? 0 : -ENOMEM;
    while (got >= 0) {
        got = read_up_to(fd, data + len, cap - len, line_bytes);
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

struct numbers {
    pid_t *all;
    size_t n, cap, max;
    bool sorted; /* the kernel gives them so, as a rule */
};

static int compare_pids(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
    return (x > y) - (x < y);
}

/* A name of digits alone that fits a pid; 0 otherwise. */
static pid_t number_of(const char *name)
{
    uint64_t n = 0;
    for (; isdigit((unsigned char)*name) && n <= INT_MAX; name++)
        n = n * 10 + (uint64_t)(*name - '0');
    return *name == '\0' && n <= INT_MAX ? (pid_t)n : 0;
}

/* Adds the numbers of one buffer of entries, linux_dirent64 of getdents64(2). */
static int add_numbers(struct numbers *list, const char *entries, ssize_t len)
{
    for (ssize_t at = 0; at < len;) {
        const struct dirent64 *e = (const void *)(entries + at);
        pid_t number = number_of(e->d_name);
        at += e->d_reclen;
        if (!number)
            continue;
        if (list->n == list->max)
            return -EOVERFLOW;
        if (list->n == list->cap) {
            size_t cap = list->cap ? list->cap * 2 : 64;
            pid_t *more = realloc(list->all, cap * sizeof(*more));
            if (!more)
                return -ENOMEM;
            list->all = more;
            list->cap = cap;
        }
        list->sorted &= !list->n || list->all[list->n - 1] < number;
        list->all[list->n++] = number;
    }
    return 0;
}

int wedge_proc_list_at(int dir, size_t max, pid_t **ret, size_t *ret_n)
{
    _Alignas(struct dirent64) char entries[32768];
    struct numbers list = {.max = max, .sorted = true};
    int rc = lseek(dir, 0, SEEK_SET) < 0 ? -errno : 0;
    for (ssize_t len; !rc && (len = getdents64(dir, entries, sizeof(entries))) != 0;)
        rc = len < 0 ? -errno : add_numbers(&list, entries, len);
    if (!rc && list.n == 0)
        rc = -ESRCH;
    if (rc) {
        free(list.all);
        return rc;
    }
    if (!list.sorted)
        qsort(list.all, list.n, sizeof(*list.all), compare_pids);
    *ret = list.all;
    *ret_n = list.n;
    return 0;
}

int wedge_proc_list(pid_t pid, size_t max, pid_t **ret, size_t *ret_n)
{
    char path[64] = "/proc";
    if (pid)
        wedge_proc_path(pid, 0, "task", path, sizeof(path));
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    int rc = wedge_proc_list_at(dir, max, ret, ret_n);
    close(dir);
    return rc;
}

/* The value of a digit, 16 and more: it is none. */
static unsigned digit_of(char c)
{
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Blanks and a number at `*at`, which moves behind it: decimal, with a sign if it must be, or hexadecimal with or
 * without 0x. False: there is none, or it is too large. (strtoull asks for the locale: a third of what a dump computed.) */
static bool scan(const char **at, unsigned base, uint64_t *ret)
{
    const char *c = *at;
    uint64_t n = 0;
    while (*c == ' ' || *c == '\t')
        c++;
    bool minus = base == 10 && *c == '-';
    c += minus ? 1 : base == 16 && c[0] == '0' && c[1] == 'x' ? 2 : 0;
    const char *first = c;
    for (unsigned digit; (digit = digit_of(*c)) < base; c++)
        if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    if (c == first)
        return false;
    *at = c;
    *ret = minus ? -n : n;
    return true;
}

/* PID (COMM) STATE PPID …: the name may hold anything, brackets and newlines too, so it ends at the last ')'. */
int wedge_proc_stat_parse(const char *text, struct wedge_proc_stat *ret)
{
    struct wedge_proc_stat s = {0};
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (!open || !close || close < open || !isdigit((unsigned char)*text))
        return -EBADMSG;
    s.pid = (pid_t)strtol(text, NULL, 10);
    size_t len = (size_t)(close - open - 1);
    if (len >= sizeof(s.comm))
        len = sizeof(s.comm) - 1;
    memcpy(s.comm, open + 1, len);
    /* From field 3, the state, on; 22 is the start time, 28 the stack's. */
    uint64_t fields[29] = {0};
    const char *at = close + 1;
    if (*at++ != ' ' || !(s.state = *at++))
        return -EBADMSG;
    for (int i = 4; i <= 22; i++)
        if (!scan(&at, 10, &fields[i]))
            return -EBADMSG;
    for (int i = 23; i <= 28 && scan(&at, 10, &fields[i]); i++)
        ;
    s.stack = fields[28];
    s.ppid = (pid_t)fields[4];
    s.pgrp = (pid_t)fields[5];
    s.session = (pid_t)fields[6];
    s.threads = (long)fields[20];
    s.cpu_ticks = fields[14] + fields[15];
    s.start_ticks = fields[22];
    s.kernel = fields[9] & FLAG_KERNEL_THREAD;
    *ret = s;
    return 0;
}

bool wedge_proc_timers_parse(const char *text, uint64_t *ret_signals)
{
    uint64_t sends = 0, number = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "signal: ", 8) == 0)
            number = strtoull(line + 8, NULL, 10);
        else if (strncmp(line, "notify: signal/", 15) == 0)
            sends |= number >= 1 && number <= 64 ? 1ull << (number - 1) : UINT64_MAX;
    }
    *ret_signals = sends;
    return sends != 0;
}

/* The number at `v`, in blanks; false: it is none. */
static bool number_at(const char *v, unsigned base, uint64_t *ret)
{
    return scan(&v, base, ret) && (!*v || isspace((unsigned char)*v));
}

/* "NSpid: 4711 12 1": from the reader's namespace to the innermost. A group that a namespace does not see is 0 there. */
static bool numbers_at(const char *v, struct wedge_proc_ns *ret, pid_t *ret_last)
{
    *ret = (struct wedge_proc_ns){0};
    *ret_last = -1;
    for (uint64_t n; scan(&v, 10, &n);) {
        if (n > INT_MAX)
            return false;
        *ret_last = (pid_t)n;
        if (ret->n < WEDGE_PROC_NAMESPACES)
            ret->numbers[ret->n] = (pid_t)n;
        ret->n++;
    }
    return *ret_last >= 0 && (!*v || *v == '\n');
}

/* The name as it is: status escapes a newline and the backslash (proc_task_name in fs/proc/array.c). */
static void unescape_name(const char *v, char *ret, size_t size)
{
    size_t n = 0;
    for (v += *v == '\t'; *v && *v != '\n' && n + 1 < size; v++) {
        if (v[0] == '\\' && (v[1] == 'n' || v[1] == '\\'))
            ret[n++] = *++v == 'n' ? '\n' : '\\';
        else
            ret[n++] = *v;
    }
    ret[n] = '\0';
}

/* The lines that are wanted; nearly all are not. The Name line escapes newlines, so no key can be forged. */
enum {
    TRACER,
    UID,
    GID,
    VOLUNTARY,
    INVOLUNTARY,
    PENDING,
    SHARED_PENDING,
    BLOCKED,
    IGNORED,
    CAUGHT,
    NS_TID,
    NS_GROUP,
    KEYS
};
static const struct {
    const char *key;
    unsigned base; /* 0: numbers, one for each namespace */
} keys[KEYS] = {
    [TRACER] = {"TracerPid:", 10},
    [UID] = {"Uid:", 10},
    [GID] = {"Gid:", 10},
    [VOLUNTARY] = {"voluntary_ctxt_switches:", 10},
    [INVOLUNTARY] = {"nonvoluntary_ctxt_switches:", 10},
    [PENDING] = {"SigPnd:", 16},
    [SHARED_PENDING] = {"ShdPnd:", 16},
    [BLOCKED] = {"SigBlk:", 16},
    [IGNORED] = {"SigIgn:", 16},
    [CAUGHT] = {"SigCgt:", 16},
    [NS_TID] = {"NSpid:", 0},
    [NS_GROUP] = {"NSpgid:", 0},
};

/* The text behind `key`, NULL where the line is another one. */
static const char *behind(const char *line, const char *key)
{
    while (*key && *line == *key)
        line++, key++;
    return *key ? NULL : line;
}

/* Takes the value of a wanted line. False: it makes no sense. */
static bool take_line(const char *line, struct wedge_proc_status *s, uint64_t values[KEYS], unsigned *known)
{
    for (int i = 0; i < KEYS; i++) {
        pid_t last = 0;
        const char *value = behind(line, keys[i].key);
        if (!value)
            continue;
        if (*known & 1u << i)
            return true;
        *known |= 1u << i;
        if (keys[i].base)
            return number_at(value, keys[i].base, &values[i]);
        if (!numbers_at(value, i == NS_TID ? &s->tids : &s->groups, &last))
            return false;
        values[i] = (uint64_t)last;
        return true;
    }
    return true;
}

int wedge_proc_status_parse(const char *text, struct wedge_proc_status *ret)
{
    struct wedge_proc_status s = {0};
    uint64_t values[KEYS] = {0};
    unsigned known = 0;
    for (const char *line = text, *next; *line; line = next) {
        next = strchr(line, '\n');
        next = next ? next + 1 : line + strlen(line);
        if (!strchr("NSTUGvnC", *line))
            continue;
        if (strncmp(line, "Name:", 5) == 0)
            unescape_name(line + 5, s.comm, sizeof(s.comm));
        else if (strncmp(line, "State:\t", 7) == 0)
            s.state = line[7];
        else if (*line == 'C')
            s.dumping |= strncmp(line, "CoreDumping:\t1", 14) == 0;
        else if (!take_line(line, &s, values, &known))
            return -EBADMSG;
    }
    if (known != (1u << KEYS) - 1 || values[NS_TID] == 0)
        return -EBADMSG;
    s.tracer = (pid_t)values[TRACER];
    s.uid = (uid_t)values[UID];
    s.gid = (gid_t)values[GID];
    s.ns_tid = (pid_t)values[NS_TID];
    s.voluntary = values[VOLUNTARY];
    s.switches = values[VOLUNTARY] + values[INVOLUNTARY];
    s.sig_pending = values[PENDING];
    s.sig_shared_pending = values[SHARED_PENDING];
    s.sig_blocked = values[BLOCKED];
    s.sig_ignored = values[IGNORED];
    s.sig_caught = values[CAUGHT];
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
    uint64_t numbers[9], number;
    int n = 0;
    if (!scan(&text, 10, &number) || ((int64_t)number < -1 || (int64_t)number > INT_MAX))
        return -EBADMSG;
    while (n < 9 && scan(&text, 16, &numbers[n]))
        n++;
    if (n != ((int64_t)number == -1 ? 2 : 8))
        return -EBADMSG;
    c.number = (int)number;
    if (c.number >= 0)
        memcpy(c.args, numbers, sizeof(c.args));
    c.sp = numbers[n - 2];
    c.pc = numbers[n - 1];
    *ret = c;
    return 0;
}

/* A number with `end` behind it, of which both are passed over. */
static bool take(char **at, unsigned base, char end, uint64_t *ret)
{
    const char *stop = *at;
    if (!isxdigit((unsigned char)**at) || !scan(&stop, base, ret) || *stop != end)
        return false;
    *at += stop - *at + 1;
    return true;
}

/* START-END PERM OFFSET MAJ:MIN INODE [PATH] */
int wedge_proc_map_parse(char *line, struct wedge_proc_map *ret)
{
    static const char gone[] = " (deleted)";
    struct wedge_proc_map m = {0};
    uint64_t dev_major, dev_minor;
    char *at = line;
    line[strcspn(line, "\n")] = '\0';
    if (!take(&at, 16, '-', &m.start) || !take(&at, 16, ' ', &m.end) || m.end <= m.start)
        return -EBADMSG;
    const char *perms = at;
    if (strcspn(perms, " ") != 4 || !perms[4])
        return -EBADMSG;
    at += 5;
    if (!take(&at, 16, ' ', &m.offset) || !take(&at, 16, ':', &dev_major) || !take(&at, 16, ' ', &dev_minor) ||
        !take(&at, 10, ' ', &m.inode))
        return -EBADMSG;
    m.dev_major = (uint32_t)dev_major;
    m.dev_minor = (uint32_t)dev_minor;
    m.shared = perms[3] == 's';
    m.readable = perms[0] == 'r';
    m.writable = perms[1] == 'w';
    m.executable = perms[2] == 'x';
    char *path = at + strspn(at, " ");
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
