/* detector/core_*: what a core file tells is what the living process told, and nothing more. */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tests/suite.h"
#include "detector/core/core_file.h"
#include "detector/core/core_write.h"
#include "detector/tests/cases.h"
#include "detector/tests/harness.h"

#define MUTATIONS 3000
#define CUTS      40
#define EXAMINED  60
#define CORE_KB   (256 * 1024) /* no core of a test is larger: a mistake must not fill the disk */

static char folder[] = "/tmp/wedge-core-XXXXXX";

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    char line[128];
    snprintf(line, sizeof(line), "rm -rf %s", folder);
    ck_assert_int_eq(system(line), 0);
}

/* gdb's core of a running process. */
static const char *take_core(pid_t pid)
{
    static char path[128];
    char line[512];
    snprintf(path, sizeof(path), "%s/core.%d", folder, pid);
    snprintf(line, sizeof(line), "bash -c 'ulimit -f %d && exec gcore -o %s/core %d' >/dev/null 2>&1", CORE_KB, folder,
             pid);
    ck_assert_int_eq(system(line), 0);
    return path;
}

static int examine(const char *core, const char *exe, struct wedge_snapshot **ret, struct wedge_err *err)
{
    struct wedge_examine options = {.core = core, .exe = exe, .stacks = WEDGE_STACKS_ALWAYS};
    memset(err, 0, sizeof(*err));
    return wedge_detector_examine(&options, NULL, ret, err);
}

static struct wedge_snapshot *examine_core(const char *core)
{
    struct wedge_snapshot *snapshot = NULL;
    struct wedge_err err;
    int rc = examine(core, NULL, &snapshot, &err);
    ck_assert_msg(rc == 0, "%s", err.message);
    ck_assert(!snapshot->stopped_anything);
    ck_assert_str_ne(snapshot->complete, "");
    return snapshot;
}

