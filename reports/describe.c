/* Naming what a report holds in plain words, and telling what looks alike: for the writers that make lines of text. */
#include "reports/describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "reports/report.h"

struct node {
    const char *name;
    const json_t *process, *item; /* a dead process has no process */
    size_t first_edge, last_edge; /* from 1; 0 none */
    UT_hash_handle hh;
};
struct wedge_describe {
    const json_t *report;
    struct node *nodes; /* by name */
    size_t *next; /* after edge i, from 1 */
    char **places; /* by stack: wedge_describe_places; many threads have the same */
    size_t n_places;
};

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

/* A source's path without "x/../", as it is written by who compiles in a folder for what is built. Where x is a link the path as
 * it was written, which stays in the report, leads to the file, and this one does not. */
static const char *fold(const char *file, char *buf, size_t size)
{
    size_t n = 0;
    if (!strstr(file, "/.") || strlen(file) >= size)
        return file;
    for (const char *at = file; *at;) {
        size_t len = strcspn(at, "/"), part = len + (at[len] == '/'), last = n > 0 ? n - 1 : 0;
        bool here = n && (len == 0 || (len == 1 && *at == '.')), up = len == 2 && strncmp(at, "..", 2) == 0;
        while (last > 0 && buf[last - 1] != '/')
            last--;
        if (up && n > 1 && strncmp(buf + last, "../", 3) != 0) {
            n = last;
        } else if (!here) {
            memcpy(buf + n, at, part);
            n += part;
        }
        at += part;
    }
    buf[n] = 0;
    return buf;
}

void wedge_describe_place(const json_t *frame, char *buf, size_t size)
{
    long long line = json_integer_value(json_object_get(frame, "line"));
    const char *function = get(frame, "function"), *file = get(frame, "file");
    char folded[1024];
    if (*function && *file && line)
        snprintf(buf, size, "%s (%s:%lld)", function, fold(file, folded, sizeof(folded)), line);
    else if (*function)
        snprintf(buf, size, "%s", function);
    else
        buf[0] = 0;
}

static const json_t *frame_beyond(const json_t *report, const json_t *stack, size_t nth, bool runtime)
{
    const json_t *frame;
    for (size_t i = 0; (frame = wedge_report_frame(report, stack, i)); i++) {
        if (json_is_true(json_object_get(frame, "libc")) || !*get(frame, "function"))
            continue;
        bool began = strcmp(json_string_value(json_object_get(frame, "function")), "_start") == 0;
        if ((runtime || (!json_is_true(json_object_get(frame, "runtime")) && !began)) && nth-- == 0)
            return frame;
    }
    return NULL;
}

/* The nth frame, from 0, that is the program's own and has a name; where it began (_start) says nothing. A thread that
 * has none but of its language's library shows those. */
static const json_t *own_frame(const json_t *report, const json_t *stack, size_t nth)
{
    return frame_beyond(report, stack, nth, !frame_beyond(report, stack, 0, false));
}

static char *places_of(const json_t *report, const json_t *stack)
{
    char place[512], caller[512], both[1100];
    wedge_describe_place(own_frame(report, stack, 0), place, sizeof(place));
    wedge_describe_place(own_frame(report, stack, 1), caller, sizeof(caller));
    snprintf(both, sizeof(both), "%s%s%s", place, *caller ? ", from " : "", caller);
    return strdup(both);
}

/* Where the program is: the innermost function of its own, and that one's caller. */
const char *wedge_describe_places(const struct wedge_describe *d, const json_t *thread)
{
    const json_t *stack = json_object_get(thread, "stack");
    json_int_t number = json_is_integer(stack) ? json_integer_value(stack) : -1;
    return number >= 0 && number < (json_int_t)d->n_places ? d->places[number] : "";
}

static const char *name_of(const json_t *object, const char *key)
{
    const char *name = json_string_value(json_object_get(object, key));
    return name ? name : "";
}

static struct node *node_of(const struct wedge_describe *d, const char *name)
{
    struct node *node;
    HASH_FIND_STR(d->nodes, name, node);
    return node;
}

static bool add_node(struct wedge_describe *d, const json_t *process, const json_t *item)
{
    const char *name = name_of(item, "node");
    struct node *node = node_of(d, name) ? NULL : calloc(1, sizeof(*node));
    if (!node)
        return node_of(d, name) != NULL;
    node->name = name;
    node->process = process;
    node->item = item;
    HASH_ADD_KEYPTR(hh, d->nodes, node->name, strlen(node->name), node);
    return true;
}

