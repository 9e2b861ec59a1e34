/*
 * The HTML page: page.html with its places filled in. What must be readable without a script (the verdict and what it
 * means) is written here as HTML; everything else is the model as JSON, drawn by report.js and graph.js.
 *
 * Safety: a text reaches the page in two ways alone, escaped as HTML (escaped) or inside the JSON (data), in which no
 * `<`, `>` or `&` is left and everything that is not ASCII is escaped, so that no text can end the element or be taken
 * for a line end of JavaScript. Scripts and styles carry a random nonce, and the page forbids all others.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/text.h"
#include "reports/assets.h"
#include "reports/dump.h"
#include "reports/markup.h"
#include "reports/report.h"
#include "reports/words.h"
#include "reports/write.h"

enum { MOST_BYTES = 64 << 20 };

struct wedge_page {
    struct wedge_text out;
    const json_t *report;
    size_t data_at; /* where in `out` the model comes */
    char nonce[WEDGE_NONCE_CHARS];
};

static void escaped(struct wedge_page *p, const char *text)
{
    wedge_markup_text(&p->out, text);
}

static void element(struct wedge_page *p, const char *tag, const char *class, const char *text)
{
    wedge_text_addf(&p->out, "<%s class=\"%s\">", tag, class);
    escaped(p, text);
    wedge_text_addf(&p->out, "</%s>\n", tag);
}

static const char *verdict(const struct wedge_page *p, const char *field)
{
    return wedge_report_text(json_object_get(p->report, "verdict"), field);
}

static bool is_hang(const struct wedge_page *p)
{
    return json_is_true(json_object_get(json_object_get(p->report, "verdict"), "hang"));
}

static void put_title(struct wedge_page *p)
{
    escaped(p, wedge_word_kind(verdict(p, "kind")).title);
    wedge_text_add(&p->out, is_hang(p) ? " – wedge report" : " (no hang) – wedge report");
}

static void put_class(struct wedge_page *p)
{
    escaped(p, is_hang(p) ? verdict(p, "certainty") : "no-hang");
}

/* What was run, in one line. */
static void put_command(struct wedge_page *p)
{
    const json_t *run = json_object_get(p->report, "run"), *word;
    const char *scenario = wedge_report_text(run, "scenario");
    size_t i;
    if (*scenario) {
        wedge_text_add(&p->out, "scenario <b>");
        escaped(p, scenario);
        wedge_text_add(&p->out, "</b> · ");
    }
    if (json_is_array(json_object_get(run, "command"))) {
        wedge_text_add(&p->out, "<code>");
        json_array_foreach(json_object_get(run, "command"), i, word) {
            wedge_text_add(&p->out, i ? " " : "");
            escaped(p, json_string_value(word));
        }
        wedge_text_add(&p->out, "</code>");
    } else if (json_is_integer(json_object_get(p->report, "root"))) {
        wedge_text_addf(&p->out, "process %" JSON_INTEGER_FORMAT,
                        json_integer_value(json_object_get(p->report, "root")));
    }
    if (*wedge_report_text(run, "started")) {
        wedge_text_add(&p->out, " · <time>");
        escaped(p, wedge_report_text(run, "started"));
        wedge_text_add(&p->out, "</time>");
    }
}

static void definition(struct wedge_page *p, const char *term, const char *text, const char *here)
{
    wedge_text_add(&p->out, "<div>");
    element(p, "dt", "term", term);
    element(p, "dd", "means", text);
    if (*here) {
        wedge_text_add(&p->out, "<dd class=\"here\"><b>Here:</b> ");
        escaped(p, here);
        wedge_text_add(&p->out, ".</dd>\n");
    }
    wedge_text_add(&p->out, "</div>\n");
}

static void put_verdict(struct wedge_page *p)
{
    struct wedge_word kind = wedge_word_kind(verdict(p, "kind"));
    struct wedge_word certainty = wedge_word_certainty(verdict(p, "certainty"));
    struct wedge_word scope = wedge_word_scope(verdict(p, "scope"), verdict(p, "certainty"));
    wedge_text_add(&p->out, "<div class=\"title\">\n");
    element(p, "h1", "kind", kind.title);
    if (is_hang(p)) {
        element(p, "span", "chip certainty", certainty.title);
        element(p, "span", "chip scope", scope.title);
    } else {
        element(p, "span", "chip certainty", strcmp(certainty.word, "suspected") == 0 ? "not known" : "no hang");
    }
    wedge_text_add(&p->out, "</div>\n");
    element(p, "p", "summary", *verdict(p, "summary") ? verdict(p, "summary") : kind.means);
    wedge_text_add(&p->out, "<dl class=\"words\">\n");
    definition(p, kind.title, kind.means, "");
    if (is_hang(p)) {
        definition(p, scope.title, scope.means, "");
        definition(p, certainty.title, certainty.means, verdict(p, "reason"));
    }
    if (*kind.next)
        definition(p, "What to do next", kind.next, "");
    wedge_text_add(&p->out, "</dl>\n");
}

