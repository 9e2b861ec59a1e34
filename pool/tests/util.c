#include "pool/tests/util.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wedge/point.h>

#include "pool/tests/pace.h"

void tally_init(struct tally *tally)
{
    memset(tally, 0, sizeof(*tally));
    tally->say_fd = tally->go_fd = -1;
}

void tally_add(struct tally *tally, const struct wedge_pool_result *result)
{
    uint64_t square = 0;
    if (result->id == 0 || result->id > TEST_TASKS_MAX || result->outcome < WEDGE_POOL_OK ||
        result->outcome >= WEDGE_POOL_OUTCOMES) {
        tally->wrong++;
        return;
    }
    tally->times[result->id]++;
    tally->outcome[result->id] = result->outcome;
    tally->code[result->id] = result->code;
    tally->outcomes[result->outcome]++;
    tally->reported++;
    if (result->outcome != WEDGE_POOL_OK)
        return;
    if (result->bytes == sizeof(square))
        memcpy(&square, result->data, sizeof(square));
    if (square != result->id * result->id)
        tally->wrong++;
}

void tally_check_each_once(const struct tally *tally, unsigned n)
{
    for (unsigned id = 1; id <= n; id++)
        ck_assert_msg(tally->times[id] == 1, "task %u was reported %u times", id, tally->times[id]);
    ck_assert_uint_eq(tally->reported, n);
    ck_assert_uint_eq(tally->wrong, 0);
}

struct wedge_pool *make_pool(const char *preset, const char *const *settings)
{
    struct wedge_pool *pool;
    struct wedge_pool_err err = {0};
    ck_assert_msg(wedge_pool_create(preset, &pool, &err) == 0, "%s", err.message);
    for (; *settings; settings++)
        ck_assert_msg(wedge_pool_set(pool, *settings, &err) == 0, "%s", err.message);
    return pool;
}

int square_task(struct wedge_pool_task *task, void *context)
{
    uint64_t number;
    (void)context;
    if (task->bytes != sizeof(number))
        return EINVAL;
    memcpy(&number, task->data, sizeof(number));
    number *= number;
    memcpy(task->result, &number, sizeof(number));
    task->result_bytes = sizeof(number);
    return 0;
}

void tally_collect(const struct wedge_pool_result *result, void *context)
{
    tally_add(context, result);
}

struct wedge_pool_callbacks square_callbacks(struct tally *tally)
{
    return (struct wedge_pool_callbacks){.task = square_task, .collect = tally_collect, .context = tally};
}

void put_number(struct wedge_pool *pool, uint64_t number)
{
    uint64_t id = 0;
    ck_assert_int_eq(wedge_pool_put(pool, &number, sizeof(number), WEDGE_POOL_NEVER, &id), 0);
    ck_assert_uint_eq(id, number);
}

void take_all(struct wedge_pool *pool, struct tally *tally)
{
    struct wedge_pool_result result;
    uint64_t buffer;
    int rc;
    while ((rc = wedge_pool_take(pool, &result, &buffer, sizeof(buffer), WEDGE_POOL_NEVER)) == 0)
        tally_add(tally, &result);
    ck_assert_int_eq(rc, -ENODATA);
}

static void read_exactly(int fd, void *data, size_t bytes)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    ck_assert_msg(poll(&pfd, 1, paced_ms(10000)) == 1, "nothing was said within ten seconds");
    ck_assert_int_eq(read(fd, data, bytes), (ssize_t)bytes);
}

char read_byte(int fd)
{
    char byte;
    read_exactly(fd, &byte, 1);
    return byte;
}

pid_t read_pid(int fd)
{
    pid_t pid;
    read_exactly(fd, &pid, sizeof(pid));
    return pid;
}

int closed_within(int fd, int ms)
{
    struct pollfd pfd = {.fd = fd};
    return poll(&pfd, 1, ms) == 1 && (pfd.revents & POLLHUP);
}

int closed_or_readable_within(int fd, int ms)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    return poll(&pfd, 1, ms) == 1;
}

void make_pipe(int fds[2])
{
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
}

struct arming {
    const char *name;
    long (*handler)(struct wedge_point *point, long a, long b, long c);
    int found;
};

/* One segment of notes: those of places lead to their structures (<wedge/point.h>). */
static void arm_notes(struct arming *arming, const char *at, const char *end)
{
    while (at + sizeof(ElfW(Nhdr)) <= end) {
        const ElfW(Nhdr) *note = (const void *)at;
        const char *name = at + sizeof(*note), *desc = name + ((note->n_namesz + 3u) & ~3u);
        if (note->n_namesz == 6 && strcmp(name, "wedge") == 0 && note->n_type == 1) {
            int64_t distance;
            memcpy(&distance, desc, sizeof(distance));
            struct wedge_point *point = (struct wedge_point *)(uintptr_t)(desc + distance);
            if (strcmp(point->name, arming->name) == 0) {
                point->handler = arming->handler;
                arming->found++;
            }
        }
        at = desc + ((note->n_descsz + 3u) & ~3u);
    }
}

static int arm_object(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum && strstr(info->dlpi_name, "libwedge-pool"); i++) {
        const char *at = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            arm_notes(context, at, at + info->dlpi_phdr[i].p_memsz);
    }
    return 0;
}

void arm_place(const char *name, long (*handler)(struct wedge_point *point, long a, long b, long c))
{
    struct arming arming = {.name = name, .handler = handler};
    dl_iterate_phdr(arm_object, &arming);
    ck_assert_msg(arming.found > 0, "%s: no such place", name);
}

void check_no_child(void)
{
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

long waits_in(pid_t tid)
{
    char path[64];
    long number = -1;
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%ld", &number) != 1)
        number = -1;
    if (file)
        fclose(file);
    return number;
}
