/*
 * What the models share: the ledger's word and its one operation. Names and numbers are those of pool/ledger.h and
 * <wedge/pool.h>; check_names compares them.
 *
 * A word is state | owner << 4 | incarnation << 6 | use << 8: the same fields, fewer bits. Owner 0 is nobody.
 */
#define FREE      0
#define WRITING   8
#define QUEUED    9
#define CLAIMED   10
#define TAKEN     11
#define EXPIRED   12
#define LATE      13
#define SPENT     14

#define OK          1
#define ERROR       2
#define LOST        3
#define TIMEOUT     4
#define CANCELLED   5
#define INIT_FAILED 6

#define STATE(w)          ((w) & 15)
#define OWNER(w)          (((w) >> 4) & 3)
#define INCARNATION(w)    (((w) >> 6) & 3)
#define IS_OUTCOME(w)     (STATE(w) >= OK && STATE(w) <= INIT_FAILED)
#define IN_STATE(w, st)   (((w) & ~255) | (st))
#define WITH_STATE(w, st) (((w) & ~15) | (st))
#define NEXT_USE(w)       ((((w) >> 8) + 1) << 8)

/* One compare-and-swap. Inside an atomic. */
#define SWAP(cell, was, becomes, done) \
    if \
    :: (cell) == (was) -> cell = becomes; done = true \
    :: else -> done = false \
    fi

/* What an owned slot becomes once its owner is through or dead (left_by_owner). */
#define LEFT_BY_OWNER(st) ((st) == CLAIMED -> LOST : ((st) == EXPIRED -> TIMEOUT : SPENT))
#define IS_OWNED(w)       (STATE(w) == CLAIMED || STATE(w) == EXPIRED || STATE(w) == LATE)
