#include "reports/stacks.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>
#include <xxhash.h>

/* What tells frames apart quickly. */
struct frame_key {
    uint64_t pc, module_offset, text;
    int32_t line, bits;
};
struct frame {
    struct frame_key key;
    const struct wedge_frame *of; /* the first that looked so */
    uint32_t number;
    UT_hash_handle hh;
};
struct stack {
    uint32_t number;
    UT_hash_handle hh;
    uint32_t frames[]; /* the key */
};
struct wedge_stack_tables {
    json_t *stack_list, *frame_list;
    struct frame *frames;
    struct stack *stacks;
    /* The thread before, which as a rule stands at the same place. */
    const struct wedge_frame *last;
    size_t n_last;
    uint32_t last_number;
};

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static uint64_t add_text(uint64_t hash, const char *text)
{
    return text ? XXH64(text, strlen(text), hash) : hash + 1;
}

static struct frame_key key_of(const struct wedge_frame *f)
{
    struct frame_key key;
    memset(&key, 0, sizeof(key));
    key.pc = f->pc;
    key.module_offset = f->module_offset;
    key.text = add_text(add_text(add_text(add_text(0, f->function), f->file), f->module), f->build_id);
    key.line = f->line;
    key.bits = f->inlined | f->signal << 1 | f->libc << 2 | f->runtime << 3;
    return key;
}

static json_t *object_of(struct wedge_put *p, const struct wedge_frame *f)
{
    json_t *o = json_object();
    wedge_put_text(p, o, "function", f->function);
    wedge_put_text(p, o, "file", f->file);
    wedge_put_int_if(p, o, "line", f->line > 0, f->line);
    wedge_put_str(p, o, "module", f->module);
    wedge_put_hex(p, o, "offset", f->module_offset);
    wedge_put_str(p, o, "build_id", f->build_id);
    wedge_put_hex(p, o, "pc", f->pc);
    wedge_put_bool(p, o, "inlined", f->inlined);
    wedge_put_bool(p, o, "signal", f->signal);
    wedge_put_bool(p, o, "libc", f->libc);
    wedge_put_bool(p, o, "runtime", f->runtime);
    return o;
}

static uint32_t append(struct wedge_put *p, json_t *list, json_t *item)
{
    uint32_t number = (uint32_t)json_array_size(list);
    wedge_put_item(p, list, item);
    return number;
}

static uint32_t frame_of(struct wedge_stack_tables *s, struct wedge_put *p, const struct wedge_frame *f)
{
    struct frame_key key = key_of(f);
    struct frame *known;
    HASH_FIND(hh, s->frames, &key, sizeof(key), known);
    if (known && same(known->of->function, f->function) && same(known->of->file, f->file) &&
        same(known->of->module, f->module) && same(known->of->build_id, f->build_id))
        return known->number;
    uint32_t number = append(p, s->frame_list, object_of(p, f));
    if (!known && (known = calloc(1, sizeof(*known)))) {
        known->key = key;
        known->of = f;
        known->number = number;
        HASH_ADD(hh, s->frames, key, sizeof(known->key), known);
    }
    return number;
}

static uint32_t stack_of(struct wedge_stack_tables *s, struct wedge_put *p, const struct wedge_thread *t)
{
    size_t bytes = t->n_frames * sizeof(uint32_t);
    struct stack *stack = calloc(1, sizeof(*stack) + bytes), *known;
    if (!stack) {
        p->failed = true;
        return 0;
    }
    for (size_t i = 0; i < t->n_frames; i++)
        stack->frames[i] = frame_of(s, p, &t->frames[i]);
    HASH_FIND(hh, s->stacks, stack->frames, bytes, known);
    if (known) {
        free(stack);
        return known->number;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < t->n_frames; i++)
        wedge_put_item(p, list, json_integer(stack->frames[i]));
    stack->number = append(p, s->stack_list, list);
    HASH_ADD_KEYPTR(hh, s->stacks, stack->frames, bytes, stack);
    return stack->number;
}

