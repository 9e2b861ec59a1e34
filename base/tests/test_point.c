/* <wedge/point.h> without an agent: places cost nothing and answer 0; their notes lead to their structures, which
 * is what an agent relies on; an armed word is obeyed. */
#include <elf.h>
#include <link.h>
#include <string.h>
#include <wedge/point.h>

#include "base/tests/suite.h"

static int passes;
static long answer(struct wedge_point *point, long a, long b, long c)
{
    passes++;
    return strcmp(point->name, "test.ask") == 0 ? WEDGE_ASK_FULL : a + b + c;
}

__attribute__((noinline)) static int places(void)
{
    WEDGE_POINT("test.point");
    WEDGE_PROGRESS(3);
    wedge_role("tester", 1, 0);
    WEDGE_CALLBACK_BEGIN("test.callback", places, 100);
    WEDGE_CALLBACK_END("test.callback");
    WEDGE_WAIT_BEGIN(&passes, WEDGE_WAIT_FOR_ITEM, 0);
    WEDGE_WAIT_END();
    return WEDGE_ASK("test.ask");
}

struct found {
    int count, kinds[9];
    struct wedge_point *ask;
};

/* Finds the places of the executable by its notes, as an agent does. */
static int walk(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    struct found *found = arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_NOTE)
            continue;
        const char *at = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        const char *end = at + info->dlpi_phdr[i].p_memsz;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const char *name = at + sizeof(*note);
            const char *desc = name + ((note->n_namesz + 3u) & ~3u);
            if (note->n_namesz == 6 && strcmp(name, "wedge") == 0 && note->n_type == 1) {
                int64_t distance;
                memcpy(&distance, desc, sizeof(distance));
                struct wedge_point *point = (struct wedge_point *)(desc + distance);
                found->count++;
                if (point->kind < 9)
                    found->kinds[point->kind]++;
                if (strcmp(point->name, "test.ask") == 0)
                    found->ask = point;
            }
            at = desc + ((note->n_descsz + 3u) & ~3u);
        }
    }
    return 1; /* the executable comes first; no other object is wanted */
}

START_TEST(test_without_an_agent)
{
    ck_assert_int_eq(places(), 0);
    ck_assert_int_eq(passes, 0);
}
END_TEST

START_TEST(test_notes_lead_to_places)
{
    struct found found = {0};
    dl_iterate_phdr(walk, &found);
    ck_assert_int_eq(found.count, 8);
    for (int kind = WEDGE_PLACE_POINT; kind <= WEDGE_PLACE_CALLBACK_END; kind++)
        ck_assert_int_eq(found.kinds[kind], 1);
    ck_assert_ptr_nonnull(found.ask);
    ck_assert_uint_eq(found.ask->abi, 1);
    found.ask->handler = answer;
    ck_assert_int_eq(places(), WEDGE_ASK_FULL);
    ck_assert_int_eq(passes, 1);
    found.ask->handler = NULL;
    ck_assert_int_eq(places(), 0);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_test(tcase, test_without_an_agent);
    tcase_add_test(tcase, test_notes_lead_to_places);
}

int main(void)
{
    return wedge_test_main("point", 10, fill);
}
