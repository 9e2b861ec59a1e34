/* Finding and reading boards from outside (board_read.h). */
#include "pool/board_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/settings.h"

#define LINK_START     "/memfd:" WEDGE_BOARD_FD_NAME
#define GENERATIONS_UP 2 /* worker -> zygote -> parent */
#define MOST_BYTES                                                                                                     \
    (sizeof(struct wedge_board) + WEDGE_POOL_PROCESSES_MAX * sizeof(struct wedge_board_seat) +                         \
     (size_t)WEDGE_POOL_PROCESSES_MAX * (WEDGE_POOL_THREADS_MAX + 1) * sizeof(struct wedge_board_thread))

void wedge_board_source_close(struct wedge_board_source *source)
{
    if (source->fd >= 0)
        close(source->fd);
    source->fd = -1;
}

/* Opens entry `name` of a process's folder of files if it is a board now. By O_PATH first: whatever else the number may
 * have become meanwhile (a pipe, a device) is not opened. -ENOENT: no board. */
static int open_board(int dir, const char *name, struct wedge_board_source *ret)
{
    char link[PATH_MAX], path[64];
    struct stat st;
    ssize_t n = readlinkat(dir, name, link, sizeof(link) - 1);
    if (n < 0 || strncmp(link, LINK_START, sizeof(LINK_START) - 1) != 0)
        return n < 0 ? -errno : -ENOENT;
    int at = openat(dir, name, O_PATH | O_CLOEXEC);
    if (at < 0)
        return -errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
    n = readlink(path, link, sizeof(link) - 1);
    int fd = -1, rc = -ENOENT;
    if (n > 0 && strncmp(link, LINK_START, sizeof(LINK_START) - 1) == 0 && fstat(at, &st) == 0 && S_ISREG(st.st_mode)) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        rc = fd < 0 ? -errno : 0;
    }
    close(at);
    if (rc == 0)
        *ret = (struct wedge_board_source){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
    return rc;
}

static bool same(const struct wedge_board_source *a, const struct wedge_board_source *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

static DIR *open_files(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    return opendir(path);
}

/* Adds the boards of one process to those that are there, each once. Returns the new count or a negative errno of looking
 * into the process at all. */
static int add_boards(pid_t pid, struct wedge_board_source *sources, size_t n, size_t max)
{
    DIR *dir = open_files(pid);
    if (!dir)
        return -errno;
    const struct dirent *entry;
    while (n < max && (entry = readdir(dir)) != NULL) {
        struct wedge_board_source *source = &sources[n];
        *source = (struct wedge_board_source){.fd = -1};
        if (entry->d_name[0] == '.' || open_board(dirfd(dir), entry->d_name, source) < 0)
            continue;
        source->found_in = pid;
        size_t i = 0;
        while (!same(&sources[i], source))
            i++;
        if (i < n)
            wedge_board_source_close(source);
        else
            n++;
    }
    closedir(dir);
    return (int)n;
}

/* 0: none to be had. */
static pid_t parent_of(pid_t pid)
{
    char path[64], line[512];
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *stat = fopen(path, "re");
    /* "PID (name) state ppid …": the name may hold anything, blanks and brackets too (proc(5)). */
    if (stat && fgets(line, sizeof(line), stat)) {
        const char *end = strrchr(line, ')');
        if (!end || sscanf(end, ") %*c %d", &parent) != 1)
            parent = 0;
    }
    if (stat)
        fclose(stat);
    return parent;
}

static int say_why(pid_t pid, int code, struct wedge_err *err)
{
    if (code == -EACCES || code == -EPERM) {
        wedge_err_set(err, -EACCES, "not permitted to read process %d", (int)pid);
        wedge_err_remedy(err, "ask as its user or as root");
        return -EACCES;
    }
    if (code == -ENOENT || code == -ESRCH) {
        wedge_err_set(err, -ESRCH, "there is no process %d", (int)pid);
        wedge_err_remedy(err, "`wedge pool` without a number lists the pools there are");
        return -ESRCH;
    }
    return wedge_err_set(err, code, "cannot read process %d: %s", (int)pid, strerror(-code));
}

int wedge_boards_find(pid_t pid, struct wedge_board_source *ret, size_t max, struct wedge_err *err)
{
    int n = add_boards(pid, ret, 0, max);
    if (n < 0)
        return say_why(pid, n, err);
    pid_t up = pid;
    for (int i = 0; n == 0 && i < GENERATIONS_UP && (up = parent_of(up)) > 1; i++) {
        n = add_boards(up, ret, 0, max);
        n = n < 0 ? 0 : n; /* what is asked for is `pid`: that its parent may not be read is no news */
    }
    if (n > 0)
        return n;
    wedge_err_set(err, -ENOENT, "process %d has no pool of libwedge-pool that was started and not destroyed", (int)pid);
    wedge_err_remedy(err, "`wedge pool` without a number lists the pools there are");
    return -ENOENT;
}

int wedge_boards_find_all(struct wedge_board_source *ret, size_t max, struct wedge_err *err)
{
    DIR *proc = opendir("/proc");
    if (!proc) {
        wedge_err_set(err, -errno, "cannot read /proc: %s", strerror(errno));
        wedge_err_remedy(err, "mount it");
        return err ? err->code : -EACCES;
    }
    const struct dirent *entry;
    size_t n = 0;
    while (n < max && (entry = readdir(proc)) != NULL) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (*end || pid <= 0 || pid > INT_MAX)
            continue;
        int rc = add_boards((pid_t)pid, ret, n, max);
        n = rc < 0 ? n : (size_t)rc; /* gone, or someone else's */
    }
    closedir(proc);
    return (int)n;
}

