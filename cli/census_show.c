/* A census as a table, as lines for a plan, and as wedge.census/1. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/census.h"
#include "cli/list.h"
#include "faults/plan.h"

static const char *const made_words[] = {
    [WEDGE_MADE_ANY] = "descriptor",    [WEDGE_MADE_PIPE] = "pipe",       [WEDGE_MADE_SOCKET] = "socket",
    [WEDGE_MADE_FILE] = "file",         [WEDGE_MADE_EVENTFD] = "eventfd", [WEDGE_MADE_TIMERFD] = "timerfd",
    [WEDGE_MADE_SIGNALFD] = "signalfd", [WEDGE_MADE_EPOLL] = "epoll",     [WEDGE_MADE_MQUEUE] = "mqueue",
};
static const char *const kind_words[] = {"function", "point", "start", "exit"};

static const char *object_word(const struct wedge_census_place *place)
{
    if (place->kind == WEDGE_OBJECT_FD && place->made < sizeof(made_words) / sizeof(made_words[0]))
        return made_words[place->made];
    return place->kind == WEDGE_OBJECT_NONE || place->kind >= WEDGE_OBJECT_COUNT ? "-"
                                                                                 : wedge_plan_kind_word(place->kind);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "module!function+0x1c (file.c:12)", what is known of it; "-" nothing. */
static const char *site_text(const struct wedge_census_site *site, char *buf, size_t size)
{
    char text[640], line[300] = "";
    if (!*site->module)
        return "-";
    if (*site->file)
        snprintf(line, sizeof(line), " (%s:%d)", last_part(site->file), site->line);
    if (*site->function)
        snprintf(text, sizeof(text), "%s!%s+0x%" PRIx64 "%s", last_part(site->module), site->function, site->into,
                 line);
    else
        snprintf(text, sizeof(text), "%s+0x%" PRIx64 "%s", last_part(site->module), site->offset, line);
    return wedge_text_plain(text, buf, size);
}

void wedge_census_print(const struct wedge_census *census, FILE *out)
{
    char from[1300], maker[1300], role[128], name[256];
    bool shown[WEDGE_FN_COUNT] = {false};
    fprintf(out, "%10s  %-24s %-12s %-10s %-48s %s\n", "COUNT", "WHAT", "ROLE", "OBJECT", "CALLED FROM",
            "OBJECT MADE BY");
    for (size_t i = 0; i < census->n; i++) {
        const struct wedge_census_place *p = &census->places[i];
        fprintf(
            out, "%10" PRIu64 "  %-24s %-12s %-10s %-48s %s\n", p->count, wedge_text_plain(p->name, name, sizeof(name)),
            *p->role ? wedge_text_plain(p->role, role, sizeof(role)) : "-", object_word(p),
            site_text(&p->from, from, sizeof(from)), p->made_known ? site_text(&p->maker, maker, sizeof(maker)) : "-");
        if (p->what == WEDGE_CENSUS_IS_FUNCTION)
            shown[p->function] = true;
    }
    fputs("\nFaults that these functions can be given beside kill, exit, stop, delay, block, yield, which are "
          "environmental:\n",
          out);
    for (unsigned f = 0; f < WEDGE_FN_COUNT; f++)
        if (shown[f])
            wedge_cli_function_say((enum wedge_function)f, out);
}

static bool is_plain_word(const char *word)
{
    return *word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+@") == strlen(word);
}

/* A fault that a correct program withstands where there is one, else a stall. */
static void print_action(const struct wedge_census_place *place, FILE *out)
{
    const struct wedge_function_row *row =
        place->what == WEDGE_CENSUS_IS_FUNCTION ? &wedge_functions[place->function] : NULL;
    /* Which errnos a raw system call may give depends on which it is: those of the table are for a futex's wait. */
    if (row && place->function != WEDGE_FN_syscall && row->errnos[0] &&
        wedge_plan_allows(place->function, WEDGE_ACT_ERRNO))
        fprintf(out, " -> errno %s", strerrorname_np(row->errnos[0]));
    else if (row && place->function != WEDGE_FN_syscall && wedge_plan_allows(place->function, WEDGE_ACT_SPURIOUS))
        fputs(" -> spurious", out);
    else
        fputs(" -> delay 100ms", out);
}

