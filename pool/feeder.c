/* The feeder thread and its list (feeder.h). */
#include "pool/feeder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool/pool.h"

struct wedge_feeder_node {
    struct wedge_feeder_node *next;
    struct wedge_message head;
    uint8_t body[];
};

void wedge_feeder_init(struct wedge_feeder *feeder, struct wedge_queue *queue, void (*written)(void))
{
    memset(feeder, 0, sizeof(*feeder));
    pthread_mutex_init(&feeder->lock, NULL);
    pthread_cond_init(&feeder->more, NULL);
    feeder->last = &feeder->first;
    feeder->made = true;
    feeder->queue = queue;
    feeder->written = written;
}

/* Woken by add (a message) and by finish or discard (stopping). */
static struct wedge_feeder_node *next_node(struct wedge_feeder *feeder)
{
    pthread_mutex_lock(&feeder->lock);
    feeder->writing = false;
    while (!feeder->first && !feeder->stopping)
        pthread_cond_wait(&feeder->more, &feeder->lock);
    struct wedge_feeder_node *node = feeder->first;
    feeder->writing = node != NULL;
    if (node) {
        feeder->first = node->next;
        if (!feeder->first)
            feeder->last = &feeder->first;
    }
    pthread_mutex_unlock(&feeder->lock);
    return node;
}

/* Writes may wait for ever for a reader; discard cuts them off, here and nowhere else. */
static int write_node(struct wedge_feeder *feeder, struct wedge_feeder_node *node)
{
    int rc, old;
    pthread_cleanup_push(free, node);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    rc = wedge_queue_write(feeder->queue, &node->head, node->body);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    pthread_cleanup_pop(1);
    return rc;
}

static void *feeder_main(void *arg)
{
    int old;
    struct wedge_feeder *feeder = arg;
    struct wedge_feeder_node *node;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    wedge_pool_name_thread("feeder");
    while ((node = next_node(feeder)) != NULL) {
        int rc = write_node(feeder, node);
        if (rc == 0 && feeder->written)
            feeder->written();
    }
    return NULL;
}

int wedge_feeder_add(struct wedge_feeder *feeder, const struct wedge_message *head, const void *body)
{
    struct wedge_feeder_node *node = malloc(sizeof(*node) + head->bytes);
    int rc = 0;
    if (!node)
        return -ENOMEM;
    node->next = NULL;
    node->head = *head;
    if (head->bytes)
        memcpy(node->body, body, head->bytes);

    pthread_mutex_lock(&feeder->lock);
    if (!feeder->started) {
        rc = wedge_pool_thread(&feeder->thread, feeder_main, feeder);
        feeder->started = rc == 0;
    }
    if (rc == 0) {
        *feeder->last = node;
        feeder->last = &node->next;
        pthread_cond_signal(&feeder->more);
    }
    pthread_mutex_unlock(&feeder->lock);
    if (rc < 0)
        free(node);
    return rc;
}

bool wedge_feeder_idle(struct wedge_feeder *feeder)
{
    pthread_mutex_lock(&feeder->lock);
    bool idle = !feeder->first && !feeder->writing;
    pthread_mutex_unlock(&feeder->lock);
    return idle;
}

void wedge_feeder_finish(struct wedge_feeder *feeder)
{
    pthread_mutex_lock(&feeder->lock);
    feeder->stopping = true;
    pthread_cond_signal(&feeder->more);
    pthread_mutex_unlock(&feeder->lock);
}

void wedge_feeder_join(struct wedge_feeder *feeder)
{
    wedge_feeder_finish(feeder);
    if (feeder->started)
        pthread_join(feeder->thread, NULL);
    feeder->started = false;
}

void wedge_feeder_discard(struct wedge_feeder *feeder)
{
    if (!feeder->made)
        return;
    pthread_mutex_lock(&feeder->lock);
    struct wedge_feeder_node *node = feeder->first;
    feeder->first = NULL;
    feeder->last = &feeder->first;
    pthread_mutex_unlock(&feeder->lock);
    while (node) {
        struct wedge_feeder_node *next = node->next;
        free(node);
        node = next;
    }
    wedge_feeder_finish(feeder);
    if (feeder->started)
        pthread_cancel(feeder->thread);
    wedge_feeder_join(feeder);
    pthread_cond_destroy(&feeder->more);
    pthread_mutex_destroy(&feeder->lock);
    feeder->made = false;
}