static bool add_nodes(struct wedge_describe *d)
{
    size_t i, j;
    const json_t *process, *item;
    json_array_foreach(json_object_get(d->report, "processes"), i, process)
        json_array_foreach(json_object_get(process, "threads"), j, item)
            if (!add_node(d, process, item))
                return false;
    json_array_foreach(json_object_get(d->report, "dead"), i, item)
        if (!add_node(d, NULL, item))
            return false;
    return true;
}

static bool add_edges(struct wedge_describe *d)
{
    size_t i;
    const json_t *edges = json_object_get(d->report, "edges"), *edge;
    d->next = calloc(json_array_size(edges) + 1, sizeof(*d->next));
    if (!d->next)
        return false;
    json_array_foreach(edges, i, edge) {
        struct node *node = node_of(d, name_of(edge, "from"));
        if (!node)
            continue;
        if (node->last_edge)
            d->next[node->last_edge - 1] = i + 1;
        else
            node->first_edge = i + 1;
        node->last_edge = i + 1;
    }
    return true;
}

static bool add_places(struct wedge_describe *d)
{
    size_t i;
    const json_t *stacks = json_object_get(d->report, "stacks"), *stack;
    d->places = calloc(json_array_size(stacks) + 1, sizeof(*d->places));
    if (!d->places)
        return false;
    json_array_foreach(stacks, i, stack) {
        if (!(d->places[i] = places_of(d->report, stack)))
            return false;
        d->n_places = i + 1;
    }
    return true;
}

struct wedge_describe *wedge_describe_new(const json_t *report)
{
    struct wedge_describe *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->report = report;
    if (add_nodes(d) && add_edges(d) && add_places(d))
        return d;
    wedge_describe_free(d);
    return NULL;
}

void wedge_describe_free(struct wedge_describe *d)
{
    struct node *node, *next;
    if (!d)
        return;
    HASH_ITER(hh, d->nodes, node, next)
    {
        HASH_DEL(d->nodes, node);
        free(node);
    }
    for (size_t i = 0; i < d->n_places; i++)
        free(d->places[i]);
    free(d->places);
    free(d->next);
    free(d);
}

const json_t *wedge_describe_find(const struct wedge_describe *d, const char *node, const json_t **ret_process)
{
    const struct node *found = node_of(d, node);
    *ret_process = found ? found->process : NULL;
    return found ? found->item : NULL;
}

const json_t *wedge_describe_edge(const struct wedge_describe *d, const char *node, size_t *at)
{
    const struct node *from = *at ? NULL : node_of(d, node);
    *at = *at ? d->next[*at - 1] : from ? from->first_edge : 0;
    return *at ? json_array_get(json_object_get(d->report, "edges"), *at - 1) : NULL;
}

void wedge_describe_node(const struct wedge_describe *d, const char *node, char *buf, size_t size)
{
    const json_t *process;
    const json_t *found = wedge_describe_find(d, node, &process);
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

/* Alike threads wait at the same place for things of the same kind; for a lock, for the same one. */
void wedge_describe_thread_look(const struct wedge_describe *d, const json_t *process, const json_t *thread, char *buf,
                                size_t size)
{
    const json_t *wait = json_object_get(thread, "wait");
    const char *class = name_of(wait, "class");
    bool lock = strcmp(class, "mutex") == 0 || strcmp(class, "rwlock") == 0 || strcmp(class, "file-lock") == 0;
    char name[256];
    snprintf(name, sizeof(name), "%s", name_of(thread, "name"));
    without_numbers(name);
    snprintf(buf, size, "%s\n%s\n%s\n%s\n%s\n%s\n%s", name_of(process, "comm"), get(process, "role.name"), name, class,
             name_of(wait, "call"), wedge_describe_places(d, thread), lock ? get(wait, "object.key") : "");
}

/* What an edge looks like: wakers that differ in their numbers alone share a line. */
void wedge_describe_edge_look(const struct wedge_describe *d, const json_t *edge, char *buf, size_t size)
{
    const char *node = get(edge, "to");
    const json_t *process;
    const json_t *found = wedge_describe_find(d, node, &process);
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

void wedge_describe_party_look(const struct wedge_describe *d, const json_t *party, char *buf, size_t size)
{
    const json_t *process, *thread;
    const char *node = name_of(party, "node"), *role = get(party, "role.name");
    if (node[0] == 'd') {
        snprintf(buf, size, "d\n%s\n%s\n%s", role, name_of(party, "how"), name_of(party, "last_point"));
        return;
    }
    thread = wedge_describe_find(d, node, &process);
    snprintf(buf, size, "t\n%s\n%s\n%s\n%s", role, name_of(party, "process"), name_of(party, "call"),
             thread ? wedge_describe_places(d, thread) : "");
}