static bool same_text(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

/* Frame by frame what the same process gave while it lived: its stuck threads, for the others move. */
static void check_same_stacks(const struct wedge_snapshot *live, const struct wedge_snapshot *core)
{
    ck_assert_uint_eq(live->n_threads, core->n_threads);
    for (size_t i = 0; i < live->n_threads; i++) {
        const struct wedge_thread *a = &live->threads[i], *b = &core->threads[i];
        if (a->live)
            continue;
        ck_assert_int_eq(a->tid, b->tid);
        ck_assert_msg(a->n_frames == b->n_frames, "thread %d: %zu frames, and %zu in the core (%s)", a->tid,
                      a->n_frames, b->n_frames, b->stack_note);
        ck_assert_uint_gt(a->n_frames, 1);
        for (size_t k = 0; k < a->n_frames; k++) {
            const struct wedge_frame *f = &a->frames[k], *g = &b->frames[k];
            ck_assert_uint_eq(f->pc, g->pc);
            ck_assert_uint_eq(f->module_offset, g->module_offset);
            ck_assert_str_eq(f->build_id, g->build_id);
            ck_assert(same_text(f->function, g->function) && same_text(f->file, g->file) && f->line == g->line);
        }
        ck_assert_str_eq(a->stack_note, b->stack_note);
    }
}

static const struct {
    const char *name;
    enum wedge_verdict_kind kind;
    enum wedge_certainty certainty;
    enum wedge_scope scope;
    size_t victims;
} hangs[] = {
    {"three-threads", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 3},
    {"self-deadlock", WEDGE_VERDICT_SELF_DEADLOCK, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 1},
    {"thread-gone", WEDGE_VERDICT_ABANDONED_LOCK, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 1},
    {"closed-conditions", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_SUSPECTED, WEDGE_SCOPE_WHOLE, 2},
    {"part-checked", WEDGE_VERDICT_LOCK_CYCLE, WEDGE_EVIDENT, WEDGE_SCOPE_PART, 2},
};

START_TEST(test_hangs)
{
    struct factory factory = factory_start(hangs[_i].name);
    struct wedge_snapshot *live = examine_until_all(factory.pid, hangs[_i].victims, WEDGE_STACKS_ALWAYS);
    const char *path = take_core(factory.pid);
    factory_end(&factory);
    struct wedge_snapshot *core = examine_core(path);
    const struct wedge_verdict *v = &core->verdicts[0];
    ck_assert_str_eq(wedge_verdict_words[v->kind], wedge_verdict_words[hangs[_i].kind]);
    ck_assert_str_eq(wedge_certainty_words[v->certainty], wedge_certainty_words[hangs[_i].certainty]);
    ck_assert_str_eq(wedge_scope_words[v->scope], wedge_scope_words[hangs[_i].scope]);
    ck_assert_str_eq(v->signature, live->verdicts[0].signature);
    ck_assert_uint_eq(v->n_victims, live->verdicts[0].n_victims);
    ck_assert(!(v->assumptions & WEDGE_ASSUME_NO_OUTSIDE_KILL));
    check_same_stacks(live, core);
    ck_assert_str_eq(core->procs[0].exe, live->procs[0].exe);
    wedge_snapshot_free(live);
    wedge_snapshot_free(core);
}
END_TEST

/* wedge's own core tells what gdb's tells. */
START_TEST(test_own_core)
{
    struct factory factory = factory_start(hangs[_i].name);
    struct wedge_err err = {0};
    char path[128];
    struct wedge_snapshot *live = examine_until_all(factory.pid, hangs[_i].victims, WEDGE_STACKS_ALWAYS);
    snprintf(path, sizeof(path), "%s/own", folder);
    struct wedge_core_order order = {.pid = factory.pid,
                                     .fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
                                     .max_bytes = CORE_KB * 1024ul,
                                     .deadline_ms = 5000};
    ck_assert_int_ge(order.fd, 0);
    ck_assert_msg(wedge_core_write(&order, &err) == 0, "%s", err.message);
    close(order.fd);
    factory_end(&factory);
    struct wedge_snapshot *core = examine_core(path);
    ck_assert_int_eq(core->verdicts[0].kind, hangs[_i].kind);
    ck_assert_int_eq(core->verdicts[0].certainty, hangs[_i].certainty);
    ck_assert_str_eq(core->verdicts[0].signature, live->verdicts[0].signature);
    check_same_stacks(live, core);
    wedge_snapshot_free(live);
    wedge_snapshot_free(core);
}
END_TEST

/* Programs in which something runs, or waits for what a core does not hold. "unlocked-by-another" has a thread that
 * will unlock what it does not own: it only sleeps. "word-without-wake" cannot be told from one that was being woken. */
static const char *const healthy[] = {
    "server",          "word-without-wake", "self-pipe", "sleep-then-post", "unlocked-by-another",
    "timed-semaphore", "slow-writer",       "busy"};

START_TEST(test_healthy)
{
    struct factory factory = factory_start(healthy[_i]);
    const char *path = take_core(factory.pid);
    factory_end(&factory);
    struct wedge_snapshot *core = examine_core(path);
    for (size_t i = 0; i < core->n_verdicts; i++)
        ck_assert_msg(!wedge_verdict_is_hang(core->verdicts[i].kind) || core->verdicts[i].certainty != WEDGE_PROVED,
                      "%s: %s", healthy[_i], core->verdicts[i].summary);
    ck_assert_msg(!wedge_verdict_is_hang(core->verdicts[0].kind) || strcmp(healthy[_i], "unlocked-by-another") == 0,
                  "%s: %s", healthy[_i], core->verdicts[0].summary);
    wedge_snapshot_free(core);
}
END_TEST

/* The kernel's own core of a process that a watchdog aborts; gdb makes none where the main thread has ended. */
static const struct {
    const char *name;
    enum wedge_verdict_kind kind;
    size_t victims;
} aborted[] = {{"three-threads", WEDGE_VERDICT_LOCK_CYCLE, 3}, {"leader-gone", WEDGE_VERDICT_ABANDONED_LOCK, 1}};

START_TEST(test_kernel_core)
{
    char pattern[256] = "", path[128];
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC), status;
    ck_assert(fd >= 0 && read(fd, pattern, sizeof(pattern) - 1) > 0);
    close(fd);
    if (strcmp(pattern, "core\n") != 0)
        return; /* the machine sends them elsewhere */
    struct rlimit limit = {CORE_KB * 1024ul, CORE_KB * 1024ul};
    char here[4096];
    ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &limit), 0);
    ck_assert_int_eq(chdir(folder), 0);
    struct factory factory = factory_start(aborted[_i].name);
    struct wedge_snapshot *live = examine_until_all(factory.pid, aborted[_i].victims, WEDGE_STACKS_ALWAYS);
    kill(factory.pid, SIGABRT);
    ck_assert_int_eq(waitpid(factory.pid, &status, 0), factory.pid);
    close(factory.in);
    close(factory.out);
    ck_assert_int_eq(chdir(here), 0);
    ck_assert(WIFSIGNALED(status) && WCOREDUMP(status));
    snprintf(path, sizeof(path), "%s/core", folder);
    struct wedge_snapshot *core = examine_core(path);
    ck_assert_int_eq(core->verdicts[0].kind, aborted[_i].kind);
    ck_assert_int_eq(core->verdicts[0].certainty, WEDGE_EVIDENT);
    ck_assert_str_eq(core->verdicts[0].signature, live->verdicts[0].signature);
    ck_assert_ptr_nonnull(strstr(core->procs[0].note, "signal 6"));
    if (!_i)
        check_same_stacks(live, core);
    unlink(path);
    wedge_snapshot_free(live);
    wedge_snapshot_free(core);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
    char line[8192];
    snprintf(line, sizeof(line), "cp %s %s", from, to);
    ck_assert_int_eq(system(line), 0);
}

