#include "detector/tests/cases.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/tests/suite.h"

#define TIMES 25 /* examinations of a healthy program */

int cases_repeats(void)
{
    const char *text = getenv("WEDGE_CASES_REPEAT");
    int n = text ? atoi(text) : 1;
    return n < 1 ? 1 : n > 1000 ? 1000 : n;
}

/* Opened anew for each line, and appended to: every case is a process of its own. */
static void put_line(const char *line, int length)
{
    const char *path = getenv("WEDGE_CASES_TABLE");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    ck_assert_int_eq(write(fd, line, (size_t)length), length);
    close(fd);
}

void cases_asked(const char *how, const char *name, int tries)
{
    char line[256];
    put_line(line, snprintf(line, sizeof(line), "asked\t%s\t%s\t%d\n", how, name, tries));
}

void cases_right(const char *how, const char *name, const struct wedge_verdict *v, const char *culprit)
{
    char line[256];
    put_line(line, snprintf(line, sizeof(line), "right\t%s\t%s\t%s\t%s\t%s\n", how, name, wedge_verdict_words[v->kind],
                            wedge_certainty_words[v->certainty], culprit ? culprit : "-"));
}

struct wedge_snapshot *examine_until_all(pid_t pid, size_t victims, enum wedge_stacks stacks)
{
    for (int i = 0;; i++) {
        struct wedge_snapshot *s = examine_until_hang(pid, stacks);
        if (s->verdicts[0].n_victims >= victims || i == 50)
            return s;
        wedge_snapshot_free(s);
        usleep(5000);
    }
}

/* Until it has all its victims, and nobody ran while it was looked at who could have helped: the verdict is careful then. Nor
 * anybody else, such as a thread of the kernel's on its way to having nothing to do: what hangs is a part then. */
static struct wedge_snapshot *examine_until_settled(pid_t pid, const struct hang *hang, enum wedge_stacks stacks)
{
    for (int i = 0;; i++) {
        struct wedge_snapshot *s = examine_until_all(pid, hang->victims, stacks);
        const struct wedge_verdict *v = &s->verdicts[0];
        bool careful =
            v->certainty < hang->certainty || (v->scope == WEDGE_SCOPE_PART && hang->scope == WEDGE_SCOPE_WHOLE);
        if (!careful || i == 10)
            return s;
        wedge_snapshot_free(s);
    }
}

static void check_verdict(const struct hang *hang, const struct wedge_snapshot *s)
{
    const struct wedge_verdict *v = &s->verdicts[0];
    ck_assert_msg(v->kind == hang->kind, "%s: %s, not %s: %s", hang->name, wedge_verdict_words[v->kind],
                  wedge_verdict_words[hang->kind], v->summary);
    ck_assert_msg(v->certainty == hang->certainty, "%s: %s, not %s: %s", hang->name,
                  wedge_certainty_words[v->certainty], wedge_certainty_words[hang->certainty], v->reason);
    ck_assert_msg(v->scope == hang->scope, "%s: %s: %s", hang->name, wedge_scope_words[v->scope], v->summary);
    ck_assert_msg(v->n_victims == hang->victims, "%s: %zu victims: %s", hang->name, v->n_victims, v->summary);
    ck_assert_str_ne(v->reason, "");
    /* Of a live program each proof rests on that. */
    ck_assert_msg(v->certainty != WEDGE_PROVED || v->assumptions & WEDGE_ASSUME_NO_OUTSIDE_KILL, "%s", v->summary);
    ck_assert_msg(!hang->culprit || v->n_culprits, "%s: no culprits: %s", hang->name, v->summary);
}

void hang_check_without_stacks(const struct hang *hang)
{
    cases_asked("no stop", hang->name, cases_repeats());
    for (int run = 0; run < cases_repeats(); run++) {
        struct factory factory = factory_start(hang->name);
        struct wedge_snapshot *s = examine_until_settled(factory.pid, hang, WEDGE_STACKS_NEVER);
        check_verdict(hang, s);
        ck_assert_msg(s->n_verdicts == 1, "%s: %zu verdicts", hang->name, s->n_verdicts);
        ck_assert(!s->stopped_anything);
        ck_assert_ptr_nonnull(strstr(s->verdicts[0].signature, ":weak"));
        cases_right("no stop", hang->name, &s->verdicts[0], "not asked");
        wedge_snapshot_free(s);
        factory_end(&factory);
    }
}

/* "f", or of C++ "space::f(int)". */
static bool is_named(const char *function, const char *name, size_t length)
{
    const char *at = function ? memmem(function, strlen(function), name, length) : NULL;
    return at && (at == function || at[-1] == ':') && (at[length] == '\0' || at[length] == '(');
}

static bool is_on_stack(const struct wedge_thread *t, const char *name, size_t length)
{
    for (size_t k = 0; k < t->n_frames; k++)
        if (is_named(t->frames[k].function, name, length))
            return true;
    return false;
}

