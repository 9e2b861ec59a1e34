/* Folders and files: safe beside others who may write in the same place, never half there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/share.h"
#include "reports/dump.h"
#include "reports/write.h"

#define MOST_LOADED (256 << 20)

/* Nobody but root and us can take away what root or we put there. */
static bool is_ours(int at)
{
    struct stat st;
    return fstat(at, &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()) &&
           (!(st.st_mode & (S_IWGRP | S_IWOTH)) || (st.st_mode & S_ISVTX));
}

/* Opens one component below `at`, which stays open. A link is followed when root or we made it, and it is still that one
 * when it is opened: a stranger's link in a folder like /tmp would have us write where he likes. */
static int open_component(int at, const char *name)
{
    struct stat st;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int made = mkdirat(at, name, 0700) ? -errno : 0; /* "." and ".." are there: EEXIST */
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW))
        return made ? made : -errno;
    if (!S_ISLNK(st.st_mode))
        flags |= O_NOFOLLOW;
    else if ((st.st_uid != 0 && st.st_uid != geteuid()) || !is_ours(at))
        return -ELOOP;
    int fd = openat(at, name, flags);
    return fd < 0 ? -errno : fd;
}

int wedge_report_open_dir(const char *dir, int *ret_dirfd, struct wedge_err *err)
{
    char *path = strdup(dir), *save = NULL;
    if (!path)
        return wedge_err_set(err, -ENOMEM, "no memory");
    int fd = open(*dir == '/' ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : 0;
    for (char *part = strtok_r(path, "/", &save); !rc && part; part = strtok_r(NULL, "/", &save)) {
        int next = open_component(fd, part);
        close(fd);
        fd = next;
        rc = next < 0 ? next : 0;
    }
    free(path);
    if (!rc) {
        *ret_dirfd = fd;
        return 0;
    }
    wedge_err_set(err, rc, "cannot open the folder %s for reports: %s", dir, strerror(-rc));
    if (rc == -ELOOP)
        wedge_err_remedy(err, "a link of another user stands in its path; choose another folder with -o");
    else
        wedge_err_remedy(err, "choose another folder with -o");
    return rc;
}

enum { AT_ONCE = 128 }; /* pieces of one call; IOV_MAX is 1,024 */

static int write_all(int fd, const struct iovec *parts, size_t n)
{
    struct iovec now[AT_ONCE];
    for (size_t at = 0, done = 0; at < n;) { /* done: of part `at` */
        int count = 0;
        for (size_t i = at; i < n && count < AT_ONCE; i++)
            now[count++] = parts[i];
        now[0].iov_base = (char *)now[0].iov_base + done;
        now[0].iov_len -= done;
        ssize_t wrote = writev(fd, now, count);
        if (wrote < 0 && errno != EINTR)
            return -errno;
        for (done += wrote > 0 ? (size_t)wrote : 0; at < n && done >= parts[at].iov_len; at++)
            done -= parts[at].iov_len;
    }
    return 0;
}

/* All of it into a new file. Beyond RLIMIT_FSIZE the kernel sends the thread SIGXFSZ, which ends it, with the error (setrlimit(2)):
 * the error is enough. */
static int fill(int fd, const struct iovec *parts, size_t n, size_t len)
{
    const struct timespec at_once = {0};
    sigset_t limit, before;
    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &limit, &before);
    /* Room at once: where the name stands for an older file, ext4 finds the blocks of all that is not yet on the disk while it
     * renames (auto_da_alloc, ext4(5)): 1 ms for a report. Where it cannot be done, the writing will say what is the matter. */
    if (len)
        fallocate(fd, 0, 0, (off_t)len);
    int rc = write_all(fd, parts, n);
    if (rc && !sigismember(&before, SIGXFSZ))
        sigtimedwait(&limit, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* A file on its way to its place is locked by whoever writes it (flock(2): until the last descriptor is closed, so also by a
 * death); one that is not was left by somebody who was killed. Whoever takes such files away does so with the lock: who finds it taken, or
 * the file gone once it is his, has made it a moment too late. Where a file system has no locks nothing is ever taken away. */
static bool claim(int fd)
{
    struct stat st;
    return (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && fstat(fd, &st) == 0 && st.st_nlink > 0;
}

#define TEMPORARY ".%.200s.%016llx"
enum { CHANCE_DIGITS = 16 };

static bool is_temporary(const char *entry)
{
    static const char *const names[] = {"report.json", "report.html", "result.json", "ablation.html"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);
        if (entry[0] == '.' && strncmp(entry + 1, names[i], len) == 0 && entry[1 + len] == '.' &&
            strspn(entry + len + 2, "0123456789abcdef") == CHANCE_DIGITS && !entry[len + 2 + CHANCE_DIGITS])
            return true;
    }
    return false;
}

static void remove_if_left(int dirfd, const char *entry)
{
    struct stat st;
    int fd = openat(dirfd, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(dirfd, entry, 0);
    close(fd);
}

void wedge_report_clean(int dirfd)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (is_temporary(entry->d_name))
            remove_if_left(dirfd, entry->d_name);
    closedir(dir);
}

int wedge_report_save_parts(int dirfd, const char *name, const struct iovec *parts, size_t n, struct wedge_err *err)
{
    char temporary[256];
    uint64_t chance;
    size_t len = 0;
    int fd = -1, rc = -EEXIST;
    for (size_t i = 0; i < n; i++)
        len += parts[i].iov_len;
    for (int i = 0; i < 16 && fd < 0 && rc == -EEXIST; i++) {
        if (getrandom(&chance, sizeof(chance), 0) != sizeof(chance))
            return wedge_err_set(err, -EIO, "cannot get a random number: %s", strerror(errno));
        snprintf(temporary, sizeof(temporary), TEMPORARY, name, (unsigned long long)chance);
        fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        rc = fd < 0 ? -errno : 0;
        if (fd >= 0 && !claim(fd)) {
            close(fd);
            fd = -1;
            rc = -EEXIST;
        }
    }
    if (!rc) {
        rc = fill(fd, parts, n, len);
        /* The file is locked until it has its name; what close() says comes before that. */
        int lock = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (close(fd) && !rc)
            rc = -errno;
        if (!rc && renameat(dirfd, temporary, dirfd, name))
            rc = -errno;
        if (rc)
            unlinkat(dirfd, temporary, 0);
        if (lock >= 0)
            close(lock);
    }
    if (rc) {
        wedge_err_set(err, rc, "cannot write %s: %s", name, strerror(-rc));
        wedge_err_remedy(err, "see to its folder, or choose another one with -o");
    }
    return rc;
}

int wedge_report_save(int dirfd, const char *name, const void *data, size_t len, struct wedge_err *err)
{
    return wedge_report_save_parts(dirfd, name, &(struct iovec){(void *)data, len}, 1, err);
}

int wedge_report_write_json(const json_t *report, int dirfd, const char *name, struct wedge_err *err)
{
    size_t len;
    char *text = wedge_report_dump_lines(report, &len);
    int rc =
        text ? wedge_report_save(dirfd, name, text, len, err) : wedge_err_set(err, -ENOMEM, "no memory for %s", name);
    free(text);
    return rc;
}

/* report.json and report.html, of one text, and what is done beside them:
 *
 *   one thread:    compose the text ──> write report.json
 *   the other:     the page around the text ──> meanwhile ──> wait for the text ──> write report.html */
enum { JSON, HTML, WORKS };
struct both {
    const json_t *report;
    int dirfd, rc[WORKS];
    struct wedge_err err[WORKS];
    void (*meanwhile)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t known; /* that the text is composed, or that it cannot be */
    bool is_known; /* under the lock; the text does not change after it */
    char *text; /* NULL: no memory */
    size_t len;
};

static void compose(struct both *b)
{
    size_t len = 0;
    char *text = wedge_report_dump_lines(b->report, &len);
    pthread_mutex_lock(&b->lock);
    b->text = text;
    b->len = len;
    b->is_known = true;
    pthread_cond_signal(&b->known);
    pthread_mutex_unlock(&b->lock);
}

/* Where there is one thread the text is there already. */
static void await_text(struct both *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->is_known)
        pthread_cond_wait(&b->known, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

static void write_page(struct both *b)
{
    struct wedge_page *page;
    b->rc[HTML] = wedge_report_html_begin(b->report, &page, &b->err[HTML]);
    if (b->meanwhile)
        b->meanwhile(b->arg);
    await_text(b);
    if (!b->rc[HTML])
        b->rc[HTML] = wedge_report_html_end(page, b->text, b->len, b->dirfd, "report.html", &b->err[HTML]);
}

/* wedge_share_fn; in the order of their numbers, each begun before the next */
static void do_one(void *arg, size_t i)
{
    struct both *b = arg;
    if (i == JSON) {
        compose(b);
        b->rc[i] = b->text ? wedge_report_save(b->dirfd, "report.json", b->text, b->len, &b->err[i])
                           : wedge_err_set(&b->err[i], -ENOMEM, "no memory for the report");
    } else {
        write_page(b);
    }
}

static int write_both(int dirfd, const json_t *report, void (*meanwhile)(void *arg), void *arg, struct wedge_err *err)
{
    struct both both = {.report = report,
                        .dirfd = dirfd,
                        .meanwhile = meanwhile,
                        .arg = arg,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .known = PTHREAD_COND_INITIALIZER};
    wedge_share(WORKS, 1, do_one, &both);
    free(both.text);
    const size_t failed = both.rc[JSON] ? JSON : HTML;
    if (both.rc[failed] && err)
        *err = both.err[failed];
    return both.rc[failed];
}

int wedge_report_write_dir(const char *dir, const json_t *report, struct wedge_err *err)
{
    int dirfd = -1;
    int rc = wedge_report_open_dir(dir, &dirfd, err);
    if (rc)
        return rc;
    rc = write_both(dirfd, report, NULL, NULL, err);
    close(dirfd);
    return rc;
}

/* The whole of a regular file; NULL when there is none, or one that is no report's size. Not json_loadfd: it asks for
 * one byte at a time. */
static json_t *load(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return NULL;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= MOST_LOADED;
    char *text = regular ? malloc((size_t)st.st_size) : NULL;
    ssize_t len = text ? pread(fd, text, (size_t)st.st_size, 0) : -1;
    close(fd);
    json_t *tree = len > 0 ? json_loadb(text, (size_t)len, 0, NULL) : NULL;
    free(text);
    return tree;
}

/* Is the report.json of this folder one of the same snapshot? A run that found nothing leaves that of an earlier one. */
static bool is_beside(int dirfd, const json_t *report)
{
    json_t *other = load(dirfd, "report.json");
    bool same = other && json_equal(json_object_get(other, "taken_ns"), json_object_get(report, "taken_ns")) &&
                json_equal(json_object_get(other, "verdict"), json_object_get(report, "verdict"));
    json_decref(other);
    return same;
}

static int write_result(int dirfd, const json_t *report, int exit_status, bool beside, struct wedge_err *err)
{
    static const char *const fields[] = {"kind", "certainty", "scope", "hang", "summary", "signature"};
    static const char *const files[] = {"report.json", "report.html"};
    const json_t *verdict = json_object_get(report, "verdict");
    json_t *brief = json_object(), *paths = json_array();
    bool failed = false;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        failed |= json_object_set(brief, fields[i], json_object_get(verdict, fields[i])) != 0;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (beside)
            failed |= json_array_append_new(paths, json_string(files[i])) != 0;
    json_t *result =
        failed ? NULL
               : json_pack("{s:s,s:O,s:i,s:b,s:O}", "schema", "wedge.result/1", "verdict", brief, "exit", exit_status,
                           "invalid", json_is_true(json_object_get(json_object_get(report, "injection"), "invalid")),
                           "files", paths);
    int rc = result ? wedge_report_write_json(result, dirfd, "result.json", err)
                    : wedge_err_set(err, -ENOMEM, "no memory for result.json");
    json_decref(result);
    json_decref(brief);
    json_decref(paths);
    return rc;
}

int wedge_report_write_result(const char *dir, const json_t *report, int exit_status, struct wedge_err *err)
{
    int dirfd = -1;
    int rc = wedge_report_open_dir(dir, &dirfd, err);
    if (rc)
        return rc;
    rc = write_result(dirfd, report, exit_status, is_beside(dirfd, report), err);
    close(dirfd);
    return rc;
}

int wedge_report_write_all(const char *dir, const json_t *report, int exit_status, void (*meanwhile)(void *arg),
                           void *arg, struct wedge_err *err)
{
    int dirfd = -1;
    int rc = wedge_report_open_dir(dir, &dirfd, err);
    if (rc) {
        if (meanwhile)
            meanwhile(arg);
        return rc;
    }
    rc = write_both(dirfd, report, meanwhile, arg, err);
    if (!rc)
        rc = write_result(dirfd, report, exit_status, true, err);
    wedge_report_clean(dirfd);
    close(dirfd);
    return rc;
}
