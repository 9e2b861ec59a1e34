/*
 * Sources: sock_diag(7), net/unix/diag.c; Documentation/networking/proc_net_tcp.rst, net/ipv4/tcp_ipv4.c
 * (get_tcp4_sock: tx is what was written and not acknowledged, rx what came and was not read), net/ipv6/tcp_ipv6.c.
 */
#include "detector/kernel/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "detector/kernel/lines.h"
#include "detector/kernel/proc.h"

#define MOST_SOCKETS    65536
#define MOST_INET_BYTES (16u << 20)
#define ANSWER_BYTES    65536
#define TIME_WAIT       6
#define LINE_BYTES      256 /* of a table; 150 of tcp, with IPv6 addresses 200 */

uint64_t wedge_sockets_namespace(pid_t pid, pid_t tid)
{
    char link[64];
    uint64_t inode;
    return wedge_proc_link(pid, tid, "ns/net", link, sizeof(link)) > 0 && sscanf(link, "net:[%" SCNu64, &inode) == 1
               ? inode
               : 0;
}

/* Makes room for `more` elements beyond n. */
static int room(void **table, size_t n, size_t more, size_t size, size_t *cap)
{
    if (n + more > MOST_SOCKETS)
        return -EOVERFLOW;
    if (n + more <= *cap)
        return 0;
    size_t bigger = *cap * 2 > n + more ? *cap * 2 : n + more + 64;
    void *grown = realloc(*table, bigger * size);
    if (!grown)
        return -ENOMEM;
    *table = grown;
    *cap = bigger;
    return 0;
}

/* ---- UNIX sockets ---- */

static int add_waiting(struct wedge_sockets *to, struct wedge_unix_socket *s, const uint32_t *inodes, size_t n)
{
    int rc = room((void **)&to->waiting, to->n_waiting, n, sizeof(uint64_t), &to->cap_waiting);
    if (rc)
        return rc;
    s->first_waiting = to->n_waiting;
    s->n_waiting = n;
    for (size_t i = 0; i < n; i++)
        to->waiting[to->n_waiting++] = inodes[i];
    return 0;
}

static int add_attribute(struct wedge_sockets *to, struct wedge_unix_socket *s, const struct nlattr *a)
{
    const void *data = (const char *)a + NLA_HDRLEN;
    size_t len = a->nla_len - NLA_HDRLEN;
    switch (a->nla_type) {
    case UNIX_DIAG_NAME:
        s->name_len = (uint8_t)(len < sizeof(s->name) ? len : sizeof(s->name));
        memcpy(s->name, data, s->name_len);
        break;
    case UNIX_DIAG_VFS:
        if (len >= sizeof(struct unix_diag_vfs)) {
            s->vfs_inode = ((const struct unix_diag_vfs *)data)->udiag_vfs_ino;
            s->vfs_dev = ((const struct unix_diag_vfs *)data)->udiag_vfs_dev;
        }
        break;
    case UNIX_DIAG_PEER:
        if (len >= sizeof(uint32_t)) {
            s->has_peer = true;
            s->peer = *(const uint32_t *)data;
        }
        break;
    case UNIX_DIAG_ICONS:
        return add_waiting(to, s, data, len / sizeof(uint32_t));
    case UNIX_DIAG_RQLEN:
        if (len >= sizeof(struct unix_diag_rqlen)) {
            s->rqueue = ((const struct unix_diag_rqlen *)data)->udiag_rqueue;
            s->wqueue = ((const struct unix_diag_rqlen *)data)->udiag_wqueue;
        }
        break;
    case UNIX_DIAG_SHUTDOWN:
        s->no_more_reads = len >= 1 && *(const uint8_t *)data & 1; /* RCV_SHUTDOWN (include/net/sock.h) */
        break;
    default:
        break;
    }
    return 0;
}

static int add_unix(struct wedge_sockets *to, const struct nlmsghdr *h)
{
    const struct unix_diag_msg *m = NLMSG_DATA(h);
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
        return -EBADMSG;
    int rc = room((void **)&to->unix_sockets, to->n_unix, 1, sizeof(struct wedge_unix_socket), &to->cap_unix);
    if (rc)
        return rc;
    struct wedge_unix_socket *s = &to->unix_sockets[to->n_unix];
    *s = (struct wedge_unix_socket){.inode = m->udiag_ino, .type = m->udiag_type, .state = m->udiag_state};
    size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));
    const char *at = (const char *)h + NLMSG_LENGTH(sizeof(*m));
    while (left >= NLA_HDRLEN && !rc) {
        const struct nlattr *a = (const struct nlattr *)at;
        size_t step = NLA_ALIGN(a->nla_len);
        if (a->nla_len < NLA_HDRLEN || a->nla_len > left)
            return -EBADMSG;
        rc = add_attribute(to, s, a);
        at += step;
        left = step < left ? left - step : 0;
    }
    to->n_unix += rc == 0;
    return rc;
}

