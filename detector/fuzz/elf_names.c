/* The reader of symbols and build-ids that works with wedge's own rights. */
#include "detector/elf/elf_names.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fuzz/fuzz.h"
#include "detector/look/alarm.h"

static bool look_at(void *arg, const struct wedge_elf_name *name)
{
    *(size_t *)arg += strlen(name->text) + (name->defined ? name->size & 1 : 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = fuzz_file(data, size);
    size_t sum = 0;
    wedge_elf_names_read(fd, SHT_DYNSYM, look_at, &sum);
    wedge_elf_names_read(fd, SHT_SYMTAB, look_at, &sum);
    wedge_elf_names_offset(fd, sum);
    struct wedge_build_id id = {0};
    if (wedge_elf_names_build_id(fd, &id) && (id.len < 2 || id.len > WEDGE_BUILD_ID_MAX))
        abort();
    wedge_alarm_is_called(fd);
    close(fd);
    return 0;
}
