/* Naming what a report holds in plain words, and telling what looks alike: for the writers that make lines of text. */
#include "reports/describe.h"

#include <stdio.h>
#include <string.h>

#include "reports/report.h"

static const char *get(const json_t *object, const char *path)
{
    return wedge_report_text(object, path);
}

/* "worker[2]", or the name of the process. */
void wedge_describe_who(const json_t *role, const char *otherwise, char *buf, size_t size)
{
    if (json_is_object(role))
        snprintf(buf, size, "%s[%lld]", get(role, "name"), json_integer_value(json_object_get(role, "index")));
    else
        snprintf(buf, size, "%s", otherwise);
}

/* "worker[2], feeder": the process alone where that says it all. The first thread has no name of its own. */
static void thread_text(const json_t *process, const json_t *thread, char *buf, size_t size)
{
    const char *name = get(thread, "name");
    bool first = json_equal(json_object_get(thread, "tid"), json_object_get(process, "pid"));
    wedge_describe_who(json_object_get(process, "role"), get(process, "comm"), buf, size);
    if (json_array_size(json_object_get(process, "threads")) == 1)
        return;
    size_t len = strlen(buf);
    if (first && strcmp(name, get(process, "comm")) == 0)
        snprintf(buf + len, size - len, ", main thread");
    else if (strcmp(name, buf) != 0)
        snprintf(buf + len, size - len, ", %s", name);
}

void wedge_describe_place(const json_t *frame, char *buf, size_t size)
{
    long long line = json_integer_value(json_object_get(frame, "line"));
    const char *function = get(frame, "function"), *file = get(frame, "file");
    if (*function && *file && line)
        snprintf(buf, size, "%s (%s:%lld)", function, file, line);
    else if (*function)
        snprintf(buf, size, "%s", function);
    else
        buf[0] = 0;
}

/* The nth frame, from 0, that is the program's own and has a name; where it began (_start) says nothing. */
static const json_t *own_frame(const json_t *thread, size_t nth)
{
    size_t i;
    const json_t *frame;
    json_array_foreach(json_object_get(thread, "frames"), i, frame)
        if (!json_is_true(json_object_get(frame, "libc")) && *get(frame, "function") && nth-- == 0)
            return frame;
    return NULL;
}

/* Where the program is: the innermost function of its own, and that one's caller. */
void wedge_describe_places(const json_t *thread, char *buf, size_t size)
{
    char caller[512];
    wedge_describe_place(own_frame(thread, 0), buf, size);
    wedge_describe_place(own_frame(thread, 1), caller, sizeof(caller));
    size_t len = strlen(buf);
    if (*caller)
        snprintf(buf + len, size - len, ", from %s", caller);
}

/* Finds the thread or dead process that a node names. */
const json_t *wedge_describe_find(const json_t *report, const char *node, const json_t **ret_process)
{
    size_t i, j;
    const json_t *process, *item;
    *ret_process = NULL;
    json_array_foreach(json_object_get(report, "processes"), i, process)
        json_array_foreach(json_object_get(process, "threads"), j, item)
            if (strcmp(get(item, "node"), node) == 0) {
                *ret_process = process;
                return item;
            }
    json_array_foreach(json_object_get(report, "dead"), i, item)
        if (strcmp(get(item, "node"), node) == 0)
            return item;
    return NULL;
}

void wedge_describe_node(const json_t *report, const char *node, char *buf, size_t size)
{
    const json_t *process;
    const json_t *found = wedge_describe_find(report, node, &process);
    char who[256];
    if (strncmp(node, "r:", 2) == 0) {
        snprintf(buf, size, "rule %s of the plan", node + 2);
    } else if (!found) {
        snprintf(buf, size, "%s", node[0] == 'o' ? "the outside" : node);
    } else if (!process) {
        wedge_describe_who(json_object_get(found, "role"), "process", who, sizeof(who));
        snprintf(buf, size, "%s (pid %s, %s)", who, node + 1, get(found, "how"));
    } else {
        thread_text(process, found, who, sizeof(who));
        snprintf(buf, size, "%s (thread %s)", who, node + 1);
    }
}

