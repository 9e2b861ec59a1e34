#include "detector/kernel/reading.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_BYTES 16384 /* a long list of groups stands in it */

/* Run time, waiting time, number of turns. False: the kernel does not count, or says nothing. */
static bool parse_pulse(const char *text, struct wedge_pulse *ret)
{
    char *end;
    for (size_t i = 0; i < 3; i++, text = end) {
        ret->counts[i] = strtoull(text, &end, 10);
        if (end == text)
            return false;
    }
    return ret->counts[2] != 0;
}

/* The pulse where there is no schedstat. */
static int slow_pulse(int tasks, pid_t tid, struct wedge_pulse *ret)
{
    char text[STATUS_BYTES];
    struct wedge_proc_stat stat;
    struct wedge_proc_status status;
    ssize_t len = wedge_proc_read_at(tasks, tid, "stat", text, sizeof(text));
    int rc = len < 0 ? (int)len : wedge_proc_stat_parse(text, &stat);
    if (!rc && (len = wedge_proc_read_at(tasks, tid, "status", text, sizeof(text))) < 0)
        rc = (int)len;
    if (!rc)
        rc = wedge_proc_status_parse(text, &status);
    if (!rc)
        *ret = (struct wedge_pulse){{stat.start_ticks, status.switches, status.sig_blocked}};
    return rc;
}

static void read_call(int fd, struct wedge_proc_syscall *ret, int *ret_error)
{
    char text[256];
    ssize_t len = fd < 0 ? fd : wedge_proc_read_open(fd, text, sizeof(text));
    memset(ret, 0, sizeof(*ret));
    *ret_error = len < 0 ? (int)len : wedge_proc_syscall_parse(text, ret);
    if (*ret_error)
        ret->number = -2;
}

/* Opens what is kept, and takes the pulse by it. False: nothing is kept. */
static bool keep_files(int tasks, pid_t tid, struct wedge_kept *kept)
{
    char text[256];
    kept->pulse_file = wedge_proc_open_at(tasks, tid, "schedstat");
    kept->call_file = kept->pulse_file < 0 ? -1 : wedge_proc_open_at(tasks, tid, "syscall");
    if (kept->call_file >= 0 && wedge_proc_read_open(kept->pulse_file, text, sizeof(text)) > 0 &&
        parse_pulse(text, &kept->pulse))
        return true;
    wedge_reading_close(kept);
    return false;
}

int wedge_reading_first(int tasks, pid_t tid, bool keep, struct wedge_reading *ret)
{
    char text[STATUS_BYTES];
    struct wedge_reading r = {.kept = {.call_file = -1, .pulse_file = -1}};
    bool kept = keep && keep_files(tasks, tid, &r.kept);
    int rc = kept ? 0 : slow_pulse(tasks, tid, &r.kept.pulse);
    if (rc)
        return rc;
    ssize_t len = wedge_proc_read_at(tasks, tid, "status", text, sizeof(text));
    rc = len < 0 ? (int)len : wedge_proc_status_parse(text, &r.status);
    if (!rc && !r.status.state)
        rc = -EBADMSG;
    if (rc) {
        wedge_reading_close(&r.kept);
        /* What was kept took the last descriptors. */
        return kept && (rc == -EMFILE || rc == -ENFILE) ? wedge_reading_first(tasks, tid, false, ret) : rc;
    }
    int file = kept ? r.kept.call_file : wedge_proc_open_at(tasks, tid, "syscall");
    read_call(file, &r.call, &r.call_error);
    if (!kept && file >= 0)
        close(file);
    /* After syscall, whose wait_task_inactive() takes a sleeper that the scheduler has not taken off its queue yet (delayed
     * dequeue, since Linux 6.12) off it: of such a one get_wchan() (kernel/sched/core.c) tells nothing, as of one that runs. Of
     * 8,470 sleepers on a busy processor all had a place then; of those where wchan alone was read, down to three in four. */
    if (wedge_proc_read_at(tasks, tid, "wchan", r.wchan, sizeof(r.wchan)) < 0)
        r.wchan[0] = '\0';
    *ret = r;
    return 0;
}

enum wedge_again wedge_reading_again(int tasks, pid_t tid, const struct wedge_proc_syscall *call,
                                     const struct wedge_kept *kept)
{
    struct wedge_proc_syscall now;
    struct wedge_pulse pulse;
    int error, file = kept->call_file < 0 ? wedge_proc_open_at(tasks, tid, "syscall") : kept->call_file;
    read_call(file, &now, &error);
    if (kept->call_file < 0 && file >= 0)
        close(file);
    if (now.number != call->number || now.pc != call->pc || now.sp != call->sp ||
        memcmp(now.args, call->args, sizeof(now.args)) != 0)
        return WEDGE_AGAIN_ELSEWHERE;
    char text[256];
    if (kept->pulse_file >= 0
            ? wedge_proc_read_open(kept->pulse_file, text, sizeof(text)) < 0 || !parse_pulse(text, &pulse)
            : slow_pulse(tasks, tid, &pulse) != 0)
        return WEDGE_AGAIN_ELSEWHERE;
    return memcmp(&pulse, &kept->pulse, sizeof(pulse)) == 0 ? WEDGE_AGAIN_SAME : WEDGE_AGAIN_BACK;
}

void wedge_reading_close(struct wedge_kept *kept)
{
    if (kept->call_file >= 0)
        close(kept->call_file);
    if (kept->pulse_file >= 0)
        close(kept->pulse_file);
    kept->call_file = kept->pulse_file = -1;
}
