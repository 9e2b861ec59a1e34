/* Waits on descriptors: pipes watched by poll, select and epoll, ends on their way in a message, splice. */
#include "detector/tests/cases.h"

static const struct hang hangs[] = {
    {"end-in-message-for-nobody", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "read", "empty pipe",
     "end_in_message_for_nobody"},
    {"poll-for-room", WEDGE_VERDICT_MUTUAL_BACKPRESSURE, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "poll",
     "2 polled descriptors", "request_until_full"},
    {"other-readers-only", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_EVIDENT, WEDGE_SCOPE_WHOLE, 1, "select",
     "2 polled descriptors", NULL},
    {"one-shot-over", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "epoll_pwait",
     "1 polled descriptor", NULL},
    {"edge-taken-for-level", WEDGE_VERDICT_CLOSED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 2, "epoll_pwait",
     "1 polled descriptor", "edge_missed"},
    {"epoll-in-epoll", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "epoll_pwait",
     "1 polled descriptor", NULL},
    {"fifo-without-name", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "read", "empty pipe", NULL},
    {"splice-own-pipe", WEDGE_VERDICT_ORPHANED_WAIT, WEDGE_PROVED, WEDGE_SCOPE_WHOLE, 1, "splice",
     "its other end held by the process itself", NULL},
};

static const struct healthy healthy[] = {
    {"end-in-message", false, WEDGE_WAIT_PIPE_READ},    {"end-going-round", true, WEDGE_WAIT_PIPE_READ},
    {"end-in-datagram", false, WEDGE_WAIT_PIPE_READ},   {"end-not-accepted", false, WEDGE_WAIT_PIPE_READ},
    {"fifo-opened-late", false, WEDGE_WAIT_PIPE_READ},  {"poll-for-slow-reader", false, WEDGE_WAIT_POLL},
    {"one-shot-again", false, WEDGE_WAIT_POLL},         {"edges", false, WEDGE_WAIT_POLL},
    {"epoll-in-epoll-served", false, WEDGE_WAIT_POLL},  {"epoll-shared", false, WEDGE_WAIT_POLL},
    {"epoll-member-elsewhere", false, WEDGE_WAIT_POLL}, {"splice-served", false, WEDGE_WAIT_PIPE_READ},
    {"own-table-writer", false, WEDGE_WAIT_PIPE_READ},  {"own-table-reader", false, WEDGE_WAIT_JOIN},
    {"own-table-message", false, WEDGE_WAIT_PIPE_READ}, {"pipe-reopened", true, WEDGE_WAIT_PIPE_READ},
    {"signal-by-descriptor", true, WEDGE_WAIT_SEM},     {"signal-by-childs-descriptor", true, WEDGE_WAIT_SEM},
};

int main(void)
{
    return cases_main("descriptor", hangs, sizeof(hangs) / sizeof(hangs[0]), healthy,
                      sizeof(healthy) / sizeof(healthy[0]), NULL);
}
