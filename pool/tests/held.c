/* Tasks that a test keeps in hand (held.h). */
#include "pool/tests/held.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void say_pid(int fd)
{
    pid_t pid = getpid();
    ck_assert_int_eq(write(fd, &pid, sizeof(pid)), sizeof(pid));
}

int say_init(const struct wedge_pool_place *place, void *context)
{
    const struct tally *t = context;
    (void)place;
    say_pid(t->say_fd);
    return 0;
}

int first_is_held(struct wedge_pool_task *task, void *context)
{
    const struct tally *t = context;
    char byte;
    if (task->id != 1)
        return square_task(task, context);
    say_pid(t->say_fd);
    return read(t->go_fd, &byte, 1) == 1 ? 0 : 1;
}

int all_are_held(struct wedge_pool_task *task, void *context)
{
    const struct tally *t = context;
    char byte;
    (void)task;
    say_pid(t->say_fd);
    return read(t->go_fd, &byte, 1) == 1 ? 0 : 1;
}

struct wedge_pool_callbacks held_by(const struct pipes *pipes, struct tally *tally,
                                    int (*task)(struct wedge_pool_task *, void *))
{
    struct wedge_pool_callbacks callbacks = square_callbacks(tally);
    tally_init(tally);
    tally->say_fd = pipes->said[1];
    tally->go_fd = pipes->go[0];
    callbacks.task = task;
    return callbacks;
}

struct wedge_pool_callbacks held_callbacks(struct pipes *pipes, struct tally *tally,
                                           int (*task)(struct wedge_pool_task *, void *))
{
    make_pipe(pipes->said);
    make_pipe(pipes->go);
    return held_by(pipes, tally, task);
}

pid_t parent_of(pid_t pid)
{
    char path[64], line[512];
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
    fclose(file);
    const char *after_name = strrchr(line, ')');
    ck_assert_ptr_nonnull(after_name);
    ck_assert_int_eq(sscanf(after_name, ") %*c %d", &parent), 1);
    return parent;
}

void wait_stopped(pid_t pid)
{
    char path[64], line[512];
    const char *after_name = NULL;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    do {
        FILE *file = fopen(path, "re");
        ck_assert_ptr_nonnull(file);
        ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
        fclose(file);
        after_name = strrchr(line, ')');
        ck_assert_ptr_nonnull(after_name);
    } while (after_name[2] != 'T'); /* it is a grandchild: there is nothing to wait on but its state */
}