static const struct wedge_frame *frame_of(const struct wedge_snapshot *s, const char *module)
{
    for (size_t t = 0; t < s->n_threads; t++)
        for (size_t i = 0; i < s->threads[t].n_frames; i++)
            if (strcmp(s->threads[t].frames[i].module, module) == 0)
                return &s->threads[t].frames[i];
    return NULL;
}

/* The program was built anew since: a frame of it has module, offset and build-id, and no name. With --exe it has
 * one, and with the wrong one it is an error. */
START_TEST(test_executable_of_another_build)
{
    char program[128], kept[128];
    struct wedge_snapshot *s = NULL;
    struct wedge_err err;
    snprintf(program, sizeof(program), "%s/program", folder);
    snprintf(kept, sizeof(kept), "%s/kept", folder);
    copy_file(WEDGE_FACTORY, program);
    copy_file(WEDGE_FACTORY, kept);
    int ready[2];
    char text[8];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(ready[1], 3);
        execl(program, program, "self-deadlock", (char *)NULL);
        _exit(127);
    }
    ck_assert_int_eq(read(ready[0], text, 6), 6);
    wedge_snapshot_free(examine_until_hang(pid, WEDGE_STACKS_NEVER));
    const char *path = take_core(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ck_assert_int_eq(unlink(program), 0);
    copy_file("/bin/true", program);

    ck_assert_int_eq(examine(path, NULL, &s, &err), 0);
    const struct wedge_frame *frame = frame_of(s, program);
    ck_assert_ptr_nonnull(frame);
    ck_assert(!frame->function && frame->build_id[0] && frame->module_offset);
    ck_assert_ptr_nonnull(strstr(s->complete, "--exe"));
    wedge_snapshot_free(s);

    ck_assert_int_eq(examine(path, kept, &s, &err), 0);
    frame = frame_of(s, program);
    ck_assert_ptr_nonnull(frame);
    ck_assert_ptr_nonnull(frame->function);
    ck_assert_int_eq(s->verdicts[0].kind, WEDGE_VERDICT_SELF_DEADLOCK);
    ck_assert_ptr_null(strstr(s->complete, "--exe"));
    wedge_snapshot_free(s);

    ck_assert_int_eq(examine(path, "/bin/true", &s, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "build-id"));
    ck_assert_int_eq(err.class, WEDGE_ERR_INPUT);
}
END_TEST

/* ---- what a core may not make us believe, and what it may not do to us ---- */

