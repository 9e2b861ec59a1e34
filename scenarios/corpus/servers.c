/* Servers, their clients, and programs that share a machine: sockets, file locks, signals, the terminal. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "scenarios/corpus/streams.h"

/* A server and its front end each have much to say to the other, and neither reads before it has said it. */
static int conversation[2];

static void *hear_front_end(void *arg)
{
    corpus_take(conversation[0], CORPUS_MUCH);
    return arg;
}

static void both_sides_write(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, conversation))
        corpus_die("socketpair");
    pid_t front_end = corpus_fork();
    if (front_end == 0) {
        corpus_put(conversation[1], CORPUS_MUCH);
        corpus_take(conversation[1], CORPUS_MUCH);
        _exit(0);
    }
    if (corpus_cured) {
        pthread_t reader = corpus_thread(hear_front_end, NULL);
        corpus_put(conversation[0], CORPUS_MUCH);
        corpus_join(reader);
    } else {
        corpus_put(conversation[0], CORPUS_MUCH);
        hear_front_end(NULL);
    }
    corpus_reap(front_end, false);
}

/* A request's handler asks the same server by the network. The connection is accepted by the kernel; the only worker is
 * the one that asks. */
static int listen_on_loopback(struct sockaddr_in *ret)
{
    socklen_t length = sizeof(*ret);
    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, sizeof(*ret)) || listen(fd, 8) ||
        getsockname(fd, (struct sockaddr *)ret, &length))
        corpus_die("listen");
    return fd;
}

static int connect_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)))
        corpus_die("connect");
    return fd;
}

static int listening;
static struct sockaddr_in here;

/* Request 1 needs the answer to request 2. */
static void *answer_one(void *arg)
{
    int number, answer, asked = accept(listening, NULL, NULL);
    corpus_receive(asked, &number);
    if (number == 1) {
        int fd = connect_to(&here);
        corpus_send(fd, 2);
        corpus_receive(fd, &answer);
        close(fd);
    }
    corpus_send(asked, -number);
    close(asked);
    return arg;
}

static void server_asks_itself(void)
{
    int answer;
    listening = listen_on_loopback(&here);
    int fd = connect_to(&here);
    corpus_send(fd, 1);
    pthread_t second = 0;
    if (corpus_cured)
        second = corpus_thread(answer_one, NULL); /* another worker */
    answer_one(NULL);
    corpus_receive(fd, &answer);
    if (corpus_cured)
        corpus_join(second);
}

/* As many jobs may run as there are tokens in make's pipe. A compiler's client has taken the last one, and asks a server to
 * compile; the server waits for a token as well. */
static void server_wants_token(void)
{
    int tokens[2], to_server[2], to_client[2], word;
    corpus_pipe(tokens);
    corpus_pipe(to_server);
    corpus_pipe(to_client);
    corpus_send(tokens[1], 1);
    pid_t server = corpus_fork();
    if (server == 0) {
        corpus_receive(to_server[0], &word);
        if (!corpus_cured)
            corpus_receive(tokens[0], &word);
        corpus_send(to_client[1], 1);
        if (!corpus_cured)
            corpus_send(tokens[1], word);
        _exit(0);
    }
    pid_t client = corpus_fork();
    if (client == 0) {
        int token;
        corpus_receive(tokens[0], &token);
        corpus_send(to_server[1], 1);
        corpus_receive(to_client[0], &word);
        corpus_send(tokens[1], token);
        _exit(0);
    }
    corpus_reap(client, false);
    corpus_reap(server, false);
}

/* A worker is told to leave before it has installed its handlers: the one that it has from its parent takes the signal, and
 * notes it where only the parent looks. The worker serves on, and the parent waits for it to leave. */
static volatile sig_atomic_t noted, leave;

static void note_for_parent(int number)
{
    noted = number;
}
static void take_leave(int number)
{
    leave = number;
}

