/* The feeder thread and its list (feeder.h). */
#include "pool/feeder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool.h"

struct wedge_feeder_node {
    struct wedge_feeder_node *next;
    size_t bytes;
    uint8_t data[];
};

void wedge_feeder_init(struct wedge_feeder *feeder, int fd, sem_t *writer, void (*written)(void))
{
    memset(feeder, 0, sizeof(*feeder));
    pthread_mutex_init(&feeder->lock, NULL);
    pthread_cond_init(&feeder->more, NULL);
    feeder->last = &feeder->first;
    feeder->fd = fd;
    feeder->writer = writer;
    feeder->written = written;
}

/* Writes all of it. -EPIPE: no reader is left (SIGPIPE is blocked in the pool's threads). */
static int write_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* Woken by add (a message) and by finish or discard (stopping). */
static struct wedge_feeder_node *next_node(struct wedge_feeder *feeder)
{
    pthread_mutex_lock(&feeder->lock);
    while (!feeder->first && !feeder->stopping)
        pthread_cond_wait(&feeder->more, &feeder->lock);
    struct wedge_feeder_node *node = feeder->first;
    if (node) {
        feeder->first = node->next;
        if (!feeder->first)
            feeder->last = &feeder->first;
    }
    pthread_mutex_unlock(&feeder->lock);
    return node;
}

static void *feeder_main(void *arg)
{
    struct wedge_feeder *feeder = arg;
    struct wedge_feeder_node *node;
    wedge_pool_name_thread("feeder");
    while ((node = next_node(feeder)) != NULL) {
        while (sem_wait(feeder->writer) < 0 && errno == EINTR)
            ;
        int rc = write_all(feeder->fd, node->data, node->bytes);
        sem_post(feeder->writer);
        free(node);
        if (rc == 0 && feeder->written)
            feeder->written();
    }
    return NULL;
}

int wedge_feeder_add(struct wedge_feeder *feeder, const void *head, size_t head_bytes, const void *body,
                     size_t body_bytes)
{
    struct wedge_feeder_node *node = malloc(sizeof(*node) + head_bytes + body_bytes);
    int rc = 0;
    if (!node)
        return -ENOMEM;
    node->next = NULL;
    node->bytes = head_bytes + body_bytes;
    memcpy(node->data, head, head_bytes);
    if (body_bytes)
        memcpy(node->data + head_bytes, body, body_bytes);

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
    if (!feeder->last)
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
    wedge_feeder_join(feeder);
    pthread_cond_destroy(&feeder->more);
    pthread_mutex_destroy(&feeder->lock);
    feeder->last = NULL;
}
