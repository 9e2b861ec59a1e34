/* detector/symbols and the readers of ELF under it: names inside a symbol's bounds alone, files that are not what is
 * mapped refused, and images that lie about themselves. */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "detector/elf/elf_names.h"
#include "detector/elf/elf_symbols.h"
#include "detector/stacks/capture.h"
#include "detector/stacks/symbols.h"
#include "detector/stacks/unwind.h"
#include "detector/tests/stacks_harness.h"

#define MUTATIONS 1500

static const struct {
    const char *module;
    bool libc;
} modules[] = {
    {"/usr/lib/x86_64-linux-gnu/libc.so.6", true},
    {"/lib/libc-2.31.so", true},
    {"/lib64/ld-linux-x86-64.so.2", true},
    {"/lib/ld-2.31.so", true},
    {"/lib/libpthread.so.0", true},
    {"/lib/libpthread-2.31.so", true},
    {"/lib/ld-musl-x86_64.so.1", true},
    {"/opt/wedge/lib/libwedge-agent.so", true},
    {"/usr/lib/gcc/libasan.so.8", true},
    {"[vdso]", true},
    {"", false},
    {"/", false},
    {"/usr/lib/libcrypt.so.1", false},
    {"/usr/lib/libc++.so.1", false},
    {"/usr/lib/libc", false},
    {"/usr/lib/libc-client.so", false},
    {"/usr/lib/libwedge-agent2.so", false},
    {"/usr/lib/libc.so.6/program", false},
    {"/usr/bin/ld", false},
    {"/usr/bin/ld-linux", false},
};

START_TEST(test_is_libc)
{
    ck_assert_msg(wedge_symbols_is_libc(modules[_i].module) == modules[_i].libc, "%s", modules[_i].module);
}
END_TEST

/* Notes: namesz, descsz, type, name, desc. */
static const struct {
    uint32_t words[8];
    size_t len, align;
    size_t id_len; /* 0: none is found */
} notes[] = {
    {{4, 4, NT_GNU_BUILD_ID, 0x00554e47, 0x04030201}, 20, 4, 4},
    {{4, 2, NT_GNU_BUILD_ID, 0x00554e47, 0x04030201}, 20, 4, 2},
    {{4, 0, 1, 0x00554e47, 4, 4, NT_GNU_BUILD_ID, 0x00554e47}, 32, 4, 0}, /* cut before the id */
    {{4, 4, NT_GNU_BUILD_ID, 0x00554e47, 0x04030201}, 19, 4, 0}, /* cut in the id */
    {{4, 4, NT_GNU_BUILD_ID, 0x00554e47, 0x04030201}, 16, 4, 0},
    {{4, 4, NT_GNU_BUILD_ID, 0x00554e47, 0x04030201}, 11, 4, 0},
    {{4, 4, NT_GNU_BUILD_ID, 0x00554e47, 0x04030201}, 0, 4, 0},
    {{4, 1, NT_GNU_BUILD_ID, 0x00554e47, 0x04030201}, 20, 4, 0}, /* too short to be one */
    {{4, 65, NT_GNU_BUILD_ID, 0x00554e47, 0x04030201}, 20, 4, 0}, /* too long */
    {{4, UINT32_MAX, NT_GNU_BUILD_ID, 0x00554e47, 1}, 20, 4, 0},
    {{UINT32_MAX, 4, NT_GNU_BUILD_ID, 0x00554e47, 1}, 20, 4, 0},
    {{UINT32_MAX, UINT32_MAX, NT_GNU_BUILD_ID, 0x00554e47, 1}, 20, 8, 0},
    {{4, 4, NT_GNU_BUILD_ID, 0x00554e48, 1}, 20, 4, 0}, /* another's */
    {{0, 0, 0, 0, 0, 0, 0, 0}, 32, 4, 0}, /* empty ones, to the end */
};

