/* A plan: parsed, and what it came to asked for. */
#include "faults/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wedge_plan *plan;
    struct wedge_err err = {0};
    char *text = fuzz_text(data, size);
    int rc = wedge_plan_parse("fuzz.plan", text, &plan, &err);
    if (rc && (rc != -EINVAL || !err.message[0])) /* every refusal says why */
        abort();
    for (size_t i = 0; !rc && i < wedge_plan_count(plan); i++) {
        enum wedge_function function;
        if (!wedge_plan_id(plan, i) || !wedge_plan_text(plan, i))
            abort();
        wedge_plan_must_fire(plan, i);
        wedge_plan_rule_legality(plan, i, &function);
    }
    if (!rc)
        wedge_plan_free(plan);
    free(text);
    return 0;
}
