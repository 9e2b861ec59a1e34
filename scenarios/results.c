#include "scenarios/results.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "reports/junit.h"
#include "reports/report.h"
#include "reports/store.h"
#include "reports/write.h"

struct wedge_results {
    int dirfd;
    struct wedge_junit *junit;
    struct wedge_store *store;
    json_t *model, *checks; /* checks is model's own */
    size_t n, passed;
};

static int no_memory(struct wedge_err *err)
{
    return wedge_err_set(err, -ENOMEM, "no memory for the results");
}

int wedge_results_open(const char *dir, struct wedge_results **ret, struct wedge_err *err)
{
    struct wedge_results *r = calloc(1, sizeof(*r));
    if (!r)
        return no_memory(err);
    r->dirfd = -1;
    int rc = wedge_report_open_dir(dir, &r->dirfd, err);
    if (!rc)
        wedge_report_clean(r->dirfd);
    if (!rc)
        rc = wedge_junit_open(dir, "wedge run", &r->junit, err);
    if (!rc) {
        r->checks = json_array();
        r->model = json_pack("{s:s,s:b,s:n,s:i,s:o}", "schema", "wedge.run/1", "complete", 0, "exit", "passed", 0,
                             "checks", r->checks);
        rc = r->model ? wedge_report_write_json(r->model, r->dirfd, "result.json", err) : no_memory(err);
    }
    if (rc)
        wedge_results_free(r);
    else
        *ret = r;
    return rc;
}

int wedge_results_begin(struct wedge_results *r, const char *dir, struct wedge_err *err)
{
    return wedge_store_begin(dir, "run", &r->store, err);
}

static json_t *describe(const struct wedge_scenario *s, enum wedge_check_role role, long round,
                        const struct wedge_check_result *c)
{
    json_t *after = c->verdict_after_fault_ns < 0 ? json_null() : json_integer(c->verdict_after_fault_ns / 1000000);
    return json_pack("{s:s,s:s,s:I,s:s,s:o,s:s,s:s,s:s,s:s,s:f,s:o,s:o}", "scenario", s->name, "check",
                     wedge_check_words[role], "round", (json_int_t)round, "status", wedge_check_status_words[c->status],
                     "message", wedge_report_string(c->message), "verdict", c->verdict, "certainty", c->certainty,
                     "scope", c->scope, "signature", c->signature, "seconds", (double)c->duration_ns / 1e9,
                     "verdict_after_fault_ms", after, "files", wedge_report_string(c->dir));
}

int wedge_results_store(struct wedge_store *store, const char *scenario, const char *check, long round,
                        const struct wedge_check_result *c, struct wedge_err *err)
{
    int64_t after_ns = c->verdict_after_fault_ns;
    return wedge_store_add(
        store,
        &(struct wedge_store_check){.scenario = scenario,
                                    .check = check,
                                    .round = round,
                                    .status = wedge_check_status_words[c->status],
                                    .verdict = c->verdict,
                                    .certainty = c->certainty,
                                    .scope = c->scope,
                                    .signature = c->signature,
                                    .message = c->message,
                                    .files = c->dir,
                                    .seconds = (double)c->duration_ns / 1e9,
                                    .verdict_after_fault_ms = after_ns < 0 ? -1 : after_ns / 1000000},
        err);
}

int wedge_results_add(struct wedge_results *r, const struct wedge_scenario *s, enum wedge_check_role role, long round,
                      const struct wedge_check_result *c, struct wedge_err *err)
{
    char name[300];
    bool passed = c->status == WEDGE_CHECK_PASSED;
    r->n++;
    r->passed += passed;
    json_t *check = describe(s, role, round, c);
    if (!check || json_array_append_new(r->checks, check) ||
        json_object_set_new(r->model, "passed", json_integer((json_int_t)r->passed)))
        return no_memory(err);
    int rc = wedge_report_write_json(r->model, r->dirfd, "result.json", err);
    if (rc)
        return rc;
    rc = wedge_results_store(r->store, s->name, wedge_check_words[role], round, c, err);
    if (rc)
        return rc;
    snprintf(name, sizeof(name), "%s %s %ld", s->name, wedge_check_words[role], round);
    return wedge_junit_add(r->junit,
                           &(struct wedge_junit_case){.name = name,
                                                      .classname = s->name,
                                                      .seconds = (double)c->duration_ns / 1e9,
                                                      .status = passed ? WEDGE_JUNIT_PASSED : WEDGE_JUNIT_FAILED,
                                                      .message = c->message},
                           err);
}

size_t wedge_results_count(const struct wedge_results *r)
{
    return r->n;
}

size_t wedge_results_passed(const struct wedge_results *r)
{
    return r->passed;
}

int wedge_results_close(struct wedge_results *r, const char *missing, int exit_status, struct wedge_err *err)
{
    int rc = wedge_junit_close(r->junit, missing, err);
    r->junit = NULL;
    if (rc)
        return rc;
    if (json_object_set_new(r->model, "complete", json_boolean(!missing)) ||
        json_object_set_new(r->model, "exit", json_integer(exit_status)))
        return no_memory(err);
    rc = wedge_report_write_json(r->model, r->dirfd, "result.json", err);
    return rc || !r->store ? rc : wedge_store_end(r->store, !missing, exit_status, err);
}

const json_t *wedge_results_model(const struct wedge_results *r)
{
    return r->model;
}

void wedge_results_free(struct wedge_results *r)
{
    if (!r)
        return;
    wedge_junit_close(r->junit, "the run failed", NULL);
    wedge_store_free(r->store);
    json_decref(r->model);
    if (r->dirfd >= 0)
        close(r->dirfd);
    free(r);
}
