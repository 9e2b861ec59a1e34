/* A name of the linker's, and what is made of it: the name of a frame, and that for a sentence. The demanglers are the
 * distribution's (libiberty); that they end, and what is kept of them, is ours to see to. */
#include "detector/stacks/demangle.h"

#include <stdlib.h>
#include <string.h>

#include "base/fuzz/fuzz.h"
#include "detector/stacks/symbols.h"
#include "detector/verdict/short_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = fuzz_text(data, size), *plain = wedge_demangle(name), brief[160];
    if (!plain || (wedge_demangle_may(name) && strlen(name) < 4096 && strlen(plain) >= WEDGE_DEMANGLED_MOST))
        abort();
    if (!wedge_demangle_may(name) && strlen(plain) != strcspn(name, "@"))
        abort();
    wedge_short_name(plain, brief, sizeof(brief));
    wedge_symbols_is_runtime("/usr/bin/x", NULL, plain);
    if (!memchr(brief, 0, sizeof(brief)))
        abort();
    free(plain);
    free(name);
    return 0;
}
