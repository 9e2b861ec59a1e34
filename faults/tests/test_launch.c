/* The launcher's side: what is refused and how it is said, what the environment looks like, and that it works. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "faults/launch.h"
#include "faults/tests/run.h"

static struct wedge_arena arena;
static struct wedge_err err;
static char folder[] = "/tmp/wedge-launch-XXXXXX";
static char path[PATH_MAX];

static void set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(wedge_arena_create(&arena, 0, 1, &err), 0);
}

static void tear_down(void)
{
    unlink(path);
    rmdir(folder);
    strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    wedge_arena_destroy(&arena);
}

/* A file of the test's own with these bytes. */
static const char *make(const void *data, size_t len, mode_t mode)
{
    snprintf(path, sizeof(path), "%s/program", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static const char *make_copy(const char *from, size_t most, mode_t mode)
{
    static char data[1 << 20];
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ssize_t n = read(fd, data, most < sizeof(data) ? most : sizeof(data));
    ck_assert_int_gt(n, 0);
    close(fd);
    return make(data, (size_t)n, mode);
}

static int try(const char *program)
{
    char **env = NULL;
    memset(&err, 0, sizeof(err));
    int rc = wedge_faults_environ(&arena, program, &env, &err);
    ck_assert_int_eq(rc == 0, env != NULL);
    wedge_faults_environ_free(env);
    if (rc)
        ck_assert_int_eq(err.class, WEDGE_ERR_WORK);
    return rc;
}

static void refused(const char *program, int code, const char *says)
{
    ck_assert_int_eq(try(program), code);
    ck_assert_msg(strstr(err.message, says) != NULL, "\"%s\" does not say \"%s\"", err.message, says);
    if (code == -ENOTSUP)
        ck_assert_ptr_nonnull(strstr(err.remedy, "--no-agent"));
}

START_TEST(test_refused)
{
    refused("no-such-program-anywhere", -ENOENT, "no-such-program-anywhere");
    refused("", -ENOENT, "cannot execute");
    refused("/nonexistent/x", -ENOENT, "/nonexistent/x");
    refused("/tmp", -EACCES, "/tmp");
    refused(run_static_target(), -ENOTSUP, "statically linked");
    refused(make_copy(run_target(), SIZE_MAX, 04700), -ENOTSUP, "set-user-ID");
    refused(make_copy(run_target(), SIZE_MAX, 02700), -ENOTSUP, "set-group-ID");
    refused(make_copy(run_target(), 100, 0700), -ENOEXEC, "damaged");
    refused(make("\177ELF", 4, 0700), -ENOTSUP, "x86-64");
    Elf32_Ehdr small = {.e_ident = ELFMAG, .e_machine = EM_386};
    small.e_ident[EI_CLASS] = ELFCLASS32;
    refused(make(&small, sizeof(small), 0700), -ENOTSUP, "x86-64");
    refused(make("#!/nonexistent/interpreter\n", 27, 0700), -ENOENT, "/nonexistent/interpreter");
    char self[PATH_MAX + 8];
    snprintf(self, sizeof(self), "#! %s/program -x\n", folder);
    refused(make(self, strlen(self), 0700), -ELOOP, "interpreters");
    char via[PATH_MAX + 8];
    snprintf(via, sizeof(via), "#!%s\n", run_static_target());
    refused(make(via, strlen(via), 0700), -ENOTSUP, "statically linked");
}
END_TEST

START_TEST(test_damaged_headers)
{
    /* Every 16th byte of the first page of a good program turned over: never more than an error. */
    static char good[1 << 16];
    int fd = open(run_target(), O_RDONLY | O_CLOEXEC), kept = 0;
    ssize_t n = read(fd, good, sizeof(good));
    close(fd);
    ck_assert_int_gt(n, 4096);
    for (int i = 4; i < 1024; i += 4) {
        good[i] ^= 0x7f;
        kept += try(make(good, (size_t)n, 0700)) == 0;
        good[i] ^= 0x7f;
    }
    ck_assert_int_gt(kept, 0);
    ck_assert_int_lt(kept, 256);
}
END_TEST

static const char *variable(char **env, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; env[i]; i++)
        if (strncmp(env[i], name, strlen(name)) == 0 && env[i][strlen(name)] == '=') {
            ck_assert_ptr_null(found); /* once */
            found = env[i] + strlen(name) + 1;
        }
    return found;
}

START_TEST(test_environment)
{
    char **env;
    unsetenv("LD_PRELOAD");
    setenv("WEDGE_TEST", "kept=1", 1);
    setenv("WEDGE_ARENA", "1:2:3", 1);
    ck_assert_int_eq(wedge_faults_environ(&arena, "sh", &env, &err), 0);
    ck_assert_str_eq(variable(env, "WEDGE_TEST"), "kept=1");
    ck_assert_str_eq(variable(env, "WEDGE_ARENA"), arena.env);
    const char *preload = variable(env, "LD_PRELOAD");
    ck_assert_int_eq(preload[0], '/');
    ck_assert_str_eq(strrchr(preload, '/'), "/libwedge-agent.so");
    ck_assert_int_eq(access(preload, R_OK), 0);
    wedge_faults_environ_free(env);
    /* what was preloaded before stays, behind */
    setenv("LD_PRELOAD", "libm.so.6", 1);
    ck_assert_int_eq(wedge_faults_environ(&arena, "sh", &env, &err), 0);
    preload = variable(env, "LD_PRELOAD");
    ck_assert_str_eq(strrchr(preload, ':'), ":libm.so.6");
    wedge_faults_environ_free(env);
    wedge_faults_environ_free(NULL);
}
END_TEST

START_TEST(test_agent_is_looked_for)
{
    setenv("WEDGE_AGENT", "/nonexistent/agent.so", 1);
    refused("sh", -ENOENT, "/nonexistent/agent.so");
    setenv("WEDGE_AGENT", make("x", 1, 0600), 1);
    ck_assert_int_eq(try("sh"), 0);
    char moved[PATH_MAX + 8];
    snprintf(moved, sizeof(moved), "%s/a b.so", folder);
    ck_assert_int_eq(rename(path, moved), 0);
    setenv("WEDGE_AGENT", moved, 1);
    refused("sh", -EINVAL, "a blank or a colon");
    unlink(moved);
}
END_TEST

START_TEST(test_scripts_are_followed)
{
    static const char script[] = "#!/usr/bin/env sh\necho from $0 >/dev/null; echo script; exit 4\n";
    static const char bare[] = "echo bare\n";
    struct run run;
    RUN(&run, "f1 * t.x -> stop", make(script, sizeof(script) - 1, 0700));
    ck_assert_str_eq(run.text, "script\n");
    ck_assert_int_eq(WEXITSTATUS(run.status), 4);
    const struct wedge_arena_proc *root = wedge_arena_live(&run.arena, WEDGE_SEC_PROCS, 0);
    ck_assert_int_eq(root->pid, run.pid);
    run_free(&run);
    RUN(&run, NULL, make(bare, sizeof(bare) - 1, 0700));
    ck_assert_str_eq(run.text, "bare\n");
    run_free(&run);
}
END_TEST

#ifndef __SANITIZE_ADDRESS__ /* whose runtime would have to be preloaded by hand here */
/* Whatever WEDGE_ARENA holds, a program runs as if there were no agent. */
START_TEST(test_agent_passes_through)
{
    static const char *const values[] = {"",
                                         "x",
                                         "1",
                                         "1:2",
                                         "1:2:",
                                         ":::",
                                         "1:2:3:4",
                                         "1:2:xyz",
                                         "-1:3:ff",
                                         "99999999999999999999:1:1",
                                         "4194305:3:ff",
                                         "FILE",
                                         "NONCE",
                                         "NULL"};
    const char *value = values[_i];
    char text[160], **env;
    struct run run = {0};
    ck_assert_int_eq(wedge_faults_environ(&arena, "sh", &env, &err), 0);
    const char *preload = variable(env, "LD_PRELOAD");
    int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    if (strcmp(value, "FILE") == 0)
        snprintf(text, sizeof(text), "%d:%d:ff", getpid(), zero);
    else if (strcmp(value, "NONCE") == 0)
        snprintf(text, sizeof(text), "%d:%d:123456789abcdef", getpid(), arena.fd);
    else if (strcmp(value, "NULL") == 0)
        snprintf(text, sizeof(text), "%d:1000:0", getpid());
    else
        snprintf(text, sizeof(text), "%s", value);
    char command[PATH_MAX * 2];
    snprintf(command, sizeof(command), "LD_PRELOAD='%s' WEDGE_ARENA='%s' '%s' workers 2; echo $?", preload, text,
             run_target());
    FILE *out = popen(command, "r");
    ck_assert_ptr_nonnull(out);
    run.len = fread(run.text, 1, sizeof(run.text) - 1, out);
    pclose(out);
    ck_assert_str_eq(run.text, "worker 1.0 exited 1\nworker 2.0 exited 2\n0\n");
    const struct wedge_arena_proc *proc = wedge_arena_live(&arena, WEDGE_SEC_PROCS, 0);
    ck_assert_uint_eq(atomic_load(&proc->gen), 0);
    close(zero);
    wedge_faults_environ_free(env);
}
END_TEST
#endif

#ifdef HAVE_ASAN_TARGET
START_TEST(test_asan_comes_first)
{
    char **env;
    ck_assert_int_eq(wedge_faults_environ(&arena, run_asan_target(), &env, &err), 0);
    const char *preload = variable(env, "LD_PRELOAD");
    ck_assert_int_eq(preload[0], '/');
    ck_assert(strstr(preload, "/libasan.so") && strstr(preload, "/libasan.so") < strstr(preload, "libwedge-agent"));
    wedge_faults_environ_free(env);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    struct run run;
    RUN(&run, "f1 * t.ask nth=2 -> full\nf2 * write nth=1 -> errno EIO", run_asan_target(), "asks", "3");
    ck_assert_str_eq(run.text, "0 77\n1 77\n0 77\n");
    run_free(&run);
    RUN(&run, "f1 * sem_post -> drop\nf2 * pthread_cond_wait:family -> spurious", run_asan_target(), "calls");
    ck_assert_ptr_nonnull(strstr(run.text, "sem_post 0 0\nsem_timedwait -1 110\nlock 0\ncond 0\n"));
    run_free(&run);
    RUN(&run, "f1 worker[2] t.child -> kill KILL", run_asan_target(), "workers", "3");
    ck_assert_str_eq(run.text, "worker 1.0 exited 1\nworker 2.0 killed 9\nworker 3.0 exited 3\n");
    run_free(&run);
    RUN(&run, "f1 * t.step nth=2 -> delay 1ms", run_asan_target(), "threads", "4", "4");
    ck_assert_str_eq(run.text, "done\n");
    ck_assert_uint_eq(atomic_load(&run_rule(&run, "f1")->fired), 4);
    run_free(&run);
}
END_TEST
#endif

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, test_refused);
    tcase_add_test(tcase, test_damaged_headers);
    tcase_add_test(tcase, test_environment);
    tcase_add_test(tcase, test_agent_is_looked_for);
    tcase_add_test(tcase, test_scripts_are_followed);
#ifndef __SANITIZE_ADDRESS__
    tcase_add_loop_test(tcase, test_agent_passes_through, 0, 14);
#endif
#ifdef HAVE_ASAN_TARGET
    tcase_add_test(tcase, test_asan_comes_first);
#endif
}

int main(void)
{
    return wedge_test_main("launch", 30, fill);
}
