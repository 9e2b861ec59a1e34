/* pool/arena: extents never overlap, stay inside, are found again whole after any order of giving back. */
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "pool/arena.h"

#define SLOTS 64

/* Every extent lies inside, none overlaps another, and `used` is their sum. */
static void check_books(const struct wedge_arena *arena)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < arena->n; i++) {
        const struct wedge_arena_extent *a = &arena->extents[i];
        if (a->bytes == 0)
            continue;
        used += a->bytes;
        ck_assert_uint_eq(a->at % WEDGE_ARENA_ALIGN, 0);
        ck_assert_uint_le(a->at + a->bytes, arena->bytes);
        for (uint32_t k = 0; k < i; k++) {
            const struct wedge_arena_extent *b = &arena->extents[k];
            ck_assert(b->bytes == 0 || a->at + a->bytes <= b->at || b->at + b->bytes <= a->at);
        }
    }
    ck_assert_uint_eq(arena->used, used);
}

START_TEST(an_arena_gives_all_it_has_and_no_more)
{
    struct wedge_arena arena;
    uint64_t at;
    ck_assert_int_eq(wedge_arena_create(&arena, SLOTS, 1024 + 63), 0); /* what is left of a line is no room */
    for (uint32_t i = 0; i < 16; i++)
        ck_assert(wedge_arena_take(&arena, i, 64, &at));
    check_books(&arena);
    ck_assert(!wedge_arena_take(&arena, 16, 1, &at));
    wedge_arena_give(&arena, 5);
    ck_assert(!wedge_arena_take(&arena, 16, 65, &at));
    ck_assert(wedge_arena_take(&arena, 16, 1, &at));
    ck_assert_uint_eq(at, 5 * 64);
    check_books(&arena);
    wedge_arena_destroy(&arena);
}
END_TEST

START_TEST(neighbours_given_back_are_one_gap)
{
    static const uint32_t orders[][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    for (size_t o = 0; o < sizeof(orders) / sizeof(orders[0]); o++) {
        struct wedge_arena arena;
        uint64_t at;
        ck_assert_int_eq(wedge_arena_create(&arena, SLOTS, 5 * 128), 0);
        for (uint32_t i = 0; i < 5; i++)
            ck_assert(wedge_arena_take(&arena, i, 128, &at));
        for (int k = 0; k < 3; k++)
            wedge_arena_give(&arena, orders[o][k]);
        ck_assert(wedge_arena_take(&arena, 9, (uint64_t)3 * 128, &at));
        ck_assert_uint_eq(at, 128);
        check_books(&arena);
        wedge_arena_destroy(&arena);
    }
}
END_TEST

START_TEST(giving_back_what_a_slot_has_not_changes_nothing)
{
    struct wedge_arena arena;
    uint64_t at;
    ck_assert_int_eq(wedge_arena_create(&arena, SLOTS, 0), 0);
    wedge_arena_give(&arena, 3); /* an arena of nothing keeps no books */
    wedge_arena_destroy(&arena);
    ck_assert_int_eq(wedge_arena_create(&arena, SLOTS, 4096), 0);
    wedge_arena_give(&arena, 3);
    ck_assert(wedge_arena_take(&arena, 3, 4096, &at));
    wedge_arena_give(&arena, 3);
    wedge_arena_give(&arena, 3);
    ck_assert_uint_eq(arena.used, 0);
    ck_assert(wedge_arena_take(&arena, 4, 4096, &at));
    wedge_arena_destroy(&arena);
    wedge_arena_destroy(&arena);
}
END_TEST

/* Random takes and gives beside a model that only knows how much is used. */
START_TEST(books_hold_under_any_order)
{
    struct wedge_arena arena;
    uint64_t at;
    srand(20261123);
    ck_assert_int_eq(wedge_arena_create(&arena, SLOTS, 64 * 1024), 0);
    for (int step = 0; step < 20000; step++) {
        uint32_t i = (uint32_t)rand() % SLOTS;
        uint64_t bytes = 1 + (uint64_t)rand() % 6000;
        if (arena.extents[i].bytes)
            wedge_arena_give(&arena, i);
        else if (!wedge_arena_take(&arena, i, bytes, &at))
            ck_assert(arena.used > 0); /* an empty one has room for each of these */
        if (step % 100 == 0)
            check_books(&arena);
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        wedge_arena_give(&arena, i);
    ck_assert_uint_eq(arena.used, 0);
    ck_assert(wedge_arena_take(&arena, 0, (uint64_t)64 * 1024, &at));
    wedge_arena_destroy(&arena);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_test(t, an_arena_gives_all_it_has_and_no_more);
    tcase_add_test(t, neighbours_given_back_are_one_gap);
    tcase_add_test(t, giving_back_what_a_slot_has_not_changes_nothing);
    tcase_add_test(t, books_hold_under_any_order);
}

int main(void)
{
    return wedge_test_main("arena", 60, fill);
}
