/* wedge-corpus CASE [--cured]: the main program and what the cases have in common. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenarios/corpus/cases.h"
#include "scenarios/corpus/streams.h"

bool corpus_cured;

static const struct corpus_case *const themes[] = {corpus_locks,    corpus_conditions, corpus_deaths, corpus_forks,
                                                   corpus_loading,  corpus_threads,    corpus_pipes,  corpus_pools,
                                                   corpus_managers, corpus_servers};

void corpus_die(const char *what)
{
    fprintf(stderr, "wedge-corpus: %s: %s\n", what, strerror(errno));
    exit(3);
}

/* pthread functions return their error. */
static void check(int error, const char *what)
{
    errno = error;
    if (error)
        corpus_die(what);
}

pthread_t corpus_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, fn, arg), "pthread_create");
    return thread;
}

void corpus_join(pthread_t thread)
{
    check(pthread_join(thread, NULL), "pthread_join");
}

pid_t corpus_fork(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        corpus_die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* it ended before that was set */
            _exit(1);
    }
    return pid;
}

bool corpus_reap(pid_t pid, bool may_be_killed)
{
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        ;
    if (got < 0)
        corpus_die("waitpid");
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (killed ? !may_be_killed : status != 0) {
        fprintf(stderr, "wedge-corpus: a child ended with wait status %d\n", status);
        exit(3);
    }
    return killed;
}

bool corpus_is_asleep(pid_t pid)
{
    char path[32], state = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *in = fopen(path, "re");
    if (!in || fscanf(in, "%*d (%*[^)]) %c", &state) != 1) /* proc(5); our own name has no parenthesis */
        corpus_die(path);
    fclose(in);
    return state == 'S';
}

void *corpus_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        corpus_die("mmap");
    return memory;
}

pthread_mutex_t *corpus_shared_mutex(int kind, bool robust)
{
    pthread_mutex_t *mutex = corpus_shared(sizeof(pthread_mutex_t));
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_settype(&attr, kind);
    pthread_mutexattr_setrobust(&attr, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
    check(pthread_mutex_init(mutex, &attr), "pthread_mutex_init");
    return mutex;
}

void corpus_init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    check(pthread_cond_init(cond, &attr), "pthread_cond_init");
}

pthread_cond_t *corpus_shared_cond(void)
{
    pthread_cond_t *cond = corpus_shared(sizeof(pthread_cond_t));
    corpus_init_cond(cond);
    return cond;
}

sem_t *corpus_shared_sem(unsigned value)
{
    sem_t *sem = corpus_shared(sizeof(*sem));
    if (sem_init(sem, 1, value))
        corpus_die("sem_init");
    return sem;
}

struct corpus_mark corpus_mark(void)
{
    struct corpus_mark mark;
    if (pipe(mark.ends))
        corpus_die("pipe");
    return mark;
}

void corpus_tell(const struct corpus_mark *mark)
{
    if (write(mark->ends[1], "", 1) != 1)
        corpus_die("write");
}

void corpus_hear(const struct corpus_mark *mark)
{
    char byte;
    ssize_t got;
    while ((got = read(mark->ends[0], &byte, 1)) < 0 && errno == EINTR)
        ;
    if (got != 1)
        corpus_die("read");
}

static const struct corpus_case *find(const char *name)
{
    for (size_t t = 0; t < sizeof(themes) / sizeof(themes[0]); t++)
        for (const struct corpus_case *c = themes[t]; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

int main(int argc, char **argv)
{
    const struct corpus_case *chosen = argc > 1 ? find(argv[1]) : NULL;
    corpus_cured = argc == 3 && strcmp(argv[2], "--cured") == 0;
    if (chosen && (argc == 2 || corpus_cured)) {
        chosen->run();
        return 0;
    }
    if (argc > 1 && !chosen && strcmp(argv[1], "--list") != 0)
        fprintf(stderr, "wedge-corpus: there is no case '%s'\n", argv[1]);
    FILE *out = argc == 2 && strcmp(argv[1], "--list") == 0 ? stdout : stderr;
    if (out == stderr)
        fputs("usage: wedge-corpus CASE [--cured], where CASE is one of\n", out);
    for (size_t t = 0; t < sizeof(themes) / sizeof(themes[0]); t++)
        for (const struct corpus_case *c = themes[t]; c->name; c++)
            fprintf(out, "%s\n", c->name);
    return out == stdout ? 0 : 2;
}