static bool same_text(const json_t *a, const json_t *b, const char *path)
{
    return strcmp(get(a, path), get(b, path)) == 0;
}

/* Do the names differ in their numbers alone? */
static bool same_name(const char *a, const char *b)
{
    for (;;) {
        size_t na = strspn(a, "0123456789"), nb = strspn(b, "0123456789");
        a += na;
        b += nb;
        if ((na > 0) != (nb > 0) || *a != *b)
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

/* Alike threads wait at the same place for things of the same kind; for a lock, for the same one. */
bool wedge_describe_same_thread(const json_t *process_a, const json_t *a, const json_t *process_b, const json_t *b)
{
    const char *class = get(a, "wait.class");
    bool lock = strcmp(class, "mutex") == 0 || strcmp(class, "rwlock") == 0 || strcmp(class, "file-lock") == 0;
    char place_a[1100], place_b[1100];
    wedge_describe_places(a, place_a, sizeof(place_a));
    wedge_describe_places(b, place_b, sizeof(place_b));
    return same_text(process_a, process_b, "comm") && same_text(process_a, process_b, "role.name") &&
           same_name(get(a, "name"), get(b, "name")) && same_text(a, b, "wait.class") && same_text(a, b, "wait.call") &&
           strcmp(place_a, place_b) == 0 && (!lock || same_text(a, b, "wait.object.key"));
}

/* Digits to '#', so that names that differ in their numbers alone become equal. */
static void without_numbers(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++)
        if (*from < '0' || *from > '9')
            *to++ = *from;
        else if (to == text || to[-1] != '#')
            *to++ = '#';
    *to = 0;
}

/* What an edge looks like: wakers that differ in their numbers alone share a line. */
void wedge_describe_edge_look(const json_t *report, const json_t *edge, char *buf, size_t size)
{
    const char *node = get(edge, "to");
    const json_t *process;
    const json_t *found = wedge_describe_find(report, node, &process);
    const char *role = get(process ? process : found, "role.name");
    if (process)
        snprintf(buf, size, "t %s %s %s %s", role, get(process, "comm"), get(found, "name"), get(edge, "why"));
    else if (found)
        snprintf(buf, size, "d %s %s %s", role, get(found, "how"), get(edge, "why"));
    else
        snprintf(buf, size, "%s %s", node, get(edge, "why"));
    if (found)
        without_numbers(buf);
}

/* Is every stuck thread a culprit, and nobody else one? Then to call them the cause says nothing. */
bool wedge_describe_is_everyone(const json_t *report)
{
    const json_t *culprits = json_object_get(json_object_get(report, "verdict"), "culprits"), *party;
    size_t i;
    json_array_foreach(culprits, i, party)
        if (get(party, "node")[0] == 'd')
            return false;
    return json_array_size(culprits) > 1 &&
           (long long)json_array_size(culprits) >=
               json_integer_value(json_object_get(json_object_get(report, "metrics"), "stuck_threads"));
}

bool wedge_describe_same_party(const json_t *report, const json_t *a, const json_t *b)
{
    const json_t *process;
    char place_a[1100], place_b[1100];
    if (get(a, "node")[0] != get(b, "node")[0] || strcmp(get(a, "role.name"), get(b, "role.name")) != 0)
        return false;
    if (get(a, "node")[0] == 'd')
        return strcmp(get(a, "how"), get(b, "how")) == 0 && strcmp(get(a, "last_point"), get(b, "last_point")) == 0;
    wedge_describe_places(wedge_describe_find(report, get(a, "node"), &process), place_a, sizeof(place_a));
    wedge_describe_places(wedge_describe_find(report, get(b, "node"), &process), place_b, sizeof(place_b));
    return strcmp(get(a, "process"), get(b, "process")) == 0 && strcmp(get(a, "call"), get(b, "call")) == 0 &&
           strcmp(place_a, place_b) == 0;
}
