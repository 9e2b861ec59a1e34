/*
 * JUnit. All cases are kept and the whole file is written anew with each, because a testsuite states its counts at its
 * head, and a runner that is killed must not have kept a result to itself. Ten thousand cases are some 3 MiB, a few
 * milliseconds beside a case's own.
 */
#include "reports/junit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "reports/write.h"

enum { MOST_BYTES = 256 << 20 };
static const char unfinished[] = "the run has not come to its end: it goes on, or was killed";

struct kept {
    char *name, *classname, *message, *details;
    double seconds;
    enum wedge_junit_status status;
};

struct wedge_junit {
    int dirfd;
    char *suite;
    struct kept *cases;
    size_t n, room;
};

/* XML 1.0 has no control characters, not even escaped: they become \xNN. Nor has it U+FFFE and U+FFFF: these become
 * U+FFFD. Lines are kept. */
static char *plain_copy(const char *text)
{
    size_t size = text ? 4 * strlen(text) + 1 : 1;
    char *copy = malloc(size), *at = copy;
    if (!copy)
        return NULL;
    *at = 0;
    for (const char *line = text; line && *line;) {
        size_t len = strcspn(line, "\n");
        char *one = strndup(line, len);
        if (!one) {
            free(copy);
            return NULL;
        }
        for (char *c = one; (c = strstr(c, "\xef\xbf")); c += 2)
            if (c[2] == '\xbe' || c[2] == '\xbf')
                c[2] = '\xbd';
        wedge_text_plain(one, at, size - (size_t)(at - copy));
        free(one);
        at += strlen(at);
        if (line[len]) {
            *at++ = '\n';
            *at = 0;
            len++;
        }
        line += len;
    }
    return copy;
}

static void forget(struct kept *c)
{
    free(c->name);
    free(c->classname);
    free(c->message);
    free(c->details);
}

static size_t count(const struct wedge_junit *j, enum wedge_junit_status status)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++)
        n += j->cases[i].status == status;
    return n;
}

/* Escaped for XML, inside an attribute or between tags; texts have no control characters but line ends left. */
static void put_text(struct wedge_text *out, const char *text, bool attribute)
{
    for (size_t len; *text; text += len) {
        len = strcspn(text, attribute ? "<>&\"\r\n\t" : "<>&\"\r");
        wedge_text_add_bytes(out, text, len);
        if (!text[len])
            break;
        switch (text[len]) {
        case '<':
            wedge_text_add(out, "&lt;");
            break;
        case '>':
            wedge_text_add(out, "&gt;");
            break;
        case '&':
            wedge_text_add(out, "&amp;");
            break;
        case '"':
            wedge_text_add(out, "&quot;");
            break;
        default:
            wedge_text_addf(out, "&#%d;", text[len]);
        }
        len++;
    }
}

static void put_attribute(struct wedge_text *out, const char *name, const char *value)
{
    wedge_text_addf(out, " %s=\"", name);
    put_text(out, value, true);
    wedge_text_add(out, "\"");
}

/* What stands inside a case that is not simply passed. */
static void put_outcome(struct wedge_text *out, const struct kept *c)
{
    static const char *const elements[] = {[WEDGE_JUNIT_PASSED] = "system-out",
                                           [WEDGE_JUNIT_FAILED] = "failure",
                                           [WEDGE_JUNIT_ERROR] = "error",
                                           [WEDGE_JUNIT_SKIPPED] = "skipped"};
    bool passed = c->status == WEDGE_JUNIT_PASSED;
    wedge_text_addf(out, "  <%s", elements[c->status]);
    if (!passed)
        put_attribute(out, "message", c->message);
    if (c->status == WEDGE_JUNIT_FAILED || c->status == WEDGE_JUNIT_ERROR)
        put_attribute(out, "type", c->status == WEDGE_JUNIT_FAILED ? "unexpected" : "could-not-play");
    if (!passed && !*c->details) {
        wedge_text_add(out, "/>\n");
        return;
    }
    wedge_text_add(out, ">");
    if (passed) {
        put_text(out, c->message, false);
        wedge_text_add(out, *c->details ? "\n" : "");
    }
    put_text(out, c->details, false);
    wedge_text_addf(out, "</%s>\n", elements[c->status]);
}

