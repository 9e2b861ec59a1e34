#include "detector/stacks/target_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uthash.h>

#include "detector/core/core_file.h"

#define CHUNK_BYTES      4096u
#define CACHED_BYTES_MAX (64u << 20)

struct wedge_target_chunk {
    uint64_t address; /* a multiple of CHUNK_BYTES */
    UT_hash_handle hh;
    size_t from, to; /* the bytes of the chunk that are there */
    uint8_t data[CHUNK_BYTES];
};

/* maps escapes a newline as \012 and nothing else (fs/proc/task_mmu.c, show_map_vma): undo it in place. */
static void unescape(char *path)
{
    char *out = strchr(path, '\\'); /* hardly ever there */
    for (char *in = out; in && *in;) {
        if (strncmp(in, "\\012", 4) == 0) {
            *out++ = '\n';
            in += 4;
        } else {
            *out++ = *in++;
        }
    }
    if (out)
        *out = 0;
}

/* One more than a digit's value; 0 no digit. */
static const uint8_t digit_of[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16};

static bool hex_field(char **at, char end, uint64_t *ret)
{
    char *p = *at;
    uint64_t value = 0;
    int digits = 0;
    for (unsigned digit; digits < 16 && (digit = digit_of[(uint8_t)*p]); p++, digits++)
        value = value << 4 | (digit - 1);
    if (digits == 0 || *p != end)
        return false;
    *ret = value;
    *at = p + 1;
    return true;
}

static bool flag_field(char **at, char set, bool *ret)
{
    char c = *(*at)++;
    *ret = c == set;
    return c == set || c == '-';
}

/* line := start "-" end " " r w x (p|s) " " offset " " major ":" minor " " inode [blanks path]; numbers in hex but
 * the inode. proc(5). */
static bool parse_line(char *line, struct wedge_region *region)
{
    static const char deleted[] = " (deleted)";
    uint64_t dev_major, dev_minor;
    char *p = line;
    memset(region, 0, sizeof(*region));
    if (!hex_field(&p, '-', &region->start) || !hex_field(&p, ' ', &region->end) || region->start >= region->end)
        return false;
    if (strlen(p) < 5 || !flag_field(&p, 'r', &region->read) || !flag_field(&p, 'w', &region->write) ||
        !flag_field(&p, 'x', &region->exec) || (*p != 'p' && *p != 's') || p[1] != ' ')
        return false;
    p += 2;
    if (!hex_field(&p, ' ', &region->offset) || !hex_field(&p, ':', &dev_major) || !hex_field(&p, ' ', &dev_minor) ||
        *p < '0' || *p > '9')
        return false;
    region->dev_major = (unsigned)dev_major;
    region->dev_minor = (unsigned)dev_minor;
    errno = 0;
    region->inode = strtoull(p, &p, 10);
    if (errno || (*p && *p != ' '))
        return false;
    while (*p == ' ')
        p++;
    size_t len = strlen(p);
    if (len > sizeof(deleted) - 1 && strcmp(p + len - (sizeof(deleted) - 1), deleted) == 0) {
        p[len - (sizeof(deleted) - 1)] = 0;
        region->deleted = true;
    }
    unescape(p);
    region->path = p;
    return true;
}

int wedge_regions_parse(char *text, size_t len, struct wedge_regions *ret)
{
    size_t lines = 0;
    if (memchr(text, 0, len) != NULL)
        return -EINVAL;
    for (const char *at = text; (at = memchr(at, '\n', (size_t)(text + len - at))); at++)
        lines++;
    if (len && text[len - 1] != '\n')
        return -EINVAL; /* cut off */
    if (lines > WEDGE_REGIONS_MAX)
        return -E2BIG;
    struct wedge_regions regions = {.all = calloc(lines ? lines : 1, sizeof(*regions.all))};
    if (!regions.all)
        return -ENOMEM;
    for (char *line = text; line < text + len;) {
        char *end = memchr(line, '\n', (size_t)(text + len - line));
        *end = 0;
        struct wedge_region *region = &regions.all[regions.n];
        if (!parse_line(line, region) || (regions.n && region->start < region[-1].end)) {
            free(regions.all);
            return -EINVAL;
        }
        regions.n++;
        line = end + 1;
    }
    regions.text = text;
    *ret = regions;
    return 0;
}

int wedge_regions_read(pid_t pid, pid_t tid, struct wedge_regions *ret)
{
    char path[64];
    size_t cap = 1u << 16, len = 0;
    int rc = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    char *text = malloc(cap);
    while (text && rc == 0) {
        ssize_t got = read(fd, text + len, cap - len - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            rc = got < 0 ? -errno : 0;
            break;
        }
        len += (size_t)got;
        if (cap - len > 8192) /* a line is at most a page and a bit: read(2) gives whole lines */
            continue;
        cap *= 2;
        if (cap > WEDGE_REGIONS_BYTES_MAX) {
            rc = -E2BIG;
            break;
        }
        char *more = realloc(text, cap);
        if (!more)
            rc = -ENOMEM;
        else
            text = more;
    }
    close(fd);
    if (!text)
        return -ENOMEM;
    text[len] = 0;
    if (rc == 0 && len == 0)
        rc = -ESRCH; /* the address space is gone */
    if (rc == 0)
        rc = wedge_regions_parse(text, len, ret);
    if (rc)
        free(text);
    return rc;
}

