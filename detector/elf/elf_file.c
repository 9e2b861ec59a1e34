#include "detector/elf/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "detector/core/core_file.h"
#include "detector/kernel/mounts.h"
#include "detector/stacks/symbols.h"

#define VDSO_MAX_BYTES (1u << 20)

static struct wedge_elf_file *cache; /* see the header: as long as the process */
static size_t n_cached;

static struct opened {
    uint64_t inode;
    unsigned dev_major, dev_minor;
    int fd; /* -1: taken, or it could not be had */
} opened[WEDGE_ELF_FILES_MAX];
static size_t n_opened;

/* openat2(2) and no other call that opens: the only one that the sandbox lets through (detector/stacks/sandbox.h). */
static int open_file(int dirfd, const char *path, unsigned flags, unsigned resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

/* Opens what an O_PATH descriptor names, once it is known to be a regular file. Takes `named` over. `pid`: not when a
 * process serves it, either (detector/kernel/mounts.h); 0: whoever does. */
static int reopen_regular(int named, pid_t pid)
{
    struct statx st;
    int fd = -1;
    if (named < 0)
        return -1;
    /* AT_STATX_DONT_SYNC: type and device are known without asking a server. */
    if (statx(named, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 && S_ISREG(st.stx_mode) &&
        !(pid && wedge_mounts_is_served(pid, st.stx_dev_major, st.stx_dev_minor))) {
        char self[48];
        snprintf(self, sizeof(self), "/proc/self/fd/%d", named);
        fd = open_file(AT_FDCWD, self, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    }
    close(named);
    return fd;
}

int wedge_elf_open_regular(int dirfd, const char *path)
{
    return reopen_regular(open_file(dirfd, path, O_PATH, 0), 0);
}

/* `path` as the process sees it: below its root, links and ".." resolved inside it. */
static int open_in_root(int pid, const char *path)
{
    char root[48];
    snprintf(root, sizeof(root), "/proc/%d/root", pid);
    int dir = open_file(AT_FDCWD, root, O_PATH | O_DIRECTORY, 0);
    if (dir < 0)
        return -1;
    int named = open_file(dir, path, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    close(dir);
    return reopen_regular(named, 0);
}

int wedge_elf_open_link(pid_t tid, const char *file)
{
    char path[96];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, file);
    return reopen_regular(open_file(AT_FDCWD, path, O_PATH, 0), tid);
}

int wedge_elf_open_mapped(pid_t tid, const struct wedge_proc_map *map)
{
    char file[64];
    struct stat st;
    if (wedge_mounts_is_served(tid, map->dev_major, map->dev_minor))
        return -1;
    snprintf(file, sizeof(file), "map_files/%" PRIx64 "-%" PRIx64, map->start, map->end);
    int fd = wedge_elf_open_link(tid, file);
    if (fd < 0 && map->path[0] == '/')
        fd = open_in_root((int)tid, map->path);
    if (fd >= 0 && (fstat(fd, &st) || st.st_ino != map->inode)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void wedge_elf_drop(Elf *elf)
{
    size_t size = 0;
    char *data = elf ? elf_rawfile(elf, &size) : NULL;
    elf_end(elf);
    if (data)
        munmap(data, size);
}

/* libelf writes into what elf_memory(3) was given: the header of a section that it has decompressed (elf_compress(3),
 * which libdw calls for each compressed section). Of a mapped file the table of sections, which is all that it writes
 * to, becomes a private copy then; all of a file would count against RLIMIT_DATA. */
static bool make_sections_writable(char *data, size_t size)
{
    Elf64_Ehdr ehdr;
    memcpy(&ehdr, data, sizeof(ehdr));
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = 0, end = size;
    bool is_64 = ehdr.e_ident[EI_CLASS] == ELFCLASS64;
    if (is_64 && ehdr.e_shoff < size)
        from = ehdr.e_shoff / page * page;
    if (is_64 && ehdr.e_shnum && ehdr.e_shoff < size) { /* none: more than the header has room for */
        size_t len = (size_t)ehdr.e_shnum * ehdr.e_shentsize;
        end = len < size - ehdr.e_shoff ? ehdr.e_shoff + len : size;
    }
    return mprotect(data + from, end - from, PROT_READ | PROT_WRITE) == 0;
}

/* The whole file as an Elf that needs no descriptor. A copy as long as that is cheap: the file's owner may truncate
 * it while we read, and a mapping would then end us with SIGBUS. A file that root alone may write, as the libraries of
 * the system, is mapped: of 7 MB of libc and its debug file some 100 kB are looked at. Takes `fd` over. */
Elf *wedge_elf_read(int fd)
{
    struct stat st;
    Elf *elf = NULL;
    if (fstat(fd, &st) || st.st_size < (off_t)sizeof(Elf64_Ehdr) || (uint64_t)st.st_size > WEDGE_ELF_MAX_BYTES)
        goto out;
    size_t size = (size_t)st.st_size;
    bool root_alone = st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH));
    bool copy = size <= WEDGE_ELF_COPIED_MAX_BYTES && !root_alone;
    char *data = mmap(NULL, size, copy ? PROT_READ | PROT_WRITE : PROT_READ,
                      copy ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE, copy ? -1 : fd, 0);
    if (data == MAP_FAILED)
        goto out;
    for (size_t at = 0; copy && at < size;) {
        ssize_t got = pread(fd, data + at, size - at, (off_t)at);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            break; /* what is missing stays zero */
        at += got > 0 ? (size_t)got : 0;
    }
    elf = copy || make_sections_writable(data, size) ? elf_memory(data, size) : NULL;
    if (elf && elf_kind(elf) != ELF_K_ELF) {
        elf_end(elf);
        elf = NULL;
    }
    if (!elf)
        munmap(data, size);
out:
    close(fd);
    return elf;
}

bool wedge_elf_build_id(Elf *elf, struct wedge_build_id *ret)
{
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn)) != NULL;) {
        GElf_Shdr shdr;
        if (!gelf_getshdr(scn, &shdr) || shdr.sh_type != SHT_NOTE)
            continue;
        Elf_Data *data = elf_rawdata(scn, NULL);
        if (data && data->d_buf && wedge_build_id_in_notes(data->d_buf, data->d_size, shdr.sh_addralign, ret))
            return true;
    }
    size_t n = 0;
    elf_getphdrnum(elf, &n);
    for (size_t i = 0; i < n && i < 128; i++) {
        GElf_Phdr phdr;
        if (!gelf_getphdr(elf, (int)i, &phdr) || phdr.p_type != PT_NOTE || phdr.p_filesz > (1u << 20))
            continue;
        Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)phdr.p_offset, phdr.p_filesz, ELF_T_BYTE);
        if (data && data->d_buf && wedge_build_id_in_notes(data->d_buf, data->d_size, phdr.p_align, ret))
            return true;
    }
    return false;
}

