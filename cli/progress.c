#include "cli/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/text.h"

enum { PLAIN_EVERY_S = 10 };

/* Read by the handler: written before the timer runs, or after it was stopped. */
static char line[256];
static size_t line_len;
static int on_terminal;
static volatile sig_atomic_t seconds;

static void put(const char *text, size_t len)
{
    if (write(STDERR_FILENO, text, len) < 0)
        return; /* whoever does not listen misses nothing */
}

/* Async-signal-safe: the words were made before; only the number is new. */
static void tell(int signo)
{
    int saved = errno, n = ++seconds;
    char number[16];
    size_t at = sizeof(number);
    (void)signo;
    if (!on_terminal && n % PLAIN_EVERY_S != 1) {
        errno = saved;
        return;
    }
    number[--at] = on_terminal ? ' ' : '\n';
    number[--at] = 's';
    number[--at] = ' ';
    do
        number[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    put(line, line_len);
    put(number + at, sizeof(number) - at);
    errno = saved;
}

static void set_timer(long s)
{
    const struct itimerval every = {.it_interval.tv_sec = s, .it_value.tv_sec = s};
    setitimer(ITIMER_REAL, &every, NULL);
}

void wedge_cli_progress_begin(const struct wedge_cli *cli, const char *what)
{
    char plain[200];
    struct sigaction action = {.sa_handler = tell, .sa_flags = SA_RESTART};
    if (cli->quiet)
        return;
    on_terminal = isatty(STDERR_FILENO);
    seconds = 0;
    snprintf(line, sizeof(line), "%swedge: %s: ", on_terminal ? "\r" : "",
             wedge_text_plain(what, plain, sizeof(plain)));
    line_len = strlen(line);
    sigaction(SIGALRM, &action, NULL);
    set_timer(1);
}

void wedge_cli_progress_end(void)
{
    set_timer(0);
    signal(SIGALRM, SIG_DFL);
    if (on_terminal && seconds)
        put("\r\033[K", 4);
    seconds = 0;
}
