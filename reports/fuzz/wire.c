/* What comes from the disposable child: what is taken apart can be put together again, and says the same. */
#include "reports/wire.h"

#include <stdlib.h>

#include "base/fuzz/fuzz.h"

enum { MOST_JSON = 1 << 20 }; /* larger trees take their time, and are no other */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *tree = NULL, *again = NULL;
    size_t len, as_json;
    if (wedge_wire_unpack((const char *)data, size, &tree, NULL))
        return 0;
    char *bytes = wedge_wire_pack(tree, &len, &as_json);
    if (bytes && as_json < MOST_JSON && (wedge_wire_unpack(bytes, len, &again, NULL) || !json_equal(tree, again)))
        abort();
    json_decref(again);
    json_decref(tree);
    free(bytes);
    return 0;
}
