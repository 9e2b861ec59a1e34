/*
 * The beginning of a session: the arena with the plan, the copiers of the command's output, its mark, the command itself.
 */
#include "scenarios/session_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "faults/control.h"
#include "faults/launch.h"
#include "scenarios/launch.h"

static int prepare_agent(struct wedge_session_state *st, char ***ret_env)
{
    const struct wedge_session *s = st->s;
    int rc = wedge_arena_create(&st->arena, s->arena_bytes, s->plan ? wedge_plan_seed(s->plan) : 0, st->err);
    if (rc)
        return rc;
    rc = s->plan ? wedge_plan_install(s->plan, &st->arena, st->err) : 0;
    if (!rc)
        rc = wedge_ended_new(&st->arena, &st->who_ended, st->err);
    if (!rc && s->disarm)
        rc = wedge_control_disarm(&st->arena, s->disarm, st->err);
    struct wedge_arena_control *control = wedge_arena_live(&st->arena, WEDGE_SEC_CONTROL, 0);
    control->record = s->record;
    control->census = s->census;
    bool looked = !rc; /* at the command */
    if (!rc)
        rc = wedge_faults_environ(&st->arena, s->argv[0], ret_env, st->err);
    if (!rc) {
        st->agent = true;
        return 0;
    }
    wedge_ended_free(st->who_ended);
    st->who_ended = NULL;
    wedge_arena_destroy(&st->arena);
    st->arena = (struct wedge_arena){.fd = -1};
    if (looked &&
        (rc == -ENOENT || rc == -EACCES || rc == -ENOEXEC)) { /* the command's fault, not the agent's: -ELIBACC */
        st->out->exec_errno = -rc;
        return 0;
    }
    if (!s->agent_optional || s->plan)
        return rc;
    char text[1200];
    wedge_session_note(st, wedge_err_text(st->err, text, sizeof(text)));
    return 0;
}

/* Puts copiers between the command and where its streams go. One does for both where they go to the same place. */
static int start_tees(struct wedge_session_state *st, int fds[2])
{
    const struct wedge_session *s = st->s;
    const int to[2] = {fds[0] >= 0 ? fds[0] : STDOUT_FILENO, fds[1] >= 0 ? fds[1] : STDERR_FILENO};
    int rc = 0;
    for (int i = 0; i < 2 && !rc; i++) {
        if (i == 1 && st->tees[0].ring && wedge_tee_is_same(to[0], to[1]))
            fds[1] = st->tees[0].input;
        else if (wedge_tee_is_open(to[i]) && !(rc = wedge_tee_start(&st->tees[i], to[i], s->keep_bytes, st->err)))
            fds[i] = st->tees[i].input;
    }
    return rc;
}

/* The run's mark, by which a daemon that has left everything else is known to be of this run (detector/look/members.h). */
static void mark_environment(void)
{
    uint64_t nonce = 0;
    char text[32];
    if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
        nonce = (uint64_t)wedge_clock_ns();
    snprintf(text, sizeof(text), "%016" PRIx64, nonce);
    setenv("WEDGE_RUN", text, 1);
}

int wedge_session_start(struct wedge_session_state *st)
{
    const struct wedge_session *s = st->s;
    char **env = NULL;
    int fds[2] = {s->stdout_fd, s->stderr_fd}, rc = 0;
    mark_environment();
    if (s->agent && ((rc = prepare_agent(st, &env)) || st->out->exec_errno))
        return rc;
    if (!rc && s->copy_output)
        rc = start_tees(st, fds);
    if (!rc) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (s->end_all) /* without it all is as well, as long as nobody kills wedge */
            wedge_guard_start(&st->guard, getenv("WEDGE_RUN"));
        st->root = wedge_launch(s->argv, env, -1, fds[0], fds[1], &st->command_mask, &st->out->exec_errno);
        if (st->root < 0)
            rc = wedge_err_set(st->err, st->root, "cannot start %s: %s", s->argv[0], strerror(-st->root));
        else if (!st->out->exec_errno)
            wedge_guard_root(&st->guard, st->root);
    }
    for (int i = 0; i < 2 && s->copy_output; i++)
        if (st->tees[i].ring)
            close(st->tees[i].input);
    wedge_faults_environ_free(env);
    return rc;
}

int wedge_session_attach(struct wedge_session_state *st)
{
    if (st->s->attach)
        st->root = st->s->attach;
    st->pidfd = pidfd_open(st->root, 0);
    if (st->pidfd >= 0)
        return 0;
    int rc = wedge_err_set(st->err, -errno, "no process %d: %s", st->root, strerror(errno));
    wedge_err_remedy(st->err, "`ps -e` shows the processes there are");
    return rc;
}