static uint8_t *read_all(const char *path, size_t *ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *data = malloc((size_t)st.st_size);
    ck_assert_ptr_nonnull(data);
    ck_assert_int_eq(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret = (size_t)st.st_size;
    return data;
}

static void write_all(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

/* The notes of a core: where they begin, and their length. */
static size_t notes_of(const uint8_t *data, size_t *ret_len)
{
    Elf64_Ehdr ehdr;
    memcpy(&ehdr, data, sizeof(ehdr));
    for (size_t i = 0; i < ehdr.e_phnum; i++) {
        Elf64_Phdr phdr;
        memcpy(&phdr, data + ehdr.e_phoff + i * sizeof(phdr), sizeof(phdr));
        if (phdr.p_type == PT_NOTE) {
            *ret_len = phdr.p_filesz;
            return phdr.p_offset;
        }
    }
    ck_abort_msg("the core has no notes");
}

/* Calls `change` with each NT_PRSTATUS. */
static void each_status(uint8_t *data, void (*change)(struct elf_prstatus *))
{
    size_t len, at = notes_of(data, &len), end = at + len;
    while (at + sizeof(Elf64_Nhdr) < end) {
        Elf64_Nhdr note;
        memcpy(&note, data + at, sizeof(note));
        size_t desc = at + sizeof(note) + ((note.n_namesz + 3u) & ~3u);
        if (note.n_type == NT_PRSTATUS && note.n_descsz == sizeof(struct elf_prstatus)) {
            struct elf_prstatus status;
            memcpy(&status, data + desc, sizeof(status));
            change(&status);
            memcpy(data + desc, &status, sizeof(status));
        }
        at = desc + ((note.n_descsz + 3u) & ~3u);
    }
}

static void add_namespace(struct elf_prstatus *status)
{
    status->pr_pid += 100000;
}
static void has_returned(struct elf_prstatus *status)
{
    status->pr_reg[10] = 0; /* rax: the call is over, and 0 is what it returned */
}
static void runs(struct elf_prstatus *status)
{
    status->pr_reg[15] = ~0ul; /* orig_rax: not in a system call */
}

/* Each of these makes of the same hang a process of which nothing is known for certain. */
START_TEST(test_what_is_not_certain_is_live)
{
    static void (*const changes[])(struct elf_prstatus *) = {add_namespace, has_returned, runs};
    static const char *const names[] = {"self-deadlock", "three-threads", "thread-gone"};
    char path[128];
    size_t len;
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        struct factory factory = factory_start(names[n]);
        wedge_snapshot_free(examine_until_all(factory.pid, n == 1 ? 3 : 1, WEDGE_STACKS_NEVER));
        snprintf(path, sizeof(path), "%s", take_core(factory.pid));
        factory_end(&factory);
        struct wedge_snapshot *s = examine_core(path);
        ck_assert(wedge_verdict_is_hang(s->verdicts[0].kind));
        wedge_snapshot_free(s);
        for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
            uint8_t *data = read_all(path, &len);
            each_status(data, changes[i]);
            char changed[140];
            snprintf(changed, sizeof(changed), "%s.%zu", path, i);
            write_all(changed, data, len);
            free(data);
            s = examine_core(changed);
            /* A futex whose owner is not believed is one that any thread of the process may wake: at most suspected. */
            ck_assert_msg(!wedge_verdict_is_hang(s->verdicts[0].kind) ||
                              (i == 0 && s->verdicts[0].certainty == WEDGE_SUSPECTED),
                          "%s, change %zu: %s", names[n], i, s->verdicts[0].summary);
            wedge_snapshot_free(s);
        }
    }
}
END_TEST