/* Is this open file what is mapped? By build-id where memory has one, else by device and inode. */
static bool matches(Elf *elf, const struct stat *st, const struct wedge_image *image)
{
    struct wedge_build_id id = {0};
    if (image->build_id.len)
        return wedge_elf_build_id(elf, &id) && wedge_build_id_equal(&id, &image->build_id);
    return st->st_ino == image->region->inode && major(st->st_dev) == image->region->dev_major &&
           minor(st->st_dev) == image->region->dev_minor;
}

/* The kernel's link leads to the mapped file itself, deleted or not, whatever its name leads to by now. */
static int open_mapped(const struct wedge_region *region, int pid)
{
    char path[96];
    snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, region->start, region->end);
    return wedge_elf_open_regular(AT_FDCWD, path);
}

static int open_exe(int pid)
{
    char path[48];
    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    return wedge_elf_open_regular(AT_FDCWD, path);
}

static struct opened *find_opened(const struct wedge_region *region)
{
    for (size_t i = 0; i < n_opened; i++)
        if (opened[i].inode == region->inode && opened[i].dev_major == region->dev_major &&
            opened[i].dev_minor == region->dev_minor)
            return &opened[i];
    return NULL;
}

/* Is this the file of the region, as far as its inode tells? Its device may be another one in maps (btrfs, overlayfs). */
static int if_same_inode(int fd, const struct wedge_region *region)
{
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) || st.st_ino != region->inode)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void wedge_elf_open_all(const struct wedge_regions *regions, int pid)
{
    for (size_t i = 0; i < regions->n && n_opened < WEDGE_ELF_FILES_MAX; i++) {
        const struct wedge_region *region = &regions->all[i];
        if (!region->exec || !region->inode || find_opened(region))
            continue;
        int fd = open_mapped(region, pid);
        if (fd < 0)
            fd = if_same_inode(open_exe(pid), region);
        opened[n_opened++] = (struct opened){region->inode, region->dev_major, region->dev_minor, fd};
    }
}

