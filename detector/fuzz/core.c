/* A core file: parsed, mapped, and read at every place that it says is there. */
#include "detector/core/core_file.h"

#include <string.h>

#include "base/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wedge_core *core;
    struct wedge_err err = {0};
    char buf[256];
    if (wedge_core_parse(fuzz_file(data, size), "core", &core, &err))
        return 0;
    size_t sum = strlen(core->comm) + strlen(core->cmdline) + strlen(core->exe);
    for (size_t i = 0; i < core->regions.n && i < 64; i++) {
        const struct wedge_region *region = &core->regions.all[i];
        sum += wedge_core_read(core, region->start, buf, sizeof(buf)) + strlen(region->path);
        sum += wedge_core_read(core, region->end - 1, buf, sizeof(buf));
    }
    for (size_t i = 0; i < core->n_threads && i < 64; i++)
        sum += wedge_core_read(core, core->threads[i].regs.rsp, buf, sizeof(buf));
    wedge_core_close(core);
    return sum == SIZE_MAX;
}
