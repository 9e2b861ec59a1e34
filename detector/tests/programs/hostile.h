/* What the parts of wedge-hostile (hostile.c) share. */
#ifndef WEDGE_DETECTOR_TESTS_HOSTILE_H
#define WEDGE_DETECTOR_TESTS_HOSTILE_H

#include <sys/types.h>

_Noreturn void hostile_die(const char *what);
void hostile_ready(void);
_Noreturn void hostile_stay(void); /* says ready and sleeps for ever */
pid_t hostile_child(void); /* fork; the child dies with its parent */

/* Code from a file system whose server has stopped to answer (hostile_fuse.c). Root alone. */
void hostile_fuse_text(void);
void hostile_fuse_hang(void);
void hostile_fuse_locked(void);

#endif
