#include "detector/elf/elf_image.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "detector/stacks/walk.h"

#define PHDRS_MAX      128
#define NOTES_MAX      4096u
#define IMAGES_MAX     8192u
#define FDES_MAX       (1u << 24)
#define CANDIDATES_MAX 64 /* headers of one file mapped again and again */

/* Encodings of .eh_frame_hdr (LSB, "DWARF Extensions"): the only ones that linkers write. */
#define EH_PE_UDATA4         0x03
#define EH_PE_PCREL_SDATA4   0x1b
#define EH_PE_DATAREL_SDATA4 0x3b

struct eh_frame_hdr {
    uint8_t version, eh_frame_ptr_enc, fde_count_enc, table_enc;
    int32_t eh_frame_ptr;
    uint32_t fde_count;
};

bool wedge_build_id_in_notes(const uint8_t *notes, size_t len, size_t align, struct wedge_build_id *ret)
{
    size_t at = 0;
    if (align != 8)
        align = 4;
    while (len - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr nhdr;
        memcpy(&nhdr, notes + at, sizeof(nhdr));
        at += sizeof(nhdr);
        size_t left = len - at;
        size_t name_room = (nhdr.n_namesz + align - 1) & ~(align - 1);
        size_t desc_room = (nhdr.n_descsz + align - 1) & ~(align - 1);
        if (nhdr.n_namesz > left || name_room > left || nhdr.n_descsz > left - name_room)
            return false;
        if (nhdr.n_type == NT_GNU_BUILD_ID && nhdr.n_namesz == 4 && memcmp(notes + at, "GNU", 4) == 0) {
            if (nhdr.n_descsz < 2 || nhdr.n_descsz > WEDGE_BUILD_ID_MAX)
                return false;
            ret->len = nhdr.n_descsz;
            memcpy(ret->bytes, notes + at + name_room, nhdr.n_descsz);
            return true;
        }
        if (desc_room > left - name_room)
            return false;
        at += name_room + desc_room;
    }
    return false;
}

bool wedge_build_id_equal(const struct wedge_build_id *a, const struct wedge_build_id *b)
{
    return a->len && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

void wedge_build_id_hex(const struct wedge_build_id *id, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < id->len; i++) {
        *ret++ = digits[id->bytes[i] >> 4];
        *ret++ = digits[id->bytes[i] & 15];
    }
    *ret = 0;
}

static size_t read_phdrs(struct wedge_target_memory *memory, uint64_t header, Elf64_Phdr *phdrs, uint64_t *ret_entry)
{
    Elf64_Ehdr ehdr;
    if (!wedge_target_memory_read(memory, header, &ehdr, sizeof(ehdr)) || memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 ||
        ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_ident[EI_DATA] != ELFDATA2LSB || ehdr.e_machine != EM_X86_64 ||
        ehdr.e_phentsize != sizeof(Elf64_Phdr) || ehdr.e_phnum == 0 || ehdr.e_phnum > PHDRS_MAX ||
        ehdr.e_phoff > (1u << 20))
        return 0;
    if (!wedge_target_memory_read(memory, header + ehdr.e_phoff, phdrs, ehdr.e_phnum * sizeof(Elf64_Phdr)))
        return 0;
    *ret_entry = ehdr.e_entry;
    return ehdr.e_phnum;
}

static bool within(const struct wedge_image *image, uint64_t address, uint64_t bytes)
{
    return address >= image->lo && address < image->hi && bytes <= image->hi - address;
}

/*
 * The table at the end of .eh_frame_hdr: fde_count pairs of 32-bit offsets from the header, sorted by the first.
 * libunwind takes no other encoding and ends the process when it meets one, so it is shown nothing else.
 */
static void check_table(struct wedge_target_memory *memory, struct wedge_image *image, uint64_t address, uint64_t bytes)
{
    struct eh_frame_hdr hdr;
    int32_t first[2], last[2];
    image->unsearchable = "its table of unwind information cannot be read";
    if (bytes < sizeof(hdr) || !within(image, address, bytes) ||
        !wedge_target_memory_read(memory, address, &hdr, sizeof(hdr)))
        return;
    image->unsearchable = "its table of unwind information has an unknown encoding";
    if (hdr.version != 1 || hdr.eh_frame_ptr_enc != EH_PE_PCREL_SDATA4 || hdr.fde_count_enc != EH_PE_UDATA4 ||
        hdr.table_enc != EH_PE_DATAREL_SDATA4)
        return;
    image->unsearchable = "its table of unwind information does not add up";
    if (hdr.fde_count == 0 || hdr.fde_count > FDES_MAX || (bytes - sizeof(hdr)) / 8 < hdr.fde_count)
        return;
    uint64_t table = address + sizeof(hdr);
    if (!wedge_target_memory_read(memory, table, first, sizeof(first)) ||
        !wedge_target_memory_read(memory, table + (hdr.fde_count - 1) * 8ull, last, sizeof(last)) ||
        first[0] > last[0] || !within(image, address + (uint64_t)(int64_t)first[1], 4) ||
        !within(image, address + (uint64_t)(int64_t)last[1], 4))
        return;
    image->hdr = address;
    image->table = table;
    image->n_fdes = hdr.fde_count;
    image->searchable = true;
    image->unsearchable = NULL;
}

