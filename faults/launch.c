/*
 * Preparing a command for the agent, and releasing what the agent holds.
 *
 * The program's file is read with bounds checked at each step and never mapped: it may be truncated under us.
 */
#include "faults/launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/rt/program.h"
#include "base/text.h"
#include "faults/functions.h"

#ifndef WEDGE_INSTALL_LIBDIR
#error "WEDGE_INSTALL_LIBDIR is the folder that the agent is installed to"
#endif

enum { MOST_INTERPRETERS = 4 };

extern char **environ;

static int refuse(struct wedge_err *err, int code, const char *path, const char *why)
{
    wedge_err_set(err, code, "%s %s, so the agent cannot be loaded into it", path, why);
    wedge_err_remedy(err, "use --no-agent: wedge then watches from outside, without faults and marks");
    return code;
}

/* Finds `program` as execvp does. -EACCES when the only candidates may not be executed. */
static int find_program(const char *program, char path[PATH_MAX], struct wedge_err *err)
{
    int rc = -ENOENT;
    if (strchr(program, '/')) {
        snprintf(path, PATH_MAX, "%s", program);
        rc = access(path, X_OK) ? -errno : 0;
    } else {
        const char *dirs = getenv("PATH");
        for (const char *at = dirs && *dirs ? dirs : "/bin:/usr/bin"; *program && at; at = strchr(at, ':')) {
            at += *at == ':';
            int len = (int)strcspn(at, ":");
            struct stat st;
            int n = snprintf(path, PATH_MAX, "%.*s%s%s", len, at, len ? "/" : "", program);
            if (n >= PATH_MAX || stat(path, &st) || !S_ISREG(st.st_mode))
                continue;
            if (access(path, X_OK) == 0)
                return 0;
            rc = -EACCES;
        }
    }
    struct stat st;
    if (rc == 0 && (stat(path, &st) || !S_ISREG(st.st_mode)))
        rc = -EACCES;
    if (rc)
        wedge_err_set(err, rc, "cannot execute %s: %s", program, strerror(-rc));
    return rc;
}

static long read_file(int fd, void *buf, size_t size, uint64_t offset)
{
    return pread(fd, buf, size, (off_t)offset);
}

const char *wedge_faults_why(enum wedge_birth_why why)
{
    static const char *const words[WEDGE_BIRTH_COUNT] = {
        [WEDGE_BIRTH_FITS] = "ended before its program had started, or could not open the arena",
        [WEDGE_BIRTH_STATIC] = "is statically linked",
        [WEDGE_BIRTH_MACHINE] = "is not a program for x86-64 (64 bits)",
        [WEDGE_BIRTH_LOADER] = "does not use glibc's loader",
        [WEDGE_BIRTH_DAMAGED] = "has damaged ELF program headers",
        [WEDGE_BIRTH_SETID] = "runs with set-user-ID or set-group-ID",
        [WEDGE_BIRTH_CAPABILITIES] = "has file capabilities",
        [WEDGE_BIRTH_UNREADABLE] = "cannot be read",
        [WEDGE_BIRTH_NO_ROOM] = "has an environment with no room for LD_PRELOAD and WEDGE_ARENA",
        [WEDGE_BIRTH_SHUT] = "runs where wedge's /proc/PID/fd cannot be opened: as another user, or in a chroot",
        [WEDGE_BIRTH_OTHER] = "was given another WEDGE_ARENA",
    };
    return (unsigned)why < WEDGE_BIRTH_COUNT ? words[why] : "is not known";
}

enum wedge_birth_why wedge_faults_judge(int fd, char asan[64])
{
    struct stat st;
    char magic[SELFMAG];
    asan[0] = 0;
    if (fd < 0 || fstat(fd, &st) || pread(fd, magic, sizeof(magic), 0) != sizeof(magic))
        return WEDGE_BIRTH_UNREADABLE;
    if (st.st_mode & (S_ISUID | S_ISGID))
        return WEDGE_BIRTH_SETID;
    if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return WEDGE_BIRTH_CAPABILITIES;
    struct wedge_rt_program program = {.fd = fd, .read = read_file};
    enum wedge_birth_why why = wedge_rt_judge(&program);
    memcpy(asan, program.asan, sizeof(program.asan));
    return why;
}

/* The interpreter of a "#!" line; /bin/sh for a text without one, as execvp does. False: an ELF file. */
static bool find_interpreter(const char *head, size_t len, char path[PATH_MAX])
{
    if (wedge_rt_is_elf(head, len))
        return false;
    wedge_rt_interpreter(head, len, path, PATH_MAX);
    if (len < 2 || head[0] != '#' || head[1] != '!')
        snprintf(path, PATH_MAX, "/bin/sh");
    return true;
}

