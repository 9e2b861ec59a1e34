/*
 * The ledger (pool/ledger.h): who may change a slot's word, and whether each task is reported exactly once while
 * workers die at any step, tasks expire, and what is queued is withdrawn.
 *
 * Who waits, and how he is woken, is words.pml's matter: here each wait ends at once when there is something to do.
 * So no process loops without taking some task a step further, and "every run ends, with the accounts in order" is
 * the whole of: accepted is reported, once, under fairness. That no run goes round in a circle is checked too.
 *
 * Death: the kernel may end a worker between any two of its steps. It makes none from then on (its `unless`), that is
 * known (`dead`), and only then the supervisor condemns. A worker that was condemned goes on for any number of steps
 * before the kernel ends it.
 *
 * Checked, by the names of ledger.h's invariants
 *   BYTES  one at a time uses a slot's bytes (`user`), and what is reported is the task's own result
 *   OWNED  an owned slot is taken from its owner only after his process is gone
 *   ONCE   each task is reported exactly once (`times`)
 *   USE    a word kept from an earlier use never matches
 *
 * Mutations (MUTANT=…), each of which the checker must refuse:
 *   1 a claim is a store, not a swap            2 condemned before the process is gone
 *   3 condemning forgets EXPIRED                4 finishing is a store, not a swap
 *   5 who reports early releases the slot       6 a taker reads the id after its swap
 *   7 condemning forgets CLAIMED                8 releasing keeps the use
 *   9 nobody looks for SPENT
 */
#include "states.pml"

#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef TASKS
#define TASKS 3
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef TAKERS
#define TAKERS 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef EXPIRES
#define EXPIRES 0
#endif
#ifndef WITHDRAWS
#define WITHDRAWS 0
#endif
#define WORKERS 2
#define NOBODY  0
#define PARENT  (WORKERS + 1) /* as a user of bytes; the takers come after it */

short slot[SLOTS]; /* the ledger */
byte id[SLOTS], result[SLOTS]; /* a slot's bytes: the task and its result */
byte user[SLOTS]; /* ghost: who is using them */

/* The worker's process: sits, or is dead and not settled, or its seat stays empty. */
bool sits[WORKERS + 1], dead[WORKERS + 1], gone[WORKERS + 1];
bool condemned[WORKERS + 1]; /* SIGKILL was sent */
byte process[WORKERS + 1]; /* its number, for the checker */
byte dying; /* the kernel ends this process: nobody else moves meanwhile */
byte incarnation[WORKERS + 1];
bool closed;
byte reported, deaths, expires, withdraws, left;
byte times[TASKS + 1]; /* ghost: how often each task was reported */

#define IS(i, st)  (STATE(slot[i]) == (st))
#define TAKABLE(i) (IS_OUTCOME(slot[i]) || IS(i, EXPIRED) || (MUTANT != 9 && IS(i, SPENT)))
#if SLOTS == 1
#define ANY(st)     IS(0, st)
#define ANY_TAKABLE TAKABLE(0)
#else
#define ANY(st)     (IS(0, st) || IS(1, st))
#define ANY_TAKABLE (TAKABLE(0) || TAKABLE(1))
#endif

/* Some slot in this state, or blocks. Inside an atomic. */
inline pick(at, st)
{
    if
    :: IS(0, st) -> at = 0
#if SLOTS > 1
    :: IS(1, st) -> at = 1
#endif
    fi
}

inline use(at, who)
{
    d_step { assert(user[at] == NOBODY || user[at] == who); user[at] = who }
}
inline unuse(at, who)
{
    d_step { assert(user[at] == who); user[at] = NOBODY }
}

/* Parent: puts every task, then closes. */
active proctype putter() provided (dying == 0)
{
    byte task = 1, s;
    do
    :: task <= TASKS ->
        atomic { /* one putter: its swaps cannot fail */
            pick(s, FREE);
            slot[s] = IN_STATE(slot[s], WRITING)
        }
        use(s, PARENT);
        atomic { id[s] = task; result[s] = 0; unuse(s, PARENT) }
        atomic {
            slot[s] = IN_STATE(slot[s], QUEUED);
            s = 0;
            task++
        }
    :: atomic { task > TASKS -> closed = true; break }
    od
}

