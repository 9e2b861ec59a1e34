/*
 * Prints the verdicts of a process: for trying out, and for tests that want words. `examine-main PID [stacks]`; PID 0: all of the caller's user.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "detector/examine.h"

int main(int argc, char **argv)
{
    struct wedge_err err = {0};
    struct wedge_snapshot *s = NULL;
    if (argc < 2)
        return 2;
    struct wedge_examine options = {.root = atoi(argv[1]),
                                    .members = atoi(argv[1]) ? WEDGE_MEMBERS_OF_ROOT : WEDGE_MEMBERS_OF_USER,
                                    .user = getuid(),
                                    .stacks = argc > 2 ? WEDGE_STACKS_ALWAYS : WEDGE_STACKS_NEVER};
    if (wedge_detector_examine(&options, NULL, &s, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < s->n_threads; i++) {
        const struct wedge_thread *t = &s->threads[i];
        printf("%s %d/%d %c %s: %s %s, %s: %s%s%s\n", s->procs[t->proc].in_tree ? " " : "o", s->procs[t->proc].pid,
               t->tid, t->state, t->name, wedge_wait_words[t->wait.class], t->wait.object.describe, t->wait.call,
               t->wait.reason, t->moved ? " MOVED" : "", t->live ? "" : " STUCK");
        for (size_t k = 0; k < t->n_frames; k++)
            printf("      %s%s %s:%d\n", t->frames[k].libc ? "." : "",
                   t->frames[k].function ? t->frames[k].function : "?", t->frames[k].file ? t->frames[k].file : "?",
                   t->frames[k].line);
    }
    for (size_t i = 0; i < s->n_threads; i++)
        if (*s->threads[i].stack_note)
            printf("note: %d: %s\n", s->threads[i].tid, s->threads[i].stack_note);
    for (size_t i = 0; i < s->n_verdicts; i++) {
        const struct wedge_verdict *v = &s->verdicts[i];
        printf("%s %s %s [%x] %s\n  %s\n  %s\n", wedge_verdict_words[v->kind], wedge_certainty_words[v->certainty],
               wedge_scope_words[v->scope], v->assumptions, v->reason, v->summary, v->signature);
    }
    wedge_snapshot_free(s);
    return 0;
}