int wedge_regions_of(const struct wedge_proc_map *maps, size_t n, struct wedge_regions *ret)
{
    size_t bytes = 1;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(maps[i].path) + 1;
    if (n > WEDGE_REGIONS_MAX || bytes > WEDGE_REGIONS_BYTES_MAX)
        return -E2BIG;
    struct wedge_regions regions = {.all = calloc(n + 1, sizeof(*regions.all)), .n = n, .text = malloc(bytes)};
    char *text = regions.text;
    int rc = regions.all && text ? 0 : -ENOMEM;
    for (size_t i = 0; i < n && !rc; i++) {
        const struct wedge_proc_map *m = &maps[i];
        if (i && m->start < maps[i - 1].end)
            rc = -EINVAL;
        regions.all[i] = (struct wedge_region){.start = m->start,
                                               .end = m->end,
                                               .offset = m->offset,
                                               .inode = m->inode,
                                               .dev_major = m->dev_major,
                                               .dev_minor = m->dev_minor,
                                               .read = m->readable,
                                               .write = m->writable,
                                               .exec = m->executable,
                                               .deleted = m->deleted,
                                               .path = text};
        size_t len = strlen(m->path) + 1;
        memcpy(text, m->path, len);
        unescape(text);
        text += len;
    }
    if (rc)
        wedge_regions_free(&regions);
    else
        *ret = regions;
    return rc;
}

void wedge_regions_free(struct wedge_regions *regions)
{
    if (!regions)
        return;
    free(regions->all);
    free(regions->text);
    memset(regions, 0, sizeof(*regions));
}

const struct wedge_region *wedge_regions_find(const struct wedge_regions *regions, uint64_t address)
{
    size_t lo = 0, hi = regions->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct wedge_region *region = &regions->all[mid];
        if (address < region->start)
            hi = mid;
        else if (address >= region->end)
            lo = mid + 1;
        else
            return region;
    }
    return NULL;
}

int wedge_target_memory_open(pid_t pid, pid_t tid, const struct wedge_regions *regions, struct wedge_target_memory *ret)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    *ret = (struct wedge_target_memory){.fd = fd, .regions = regions};
    return 0;
}

void wedge_target_memory_core(struct wedge_core *core, struct wedge_target_memory *ret)
{
    *ret = (struct wedge_target_memory){.fd = -1, .core = core, .regions = &core->regions};
}

void wedge_target_memory_close(struct wedge_target_memory *memory)
{
    if (!memory)
        return;
    struct wedge_target_chunk *chunk, *next;
    HASH_ITER(hh, memory->chunks, chunk, next)
    {
        HASH_DEL(memory->chunks, chunk);
        free(chunk);
    }
    if (memory->fd >= 0)
        close(memory->fd);
    memory->fd = -1;
}

bool wedge_target_memory_alive(const struct wedge_target_memory *memory, uint64_t address)
{
    uint8_t byte;
    return pread(memory->fd, &byte, 1, (off_t)address) == 1;
}

/* Reads what the region has of the chunk. Two regions may meet inside a chunk: then each gets a read of its own, so
 * only the region's part is kept and a later ask for the rest replaces it. */
static struct wedge_target_chunk *load_chunk(struct wedge_target_memory *memory, const struct wedge_region *region,
                                             uint64_t address)
{
    struct wedge_target_chunk *chunk;
    HASH_FIND(hh, memory->chunks, &address, sizeof(address), chunk);
    uint64_t from = region->start > address ? region->start : address;
    uint64_t to = region->end < address + CHUNK_BYTES ? region->end : address + CHUNK_BYTES;
    if (chunk && chunk->from <= from - address && chunk->to >= to - address)
        return chunk;
    bool fresh = !chunk;
    if (fresh) {
        if (memory->cached_bytes + CHUNK_BYTES > CACHED_BYTES_MAX)
            return NULL;
        chunk = malloc(sizeof(*chunk));
        if (!chunk)
            return NULL;
        chunk->address = address;
    }
    uint8_t *data = chunk->data + (from - address);
    ssize_t got = memory->core ? (ssize_t)wedge_core_read(memory->core, from, data, to - from)
                               : pread(memory->fd, data, to - from, (off_t)from);
    chunk->from = from - address;
    chunk->to = chunk->from + (got > 0 ? (size_t)got : 0);
    if (fresh) {
        HASH_ADD(hh, memory->chunks, address, sizeof(chunk->address), chunk);
        memory->cached_bytes += CHUNK_BYTES;
    }
    return chunk;
}

bool wedge_target_memory_read(struct wedge_target_memory *memory, uint64_t address, void *buf, size_t len)
{
    uint8_t *out = buf;
    while (len) {
        const struct wedge_region *region = wedge_regions_find(memory->regions, address);
        if (!region || (!memory->core && (!region->read || region->write))) {
            memory->refused = true;
            memory->refused_at = address;
            return false;
        }
        uint64_t base = address & ~(uint64_t)(CHUNK_BYTES - 1);
        struct wedge_target_chunk *chunk = load_chunk(memory, region, base);
        size_t at = (size_t)(address - base);
        if (!chunk || at < chunk->from || at >= chunk->to)
            return false;
        size_t part = chunk->to - at < len ? chunk->to - at : len;
        memcpy(out, chunk->data + at, part);
        out += part;
        address += part;
        len -= part;
    }
    return true;
}
