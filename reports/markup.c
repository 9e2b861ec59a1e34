#include "reports/markup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "reports/assets.h"

void wedge_markup_text(struct wedge_text *out, const char *text)
{
    for (size_t len; *text; text += len) {
        len = strcspn(text, "<>&\"'");
        wedge_text_add_bytes(out, text, len);
        if (!text[len])
            break;
        wedge_text_addf(out, "&#%d;", text[len]);
        len++;
    }
}

/* Published scripts name their source map, which a browser's tools would ask for: cut there. */
void wedge_markup_asset(struct wedge_text *out, const char *name, size_t name_len)
{
    static const char map[] = "//# sourceMappingURL=";
    const struct wedge_asset *asset = wedge_asset_find(name, name_len);
    if (!asset) {
        out->cut = true;
        return;
    }
    const char *end = memmem(asset->data, asset->len, map, sizeof(map) - 1);
    wedge_text_add_bytes(out, asset->data, end ? (size_t)(end - asset->data) : asset->len);
}

int wedge_markup_nonce(char ret[WEDGE_NONCE_CHARS], struct wedge_err *err)
{
    uint64_t chance[2];
    if (getrandom(chance, sizeof(chance), 0) != sizeof(chance))
        return wedge_err_set(err, -EIO, "cannot get a random number: %s", strerror(errno));
    snprintf(ret, WEDGE_NONCE_CHARS, "%016" PRIx64 "%016" PRIx64, chance[0], chance[1]);
    return 0;
}
