/*
 * The names of a capture's frames: function, file, line, and what was inlined there. Reads constant memory and files alone; the
 * process runs meanwhile, or is gone.
 */
#include <string.h>

#include "detector/elf/elf_file.h"
#include "detector/stacks/call_site.h"
#include "detector/stacks/capture_inside.h"
#include "detector/stacks/symbols.h"

#define PLACES    8
#define NAMED_MAX (WEDGE_UNWIND_FRAMES_MAX * (WEDGE_SYMBOLS_INLINED_MAX + 2))

static const char *keep_text(struct wedge_capture *capture, const char *text)
{
    return text ? obstack_copy0(&capture->snapshot->mem, text, strlen(text)) : NULL;
}

static struct wedge_elf_file *file_of(struct wedge_capture *capture, struct wedge_image *image)
{
    return image ? wedge_elf_of_image(&capture->images, image, capture->proc->pid) : NULL;
}

/* The functions at a frame: its own and those inlined there, innermost first. */
static const struct wedge_symbol *symbols_of(struct wedge_capture *capture, uint64_t pc, bool libc, size_t *ret_n)
{
    struct wedge_image *image = wedge_images_find(&capture->images, pc);
    struct wedge_elf_file *file = file_of(capture, image);
    return file ? wedge_symbols_at(file, pc - image->bias, libc, ret_n) : NULL;
}

/*
 * The libc function that the program called, where it left no frame because it jumped on: `inner` is the outermost
 * frame of libc, which is named already, `outer` the frame that called. What the call instruction names is what was called.
 * Fills *ret.
 */
static bool jumped_from(struct wedge_capture *capture, const struct wedge_frame *inner, const struct wedge_frame *outer,
                        struct wedge_frame *ret)
{
    struct wedge_image *libc = wedge_images_find(&capture->images, inner->pc);
    struct wedge_image *caller = wedge_images_find(&capture->images, outer->pc - 1);
    struct wedge_elf_file *libc_file = file_of(capture, libc), *caller_file = file_of(capture, caller);
    uint64_t address;
    if (!libc_file || !caller_file)
        return false;
    const char *name = wedge_call_site_name(&capture->images, caller, caller_file, outer->pc);
    if (!name || (inner->function && strcmp(inner->function, name) == 0) ||
        !wedge_symbols_elsewhere(libc_file, name, inner->module_offset, &address))
        return false;
    *ret = *inner;
    ret->pc = address + libc->bias;
    ret->module_offset = address;
    ret->function = keep_text(capture, name);
    ret->file = NULL;
    ret->line = 0;
    ret->inlined = ret->runtime = false;
    return true;
}

/* Names the frames of one thread and spreads out what was inlined. `named` has room for the most there can be. */
static void name_frames(struct wedge_capture *capture, struct wedge_thread *thread, struct wedge_frame *named)
{
    const struct wedge_frame *bare = thread->frames;
    size_t n_bare = thread->n_frames, n = 0;
    for (size_t i = 0; i < n_bare; i++) {
        struct wedge_frame frame = bare[i];
        size_t n_symbols = 1;
        const struct wedge_symbol *symbols = symbols_of(capture, frame.pc - !frame.exact, frame.libc, &n_symbols);
        for (size_t k = 0; k < (symbols ? n_symbols : 1); k++) {
            if (symbols) {
                frame.function = keep_text(capture, symbols[k].function);
                frame.file = keep_text(capture, symbols[k].file);
                frame.line = symbols[k].line;
                frame.inlined = symbols[k].inlined;
            }
            frame.runtime = wedge_symbols_is_runtime(frame.module, frame.file, frame.function);
            named[n++] = frame;
        }
        if (frame.libc && !frame.signal && i + 1 < n_bare && !bare[i + 1].libc && bare[i + 1].module[0] &&
            jumped_from(capture, &frame, &bare[i + 1], &named[n]))
            n++;
    }
    thread->frames = obstack_copy(&capture->snapshot->mem, named, n * sizeof(*named));
    thread->n_frames = n;
}

void wedge_capture_warm(struct wedge_capture *capture)
{
    const struct wedge_region *program = NULL;
    size_t n;
    uint64_t address;
    wedge_capture_say(capture, "read symbols and line tables");
    for (size_t i = 0; i < capture->regions.n && !program; i++)
        if (capture->regions.all[i].exec && capture->regions.all[i].inode)
            program = &capture->regions.all[i];
    if (program) /* as a rule the lowest: with its lines */
        symbols_of(capture, program->start, wedge_symbols_is_libc(program->path), &n);
    for (size_t i = 0; i < capture->n; i++) {
        struct wedge_image *image = wedge_images_find(&capture->images, capture->threads[i].pc);
        struct wedge_elf_file *file = image && !image->file_tried ? file_of(capture, image) : NULL;
        if (!file)
            continue;
        bool libc = wedge_symbols_is_libc(image->region->path);
        symbols_of(capture, capture->threads[i].pc, libc, &n);
        if (libc)
            wedge_symbols_elsewhere(file, "", 0, &address);
    }
}

/* Threads of a pool all stand at the same place: what was named for one is so for all. */
struct place {
    const struct wedge_frame *bare, *named;
    size_t n_bare, n_named;
};

static bool is_at(const struct place *place, const struct wedge_thread *thread)
{
    if (place->n_bare != thread->n_frames)
        return false;
    for (size_t i = 0; i < place->n_bare; i++)
        if (place->bare[i].pc != thread->frames[i].pc || place->bare[i].signal != thread->frames[i].signal ||
            place->bare[i].exact != thread->frames[i].exact)
            return false;
    return true;
}

/* Names the frames, or takes those of a thread at the same place. `places` are the last ones, the newest first. */
static void name_thread(struct wedge_capture *capture, struct wedge_thread *thread, struct wedge_frame *named,
                        struct place places[PLACES])
{
    size_t at = 0;
    while (at < PLACES && !is_at(&places[at], thread))
        at++;
    struct place place;
    if (at < PLACES) {
        place = places[at];
        thread->frames = (struct wedge_frame *)place.named;
        thread->n_frames = place.n_named;
    } else {
        place = (struct place){.bare = thread->frames, .n_bare = thread->n_frames};
        name_frames(capture, thread, named);
        place.named = thread->frames;
        place.n_named = thread->n_frames;
        at = PLACES - 1;
    }
    memmove(&places[1], &places[0], at * sizeof(places[0]));
    places[0] = place;
}

void wedge_capture_symbols(struct wedge_capture *capture)
{
    struct place places[PLACES] = {0};
    static struct wedge_frame named[NAMED_MAX]; /* 400 kB, of which little is touched: not new for each process */
    wedge_capture_say(capture, "read symbols and line tables");
    for (size_t i = 0; i < capture->n; i++) {
        struct wedge_thread *thread = &capture->threads[i];
        size_t n;
        if (thread->n_frames && thread->n_frames <= WEDGE_UNWIND_FRAMES_MAX)
            name_thread(capture, thread, named, places);
        if (!thread->callback_address)
            continue;
        const struct wedge_symbol *symbols = symbols_of(capture, thread->callback_address, false, &n);
        if (symbols)
            thread->callback_function = keep_text(capture, symbols[n - 1].function);
    }
}
