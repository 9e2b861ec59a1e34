/* Cases with POSIX message queues and semaphores, System V semaphores and queues. What has a number or a name would outlive the case:
 * a caretaker that is no member of the tree takes it away once the case is gone. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detector/tests/programs/factory.h"

/* ---- the caretaker ---- */

struct care {
    void (*each)(int id); /* every 20 ms, may be NULL */
    void (*end)(int id);
};

/* Runs outside the tree until every process of the case is gone. */
static void leave_with(const struct care *care, int id)
{
    int alive[2], began[2];
    char byte;
    factory_pipe(alive);
    factory_pipe(began);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork())
            _exit(0);
        setsid(); /* the test ends its process group */
        /* Not even the standard streams: the test waits for their end. */
        for (int fd = 0; fd < 64; fd++)
            if (fd != alive[0] && fd != began[1])
                close(fd);
        struct pollfd fds[1] = {{.fd = alive[0]}};
        if (care->each)
            care->each(id);
        if (write(began[1], "x", 1) != 1)
            _exit(3);
        while (poll(fds, 1, care->each ? 20 : -1) == 0)
            care->each(id);
        care->end(id);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    close(alive[0]);
    if (read(began[0], &byte, 1) != 1)
        factory_die("caretaker");
    close(began[0]);
    close(began[1]);
}

/* ---- POSIX message queues ---- */

static char queue_name[32];

/* Without a name, but for `named`. */
static mqd_t queue(bool named)
{
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16};
    snprintf(queue_name, sizeof(queue_name), "/wedge-factory-%d", (int)getpid());
    mqd_t q = mq_open(queue_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attr);
    if (q < 0 || (!named && mq_unlink(queue_name)))
        factory_die("mq_open");
    return q;
}
static void unlink_queue(int id)
{
    (void)id;
    mq_unlink(queue_name);
}
static void receive(mqd_t q)
{
    char text[16];
    while (mq_receive(q, text, sizeof(text), NULL) < 0)
        if (errno != EINTR)
            factory_die("mq_receive");
}
static void send_all(mqd_t q, int n)
{
    for (int i = 0; i < n; i++)
        while (mq_send(q, "x", 1, 0))
            if (errno != EINTR)
                factory_die("mq_send");
}

static void mq_both_receive(void)
{
    mqd_t here = queue(false), there = queue(false);
    if (factory_child() == 0) {
        receive(there);
        send_all(here, 1);
    }
    factory_ready();
    receive(here);
    send_all(there, 1);
}
static void mq_both_full(void)
{
    mqd_t here = queue(false), there = queue(false);
    if (factory_child() == 0) {
        send_all(there, 3);
        receive(here);
    }
    factory_ready();
    send_all(here, 3);
    receive(there);
}
static void mq_full_own(void)
{
    mqd_t q = queue(false);
    factory_ready();
    send_all(q, 3);
}
static void mq_slow(void)
{
    mqd_t q = queue(false);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(30);
            send_all(q, 1);
        }
    factory_ready();
    for (;;)
        receive(q);
}
static void mq_slow_reader(void)
{
    mqd_t q = queue(false);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(20);
            receive(q);
        }
    factory_ready();
    for (;;)
        send_all(q, 1);
}
static void mq_timed(void)
{
    mqd_t q = queue(false);
    char text[16];
    factory_ready();
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += until.tv_nsec >= 970000000;
        until.tv_nsec = (until.tv_nsec + 30000000) % 1000000000;
        mq_timedreceive(q, text, sizeof(text), NULL, &until);
    }
}
/* Anyone who knows its name may send to it. */
static void mq_named(void)
{
    static const struct care care = {.end = unlink_queue};
    mqd_t q = queue(true);
    leave_with(&care, 0);
    factory_ready();
    receive(q);
}

/* ---- POSIX semaphores ---- */

