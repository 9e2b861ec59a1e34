/* A thread for a function that may never return (helper.h). */
#include "pool/helper.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "pool/pool.h"
#include "pool/word.h"

/* Who changes RUNNING first says how it ended; the other one then frees. */
enum helper_state { RUNNING, RETURNED, LEFT_BEHIND };

struct helper {
    _Atomic uint32_t state;
    struct wedge_word returned;
    int (*run)(const void *arg);
    int answer; /* complete once RETURNED: the exchange of `state` releases it, and acquires it in the waiter */
    _Alignas(max_align_t) uint8_t arg[];
};

static void *helper_main(void *data)
{
    struct helper *helper = data;
    uint32_t running = RUNNING;
    wedge_pool_name_thread("helper");
    helper->answer = helper->run(helper->arg);
    if (!atomic_compare_exchange_strong(&helper->state, &running, RETURNED)) {
        free(helper); /* nobody waits any more */
        return NULL;
    }
    wedge_word_bump(&helper->returned, INT_MAX);
    return helper;
}

int wedge_helper_run(int (*run)(const void *arg), const void *arg, size_t bytes, int64_t until_ns, int *ret)
{
    size_t room = (sizeof(struct helper) + bytes + _Alignof(struct helper) - 1) & ~(_Alignof(struct helper) - 1);
    struct helper *helper = aligned_alloc(_Alignof(struct helper), room);
    uint32_t running = RUNNING;
    pthread_t thread;
    if (!helper)
        return -ENOMEM;
    memset(helper, 0, sizeof(*helper));
    helper->run = run;
    memcpy(helper->arg, arg, bytes);
    int rc = pthread_create(&thread, NULL, helper_main, helper);
    if (rc != 0) {
        free(helper);
        return -rc;
    }
    for (;;) { /* woken by the helper that has returned */
        uint32_t seen = wedge_word_read(&helper->returned);
        if (atomic_load(&helper->state) == RETURNED)
            break;
        if (wedge_clock_ns() >= until_ns && atomic_compare_exchange_strong(&helper->state, &running, LEFT_BEHIND)) {
            pthread_detach(thread);
            return -ETIMEDOUT;
        }
        wedge_word_wait(&helper->returned, seen, WEDGE_WAIT_FOR_PEER, until_ns);
    }
    pthread_join(thread, NULL);
    *ret = helper->answer;
    free(helper);
    return 0;
}