static void serve_until_signal(const struct corpus_mark *told, const int requests[2])
{
    struct sigaction term = {.sa_handler = take_leave}; /* no SA_RESTART: it ends the read */
    int request;
    sigset_t none;
    sigemptyset(&none);
    corpus_hear(told);
    sigaction(SIGTERM, &term, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    while (!leave && read(requests[0], &request, sizeof(request)) >= 0)
        ;
    _exit(0);
}

static void signal_before_handler(void)
{
    sigset_t term;
    int requests[2];
    struct corpus_mark told = corpus_mark();
    corpus_pipe(requests);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    signal(SIGTERM, note_for_parent);
    if (corpus_cured)
        sigprocmask(SIG_BLOCK, &term, NULL); /* until the worker has its own */
    pid_t worker = corpus_fork();
    if (worker == 0)
        serve_until_signal(&told, requests);
    kill(worker, SIGTERM);
    corpus_tell(&told);
    corpus_reap(worker, false);
}

/* A thread that recovers a session sends to a client that does not read, with the table of sessions locked. The thread that
 * accepts takes that lock: no new client gets in, and this one does not read before it does. */
static pthread_mutex_t sessions = PTHREAD_MUTEX_INITIALIZER;
static int session[2];
static struct corpus_mark recovering;

static void *recover_session(void *arg)
{
    pthread_mutex_lock(&sessions);
    corpus_tell(&recovering);
    if (corpus_cured)
        pthread_mutex_unlock(&sessions);
    corpus_put(session[0], CORPUS_MUCH);
    if (!corpus_cured)
        pthread_mutex_unlock(&sessions);
    return arg;
}

static void *accept_client(void *arg)
{
    int fd = accept(listening, NULL, NULL);
    pthread_mutex_lock(&sessions);
    corpus_send(fd, 1);
    pthread_mutex_unlock(&sessions);
    close(fd);
    return arg;
}

static void acceptor_wants_lock(void)
{
    int word;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, session))
        corpus_die("socketpair");
    recovering = corpus_mark();
    listening = listen_on_loopback(&here);
    pthread_t recovery = corpus_thread(recover_session, NULL);
    corpus_hear(&recovering);
    pthread_t acceptor = corpus_thread(accept_client, NULL);
    int fd = connect_to(&here);
    corpus_receive(fd, &word);
    corpus_take(session[1], CORPUS_MUCH);
    corpus_join(acceptor);
    corpus_join(recovery);
}

/* A lock file without a name left; each call opens it anew, as two programs do. */
static int open_lock(int file)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        corpus_die("open");
    return fd;
}
static int make_lock_file(void)
{
    int fd = memfd_create("lock", MFD_CLOEXEC);
    if (fd < 0)
        corpus_die("memfd_create");
    return fd;
}
static void lock_file(int fd)
{
    if (flock(fd, LOCK_EX))
        corpus_die("flock");
}

/* A job locks its file, starts an agent that stays, and ends. The agent has the locked file too: the next job waits for it,
 * and it for orders of the next job. */
static void lock_inherited(void)
{
    int file = make_lock_file(), orders[2];
    corpus_pipe(orders);
    pid_t job = corpus_fork();
    if (job == 0) {
        int fd = open_lock(file);
        lock_file(fd);
        if (fork() == 0) { /* it stays */
            if (corpus_cured)
                close(fd);
            close(orders[1]);
            corpus_drain(orders[0]);
        }
        _exit(0);
    }
    corpus_reap(job, false);
    lock_file(open_lock(file));
    corpus_send(orders[1], 1);
}

/* Two builds take the locks of what they build and keep them to the end, each in the order of its own work. */
static void build(const int files[2], int first, const struct corpus_mark *mine, const struct corpus_mark *others)
{
    int one = open_lock(files[first]), two = open_lock(files[!first]);
    lock_file(one);
    corpus_tell(mine);
    corpus_hear(others);
    if (corpus_cured)
        flock(one, LOCK_UN); /* it is built */
    lock_file(two);
    close(one);
    close(two);
}

static void locks_kept_to_end(void)
{
    int files[2] = {make_lock_file(), make_lock_file()};
    struct corpus_mark marks[2] = {corpus_mark(), corpus_mark()};
    pid_t other = corpus_fork();
    if (other == 0) {
        build(files, 1, &marks[1], &marks[0]);
        _exit(0);
    }
    build(files, 0, &marks[0], &marks[1]);
    corpus_reap(other, false);
}

/* A process opens and locks the file that it has locked already, deeper in the stack: the lock belongs to the opening, not
 * to the process. */
static void lock_file_twice(void)
{
    int file = make_lock_file(), fd = open_lock(file);
    lock_file(fd);
    lock_file(corpus_cured ? fd : open_lock(file));
}

/* A program that was put into the background sets the terminal: the kernel stops it, and who started it waits for its end. */
static void set_terminal(int terminal)
{
    struct termios settings;
    if (corpus_cured)
        signal(SIGTTOU, SIG_IGN);
    if (tcgetattr(terminal, &settings) || tcsetattr(terminal, TCSANOW, &settings))
        corpus_die("tcsetattr");
    _exit(0);
}

static void background_sets_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master))
        corpus_die("posix_openpt");
    pid_t shell = corpus_fork();
    if (shell == 0) {
        setsid();
        int terminal = open(ptsname(master), O_RDWR); /* becomes its controlling terminal */
        if (terminal < 0)
            corpus_die("open");
        pid_t job = corpus_fork();
        if (job == 0) {
            setpgid(0, 0); /* "&" */
            set_terminal(terminal);
        }
        corpus_reap(job, false);
        _exit(0);
    }
    corpus_reap(shell, false);
}

const struct corpus_case corpus_servers[] = {
    {"both-sides-write", both_sides_write},
    {"server-asks-itself", server_asks_itself},
    {"server-wants-token", server_wants_token},
    {"signal-before-handler", signal_before_handler},
    {"acceptor-wants-lock", acceptor_wants_lock},
    {"lock-inherited", lock_inherited},
    {"locks-kept-to-end", locks_kept_to_end},
    {"lock-file-twice", lock_file_twice},
    {"background-sets-terminal", background_sets_terminal},
    {NULL, NULL},
};
