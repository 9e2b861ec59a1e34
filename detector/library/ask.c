#include "detector/library/ask.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef WEDGE_INSTALL_BINDIR
#error "WEDGE_INSTALL_BINDIR is the folder that the wedge program is installed to"
#endif

enum { MOST_BYTES = 17 << 20, STACK_BYTES = 64 << 10, MOST_ARGUMENTS = 16 };
#define MAGIC "wedge-result 1\n"

struct wedge_result { /* the texts point into `data` */
    char *data;
    const char *kind, *certainty, *scope, *summary, *signature, *json;
    int hang;
};

static char program_given[PATH_MAX];

/* ---- results ---- */

const char *wedge_result_kind(const struct wedge_result *result)
{
    return result->kind;
}
const char *wedge_result_certainty(const struct wedge_result *result)
{
    return result->certainty;
}
const char *wedge_result_scope(const struct wedge_result *result)
{
    return result->scope;
}
const char *wedge_result_summary(const struct wedge_result *result)
{
    return result->summary;
}
const char *wedge_result_signature(const struct wedge_result *result)
{
    return result->signature;
}
const char *wedge_result_json(const struct wedge_result *result)
{
    return result->json;
}
int wedge_result_is_hang(const struct wedge_result *result)
{
    return result->hang;
}
void wedge_result_free(struct wedge_result *result)
{
    if (result)
        free(result->data);
    free(result);
}

__attribute__((format(printf, 4, 5))) static int fail(int rc, char *why, size_t bytes, const char *fmt, ...)
{
    va_list ap;
    if (why && bytes) {
        va_start(ap, fmt);
        vsnprintf(why, bytes, fmt, ap);
        va_end(ap);
    }
    return rc;
}

/* The answer: a line each of "key=value", an empty line, the report. Takes `data` over when it returns 0. */
static int parse(char *data, struct wedge_result **ret, char *why, size_t bytes)
{
    struct wedge_result *r = calloc(1, sizeof(*r));
    char *line = data + strlen(MAGIC), *next;
    const char *message = "";
    int error = 0;
    if (!r)
        return fail(-ENOMEM, why, bytes, "no memory for a result");
    r->kind = r->certainty = r->scope = r->summary = r->signature = r->json = "";
    for (; *line && *line != '\n'; line = next) {
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = 0;
        char *value = strchr(line, '=');
        if (!value)
            continue;
        *value++ = 0;
        const char **texts[] = {&r->kind, &r->certainty, &r->scope, &r->summary, &r->signature, &message};
        static const char *const keys[] = {"kind", "certainty", "scope", "summary", "signature", "message"};
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
            if (strcmp(line, keys[i]) == 0)
                *texts[i] = value;
        if (strcmp(line, "hang") == 0)
            r->hang = atoi(value);
        if (strcmp(line, "error") == 0)
            error = atoi(value);
    }
    if (*line == '\n')
        r->json = line + 1;
    if (error || !*r->kind) {
        int rc = error < 0 && error > -4096 ? error : -EBADMSG;
        fail(rc, why, bytes, "%s", *message ? message : "the examination sent no verdict");
        free(r);
        return rc;
    }
    r->data = data;
    *ret = r;
    return 0;
}

/* ---- the program ---- */

int wedge_detector_use(const char *path)
{
    if (path && strlen(path) >= sizeof(program_given))
        return -ENAMETOOLONG;
    snprintf(program_given, sizeof(program_given), "%s", path ? path : "");
    return 0;
}

/* The one that was given; else beside this library: PREFIX/lib/libwedge.so and PREFIX/lib/TRIPLET/libwedge.so. */
static bool find_program(char path[PATH_MAX])
{
    static const char *const ups[] = {"/../bin/wedge", "/../../bin/wedge"};
    Dl_info info;
    char real[PATH_MAX];
    if (*program_given) {
        memcpy(path, program_given, sizeof(program_given));
        return access(path, X_OK) == 0;
    }
    if (dladdr((void *)(uintptr_t)wedge_detect, &info) && realpath(info.dli_fname, real)) {
        *strrchr(real, '/') = 0;
        for (size_t i = 0; i < sizeof(ups) / sizeof(ups[0]); i++)
            if (snprintf(path, PATH_MAX, "%s%s", real, ups[i]) < PATH_MAX && access(path, X_OK) == 0)
                return true;
    }
    snprintf(path, PATH_MAX, "%s", WEDGE_INSTALL_BINDIR "/wedge");
    return access(path, X_OK) == 0;
}

/* Ours without what an agent was preloaded by: wedge itself is not to be under the plan of the run it looks at. */
static char **environment(void)
{
    size_t n = 0, at = 0;
    while (environ && environ[n])
        n++;
    char **env = calloc(n + 1, sizeof(*env));
    for (size_t i = 0; env && i < n; i++)
        if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0 && strncmp(environ[i], "WEDGE_ARENA=", 12) != 0)
            env[at++] = environ[i];
    return env;
}

struct launch {
    const char *path;
    char *const *argv, *const *env;
    int in, out; /* the program's */
    char *stack; /* of STACK_BYTES, for the inner one */
    pid_t pid;
    int pidfd, error;
};

/* Both share our memory while we wait for them (CLONE_VFORK), with every signal blocked: what vfork(2) allows. */
static int inner(void *arg)
{
    struct launch *l = arg;
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &normal, NULL); /* the table is a copy: CLONE_SIGHAND is not shared */
    sigemptyset(&none);
    int in = fcntl(l->in, F_DUPFD, 3), out = fcntl(l->out, F_DUPFD, 3), null = open("/dev/null", O_WRONLY);
    if (in < 0 || out < 0 || null < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(null, 2) < 0) {
        l->error = errno;
        _exit(127);
    }
    close_range(3, ~0u, 0); /* an end of a pipe of the program's in our hands would change what is seen */
    setsid();
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(l->path, l->argv, l->env);
    l->error = errno;
    _exit(127);
}

