/* The last output of a command, as lines for a report. */
#ifndef WEDGE_REPORTS_OUTPUT_H
#define WEDGE_REPORTS_OUTPUT_H

#include <jansson.h>

/* An array of the last lines (at most 60) of `tail` (NULL: none), each as a terminal would show it, without escape
 * sequences. NULL: no memory. */
json_t *wedge_output_lines(const char *tail);

#endif