void wedge_census_print_plan(const struct wedge_census *census, FILE *out)
{
    char from[1300], name[256];
    fputs("plan 1\n", out);
    for (size_t i = 0; i < census->n; i++) {
        const struct wedge_census_place *p = &census->places[i];
        bool is_function = p->what == WEDGE_CENSUS_IS_FUNCTION;
        fprintf(out, "\n# %" PRIu64 " times, from %s\n", p->count, site_text(&p->from, from, sizeof(from)));
        if (i == WEDGE_ARENA_RULES)
            fprintf(out, "# A plan has at most %u rules: those from here on are to be chosen.\n", WEDGE_ARENA_RULES);
        fprintf(out, "%sc%zu %s%s %s%s", i < WEDGE_ARENA_RULES ? "" : "# ", i + 1,
                is_plain_word(p->role) ? p->role : "*", is_plain_word(p->role) ? "[*]" : "",
                p->what == WEDGE_CENSUS_IS_POINT && !strchr(p->name, '.') ? "point:" : "",
                wedge_text_plain(p->name, name, sizeof(name)));
        if (is_function && is_plain_word(last_part(p->from.module)) && is_plain_word(p->from.function) &&
            strlen(last_part(p->from.module)) < 40 && strlen(p->from.function) < 56)
            fprintf(out, " caller=%s!%s", last_part(p->from.module), p->from.function);
        fputs(" nth=1", out);
        print_action(p, out);
        fputc('\n', out);
    }
}

static json_t *text_json(const char *text)
{
    char buf[1300];
    return json_string(wedge_text_plain(text, buf, sizeof(buf)));
}

static json_t *site_json(const struct wedge_census_site *site)
{
    if (!*site->module)
        return json_null();
    json_t *line = site->line ? json_integer(site->line) : json_null();
    return json_pack("{s:o,s:I,s:o,s:o,s:o}", "module", text_json(site->module), "offset", (json_int_t)site->offset,
                     "function", *site->function ? text_json(site->function) : json_null(), "file",
                     *site->file ? text_json(site->file) : json_null(), "line", line);
}

static json_t *faults_json(const struct wedge_census_place *place, enum wedge_legality class)
{
    json_t *list = json_array();
    if (place->what != WEDGE_CENSUS_IS_FUNCTION)
        return list;
    for (int a = 0; wedge_plan_actions[a]; a++) {
        enum wedge_rule_action action = (enum wedge_rule_action)a;
        if (action == WEDGE_ACT_ERRNO || !wedge_plan_allows(place->function, action) ||
            wedge_plan_legality(place->function, action, 0) != class)
            continue;
        json_array_append_new(list, json_string(wedge_plan_actions[a]));
    }
    const int *errnos = wedge_functions[place->function].errnos;
    for (; class == WEDGE_LEGAL && *errnos && wedge_plan_allows(place->function, WEDGE_ACT_ERRNO); errnos++) {
        char text[32];
        snprintf(text, sizeof(text), "errno %s", strerrorname_np(*errnos));
        json_array_append_new(list, json_string(text));
    }
    return list;
}

json_t *wedge_census_json(const struct wedge_census *census)
{
    json_t *places = json_array();
    for (size_t i = 0; i < census->n; i++) {
        const struct wedge_census_place *p = &census->places[i];
        json_array_append_new(
            places,
            json_pack("{s:s,s:o,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "kind", kind_words[p->what], "what",
                      text_json(p->name), "count", (json_int_t)p->count, "role",
                      *p->role ? text_json(p->role) : json_null(), "from", site_json(&p->from), "object",
                      strcmp(object_word(p), "-") ? json_string(object_word(p)) : json_null(), "made_by",
                      p->made_known ? site_json(&p->maker) : json_null(), "legal", faults_json(p, WEDGE_LEGAL),
                      "environmental", faults_json(p, WEDGE_ENVIRONMENTAL), "illegal", faults_json(p, WEDGE_ILLEGAL)));
    }
    return json_pack("{s:s,s:o,s:I,s:I,s:I,s:I}", "format", "wedge.census/1", "places", places, "lost",
                     (json_int_t)census->lost, "lost_objects", (json_int_t)census->lost_objects, "lost_processes",
                     (json_int_t)census->lost_processes, "lost_threads", (json_int_t)census->lost_threads);
}