struct wedge_stack_tables *wedge_stacks_new(json_t *stacks, json_t *frames)
{
    struct wedge_stack_tables *s = calloc(1, sizeof(*s));
    if (s) {
        s->stack_list = stacks;
        s->frame_list = frames;
    }
    return s;
}

json_t *wedge_stacks_of(struct wedge_stack_tables *s, struct wedge_put *p, const struct wedge_thread *thread)
{
    if (!thread->n_frames)
        return json_null();
    if (thread->frames != s->last || thread->n_frames != s->n_last) {
        s->last_number = stack_of(s, p, thread);
        s->last = thread->frames;
        s->n_last = thread->n_frames;
    }
    return json_integer(s->last_number);
}

void wedge_stacks_free(struct wedge_stack_tables *s)
{
    struct frame *frame, *next_frame;
    struct stack *stack, *next_stack;
    if (!s)
        return;
    HASH_ITER(hh, s->frames, frame, next_frame)
    {
        HASH_DEL(s->frames, frame);
        free(frame);
    }
    HASH_ITER(hh, s->stacks, stack, next_stack)
    {
        HASH_DEL(s->stacks, stack);
        free(stack);
    }
    free(s);
}

/* ---- leaving stacks out ---- */

/* A table of the report, of which what is still referred to is kept, in the order in which it is asked for. */
struct kept {
    const json_t *from;
    json_t *to;
    json_int_t *numbers; /* by the old one: the new one + 1 */
};

static bool keep_new(struct wedge_put *p, struct kept *k, const json_t *from)
{
    *k = (struct kept){from, json_array(), calloc(json_array_size(from) + 1, sizeof(*k->numbers))};
    p->failed |= !k->to || !k->numbers;
    return !p->failed;
}

/* The new number of entry `old`, and whether it has to be put there first, at the end. */
static json_int_t keep(struct kept *k, json_int_t old, bool *ret_new)
{
    *ret_new = k->numbers[old] == 0;
    if (*ret_new)
        k->numbers[old] = (json_int_t)json_array_size(k->to) + 1;
    return k->numbers[old] - 1;
}

static json_int_t keep_stack(struct wedge_put *p, struct kept *stacks, struct kept *frames, json_int_t old)
{
    bool is_new;
    json_int_t number = keep(stacks, old, &is_new);
    if (!is_new)
        return number;
    json_t *list = json_array();
    size_t i;
    const json_t *frame;
    json_array_foreach(json_array_get(stacks->from, (size_t)old), i, frame) {
        json_int_t known = json_integer_value(frame);
        wedge_put_item(p, list, json_integer(keep(frames, known, &is_new)));
        if (is_new)
            wedge_put_item(p, frames->to, json_incref(json_array_get(frames->from, (size_t)known)));
    }
    wedge_put_item(p, stacks->to, list);
    return number;
}

void wedge_stacks_drop(struct wedge_put *p, json_t *report, bool live_alone, const char *note)
{
    struct kept stacks = {0}, frames = {0};
    size_t i, j;
    json_t *process, *thread;
    if (!keep_new(p, &stacks, json_object_get(report, "stacks")) ||
        !keep_new(p, &frames, json_object_get(report, "frames")))
        goto out;
    json_array_foreach(json_object_get(report, "processes"), i, process)
        json_array_foreach(json_object_get(process, "threads"), j, thread) {
            const json_t *stack = json_object_get(thread, "stack");
            if (!json_is_integer(stack))
                continue;
            if (live_alone && !json_is_true(json_object_get(thread, "live"))) {
                json_int_t number = keep_stack(p, &stacks, &frames, json_integer_value(stack));
                wedge_put_int(p, thread, "stack", number);
            } else {
                wedge_put(p, thread, "stack", json_null());
                wedge_put_str(p, thread, "stack_note", note);
            }
        }
    wedge_put(p, report, "stacks", json_incref(stacks.to));
    wedge_put(p, report, "frames", json_incref(frames.to));
out:
    free(stacks.numbers);
    free(frames.numbers);
    json_decref(stacks.to);
    json_decref(frames.to);
}
