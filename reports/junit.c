/*
 * JUnit with libxml2's writer. All cases are kept and the whole file is written anew, because a testsuite states its
 * counts at its head; what stands on disk is always complete.
 */
#include "reports/junit.h"

#include <errno.h>
#include <libxml/xmlwriter.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "reports/write.h"

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
    int64_t written_ns; /* when the file was written last; 0 never */
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

/* Each step returns false once something failed; nothing is written after that. */
static bool attribute(xmlTextWriter *w, const char *name, const char *value)
{
    return xmlTextWriterWriteAttribute(w, BAD_CAST name, BAD_CAST value) >= 0;
}

static bool number(xmlTextWriter *w, const char *name, size_t value)
{
    return xmlTextWriterWriteFormatAttribute(w, BAD_CAST name, "%zu", value) >= 0;
}

static bool outcome(xmlTextWriter *w, const struct kept *c)
{
    static const char *const elements[] = {
        [WEDGE_JUNIT_FAILED] = "failure", [WEDGE_JUNIT_ERROR] = "error", [WEDGE_JUNIT_SKIPPED] = "skipped"};
    if (c->status == WEDGE_JUNIT_PASSED) {
        if (!*c->message && !*c->details)
            return true;
        return xmlTextWriterStartElement(w, BAD_CAST "system-out") >= 0 &&
               xmlTextWriterWriteString(w, BAD_CAST c->message) >= 0 &&
               (!*c->details || (xmlTextWriterWriteString(w, BAD_CAST "\n") >= 0 &&
                                 xmlTextWriterWriteString(w, BAD_CAST c->details) >= 0)) &&
               xmlTextWriterEndElement(w) >= 0;
    }
    bool good = xmlTextWriterStartElement(w, BAD_CAST elements[c->status]) >= 0 && attribute(w, "message", c->message);
    if (good && c->status != WEDGE_JUNIT_SKIPPED)
        good = attribute(w, "type", c->status == WEDGE_JUNIT_FAILED ? "unexpected" : "could-not-play");
    return good && (!*c->details || xmlTextWriterWriteString(w, BAD_CAST c->details) >= 0) &&
           xmlTextWriterEndElement(w) >= 0;
}

static bool testcase(xmlTextWriter *w, const struct kept *c)
{
    return xmlTextWriterStartElement(w, BAD_CAST "testcase") >= 0 && attribute(w, "name", c->name) &&
           attribute(w, "classname", c->classname) &&
           xmlTextWriterWriteFormatAttribute(w, BAD_CAST "time", "%.3f", c->seconds) >= 0 && outcome(w, c) &&
           xmlTextWriterEndElement(w) >= 0;
}

static bool testsuite(xmlTextWriter *w, const struct wedge_junit *j)
{
    double seconds = 0;
    for (size_t i = 0; i < j->n; i++)
        seconds += j->cases[i].seconds;
    bool good = xmlTextWriterSetIndent(w, 1) >= 0 && xmlTextWriterStartDocument(w, NULL, "UTF-8", NULL) >= 0 &&
                xmlTextWriterStartElement(w, BAD_CAST "testsuite") >= 0 && attribute(w, "name", j->suite) &&
                number(w, "tests", j->n) && number(w, "failures", count(j, WEDGE_JUNIT_FAILED)) &&
                number(w, "errors", count(j, WEDGE_JUNIT_ERROR)) &&
                number(w, "skipped", count(j, WEDGE_JUNIT_SKIPPED)) &&
                xmlTextWriterWriteFormatAttribute(w, BAD_CAST "time", "%.3f", seconds) >= 0;
    for (size_t i = 0; good && i < j->n; i++)
        good = testcase(w, &j->cases[i]);
    return good && xmlTextWriterEndDocument(w) >= 0;
}

static int write_file(struct wedge_junit *j, struct wedge_err *err)
{
    xmlBuffer *buffer = xmlBufferCreate();
    xmlTextWriter *w = buffer ? xmlNewTextWriterMemory(buffer, 0) : NULL;
    bool good = w && testsuite(w, j);
    if (w)
        xmlFreeTextWriter(w); /* flushes into the buffer */
    int rc =
        good ? wedge_report_save(j->dirfd, "junit.xml", xmlBufferContent(buffer), (size_t)xmlBufferLength(buffer), err)
             : wedge_err_set(err, -ENOMEM, "no memory for junit.xml");
    if (buffer)
        xmlBufferFree(buffer);
    j->written_ns = wedge_clock_ns();
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
        rc = write_file(j, err);
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
    return wedge_clock_ns() - j->written_ns >= WEDGE_NS_PER_S ? write_file(j, err) : 0;
}

int wedge_junit_close(struct wedge_junit *junit, struct wedge_err *err)
{
    if (!junit)
        return 0;
    int rc = write_file(junit, err);
    dispose(junit);
    return rc;
}