/* The words of the assumptions, for the script: it knows the model alone. */
static void put_words(struct wedge_page *p)
{
    static const char *const words[] = {"no-outside-signal", "no-outside-kill", "posix-owner", "complete-view"};
    json_t *all = json_object(), *kinds = json_object();
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        json_object_set_new(all, words[i], json_string(wedge_word_assumption(words[i]).means));
    for (size_t i = 0; wedge_verdict_words[i]; i++)
        json_object_set_new(kinds, wedge_verdict_words[i], json_string(wedge_word_kind(wedge_verdict_words[i]).title));
    json_t *both = json_pack("{s:o,s:o}", "assumptions", all, "kinds", kinds);
    size_t len = 0;
    char *text = both ? wedge_report_dump(both, WEDGE_DUMP_ASCII, 0, &len) : NULL;
    if (text)
        wedge_text_add_bytes(&p->out, text, len);
    else
        p->out.cut = true;
    free(text);
    json_decref(both);
}

/* It is large: it is not copied. */
static void put_data(struct wedge_page *p)
{
    p->data_at = p->out.len;
}

/* One place of page.html: {{name}}, or {{>file}} for an asset. */
static void put_place(struct wedge_page *p, const char *name, size_t len)
{
    static const struct {
        const char *name;
        void (*put)(struct wedge_page *);
    } places[] = {{"title", put_title},     {"class", put_class}, {"command", put_command},
                  {"verdict", put_verdict}, {"words", put_words}, {"data", put_data}};
    if (len && name[0] == '>') {
        wedge_markup_asset(&p->out, name + 1, len - 1);
        return;
    }
    if (len == 5 && memcmp(name, "nonce", 5) == 0) {
        wedge_text_add(&p->out, p->nonce);
        return;
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (strlen(places[i].name) == len && memcmp(places[i].name, name, len) == 0) {
            places[i].put(p);
            return;
        }
    p->out.cut = true; /* a place that nobody fills: the page is wrong, and a test sees it */
}

static void fill(struct wedge_page *p)
{
    const struct wedge_asset *page = wedge_asset_find("page.html", strlen("page.html"));
    const char *at = page->data, *end = page->data + page->len;
    while (at < end) {
        const char *open = memmem(at, (size_t)(end - at), "{{", 2);
        const char *close = open ? memmem(open, (size_t)(end - open), "}}", 2) : NULL;
        if (!close) {
            wedge_text_add_bytes(&p->out, at, (size_t)(end - at));
            return;
        }
        wedge_text_add_bytes(&p->out, at, (size_t)(open - at));
        put_place(p, open + 2, (size_t)(close - open) - 2);
        at = close + 2;
    }
}

/* Can this JSON stand in the page as it is? */
static bool is_harmless(const char *json, size_t len)
{
    uint64_t word, all = 0;
    size_t at = 0;
    for (; len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, json + at, sizeof(word));
        all |= word;
    }
    for (; at < len; at++)
        all |= (unsigned char)json[at];
    bool ascii = !(all & 0x8080808080808080u); /* no byte has its highest bit */
    return ascii && !memchr(json, '<', len) && !memchr(json, '>', len) && !memchr(json, '&', len);
}

int wedge_report_html_begin(const json_t *report, struct wedge_page **ret, struct wedge_err *err)
{
    struct wedge_page *p = calloc(1, sizeof(*p));
    if (!p)
        return wedge_err_set(err, -ENOMEM, "no memory for a page");
    p->out = (struct wedge_text)WEDGE_TEXT_INIT(MOST_BYTES);
    p->report = report;
    int rc = wedge_markup_nonce(p->nonce, err);
    if (rc) {
        free(p);
        return rc;
    }
    fill(p);
    *ret = p;
    return 0;
}

int wedge_report_html_end(struct wedge_page *p, const char *json, size_t len, int dirfd, const char *name,
                          struct wedge_err *err)
{
    char *own = NULL;
    int rc;
    if (!json || !is_harmless(json, len))
        json = own = wedge_report_dump(p->report, WEDGE_DUMP_ASCII | WEDGE_DUMP_HTML, 0, &len);
    if (p->out.cut || !json || len > MOST_BYTES) {
        rc = wedge_err_set(err, -ENOMEM, "no memory for %s", name);
    } else {
        const struct iovec parts[] = {{p->out.data, p->data_at},
                                      {(char *)json, len}, /* writev(2) only reads */
                                      {p->out.data + p->data_at, p->out.len - p->data_at}};
        rc = wedge_report_save_parts(dirfd, name, parts, sizeof(parts) / sizeof(parts[0]), err);
    }
    free(own);
    wedge_text_free(&p->out);
    free(p);
    return rc;
}

int wedge_report_write_html(const json_t *report, int dirfd, const char *name, struct wedge_err *err)
{
    struct wedge_page *page;
    int rc = wedge_report_html_begin(report, &page, err);
    return rc ? rc : wedge_report_html_end(page, NULL, 0, dirfd, name, err);
}
