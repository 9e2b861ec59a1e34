/*
 * Stacks that are easily read wrongly, one thread each, in the words of stacks_target.c: frames that left no trace,
 * frames of unusual shape, stacks that pthread did not make, code that no file describes.
 */
#include <alloca.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define NOINLINE   __attribute__((noinline, noclone))
#define FRAMES_MAX 8
#define STACK      (256u << 10)
#define RECURSIONS 20000

static __thread const char *expected[FRAMES_MAX];
static __thread int lines[FRAMES_MAX];
static __thread size_t n_expected;
static int silent[2]; /* a pipe nobody writes to */
static volatile int sink;
static sem_t said;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

/* On the line of the call that it announces. */
#define CALLS(what) (expected[n_expected] = what, lines[n_expected++] = __LINE__)

/* By system calls alone: a thread of clone(2) has no place of its own in libc. */
static void say_raw(pid_t tid, const char *name)
{
    char text[1024];
    int len = snprintf(text, sizeof(text), "thread %d %s read\n", tid, name);
    while (n_expected) {
        n_expected--;
        len +=
            snprintf(text + len, sizeof(text) - (size_t)len, "frame %s %d\n", expected[n_expected], lines[n_expected]);
    }
    sink += (int)write(1, text, (size_t)len);
}

static void say(const char *name)
{
    pthread_mutex_lock(&output);
    say_raw((pid_t)syscall(SYS_gettid), name);
    pthread_mutex_unlock(&output);
    sem_post(&said);
}

static NOINLINE void wait_here(const char *name)
{
    char c;
    CALLS("wait_here"), say(name), sink += (int)read(silent[0], &c, 1);
    sink++;
}

/* ---- frames that leave no trace, and frames of unusual shape ---- */

/* The call in tail position is a jump: there is no frame of jumps_on, and its line is nobody's. */
static NOINLINE void jumps_on(const char *name)
{
    sink++;
    wait_here(name);
}
static void *in_tail(void *arg)
{
    CALLS("in_tail"), jumps_on("tail");
    sink++;
    return arg;
}

static NOINLINE void variable(const char *name, size_t bytes)
{
    volatile char *room = alloca(bytes); /* cppcheck-suppress allocaCalled ; it is what is tested */
    room[bytes / 2] = 1;
    CALLS("variable"), wait_here(name);
    sink += room[bytes / 2];
}
static void *in_alloca(void *arg)
{
    CALLS("in_alloca"), variable("alloca", 3000 + (size_t)silent[0]);
    sink++;
    return arg;
}

/* The call is the last instruction: the address it would return to is another function's. */
static NOINLINE __attribute__((noreturn)) void never_returns(const char *name)
{
    CALLS("never_returns"), wait_here(name);
    _exit(0);
}
static NOINLINE __attribute__((noreturn)) void ends_in_a_call(const char *name)
{
    CALLS("ends_in_a_call"), never_returns(name);
}
static void *in_noreturn(void *arg)
{
    (void)arg;
    CALLS("in_noreturn"), ends_in_a_call("noreturn"); /* cppcheck-suppress missingReturn */
}

static NOINLINE void recurse(int depth)
{
    if (depth)
        recurse(depth - 1);
    else
        wait_here("recursion");
    sink++;
}
static void *in_recursion(void *arg)
{
    recurse(RECURSIONS);
    return arg;
}

/* Names of Rust, in its two manglings, as a C compiler can make them. */
void rust_v0(const char *name) __asm__("_RNvNtCsjrHSEGnQ3l9_3std2rt19lang_start_internal");
void rust_legacy(const char *name) __asm__("_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE");
NOINLINE void rust_v0(const char *name)
{
    CALLS("std::rt::lang_start_internal"), wait_here(name);
    sink++;
}
NOINLINE void rust_legacy(const char *name)
{
    CALLS("core::fmt::Formatter::write_str"), rust_v0(name);
    sink++;
}
static void *in_rust(void *arg)
{
    CALLS("in_rust"), rust_legacy("rust");
    sink++;
    return arg;
}

/* ---- signals ---- */

static void on_signal(int signal)
{
    if (signal == SIGUSR1)
        CALLS("on_signal"), sink += raise(SIGUSR2);
    else
        CALLS("on_signal"), wait_here("nested");
    sink++;
}
/* A handler on the thread's own stack, interrupted by one on another. */
static void *in_nested(void *arg)
{
    stack_t other = {.ss_sp = malloc(STACK), .ss_size = STACK};
    struct sigaction first = {.sa_handler = on_signal}, second = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaltstack(&other, NULL);
    sigaction(SIGUSR1, &first, NULL);
    sigaction(SIGUSR2, &second, NULL);
    CALLS("in_nested"), sink += raise(SIGUSR1);
    sink++;
    return arg;
}