static int check_program(const char *program, char asan[64], struct wedge_err *err)
{
    char path[PATH_MAX], head[PATH_MAX + 1] = "";
    int rc = find_program(program, path, err);
    for (int depth = 0; rc == 0; depth++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0) {
            rc = wedge_err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
            if (rc == -EACCES) /* may be executed but not read: whether it is static cannot be known */
                wedge_err_remedy(err, "use --no-agent, or make it readable");
        } else {
            ssize_t n = pread(fd, head, sizeof(head) - 1, 0);
            head[n > 0 ? n : 0] = 0;
            char next[PATH_MAX];
            if (find_interpreter(head, n > 0 ? (size_t)n : 0, next)) {
                memcpy(path, next, sizeof(path));
                if (depth == MOST_INTERPRETERS)
                    rc = wedge_err_set(err, -ELOOP, "%s: too many interpreters of interpreters", program);
                else if (access(path, X_OK))
                    rc = wedge_err_set(err, -errno, "cannot execute %s: its interpreter %s: %s", program, path,
                                       strerror(errno));
                close(fd);
                continue;
            }
            enum wedge_birth_why why = wedge_faults_judge(fd, asan);
            if (why == WEDGE_BIRTH_DAMAGED)
                rc = wedge_err_set(err, -ENOEXEC, "cannot execute %s: its ELF program headers are damaged", path);
            else if (why != WEDGE_BIRTH_FITS)
                rc = refuse(err, -ENOTSUP, path, wedge_faults_why(why));
        }
        if (fd >= 0)
            close(fd);
        break;
    }
    return rc;
}

/* The path of a runtime by its name, in the loader's usual folders and gcc's own; the bare name when it is in none,
 * which leaves the search to the loader. */
static void resolve_runtime(const char *name, char path[PATH_MAX])
{
    static const char *const dirs[] = {"/lib/x86_64-linux-gnu",
                                       "/usr/lib/x86_64-linux-gnu",
                                       "/lib64",
                                       "/usr/lib64",
                                       "/usr/local/lib",
                                       "/usr/lib",
                                       NULL};
    static const char gcc[] = "/usr/lib/gcc/x86_64-linux-gnu";
    for (int i = 0; dirs[i]; i++) {
        snprintf(path, PATH_MAX, "%s/%s", dirs[i], name);
        if (access(path, R_OK) == 0)
            return;
    }
    DIR *dir = opendir(gcc);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, PATH_MAX, "%s/%s/%s", gcc, entry->d_name, name);
        if (entry->d_name[0] != '.' && access(path, R_OK) == 0) {
            closedir(dir);
            return;
        }
    }
    if (dir)
        closedir(dir);
    snprintf(path, PATH_MAX, "%s", name);
}

static int find_agent(char path[PATH_MAX], struct wedge_err *err)
{
    const char *given = getenv("WEDGE_AGENT");
    char self[PATH_MAX];
    if (given && *given) {
        if (!realpath(given, path))
            return wedge_err_set(err, -ENOENT, "WEDGE_AGENT names %s: %s", given, strerror(errno));
    } else {
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 32);
        self[n > 0 ? n : 0] = 0;
        char *slash = strrchr(self, '/');
        if (slash)
            memcpy(slash + 1, "../lib/libwedge-agent.so", 25);
        if ((!slash || !realpath(self, path)) && !realpath(WEDGE_INSTALL_LIBDIR "/libwedge-agent.so", path)) {
            wedge_err_set(err, -ENOENT, "the agent, libwedge-agent.so, is not where it belongs");
            wedge_err_remedy(err, "name it in WEDGE_AGENT, or use --no-agent");
            return -ENOENT;
        }
    }
    if (strpbrk(path, " :\t\n")) { /* LD_PRELOAD is split at these, and knows no quotes (ld.so(8)) */
        wedge_err_set(err, -EINVAL, "the agent's path has a blank or a colon, which LD_PRELOAD cannot carry: %s", path);
        wedge_err_remedy(err, "install wedge elsewhere, or name a copy of the agent in WEDGE_AGENT");
        return -EINVAL;
    }
    return 0;
}

static bool names_allocation(const struct wedge_arena *arena)
{
    const struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    if (control->census == WEDGE_CENSUS_HEAP)
        return true;
    for (uint32_t i = 0; i < control->n_rules && i < WEDGE_ARENA_RULES; i++)
        if (wedge_rule_names_allocation(wedge_arena_live(arena, WEDGE_SEC_RULES, i)))
            return true;
    return false;
}

