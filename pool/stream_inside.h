/* What a stream consists of: shared by its two sides, stream.c (the parent's) and stream_worker.c. */
#ifndef WEDGE_POOL_STREAM_INSIDE_H
#define WEDGE_POOL_STREAM_INSIDE_H

#include "pool/feeder.h"
#include "pool/pool.h"
#include "pool/queue.h"
#include "pool/running.h"
#include "pool/shared.h"

/* One word of `hands`: number of the message << 32 | process << 16 | low bits of the generation. */
static inline uint64_t wedge_stream_hand(uint32_t number, uint32_t process, uint32_t generation)
{
    return (uint64_t)number << 32 | process << 16 | (generation & 0xffff);
}

/* What threads sleep on. Never under a name: any program could open it and wake them, and no hang could be proved. */
struct stream_queues {
    struct wedge_queue_shared tasks, results;
};

/* What the workers tell the parent; with shared=named in a file, which a killed parent leaves behind (item 3.2c). */
struct stream_told {
    _Atomic uint32_t forwarded[WEDGE_POOL_PROCESSES_MAX]; /* by seat: marks that its worker has sent */
    _Atomic uint64_t
        hands[]; /* by number of the task's message, modulo their number; a taker's, under the readers' lock */
};

struct seat_marks {
    uint32_t generation, n;
};

struct wedge_stream {
    struct wedge_queue tasks, results;
    struct wedge_feeder task_feeder, result_feeder; /* the parent's; in a worker the second is its own */
    struct wedge_shared queues_memory, told_memory;
    struct stream_told *told;
    uint32_t hands_mask;

    /* The parent's. */
    pthread_mutex_t put_lock; /* ids, numbers and the feeder's list have one order */
    uint32_t last_number; /* of the messages in the task feeder's list; under put_lock */
    struct wedge_running running;
    _Atomic uint32_t gone[WEDGE_POOL_PROCESSES_MAX]; /* by seat: generations that are dead and reaped, counted */
    /* The one taker's. */
    uint8_t *body; /* payload_bytes */
    struct wedge_queue_part part;
    struct seat_marks marks[WEDGE_POOL_PROCESSES_MAX];
};

static inline struct wedge_stream *wedge_stream_of(const struct wedge_pool *pool)
{
    return pool->transport_data;
}

/* stream_worker.c: the worker's half of the transport. */
int wedge_stream_enter(struct wedge_pool_worker *worker);
int wedge_stream_get(struct wedge_pool_hand *hand);
void wedge_stream_answer(struct wedge_pool_hand *hand, enum wedge_pool_outcome outcome, int code);
void wedge_stream_answer_here(struct wedge_pool_hand *hand, enum wedge_pool_outcome outcome, int code);
void wedge_stream_thread_left(struct wedge_pool_hand *hand);
void wedge_stream_leave(struct wedge_pool_worker *worker);

#endif
