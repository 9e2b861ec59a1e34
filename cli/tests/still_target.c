/* Makes a little progress, says so by marks, and then only keeps waking up: nothing that can be proved, yet nothing
 * moves. With an argument it goes on making progress instead, and ends after that many marks; the second one is the
 * milliseconds after each, by the clock: on a crowded machine a number of naps would take longer. */
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <wedge/point.h>

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((noinline)) static void work_that_stands_still(long marks, long each_ms)
{
    for (long i = 0; marks == 0 || i < marks; i++) {
        if (i < 3 || marks)
            WEDGE_PROGRESS(1);
        long until = now_ms() + each_ms;
        do
            poll(NULL, 0, 20);
        while (now_ms() < until);
    }
}

int main(int argc, char **argv)
{
    work_that_stands_still(argc > 1 ? atol(argv[1]) : 0, argc > 2 ? atol(argv[2]) : 20);
    return 5;
}
