/* What was mapped in a process that is a core file now, and bytes of it. */
#include "detector/core/core_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "detector/elf/elf_file.h"
#include "detector/elf/elf_names.h"

#define SOURCES_MAX 512
#define PHDRS_MAX   128
#define NOTES_MAX   4096u

static const struct wedge_core_mapping *mapping_at(const struct wedge_core *core, uint64_t address)
{
    size_t lo = 0, hi = core->n_mappings;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (address < core->mappings[mid].start)
            hi = mid;
        else if (address >= core->mappings[mid].end)
            lo = mid + 1;
        else
            return &core->mappings[mid];
    }
    return NULL;
}

static const struct wedge_core_segment *segment_at(const struct wedge_core *core, uint64_t address)
{
    size_t lo = 0, hi = core->n_segments;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct wedge_core_segment *s = &core->segments[mid];
        if (address < s->start)
            hi = mid;
        else if (address - s->start >= s->bytes)
            lo = mid + 1;
        else
            return s;
    }
    return NULL;
}

/* What the core itself holds, without the files. */
static size_t read_core(const struct wedge_core *core, uint64_t address, void *buf, size_t len)
{
    const struct wedge_core_segment *s = segment_at(core, address);
    if (!s || address - s->start >= s->file_bytes)
        return 0;
    uint64_t left = s->file_bytes - (address - s->start);
    size_t n = left < len ? (size_t)left : len;
    return wedge_core_pread(core, s->offset + (address - s->start), buf, n) ? n : 0;
}

/* ---- regions ---- */

static int compare_regions(const void *a, const void *b)
{
    uint64_t x = ((const struct wedge_region *)a)->start, y = ((const struct wedge_region *)b)->start;
    return (x > y) - (x < y);
}

/* Equal paths are one file: mappings of it lie side by side, and a program has few of them. */
static uint64_t source_of(struct wedge_core *core, const char *path)
{
    for (size_t i = core->n_sources; i > 0; i--) {
        const char *known = core->sources[i - 1].path;
        if (known && strcmp(known, path) == 0)
            return i;
    }
    if (core->n_sources == SOURCES_MAX)
        return 0;
    core->sources[core->n_sources] = (struct wedge_core_source){.path = path, .fd = -1};
    return ++core->n_sources;
}

static void name_region(struct wedge_core *core, struct wedge_region *region, const struct wedge_core_mapping *m)
{
    region->path = m->path;
    region->offset = m->offset + (region->start - m->start);
    region->deleted = m->deleted;
    region->inode = source_of(core, m->path);
}

int wedge_core_map(struct wedge_core *core)
{
    size_t n = 0;
    struct wedge_region *all = calloc(core->n_segments + core->n_mappings + 1, sizeof(*all));
    core->sources = calloc(SOURCES_MAX, sizeof(*core->sources));
    core->regions.all = all;
    if (!all || !core->sources)
        return -ENOMEM;
    for (size_t i = 0; i < core->n_segments; i++) {
        const struct wedge_core_segment *s = &core->segments[i];
        const struct wedge_core_mapping *m = mapping_at(core, s->start);
        struct wedge_region *region = &all[n++];
        *region = (struct wedge_region){.start = s->start,
                                        .end = s->start + s->bytes,
                                        .read = s->read,
                                        .write = s->write,
                                        .exec = s->exec,
                                        .path = core->vdso && s->start == core->vdso ? "[vdso]" : ""};
        if (m)
            name_region(core, region, m);
    }
    /* gdb leaves out what is in a file anyway: those are constant, and text for all we know. */
    for (size_t i = 0; i < core->n_mappings; i++) {
        const struct wedge_core_mapping *m = &core->mappings[i];
        if (segment_at(core, m->start))
            continue;
        struct wedge_region *region = &all[n++];
        *region = (struct wedge_region){.start = m->start, .end = m->end, .read = true, .exec = true};
        name_region(core, region, m);
    }
    qsort(all, n, sizeof(*all), compare_regions);
    for (size_t i = 0; i + 1 < n; i++)
        if (all[i].end > all[i + 1].start)
            all[i].end = all[i + 1].start;
    core->regions.n = n;
    const struct wedge_region *entry = core->entry ? wedge_regions_find(&core->regions, core->entry) : NULL;
    core->exe = entry && entry->path ? entry->path : "";
    return 0;
}

