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

/* ---- packing: a table of values by address ---- */

struct number {
    const json_t *value;
    size_t number;
    UT_hash_handle hh;
};

/* The number of `value` in `list`, where it is put at first sight; *ret_new says that it was. */
static json_t *number_of(struct wedge_put *p, struct number **numbers, json_t *list, json_t *value, bool *ret_new)
{
    struct number *known;
    HASH_FIND_PTR(*numbers, &value, known);
    *ret_new = !known;
    if (!known && (known = calloc(1, sizeof(*known)))) {
        known->value = value;
        known->number = json_array_size(list);
        wedge_put_item(p, list, json_incref(value));
        HASH_ADD_PTR(*numbers, value, known);
    }
    p->failed |= !known;
    return known ? json_integer((json_int_t)known->number) : NULL;
}

static void forget(struct number *numbers)
{
    struct number *number, *next;
    HASH_ITER(hh, numbers, number, next)
    {
        HASH_DEL(numbers, number);
        free(number);
    }
}

json_t *wedge_stacks_pack(json_t *report)
{
    struct wedge_put p = {0};
    struct number *by_stack = NULL, *by_frame = NULL;
    json_t *packed = json_object(), *arrays = json_array(), *stacks = json_array(), *frames = json_array();
    json_t *process, *thread, *array, *frame;
    size_t i, j;
    bool fresh;
    json_array_foreach(json_object_get(report, "processes"), i, process)
        json_array_foreach(json_object_get(process, "threads"), j, thread)
            wedge_put(&p, thread, "frames",
                      number_of(&p, &by_stack, arrays, json_object_get(thread, "frames"), &fresh));
    json_array_foreach(arrays, i, array) {
        json_t *numbers = json_array();
        json_array_foreach(array, j, frame)
            wedge_put_item(&p, numbers, number_of(&p, &by_frame, frames, frame, &fresh));
        wedge_put_item(&p, stacks, numbers);
    }
    forget(by_stack);
    forget(by_frame);
    json_decref(arrays);
    wedge_put(&p, packed, "report", report);
    wedge_put(&p, packed, "stacks", stacks);
    wedge_put(&p, packed, "frames", frames);
    if (!p.failed)
        return packed;
    json_decref(packed);
    return NULL;
}

/* The value in `list` that `number` names; NULL none. */
static json_t *numbered(const json_t *list, const json_t *number)
{
    json_int_t at = json_is_integer(number) ? json_integer_value(number) : -1;
    return at >= 0 ? json_array_get(list, (size_t)at) : NULL;
}

/* The stacks as arrays of frames, NULL where a number leads nowhere. */
static json_t *unpack_stacks(struct wedge_put *p, const json_t *packed)
{
    const json_t *frames = json_object_get(packed, "frames");
    json_t *arrays = json_array(), *numbers, *number;
    size_t i, j;
    json_array_foreach(json_object_get(packed, "stacks"), i, numbers) {
        json_t *array = json_array();
        wedge_put_item(p, arrays, array);
        json_array_foreach(numbers, j, number) {
            json_t *frame = numbered(frames, number);
            if (!json_is_object(frame)) {
                json_decref(arrays);
                return NULL;
            }
            wedge_put_item(p, array, json_incref(frame));
        }
    }
    return arrays;
}

int wedge_stacks_unpack(const json_t *packed, json_t **ret, struct wedge_err *err)
{
    struct wedge_put p = {0};
    json_t *report = json_object_get(packed, "report"), *arrays = unpack_stacks(&p, packed), *process, *thread;
    size_t i, j;
    bool good = arrays && json_is_object(report);
    json_array_foreach(json_object_get(report, "processes"), i, process)
        json_array_foreach(json_object_get(process, "threads"), j, thread) {
            json_t *array = numbered(arrays, json_object_get(thread, "frames"));
            good &= json_is_object(thread) && array;
            if (good)
                wedge_put(&p, thread, "frames", json_incref(array));
        }
    json_decref(arrays);
    if (p.failed)
        return wedge_err_set(err, -ENOMEM, "no memory for the report");
    if (!good)
        return wedge_err_set(err, -EBADMSG, "the examination sent no report: its stacks do not add up");
    *ret = json_incref(report);
    return 0;
}
