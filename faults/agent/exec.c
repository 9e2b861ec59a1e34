/*
 * What a new program is given: an environment that loads the agent again, and a look at its file, for what must stand
 * before the agent and for why it may not be there.
 *
 * Our variables are put back where they are missing; one that names another arena was meant so and stays. Of
 * LD_PRELOAD only the part that wedge put there is put back, in front, behind the runtime of a sanitizer if the program
 * needs one. What is inherited as it was costs no copy.
 *
 * Only before an exec or a spawn, which a sandbox that forbids opening files would not survive anyway.
 */
#include "faults/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rt/program.h"
#include "faults/agent/sys.h"

enum { MOST_INTERPRETERS = 4, MOST_DIRECTORIES = 256 };
static const char preload_is[] = "LD_PRELOAD=", arena_is[] = "WEDGE_ARENA=";

/* As they were when this program began: it may write over its environment. Constant once `ready`. */
static struct {
    char arena[96];
    char preload[512]; /* wedge's part of LD_PRELOAD, "" none */
    char agent[512]; /* its first component */
} own;

/* Appends at `*at` of `size` bytes; false when it is cut. */
static bool put(char *buf, size_t size, size_t *at, const char *text, size_t len)
{
    size_t i = 0;
    for (; i < len && text[i] && *at < size - 1; i++)
        buf[(*at)++] = text[i];
    buf[*at] = 0;
    return i == len || !text[i];
}

static size_t component(const char *list) /* LD_PRELOAD is split at these, ld.so(8) */
{
    size_t n = 0;
    while (list[n] && list[n] != ':' && list[n] != ' ')
        n++;
    return n;
}

static const char *base_name(const char *path, size_t len)
{
    while (len > 0 && path[len - 1] != '/')
        len--;
    return path + len;
}

static bool same(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i] || !a[i])
            return false;
    return b[len] == 0;
}

static bool is_asan(const char *at, size_t len)
{
    const char *name = base_name(at, len);
    return wedge_rt_begins(name, "libasan.so") || wedge_rt_begins(name, "libclang_rt.asan");
}

static int find_self(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD &&
            (uintptr_t)&own - (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr) < info->dlpi_phdr[i].p_memsz) {
            *(const char **)arg = info->dlpi_name;
            return 1;
        }
    return 0;
}

void agent_note_environ(const char *arena, const char *preload)
{
    const char *self = "", *from = NULL, *to = NULL;
    size_t at = 0;
    if (!put(own.arena, sizeof(own.arena), &at, arena, SIZE_MAX))
        own.arena[0] = 0;
    dl_iterate_phdr(find_self, &self);
    for (const char *list = preload ? preload : ""; *list;) {
        size_t len = component(list);
        if (len && (same(list, self, len) || wedge_rt_begins(base_name(list, len), "libwedge-agent"))) {
            from = from ? from : list;
            to = list + len;
        }
        list += len;
        list += *list != 0;
    }
    at = 0;
    if (from && !put(own.preload, sizeof(own.preload), &at, from, (size_t)(to - from)))
        own.preload[0] = 0;
    at = 0;
    if (own.preload[0])
        put(own.agent, sizeof(own.agent), &at, own.preload, component(own.preload));
}

static long read_file(int fd, void *buf, size_t size, uint64_t offset)
{
    return sys_call(SYS_pread64, fd, (long)buf, (long)size, (long)offset, 0, 0);
}

/* The file that execvp would try first. */
static const char *search_path(const char *file, char *buf, size_t size)
{
    const char *dirs = getenv("PATH"); /* the caller's, not the new program's */
    for (const char *at = file; *at; at++)
        if (*at == '/')
            return file;
    dirs = dirs ? dirs : "/bin:/usr/bin";
    for (int i = 0; i < MOST_DIRECTORIES; i++) {
        size_t len = 0, at = 0;
        while (dirs[len] && dirs[len] != ':')
            len++;
        if (put(buf, size, &at, dirs, len) && (len == 0 || put(buf, size, &at, "/", 1)) &&
            put(buf, size, &at, file, SIZE_MAX) && sys_call(SYS_faccessat, AT_FDCWD, (long)buf, X_OK, 0, 0, 0) == 0)
            return buf;
        if (!dirs[len])
            break;
        dirs += len + 1;
    }
    return file;
}

/* Judges the program behind a file, following "#!". The name of the runtime it needs goes to asan. */
static enum wedge_birth_why judge(int dir, const char *path, char asan[64])
{
    char head[256] = "", interpreter[256];
    enum wedge_birth_why why = WEDGE_BIRTH_UNREADABLE;
    asan[0] = 0;
    for (int depth = 0; depth < MOST_INTERPRETERS; depth++) {
        struct stat st = {0};
        struct wedge_rt_program program = {.read = read_file};
        bool opened = *path;
        long fd = opened ? sys_call(SYS_openat, dir, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, 0, 0)
                         : dir; /* fexecve */
        long n = fd < 0 ? -1 : read_file((int)fd, head, sizeof(head), 0);
        bool elf = n > 0 && wedge_rt_is_elf(head, (size_t)n);
        program.fd = (int)fd;
        if (elf && sys_call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) == 0) {
            why = st.st_mode & (S_ISUID | S_ISGID)                                           ? WEDGE_BIRTH_SETID
                  : sys_call(SYS_fgetxattr, fd, (long)"security.capability", 0, 0, 0, 0) > 0 ? WEDGE_BIRTH_CAPABILITIES
                                                                                             : wedge_rt_judge(&program);
        }
        if (fd >= 0 && opened)
            sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
        for (size_t i = 0; why == WEDGE_BIRTH_FITS && i < sizeof(program.asan); i++)
            asan[i] = program.asan[i];
        if (elf || n <= 0)
            break;
        wedge_rt_interpreter(head, (size_t)n, interpreter, sizeof(interpreter));
        path = interpreter[0] ? interpreter : "/bin/sh";
        dir = AT_FDCWD;
    }
    return why;
}