static void put_case(struct wedge_text *out, const struct kept *c)
{
    wedge_text_add(out, " <testcase");
    put_attribute(out, "name", c->name);
    put_attribute(out, "classname", c->classname);
    wedge_text_addf(out, " time=\"%.3f\"", c->seconds);
    if (c->status == WEDGE_JUNIT_PASSED && !*c->message && !*c->details) {
        wedge_text_add(out, "/>\n");
        return;
    }
    wedge_text_add(out, ">\n");
    put_outcome(out, c);
    wedge_text_add(out, " </testcase>\n");
}

/* `missing`: what is told by a last case, an error; NULL nothing. */
static int write_file(struct wedge_junit *j, const char *missing, struct wedge_err *err)
{
    struct wedge_text out = WEDGE_TEXT_INIT(MOST_BYTES);
    double seconds = 0;
    struct kept last = {.name = (char[]){"the rest of the run"},
                        .classname = j->suite,
                        .message = missing ? plain_copy(missing) : NULL,
                        .details = (char[]){""},
                        .status = WEDGE_JUNIT_ERROR};
    size_t n = j->n + (last.message ? 1 : 0);
    for (size_t i = 0; i < j->n; i++)
        seconds += j->cases[i].seconds;
    wedge_text_add(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite");
    put_attribute(&out, "name", j->suite);
    wedge_text_addf(&out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%.3f\"", n,
                    count(j, WEDGE_JUNIT_FAILED), count(j, WEDGE_JUNIT_ERROR) + (n - j->n),
                    count(j, WEDGE_JUNIT_SKIPPED), seconds);
    wedge_text_add(&out, n ? ">\n" : "/>\n");
    for (size_t i = 0; i < j->n; i++)
        put_case(&out, &j->cases[i]);
    if (last.message)
        put_case(&out, &last);
    free(last.message);
    wedge_text_add(&out, n ? "</testsuite>\n" : "");
    int rc = out.cut ? wedge_err_set(err, -ENOMEM, "no memory for junit.xml")
                     : wedge_report_save(j->dirfd, "junit.xml", out.data, out.len, err);
    wedge_text_free(&out);
    return rc;
}

static void dispose(struct wedge_junit *j)
{
    for (size_t i = 0; i < j->n; i++)
        forget(&j->cases[i]);
    free(j->cases);
    free(j->suite);
    if (j->dirfd >= 0)
        close(j->dirfd);
    free(j);
}

int wedge_junit_open(const char *dir, const char *suite, struct wedge_junit **ret, struct wedge_err *err)
{
    struct wedge_junit *j = calloc(1, sizeof(*j));
    if (!j)
        return wedge_err_set(err, -ENOMEM, "no memory for junit.xml");
    j->dirfd = -1;
    j->suite = plain_copy(suite);
    int rc = j->suite ? wedge_report_open_dir(dir, &j->dirfd, err) : wedge_err_set(err, -ENOMEM, "no memory");
    if (!rc)
        rc = write_file(j, unfinished, err);
    if (rc) {
        dispose(j);
        return rc;
    }
    *ret = j;
    return 0;
}

int wedge_junit_add(struct wedge_junit *j, const struct wedge_junit_case *result, struct wedge_err *err)
{
    if (j->n == j->room) {
        size_t room = j->room ? 2 * j->room : 16;
        struct kept *more = reallocarray(j->cases, room, sizeof(*more));
        if (!more)
            return wedge_err_set(err, -ENOMEM, "no memory for junit.xml");
        j->cases = more;
        j->room = room;
    }
    struct kept c = {.name = plain_copy(result->name),
                     .classname = plain_copy(result->classname),
                     .message = plain_copy(result->message),
                     .details = plain_copy(result->details),
                     .seconds = result->seconds,
                     .status = result->status};
    if (!c.name || !c.classname || !c.message || !c.details) {
        forget(&c);
        return wedge_err_set(err, -ENOMEM, "no memory for junit.xml");
    }
    j->cases[j->n++] = c;
    return write_file(j, unfinished, err);
}

int wedge_junit_close(struct wedge_junit *junit, const char *missing, struct wedge_err *err)
{
    if (!junit)
        return 0;
    int rc = write_file(junit, missing, err);
    dispose(junit);
    return rc;
}