proctype worker(byte me) provided (dying == 0 || dying == _pid)
{
    byte s, task;
    short word, claim;
    bool ok;
life:
    {
        do
        :: atomic { ANY(QUEUED) -> pick(s, QUEUED); word = slot[s] }
           atomic {
               claim = IN_STATE(word, CLAIMED) | (me << 4) | (incarnation[me] << 6);
#if MUTANT == 1
               slot[s] = claim; ok = true;
#else
               SWAP(slot[s], word, claim, ok);
#endif
               word = 0;
               if
               :: !ok -> claim = 0; s = 0; goto next
               :: ok -> ok = false
               fi
           }
           atomic { use(s, me); task = id[s] }
           /* the task function: it may be stopped here for as long as it likes */
           atomic { result[s] = task; task = 0; unuse(s, me) }
           atomic {
#if MUTANT == 4
               slot[s] = WITH_STATE(claim, OK); ok = true;
#else
               SWAP(slot[s], claim, WITH_STATE(claim, OK), ok);
#endif
               if
               :: ok -> goto handed_in
               :: !ok
               fi
           }
           do
           :: atomic {
                  word = slot[s];
                  assert(word == WITH_STATE(claim, EXPIRED) || word == WITH_STATE(claim, LATE)) /* OWNED */
              }
              atomic {
                  SWAP(slot[s], word, WITH_STATE(claim, LEFT_BY_OWNER(STATE(word))), ok);
                  if
                  :: ok -> break
                  :: !ok
                  fi
              }
           od;
handed_in: atomic { s = 0; word = 0; claim = 0; ok = false }
next:      skip
        :: atomic { closed && !ANY(QUEUED) -> sits[me] = false; dead[me] = true; break } /* leaves in order */
        od
    } unless {
        atomic {
            dying == _pid;
            if
            :: user[0] == me -> user[0] = NOBODY
            :: else
            fi;
#if SLOTS > 1
            if
            :: user[1] == me -> user[1] = NOBODY
            :: else
            fi;
#endif
            s = 0; task = 0; word = 0; claim = 0; ok = false;
            sits[me] = false;
            dead[me] = true;
            dying = 0
        }
    };
    if
    :: atomic { sits[me] -> goto life } /* the next incarnation */
    :: gone[me]
    fi
}

/* Ends anyone at any moment, DEATHS times; and, later than asked for, whoever is condemned. */
active proctype kernel() provided (dying == 0)
{
end:
    do
    :: atomic { deaths < DEATHS && sits[1] -> dying = process[1]; deaths++ }
    :: atomic { deaths < DEATHS && sits[2] -> dying = process[2]; deaths++ }
    :: atomic { condemned[1] && sits[1] -> dying = process[1]; condemned[1] = false }
    :: atomic { condemned[2] && sits[2] -> dying = process[2]; condemned[2] = false }
    od
}

/* One slot of the supervisor's round after a death. */
inline condemn(at, whose)
{
    do
    :: atomic { word = slot[at];
           if
           :: !IS_OWNED(word) || OWNER(word) != whose || INCARNATION(word) != incarnation[whose] -> break
           :: MUTANT == 7 && STATE(word) == CLAIMED -> break
           :: MUTANT == 3 && STATE(word) == EXPIRED -> break
           :: else
           fi
       }
       atomic {
           SWAP(slot[at], word, WITH_STATE(word, LEFT_BY_OWNER(STATE(word))), ok);
           if
           :: ok -> break
           :: !ok /* a taker made EXPIRED into LATE, once */
           fi
       }
    od
}