int wedge_sockets_parse_unix(struct wedge_sockets *to, const char *answer, size_t len)
{
    /* Not by NLMSG_NEXT, which subtracts the padding behind a last message from a length that has none left. */
    for (size_t at = 0; at < len;) {
        const struct nlmsghdr *h = (const struct nlmsghdr *)(answer + at);
        if (len - at < sizeof(*h) || h->nlmsg_len < sizeof(*h) || h->nlmsg_len > len - at)
            return -EBADMSG;
        if (h->nlmsg_type == NLMSG_DONE)
            return 1;
        if (h->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *e = NLMSG_DATA(h);
            return h->nlmsg_len >= NLMSG_LENGTH(sizeof(*e)) && e->error < 0 ? e->error : -EBADMSG;
        }
        int rc = h->nlmsg_type == SOCK_DIAG_BY_FAMILY ? add_unix(to, h) : 0;
        if (rc)
            return rc;
        at += NLMSG_ALIGN((size_t)h->nlmsg_len);
    }
    return 0;
}

static int ask_unix(int fd, struct wedge_sockets *to)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req request;
    } question = {
        .header = {.nlmsg_len = sizeof(question),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = UINT32_MAX,
                    .udiag_show =
                        UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN},
    };
    if (send(fd, &question, sizeof(question), 0) != (ssize_t)sizeof(question))
        return -errno;
    char *answer = malloc(ANSWER_BYTES);
    int rc = answer ? 0 : -ENOMEM;
    while (!rc) {
        ssize_t got = recv(fd, answer, ANSWER_BYTES, 0);
        rc = got < 0 ? -errno : got == 0 ? -EBADMSG : wedge_sockets_parse_unix(to, answer, (size_t)got);
    }
    free(answer);
    return rc < 0 ? rc : 0;
}

/* A socket of the namespace to ask through: the socket stays there when the thread has gone back. */
static int open_in(uint64_t namespace, pid_t pid, pid_t tid)
{
    struct timeval second = {.tv_sec = 1};
    char path[64];
    int there = -1, home = -1, fd = -1;
    bool away = wedge_sockets_namespace(getpid(), gettid()) != namespace;
    if (away) {
        wedge_proc_path(pid, tid, "ns/net", path, sizeof(path));
        there = open(path, O_RDONLY | O_CLOEXEC);
        home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (there < 0 || home < 0 || setns(there, CLONE_NEWNET)) {
            fd = -errno;
            goto out;
        }
    }
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second))) {
        int error = -errno;
        if (fd >= 0)
            close(fd);
        fd = error;
    }
    /* Who cannot go home would look at a wrong world from here on. */
    if (away && setns(home, CLONE_NEWNET)) {
        if (fd >= 0)
            close(fd);
        fd = -EPERM;
    }
out:
    if (there >= 0)
        close(there);
    if (home >= 0)
        close(home);
    return fd;
}

static int compare_unix(const void *a, const void *b)
{
    const struct wedge_unix_socket *x = a, *y = b;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

static void read_unix(struct wedge_sockets *sockets, pid_t pid, pid_t tid)
{
    int fd = open_in(sockets->namespace, pid, tid);
    sockets->unix_error = fd < 0 ? fd : ask_unix(fd, sockets);
    if (fd >= 0)
        close(fd);
    if (sockets->unix_error)
        sockets->n_unix = sockets->n_waiting = 0;
    if (sockets->n_unix)
        qsort(sockets->unix_sockets, sockets->n_unix, sizeof(*sockets->unix_sockets), compare_unix);
}

/* ---- TCP and UDP ---- */

/* "0100007F:0016" or four such words: each word is a number in the machine's own order, over the bytes of the address
 * as they are sent. Returns what follows, NULL: no such thing. */
static const char *parse_end(const char *s, struct wedge_inet_end *ret)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint32_t words[4];
    size_t n = strspn(s, "0123456789ABCDEF"), n_words = n / 8;
    if ((n != 8 && n != 32) || s[n] != ':')
        return NULL;
    for (size_t i = 0; i < n_words; i++)
        if (sscanf(s + 8 * i, "%8" SCNx32, &words[i]) != 1)
            return NULL;
    if (n_words == 1)
        memcpy(ret->address, mapped, sizeof(mapped));
    memcpy(ret->address + 16 - 4 * n_words, words, 4 * n_words);
    s += n + 1;
    return strspn(s, "0123456789ABCDEF") == 4 && sscanf(s, "%4" SCNx16, &ret->port) == 1 ? s + 4 : NULL;
}

/* "  0: LOCAL REMOTE ST TX:RX TR:WHEN RETRANSMITS UID TIMEOUT INODE …" */
bool wedge_sockets_parse_inet(const char *line, struct wedge_inet_socket *ret)
{
    struct wedge_inet_socket s = {0};
    unsigned state, timer;
    const char *at = strchr(line, ':');
    if (!at || at[1] != ' ')
        return false;
    at = parse_end(at + 2, &s.local);
    if (!at || *at != ' ')
        return false;
    at = parse_end(at + 1, &s.remote);
    if (!at || sscanf(at, " %2x %8" SCNx32 ":%8" SCNx32 " %2x:%*8x %*8x %*u %*d %" SCNu64, &state, &s.tx, &s.rx, &timer,
                      &s.inode) != 5)
        return false;
    s.state = (uint8_t)state;
    s.timer = (uint8_t)timer;
    *ret = s;
    return true;
}