static const struct {
    const char *module, *file, *function;
    bool runtime;
} frames[] = {
    {"/lib/libstdc++.so.6.0.30", NULL, "std::thread::join()", true},
    {"/lib/libgcc_s.so.1", NULL, NULL, true},
    {"/opt/p", "/usr/include/c++/12/bits/std_mutex.h", "std::mutex::lock()", true},
    {"/opt/p", "/usr/include/x86_64-linux-gnu/c++/12/bits/gthr-default.h", "__gthread_mutex_lock", true},
    {"/opt/p", "/usr/lib/llvm-14/bin/../include/c++/v1/mutex", "lock", true},
    {"/opt/p", "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/thread/mod.rs", "join", true},
    {"/opt/p", NULL, "std::sys::pal::unix::futex::futex_wait", true},
    {"/opt/p", NULL,
     "<alloc::boxed::Box<dyn core::ops::function::FnOnce<()>> as core::ops::function::FnOnce<()>>::call_once", true},
    {"/opt/p", NULL, "<pool::Queue as core::fmt::Debug>::fmt", false},
    {"/opt/p", "/home/me/rustc/library/main.rs", "std::mine", false}, /* the source is known, and it is one's own */
    {"/opt/p", "/home/me/src/c++/main.cc", "main", false},
    {"/opt/p", "/usr/include/boost/thread.hpp", "boost::thread::join", false},
    {"/opt/p", NULL, "stdlib::call", false},
    {"/opt/p", NULL, "void std::__invoke_impl<void, mine>(std::__invoke_other, mine&&)", true},
    {"/opt/p", NULL, "void mine::call(int, std::string)", false},
    {"/opt/p", NULL, "mine::Box<int, std::string>::take()", false},
    {"/opt/p", NULL, NULL, false},
    {"", NULL, NULL, false},
};

START_TEST(test_is_runtime)
{
    ck_assert_int_eq(wedge_symbols_is_runtime(frames[_i].module, frames[_i].file, frames[_i].function),
                     frames[_i].runtime);
}
END_TEST

START_TEST(test_notes)
{
    struct wedge_build_id id = {.len = 0};
    /* A heap copy of the exact length, so that a read past the end is seen by memcheck and the sanitizer. */
    uint8_t *copy = malloc(notes[_i].len ? notes[_i].len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, notes[_i].words, notes[_i].len);
    ck_assert_int_eq(wedge_build_id_in_notes(copy, notes[_i].len, notes[_i].align, &id), notes[_i].id_len != 0);
    ck_assert_uint_eq(id.len, notes[_i].id_len);
    free(copy);
}
END_TEST

START_TEST(test_build_ids)
{
    struct wedge_build_id none = {0}, a = {.len = 3, .bytes = {0xab, 0, 0x9f}}, b = a;
    char hex[2 * WEDGE_BUILD_ID_MAX + 1];
    wedge_build_id_hex(&a, hex);
    ck_assert_str_eq(hex, "ab009f");
    wedge_build_id_hex(&none, hex);
    ck_assert_str_eq(hex, "");
    ck_assert(wedge_build_id_equal(&a, &b));
    b.bytes[2]++;
    ck_assert(!wedge_build_id_equal(&a, &b));
    ck_assert(!wedge_build_id_equal(&none, &none)); /* nothing is not a match */
}
END_TEST

/* This process, looked at from inside. */
struct self {
    struct wedge_regions regions;
    struct wedge_target_memory memory;
    struct wedge_images images;
};
static void look_at_self(struct self *self)
{
    memset(self, 0, sizeof(*self));
    ck_assert_int_eq(wedge_regions_read(getpid(), getpid(), &self->regions), 0);
    ck_assert_int_eq(wedge_target_memory_open(getpid(), getpid(), &self->regions, &self->memory), 0);
    self->images.memory = &self->memory;
}
static void look_away(struct self *self)
{
    wedge_images_free(&self->images);
    wedge_target_memory_close(&self->memory);
    wedge_regions_free(&self->regions);
}