/* The agent's second object, for the malloc family, beside the agent. */
static int find_second(const char *agent, const char *program, const char *asan, char path[PATH_MAX],
                       struct wedge_err *err)
{
    const char *slash = strrchr(agent, '/');
    if (asan[0]) {
        wedge_err_set(err, -ENOTSUP, "%s is built with AddressSanitizer, which has an allocator of its own", program);
        wedge_err_remedy(err, "leave malloc and its kin out of it, or build the program without");
        return -ENOTSUP;
    }
    snprintf(path, PATH_MAX, "%.*s/libwedge-agent-malloc.so", slash ? (int)(slash - agent) : 1, slash ? agent : ".");
    if (access(path, R_OK))
        return wedge_err_set(err, -ENOENT, "a rule names the malloc family, and %s is not there", path);
    return 0;
}

static bool is_variable(const char *entry, const char *name)
{
    size_t n = strlen(name);
    return strncmp(entry, name, n) == 0 && entry[n] == '=';
}

int wedge_faults_environ(const struct wedge_arena *arena, const char *program, char ***ret_env, struct wedge_err *err)
{
    char asan[64] = "", runtime[PATH_MAX] = "", agent[PATH_MAX], second[PATH_MAX] = "";
    int rc;
    if ((rc = check_program(program, asan, err)) || (rc = find_agent(agent, err)))
        return rc;
    if (names_allocation(arena) && (rc = find_second(agent, program, asan, second, err)))
        return rc;
    if (asan[0])
        resolve_runtime(asan, runtime);
    size_t n = 0, at = 0;
    while (environ[n])
        n++;
    char **env = calloc(n + 3, sizeof(*env));
    const char *before = getenv("LD_PRELOAD");
    bool ok = env != NULL;
    for (size_t i = 0; ok && i < n; i++)
        if (!is_variable(environ[i], "LD_PRELOAD") && !is_variable(environ[i], WEDGE_ARENA_ENV))
            ok = (env[at++] = strdup(environ[i])) != NULL;
    struct wedge_text preload = WEDGE_TEXT_INIT(1 << 20), where = WEDGE_TEXT_INIT(256);
    wedge_text_addf(&preload, "LD_PRELOAD=%s%s%s%s%s", runtime, runtime[0] ? ":" : "", agent, second[0] ? ":" : "",
                    second);
    if (before && *before)
        wedge_text_addf(&preload, ":%s", before);
    wedge_text_addf(&where, WEDGE_ARENA_ENV "=%s", arena->env);
    if (!ok || preload.cut || where.cut || !preload.data || !where.data) {
        wedge_text_free(&preload);
        wedge_text_free(&where);
        wedge_faults_environ_free(env);
        return wedge_err_set(err, -ENOMEM, "no memory for the environment");
    }
    env[at++] = preload.data;
    env[at++] = where.data;
    *ret_env = env;
    return 0;
}

void wedge_faults_environ_free(char **env)
{
    for (size_t i = 0; env && env[i]; i++)
        free(env[i]);
    free(env);
}

static void wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void let_go(const struct wedge_arena *arena, struct wedge_arena_rule *rule)
{
    struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    atomic_fetch_or(&rule->released, 1); /* block and delay sleep on this word */
    wake(&rule->released);
    atomic_fetch_add(&control->released, 1); /* yield on this one */
    wake(&control->released);
}

int wedge_faults_release(const struct wedge_arena *arena, const char *rule_id, struct wedge_err *err)
{
    const struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    for (uint32_t i = 0; i < control->n_rules && i < WEDGE_ARENA_RULES; i++) {
        struct wedge_arena_rule *rule = wedge_arena_live(arena, WEDGE_SEC_RULES, i);
        if (strncmp(rule->id, rule_id, sizeof(rule->id)) == 0) {
            let_go(arena, rule);
            return 0;
        }
    }
    wedge_err_input(err, NULL, 0, 0, "no rule has the id `%s`", rule_id);
    return -ENOENT;
}

void wedge_faults_free_slot(const struct wedge_arena *arena, uint32_t slot)
{
    struct wedge_arena_proc *proc = wedge_arena_live(arena, WEDGE_SEC_PROCS, slot);
    for (uint32_t i = 0; i < wedge_arena_count(WEDGE_SEC_THREADS); i++) {
        struct wedge_arena_thread *thread = wedge_arena_live(arena, WEDGE_SEC_THREADS, i);
        uint32_t complete = 2; /* an odd one is being filled by whoever took it over */
        if (thread->proc == slot && atomic_compare_exchange_strong(&thread->gen, &complete, 1))
            atomic_store(&thread->gen, *(volatile uint32_t *)&thread->proc == slot ? 0 : 2); /* taken over between */
    }
    atomic_store(&proc->gen, 0); /* last: from here on it is another's */
}

/* The numbers that processes in inner PID namespaces have there. */
struct inner {
    pid_t *pids;
    size_t n, room;
};