/* Which LD_PRELOAD the program needs, given `old`. False: the old one will do. */
static bool change_preload(struct agent_exec *exec, const char *old, const char *asan)
{
    bool asan_first = is_asan(old, component(old)), agent = false;
    size_t at = 0;
    for (const char *list = old; *list;) {
        size_t len = component(list);
        agent |= same(list, own.agent, len) && len > 0;
        list += len;
        list += *list != 0;
    }
    if (agent && (asan_first || !asan[0]))
        return false;
    bool ok = put(exec->preload, sizeof(exec->preload), &at, preload_is, SIZE_MAX);
    if (asan_first) /* the runtime in front stays there, ours goes behind */
        ok = ok && put(exec->preload, sizeof(exec->preload), &at, old, component(old)) &&
             put(exec->preload, sizeof(exec->preload), &at, ":", 1);
    else if (asan[0]) /* by its name alone the loader finds it where the program does */
        ok = ok && put(exec->preload, sizeof(exec->preload), &at, asan, SIZE_MAX) &&
             put(exec->preload, sizeof(exec->preload), &at, ":", 1);
    if (!agent)
        ok = ok && put(exec->preload, sizeof(exec->preload), &at, own.preload, SIZE_MAX);
    const char *rest = asan_first ? old + component(old) + (old[component(old)] != 0) : old;
    if (*rest)
        ok = ok && (agent || put(exec->preload, sizeof(exec->preload), &at, ":", 1)) &&
             put(exec->preload, sizeof(exec->preload), &at, rest, SIZE_MAX);
    if (!ok)
        exec->why = WEDGE_BIRTH_NO_ROOM;
    return ok;
}

/* The program will have our rights, unless it is one of those judged above; but capabilities that were kept over a change
 * of user end with exec (capabilities(7)). */
static bool can_open_arena(void)
{
    struct stat st = {0};
    long fd =
        sys_call(SYS_openat, AT_FDCWD, (long)agent_arena_path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, 0, 0);
    if (fd < 0)
        return fd == -EMFILE || fd == -ENFILE; /* which says nothing of a program that closes some */
    long user = sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    bool ours = sys_call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) == 0 && (user == 0 || user == (long)st.st_uid);
    sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
    return ours;
}

void agent_exec_judge(struct agent_exec *ret, int fd, const char *path, bool search, char *const *env, bool told)
{
    static char *const nothing[] = {NULL};
    const char *arena = NULL, *preload = "";
    char asan[64];
    size_t n = 0;
    ret->env = env ? env : nothing; /* Linux takes NULL for an empty one, execve(2) */
    path = path ? path : ""; /* EFAULT is the kernel's to say */
    ret->path = search ? search_path(path, ret->found, sizeof(ret->found)) : path;
    ret->why = judge(fd, ret->path, asan);
    if (ret->why == WEDGE_BIRTH_FITS && !can_open_arena())
        ret->why = WEDGE_BIRTH_SHUT;
    ret->set_preload = ret->set_arena = false;
    ret->entries = 0;
    for (; ret->env[n]; n++) {
        if (wedge_rt_begins(ret->env[n], arena_is))
            arena = ret->env[n] + sizeof(arena_is) - 1;
        else if (wedge_rt_begins(ret->env[n], preload_is))
            preload = ret->env[n] + sizeof(preload_is) - 1;
    }
    if (!own.arena[0] || !own.preload[0])
        return; /* not loaded by LD_PRELOAD: whoever did that does it again */
    if (arena && !wedge_rt_begins(arena, own.arena)) {
        ret->why = ret->why == WEDGE_BIRTH_FITS ? WEDGE_BIRTH_OTHER : ret->why;
        return;
    }
    ret->set_preload = change_preload(ret, preload, asan);
    ret->set_arena = told || !arena;
    if (!ret->set_preload && !ret->set_arena)
        return;
    if (n + 3 <= AGENT_EXEC_ENTRIES) {
        ret->entries = n + 3;
        return;
    }
    if (ret->set_preload || !arena) /* without a slot's number it will be known by its number or its parent */
        ret->why = WEDGE_BIRTH_NO_ROOM;
    ret->set_preload = ret->set_arena = false;
}

void agent_exec_fill(struct agent_exec *exec, uint32_t slot, char **room)
{
    char digits[12];
    size_t n = 0, at = 0, d = sizeof(digits);
    put(exec->arena, sizeof(exec->arena), &at, arena_is, SIZE_MAX);
    put(exec->arena, sizeof(exec->arena), &at, own.arena, SIZE_MAX);
    if (slot != AGENT_NONE) {
        do {
            digits[--d] = (char)('0' + slot % 10);
            slot /= 10;
        } while (slot);
        digits[--d] = ':';
        put(exec->arena, sizeof(exec->arena), &at, digits + d, sizeof(digits) - d);
    }
    for (char *const *from = exec->env; *from; from++)
        if (!(exec->set_preload && wedge_rt_begins(*from, preload_is)) &&
            !(exec->set_arena && wedge_rt_begins(*from, arena_is)))
            room[n++] = *from;
    if (exec->set_preload)
        room[n++] = exec->preload;
    if (exec->set_arena)
        room[n++] = exec->arena;
    room[n] = NULL;
}
