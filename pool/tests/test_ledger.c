/* pool/ledger: every change from every state does what the drawing in ledger.h says, and nothing else. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/tests/suite.h"
#include "pool/ledger.h"

static const struct wedge_ledger_owner someone = {.worker = 256, .incarnation = 1048575, .thread = 64};

/* Every state a slot can be in; the outcomes under their public numbers. */
static const int states[] = {WEDGE_LEDGER_FREE,  WEDGE_LEDGER_WRITING, WEDGE_LEDGER_QUEUED,    WEDGE_LEDGER_CLAIMED,
                             WEDGE_LEDGER_TAKEN, WEDGE_POOL_OK,        WEDGE_POOL_ERROR,       WEDGE_POOL_LOST,
                             WEDGE_POOL_TIMEOUT, WEDGE_POOL_CANCELLED, WEDGE_POOL_INIT_FAILED, WEDGE_LEDGER_EXPIRED,
                             WEDGE_LEDGER_LATE,  WEDGE_LEDGER_SPENT};
#define N_STATES ((int)(sizeof(states) / sizeof(states[0])))

/* Takes a fresh slot to `state` by the ledger's own changes. Returns the claim, where there was one. */
static uint64_t bring_to(wedge_ledger_word *slot, int state)
{
    uint64_t claim = 0;
    enum wedge_pool_outcome outcome;
    atomic_store(slot, 0);
    if (state == WEDGE_LEDGER_FREE)
        return 0;
    ck_assert(wedge_ledger_reserve(slot));
    if (state == WEDGE_LEDGER_WRITING)
        return 0;
    ck_assert(wedge_ledger_publish(slot));
    if (state == WEDGE_LEDGER_QUEUED)
        return 0;
    if (state == WEDGE_POOL_CANCELLED || state == WEDGE_POOL_INIT_FAILED) {
        ck_assert(wedge_ledger_withdraw(slot, atomic_load(slot), (enum wedge_pool_outcome)state));
        return 0;
    }
    ck_assert(wedge_ledger_claim(slot, someone, &claim));
    bool late;
    enum wedge_ledger_state left;
    if (state == WEDGE_POOL_OK || state == WEDGE_POOL_ERROR)
        ck_assert(wedge_ledger_finish(slot, claim, (enum wedge_pool_outcome)state, &late));
    if (state == WEDGE_POOL_LOST)
        ck_assert(wedge_ledger_condemn(slot, someone.worker, someone.incarnation, &left));
    if (state == WEDGE_LEDGER_EXPIRED || state == WEDGE_LEDGER_LATE || state == WEDGE_LEDGER_SPENT ||
        state == WEDGE_POOL_TIMEOUT)
        ck_assert(wedge_ledger_expire(slot, someone));
    if (state == WEDGE_LEDGER_LATE || state == WEDGE_LEDGER_SPENT)
        ck_assert_int_eq(wedge_ledger_collect(slot, &outcome), WEDGE_LEDGER_EARLY);
    if (state == WEDGE_LEDGER_SPENT || state == WEDGE_POOL_TIMEOUT)
        ck_assert(wedge_ledger_condemn(slot, someone.worker, someone.incarnation, &left));
    if (state == WEDGE_LEDGER_TAKEN) {
        ck_assert(wedge_ledger_finish(slot, claim, WEDGE_POOL_OK, &late));
        ck_assert_int_eq(wedge_ledger_collect(slot, &outcome), WEDGE_LEDGER_RESULT);
    }
    return claim;
}

enum { RESERVE, PUBLISH, ABANDON, CLAIM, FINISH, EXPIRE, CONDEMN, WITHDRAW, COLLECT, RELEASE, N_CHANGES };

/* What a slot becomes when its owner leaves it without a result; -1: it has none. */
static int left_by_dead(int from)
{
    return from == WEDGE_LEDGER_CLAIMED   ? (int)WEDGE_POOL_LOST
           : from == WEDGE_LEDGER_EXPIRED ? (int)WEDGE_POOL_TIMEOUT
           : from == WEDGE_LEDGER_LATE    ? WEDGE_LEDGER_SPENT
                                          : -1;
}

