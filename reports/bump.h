/*
 * JSON for a process that makes one report and ends: nothing is freed, and what is allocated lies close together. A report has
 * many thousand small parts; to find a place for each, and to give it back, took a seventh of a dump's computing.
 */
#ifndef WEDGE_REPORTS_BUMP_H
#define WEDGE_REPORTS_BUMP_H

/* From here on, in this process and those that it forks. Not for one that makes report after report: memory only grows. JSON
 * that there was before stays good, and is not freed either. */
void wedge_bump_json(void);

/* Called while there is nothing to do but to wait for what the report is made of: memory for a usual one, and for its text, is
 * made present. Without wedge_bump_json nothing. */
void wedge_bump_await(void);

#endif
