/*
 * A program that calls every function of the tables once, in circumstances in which it succeeds at once, and tells
 * what came back. One CALL per function; the table of them is what the linker collects.
 *
 * Only the call itself is made on a thread named "probe", so that a rule with `thread=probe` hits it and nothing of
 * what surrounds it.
 */
#ifndef WEDGE_FAULTS_TESTS_TARGET_FUNCTIONS_H
#define WEDGE_FAULTS_TESTS_TARGET_FUNCTIONS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

struct probe {
    const char *name;
    void (*call)(void);
};
/* The array is of pointers: objects of a section of their own would be padded apart. */
#define CALL(name)                                                                                                     \
    static void call_##name(void);                                                                                     \
    static const struct probe entry_##name = {#name, call_##name};                                                     \
    static const struct probe *const entry_of_##name __attribute__((section("wedge_probes"), used)) = &entry_##name;   \
    static void call_##name(void)

void probe_begin(void); /* this thread is called "probe" from here on, and errno is 0 */
void probe_end(void);
/* What the call gave, and errno; `text` is what it brought along. */
void probe_tell(long result, int error, const char *text);
/* As above for what differs from run to run (a descriptor, an address): "some" unless it is 0 or -1. */
void probe_tell_some(long result, int error, const char *text);

#define PROBE(call)                                                                                                    \
    ({                                                                                                                 \
        probe_begin();                                                                                                 \
        long result_ = (long)(call);                                                                                   \
        int error_ = errno;                                                                                            \
        probe_end();                                                                                                   \
        errno = error_;                                                                                                \
        result_;                                                                                                       \
    })
#define TELL(call, text)                                                                                               \
    do {                                                                                                               \
        long told_ = PROBE(call);                                                                                      \
        int told_error_ = errno;                                                                                       \
        probe_tell(told_, told_error_, text);                                                                          \
    } while (0)
#define TELL_VOID(call, text) TELL(((call), 0), text)

bool probe_never_waits(void); /* what the calls are about is non-blocking, and deadlines are past */
bool probe_is_raw(void); /* results may be any number: an address is not one */
void probe_old_versions(void);
int probe_file(const char *text); /* a file that holds `text`, at its begin */
struct probe_pipe {
    int in, out; /* to read from, to write to */
};
struct probe_pipe probe_pipe(const char *text); /* with `text` in it */
struct probe_pipe probe_sockets(const char *text);
void probe_close(struct probe_pipe pipe);
const char *probe_text(int fd); /* what can be read from it now */

#endif