/* The copy is whole: it is a board of this version, and where its parts lie follows from how many there are. */
static int check(const struct wedge_board *board, size_t bytes, struct wedge_err *err)
{
    size_t seats = sizeof(*board), threads = seats + board->processes * sizeof(struct wedge_board_seat);
    if (atomic_load(&((struct wedge_board *)(uintptr_t)board)->magic) != WEDGE_BOARD_MAGIC)
        return wedge_err_set(err, -EPROTO, "its board is not one, or not yet complete");
    if (board->version != WEDGE_BOARD_VERSION || board->bytes_of_header != sizeof(*board) ||
        board->bytes_of_seat != sizeof(struct wedge_board_seat) ||
        board->bytes_of_thread != sizeof(struct wedge_board_thread)) {
        wedge_err_set(err, -EPROTO, "its board is of version %u, this wedge reads %d", board->version,
                      WEDGE_BOARD_VERSION);
        wedge_err_remedy(err, "use the wedge that came with the program's libwedge-pool");
        return -EPROTO;
    }
    if (board->processes < 1 || board->processes > WEDGE_POOL_PROCESSES_MAX || board->threads < 1 ||
        board->threads > WEDGE_POOL_THREADS_MAX || board->seats_at != seats || board->threads_at != threads ||
        board->bytes != bytes ||
        bytes != threads + (size_t)board->processes * (board->threads + 1) * sizeof(struct wedge_board_thread))
        return wedge_err_set(err, -EPROTO, "its board contradicts itself");
    return 0;
}

/* So many bytes of the file from there on, or a negative errno. */
static int read_part(int fd, void *data, size_t from, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(fd, (char *)data + done, bytes - done, (off_t)(from + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPROTO;
        done += (size_t)n;
    }
    return 0;
}

/*
 * All of the file. The pool goes on meanwhile, and the copy is made from its beginning to its end: `accepted` stands before
 * what is finished and reported, so it is read once more after them. A task is counted there before anybody can
 * finish it (board.h), and so no copy has more finished than accepted.
 */
static int read_whole(int fd, void *data, size_t bytes)
{
    const size_t at = offsetof(struct wedge_board, accepted);
    int rc = read_part(fd, data, 0, bytes);
    return rc < 0 ? rc : read_part(fd, (char *)data + at, at, sizeof(((struct wedge_board *)0)->accepted));
}

int wedge_board_read(const struct wedge_board_source *source, struct wedge_board **board, struct wedge_err *err)
{
    struct stat st;
    if (fstat(source->fd, &st) < 0)
        return wedge_err_set(err, -errno, "cannot read its board: %s", strerror(errno));
    if (st.st_size < (off_t)sizeof(struct wedge_board) || st.st_size > (off_t)MOST_BYTES)
        return wedge_err_set(err, -EPROTO, "its board is not one: %lld bytes", (long long)st.st_size);
    size_t bytes = (size_t)st.st_size;
    /* Room for a whole number of lines, as aligned_alloc(3) wants it. */
    struct wedge_board *copy = aligned_alloc(_Alignof(struct wedge_board), (bytes + 63) & ~(size_t)63);
    if (!copy)
        return wedge_err_set(err, -ENOMEM, "no memory for a board of %zu bytes", bytes);
    int rc = read_whole(source->fd, copy, bytes);
    rc = rc < 0 ? wedge_err_set(err, rc, "cannot read its board: %s", strerror(-rc)) : check(copy, bytes, err);
    if (rc < 0) {
        free(copy);
        return rc;
    }
    copy->preset[sizeof(copy->preset) - 1] = copy->name[sizeof(copy->name) - 1] = '\0';
    free(*board);
    *board = copy;
    return 0;
}

/* The number that a process has in its own namespace of numbers: the last of "NSpid:" (proc(5)). 0: gone. */
static pid_t own_number(pid_t pid)
{
    char path[64], line[512];
    int number = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    while (status && number == 0 && fgets(line, sizeof(line), status)) {
        const char *last = strrchr(line, '\t');
        if (strncmp(line, "NSpid:", 6) == 0 && last)
            number = (int)strtol(last, NULL, 10);
    }
    if (status)
        fclose(status);
    return number;
}

pid_t wedge_board_parent(const struct wedge_board_source *source, const struct wedge_board *board)
{
    /* In a container the parent knows itself by another number than we do. */
    pid_t pid = own_number(source->found_in) == board->parent_pid ? source->found_in : board->parent_pid;
    if (pid <= 0)
        return 0;
    DIR *dir = open_files(pid);
    if (!dir)
        return errno == EACCES && (kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
    const struct dirent *entry;
    bool found = false;
    while (!found && (entry = readdir(dir)) != NULL) {
        struct wedge_board_source other = {.fd = -1};
        if (entry->d_name[0] == '.' || open_board(dirfd(dir), entry->d_name, &other) < 0)
            continue;
        found = same(source, &other);
        wedge_board_source_close(&other);
    }
    closedir(dir);
    return found ? pid : 0;
}