static int parse_bytes(const uint8_t *data, size_t len, struct wedge_core **ret)
{
    struct wedge_err err = {0};
    int fd = memfd_create("core", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    return wedge_core_parse(fd, "core", ret, &err);
}

/* A core that is cut off anywhere: an error or a shorter core, which is examined to the end, and says so. */
START_TEST(test_cut_off)
{
    char path[128], cut[140];
    size_t len;
    struct factory factory = factory_start("three-threads");
    wedge_snapshot_free(examine_until_all(factory.pid, 3, WEDGE_STACKS_NEVER));
    snprintf(path, sizeof(path), "%s", take_core(factory.pid));
    factory_end(&factory);
    snprintf(cut, sizeof(cut), "%s.cut", path);
    uint8_t *data = read_all(path, &len);
    size_t examined = 0;
    for (size_t i = 0; i < CUTS; i++) {
        struct wedge_snapshot *s = NULL;
        struct wedge_err err;
        size_t keep = i < CUTS / 2 ? i * 97 : len / CUTS * i;
        write_all(cut, data, keep);
        int rc = examine(cut, NULL, &s, &err);
        ck_assert_msg(rc == 0 || rc == -EINVAL, "%zu bytes: %d", keep, rc);
        if (rc)
            continue;
        examined++;
        ck_assert_ptr_nonnull(strstr(s->complete, "cut off"));
        ck_assert_int_ne(s->verdicts[0].certainty, WEDGE_PROVED);
        if (!wedge_verdict_is_hang(s->verdicts[0].kind)) { /* that there is none is not known */
            ck_assert_int_eq(s->verdicts[0].certainty, WEDGE_SUSPECTED);
            ck_assert_msg(strstr(s->verdicts[0].summary, "cut off: ") &&
                              strstr(s->verdicts[0].summary, " MiB are there"),
                          "%s", s->verdicts[0].summary);
        }
        wedge_snapshot_free(s);
    }
    /* gdb writes the notes last: a cut core of its making has no threads. The kernel writes them first. */
    size_t notes_len, notes = notes_of(data, &notes_len);
    ck_assert_msg(examined > 0 || notes > len / 2, "no cut core could be examined");
    free(data);
}
END_TEST

/* The parser over cores with wrong numbers in them: it ends, in time, inside its bounds (valgrind and the sanitizers
 * look on). Always the same mutations. */
START_TEST(test_mutated)
{
    size_t len;
    uint64_t seed = 4711;
    struct factory factory = factory_start("self-deadlock");
    uint8_t *data = read_all(take_core(factory.pid), &len);
    factory_end(&factory);
    size_t notes_len, notes = notes_of(data, &notes_len), parsed = 0;
    int64_t deadline = wedge_clock_ns() + 40 * WEDGE_NS_PER_S;
    int fd = memfd_create("core", MFD_CLOEXEC);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    for (int i = 0; i < MUTATIONS && wedge_clock_ns() < deadline; i++) {
        struct wedge_core *core;
        struct wedge_err err = {0};
        uint8_t bytes[64];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t headers = 64 + 56 * 20, at = (seed >> 33) % (headers + notes_len);
        at = at < headers ? at : notes + (at - headers);
        uint8_t old = data[at], new = (uint8_t)(seed >> 24);
        new = i % 4 == 0 ? 0xff : i % 4 == 1 ? 0x80 : new;
        ck_assert_int_eq(pwrite(fd, &new, 1, (off_t)at), 1);
        if (wedge_core_parse(fcntl(fd, F_DUPFD_CLOEXEC, 0), "core", &core, &err) == 0) {
            parsed++;
            ck_assert_uint_le(core->n_threads, WEDGE_CORE_THREADS_MAX);
            for (size_t r = 0; r < core->regions.n; r++) {
                ck_assert_uint_le(core->regions.all[r].start, core->regions.all[r].end);
                wedge_core_read(core, core->regions.all[r].start, bytes, sizeof(bytes));
                wedge_core_read(core, core->regions.all[r].end - 1, bytes, sizeof(bytes));
            }
            wedge_core_close(core);
        }
        ck_assert_int_eq(pwrite(fd, &old, 1, (off_t)at), 1);
    }
    ck_assert_uint_gt(parsed, 0);
    close(fd);
    free(data);
}
END_TEST

/* The same through the whole examination: registers, mapped files, stacks and locks that make no sense end in a report,
 * and nothing in it is proved. */
START_TEST(test_mutated_is_examined)
{
    char path[128];
    size_t len, reports = 0;
    uint64_t seed = 815;
    struct factory factory = factory_start("three-threads");
    snprintf(path, sizeof(path), "%s", take_core(factory.pid));
    factory_end(&factory);
    uint8_t *data = read_all(path, &len);
    size_t notes_len, notes = notes_of(data, &notes_len);
    int64_t deadline = wedge_clock_ns() + 40 * WEDGE_NS_PER_S;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (int i = 0; i < EXAMINED && wedge_clock_ns() < deadline; i++) {
        struct wedge_snapshot *s = NULL;
        struct wedge_err err;
        uint64_t places[8];
        for (size_t k = 0; k < 8; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint8_t byte = (uint8_t)(seed >> 20);
            /* Three in the notes for one in memory. */
            places[k] = k % 4 ? notes + (seed >> 33) % notes_len : (seed >> 33) % len;
            ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)places[k]), 1);
        }
        int rc = examine(path, NULL, &s, &err);
        ck_assert_msg(rc == 0 || rc == -EINVAL, "round %d: %d, %s", i, rc, err.message);
        for (size_t v = 0; s && v < s->n_verdicts; v++)
            ck_assert_int_ne(s->verdicts[v].certainty, WEDGE_PROVED);
        reports += s != NULL;
        wedge_snapshot_free(s);
        for (size_t k = 0; k < 8; k++)
            ck_assert_int_eq(pwrite(fd, data + places[k], 1, (off_t)places[k]), 1);
    }
    ck_assert_uint_gt(reports, 0);
    close(fd);
    free(data);
}
END_TEST