static void unlink_semaphore(int id)
{
    (void)id;
    sem_unlink(queue_name);
}
/* Whoever made a semaphore has it mapped by a name that is gone: glibc makes the file under another one, and renames it. */
static sem_t *semaphore(void)
{
    snprintf(queue_name, sizeof(queue_name), "/wedge-factory-%d", (int)getpid());
    sem_t *sem = sem_open(queue_name, O_CREAT | O_EXCL, 0600, 0);
    if (sem == SEM_FAILED)
        factory_die("sem_open");
    return sem;
}
static void wait_for(sem_t *sem)
{
    factory_ready();
    while (sem_wait(sem))
        ;
}
/* Anyone who knows its name may open and post it. */
static void sem_named(void)
{
    static const struct care care = {.end = unlink_semaphore};
    snprintf(queue_name, sizeof(queue_name), "/wedge-factory-%d", (int)getpid());
    leave_with(&care, 0);
    wait_for(semaphore());
}
static void sem_unlinked(void)
{
    sem_t *sem = semaphore();
    sem_unlink(queue_name);
    wait_for(sem);
}
/* The other one has a descriptor of the memory without a name, and maps it from time to time. */
static void sem_by_descriptor(void)
{
    const char *folder = getenv("WEDGE_FACTORY_FOLDER"); /* of the file system that is wanted */
    char name[256];
    snprintf(name, sizeof(name), "%s/wedge-factory-%d", folder ? folder : "/dev/shm", (int)getpid());
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || unlink(name) || ftruncate(fd, sizeof(sem_t)))
        factory_die("open");
    int child = factory_child() == 0;
    sem_t *sem = child ? NULL : mmap(NULL, sizeof(*sem), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    while (child) {
        factory_nap(30);
        sem = mmap(NULL, sizeof(*sem), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        sem_post(sem);
        munmap(sem, sizeof(*sem));
    }
    close(fd);
    if (sem == MAP_FAILED || sem_init(sem, 1, 0))
        factory_die("mmap");
    for (factory_ready();; sem_wait(sem))
        ;
}

/* A semaphore of memory without a name: whoever has it starts the next one, and ends. Nobody who could post it is in the tree,
 * or lives for longer than a look takes. */
static void sem_handed_on(void)
{
    sem_t *sem = mmap(NULL, sizeof(*sem), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sem == MAP_FAILED || sem_init(sem, 1, 0))
        factory_die("mmap");
    for (factory_ready();;) {
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < 40; i++) {
                factory_nap(1);
                if (fork())
                    _exit(0);
            }
            sem_post(sem);
            _exit(0);
        }
        while (sem_wait(sem))
            ;
        waitpid(child, NULL, 0);
    }
}

/* ---- System V ---- */

static void remove_sem(int id)
{
    semctl(id, 0, IPC_RMID);
}
static void remove_msg(int id)
{
    msgctl(id, IPC_RMID, NULL);
}
static void add(int id, int n, short what, short flags)
{
    struct sembuf op = {.sem_num = (unsigned short)n, .sem_op = what, .sem_flg = flags};
    while (semop(id, &op, 1))
        if (errno != EINTR)
            _exit(3);
}
static void post_second(int id)
{
    add(id, 1, 1, 0);
}
static void put_as(int id, int flags)
{
    const struct {
        long type;
        char text[8];
    } message = {.type = 1};
    while (msgsnd(id, &message, sizeof(message.text), flags) && errno != EAGAIN)
        if (errno != EINTR)
            _exit(3);
}
static void put(int id)
{
    put_as(id, 0);
}
static void put_if_room(int id)
{
    put_as(id, IPC_NOWAIT);
}
static void get(int id)
{
    struct {
        long type;
        char text[8];
    } message;
    while (msgrcv(id, &message, sizeof(message.text), 0, 0) < 0)
        if (errno != EINTR)
            _exit(3);
}
/* Two semaphores, of 0 each. */
static int semaphores(key_t key, void (*each)(int))
{
    struct care care = {.each = each, .end = remove_sem};
    int id = semget(key, 2, IPC_CREAT | IPC_EXCL | 0600);
    if (id < 0)
        factory_die("semget");
    leave_with(&care, id);
    return id;
}
static int messages(void (*each)(int))
{
    struct care care = {.each = each, .end = remove_msg};
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    struct msqid_ds ds;
    if (id < 0 || msgctl(id, IPC_STAT, &ds))
        factory_die("msgget");
    ds.msg_qbytes = 16; /* two messages */
    if (msgctl(id, IPC_SET, &ds))
        factory_die("msgctl");
    leave_with(&care, id);
    return id;
}

