#include "base/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* libFuzzer knows the time by the clock alone, which says little of one that runs beside others; ci/fuzz shows both. */
__attribute__((destructor)) static void say_time(void)
{
    struct timespec used;
    if (getenv("WEDGE_FUZZ_TIME") && clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0)
        fprintf(stderr, "stat::processor_seconds: %ld\n", (long)used.tv_sec);
}

int fuzz_file(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0)
        abort();
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, data + at, size - at);
        if (n <= 0)
            abort();
        at += (size_t)n;
    }
    return fd;
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    return text;
}
