/*
 * <wedge/detector.h>: asking who waits for whom, from inside a program.
 *
 * For programs that want a watchdog of their own: a thread that wakes now and then and, when nothing moves any more, has
 * the program examined from outside, as `wedge dump` does, and hands the verdict to a callback (or keeps it for the next
 * poll). Or, without a watchdog, one examination of this process or of another one.
 *
 * The examination happens in a process of its own (the `wedge` program of this installation), under a deadline: a
 * program that is stuck cannot be trusted to examine itself. It is no child of the program's: no SIGCHLD comes, and
 * wait() finds nothing new. The program stands still for about a millisecond, and only if stacks are asked for. Threads
 * of the watchdog count neither as able to end a wait nor as running, so that a program of which nothing else can run
 * is proved to hang.
 *
 *   #include <wedge/detector.h>                      cc prog.c $(pkg-config --cflags --libs wedge-detector)
 *
 *   static void on_hang(const struct wedge_result *result, void *arg)
 *   {
 *       fprintf(stderr, "%s: %s\n", wedge_result_kind(result), wedge_result_summary(result));
 *       abort();
 *   }
 *   struct wedge_watchdog_options options = {.size = sizeof(options), .on_hang = on_hang};
 *   wedge_watchdog_start(&options, &watchdog);
 *
 * Link with -lwedge; it needs libc alone. Functions return 0 or a negative errno, and set their outputs on success only.
 * Unless said otherwise they may be called from any thread, and not in a signal handler. After fork a child has no
 * watchdog: its handle may be stopped, and nothing else.
 */
#ifndef WEDGE_DETECTOR_H
#define WEDGE_DETECTOR_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEDGE_DETECTOR_API __attribute__((visibility("default")))

/* ---- what an examination found ---- */

/* Owned by whoever was given it; belongs to one thread at a time. Its texts live as long as it does. */
struct wedge_result;

/* "lock-cycle", "idle", "running", …: see verdicts.md. Never NULL, like all the texts here. */
WEDGE_DETECTOR_API const char *wedge_result_kind(const struct wedge_result *result);
/* "proved", "evident" or "suspected". */
WEDGE_DETECTOR_API const char *wedge_result_certainty(const struct wedge_result *result);
/* "whole" or "part". */
WEDGE_DETECTOR_API const char *wedge_result_scope(const struct wedge_result *result);
/* One or two sentences naming threads, functions, objects and the cause. */
WEDGE_DETECTOR_API const char *wedge_result_summary(const struct wedge_result *result);
/* The same for the same hang, whatever the addresses and numbers: "sig1:…". */
WEDGE_DETECTOR_API const char *wedge_result_signature(const struct wedge_result *result);
/* The whole report, wedge.report/2. */
WEDGE_DETECTOR_API const char *wedge_result_json(const struct wedge_result *result);
/* 1: the kind is one of a hang or stall; 0: idle, running, finished. */
WEDGE_DETECTOR_API int wedge_result_is_hang(const struct wedge_result *result);
WEDGE_DETECTOR_API void wedge_result_free(struct wedge_result *result); /* takes NULL */

/* ---- one examination ---- */

#define WEDGE_DETECT_STACKS 1u /* with the stack of every thread: each process stands still for about a millisecond */

/*
 * Examines process `pid`, 0 for this one, and its descendants. The calling thread counts as no waker and as not
 * running. Blocks at most about `deadline_ms` (0: 10,000).
 *
 * -ESRCH no such process, -EPERM it may not be looked at, -ETIMEDOUT, -ENOENT the wedge program is not found
 * (wedge_detector_use), -EBADMSG it failed otherwise, -ENOMEM, -EAGAIN no process could be started. `why`, of
 * `why_bytes`, gets a sentence about an error; NULL: not wanted.
 */
WEDGE_DETECTOR_API int wedge_detect(pid_t pid, unsigned flags, int deadline_ms, struct wedge_result **ret, char *why,
                                    size_t why_bytes);

/* The wedge program to use, in the place of the one beside this library; NULL: that one again. Copied. -ENAMETOOLONG.
 * Not while an examination is under way. */
WEDGE_DETECTOR_API int wedge_detector_use(const char *path);

/* ---- a watchdog ---- */

struct wedge_watchdog;

struct wedge_watchdog_options {
    size_t size; /* sizeof(struct wedge_watchdog_options), for later versions */
    unsigned flags; /* WEDGE_DETECT_STACKS */
    int check_ms; /* how often it looks whether anything moves; 0: 1,000. At least 10 */
    /* Without wedge_watchdog_beat: an examination when the program used no processor time between two checks, and the
     * pause after it doubles up to 60 s as long as nothing comes of it; every 30 s where it always moves a little. With it: besides, when there was no beat for this
     * long, and then a hang that cannot be proved is told too ("no-progress"). 0: 30,000. */
    int stall_ms;
    int deadline_ms; /* of an examination; 0: 10,000 */
    /* Called on the watchdog's thread for a hang: of the whole, or of a part, once as long as it is the same one
     * (wedge_result_signature). The result is the watchdog's and ends with the call. May end the process. NULL: use
     * wedge_watchdog_poll. */
    void (*on_hang)(const struct wedge_result *result, void *arg);
    void *arg;
};

/* Starts a watchdog over this process: one thread, named wedge-watchdog, with all signals blocked. `options` is copied.
 * -EINVAL, -ENOMEM, -EAGAIN. */
WEDGE_DETECTOR_API int wedge_watchdog_start(const struct wedge_watchdog_options *options, struct wedge_watchdog **ret);
/* "I have got something done." One relaxed addition: from any thread, and in signal handlers. */
WEDGE_DETECTOR_API void wedge_watchdog_beat(struct wedge_watchdog *watchdog);
/* The last hang that was found since the last call, the caller's from now on; NULL none. Does not block. */
WEDGE_DETECTOR_API struct wedge_result *wedge_watchdog_poll(struct wedge_watchdog *watchdog);
/* Why the last examination failed, "" it did not; the watchdog goes on all the same. Copied into `buf`. */
WEDGE_DETECTOR_API void wedge_watchdog_error(struct wedge_watchdog *watchdog, char *buf, size_t bytes);
/* Ends the thread and frees the handle. Waits for an examination or a callback that is under way. Takes NULL. Not on the
 * watchdog's thread. */
WEDGE_DETECTOR_API void wedge_watchdog_stop(struct wedge_watchdog *watchdog);

#ifdef __cplusplus
}
#endif

#endif
