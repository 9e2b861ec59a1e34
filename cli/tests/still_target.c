/* Makes a little progress, says so by marks, and then only keeps waking up: nothing that can be proved, yet nothing
 * moves. With an argument it goes on making progress instead, and ends after that many marks; with a second one it naps
 * that often before each. */
#include <poll.h>
#include <stdlib.h>
#include <wedge/point.h>

__attribute__((noinline)) static void work_that_stands_still(long marks, long naps)
{
    for (long i = 0; marks == 0 || i < marks; i++) {
        if (i < 3 || marks)
            WEDGE_PROGRESS(1);
        for (long nap = 0; nap < naps; nap++)
            poll(NULL, 0, 20);
    }
}

int main(int argc, char **argv)
{
    work_that_stands_still(argc > 1 ? atol(argv[1]) : 0, argc > 2 ? atol(argv[2]) : 1);
    return 5;
}
