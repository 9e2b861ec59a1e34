/*
 * Memory of the processes that are looked at. Threads of a pool wait for the same few objects, and each asks for the word, the
 * object and its owner: what was read stays for the round, in blocks, so that it is one system call and not one a question.
 *
 * Invariant: a block is read between the passes as everything else is, and forgotten with the round. It never crosses a
 * page: more is touched than was asked for, but no page more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "detector/core/core_file.h"
#include "detector/look/look.h"

enum { BLOCK_BYTES = 1024, MOST_BLOCKS = 8192 };

struct wedge_look_block {
    struct key { /* without padding: it is hashed as it lies there */
        uint64_t proc, number; /* number: address / BLOCK_BYTES */
    } key;
    unsigned times; /* how often it was read */
    unsigned char bytes[2][BLOCK_BYTES]; /* the first reading and the second */
    UT_hash_handle hh;
};

void wedge_memory_forget(struct wedge_look *look)
{
    struct wedge_look_block *block, *next;
    HASH_ITER(hh, look->blocks, block, next)
    {
        HASH_DEL(look->blocks, block);
        free(block);
    }
}

/* The block, NULL: there are too many. */
static struct wedge_look_block *block_of(struct wedge_look *look, int proc, uint64_t address)
{
    struct key key = {.proc = (uint64_t)proc, .number = address / BLOCK_BYTES};
    struct wedge_look_block *block;
    HASH_FIND(hh, look->blocks, &key, sizeof(key), block);
    if (block || HASH_COUNT(look->blocks) >= MOST_BLOCKS || !(block = malloc(sizeof(*block))))
        return block;
    block->key = key;
    block->times = 0;
    HASH_ADD(hh, look->blocks, key, sizeof(key), block);
    return block;
}

static int read_now(struct wedge_look *look, int proc, uint64_t address, void *buf, size_t size)
{
    pid_t pid = look->snapshot->procs[proc].pid, reader = look->procs[proc].reader;
    wedge_look_note(look, pid, "memory");
    return wedge_proc_memory(reader ? reader : pid, address, buf, size);
}

/* `times`: the bytes of which reading, 1 or 2. */
static int read_block(struct wedge_look *look, int proc, uint64_t address, void *buf, size_t size, unsigned times)
{
    size_t from = address % BLOCK_BYTES, here = BLOCK_BYTES - from;
    if (look->core)
        return wedge_core_read(look->core, address, buf, size) == size ? 0 : -EFAULT;
    if (size > here && size <= BLOCK_BYTES) { /* it begins in one block and ends in the next */
        int rc = read_block(look, proc, address, buf, here, times);
        return rc ? rc : read_block(look, proc, address + here, (char *)buf + here, size - here, times);
    }
    struct wedge_look_block *block = size <= here ? block_of(look, proc, address) : NULL;
    if (!block)
        return read_now(look, proc, address, buf, size);
    for (; block->times < times; block->times++) {
        int rc = read_now(look, proc, address - from, block->bytes[block->times], BLOCK_BYTES);
        if (rc)
            return rc;
    }
    memcpy(buf, block->bytes[times - 1] + from, size);
    return 0;
}

int wedge_look_memory(struct wedge_look *look, int proc, uint64_t address, void *buf, size_t size)
{
    return read_block(look, proc, address, buf, size, 1);
}

int wedge_look_memory_again(struct wedge_look *look, int proc, uint64_t address, void *buf, size_t size)
{
    return read_block(look, proc, address, buf, size, 2);
}
