/* Texts of a report: what comes from a target becomes harmless here, once, and stays so in every writer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "reports/output.h"
#include "reports/report.h"

enum { LONGEST = 16384, LINES = 60, LONGEST_LINE = 1000 };

json_t *wedge_report_string(const char *bytes)
{
    size_t len = strnlen(bytes, LONGEST);
    if (len < LONGEST / 4 && wedge_text_is_plain(bytes, len))
        return json_stringn_nocheck(bytes, len);
    size_t size = 4 * len + 1; /* each byte may become \xNN */
    if (size > LONGEST)
        size = LONGEST;
    char *plain = malloc(size);
    if (!plain)
        return NULL;
    json_t *string = json_string(wedge_text_plain(bytes, plain, size));
    free(plain);
    return string;
}

const char *wedge_report_text(const json_t *report, const char *path)
{
    char part[64];
    const json_t *at = report;
    while (*path) {
        size_t len = strcspn(path, ".");
        if (len >= sizeof(part))
            return "";
        memcpy(part, path, len);
        part[len] = 0;
        at = json_object_get(at, part);
        path += len + (path[len] == '.');
    }
    const char *text = json_string_value(at);
    return text ? text : "";
}

const json_t *wedge_report_stack(const json_t *report, const json_t *thread)
{
    const json_t *number = json_object_get(thread, "stack");
    return json_is_integer(number)
               ? json_array_get(json_object_get(report, "stacks"), (size_t)json_integer_value(number))
               : NULL;
}

const json_t *wedge_report_frame(const json_t *report, const json_t *stack, size_t i)
{
    const json_t *number = json_array_get(stack, i);
    return number ? json_array_get(json_object_get(report, "frames"), (size_t)json_integer_value(number)) : NULL;
}

/* Length of the escape sequence at `s` (ECMA-48: CSI … final, OSC … BEL or ST, two-byte ones), 0 none. */
static size_t escape_length(const char *s, const char *end)
{
    const char *at = s + 2;
    if (end - s < 2 || s[0] != '\033')
        return 0;
    if (s[1] == '[') {
        while (at < end && *at >= 0x20 && *at <= 0x3f)
            at++;
        return at < end && *at >= 0x40 && *at <= 0x7e ? (size_t)(at - s) + 1 : 0;
    }
    if (s[1] == ']') {
        for (; at < end; at++) {
            if (*at == '\a')
                return (size_t)(at - s) + 1;
            if (*at == '\033' && at + 1 < end && at[1] == '\\')
                return (size_t)(at - s) + 2;
        }
        return 0;
    }
    return s[1] >= 0x40 && s[1] <= 0x5f ? 2 : 0;
}

/* One line as a terminal would show it last: after the last carriage return, without colours, tabs as blanks. */
static json_t *output_line(const char *from, const char *end)
{
    struct wedge_text t = WEDGE_TEXT_INIT(LONGEST_LINE);
    if (end > from && end[-1] == '\r')
        end--;
    const char *shown = memrchr(from, '\r', (size_t)(end - from));
    for (const char *at = shown ? shown + 1 : from; at < end && !t.cut;) {
        size_t escape = escape_length(at, end);
        if (escape)
            at += escape;
        else if (*at == '\t')
            at++, wedge_text_add(&t, "    ");
        else
            wedge_text_add_bytes(&t, at++, 1);
    }
    json_t *line = wedge_report_string(t.data ? t.data : "");
    wedge_text_free(&t);
    return line;
}

json_t *wedge_output_lines(const char *tail)
{
    json_t *lines = json_array();
    if (!tail || !*tail || !lines)
        return lines;
    const char *end = tail + strlen(tail);
    end -= end[-1] == '\n';
    const char *from = end;
    for (int n = 1; from > tail && !(from[-1] == '\n' && n++ == LINES);)
        from--;
    for (;;) {
        const char *stop = memchr(from, '\n', (size_t)(end - from));
        if (json_array_append_new(lines, output_line(from, stop ? stop : end))) {
            json_decref(lines);
            return NULL;
        }
        if (!stop)
            return lines;
        from = stop + 1;
    }
}