/* 17 bytes of code by its symbol; the 64 after it are nobody's. */
__asm__(".text\n.p2align 4\n.globl bounded_code\n.type bounded_code, @function\nbounded_code:\n"
        ".fill 17, 1, 0xcc\n.size bounded_code, . - bounded_code\n.fill 64, 1, 0xcc\n");
extern const char bounded_code[];

START_TEST(test_bounded_by_size)
{
    struct self self;
    size_t n;
    uint64_t code = (uint64_t)(uintptr_t)bounded_code;
    look_at_self(&self);
    struct wedge_image *image = wedge_images_find(&self.images, code);
    ck_assert_ptr_nonnull(image);
    struct wedge_elf_file *file = wedge_elf_of_image(&self.images, image, getpid());
    ck_assert_ptr_nonnull(file);
    for (uint64_t i = 0; i < 17; i++) {
        const struct wedge_symbol *symbol = wedge_symbols_at(file, code + i - image->bias, false, &n);
        ck_assert_ptr_nonnull(symbol);
        ck_assert_uint_eq(n, 1);
        ck_assert_str_eq(symbol->function, "bounded_code");
    }
    for (uint64_t i = 17; i < 17 + 64; i++)
        ck_assert_ptr_null(wedge_symbols_at(file, code + i - image->bias, false, &n)->function);
    ck_assert_ptr_null(wedge_symbols_at(file, UINT64_MAX, false, &n)->function);
    ck_assert_ptr_null(wedge_symbols_at(file, 0, false, &n)->function);
    look_away(&self);
}
END_TEST

/* A symbol that begins lower and reaches over a smaller one holds what the smaller one does not. */
START_TEST(test_nested_and_alias)
{
    struct self self;
    size_t n;
    uint64_t libc_read = (uint64_t)(uintptr_t)&read;
    look_at_self(&self);
    struct wedge_image *image = wedge_images_find(&self.images, libc_read);
    ck_assert_ptr_nonnull(image);
    struct wedge_elf_file *file = wedge_elf_of_image(&self.images, image, getpid());
    ck_assert_ptr_nonnull(file);
    /* read, __read and __GI___libc_read are one place: people know the first. */
    const struct wedge_symbol *symbols = wedge_symbols_at(file, libc_read - image->bias, true, &n);
    ck_assert_str_eq(symbols[n - 1].function, "read");
    look_away(&self);
}
END_TEST

START_TEST(test_callback)
{
    static const char *const cases[] = {"read", NULL};
    static const char *const programs[] = {"stacks_target_o2", "stacks_target_static", "stacks_target_no_cfi"};
    struct stacks_target target;
    struct wedge_snapshot snapshot;
    struct wedge_capture *capture;
    struct wedge_err err;
    stacks_target_start(&target, programs[_i], cases);
    stacks_snapshot_init(&snapshot, target.pid);
    ck_assert_uint_eq(snapshot.n_threads, 2);
    snapshot.threads[0].callback_address = target.address;
    snapshot.threads[1].callback_address = 16; /* nothing is there */
    ck_assert_int_eq(wedge_capture_proc(&snapshot, 0, 1000, NULL, &capture, &err), 0);
    wedge_capture_symbols(capture);
    wedge_capture_free(capture);
    ck_assert_ptr_nonnull(snapshot.threads[0].callback_function);
    ck_assert_str_eq(snapshot.threads[0].callback_function, target.function);
    ck_assert_ptr_null(snapshot.threads[1].callback_function);
    stacks_target_end(&target);
    stacks_snapshot_done(&snapshot);
}
END_TEST

