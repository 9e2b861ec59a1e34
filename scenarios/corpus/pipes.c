/* Pipes: who reads, who writes, and who else still has an end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <wedge/point.h>

#include "scenarios/corpus/streams.h"

/* A test runner waits for its command, and reads what it printed afterwards. Once that no longer fits into the pipe,
 * the command waits for the runner. */
static void wait_full_pipe(void)
{
    int out[2];
    corpus_pipe(out);
    pid_t command = corpus_fork();
    if (command == 0) {
        corpus_put(out[1], CORPUS_MUCH);
        _exit(0);
    }
    close(out[1]);
    if (corpus_cured)
        corpus_drain(out[0]);
    corpus_reap(command, false);
}

/* A command is read to the end of its output, then to the end of its errors, of which there are more than a pipe holds:
 * the command waits to tell the next error. */
static void drain_both(int a, int b)
{
    struct pollfd ends[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    char block[4096];
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
        if (poll(ends, 2, -1) < 0)
            corpus_die("poll");
        for (int i = 0; i < 2; i++)
            if (ends[i].revents && read(ends[i].fd, block, sizeof(block)) <= 0)
                ends[i].fd = -1;
    }
}

static void errors_unread(void)
{
    int out[2], errors[2];
    corpus_pipe(out);
    corpus_pipe(errors);
    pid_t command = corpus_fork();
    if (command == 0) {
        corpus_put(errors[1], CORPUS_MUCH);
        corpus_put(out[1], 1);
        _exit(0);
    }
    close(out[1]);
    close(errors[1]);
    if (corpus_cured) {
        drain_both(out[0], errors[0]);
    } else {
        corpus_drain(out[0]);
        corpus_drain(errors[0]);
    }
    corpus_reap(command, false);
}

/* A filter is given all of its input before any of its output is read: both pipes are full. */
static int into[2], out_of[2];

static void *give_input(void *arg)
{
    corpus_put(into[1], CORPUS_MUCH);
    close(into[1]);
    return arg;
}

static void filter_both_full(void)
{
    corpus_pipe(into);
    corpus_pipe(out_of);
    pid_t filter = corpus_fork();
    if (filter == 0) {
        char block[4096];
        ssize_t got;
        close(into[1]);
        while ((got = read(into[0], block, sizeof(block))) > 0)
            corpus_put(out_of[1], (size_t)got);
        _exit(0);
    }
    close(out_of[1]);
    if (corpus_cured) {
        pthread_t writer = corpus_thread(give_input, NULL);
        corpus_drain(out_of[0]);
        corpus_join(writer);
    } else {
        give_input(NULL);
        corpus_drain(out_of[0]);
    }
    corpus_reap(filter, false);
}

/* A command is killed for taking too long, and its output read to the end. But it had started a server of its own, which
 * has the output too, and waits for requests of its own. */
static void grandchild_keeps_pipe(void)
{
    int out[2], requests[2];
    char byte;
    corpus_pipe(out);
    corpus_pipe(requests);
    pid_t command = corpus_fork();
    if (command == 0) {
        close(requests[1]);
        pid_t server = fork(); /* it outlives its parent: that is the story */
        if (server == 0) {
            if (corpus_cured)
                close(out[1]);
            while (read(requests[0], &byte, 1) > 0)
                ;
            _exit(0);
        }
        corpus_put(out[1], 1);
        for (;;)
            pause();
    }
    close(out[1]);
    if (read(out[0], &byte, 1) != 1)
        corpus_die("read");
    kill(command, SIGKILL);
    corpus_reap(command, true);
    corpus_drain(out[0]);
}

/* A parent gives its workers the pipe of its log, keeps the end to write as well, and reads until all of them have left:
 * there will always be one who could write, itself. */
static void own_write_end(void)
{
    int log[2];
    pid_t workers[2];
    corpus_pipe(log);
    for (int i = 0; i < 2; i++)
        if ((workers[i] = corpus_fork()) == 0) {
            corpus_put(log[1], 100);
            _exit(0);
        }
    if (corpus_cured)
        close(log[1]);
    corpus_drain(log[0]);
    corpus_reap(workers[0], false);
    corpus_reap(workers[1], false);
}

/* Two commands read their input to its end. The second was started with everything open, the first one's input included:
 * closed by the parent, it does not end, and the parent waits for the first to leave. */
static void sibling_keeps_pipe(void)
{
    int input[2][2];
    pid_t command[2];
    for (int i = 0; i < 2; i++) {
        corpus_pipe(input[i]);
        if ((command[i] = corpus_fork()) == 0) {
            close(input[i][1]);
            if (i == 1 && corpus_cured)
                close(input[0][1]);
            corpus_drain(input[i][0]);
            _exit(0);
        }
    }
    close(input[0][1]);
    corpus_reap(command[0], false);
    close(input[1][1]);
    corpus_reap(command[1], false);
}

/* A worker is killed within a message. Who reads it waits for the rest: having the other end for the next workers, it
 * never sees the end. */
static void half_message(void)
{
    int results[2];
    size_t length = CORPUS_MUCH;
    corpus_pipe(results);
    pid_t worker = corpus_fork();
    if (worker == 0) {
        wedge_role("worker", 1, 0);
        if (write(results[1], &length, sizeof(length)) != sizeof(length))
            _exit(1);
        corpus_put(results[1], length / 2);
        WEDGE_POINT("corpus.message.half");
        corpus_put(results[1], length / 2);
        _exit(0);
    }
    if (corpus_cured)
        close(results[1]);
    if (read(results[0], &length, sizeof(length)) != sizeof(length))
        corpus_die("read");
    char block[4096];
    for (ssize_t got = 1; length && got > 0; length -= (size_t)got)
        got = read(results[0], block, length < sizeof(block) ? length : sizeof(block));
    corpus_reap(worker, length > 0);
}

/* A signal handler tells its own event loop by a byte in a pipe. Signals come faster than the loop reads, and the loop is
 * what the handler interrupted: it waits for itself to make room. */
static int wake[2];

static void tell_loop(int number)
{
    int before = errno;
    (void)number;
    if (write(wake[1], "", 1) != 1 && errno != EAGAIN)
        _exit(3);
    errno = before;
}

static void self_pipe_full(void)
{
    corpus_pipe(wake);
    int room = fcntl(wake[1], F_SETPIPE_SZ, 4096);
    if (room < 0)
        corpus_die("fcntl");
    fcntl(wake[0], F_SETFL, O_NONBLOCK);
    if (corpus_cured)
        fcntl(wake[1], F_SETFL, O_NONBLOCK);
    signal(SIGUSR1, tell_loop);
    for (int i = 0; i <= room; i++)
        raise(SIGUSR1);
    corpus_drain_ready(wake[0]);
}

const struct corpus_case corpus_pipes[] = {
    {"wait-full-pipe", wait_full_pipe},
    {"errors-unread", errors_unread},
    {"filter-both-full", filter_both_full},
    {"grandchild-keeps-pipe", grandchild_keeps_pipe},
    {"own-write-end", own_write_end},
    {"sibling-keeps-pipe", sibling_keeps_pipe},
    {"half-message", half_message},
    {"self-pipe-full", self_pipe_full},
    {NULL, NULL},
};