size_t wedge_elf_list_opened(int *ret_fds, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < n_opened && n < room; i++)
        if (opened[i].fd >= 0)
            ret_fds[n++] = opened[i].fd;
    return n;
}

static int take_opened(const struct wedge_region *region)
{
    struct opened *file = find_opened(region);
    int fd = file ? file->fd : -1;
    if (file)
        file->fd = -1;
    return fd;
}

static Elf *open_image_file(const struct wedge_image *image, int pid)
{
    const struct wedge_region *region = image->region;
    struct stat st;
    for (int way = 0; way < 4; way++) {
        int fd = -1;
        if (way == 0 && (fd = take_opened(region)) < 0)
            fd = open_mapped(region, pid);
        else if (way == 1)
            fd = open_exe(pid);
        else if (way > 1 && !region->deleted && region->path[0] == '/')
            fd = way == 2 ? open_in_root(pid, region->path) : wedge_elf_open_regular(AT_FDCWD, region->path);
        if (fd < 0)
            continue;
        if (fstat(fd, &st)) {
            close(fd);
            continue;
        }
        Elf *elf = wedge_elf_read(fd);
        if (elf && (matches(elf, &st, image) || (way == 0 && !image->build_id.len)))
            return elf;
        wedge_elf_drop(elf);
    }
    return NULL;
}

/* A core's mapped files are opened and compared by core_memory.c. */
static Elf *open_core_file(struct wedge_core *core, const struct wedge_image *image)
{
    int fd = wedge_core_file_of(core, image->region);
    fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    return fd >= 0 ? wedge_elf_read(fd) : NULL;
}

/* The vDSO is a whole ELF file in memory. */
static Elf *read_vdso(struct wedge_images *images, const struct wedge_image *image)
{
    size_t size = (size_t)(image->region->end - image->region->start);
    if (size > VDSO_MAX_BYTES)
        return NULL;
    char *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return NULL;
    Elf *elf = NULL;
    if (wedge_target_memory_read(images->memory, image->region->start, data, size))
        elf = elf_memory(data, size);
    if (!elf)
        munmap(data, size);
    return elf;
}

static struct wedge_elf_file *find_cached(const struct wedge_image *image)
{
    for (struct wedge_elf_file *file = cache; file; file = file->next) {
        if (image->build_id.len ? wedge_build_id_equal(&file->build_id, &image->build_id)
                                : image->region->inode && file->inode == image->region->inode &&
                                      file->dev_major == image->region->dev_major &&
                                      file->dev_minor == image->region->dev_minor && !file->build_id.len)
            return file;
    }
    return NULL;
}

struct wedge_elf_file *wedge_elf_of_image(struct wedge_images *images, struct wedge_image *image, int pid)
{
    if (image->file_tried)
        return image->file;
    image->file_tried = true;
    image->file = find_cached(image);
    if (image->file || n_cached == WEDGE_ELF_FILES_MAX)
        return image->file;
    elf_version(EV_CURRENT);
    Elf *elf;
    if (!image->region->inode)
        elf = read_vdso(images, image);
    else if (images->memory->core)
        elf = open_core_file(images->memory->core, image);
    else
        elf = open_image_file(image, pid);
    if (!elf)
        return NULL;
    struct wedge_elf_file *file = calloc(1, sizeof(*file));
    if (!file) {
        wedge_elf_drop(elf);
        return NULL;
    }
    file->elf = elf;
    file->build_id = image->build_id;
    file->inode = image->region->inode;
    file->dev_major = image->region->dev_major;
    file->dev_minor = image->region->dev_minor;
    file->path = strdup(image->region->path);
    file->next = cache;
    cache = file;
    n_cached++;
    image->file = file;
    return file;
}

static void forget(struct wedge_elf_file *file)
{
    Elf *alt = file->alt ? dwarf_getelf(file->alt) : NULL;
    wedge_symbols_forget(file);
    dwarf_end(file->dwarf);
    dwarf_end(file->alt);
    wedge_elf_drop(alt);
    wedge_elf_drop(file->debug_elf);
    wedge_elf_drop(file->elf);
    free(file->path);
    free(file->debug_path);
    free(file);
}

void wedge_elf_forget(void)
{
    while (cache) {
        struct wedge_elf_file *file = cache;
        cache = file->next;
        forget(file);
    }
    n_cached = 0;
    for (size_t i = 0; i < n_opened; i++)
        if (opened[i].fd >= 0)
            close(opened[i].fd);
    n_opened = 0;
}