static void sysv_sem_orphaned(void)
{
    int id = semaphores(IPC_PRIVATE, NULL);
    pid_t pid = factory_child();
    if (pid == 0)
        for (;;)
            pause();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    factory_ready();
    add(id, 1, -1, 0);
}
/* Tells when its wait was ended by something that is no signal of anybody's, and waits for nothing any more. */
static void sysv_sem_once(void)
{
    int id = semaphores(IPC_PRIVATE, NULL);
    struct sembuf op = {.sem_op = -1};
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    factory_ready();
    semop(id, &op, 1);
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("woken after %ld ms\n", (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000);
    fflush(stdout);
    for (;;)
        pause();
}
static void sysv_sem_both(void)
{
    int id = semaphores(IPC_PRIVATE, NULL);
    if (factory_child() == 0) {
        add(id, 0, -1, 0);
        add(id, 1, 1, 0);
    }
    factory_ready();
    add(id, 1, -1, 0);
    add(id, 0, 1, 0);
}
static void sysv_msg_both(void)
{
    int here = messages(NULL), there = messages(NULL);
    if (factory_child() == 0) {
        get(there);
        put(here);
    }
    factory_ready();
    get(here);
    put(there);
}
static void sysv_msg_both_full(void)
{
    int here = messages(NULL), there = messages(NULL);
    if (factory_child() == 0) {
        for (int i = 0; i < 3; i++)
            put(there);
        get(here);
    }
    factory_ready();
    for (int i = 0; i < 3; i++)
        put(here);
    get(there);
}
/* The child has it, and sleeps; what it took comes back when it ends. */
static void sysv_sem_undo(void)
{
    int id = semaphores(IPC_PRIVATE, NULL), ends[2];
    char byte;
    add(id, 0, 1, 0);
    factory_pipe(ends);
    for (bool first = true;; first = false) {
        if (factory_child() == 0) {
            add(id, 0, -1, SEM_UNDO);
            if (write(ends[1], "x", 1) != 1)
                _exit(3);
            factory_nap(30);
            _exit(0);
        }
        if (read(ends[0], &byte, 1) != 1)
            _exit(3);
        if (first)
            factory_ready();
        add(id, 0, -1, 0);
        add(id, 0, 1, 0);
        waitpid(-1, NULL, 0);
    }
}
static void sysv_sem_slow(void)
{
    int id = semaphores(IPC_PRIVATE, NULL);
    if (factory_child() == 0)
        for (;;) {
            factory_nap(30);
            add(id, 1, 1, 0);
        }
    factory_ready();
    for (;;)
        add(id, 1, -1, 0);
}
/* It has no key, and yet somebody outside the tree posts it. */
static void sysv_sem_by_stranger(void)
{
    int id = semaphores(IPC_PRIVATE, post_second);
    factory_ready();
    for (;;)
        add(id, 1, -1, 0);
}
static void sysv_msg_by_stranger(void)
{
    int id = messages(put_if_room);
    factory_ready();
    for (;;)
        get(id);
}
static void sysv_sem_keyed(void)
{
    int id = semaphores((key_t)(0x57440000 + getpid() % 65536), NULL);
    factory_ready();
    add(id, 1, -1, 0);
}

const struct factory_case factory_queues[] = {
    {"mq-both-receive", mq_both_receive, false},
    {"mq-both-full", mq_both_full, false},
    {"mq-full-own", mq_full_own, false},
    {"sysv-sem-orphaned", sysv_sem_orphaned, false},
    {"sysv-sem-once", sysv_sem_once, false},
    {"sysv-sem-both", sysv_sem_both, false},
    {"sysv-msg-both", sysv_msg_both, false},
    {"sysv-msg-both-full", sysv_msg_both_full, false},
    {"mq-slow", mq_slow, true},
    {"mq-slow-reader", mq_slow_reader, true},
    {"mq-timed", mq_timed, true},
    {"mq-named", mq_named, true},
    {"sem-named", sem_named, true},
    {"sem-unlinked", sem_unlinked, false},
    {"sem-handed-on", sem_handed_on, true},
    {"sem-by-descriptor", sem_by_descriptor, true},
    {"sysv-sem-undo", sysv_sem_undo, true},
    {"sysv-sem-slow", sysv_sem_slow, true},
    {"sysv-sem-by-stranger", sysv_sem_by_stranger, true},
    {"sysv-msg-by-stranger", sysv_msg_by_stranger, true},
    {"sysv-sem-keyed", sysv_sem_keyed, true},
    {NULL, NULL, false},
};
