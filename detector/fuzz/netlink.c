/*
 * Answers of sock_diag(7): in the kernel's own hand, and yet with what processes chose in them. As answers come, the input
 * is cut in two: a table is filled by several.
 *
 *   input = { length of the first answer (2) · answers }
 */
#include <stdlib.h>
#include <string.h>

#include "base/fuzz/fuzz.h"
#include "detector/kernel/sockets.h"

/* As it is read: at the beginning of memory of its own, so that what lies behind it is nobody's. */
static int answer(struct wedge_sockets *to, const uint8_t *data, size_t size)
{
    char *own = malloc(size ? size : 1);
    if (!own)
        abort();
    memcpy(own, data, size);
    int rc = wedge_sockets_parse_unix(to, own, size);
    free(own);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t first = (size_t)(data[0] | data[1] << 8), sum = 0;
    data += 2;
    size -= 2;
    first = first < size ? first : size;
    struct wedge_sockets *sockets = calloc(1, sizeof(*sockets));
    if (!sockets)
        abort();
    if (answer(sockets, data, first) == 0)
        answer(sockets, data + first, size - first);
    for (size_t i = 0; i < sockets->n_unix; i++) {
        const struct wedge_unix_socket *s = &sockets->unix_sockets[i];
        if (s->first_waiting + s->n_waiting > sockets->n_waiting || s->name_len > sizeof(s->name))
            abort();
        for (size_t k = 0; k < s->n_waiting; k++)
            sum += sockets->waiting[s->first_waiting + k];
        wedge_sockets_unix_listener(sockets, s->inode);
    }
    wedge_sockets_free(sockets);
    return sum == SIZE_MAX ? -1 : 0;
}
