/*
 * A function's name for a sentence: what it is called, without what a debugger needs to tell overloads apart. No state.
 */
#ifndef WEDGE_DETECTOR_SHORT_NAME_H
#define WEDGE_DETECTOR_SHORT_NAME_H

#include <stddef.h>

/* `name`, as demangled, without its parameters, its return type, [clone …] and long template arguments, and with "()" at its
 * end: "ns::Pool<…>::take()". Any text is taken; what is not understood stays. At most `size` bytes with the NUL; cut
 * with "…" where it is longer. */
void wedge_short_name(const char *name, char *buf, size_t size);

#endif