/* Applies one change; returns the state it leads to by the drawing, or -1 where the drawing has no such arrow. */
static int apply(wedge_ledger_word *slot, int change, int from, uint64_t claim, bool *ret_changed)
{
    enum wedge_pool_outcome outcome = WEDGE_POOL_OUTCOMES;
    enum wedge_ledger_found found;
    enum wedge_ledger_state left;
    uint64_t new_claim;
    bool late;
    bool is_outcome = from >= WEDGE_POOL_OK && from < WEDGE_POOL_OUTCOMES;
    switch (change) {
    case RESERVE:
        *ret_changed = wedge_ledger_reserve(slot);
        return from == WEDGE_LEDGER_FREE ? WEDGE_LEDGER_WRITING : -1;
    case PUBLISH:
        *ret_changed = wedge_ledger_publish(slot);
        return from == WEDGE_LEDGER_WRITING ? WEDGE_LEDGER_QUEUED : -1;
    case ABANDON:
        *ret_changed = wedge_ledger_abandon(slot);
        return from == WEDGE_LEDGER_WRITING ? WEDGE_LEDGER_FREE : -1;
    case CLAIM:
        *ret_changed = wedge_ledger_claim(slot, someone, &new_claim);
        return from == WEDGE_LEDGER_QUEUED ? WEDGE_LEDGER_CLAIMED : -1;
    case FINISH:
        *ret_changed = wedge_ledger_finish(slot, claim, WEDGE_POOL_ERROR, &late);
        if (*ret_changed)
            ck_assert_int_eq(late, from != WEDGE_LEDGER_CLAIMED);
        return from == WEDGE_LEDGER_CLAIMED ? (int)WEDGE_POOL_ERROR : left_by_dead(from);
    case EXPIRE:
        *ret_changed = wedge_ledger_expire(slot, someone);
        return from == WEDGE_LEDGER_CLAIMED ? WEDGE_LEDGER_EXPIRED : -1;
    case CONDEMN:
        *ret_changed = wedge_ledger_condemn(slot, someone.worker, someone.incarnation, &left);
        if (*ret_changed)
            ck_assert_int_eq(left, left_by_dead(from));
        return left_by_dead(from);
    case WITHDRAW:
        *ret_changed = wedge_ledger_withdraw(slot, atomic_load(slot), WEDGE_POOL_CANCELLED);
        return from == WEDGE_LEDGER_QUEUED ? (int)WEDGE_POOL_CANCELLED : -1;
    case COLLECT:
        found = wedge_ledger_collect(slot, &outcome);
        *ret_changed = found != WEDGE_LEDGER_NOTHING;
        if (found == WEDGE_LEDGER_RESULT)
            ck_assert_int_eq(outcome, from);
        if (found == WEDGE_LEDGER_EARLY)
            ck_assert_int_eq(outcome, WEDGE_POOL_TIMEOUT);
        ck_assert_int_eq(found, is_outcome                     ? WEDGE_LEDGER_RESULT
                                : from == WEDGE_LEDGER_EXPIRED ? WEDGE_LEDGER_EARLY
                                : from == WEDGE_LEDGER_SPENT   ? WEDGE_LEDGER_SPARE
                                                               : WEDGE_LEDGER_NOTHING);
        return is_outcome || from == WEDGE_LEDGER_SPENT ? WEDGE_LEDGER_TAKEN
               : from == WEDGE_LEDGER_EXPIRED           ? WEDGE_LEDGER_LATE
                                                        : -1;
    default:
        *ret_changed = wedge_ledger_release(slot);
        return from == WEDGE_LEDGER_TAKEN ? WEDGE_LEDGER_FREE : -1;
    }
}

START_TEST(each_change_from_each_state)
{
    int from = states[_i / N_CHANGES], change = _i % N_CHANGES;
    wedge_ledger_word slot;
    bool changed;
    uint64_t claim = bring_to(&slot, from), before = atomic_load(&slot);
    ck_assert_int_eq(wedge_ledger_state_of(before), from);
    ck_assert_int_eq(wedge_ledger_is_outcome(before), from >= WEDGE_POOL_OK && from < WEDGE_POOL_OUTCOMES);
    int to = apply(&slot, change, from, claim, &changed);
    ck_assert_int_eq(changed, to >= 0);
    if (to >= 0)
        ck_assert_int_eq(wedge_ledger_state_of(atomic_load(&slot)), to);
    else
        ck_assert_uint_eq(atomic_load(&slot), before);
}
END_TEST

START_TEST(owner_survives_the_word)
{
    wedge_ledger_word slot;
    bring_to(&slot, WEDGE_LEDGER_CLAIMED);
    struct wedge_ledger_owner owner = wedge_ledger_owner_of(atomic_load(&slot));
    ck_assert_uint_eq(owner.worker, someone.worker);
    ck_assert_uint_eq(owner.incarnation, someone.incarnation);
    ck_assert_uint_eq(owner.thread, someone.thread);
}
END_TEST

START_TEST(only_the_dead_incarnation_is_condemned)
{
    wedge_ledger_word slot;
    bring_to(&slot, WEDGE_LEDGER_CLAIMED);
    enum wedge_ledger_state left;
    ck_assert(!wedge_ledger_condemn(&slot, someone.worker - 1, someone.incarnation, &left));
    ck_assert(!wedge_ledger_condemn(&slot, someone.worker, someone.incarnation - 1, &left));
    ck_assert_int_eq(wedge_ledger_state_of(atomic_load(&slot)), WEDGE_LEDGER_CLAIMED);
    ck_assert(wedge_ledger_condemn(&slot, someone.worker, someone.incarnation, &left));
}
END_TEST