void cases_check_culprits(const char *name, const char *culprit, const struct wedge_snapshot *s)
{
    const struct wedge_verdict *v = &s->verdicts[0];
    uint64_t right = 0;
    for (const char *at = culprit; at;) {
        size_t length = strcspn(at, "|");
        uint64_t before = right;
        for (size_t i = 0; i < v->n_culprits && i < 64; i++)
            if (is_on_stack(&s->threads[v->culprits[i]], at, length))
                right |= 1ull << i;
        ck_assert_msg(right != before, "%s: no culprit in %.*s(): %s", name, (int)length, at, v->summary);
        at = at[length] ? at + length + 1 : NULL;
    }
    ck_assert_msg(right == (1ull << v->n_culprits) - 1, "%s: a culprit that is none: %s", name, v->summary);
}

void hang_check_with_stacks(const struct hang *hang)
{
    char signature[64] = "";
    int runs = cases_repeats() < 2 ? 2 : cases_repeats();
    cases_asked("stacks", hang->name, runs);
    /* Two programs, one hang: the same signature, the same words but for the numbers. */
    for (int run = 0; run < runs; run++) {
        struct factory factory = factory_start(hang->name);
        struct wedge_snapshot *s = examine_until_settled(factory.pid, hang, WEDGE_STACKS_ON_HANG);
        const struct wedge_verdict *v = &s->verdicts[0];
        check_verdict(hang, s);
        ck_assert_msg(strstr(v->summary, hang->words), "%s: %s", hang->name, v->summary);
        if (hang->call)
            ck_assert_str_eq(s->threads[v->victims[0]].wait.call, hang->call);
        ck_assert_msg(strstr(v->summary, hang->call ? "factory" : "stopped"), "%s: %s", hang->name, v->summary);
        cases_check_culprits(hang->name, hang->culprit, s);
        ck_assert_msg(!strstr(v->signature, "weak"), "%s: %s: %s", hang->name, v->signature, v->summary);
        ck_assert_int_eq(strncmp(v->signature, "sig1:", 5), 0);
        if (run)
            ck_assert_str_eq(v->signature, signature);
        cases_right("stacks", hang->name, v, hang->culprit);
        memcpy(signature, v->signature, strlen(v->signature) < 63 ? strlen(v->signature) + 1 : 63);
        wedge_snapshot_free(s);
        factory_end(&factory);
    }
}

void healthy_check(const struct healthy *healthy)
{
    struct factory factory = factory_start(healthy->name);
    bool seen = false;
    int times = getenv("WEDGE_CASES_TABLE") ? TIMES : TIMES * cases_repeats(); /* the table is of hangs */
    for (int i = 0; i < times; i++) {
        struct wedge_snapshot *s = examine_once(factory.pid, WEDGE_STACKS_NEVER);
        seen |= thread_in(s, healthy->waits) != NULL;
        for (size_t v = 0; v < s->n_verdicts; v++) {
            bool hang = wedge_verdict_is_hang(s->verdicts[v].kind);
            ck_assert_msg(!hang || (healthy->may_be_evident && s->verdicts[v].certainty != WEDGE_PROVED),
                          "%s: %s, %s: %s", healthy->name, wedge_verdict_words[s->verdicts[v].kind],
                          wedge_certainty_words[s->verdicts[v].certainty], s->verdicts[v].summary);
        }
        wedge_snapshot_free(s);
        usleep(2000);
    }
    ck_assert_msg(seen, "%s: never seen in the wait that it is about", healthy->name);
    factory_end(&factory);
}

static struct {
    const struct hang *hangs;
    const struct healthy *healthy;
    int n_hangs, n_healthy;
    void (*more)(TCase *);
} family;

START_TEST(test_hang_without_stacks)
{
    hang_check_without_stacks(&family.hangs[_i]);
}
END_TEST

START_TEST(test_hang_with_stacks)
{
    hang_check_with_stacks(&family.hangs[_i]);
}
END_TEST

START_TEST(test_never_proved)
{
    healthy_check(&family.healthy[_i]);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_hang_without_stacks, 0, family.n_hangs);
    tcase_add_loop_test(tcase, test_hang_with_stacks, 0, family.n_hangs);
    tcase_add_loop_test(tcase, test_never_proved, 0, family.n_healthy);
    if (family.more)
        family.more(tcase);
}

int cases_main(const char *suite, const struct hang *hangs, size_t n_hangs, const struct healthy *healthy,
               size_t n_healthy, void (*more)(TCase *))
{
    family.hangs = hangs;
    family.healthy = healthy;
    family.n_hangs = (int)n_hangs;
    family.n_healthy = (int)n_healthy;
    family.more = more;
    return wedge_test_main(suite, 60, fill);
}