/* A fault in the first instruction of a function: what was interrupted is not what lies before its address. */
static void on_fault(int signal)
{
    (void)signal;
    CALLS("on_fault"), wait_here("fault");
    sink++;
}
void faults(void);
__asm__(".text\n.globl faults\n.type faults, @function\nfaults:\n.cfi_startproc\nud2\nret\n.cfi_endproc\n"
        ".size faults, .-faults\n");
static void *in_fault(void *arg)
{
    struct sigaction action = {.sa_handler = on_fault};
    sigaction(SIGILL, &action, NULL);
    CALLS("in_fault"), faults();
    sink++;
    return arg;
}

/* ---- stacks of other makers ---- */

static ucontext_t outside, inside;
static void coroutine(void)
{
    CALLS("coroutine"), wait_here("coroutine");
    sink++;
}
static void *in_coroutine(void *arg)
{
    getcontext(&inside);
    inside.uc_stack.ss_sp = malloc(STACK);
    inside.uc_stack.ss_size = STACK;
    inside.uc_link = &outside;
    makecontext(&inside, coroutine, 0);
    swapcontext(&outside, &inside);
    return arg;
}

/* A thread that libc knows nothing of. It says nothing by libc either: its maker does. */
static NOINLINE void wait_raw(void)
{
    char c;
    long got;
    __asm__ volatile("syscall" : "=a"(got) : "a"(SYS_read), "D"(silent[0]), "S"(&c), "d"(1l) : "rcx", "r11", "memory");
    sink += (int)got;
}
static int cloned(void *arg)
{
    (void)arg;
    wait_raw();
    sink++;
    return 0;
}
static void *make_clone(void *arg)
{
    static char stack[STACK] __attribute__((aligned(16)));
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    int tid = clone(cloned, stack + sizeof(stack), flags, NULL);
    printf("thread %d clone none\nframe wait_raw 0\nframe cloned 0\n", tid);
    fflush(stdout);
    sem_post(&said);
    return arg;
}

/* ---- code that no file describes ---- */

static void wait_for_jit(void)
{
    CALLS("wait_for_jit"), wait_here("jit");
    sink++;
}
/* push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret */
static const unsigned char framed[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
/* sub $40,%rsp; call *%rdi; add $40,%rsp; ret */
static const unsigned char frameless[] = {0x48, 0x83, 0xec, 0x28, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x28, 0xc3};

static NOINLINE void run_code(const unsigned char *code, size_t len, void (*then)(void))
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, len);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    void (*run)(void (*)(void));
    memcpy(&run, &page, sizeof(run));
    run(then);
    sink++;
}
static void *in_jit(void *arg)
{
    CALLS("in_jit"), run_code(framed, sizeof(framed), wait_for_jit);
    sink++;
    return arg;
}
static void wait_for_frameless(void)
{
    CALLS("wait_for_frameless"), wait_here("frameless");
    sink++;
}
static void *in_frameless(void *arg)
{
    run_code(frameless, sizeof(frameless), wait_for_frameless);
    sink++;
    return arg;
}

/* ---- a thread that runs: the kernel's own page of code, sampled ---- */

static void *in_vdso(void *arg)
{
    struct timespec now;
    printf("thread %ld vdso clock_gettime\n", syscall(SYS_gettid));
    fflush(stdout);
    sem_post(&said);
    for (;;)
        clock_gettime(CLOCK_MONOTONIC, &now), sink++;
    return arg;
}

static const struct {
    const char *name;
    void *(*run)(void *);
    bool asked_for;
} cases[] = {
    {"tail", in_tail, false},           {"alloca", in_alloca, false}, {"noreturn", in_noreturn, false},
    {"recursion", in_recursion, false}, {"nested", in_nested, false}, {"fault", in_fault, false},
    {"coroutine", in_coroutine, false}, {"clone", make_clone, false}, {"jit", in_jit, false},
    {"frameless", in_frameless, false}, {"vdso", in_vdso, true},      {"rust", in_rust, false},
};

static bool chosen(size_t i, int argc, char **argv)
{
    for (int a = 1; a < argc; a++)
        if (strcmp(argv[a], cases[i].name) == 0)
            return true;
    return argc < 2 && !cases[i].asked_for;
}

int main(int argc, char **argv)
{
    char line[64];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (pipe(silent) || sem_init(&said, 0, 0))
        return 1;
    bool leaves = argc > 1 && strcmp(argv[argc - 1], "leave") == 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pthread_t thread;
        if (!chosen(i, argc, argv))
            continue;
        if (pthread_create(&thread, NULL, cases[i].run, NULL))
            return 1;
        while (sem_wait(&said))
            ;
    }
    printf("ready\n");
    fflush(stdout);
    if (leaves)
        pthread_exit(NULL); /* the leader is a zombie from here on */
    while (read(0, line, sizeof(line)) > 0)
        if (strncmp(line, "exec", 4) == 0)
            execl("/bin/sleep", "sleep", "60", (char *)NULL);
    _exit(0);
}
