/* Tables of /proc that detector/fuzz/proc.c has not: the first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "base/fuzz/fuzz.h"
#include "detector/kernel/frozen.h"
#include "detector/kernel/sockets.h"

static void connections(const char *text, bool udp)
{
    struct wedge_sockets *sockets = calloc(1, sizeof(*sockets));
    if (!sockets)
        abort();
    wedge_sockets_parse_table(sockets, text, udp);
    for (size_t i = 0; i < sockets->n_inet; i++) {
        const struct wedge_inet_socket *peer = wedge_sockets_inet_peer(sockets, &sockets->inet_sockets[i]);
        if (sockets->inet_sockets[i].udp != udp || (peer && peer->udp != udp))
            abort();
    }
    wedge_sockets_free(sockets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char small[64];
    if (!size)
        return 0;
    char *text = fuzz_text(data + 1, size - 1);
    bool other = data[0] & 1;
    memset(small, 'x', sizeof(small));
    switch (data[0] / 2 % 4) {
    case 0:
        connections(text, other);
        break;
    case 1:
        if (wedge_frozen_mount(text, other, small, sizeof(small)) && strlen(small) >= sizeof(small))
            abort();
        break;
    case 2: /* never a group outside of what we see */
        if (wedge_frozen_group(text, other, small, sizeof(small)) && strstr(small, "/.."))
            abort();
        break;
    case 3:
        wedge_frozen_state(text, other);
        break;
    }
    free(text);
    return 0;
}