START_TEST(an_outcome_must_fit_its_change)
{
    wedge_ledger_word slot;
    bool late;
    uint64_t claim = bring_to(&slot, WEDGE_LEDGER_CLAIMED);
    for (int outcome = 0; outcome <= WEDGE_POOL_OUTCOMES; outcome++) {
        if (outcome != WEDGE_POOL_OK && outcome != WEDGE_POOL_ERROR)
            ck_assert(!wedge_ledger_finish(&slot, claim, (enum wedge_pool_outcome)outcome, &late));
    }
    bring_to(&slot, WEDGE_LEDGER_QUEUED);
    for (int outcome = 0; outcome <= WEDGE_POOL_OUTCOMES; outcome++)
        if (outcome != WEDGE_POOL_CANCELLED && outcome != WEDGE_POOL_INIT_FAILED && outcome != WEDGE_POOL_TIMEOUT)
            ck_assert(!wedge_ledger_withdraw(&slot, atomic_load(&slot), (enum wedge_pool_outcome)outcome));
    ck_assert_int_eq(wedge_ledger_state_of(atomic_load(&slot)), WEDGE_LEDGER_QUEUED);
}
END_TEST

START_TEST(a_claim_of_an_earlier_use_finishes_nothing)
{
    wedge_ledger_word slot;
    enum wedge_pool_outcome outcome;
    uint64_t old = bring_to(&slot, WEDGE_LEDGER_CLAIMED), claim;
    enum wedge_ledger_state left;
    bool late;
    ck_assert(wedge_ledger_condemn(&slot, someone.worker, someone.incarnation, &left));
    ck_assert_int_eq(wedge_ledger_collect(&slot, &outcome), WEDGE_LEDGER_RESULT);
    ck_assert(wedge_ledger_release(&slot));
    ck_assert(wedge_ledger_reserve(&slot));
    ck_assert(wedge_ledger_publish(&slot));
    ck_assert(wedge_ledger_claim(&slot, someone, &claim));
    ck_assert_uint_ne(claim, old);
    ck_assert(!wedge_ledger_finish(&slot, old, WEDGE_POOL_OK, &late));
    ck_assert(wedge_ledger_finish(&slot, claim, WEDGE_POOL_OK, &late));
}
END_TEST

/* The supervisor's LOST and the worker's OK race for one claim: exactly one of them wins, each time. */
struct race {
    wedge_ledger_word slot;
    uint64_t claim;
    pthread_barrier_t start, end;
    bool finished;
};
#define ROUNDS 2000

static void *finisher(void *arg)
{
    struct race *race = arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&race->start);
        bool late;
        race->finished = wedge_ledger_finish(&race->slot, race->claim, WEDGE_POOL_OK, &late);
        pthread_barrier_wait(&race->end);
    }
    return NULL;
}

START_TEST(exactly_one_outcome_wins)
{
    struct race race = {0};
    pthread_t thread;
    pthread_barrier_init(&race.start, NULL, 2);
    pthread_barrier_init(&race.end, NULL, 2);
    race.claim = bring_to(&race.slot, WEDGE_LEDGER_CLAIMED);
    ck_assert_int_eq(pthread_create(&thread, NULL, finisher, &race), 0);
    for (int i = 0; i < ROUNDS; i++) {
        race.claim = bring_to(&race.slot, WEDGE_LEDGER_CLAIMED);
        pthread_barrier_wait(&race.start);
        enum wedge_ledger_state left;
        bool condemned = wedge_ledger_condemn(&race.slot, someone.worker, someone.incarnation, &left);
        pthread_barrier_wait(&race.end);
        ck_assert_int_ne(condemned, race.finished);
        ck_assert_int_eq(wedge_ledger_state_of(atomic_load(&race.slot)),
                         condemned ? (int)WEDGE_POOL_LOST : (int)WEDGE_POOL_OK);
    }
    pthread_join(thread, NULL);
}
END_TEST

static void fill(TCase *t)
{
    tcase_add_loop_test(t, each_change_from_each_state, 0, N_STATES * N_CHANGES);
    tcase_add_test(t, owner_survives_the_word);
    tcase_add_test(t, only_the_dead_incarnation_is_condemned);
    tcase_add_test(t, an_outcome_must_fit_its_change);
    tcase_add_test(t, a_claim_of_an_earlier_use_finishes_nothing);
    tcase_add_test(t, exactly_one_outcome_wins);
}

int main(void)
{
    return wedge_test_main("ledger", 30, fill);
}
