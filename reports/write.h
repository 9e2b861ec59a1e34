/*
 * Reports into files and onto terminals. One writer a format; each takes the same model (reports/report.h), checked
 * or made by us, and escapes for its medium.
 *
 * Files are safe to write beside hostile users: a file comes into being under a name that did not exist (O_EXCL,
 * O_NOFOLLOW, mode 0600) and is renamed into place, so that a planted link is replaced and never followed, and a reader
 * never sees half a file. Folders are made with mode 0700.
 */
#ifndef WEDGE_REPORTS_WRITE_H
#define WEDGE_REPORTS_WRITE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/uio.h>

#include "base/err.h"
#include "reports/junit.h"

/* Opens a folder for reports, making it and its parents where they are missing. A symbolic link on the way is followed
 * only when root or we ourselves made it. The descriptor is the caller's. -ENOTDIR, -ELOOP (a link of somebody
 * else), -EACCES, … */
int wedge_report_open_dir(const char *dir, int *ret_dirfd, struct wedge_err *err);

/* Puts a file of `len` bytes into the folder, replacing one of that name. */
int wedge_report_save(int dirfd, const char *name, const void *data, size_t len, struct wedge_err *err);
/* The same, of several pieces, one behind the other. */
int wedge_report_save_parts(int dirfd, const char *name, const struct iovec *parts, size_t n, struct wedge_err *err);

/* Takes away what a writer left half written in the folder because it was killed: files of ours under the names they have on their way. Whoever
 * is writing keeps his. */
void wedge_report_clean(int dirfd);

/* The whole model, indented, as `name`. */
int wedge_report_write_json(const json_t *report, int dirfd, const char *name, struct wedge_err *err);

/* One page that needs nothing beside it, as `name`. */
int wedge_report_write_html(const json_t *report, int dirfd, const char *name, struct wedge_err *err);

/* The same in two steps. Begin composes what stands around the model, which takes as long as the model itself. End adds that, as text
 * if the caller has it: where it holds what must not stand in a page, and where it is NULL, it is composed anew. */
struct wedge_page;
int wedge_report_html_begin(const json_t *report, struct wedge_page **ret, struct wedge_err *err);
int wedge_report_html_end(struct wedge_page *page, const char *json, size_t len, int dirfd, const char *name,
                          struct wedge_err *err); /* frees the page */

struct wedge_report_text_options {
    bool color;
    int columns; /* 0: 100; at least 60 */
    bool all_threads; /* those too that have no part in the verdict, and each one's stack */
};
/* For a person at a terminal. `options` may be NULL. -EIO when `out` takes no more. */
int wedge_report_write_text(const json_t *report, FILE *out, const struct wedge_report_text_options *options,
                            struct wedge_err *err);

/* report.json and report.html into `dir`. */
int wedge_report_write_dir(const char *dir, const json_t *report, struct wedge_err *err);

/* result.json into `dir`: wedge.result/1, the headline, the exit status, whether the plan made the run invalid, and which reports stand beside it. */
int wedge_report_write_result(const char *dir, const json_t *report, int exit_status, struct wedge_err *err);

/* All three. Reads nothing back to know that they belong together. `meanwhile`, which may be NULL, is called once in any case, perhaps by
 * another thread and beside the writing: it may read the report. */
int wedge_report_write_all(const char *dir, const json_t *report, int exit_status, void (*meanwhile)(void *arg),
                           void *arg, struct wedge_err *err);

#endif
