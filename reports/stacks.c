#include "reports/stacks.h"

#include <errno.h>
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
    json_t *object;
    UT_hash_handle hh;
};
struct stack {
    json_t *array;
    size_t n;
    UT_hash_handle hh;
    json_t *frames[]; /* the key */
};
struct wedge_stack_table {
    struct frame *frames;
    struct stack *stacks;
    /* The thread before, which as a rule stands at the same place. */
    const struct wedge_frame *last;
    size_t n_last;
    json_t *last_array;
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

/* A reference of the caller's. */
static json_t *frame_of(struct wedge_stack_table *stacks, struct wedge_put *p, const struct wedge_frame *f)
{
    struct frame_key key = key_of(f);
    struct frame *known;
    HASH_FIND(hh, stacks->frames, &key, sizeof(key), known);
    if (known && same(known->of->function, f->function) && same(known->of->file, f->file) &&
        same(known->of->module, f->module) && same(known->of->build_id, f->build_id))
        return json_incref(known->object);
    json_t *object = object_of(p, f);
    if (!known && (known = calloc(1, sizeof(*known)))) {
        known->key = key;
        known->of = f;
        known->object = json_incref(object);
        HASH_ADD(hh, stacks->frames, key, sizeof(known->key), known);
    }
    return object;
}

static json_t *array_of(struct wedge_stack_table *stacks, struct wedge_put *p, const struct wedge_thread *t)
{
    size_t bytes = t->n_frames * sizeof(json_t *);
    struct stack *stack = calloc(1, sizeof(*stack) + bytes), *known = NULL;
    if (!stack) {
        p->failed = true;
        return NULL;
    }
    for (size_t i = 0; i < t->n_frames; i++)
        stack->frames[i] = frame_of(stacks, p, &t->frames[i]);
    if (bytes)
        HASH_FIND(hh, stacks->stacks, stack->frames, bytes, known);
    if (known) {
        for (size_t i = 0; i < t->n_frames; i++)
            json_decref(stack->frames[i]);
        free(stack);
        return json_incref(known->array);
    }
    json_t *array = json_array();
    for (size_t i = 0; i < t->n_frames; i++)
        wedge_put_item(p, array, stack->frames[i]);
    if (!bytes) {
        free(stack);
        return array;
    }
    stack->n = t->n_frames;
    stack->array = json_incref(array);
    HASH_ADD_KEYPTR(hh, stacks->stacks, stack->frames, bytes, stack);
    return array;
}

json_t *wedge_stacks_of(struct wedge_stack_table **stacks, struct wedge_put *p, const struct wedge_thread *thread)
{
    struct wedge_stack_table *s = *stacks;
    if (!s && !(s = *stacks = calloc(1, sizeof(*s)))) {
        p->failed = true;
        return NULL;
    }
    if (thread->n_frames && thread->frames == s->last && thread->n_frames == s->n_last)
        return json_incref(s->last_array);
    json_t *array = array_of(s, p, thread);
    if (thread->n_frames && array && array->refcount > 1) {
        s->last = thread->frames;
        s->n_last = thread->n_frames;
        s->last_array = array; /* the table's reference keeps it */
    }
    return array;
}

void wedge_stacks_free(struct wedge_stack_table *stacks)
{
    struct frame *frame, *next_frame;
    struct stack *stack, *next_stack;
    if (!stacks)
        return;
    HASH_ITER(hh, stacks->frames, frame, next_frame)
    {
        HASH_DEL(stacks->frames, frame);
        json_decref(frame->object);
        free(frame);
    }
    HASH_ITER(hh, stacks->stacks, stack, next_stack)
    {
        HASH_DEL(stacks->stacks, stack);
        json_decref(stack->array);
        free(stack);
    }
    free(stacks);
}
