/*
 * Names of call sites, from the files of the modules. These are the user's own program and its libraries; their paths
 * come through memory that the program can write to, so that only regular files are opened.
 */
#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/census.h"

enum { MOST_MODULES = WEDGE_CENSUS_MODULES };

struct module {
    const char *path;
    Dwfl_Module *module; /* NULL: cannot be read */
    GElf_Addr bias;
};
struct modules {
    Dwfl *dwfl;
    struct module all[MOST_MODULES];
    size_t n;
};

static struct module *find(struct modules *modules, const char *path)
{
    for (size_t i = 0; i < modules->n; i++)
        if (strcmp(modules->all[i].path, path) == 0)
            return &modules->all[i];
    if (modules->n == MOST_MODULES)
        return NULL;
    struct stat st;
    struct module *module = &modules->all[modules->n++];
    *module = (struct module){.path = path};
    if (path[0] != '/' || stat(path, &st) || !S_ISREG(st.st_mode))
        return module;
    dwfl_report_begin_add(modules->dwfl);
    module->module = dwfl_report_offline(modules->dwfl, path, path, -1);
    dwfl_report_end(modules->dwfl, NULL, NULL);
    if (module->module && !dwfl_module_getelf(module->module, &module->bias))
        module->module = NULL;
    return module;
}

static void name_site(struct modules *modules, struct wedge_census_site *site)
{
    struct module *module = *site->module ? find(modules, site->module) : NULL;
    GElf_Off into = 0;
    GElf_Sym symbol;
    int line = 0;
    if (!module || !module->module)
        return;
    /* The call itself: what comes behind it may be another line, or another function. */
    GElf_Addr at = site->offset + module->bias - 1;
    const char *name = dwfl_module_addrinfo(module->module, at, &into, &symbol, NULL, NULL, NULL);
    if (name && into < symbol.st_size) {
        snprintf(site->function, sizeof(site->function), "%s", name);
        site->into = into + 1;
    }
    Dwfl_Line *source = dwfl_module_getsrc(module->module, at);
    const char *file = source ? dwfl_lineinfo(source, NULL, &line, NULL, NULL, NULL) : NULL;
    if (file) {
        snprintf(site->file, sizeof(site->file), "%s", file);
        site->line = line;
    }
}

void wedge_census_name(struct wedge_census *census)
{
    static char *debug_path;
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                             .find_debuginfo = dwfl_standard_find_debuginfo,
                                             .section_address = dwfl_offline_section_address,
                                             .debuginfo_path = &debug_path};
    unsetenv("DEBUGINFOD_URLS"); /* nothing is fetched */
    struct modules *modules = calloc(1, sizeof(*modules));
    if (!modules)
        return;
    modules->dwfl = dwfl_begin(&callbacks);
    for (size_t i = 0; modules->dwfl && i < census->n; i++) {
        name_site(modules, &census->places[i].from);
        name_site(modules, &census->places[i].maker);
    }
    if (modules->dwfl)
        dwfl_end(modules->dwfl);
    free(modules);
}
