/*
 * Names as compilers write them for the linker, turned into what a person wrote. No state.
 */
#ifndef WEDGE_DETECTOR_DEMANGLE_H
#define WEDGE_DETECTOR_DEMANGLE_H

#include <stdbool.h>

/* A name is at most so long, with its NUL; a longer one is cut, and ends with "…". */
#define WEDGE_DEMANGLED_MOST 8192

/* Does it look like a name that C++ or Rust mangled? */
bool wedge_demangle_may(const char *name);

/* `name` in the words of C++ or Rust, and where it is none of theirs as it is, without the version that symbols carry behind an @.
 * The caller frees it; NULL: no memory. Takes bounded time and memory, whatever the name is. */
char *wedge_demangle(const char *name);

#endif