static const struct {
    const char *path, *says;
} wrong[] = {
    {"/nonexistent/core", "No such file"}, {"/bin/true", "no core file"},  {"/proc/self/maps", "no core file"},
    {"/dev/null", "not a regular file"},   {"/tmp", "not a regular file"},
};

START_TEST(test_wrong_files)
{
    struct wedge_snapshot *s = NULL;
    struct wedge_err err;
    ck_assert_int_lt(examine(wrong[_i].path, NULL, &s, &err), 0);
    ck_assert_msg(strstr(err.message, wrong[_i].says), "%s: %s", wrong[_i].path, err.message);
    ck_assert_int_eq(err.class, WEDGE_ERR_INPUT);
}
END_TEST

/* As systemd-coredump leaves them. */
START_TEST(test_packed)
{
    struct wedge_err err;
    struct wedge_snapshot *s = NULL;
    char path[128], line[300];
    snprintf(path, sizeof(path), "%s/packed.xz", folder);
    snprintf(line, sizeof(line), "xz -c /bin/true >%s", path);
    ck_assert_int_eq(system(line), 0);
    ck_assert_int_eq(examine(path, NULL, &s, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.remedy, "compressed"));
}
END_TEST

/* A header that promises the most of everything. */
START_TEST(test_greedy)
{
    uint8_t bytes[sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr)] = {0};
    struct wedge_core *core;
    Elf64_Ehdr ehdr = {.e_type = ET_CORE,
                       .e_machine = EM_X86_64,
                       .e_phoff = sizeof(ehdr),
                       .e_phentsize = sizeof(Elf64_Phdr),
                       .e_phnum = 65534};
    Elf64_Phdr notes = {.p_type = PT_NOTE, .p_offset = 0, .p_filesz = UINT64_MAX};
    Elf64_Phdr load = {.p_type = PT_LOAD, .p_vaddr = 4096, .p_memsz = UINT64_MAX - 8192, .p_filesz = UINT64_MAX - 8192};
    memcpy(ehdr.e_ident, ELFMAG, SELFMAG);
    ehdr.e_ident[EI_CLASS] = ELFCLASS64;
    ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
    memcpy(bytes, &ehdr, sizeof(ehdr));
    memcpy(bytes + sizeof(ehdr), &notes, sizeof(notes));
    memcpy(bytes + sizeof(ehdr) + sizeof(notes), &load, sizeof(load));
    ck_assert_int_eq(parse_bytes(bytes, sizeof(bytes), &core), -EINVAL);
    ehdr.e_ident[EI_CLASS] = ELFCLASS32;
    memcpy(bytes, &ehdr, sizeof(ehdr));
    ck_assert_int_eq(parse_bytes(bytes, sizeof(bytes), &core), -EINVAL);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_unchecked_fixture(tcase, make_folder, remove_folder);
    tcase_add_loop_test(tcase, test_hangs, 0, sizeof(hangs) / sizeof(hangs[0]));
    tcase_add_loop_test(tcase, test_own_core, 0, sizeof(hangs) / sizeof(hangs[0]));
    tcase_add_loop_test(tcase, test_healthy, 0, sizeof(healthy) / sizeof(healthy[0]));
    tcase_add_loop_test(tcase, test_kernel_core, 0, sizeof(aborted) / sizeof(aborted[0]));
    tcase_add_test(tcase, test_executable_of_another_build);
    tcase_add_test(tcase, test_what_is_not_certain_is_live);
    tcase_add_test(tcase, test_cut_off);
    tcase_add_test(tcase, test_mutated);
    tcase_add_test(tcase, test_mutated_is_examined);
    tcase_add_loop_test(tcase, test_wrong_files, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(tcase, test_packed);
    tcase_add_test(tcase, test_greedy);
}

int main(void)
{
    return wedge_test_main("core", 60, fill);
}