/* Adds the last number of the line "NSpid: 4711 12" when it has more than one. False: no memory. */
static bool add_inner(const char *status, struct inner *inner)
{
    static const char key[] = "\nNSpid:";
    const char *line = strstr(status, key);
    const char *at = line ? line + strlen(key) : "";
    long last = 0;
    int numbers = 0;
    while (*at && *at != '\n') {
        char *end;
        long number = strtol(at, &end, 10);
        if (end == at)
            break;
        last = number;
        numbers++;
        at = end;
    }
    if (numbers < 2)
        return true;
    if (inner->n == inner->room) {
        size_t room = inner->room ? 2 * inner->room : 64;
        pid_t *pids = realloc(inner->pids, room * sizeof(*pids));
        if (!pids)
            return false;
        inner->pids = pids;
        inner->room = room;
    }
    inner->pids[inner->n++] = (pid_t)last;
    return true;
}

/* Bytes of the file, cut to the buffer and ended by NUL, or a negative errno. */
static ssize_t read_status(const char *pid, char *buf, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%.20s/status", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -errno : read(fd, buf, size - 1);
    if (fd >= 0)
        close(fd);
    if (n >= 0)
        buf[n] = '\0';
    return n;
}

/* False: it cannot be known, /proc does not show every process (proc(5), hidepid) or there is no memory. */
static bool list_inner(struct inner *ret)
{
    char status[4096];
    DIR *proc = opendir("/proc");
    bool known = proc && read_status("1", status, sizeof(status)) > 0;
    for (struct dirent *entry; known && (entry = readdir(proc));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            read_status(entry->d_name, status, sizeof(status)) > 0)
            known = add_inner(status, ret);
    if (proc)
        closedir(proc);
    return known;
}

static bool has_pid(const struct inner *inner, pid_t pid)
{
    for (size_t i = 0; i < inner->n; i++)
        if (inner->pids[i] == pid)
            return true;
    return false;
}

static bool is_gone(const struct wedge_arena_proc *proc)
{
    return kill(proc->pid, 0) < 0 && errno == ESRCH;
}

/*
 * Frees the slots of those that were ended from outside (a SIGKILL, an abort): they did not say that they leave, so the
 * kernel's word that there is no such process is not enough, since one in another PID namespace has another number here. It is
 * enough when no process in an inner namespace has that number there: whoever was in the slot before the look and lives is seen
 * by it.
 */
static size_t free_ended(const struct wedge_arena *arena)
{
    uint32_t n = wedge_arena_count(WEDGE_SEC_PROCS);
    struct inner inner = {0};
    pid_t *before = calloc(n, sizeof(*before));
    size_t found = 0, freed = 0;
    for (uint32_t i = 0; before && i < n; i++) {
        const struct wedge_arena_proc *proc = wedge_arena_live(arena, WEDGE_SEC_PROCS, i);
        uint32_t gen = atomic_load(&proc->gen);
        before[i] = gen != 0 && gen % 2 == 0 && proc->pid > 0 && is_gone(proc) ? proc->pid : 0;
        found += before[i] != 0;
    }
    if (found > 0 && list_inner(&inner))
        for (uint32_t i = 0; i < n; i++)
            if (before[i] && !has_pid(&inner, before[i])) {
                wedge_faults_free_slot(arena, i);
                freed++;
            }
    free(inner.pids);
    free(before);
    return freed;
}

size_t wedge_faults_recycle(const struct wedge_arena *arena)
{
    uint32_t n = wedge_arena_count(WEDGE_SEC_PROCS), taken = 0;
    size_t freed = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct wedge_arena_proc *proc = wedge_arena_live(arena, WEDGE_SEC_PROCS, i);
        taken += atomic_load(&proc->gen) != 0;
    }
    bool scarce = taken > n - n / 8;
    for (uint32_t i = 0; taken > n / 2 && i < n; i++) {
        const struct wedge_arena_proc *proc = wedge_arena_live(arena, WEDGE_SEC_PROCS, i);
        uint32_t gen = atomic_load(&proc->gen);
        bool named = proc->role[0] || proc->killed_by_rule;
        /* The kernel alone would not do: a process in another PID namespace has another number here. */
        if (gen == 0 || gen % 2 || atomic_load(&proc->state) != WEDGE_PROC_EXITING || proc->pid <= 0 ||
            (named && !scarce) || !is_gone(proc))
            continue;
        wedge_faults_free_slot(arena, i);
        freed++;
    }
    return scarce ? freed + free_ended(arena) : freed;
}

void wedge_faults_quiesce(const struct wedge_arena *arena)
{
    struct wedge_arena_control *control = wedge_arena_live(arena, WEDGE_SEC_CONTROL, 0);
    atomic_store(&control->quiesce, 1);
    for (uint32_t i = 0; i < control->n_rules && i < WEDGE_ARENA_RULES; i++)
        let_go(arena, wedge_arena_live(arena, WEDGE_SEC_RULES, i));
}
