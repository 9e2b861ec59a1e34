/*
 * libwedge's inside: one examination, asked of the wedge program.
 *
 *   this process ──clone──> outer (shares memory; no SIGCHLD, not seen by wait) ──clone──> wedge dump --for-library
 *        │                     │ exits at once: the program is nobody's child here
 *        └──pipe: "go"─────────┼──────────────────────────────────────────────────────────> reads to the end, examines
 *        <──pipe: header, report ──────────────────────────────────────────────────────────┘
 */
#ifndef WEDGE_DETECTOR_LIBRARY_ASK_H
#define WEDGE_DETECTOR_LIBRARY_ASK_H

#include <wedge/detector.h>

struct wedge_ask {
    pid_t pid; /* 0: this process */
    pid_t blind; /* a thread that counts as nobody */
    unsigned flags;
    int deadline_ms;
    int stalled_ms; /* how long nothing was done; 0: not known */
};

int wedge_library_ask(const struct wedge_ask *ask, struct wedge_result **ret, char *why, size_t why_bytes);

#endif
