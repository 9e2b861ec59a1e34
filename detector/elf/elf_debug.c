#include "detector/elf/elf_debug.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <elfutils/libdwelf.h>

#define PATH_BYTES 4096

int wedge_elf_open_debug(const struct wedge_build_id *id, char **ret_path)
{
    char hex[2 * WEDGE_BUILD_ID_MAX + 1], path[2 * WEDGE_BUILD_ID_MAX + 64];
    if (id->len < 2)
        return -1;
    wedge_build_id_hex(id, hex);
    snprintf(path, sizeof(path), "/usr/lib/debug/.build-id/%.2s/%s.debug", hex, hex + 2);
    int fd = wedge_elf_open_regular(AT_FDCWD, path);
    if (fd >= 0 && ret_path)
        *ret_path = strdup(path);
    return fd;
}

static bool has_section(Elf *elf, const char *name)
{
    size_t strings;
    if (elf_getshdrstrndx(elf, &strings))
        return false;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn)) != NULL;) {
        GElf_Shdr shdr;
        const char *this = gelf_getshdr(scn, &shdr) ? elf_strptr(elf, strings, shdr.sh_name) : NULL;
        if (this && strcmp(this, name) == 0 && shdr.sh_type != SHT_NOBITS)
            return true;
    }
    return false;
}

static bool has_own(Elf *elf)
{
    return has_section(elf, ".debug_info") || has_section(elf, ".zdebug_info");
}

/* The checksum of .gnu_debuglink: CRC-32 as in zlib. */
static uint32_t checksum(const char *data, size_t len)
{
    uint32_t table[256], crc = 0xffffffffu;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320u : table[i] >> 1;
    }
    for (size_t i = 0; i < len; i++)
        crc = table[(crc ^ (uint8_t)data[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

/* Is `elf` what the link with checksum `crc` in `file` means? */
static bool is_linked(const struct wedge_elf_file *file, Elf *elf, uint32_t crc)
{
    struct wedge_build_id id = {0}, own = file->build_id;
    size_t size = 0;
    if (wedge_elf_build_id(elf, &id) && (own.len || wedge_elf_build_id(file->elf, &own)))
        return wedge_build_id_equal(&id, &own);
    const char *data = elf_rawfile(elf, &size);
    return data && checksum(data, size) == crc;
}

/* Opens `name` beside `path`, with something before and between. -1: not there. */
static int open_beside(const char *prefix, const char *path, const char *between, const char *name, char *ret)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return -1;
    int len = snprintf(ret, PATH_BYTES, "%s%.*s%s%s", prefix, (int)(slash - path + 1), path, between, name);
    return len < PATH_BYTES ? wedge_elf_open_regular(AT_FDCWD, ret) : -1;
}

static void find_linked(struct wedge_elf_file *file)
{
    static const struct {
        const char *prefix, *between;
    } ways[] = {{"", ""}, {"", ".debug/"}, {"/usr/lib/debug", ""}};
    GElf_Word crc = 0;
    char path[PATH_BYTES];
    const char *name = dwelf_elf_gnu_debuglink(file->elf, &crc);
    if (!name || !name[0] || strchr(name, '/') || !file->path || file->path[0] != '/')
        return;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && !file->debug_elf; i++) {
        int fd = open_beside(ways[i].prefix, file->path, ways[i].between, name, path);
        Elf *elf = fd >= 0 ? wedge_elf_read(fd) : NULL;
        if (elf && is_linked(file, elf, crc)) {
            file->debug_elf = elf;
            file->debug_path = strdup(path);
        } else {
            wedge_elf_drop(elf);
        }
    }
}

void wedge_elf_debug(struct wedge_elf_file *file)
{
    struct wedge_build_id id = {0};
    if (file->debug_tried)
        return;
    file->debug_tried = true;
    if (has_own(file->elf))
        return;
    int fd = wedge_elf_open_debug(&file->build_id, &file->debug_path);
    Elf *elf = fd >= 0 ? wedge_elf_read(fd) : NULL;
    if (elf && wedge_elf_build_id(elf, &id) && wedge_build_id_equal(&id, &file->build_id)) {
        file->debug_elf = elf;
        return;
    }
    wedge_elf_drop(elf);
    free(file->debug_path);
    file->debug_path = NULL;
    find_linked(file);
}

/* dwz moves what several debug files share into another one: named by its build-id, and by a path from where the debug
 * file lies. */
static void attach_alt(struct wedge_elf_file *file)
{
    const char *name, *from = file->debug_path ? file->debug_path : file->path;
    const void *bits;
    char path[PATH_BYTES];
    ssize_t len = dwelf_dwarf_gnu_debugaltlink(file->dwarf, &name, &bits);
    struct wedge_build_id wanted = {0}, id = {0};
    if (len < 2 || len > WEDGE_BUILD_ID_MAX)
        return;
    wanted.len = (size_t)len;
    memcpy(wanted.bytes, bits, wanted.len);
    int fd = wedge_elf_open_debug(&wanted, NULL);
    if (fd < 0 && name[0] == '/')
        fd = wedge_elf_open_regular(AT_FDCWD, name);
    else if (fd < 0 && from && from[0] == '/')
        fd = open_beside("", from, "", name, path);
    Elf *elf = fd >= 0 ? wedge_elf_read(fd) : NULL;
    if (elf && wedge_elf_build_id(elf, &id) && wedge_build_id_equal(&id, &wanted))
        file->alt = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
    if (file->alt)
        dwarf_setalt(file->dwarf, file->alt);
    else
        wedge_elf_drop(elf);
}

Dwarf *wedge_elf_dwarf(struct wedge_elf_file *file)
{
    if (file->dwarf_tried)
        return file->dwarf;
    file->dwarf_tried = true;
    wedge_elf_debug(file);
    if (file->debug_elf || has_own(file->elf))
        file->dwarf = dwarf_begin_elf(file->debug_elf ? file->debug_elf : file->elf, DWARF_C_READ, NULL);
    if (file->dwarf)
        attach_alt(file);
    return file->dwarf;
}
