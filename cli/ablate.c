#include "cli/ablate.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/bar.h"
#include "reports/ablation.h"
#include "reports/write.h"
#include "scenarios/ablation.h"
#include "scenarios/results.h"

/* An evident hang of a small pool that lasts for so long will not end; and where nothing at all is certain by then, the cell says so. */
#define STALL_NS (3 * WEDGE_NS_PER_S)

struct play {
    const struct wedge_cli_ablate *o;
    struct wedge_ablation *ablation;
    const struct wedge_playing_check *cells;
    size_t n_cells, done;
    struct wedge_cli_bar bar;
    int dirfd;
    struct wedge_store *store;
    int64_t began_ns, written_ns, took_ns;
};

static int write_files(struct play *p, bool complete, json_t **ret, struct wedge_err *err)
{
    int64_t began_ns = wedge_clock_ns();
    json_t *model =
        wedge_ablation_model(p->ablation, p->o->cli->dir, complete, (double)(began_ns - p->began_ns) / WEDGE_NS_PER_S);
    int rc = model ? wedge_report_write_json(model, p->dirfd, "result.json", err)
                   : wedge_err_set(err, -ENOMEM, "no memory for the matrix");
    if (!rc)
        rc = wedge_ablation_write_html(model, p->dirfd, "ablation.html", err);
    if (!rc && ret)
        *ret = json_incref(model);
    json_decref(model);
    p->written_ns = wedge_clock_ns();
    p->took_ns = p->written_ns - began_ns;
    return rc;
}

static int ended(void *context, size_t cell, long round, const struct wedge_check_result *result, struct wedge_err *err)
{
    struct play *p = context;
    struct wedge_check_result stored = *result;
    wedge_ablation_take(p->ablation, cell, result);
    snprintf(stored.verdict, sizeof(stored.verdict), "%s", wedge_ablation_word(p->ablation, cell));
    int rc = wedge_results_store(p->store, p->cells[cell].scenario->name, p->cells[cell].name, round, &stored, err);
    if (rc)
        return rc;
    p->done++;
    if (p->o->cli->verbose)
        fprintf(stderr, "%s %s: %s\n", p->cells[cell].scenario->name, p->cells[cell].name, result->verdict);
    wedge_cli_bar_show(&p->bar, p->done, 0);
    /* The files are the whole matrix each time: a tenth of the time is enough. */
    return wedge_clock_ns() - p->written_ns >= 10 * p->took_ns ? write_files(p, false, NULL, err) : 0;
}

static int finish(struct play *p, const struct wedge_playing_end *end, struct wedge_err *err)
{
    const struct wedge_cli *cli = p->o->cli;
    json_t *model;
    int rc = write_files(p, end->whole, &model, err);
    if (rc)
        return rc;
    FILE *out = cli->json ? stderr : stdout;
    if (cli->json && (json_dumpf(model, stdout, JSON_INDENT(2)) || putchar('\n') == EOF))
        rc = wedge_err_set(err, -EIO, "cannot write the matrix to standard output");
    if (!rc && !cli->quiet)
        rc = wedge_ablation_write_text(model, out, cli->color, err);
    if (!rc && !cli->quiet)
        fprintf(out, "\n%zu of %zu combinations played%s\nreport: %s/ablation.html\n", p->done,
                p->n_cells * (size_t)p->o->rounds, end->whole ? "" : "; the run was ended", cli->dir);
    json_decref(model);
    return rc;
}

int wedge_cli_ablate(const struct wedge_cli_ablate *o)
{
    struct wedge_err err = {0};
    struct wedge_playing_end end = {0};
    char verb[64];
    struct play p = {.o = o, .dirfd = -1, .began_ns = wedge_clock_ns()};
    int rc = wedge_ablation_new((const struct wedge_scenario *const *)o->scenarios, o->n, o->preset, &p.ablation, &err);
    if (!rc)
        rc = wedge_report_open_dir(o->cli->dir, &p.dirfd, &err);
    if (!rc)
        wedge_report_clean(p.dirfd);
    if (!rc)
        rc = write_files(&p, false, NULL, &err);
    if (!rc)
        rc = wedge_store_begin(o->cli->dir, wedge_ablation_verb(o->preset, verb, sizeof(verb)), &p.store, &err);
    if (!rc) {
        p.cells = wedge_ablation_cells(p.ablation, &p.n_cells);
        p.bar = (struct wedge_cli_bar){.cli = o->cli,
                                       .what = "combinations",
                                       .all = p.n_cells * (size_t)o->rounds,
                                       .began_ns = p.began_ns,
                                       .lines = true,
                                       .line_ns = p.began_ns};
        const struct wedge_playing playing = {.checks = p.cells,
                                              .n = p.n_cells,
                                              .rounds = o->rounds,
                                              .at_once = o->at_once,
                                              .out_dir = o->cli->dir,
                                              .mask = o->mask,
                                              .stall_ns = STALL_NS,
                                              .hangs_only = true,
                                              .keep_going = o->keep_going,
                                              .ended = ended,
                                              .context = &p};
        rc = wedge_playing_all(&playing, &end, &err);
        wedge_cli_bar_wipe(&p.bar);
    }
    if (!rc)
        rc = finish(&p, &end, &err);
    int status = rc ? wedge_cli_error(&err) : end.signal ? 128 + end.signal : WEDGE_EXIT_OK;
    if (p.store && wedge_store_end(p.store, !rc && end.whole, status, &err) && !rc)
        status = wedge_cli_error(&err);
    wedge_store_free(p.store);
    wedge_ablation_free(p.ablation);
    if (p.dirfd >= 0)
        close(p.dirfd);
    return status;
}
