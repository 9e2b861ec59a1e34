/* What every HTML page needs: text that cannot become markup, the parts that are taken into the program, and a nonce. */
#ifndef WEDGE_REPORTS_MARKUP_H
#define WEDGE_REPORTS_MARKUP_H

#include <stddef.h>

#include "base/err.h"
#include "base/text.h"

enum { WEDGE_NONCE_CHARS = 33 };

/* Text between tags or inside a quoted attribute. */
void wedge_markup_text(struct wedge_text *out, const char *text);
/* An asset as it is (assets.h); `out` is cut where there is none. */
void wedge_markup_asset(struct wedge_text *out, const char *name, size_t name_len);
/* For Content-Security-Policy: what the page's own styles and scripts carry. -EIO. */
int wedge_markup_nonce(char ret[WEDGE_NONCE_CHARS], struct wedge_err *err);

#endif
