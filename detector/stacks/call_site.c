#include "detector/stacks/call_site.h"

#include <gelf.h>
#include <string.h>

#define CALL_NEAR  0xe8 /* e8 rel32 */
#define INDIRECT   0xff /* ff 15 disp32: call *disp(%rip); ff 25 disp32: jmp *disp(%rip) */
#define CALL_MODRM 0x15
#define JUMP_MODRM 0x25
#define BND_PREFIX 0xf2
#define STUB_BYTES 11 /* endbr64, bnd, jmp */
#define RELOCS_MAX (1u << 22)

static uint64_t relative(uint64_t next, const uint8_t *disp)
{
    int32_t value;
    memcpy(&value, disp, sizeof(value));
    return next + (uint64_t)(int64_t)value;
}

/* The slot that a stub of the linkage table jumps through; 0 when there is no stub. */
static uint64_t stub_slot(struct wedge_images *images, uint64_t address)
{
    static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
    uint8_t code[STUB_BYTES];
    size_t at = 0;
    if (!wedge_target_memory_read(images->memory, address, code, sizeof(code)))
        return 0;
    if (memcmp(code, endbr64, sizeof(endbr64)) == 0)
        at += sizeof(endbr64);
    if (code[at] == BND_PREFIX)
        at++;
    if (code[at] != INDIRECT || code[at + 1] != JUMP_MODRM)
        return 0;
    return relative(address + at + 6, code + at + 2);
}

/* The name of the symbol whose address the dynamic linker writes to `slot`. */
static const char *relocation_name(Elf *elf, uint64_t slot)
{
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn)) != NULL;) {
        GElf_Shdr shdr, symbols_shdr;
        if (!gelf_getshdr(scn, &shdr) || shdr.sh_type != SHT_RELA)
            continue;
        Elf_Scn *symbols_scn = elf_getscn(elf, shdr.sh_link);
        Elf_Data *data = elf_getdata(scn, NULL);
        if (!data || !symbols_scn || !gelf_getshdr(symbols_scn, &symbols_shdr))
            continue;
        for (size_t i = 0; i < data->d_size / sizeof(Elf64_Rela) && i < RELOCS_MAX; i++) {
            GElf_Rela rela;
            GElf_Sym sym;
            if (!gelf_getrela(data, (int)i, &rela) || rela.r_offset != slot)
                continue;
            unsigned type = GELF_R_TYPE(rela.r_info);
            Elf_Data *symbols = elf_getdata(symbols_scn, NULL);
            if ((type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) || !symbols ||
                !gelf_getsym(symbols, (int)GELF_R_SYM(rela.r_info), &sym))
                return NULL;
            return elf_strptr(elf, symbols_shdr.sh_link, sym.st_name);
        }
    }
    return NULL;
}

const char *wedge_call_site_name(struct wedge_images *images, const struct wedge_image *image,
                                 struct wedge_elf_file *file, uint64_t return_pc)
{
    uint8_t code[6];
    uint64_t slot = 0;
    if (return_pc < sizeof(code) ||
        !wedge_target_memory_read(images->memory, return_pc - sizeof(code), code, sizeof(code)))
        return NULL;
    if (code[0] == INDIRECT && code[1] == CALL_MODRM)
        slot = relative(return_pc, code + 2);
    else if (code[1] == CALL_NEAR)
        slot = stub_slot(images, relative(return_pc, code + 2));
    const char *name = slot ? relocation_name(file->elf, slot - image->bias) : NULL;
    return name && name[0] ? name : NULL;
}