active proctype supervisor() provided (dying == 0)
{
    byte w, s;
    short word;
    bool ok;
    atomic { sits[1] = true; sits[2] = true; process[1] = run worker(1); process[2] = run worker(2) }
    do
    :: atomic {
           if
           :: dead[1] -> w = 1
           :: dead[2] -> w = 2
#if MUTANT == 2
           :: condemned[1] -> w = 1
           :: condemned[2] -> w = 2
#endif
           fi
       }
       condemn(0, w);
#if SLOTS > 1
       condemn(1, w);
#endif
       atomic {
           dead[w]; /* holds already */
           dead[w] = false;
           condemned[w] = false;
           if
           :: closed && !ANY(QUEUED) -> gone[w] = true
           :: else -> incarnation[w] = (incarnation[w] + 1) & 3; sits[w] = true
           fi;
           w = 0; word = 0; ok = false
       }
    :: atomic { expires < EXPIRES && ANY(CLAIMED) -> /* a task past task_limit */
           pick(s, CLAIMED);
           expires++;
           word = slot[s];
           w = OWNER(word)
       }
       atomic {
           if
           :: INCARNATION(word) == incarnation[w] && sits[w] ->
               SWAP(slot[s], word, WITH_STATE(word, EXPIRED), ok);
               condemned[w] = ok
           :: else
           fi;
           w = 0; s = 0; word = 0; ok = false
       }
    :: atomic { withdraws < WITHDRAWS && ANY(QUEUED) -> /* a task past queue_limit */
           pick(s, QUEUED);
           withdraws++;
           word = slot[s]
       }
       atomic { SWAP(slot[s], word, IN_STATE(word, TIMEOUT), ok); s = 0; word = 0; ok = false }
    :: atomic { gone[1] && gone[2] -> break }
    od
}

/* ONCE. */
inline report(number)
{
    d_step {
        assert(number >= 1 && number <= TASKS);
        times[number]++;
        assert(times[number] == 1);
        reported++
    }
}

proctype taker(byte me) provided (dying == 0)
{
    byte s, task;
    short word;
    bool ok;
    do
    :: atomic { /* something to take */
           if
           :: TAKABLE(0) -> s = 0
#if SLOTS > 1
           :: TAKABLE(1) -> s = 1
#endif
           fi;
           word = slot[s];
           if
           :: MUTANT != 6 -> task = id[s] /* before the swap: if that succeeds, the slot was in this use all the while */
           :: else
           fi
       }
       atomic {
           SWAP(slot[s], word, (STATE(word) == EXPIRED -> WITH_STATE(word, LATE) : IN_STATE(word, TAKEN)), ok);
           if
           :: !ok -> goto next
           :: ok
           fi
       }
       if
       :: MUTANT == 6 -> task = id[s]
       :: else
       fi;
       if
       :: STATE(word) == SPENT
       :: STATE(word) == EXPIRED -> report(task)
       :: else ->
           use(s, me);
           atomic {
               assert(id[s] == task && (STATE(word) != OK || result[s] == task)); /* BYTES */
               unuse(s, me);
               report(task)
           }
       fi;
       atomic {
           if
           :: STATE(word) == EXPIRED && MUTANT != 5
           :: else ->
               assert(IS(s, TAKEN) || MUTANT == 5);
               slot[s] = (MUTANT == 8 -> IN_STATE(slot[s], FREE) : NEXT_USE(slot[s]));
               id[s] = 0; result[s] = 0
           fi
       }
next:  atomic { s = 0; task = 0; word = 0; ok = false }
    :: atomic { reported == TASKS && gone[1] && gone[2] && !ANY_TAKABLE -> left++; break }
    od
}

/* The accounts at the end: nothing is lost, nothing is left behind. */
init {
    atomic {
        run taker(PARENT + 1);
#if TAKERS > 1
        run taker(PARENT + 2)
#endif
    }
    atomic {
        left == TAKERS; /* the last to leave */
        assert(closed && reported == TASKS && IS(0, FREE));
#if SLOTS > 1
        assert(IS(1, FREE))
#endif
    }
}
