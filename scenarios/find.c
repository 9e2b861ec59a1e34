/* Where scenarios are: a folder of groups (hang-report, corpus), each with one file per scenario. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "scenarios/scenario.h"
#include "scenarios/strings.h"

int wedge_scenario_list(const char *dir, const char *group, char ***ret, struct wedge_err *err)
{
    struct wedge_strings found = {0};
    char pattern[4096];
    glob_t matches;
    snprintf(pattern, sizeof(pattern), "%s/%s/*.yaml", dir, group);
    int rc = 0, got = glob(pattern, 0, NULL, &matches);
    if (got == GLOB_NOSPACE)
        return -ENOMEM;
    for (size_t i = 0; !rc && got == 0 && i < matches.gl_pathc; i++)
        rc = wedge_strings_add(&found, matches.gl_pathv[i]);
    if (got == 0)
        globfree(&matches);
    if (!rc && !found.n) {
        rc = wedge_err_set(err, -ENOENT, "no scenario below %s/%s", dir, group);
        wedge_err_remedy(err, "name a file, or set WEDGE_SCENARIOS to the folder that holds hang-report/");
    }
    char **items = wedge_strings_take(&found);
    if (rc) {
        wedge_strings_free(items);
        return rc;
    }
    *ret = items;
    return items ? 0 : -ENOMEM;
}

/* "…/hang-report/1.1a.yaml" -> "hang-report/1.1a" within its own copy. */
static char *short_name(char *path)
{
    char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    if (dot && slash && dot > slash)
        *dot = 0;
    while (slash && slash > path && slash[-1] != '/')
        slash--;
    return slash ? slash : path;
}

int wedge_scenario_find(const char *dir, const char *word, char **ret, struct wedge_err *err)
{
    struct stat st;
    if (stat(word, &st) == 0 && S_ISREG(st.st_mode))
        return (*ret = strdup(word)) ? 0 : -ENOMEM;
    char **all;
    int rc = wedge_scenario_list(dir, "*", &all, err);
    if (rc)
        return rc;
    struct wedge_strings names = {0};
    rc = -EINVAL;
    for (char **a = all; *a && rc == -EINVAL; a++) {
        char *copy = strdup(*a);
        const char *name = copy ? short_name(copy) : NULL;
        if (!name || wedge_strings_add(&names, strrchr(name, '/') ? strrchr(name, '/') + 1 : name))
            rc = -ENOMEM;
        else if (strcmp(name, word) == 0 || strcmp(names.items[names.n - 1], word) == 0)
            rc = (*ret = strdup(*a)) ? 0 : -ENOMEM;
        free(copy);
    }
    if (rc == -EINVAL) {
        wedge_err_input(err, NULL, 0, 0, "unknown scenario '%s'", word);
        const char *near = names.n ? wedge_err_nearest(word, (const char *const *)names.items) : NULL;
        if (near)
            wedge_err_remedy(err, "did you mean '%s'? `wedge list` shows all", near);
        else
            wedge_err_remedy(err, "`wedge list` shows all; a file is named by its path");
    }
    wedge_strings_free(wedge_strings_take(&names));
    wedge_strings_free(all);
    return rc;
}