static int compare_inet(const void *a, const void *b)
{
    const struct wedge_inet_socket *x = a, *y = b;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

int wedge_sockets_parse_table(struct wedge_sockets *to, const char *text, bool udp)
{
    const char *titles = strchrnul(text, '\n');
    for (const char *line = titles + (*titles == '\n'), *next; *line; line = next) {
        struct wedge_inet_socket s;
        char copy[LINE_BYTES];
        int rc = 0;
        next = wedge_line_next(line, wedge_line_copy(line, copy, sizeof(copy)));
        if (!wedge_sockets_parse_inet(copy, &s))
            return -EBADMSG;
        if (s.state == TIME_WAIT) /* connections that are over are many, and nobody waits on them */
            continue;
        s.udp = udp;
        rc = room((void **)&to->inet_sockets, to->n_inet, 1, sizeof(s), &to->cap_inet);
        if (rc)
            return rc;
        to->inet_sockets[to->n_inet++] = s;
    }
    return 0;
}

static int add_inet(struct wedge_sockets *sockets, pid_t pid, pid_t tid, const char *file, bool udp)
{
    char *text = NULL;
    ssize_t len = wedge_proc_read_table(pid, tid, file, LINE_BYTES, MOST_INET_BYTES, &text);
    int rc = len < 0                           ? (int)len
             : len >= (ssize_t)MOST_INET_BYTES ? -EOVERFLOW
                                               : wedge_sockets_parse_table(sockets, text, udp);
    free(text);
    return rc;
}

static void read_inet(struct wedge_sockets *sockets, pid_t pid, pid_t tid)
{
    static const char *const files[] = {"net/tcp", "net/tcp6", "net/udp", "net/udp6"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && !sockets->inet_error; i++) {
        int rc = add_inet(sockets, pid, tid, files[i], i >= 2);
        /* A kernel without IPv6 has no such files. */
        if (rc != -ENOENT || wedge_sockets_namespace(pid, tid) != sockets->namespace)
            sockets->inet_error = rc;
    }
    if (sockets->inet_error)
        sockets->n_inet = 0;
    if (sockets->n_inet)
        qsort(sockets->inet_sockets, sockets->n_inet, sizeof(*sockets->inet_sockets), compare_inet);
}

/* ---- together ---- */

struct wedge_sockets *wedge_sockets_read(pid_t pid, pid_t tid)
{
    struct wedge_sockets *sockets = calloc(1, sizeof(*sockets));
    if (!sockets)
        return NULL;
    sockets->namespace = wedge_sockets_namespace(pid, tid);
    if (!sockets->namespace) {
        sockets->unix_error = sockets->inet_error = -EACCES;
        return sockets;
    }
    read_unix(sockets, pid, tid);
    read_inet(sockets, pid, tid);
    return sockets;
}

void wedge_sockets_free(struct wedge_sockets *sockets)
{
    while (sockets) {
        struct wedge_sockets *next = sockets->next;
        free(sockets->unix_sockets);
        free(sockets->waiting);
        free(sockets->inet_sockets);
        free(sockets);
        sockets = next;
    }
}

const struct wedge_unix_socket *wedge_sockets_unix(const struct wedge_sockets *sockets, uint64_t inode)
{
    struct wedge_unix_socket key = {.inode = inode};
    return inode && sockets->n_unix ? bsearch(&key, sockets->unix_sockets, sockets->n_unix, sizeof(key), compare_unix)
                                    : NULL;
}

const struct wedge_inet_socket *wedge_sockets_inet(const struct wedge_sockets *sockets, uint64_t inode)
{
    struct wedge_inet_socket key = {.inode = inode};
    return inode && sockets->n_inet ? bsearch(&key, sockets->inet_sockets, sockets->n_inet, sizeof(key), compare_inet)
                                    : NULL;
}

const struct wedge_unix_socket *wedge_sockets_unix_listener(const struct wedge_sockets *sockets, uint64_t inode)
{
    for (size_t i = 0; i < sockets->n_unix; i++) {
        const struct wedge_unix_socket *s = &sockets->unix_sockets[i];
        for (size_t k = 0; k < s->n_waiting; k++)
            if (sockets->waiting[s->first_waiting + k] == inode)
                return s;
    }
    return NULL;
}

static bool is_same_end(const struct wedge_inet_end *a, const struct wedge_inet_end *b)
{
    return a->port == b->port && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

const struct wedge_inet_socket *wedge_sockets_inet_peer(const struct wedge_sockets *sockets,
                                                        const struct wedge_inet_socket *of)
{
    const struct wedge_inet_socket *peer = NULL;
    for (size_t i = 0; i < sockets->n_inet; i++) {
        const struct wedge_inet_socket *s = &sockets->inet_sockets[i];
        if (s == of || s->udp != of->udp || !is_same_end(&s->local, &of->remote) ||
            !is_same_end(&s->remote, &of->local))
            continue;
        if (peer)
            return NULL;
        peer = s;
    }
    return peer;
}
