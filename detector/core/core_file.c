/* The header and the notes of a core file. */
#include "detector/core/core_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "detector/elf/elf_file.h"

#define AUXV_MAX      128 /* pairs; the kernel writes about 20 */
#define DELETED       " (deleted)"
#define GCORE_SIGNAL  19 /* SIGSTOP: how gdb came to hold the process, not what it ended by */
#define PHDRS_AT_ONCE 64

bool wedge_core_pread(const struct wedge_core *core, uint64_t offset, void *buf, size_t len)
{
    if (offset > core->bytes || len > core->bytes - offset)
        return false;
    for (size_t done = 0; done < len;) {
        ssize_t got = pread(core->fd, (char *)buf + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* ---- notes ---- */

static int add_thread(struct wedge_core *core, uint64_t at, uint64_t len, size_t *cap)
{
    struct elf_prstatus status;
    _Static_assert(sizeof(status.pr_reg) == sizeof(struct user_regs_struct), "the registers of PTRACE_GETREGSET");
    if (len != sizeof(status) || core->n_threads == WEDGE_CORE_THREADS_MAX ||
        !wedge_core_pread(core, at, &status, sizeof(status)))
        return 0;
    if (core->n_threads == *cap) {
        size_t more = *cap ? *cap * 2 : 64;
        struct wedge_core_thread *threads = realloc(core->threads, more * sizeof(*threads));
        if (!threads)
            return -ENOMEM;
        core->threads = threads;
        *cap = more;
    }
    struct wedge_core_thread *thread = &core->threads[core->n_threads++];
    *thread = (struct wedge_core_thread){.tid = status.pr_pid, .signal = status.pr_cursig};
    memcpy(&thread->regs, status.pr_reg, sizeof(thread->regs));
    if (!core->signal && core->n_threads == 1)
        core->signal = status.pr_cursig; /* the thread that took it comes first */
    return 0;
}

static void keep_text(char *to, size_t size, const char *from, size_t len)
{
    size_t n = strnlen(from, len);
    n = n < size - 1 ? n : size - 1;
    memcpy(to, from, n);
    to[n] = 0;
}

static void read_process(struct wedge_core *core, uint64_t at, uint64_t len)
{
    struct elf_prpsinfo info;
    if (len != sizeof(info) || core->pid || !wedge_core_pread(core, at, &info, sizeof(info)))
        return;
    core->pid = info.pr_pid;
    core->ppid = info.pr_ppid;
    core->uid = (uid_t)info.pr_uid;
    keep_text(core->comm, sizeof(core->comm), info.pr_fname, sizeof(info.pr_fname));
    keep_text(core->cmdline, sizeof(core->cmdline), info.pr_psargs, sizeof(info.pr_psargs));
}

static void read_auxv(struct wedge_core *core, uint64_t at, uint64_t len)
{
    Elf64_auxv_t entry;
    for (size_t i = 0; i < AUXV_MAX && (i + 1) * sizeof(entry) <= len; i++) {
        if (!wedge_core_pread(core, at + i * sizeof(entry), &entry, sizeof(entry)))
            return;
        if (entry.a_type == AT_ENTRY)
            core->entry = entry.a_un.a_val;
        else if (entry.a_type == AT_SYSINFO_EHDR)
            core->vdso = entry.a_un.a_val;
    }
}

/* count, page size, then (start, end, offset in pages) each, then as many names. fs/binfmt_elf.c, fill_files_note */
static int read_mappings(struct wedge_core *core, uint64_t at, uint64_t len)
{
    uint64_t head[2], fields[3];
    if (core->names || len < sizeof(head) || len > WEDGE_CORE_FILES_BYTES ||
        !wedge_core_pread(core, at, head, sizeof(head)))
        return 0;
    uint64_t count = head[0], page = head[1], room = len - sizeof(head);
    if (!count || count > WEDGE_CORE_SEGMENTS_MAX || count > room / sizeof(fields) || !page || page > (1u << 30))
        return 0;
    size_t text_bytes = (size_t)(room - count * sizeof(fields));
    core->names = malloc(text_bytes + 1);
    core->mappings = calloc(count, sizeof(*core->mappings));
    if (!core->names || !core->mappings)
        return -ENOMEM;
    if (!wedge_core_pread(core, at + sizeof(head) + count * sizeof(fields), core->names, text_bytes))
        return 0;
    core->names[text_bytes] = 0;
    char *name = core->names, *end = core->names + text_bytes;
    for (uint64_t i = 0; i < count && name < end; i++) {
        char *next = name + strlen(name) + 1;
        if (!wedge_core_pread(core, at + sizeof(head) + i * sizeof(fields), fields, sizeof(fields)))
            break;
        struct wedge_core_mapping *m = &core->mappings[core->n_mappings];
        *m = (struct wedge_core_mapping){.start = fields[0], .end = fields[1], .path = name};
        bool fits = m->start < m->end && (!core->n_mappings || m->start >= m[-1].end) &&
                    !__builtin_mul_overflow(fields[2], page, &m->offset);
        size_t bytes = strlen(name);
        if (bytes > strlen(DELETED) && strcmp(name + bytes - strlen(DELETED), DELETED) == 0) {
            name[bytes - strlen(DELETED)] = 0;
            m->deleted = true;
        }
        core->n_mappings += fits;
        name = next;
    }
    return 0;
}

static int read_note(struct wedge_core *core, const Elf64_Nhdr *note, uint64_t at, size_t *cap)
{
    siginfo_t info;
    switch (note->n_type) {
    case NT_PRSTATUS:
        return add_thread(core, at, note->n_descsz, cap);
    case NT_PRPSINFO:
        read_process(core, at, note->n_descsz);
        return 0;
    case NT_AUXV:
        read_auxv(core, at, note->n_descsz);
        return 0;
    case NT_SIGINFO:
        if (note->n_descsz == sizeof(info) && wedge_core_pread(core, at, &info, sizeof(info)) &&
            info.si_signo != GCORE_SIGNAL && !core->signal)
            core->signal = info.si_signo;
        return 0;
    case NT_FILE:
        return read_mappings(core, at, note->n_descsz);
    default:
        return 0;
    }
}

static int read_notes(struct wedge_core *core, uint64_t at, uint64_t len, size_t *cap)
{
    uint64_t end = at + len;
    int rc = 0;
    if (end < at || end > core->bytes)
        end = core->bytes;
    for (unsigned i = 0; i < WEDGE_CORE_NOTES_MAX && !rc && at < end; i++) {
        Elf64_Nhdr note;
        char name[5];
        if (!wedge_core_pread(core, at, &note, sizeof(note)))
            break;
        uint64_t name_at = at + sizeof(note), desc_at = name_at + ((note.n_namesz + 3ull) & ~3ull);
        at = desc_at + ((note.n_descsz + 3ull) & ~3ull);
        if (note.n_namesz == sizeof(name) && wedge_core_pread(core, name_at, name, sizeof(name)) &&
            memcmp(name, "CORE", sizeof(name)) == 0 && desc_at + note.n_descsz <= end)
            rc = read_note(core, &note, desc_at, cap);
    }
    return rc;
}

/* ---- program headers ---- */

/* More of them than the header can count are counted by the first section header (elf(5), PN_XNUM). */
static uint64_t count_phdrs(const struct wedge_core *core, const Elf64_Ehdr *ehdr)
{
    Elf64_Shdr shdr;
    if (ehdr->e_phnum != PN_XNUM)
        return ehdr->e_phnum;
    return wedge_core_pread(core, ehdr->e_shoff, &shdr, sizeof(shdr)) ? shdr.sh_info : 0;
}

static void add_segment(struct wedge_core *core, struct wedge_core_segment *segments, const Elf64_Phdr *phdr)
{
    struct wedge_core_segment *last = core->n_segments ? &segments[core->n_segments - 1] : NULL;
    if (!phdr->p_memsz || phdr->p_vaddr + phdr->p_memsz <= phdr->p_vaddr || phdr->p_filesz > phdr->p_memsz ||
        (last && phdr->p_vaddr < last->start + last->bytes))
        return;
    struct wedge_core_segment *s = &segments[core->n_segments++];
    *s = (struct wedge_core_segment){.start = phdr->p_vaddr,
                                     .bytes = phdr->p_memsz,
                                     .offset = phdr->p_offset,
                                     .file_bytes = phdr->p_filesz,
                                     .read = phdr->p_flags & PF_R,
                                     .write = phdr->p_flags & PF_W,
                                     .exec = phdr->p_flags & PF_X};
    uint64_t end;
    if (!__builtin_add_overflow(phdr->p_offset, phdr->p_filesz, &end) && end > core->whole)
        core->whole = end;
    uint64_t there = phdr->p_offset < core->bytes ? core->bytes - phdr->p_offset : 0;
    if (s->file_bytes > there) {
        s->file_bytes = there;
        core->cut = true;
    }
}

static int read_phdrs(struct wedge_core *core, const Elf64_Ehdr *ehdr)
{
    Elf64_Phdr phdrs[PHDRS_AT_ONCE] = {0};
    uint64_t n = count_phdrs(core, ehdr), batch;
    size_t cap = 0;
    int rc = 0;
    if (n > WEDGE_CORE_SEGMENTS_MAX)
        n = WEDGE_CORE_SEGMENTS_MAX;
    struct wedge_core_segment *segments = calloc(n + 1, sizeof(*segments));
    if (!segments)
        return -ENOMEM;
    core->segments = segments;
    for (uint64_t i = 0; i < n && !rc; i += batch) {
        batch = n - i < PHDRS_AT_ONCE ? n - i : PHDRS_AT_ONCE;
        if (!wedge_core_pread(core, ehdr->e_phoff + i * sizeof(phdrs[0]), phdrs, batch * sizeof(phdrs[0]))) {
            core->cut = true;
            break;
        }
        for (uint64_t k = 0; k < batch && !rc; k++) {
            if (phdrs[k].p_type == PT_LOAD)
                add_segment(core, segments, &phdrs[k]);
            else if (phdrs[k].p_type == PT_NOTE)
                rc = read_notes(core, phdrs[k].p_offset, phdrs[k].p_filesz, &cap);
        }
    }
    return rc;
}

static int compare_threads(const void *a, const void *b)
{
    pid_t x = ((const struct wedge_core_thread *)a)->tid, y = ((const struct wedge_core_thread *)b)->tid;
    return (x > y) - (x < y);
}

/* The beginnings of what systemd-coredump and its like make of a core. */
static bool is_packed(const void *begin)
{
    static const char *const magics[] = {"\x28\xb5\x2f\xfd", "\x04\x22\x4d\x18",
                                         "\xfd"
                                         "7zX",
                                         "\x1f\x8b\x08"};
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
        if (memcmp(begin, magics[i], strlen(magics[i])) == 0)
            return true;
    return false;
}

/* Without the stack of a single thread nothing can be said of any: not even whether it slept. */
static bool has_a_stack(struct wedge_core *core)
{
    uint64_t word;
    for (size_t i = 0; i < core->n_threads; i++)
        if (wedge_core_read(core, core->threads[i].regs.rsp, &word, sizeof(word)) == sizeof(word))
            return true;
    return false;
}

int wedge_core_parse(int fd, const char *name, struct wedge_core **ret, struct wedge_err *err)
{
    Elf64_Ehdr ehdr = {0};
    struct stat st;
    struct wedge_core *core = calloc(1, sizeof(*core));
    if (!core) {
        close(fd);
        return wedge_err_set(err, -ENOMEM, "no memory for the core file %s", name);
    }
    core->fd = fd;
    core->exe_fd = -1;
    core->exe = "";
    core->bytes = fstat(fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    int rc;
    if (!wedge_core_pread(core, 0, &ehdr, sizeof(ehdr)) || memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 ||
        ehdr.e_type != ET_CORE) {
        rc = -EINVAL;
        wedge_err_input(err, name, 0, 0, "this is no core file");
        if (is_packed(&ehdr))
            wedge_err_remedy(err,
                             "it is compressed: unpack it first (zstd -d, lz4 -d, xz -d, gzip -d), or take it from "
                             "`coredumpctl dump -o core`");
        goto fail;
    }
    if (ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_ident[EI_DATA] != ELFDATA2LSB || ehdr.e_machine != EM_X86_64 ||
        ehdr.e_phentsize != sizeof(Elf64_Phdr)) {
        rc = -EINVAL;
        wedge_err_input(err, name, 0, 0, "the core file is not of a 64-bit x86 program");
        goto fail;
    }
    rc = read_phdrs(core, &ehdr);
    if (!rc && !core->n_threads) {
        rc = -EINVAL;
        wedge_err_input(err, name, 0, 0, "the core file has no threads%s", core->cut ? ": it is cut off" : "");
        goto fail;
    }
    if (!rc) {
        qsort(core->threads, core->n_threads, sizeof(core->threads[0]), compare_threads);
        if (core->pid <= 0)
            core->pid = core->threads[0].tid;
        rc = wedge_core_map(core);
    }
    if (rc) {
        wedge_err_set(err, rc, "cannot read the core file %s: %s", name, strerror(-rc));
        goto fail;
    }
    if (core->cut && !has_a_stack(core)) {
        rc = wedge_err_input(err, name, 0, 0, "the core file is cut off before the stacks of its threads");
        wedge_err_remedy(err, "nothing can be told from it: was the disk full, or `ulimit -c` too small?");
        goto fail;
    }
    *ret = core;
    return 0;
fail:
    wedge_core_close(core);
    return rc;
}

int wedge_core_open(const char *path, const char *exe, struct wedge_core **ret, struct wedge_err *err)
{
    int fd = wedge_elf_open_regular(AT_FDCWD, path);
    if (fd < 0) {
        int rc = access(path, R_OK) ? -errno : -EINVAL;
        wedge_err_input(err, path, 0, 0, "cannot open the core file: %s",
                        rc == -EINVAL ? "it is not a regular file" : strerror(-rc));
        return rc;
    }
    struct wedge_core *core = NULL;
    int rc = wedge_core_parse(fd, path, &core, err);
    if (rc || !core)
        return rc;
    if (exe) {
        core->exe_fd = wedge_elf_open_regular(AT_FDCWD, exe);
        const struct wedge_region *region = wedge_regions_find(&core->regions, core->entry);
        if (core->exe_fd < 0)
            rc = wedge_err_input(err, exe, 0, 0, "cannot open the executable");
        else if (region && region->inode && wedge_core_file_of(core, region) < 0)
            rc = wedge_err_input(err, exe, 0, 0,
                                 "this is not the program that the core file is of: its build-id differs");
    }
    if (rc)
        wedge_core_close(core);
    else
        *ret = core;
    return rc;
}

void wedge_core_close(struct wedge_core *core)
{
    if (!core)
        return;
    for (size_t i = 0; i < core->n_sources; i++)
        if (core->sources[i].fd >= 0 && core->sources[i].fd != core->exe_fd)
            close(core->sources[i].fd);
    if (core->exe_fd >= 0)
        close(core->exe_fd);
    close(core->fd);
    free(core->sources);
    free(core->regions.all);
    free(core->mappings);
    free(core->names);
    free(core->segments);
    free(core->threads);
    free(core);
}
