/* wedge list: the functions that plans may name, and which faults are legal, environmental or illegal at them. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/list.h"
#include "faults/functions.h"
#include "faults/plan.h"

/* Actions that every function allows say nothing about one; nor do errno and return, whose legality is their argument's. */
static bool is_special(enum wedge_rule_action action)
{
    if (action == WEDGE_ACT_ERRNO || action == WEDGE_ACT_RETURN)
        return false;
    for (size_t f = 0; f < WEDGE_FN_COUNT; f++)
        if (!wedge_plan_allows((enum wedge_function)f, action))
            return true;
    return false;
}

/* Are two functions of a family alike in all that is shown? */
static bool is_alike(const struct wedge_function_row *a, const struct wedge_function_row *b)
{
    size_t i = 0;
    if (strcmp(a->family, b->family) != 0 || a->extra != b->extra)
        return false;
    while (a->errnos[i] && a->errnos[i] == b->errnos[i])
        i++;
    return a->errnos[i] == b->errnos[i];
}

/* Words under "legal:", "environmental:", "illegal:"; nothing where there are none. */
static void say_class(enum wedge_function function, enum wedge_legality class, FILE *out)
{
    const struct wedge_function_row *row = &wedge_functions[function];
    bool begun = false;
    if (class == WEDGE_LEGAL)
        for (const int *e = row->errnos; *e; e++) {
            fprintf(out, "%s %s", begun ? "" : "      legal: errno", strerrorname_np(*e));
            begun = true;
        }
    for (int a = 0; wedge_plan_actions[a]; a++) {
        enum wedge_rule_action action = (enum wedge_rule_action)a;
        if (!is_special(action) || !wedge_plan_allows(function, action) ||
            wedge_plan_legality(function, action, 0) != class)
            continue;
        if (begun)
            fprintf(out, "%s %s", class == WEDGE_LEGAL ? "," : "", wedge_plan_actions[a]);
        else
            fprintf(out, "      %s: %s", wedge_legality_words[class], wedge_plan_actions[a]);
        begun = true;
    }
    if (begun)
        fputc('\n', out);
}

void wedge_cli_function_say(enum wedge_function function, FILE *out)
{
    fprintf(out, "  %s\n", wedge_functions[function].name);
    for (int class = WEDGE_LEGAL; class <= WEDGE_ILLEGAL; class ++)
        say_class(function, (enum wedge_legality) class, out);
}

void wedge_cli_functions_say(void)
{
    puts("\nFunctions for plans (NAME:family is a block, its lines with + included), and which faults are legal at "
         "them (a\n"
         "man page allows it), environmental (no call breaks its promise) or illegal (a call breaks it):");
    bool shown[WEDGE_FN_COUNT] = {false};
    for (size_t i = 0; i < WEDGE_FN_COUNT; i++) {
        bool family = !shown[i];
        for (size_t j = i; family && j < WEDGE_FN_COUNT; j++) {
            if (shown[j] || strcmp(wedge_functions[i].family, wedge_functions[j].family) != 0)
                continue;
            fputs(i == j ? " " : "  +", stdout);
            for (size_t k = j; k < WEDGE_FN_COUNT; k++)
                if (!shown[k] && is_alike(&wedge_functions[j], &wedge_functions[k])) {
                    printf(" %s", wedge_functions[k].name);
                    shown[k] = true;
                }
            putchar('\n');
            for (int class = WEDGE_LEGAL; class <= WEDGE_ILLEGAL; class ++)
                say_class((enum wedge_function)j, (enum wedge_legality) class, stdout);
        }
    }
    puts("At every function: kill exit stop delay block yield quiesce, which are environmental; errno and return, "
         "which\n"
         "are illegal where not listed.");
    fputs("\nActions:", stdout);
    for (size_t i = 0; wedge_plan_actions[i]; i++)
        printf(" %s", wedge_plan_actions[i]);
    putchar('\n');
}

json_t *wedge_cli_functions_json(void)
{
    json_t *functions = json_array();
    for (size_t f = 0; f < WEDGE_FN_COUNT; f++) {
        const struct wedge_function_row *row = &wedge_functions[f];
        json_t *errnos = json_array(), *actions = json_object();
        for (const int *e = row->errnos; *e; e++)
            json_array_append_new(errnos, json_string(strerrorname_np(*e)));
        for (int a = 0; wedge_plan_actions[a]; a++) {
            /* errno: of one that is not among `errnos` */
            enum wedge_legality is = wedge_plan_legality((enum wedge_function)f, (enum wedge_rule_action)a, 0);
            if (wedge_plan_allows((enum wedge_function)f, (enum wedge_rule_action)a))
                json_object_set_new(actions, wedge_plan_actions[a], json_string(wedge_legality_words[is]));
        }
        char prototype[512];
        snprintf(prototype, sizeof(prototype), "%s %s%s", row->ret, row->name, row->params);
        json_array_append_new(functions, json_pack("{s:s,s:s,s:s,s:s,s:o,s:o}", "name", row->name, "family",
                                                   row->family, "about", wedge_plan_kind_word(row->kind), "prototype",
                                                   prototype, "errnos", errnos, "actions", actions));
    }
    return functions;
}
