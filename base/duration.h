/* Durations as people write them: 500ms, 30s, 2min, 1h. */
#ifndef WEDGE_BASE_DURATION_H
#define WEDGE_BASE_DURATION_H

#include <stddef.h>
#include <stdint.h>

/* Parses a decimal number with a unit (ns, us, ms, s, min, h; a bare 0 is allowed) into nanoseconds. -EINVAL for
 * anything else, -ERANGE past about 292 years or below zero. */
int wedge_duration_parse(const char *text, int64_t *ret_ns);
/* "340 ms", "1.20 s", "3 min 5 s". Returns buf. */
char *wedge_duration_text(int64_t ns, char *buf, size_t size);

#endif