static int outer(void *arg)
{
    struct launch *l = arg;
    l->pid = clone(inner, l->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, l);
    if (l->pid < 0)
        l->error = errno;
    _exit(0);
}

/* Starts the program as nobody's child. 0 with l->pid and l->pidfd, or a negative errno. */
static int launch(struct launch *l)
{
    sigset_t all, before;
    char *stacks = mmap(NULL, 2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stacks == MAP_FAILED)
        return -errno;
    l->stack = stacks;
    l->pidfd = -1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    /* Without an exit signal the outer one sends no SIGCHLD, and only __WCLONE waits for it. */
    pid_t pid = clone(outer, stacks + 2 * STACK_BYTES, CLONE_VM | CLONE_VFORK, l);
    int rc = pid < 0 ? -errno : 0;
    while (!rc && waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stacks, 2 * STACK_BYTES);
    if (!rc && l->error)
        rc = -l->error;
    /* It waits for our word, so that the number is still its own. Under valgrind memory is not shared: it stays 0. */
    if (!rc && l->pid > 0)
        l->pidfd = pidfd_open(l->pid, 0);
    return rc;
}

/* ---- one examination ---- */

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Where only a descendant may trace (Yama, scope 1), whoever looks at us has to be let: it is no descendant any more. */
static void permit(pid_t pid)
{
    char scope = '0';
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (read(fd, &scope, 1) == 1 && scope == '1')
        prctl(PR_SET_PTRACER, pid, 0, 0, 0);
    close(fd);
}

/* Reads to the end of the answer; NUL-terminated. */
static int collect(int fd, int64_t until_ms, char **ret)
{
    size_t cap = 65536, n = 0;
    char *data = malloc(cap);
    int rc = data ? 0 : -ENOMEM;
    while (!rc) {
        int64_t left = until_ms - now_ms();
        struct pollfd answer = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&answer, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            rc = ready ? -errno : -ETIMEDOUT;
            break;
        }
        ssize_t got = read(fd, data + n, cap - 1 - n);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            rc = -errno;
        n += got > 0 ? (size_t)got : 0;
        if (rc || n + 1 < cap)
            continue;
        char *more = cap < MOST_BYTES ? realloc(data, 2 * cap) : NULL;
        rc = more ? 0 : -ENOMEM;
        data = more ? more : data;
        cap *= 2;
    }
    if (!rc) {
        data[n] = 0;
        rc = strncmp(data, MAGIC, strlen(MAGIC)) == 0 ? 0 : -EBADMSG;
    }
    if (rc)
        free(data);
    else
        *ret = data;
    return rc;
}

static int converse(struct launch *l, int to[2], int from[2], int64_t until_ms, char **ret)
{
    int rc = launch(l);
    close(to[0]);
    close(from[1]);
    to[0] = from[1] = -1;
    if (rc)
        return rc;
    if (l->pid > 0)
        permit(l->pid);
    close(to[1]); /* go */
    to[1] = -1;
    rc = collect(from[0], until_ms, ret);
    if (rc && l->pidfd >= 0) /* of no use any more; it has a deadline of its own too */
        pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
    if (l->pidfd >= 0)
        close(l->pidfd);
    return rc;
}

int wedge_library_ask(const struct wedge_ask *ask, struct wedge_result **ret, char *why, size_t why_bytes)
{
    char path[PATH_MAX], pid[16], blind[32], stalled[32], deadline[32];
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    int deadline_ms = ask->deadline_ms > 0 ? ask->deadline_ms : 10000;
    char *data = NULL;
    if (why && why_bytes)
        *why = 0;
    if (!find_program(path))
        return fail(-ENOENT, why, why_bytes, "the wedge program is not there: %s", path);
    snprintf(pid, sizeof(pid), "%d", (int)(ask->pid ? ask->pid : getpid()));
    snprintf(blind, sizeof(blind), "--for-library=%d", (int)ask->blind);
    snprintf(stalled, sizeof(stalled), "--stalled=%dms", ask->stalled_ms > 0 ? ask->stalled_ms : 0);
    snprintf(deadline, sizeof(deadline), "--deadline=%dms", deadline_ms);
    char *argv[MOST_ARGUMENTS] = {(char *)"wedge", (char *)"dump", blind, deadline, pid};
    int n = 5;
    if (ask->stalled_ms > 0)
        argv[n++] = stalled;
    if (!(ask->flags & WEDGE_DETECT_STACKS))
        argv[n] = (char *)"--no-stop";
    char **env = environment();
    struct launch l = {.path = path, .argv = argv, .env = env};
    int rc = env ? 0 : -ENOMEM;
    if (!rc && (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)))
        rc = -errno;
    l.in = to[0];
    l.out = from[1];
    if (!rc)
        rc = converse(&l, to, from, now_ms() + deadline_ms, &data);
    for (int i = 0; i < 2; i++) {
        if (to[i] >= 0)
            close(to[i]);
        if (from[i] >= 0)
            close(from[i]);
    }
    free(env);
    if (rc)
        return fail(rc, why, why_bytes, "%s: %s", path, rc == -EBADMSG ? "it sent no answer" : strerror(-rc));
    rc = parse(data, ret, why, why_bytes);
    if (rc)
        free(data);
    return rc;
}

int wedge_detect(pid_t pid, unsigned flags, int deadline_ms, struct wedge_result **ret, char *why, size_t why_bytes)
{
    const struct wedge_ask ask = {.pid = pid, .blind = gettid(), .flags = flags, .deadline_ms = deadline_ms};
    return wedge_library_ask(&ask, ret, why, why_bytes);
}