/* ---- files ---- */

/* The build-id in the first page of the image that begins in `region`, as the core has it. */
static bool build_id_in_core(const struct wedge_core *core, const struct wedge_region *region,
                             struct wedge_build_id *ret)
{
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdrs[PHDRS_MAX];
    uint8_t notes[NOTES_MAX];
    if (read_core(core, region->start, &ehdr, sizeof(ehdr)) != sizeof(ehdr) ||
        memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 || ehdr.e_phentsize != sizeof(phdrs[0]) || ehdr.e_phnum > PHDRS_MAX)
        return false;
    size_t bytes = ehdr.e_phnum * sizeof(phdrs[0]);
    if (read_core(core, region->start + ehdr.e_phoff, phdrs, bytes) != bytes)
        return false;
    for (size_t i = 0; i < ehdr.e_phnum; i++) {
        size_t len = phdrs[i].p_filesz < sizeof(notes) ? (size_t)phdrs[i].p_filesz : sizeof(notes);
        /* The file's first pages are mapped as they lie in it. */
        if (phdrs[i].p_type == PT_NOTE && phdrs[i].p_offset < region->end - region->start &&
            read_core(core, region->start + phdrs[i].p_offset, notes, len) == len &&
            wedge_build_id_in_notes(notes, len, phdrs[i].p_align, ret))
            return true;
    }
    return false;
}

static bool is_build(int fd, const struct wedge_build_id *wanted)
{
    struct wedge_build_id id = {0};
    return wedge_elf_names_build_id(fd, &id) && wedge_build_id_equal(&id, wanted);
}

static void open_source(struct wedge_core *core, struct wedge_core_source *source, uint64_t inode)
{
    struct wedge_build_id id = {0};
    bool known = false;
    for (size_t i = 0; i < core->regions.n && !known; i++)
        known = core->regions.all[i].inode == inode && core->regions.all[i].offset == 0 &&
                build_id_in_core(core, &core->regions.all[i], &id);
    /* A program without a build-id is believed to be the one the caller named, and no other. */
    if (core->exe_fd >= 0 && strcmp(source->path, core->exe) == 0) {
        source->fd = !known || is_build(core->exe_fd, &id) ? core->exe_fd : -1;
        return;
    }
    int fd = known && source->path[0] == '/' ? wedge_elf_open_regular(AT_FDCWD, source->path) : -1;
    if (fd >= 0 && is_build(fd, &id))
        source->fd = fd;
    else if (fd >= 0)
        close(fd);
}

int wedge_core_file_of(struct wedge_core *core, const struct wedge_region *region)
{
    if (!region->inode || region->inode > core->n_sources)
        return -1;
    struct wedge_core_source *source = &core->sources[region->inode - 1];
    if (!source->tried) {
        source->tried = true;
        open_source(core, source, region->inode);
    }
    return source->fd;
}

/* Bytes that no one can have changed: of a mapping that is not writable, from the file. */
static size_t read_file(struct wedge_core *core, uint64_t address, void *buf, size_t len)
{
    const struct wedge_region *region = wedge_regions_find(&core->regions, address);
    int fd = region && !region->write ? wedge_core_file_of(core, region) : -1;
    if (fd < 0)
        return 0;
    size_t n = region->end - address < len ? (size_t)(region->end - address) : len;
    ssize_t got = pread(fd, buf, n, (off_t)(region->offset + (address - region->start)));
    return got > 0 ? (size_t)got : 0;
}

size_t wedge_core_read(struct wedge_core *core, uint64_t address, void *buf, size_t len)
{
    size_t done = 0;
    while (done < len && address + done >= address) {
        size_t got = read_core(core, address + done, (char *)buf + done, len - done);
        if (!got)
            got = read_file(core, address + done, (char *)buf + done, len - done);
        if (!got)
            break;
        done += got;
    }
    return done;
}

size_t wedge_core_descriptors(const struct wedge_core *core, int *ret, size_t room)
{
    size_t n = 0;
    if (n < room && core->fd >= 0)
        ret[n++] = core->fd;
    if (n < room && core->exe_fd >= 0)
        ret[n++] = core->exe_fd;
    for (size_t i = 0; i < core->n_sources && n < room; i++)
        if (core->sources[i].fd >= 0 && core->sources[i].fd != core->exe_fd)
            ret[n++] = core->sources[i].fd;
    return n;
}