/* Nothing but a regular file is opened, and nothing blocks. */
START_TEST(test_open_regular)
{
    char dir[] = "/tmp/wedge-symbols-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/fifo", dir);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(wedge_elf_open_regular(AT_FDCWD, path), -1);
    unlink(path);
    ck_assert_int_eq(wedge_elf_open_regular(AT_FDCWD, dir), -1);
    ck_assert_int_eq(wedge_elf_open_regular(AT_FDCWD, "/dev/null"), -1);
    ck_assert_int_eq(wedge_elf_open_regular(AT_FDCWD, "/nonexistent"), -1);
    int fd = wedge_elf_open_regular(AT_FDCWD, "/proc/self/exe");
    ck_assert_int_ge(fd, 0);
    close(fd);
    rmdir(dir);
}
END_TEST

/* ---- the table of symbols against one that looks at every symbol for every address ---- */

static const char *const symbol_files[] = {"stacks_target_o2", "stacks_odd_static", "/lib/x86_64-linux-gnu/libc.so.6",
                                           "/lib64/ld-linux-x86-64.so.2"};
#define SYMBOLS_EACH 64 /* of the functions are asked for, evenly spread */

struct plain_symbol {
    uint64_t address, size;
    const char *name;
    bool dynamic;
};

static size_t read_plainly(Elf *elf, struct plain_symbol **ret)
{
    struct plain_symbol *all = NULL;
    size_t n = 0;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn)) != NULL;) {
        GElf_Shdr shdr;
        GElf_Sym sym;
        Elf_Data *data = gelf_getshdr(scn, &shdr) ? elf_getdata(scn, NULL) : NULL;
        if (shdr.sh_type != SHT_SYMTAB && shdr.sh_type != SHT_DYNSYM)
            continue;
        for (int i = 0; gelf_getsym(data, i, &sym); i++) {
            if ((GELF_ST_TYPE(sym.st_info) != STT_FUNC && GELF_ST_TYPE(sym.st_info) != STT_GNU_IFUNC) ||
                sym.st_shndx == SHN_UNDEF || !sym.st_size)
                continue;
            struct plain_symbol *more = realloc(all, (n + 1) * sizeof(*all));
            ck_assert_ptr_nonnull(more);
            all = more;
            all[n++] = (struct plain_symbol){sym.st_value, sym.st_size, elf_strptr(elf, shdr.sh_link, sym.st_name),
                                             shdr.sh_type == SHT_DYNSYM};
        }
    }
    *ret = all;
    return n;
}

static void check_address(struct wedge_elf_symbols *symbols, const struct plain_symbol *all, size_t n, uint64_t at)
{
    struct wedge_elf_symbol found;
    uint64_t nearest = 0;
    bool any = false, named = false, exported = false;
    for (size_t i = 0; i < n; i++)
        if (at - all[i].address < all[i].size && (!any || all[i].address > nearest)) {
            nearest = all[i].address;
            any = true;
        }
    ck_assert_int_eq(wedge_elf_symbols_find(symbols, at, &found), any);
    if (!any)
        return;
    ck_assert_uint_eq(found.address, nearest);
    ck_assert_uint_lt(at - found.address, found.size);
    for (size_t i = 0; i < n; i++)
        if (all[i].address == nearest && at - nearest < all[i].size) {
            named |= strcmp(all[i].name, found.name) == 0 && all[i].dynamic == found.dynamic;
            exported |= all[i].dynamic;
        }
    ck_assert(named);
    ck_assert_int_eq(found.dynamic, exported); /* an exported name goes before all others */
}

static void check_elsewhere(struct wedge_elf_symbols *symbols, const struct plain_symbol *all, size_t n,
                            const char *name, uint64_t at)
{
    uint64_t lowest = UINT64_MAX, address = 0;
    bool holds = false;
    for (size_t i = 0; i < n; i++)
        if (all[i].dynamic && strcmp(all[i].name, name) == 0) {
            lowest = all[i].address < lowest ? all[i].address : lowest;
            holds |= at - all[i].address < all[i].size;
        }
    bool expected = lowest != UINT64_MAX && !holds;
    ck_assert_int_eq(wedge_elf_symbols_elsewhere(symbols, name, at, &address), expected);
    if (expected)
        ck_assert_uint_eq(address, lowest);
}