static void read_build_id(struct wedge_target_memory *memory, struct wedge_image *image, const Elf64_Phdr *phdr)
{
    uint8_t notes[NOTES_MAX];
    uint64_t address = image->bias + phdr->p_vaddr;
    size_t len = phdr->p_memsz < sizeof(notes) ? (size_t)phdr->p_memsz : sizeof(notes);
    if (!image->build_id.len && within(image, address, len) && wedge_target_memory_read(memory, address, notes, len))
        wedge_build_id_in_notes(notes, len, phdr->p_align, &image->build_id);
}

/* Fills *image from the header in `region`; false when that is not the header of an image whose text holds `pc`. */
static bool read_image(struct wedge_target_memory *memory, const struct wedge_region *region, uint64_t pc,
                       struct wedge_image *image)
{
    Elf64_Phdr phdrs[PHDRS_MAX];
    uint64_t entry = 0;
    size_t n = read_phdrs(memory, region->start, phdrs, &entry);
    bool based = false, holds = false;
    *image = (struct wedge_image){.region = region, .lo = UINT64_MAX, .text_lo = UINT64_MAX};
    for (size_t i = 0; i < n && !based; i++) {
        /* The kernel and ld.so map whole pages: the header is in the segment whose first page is the file's first. */
        if (phdrs[i].p_type == PT_LOAD && phdrs[i].p_offset < 4096) {
            image->bias = region->start - (phdrs[i].p_vaddr - phdrs[i].p_offset);
            based = true;
        }
    }
    for (size_t i = 0; i < n && based; i++) {
        /* Whole pages are mapped: lld lets a segment begin in the middle of one. */
        uint64_t lo = (image->bias + phdrs[i].p_vaddr) & ~(uint64_t)4095;
        uint64_t hi = image->bias + phdrs[i].p_vaddr + phdrs[i].p_memsz;
        if (phdrs[i].p_type != PT_LOAD || hi <= lo)
            continue;
        image->lo = lo < image->lo ? lo : image->lo;
        image->hi = hi > image->hi ? hi : image->hi;
        if (!(phdrs[i].p_flags & PF_X))
            continue;
        image->text_lo = lo < image->text_lo ? lo : image->text_lo;
        image->text_hi = hi > image->text_hi ? hi : image->text_hi;
        holds |= pc >= lo && pc < hi;
    }
    if (!holds)
        return false;
    image->entry = image->bias + entry;
    image->unsearchable = "it has no .eh_frame_hdr";
    for (size_t i = 0; i < n; i++) {
        if (phdrs[i].p_type == PT_NOTE)
            read_build_id(memory, image, &phdrs[i]);
        else if (phdrs[i].p_type == PT_GNU_EH_FRAME)
            check_table(memory, image, image->bias + phdrs[i].p_vaddr, phdrs[i].p_memsz);
    }
    return true;
}

static bool same_file(const struct wedge_region *a, const struct wedge_region *b)
{
    return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
           strcmp(a->path, b->path) == 0;
}

struct wedge_image *wedge_images_find(struct wedge_images *images, uint64_t pc)
{
    for (size_t i = 0; i < images->n; i++)
        if (pc >= images->all[i]->text_lo && pc < images->all[i]->text_hi)
            return images->all[i];
    const struct wedge_regions *regions = images->memory->regions;
    const struct wedge_region *region = wedge_regions_find(regions, pc);
    if (!region || !region->exec || (!region->inode && strcmp(region->path, "[vdso]") != 0))
        return NULL;
    /* The header lies below, in the first page of the file; the same file may be mapped more than once. */
    struct wedge_image image;
    int candidates = 0;
    for (const struct wedge_region *r = region; candidates < CANDIDATES_MAX; r--) {
        if (same_file(r, region) && r->offset == 0) {
            candidates++;
            if (read_image(images->memory, r, pc, &image))
                break;
        }
        if (r == regions->all)
            return NULL;
    }
    if (candidates == CANDIDATES_MAX || images->n == IMAGES_MAX)
        return NULL;
    if (images->n == images->cap) {
        size_t cap = images->cap ? images->cap * 2 : 32;
        struct wedge_image **all = realloc(images->all, cap * sizeof(struct wedge_image *));
        if (!all)
            return NULL;
        images->all = all;
        images->cap = cap;
    }
    struct wedge_image *kept = malloc(sizeof(*kept));
    if (!kept)
        return NULL;
    *kept = image;
    images->all[images->n++] = kept;
    return kept;
}

void wedge_images_free(struct wedge_images *images)
{
    if (!images)
        return;
    for (size_t i = 0; i < images->n; i++) {
        if (images->all[i]->rows_own)
            wedge_walk_rows_free(images->all[i]->rows);
        free(images->all[i]);
    }
    free(images->all);
    images->all = NULL;
    images->n = images->cap = 0;
}
