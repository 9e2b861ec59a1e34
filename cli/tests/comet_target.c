/* As many processes as the argument says, each of which does nothing but fork and exit: hardly ever there where it was
 * seen. For 30 seconds at most. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 1;
    time_t end = time(NULL) + 30;
    for (int i = 1; i < n && fork() > 0; i++)
        ;
    while (time(NULL) < end)
        if (fork() > 0)
            _exit(0);
    _exit(0);
}