START_TEST(test_every_symbol)
{
    char path[4096];
    struct plain_symbol *all;
    elf_version(EV_CURRENT);
    if (symbol_files[_i][0] == '/')
        snprintf(path, sizeof(path), "%s", symbol_files[_i]);
    else
        stacks_path(symbol_files[_i], path, sizeof(path));
    Elf *elf = wedge_elf_read(wedge_elf_open_regular(AT_FDCWD, path));
    ck_assert_ptr_nonnull(elf);
    struct wedge_build_id by_libelf = {0}, own = {0};
    int fd = wedge_elf_open_regular(AT_FDCWD, path);
    ck_assert(wedge_elf_build_id(elf, &by_libelf) && wedge_elf_names_build_id(fd, &own));
    ck_assert(wedge_build_id_equal(&by_libelf, &own));
    close(fd);
    size_t n = read_plainly(elf, &all), exported = 0;
    ck_assert_uint_gt(n, 10);
    struct wedge_elf_symbols *symbols = wedge_elf_symbols_read(elf, NULL);
    ck_assert_ptr_nonnull(symbols);
    size_t step = n / SYMBOLS_EACH + 1;
    for (size_t i = 0; i < n; i += step) {
        check_address(symbols, all, n, all[i].address);
        check_address(symbols, all, n, all[i].address - 1);
        check_address(symbols, all, n, all[i].address + all[i].size - 1);
        check_address(symbols, all, n, all[i].address + all[i].size);
        check_elsewhere(symbols, all, n, all[i].name, all[i].address);
        check_elsewhere(symbols, all, n, all[i].name, all[(i + n / 2) % n].address);
        exported += all[i].dynamic;
    }
    check_elsewhere(symbols, all, n, "no function of this name", all[0].address);
    check_address(symbols, all, n, 0);
    check_address(symbols, all, n, UINT64_MAX);
    ck_assert(exported || _i < 2); /* those of a library are asked for */
    wedge_elf_symbols_free(symbols);
    wedge_elf_drop(elf);
    free(all);
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

struct image_file {
    uint8_t *data;
    size_t size;
    uint64_t hdr, hdr_size; /* .eh_frame_hdr: here address and offset agree */
    uint64_t text, text_size;
};

static void read_program(const char *name, struct image_file *file)
{
    char path[4096];
    struct stat st;
    stacks_path(name, path, sizeof(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    file->size = (size_t)st.st_size;
    file->data = malloc(file->size);
    ck_assert_ptr_nonnull(file->data);
    ck_assert_int_eq(read(fd, file->data, file->size), st.st_size);
    close(fd);
    const Elf64_Ehdr *ehdr = (const void *)file->data;
    const Elf64_Phdr *phdrs = (const void *)(file->data + ehdr->e_phoff);
    for (size_t i = 0; i < ehdr->e_phnum; i++) {
        if (phdrs[i].p_type == PT_GNU_EH_FRAME) {
            ck_assert_uint_eq(phdrs[i].p_vaddr, phdrs[i].p_offset);
            file->hdr = phdrs[i].p_offset;
            file->hdr_size = phdrs[i].p_memsz;
        } else if (phdrs[i].p_type == PT_LOAD && (phdrs[i].p_flags & PF_X)) {
            file->text = phdrs[i].p_offset;
            file->text_size = phdrs[i].p_filesz;
        }
    }
    ck_assert(file->hdr && file->text);
}

/* Some bytes of the headers, of the table, or of the unwind information behind it, to anything. */
static void mutate(const struct image_file *file, uint8_t *data, uint32_t *random)
{
    for (uint32_t i = next_random(random) % 6; i != UINT32_MAX; i--) {
        uint64_t at;
        switch (next_random(random) % 3) {
        case 0:
            at = next_random(random) % 1024;
            break;
        case 1:
            at = file->hdr + next_random(random) % file->hdr_size;
            break;
        default:
            at = file->hdr + file->hdr_size + next_random(random) % 4096;
            break;
        }
        if (at < file->size)
            data[at] = (uint8_t)next_random(random);
    }
}

/* What the mapped image says is believed only as far as it adds up; libunwind and libdw are led over it as well. */
static void explore(uint8_t *area, const struct image_file *file, uint32_t *random, size_t *images_found)
{
    struct self self;
    struct wedge_unwinder *unwinder;
    static struct wedge_unwind_stack stack;
    static uint8_t bytes[16384];
    look_at_self(&self);
    ck_assert_int_eq(wedge_unwinder_new(&self.images, getpid(), &unwinder), 0);
    for (int i = 0; i < 4; i++) {
        uint64_t pc = (uint64_t)(uintptr_t)area + file->text + next_random(random) % file->text_size;
        struct wedge_image *image = wedge_images_find(&self.images, pc);
        if (!image)
            continue;
        ++*images_found;
        ck_assert(pc >= image->text_lo && pc < image->text_hi && image->lo <= image->text_lo);
        if (image->searchable)
            ck_assert(image->table >= image->lo && image->table < image->hi &&
                      image->n_fdes <= (image->hi - image->table) / 8);
        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = (uint8_t)next_random(random);
        memset(&stack, 0, sizeof(stack));
        stack.regs.rip = pc;
        stack.regs.rsp = stack.regs.rbp = 0x7ffd00000000;
        stack.windows[0] = (struct wedge_unwind_window){0x7ffd00000000 - 128, sizeof(bytes), bytes};
        stack.n_windows = 1;
        wedge_unwind_fast(unwinder, &stack);
        ck_assert_uint_ge(stack.n_frames, 1);
        ck_assert_uint_le(stack.n_frames, WEDGE_UNWIND_FRAMES_MAX);
    }
    wedge_unwinder_free(unwinder);
    look_away(&self);
}

START_TEST(test_hostile_images)
{
    struct image_file file = {0};
    uint32_t random = 4711;
    size_t found = 0;
    read_program("stacks_target_o2", &file);
    int fd = memfd_create("image", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (int i = 0; i < MUTATIONS; i++) {
        uint8_t *data = malloc(file.size);
        ck_assert_ptr_nonnull(data);
        memcpy(data, file.data, file.size);
        if (i)
            mutate(&file, data, &random);
        ck_assert_int_eq(pwrite(fd, data, file.size, 0), (ssize_t)file.size);
        uint8_t *area = mmap(NULL, file.size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
        ck_assert_ptr_ne(area, MAP_FAILED);
        explore(area, &file, &random, &found);
        munmap(area, file.size);
        free(data);
        if (i == 0)
            ck_assert_uint_eq(found, 4); /* the untouched one is taken for what it is */
    }
    ck_assert_uint_gt(found, MUTATIONS); /* and most of the others reach the parsers behind the header */
    close(fd);
    free(file.data);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_is_libc, 0, sizeof(modules) / sizeof(modules[0]));
    tcase_add_loop_test(tcase, test_is_runtime, 0, sizeof(frames) / sizeof(frames[0]));
    tcase_add_loop_test(tcase, test_notes, 0, sizeof(notes) / sizeof(notes[0]));
    tcase_add_test(tcase, test_build_ids);
    tcase_add_test(tcase, test_bounded_by_size);
    tcase_add_test(tcase, test_nested_and_alias);
    tcase_add_loop_test(tcase, test_callback, 0, 3);
    tcase_add_test(tcase, test_open_regular);
    tcase_add_loop_test(tcase, test_every_symbol, 0, sizeof(symbol_files) / sizeof(symbol_files[0]));
    tcase_add_test(tcase, test_hostile_images);
}

int main(void)
{
    return wedge_test_main("symbols", 60, fill);
}
