/* A place in a shared object. */
#include "faults/tests/target_so.h"

#include <errno.h>
#include <unistd.h>
#include <wedge/point.h>

int target_so_ask(void)
{
    return WEDGE_ASK("so.ask");
}

#ifdef TARGET_SO_MOVED /* the same functions elsewhere */
__asm__(".text\n.skip 4096, 0x90\n");
#endif

static __attribute__((noinline)) int target_so_inner(int fd)
{
    int n = (int)write(fd, "x", 1);
    return n < 0 ? -errno : n;
}

int target_so_put(int fd, int by_inner)
{
    if (by_inner) {
        int n = target_so_inner(fd);
        __asm__ volatile("" : "+r"(n)); /* not the last thing done here: a jump would leave no frame of ours */
        return n;
    }
    int n = (int)write(fd, "x", 1);
    return n < 0 ? -errno : n;
}
