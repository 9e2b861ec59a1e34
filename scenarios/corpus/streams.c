#include "scenarios/corpus/streams.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

void corpus_pipe(int ends[2])
{
    if (pipe(ends))
        corpus_die("pipe");
}

void corpus_put(int fd, size_t bytes)
{
    static const char block[4096];
    while (bytes) {
        ssize_t n = write(fd, block, bytes < sizeof(block) ? bytes : sizeof(block));
        if (n < 0 && errno != EINTR)
            corpus_die("write");
        bytes -= n > 0 ? (size_t)n : 0;
    }
}

void corpus_take(int fd, size_t bytes)
{
    char block[4096];
    while (bytes) {
        ssize_t n = read(fd, block, bytes < sizeof(block) ? bytes : sizeof(block));
        if (n == 0 || (n < 0 && errno != EINTR))
            corpus_die("read");
        bytes -= n > 0 ? (size_t)n : 0;
    }
}

void corpus_drain(int fd)
{
    char block[4096];
    ssize_t n;
    while ((n = read(fd, block, sizeof(block))) > 0 || (n < 0 && errno == EINTR))
        ;
    if (n < 0)
        corpus_die("read");
}

void corpus_drain_ready(int fd)
{
    char block[4096];
    while (read(fd, block, sizeof(block)) > 0)
        ;
    if (errno != EAGAIN)
        corpus_die("read");
}

void corpus_send(int fd, int number)
{
    if (write(fd, &number, sizeof(number)) != (ssize_t)sizeof(number))
        corpus_die("write");
}

bool corpus_receive(int fd, int *ret)
{
    ssize_t n = read(fd, ret, sizeof(*ret));
    if (n != 0 && n != (ssize_t)sizeof(*ret))
        corpus_die("read");
    return n > 0;
}

_Noreturn void corpus_crash(void)
{
    raise(SIGKILL);
    _exit(3);
}
