/* A place in a shared object. */
#include "faults/tests/target_so.h"

#include <wedge/point.h>

int target_so_ask(void)
{
    return WEDGE_ASK("so.ask");
}
