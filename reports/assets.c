/*
 * The assembler takes the files in as they are (.incbin); CMake makes this file depend on them. WEDGE_HTML_DIR is
 * their folder in the source tree, known while building alone: nothing is opened at run time.
 */
#include "reports/assets.h"

#include <string.h>

#define TAKE(symbol, file)                                                                                             \
    __asm__(".section .rodata\n"                                                                                       \
            ".local wedge_asset_" #symbol ", wedge_asset_" #symbol "_end\n"                                            \
            "wedge_asset_" #symbol ":\n"                                                                               \
            ".incbin \"" WEDGE_HTML_DIR "/" file "\"\n"                                                                \
            "wedge_asset_" #symbol "_end:\n"                                                                           \
            ".previous\n");                                                                                            \
    extern const char wedge_asset_##symbol[] __attribute__((visibility("hidden")));                                    \
    extern const char wedge_asset_##symbol##_end[] __attribute__((visibility("hidden")))

TAKE(page, "page.html");
TAKE(style, "report.css");
TAKE(ablation, "ablation.css");
TAKE(graph, "graph.js");
TAKE(script, "report.js");
TAKE(dagre, "vendor/dagre.min.js");

const struct wedge_asset *wedge_asset_find(const char *name, size_t name_len)
{
    static struct wedge_asset assets[] = {
        {"page.html", wedge_asset_page, 0},        {"report.css", wedge_asset_style, 0},
        {"ablation.css", wedge_asset_ablation, 0}, {"graph.js", wedge_asset_graph, 0},
        {"report.js", wedge_asset_script, 0},      {"dagre.min.js", wedge_asset_dagre, 0}};
    static const char *const ends[] = {wedge_asset_page_end,  wedge_asset_style_end,  wedge_asset_ablation_end,
                                       wedge_asset_graph_end, wedge_asset_script_end, wedge_asset_dagre_end};
    for (size_t i = 0; i < sizeof(assets) / sizeof(assets[0]); i++) {
        assets[i].len = (size_t)(ends[i] - assets[i].data);
        if (strlen(assets[i].name) == name_len && memcmp(assets[i].name, name, name_len) == 0)
            return &assets[i];
    }
    return NULL;
}
