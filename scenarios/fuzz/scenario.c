/* A scenario's YAML. */
#include "scenarios/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wedge_scenario *scenario;
    struct wedge_err err = {0};
    char path[32];
    int fd = fuzz_file(data, size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = wedge_scenario_load(path, "/build", &scenario, &err);
    if (rc && !err.message[0])
        abort();
    if (!rc)
        wedge_scenario_free(scenario);
    close(fd);
    return 0;
}
