/* The main function of a fuzz target without libFuzzer: gives it every file of the folders named, in order of their
 * names. A finding ends it as it would end the fuzzer: by a signal or a sanitizer's report. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fuzz/fuzz.h"

static int replay(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        perror(path);
        return 1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *exact = malloc(size ? size : 1); /* no longer, so that a sanitizer sees what goes past it */
    ssize_t got = exact ? read(fd, exact, size) : -1;
    close(fd);
    if (got != (ssize_t)size) {
        perror(path);
        free(exact);
        return 1;
    }
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    size_t n = 0;
    for (int i = 1; i < argc; i++) {
        struct dirent **names;
        int count = scandir(argv[i], &names, is_visible, alphasort);
        if (count < 0) {
            perror(argv[i]);
            return 1;
        }
        for (int k = 0; k < count; k++) {
            char path[4096];
            snprintf(path, sizeof(path), "%s/%s", argv[i], names[k]->d_name);
            free(names[k]);
            if (replay(path))
                return 1;
            n++;
        }
        free(names);
    }
    printf("%zu inputs\n", n);
    return n ? 0 : 1; /* a corpus that is not there must not pass */
}
