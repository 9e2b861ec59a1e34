/* An ELF file with symbols and DWARF, asked for what lies at some of its addresses. libelf and libdw are the
 * distribution's: what breaks them is kept from doing harm by the sandbox, what breaks us shows here. */
#include "detector/stacks/symbols.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fuzz/fuzz.h"
#include "detector/elf/elf_file.h"
#include "detector/elf/elf_image.h"
#include "detector/stacks/call_site.h"

enum { BASE = 0x400000, ADDRESSES = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    struct stat st;
    int fd = fuzz_file(data, size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fstat(fd, &st);
    struct wedge_region region = {.start = BASE,
                                  .end = BASE + size + 4096,
                                  .read = true,
                                  .exec = true,
                                  .inode = st.st_ino,
                                  .dev_major = major(st.st_dev),
                                  .dev_minor = minor(st.st_dev),
                                  .path = path};
    struct wedge_regions regions = {.all = &region, .n = 1};
    struct wedge_target_memory memory = {.fd = dup(fd), .regions = &regions};
    struct wedge_images images = {.memory = &memory};
    struct wedge_image image = {.region = &region, .lo = BASE, .hi = region.end, .bias = BASE};
    struct wedge_elf_file *file = wedge_elf_of_image(&images, &image, -1);
    for (uint64_t i = 0; file && i < ADDRESSES; i++) {
        size_t n = 0;
        uint64_t address = i * (size / ADDRESSES + 1), elsewhere;
        const struct wedge_symbol *symbols = wedge_symbols_at(file, address, i % 2, &n);
        const char *called = wedge_call_site_name(&images, &image, file, BASE + address);
        for (size_t k = 0; symbols && k < n; k++)
            if (symbols[k].function)
                wedge_symbols_elsewhere(file, symbols[k].function, address, &elsewhere);
        if (called)
            wedge_symbols_elsewhere(file, called, address, &elsewhere);
    }
    wedge_elf_forget();
    wedge_target_memory_close(&memory);
    close(fd);
    return 0;
}
