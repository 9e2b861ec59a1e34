/*
 * Waiting and waking (pool/word.h, sleeper.h), and the hints that are waited for (ring.h, bits.h), while workers die at
 * any step: before and after they count themselves, asleep, woken and not yet running, with a number from the ring in
 * hand, between an outcome and its done bit. No wait here has a time: what ends is ended by a wake-up alone.
 *
 *   items  workers sleep on it; a put shows a number in the ring, then tells one
 *   done   the taker sleeps on it; a worker adds a done bit, then tells one
 *   room   the putter sleeps on it; the taker frees a slot, then tells one
 *
 * After a death the supervisor settles what was owned, lists again what is queued and not in the ring, and renews
 * each word. Each run has to end with every task reported: a run that stands still (an invalid end state) has lost a
 * wake-up, a task or a hint. That no run goes round in a circle is checked too.
 *
 * A slot's states are those of ledger.pml, whose matter the swaps are: here each is one step.
 *
 * Mutations (MUTANT=…), each of which the checker must refuse:
 *   1 a waiter sleeps without a second look         2 a waiter counts itself after its look
 *   3 a waker looks for sleepers before its change  4 after a death nobody is woken
 *   5 renew changes seq before the count            6 leaving does not look at the epoch
 *   7 a hint that died is not listed again          8 the done bit comes before the outcome
 *   9 a sleep does not compare                     10 no done bit for what was condemned
 */
#include "states.pml"

#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef TASKS
#define TASKS 3
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef WORD
#define WORD 0 /* 1 items, 2 done, 3 room alone: the waits on the others end as soon as there is something; 0 all three */
#endif
#define SLOTS   2
#define WORKERS 2
#define CAP     4 /* of the ring */

/* `seq` and the epoch are only ever compared with what was read of them: a bit for each process says whether they would
 * be equal, which is exact (but for a wrap around 2^32) and keeps the states few. */
typedef Word {
    byte same; /* whose `seen` is still equal to `seq` */
    byte count, entered; /* `waiters`; who counted himself in the epoch that is */
    byte asleep; /* the kernel's: who sleeps on it */
};
Word items, done, room;
#define BIT(who) (1 << (who))

inline read_seq(word, who)
{
    word.same = word.same | BIT(who)
}
inline enter(word, who)
{
    atomic { word.count++; word.entered = word.entered | BIT(who) }
}
/* The kernel compares and puts to sleep in one step. */
inline sleep(word, who)
{
    atomic {
        if
        :: (word.same & BIT(who)) || MUTANT == 9 -> word.asleep = word.asleep | BIT(who)
        :: else
        fi
    }
    (word.asleep & BIT(who)) == 0
}
inline leave(word, who)
{
    atomic {
        if
        :: (word.entered & BIT(who)) || MUTANT == 6 -> word.count--
        :: else
        fi;
        word.entered = word.entered & ~BIT(who);
        word.same = word.same & ~BIT(who)
    }
}

byte slot[SLOTS], owner[SLOTS];
byte cells[CAP], head, tail; /* the ring */
byte bits; /* of slots that may have a result */
bool closed;

bool sits[WORKERS + 1], dead[WORKERS + 1], gone[WORKERS + 1];
byte process[WORKERS + 1], dying; /* as in ledger.pml */
byte deaths, reported;

#define RING_ANY   (head < tail)
#define ANY(st)    (slot[0] == (st) || slot[1] == (st))

/* The kernel: of those asleep one, any, or all. */
inline wake_one(word)
{
    atomic {
        if
        :: word.asleep & BIT(1) -> word.asleep = word.asleep & ~BIT(1)
        :: word.asleep & BIT(2) -> word.asleep = word.asleep & ~BIT(2)
        :: word.asleep == 0
        fi
    }
}

/* wedge_word_tell */
inline tell(word)
{
    if
    :: MUTANT == 3
    :: MUTANT != 3 && word.count != 0 ->
        word.same = 0;
        if
        :: word.count != 0 -> wake_one(word)
        :: else
        fi
    :: else
    fi
}

#if MUTANT == 3
#define BEFORE(word) told = (word.count != 0);
#define AFTER(word)  if :: told -> atomic { word.same = 0; told = false }; wake_one(word) :: else fi
#else
#define BEFORE(word)
#define AFTER(word)  tell(word)
#endif
/* wedge_word_renew */
inline renew(word)
{
#if MUTANT == 5
    word.same = 0;
    atomic { word.count = 0; word.entered = 0 }
    word.asleep = 0
#elif MUTANT == 4
    skip
#else
    atomic { word.count = 0; word.entered = 0 }
    word.same = 0;
    word.asleep = 0
#endif
}

/* wedge_sleeper_wait without its time, after read_seq: sleeps unless there is what `there` says. */
inline wait(word, who, there)
{
#if MUTANT == 2
    if
    :: there -> word.same = word.same & ~BIT(who)
    :: else ->
        enter(word, who);
        sleep(word, who);
        leave(word, who)
    fi
#else
    enter(word, who);
    if
    :: MUTANT != 1 && (there)
    :: else -> sleep(word, who)
    fi;
    leave(word, who)
#endif
}

#if WORD == 0 || WORD == 1
#define BEFORE_ITEMS BEFORE(items)
#define AFTER_ITEMS  ; AFTER(items)
#define RENEW_ITEMS  renew(items);
#define WAIT_ITEMS   :: atomic { !RING_ANY && !was_closed -> read_seq(items, me) } wait(items, me, RING_ANY || closed)
#else
#define BEFORE_ITEMS
#define AFTER_ITEMS
#define RENEW_ITEMS
#define WAIT_ITEMS   :: !RING_ANY && !was_closed && closed
#endif
#if WORD == 0 || WORD == 2
#define BEFORE_DONE BEFORE(done)
#define AFTER_DONE  AFTER(done)
#define RENEW_DONE  renew(done);
#define WAIT_DONE(there) :: atomic { !(there) -> read_seq(done, 1) } wait(done, 1, there)
#else
#define BEFORE_DONE
#define AFTER_DONE  skip
#define RENEW_DONE
#define WAIT_DONE(there)
#endif
#if WORD == 0 || WORD == 3
#define BEFORE_ROOM BEFORE(room)
#define AFTER_ROOM  ; AFTER(room)
#define RENEW_ROOM  renew(room);
#define WAIT_ROOM(there) :: atomic { !(there) && task < TASKS -> read_seq(room, 1) } wait(room, 1, there)
#else
#define BEFORE_ROOM
#define AFTER_ROOM
#define RENEW_ROOM
#define WAIT_ROOM(there)
#endif

/* A number into the ring, under the producers' lock: lay, then show. */
inline push(at)
{
    assert(tail - head < CAP);
    cells[tail & (CAP - 1)] = at;
    tail++
}

active proctype putter() provided (dying == 0)
{
    byte task, s;
    bool told;
    atomic { sits[1] = true; sits[2] = true; process[1] = run worker(1); process[2] = run worker(2) }
    do
    :: atomic { task < TASKS && ANY(FREE) ->
           if
           :: slot[0] == FREE -> s = 0
           :: slot[0] != FREE && slot[1] == FREE -> s = 1
           fi;
           slot[s] = WRITING
       }
       BEFORE_ITEMS
       atomic { slot[s] = QUEUED; push(s); task++; s = 0 } /* under the producers' lock */ AFTER_ITEMS
    WAIT_ROOM(ANY(FREE))
    :: task == TASKS -> break
    od;
    closed = true;
    RENEW_ITEMS
    RENEW_DONE
    skip
}

proctype worker(byte me) provided (dying == 0 || dying == _pid)
{
    byte s, at;
    bool told, was_closed;
life:
    {
        do
        :: was_closed = closed;
           if
           :: atomic { RING_ANY -> at = head; s = cells[at & (CAP - 1)] }
               atomic {
                   if
                   :: head == at -> head++; at = 0
                   :: else -> s = 0; at = 0; goto next
                   fi
               }
               atomic {
                   if
                   :: slot[s] == QUEUED -> slot[s] = CLAIMED; owner[s] = me
                   :: else -> s = 0; goto next /* a stale hint */
                   fi
               }
               BEFORE_DONE
#if MUTANT == 8
               bits = bits | (1 << s);
               atomic { slot[s] = OK; owner[s] = 0; s = 0 }
#else
               atomic { slot[s] = OK; owner[s] = 0 }
               atomic { bits = bits | (1 << s); s = 0 }
#endif
               AFTER_DONE
           :: atomic { !RING_ANY && was_closed -> break }
           WAIT_ITEMS
           fi;
next:      skip
        od;
        /* Leaves in order. That the supervisor wakes everyone then too is not relied on. */
        atomic { was_closed = false; sits[me] = false; gone[me] = true }
    } unless {
        atomic {
            dying == _pid;
            items.asleep = items.asleep & ~BIT(me); /* a wake-up that was his is gone with him, and so is */
            items.entered = items.entered & ~BIT(me); /* who would have subtracted him from the count */
            items.same = items.same & ~BIT(me);
            s = 0; at = 0; told = false; was_closed = false;
            sits[me] = false;
            dead[me] = true;
            dying = 0
        }
    };
    if
    :: atomic { sits[me] -> goto life }
    :: gone[me]
    fi
}

active proctype kernel() provided (dying == 0)
{
end:
    do
    :: atomic { deaths < DEATHS && sits[1] -> dying = process[1]; deaths++ }
    :: atomic { deaths < DEATHS && DEATHS > 1 && sits[2] -> dying = process[2]; deaths++ } /* one death: call him 1 */
    od
}

/* What it owned is LOST. A result whose owner died before it added the bit gets its bit too. */
inline condemn(i)
{
    atomic {
        if
        :: slot[i] == CLAIMED && owner[i] == w -> slot[i] = LOST; owner[i] = 0
        :: else
        fi
    }
    atomic {
        if
        :: MUTANT != 10 && (slot[i] == LOST || slot[i] == OK) -> bits = bits | (1 << i)
        :: else
        fi
    }
}

/* wedge_slots_list_again, under the producers' lock: what is queued and not in the ring. */
inline list_again(i)
{
    if
    :: slot[i] != QUEUED || MUTANT == 7
    :: else ->
        at = head;
        do
        :: at < tail && cells[at & (CAP - 1)] == i -> break
        :: at < tail && cells[at & (CAP - 1)] != i -> at++
        :: at == tail -> push(i); break
        od;
        at = 0
    fi
}

active proctype supervisor() provided (dying == 0)
{
    byte w, at;
    do
    :: atomic {
           if
           :: dead[1] -> w = 1
           :: dead[2] -> w = 2
           fi
       }
       condemn(0);
       condemn(1);
       atomic { list_again(0); list_again(1) } /* under the same lock */
       RENEW_ITEMS
       RENEW_DONE
       RENEW_ROOM
       atomic {
           dead[w] = false;
           if
           :: closed && !ANY(QUEUED) -> gone[w] = true
           :: else -> sits[w] = true
           fi;
           w = 0
       }
    :: atomic { gone[1] && gone[2] -> break }
    od
}

active proctype taker() provided (dying == 0)
{
    byte s;
    bool told;
    do
    :: atomic { bits != 0 ->
           if
           :: bits & 1 -> s = 0
           :: bits & 2 -> s = 1
           fi;
           bits = bits & ~(1 << s)
       }
       if
       :: atomic { slot[s] == OK || slot[s] == LOST -> slot[s] = TAKEN; reported++ }
          BEFORE_ROOM
          atomic { slot[s] = FREE; s = 0 } AFTER_ROOM
       :: atomic { slot[s] != OK && slot[s] != LOST -> s = 0 } /* a stale hint */
       fi
    WAIT_DONE(bits != 0 || (closed && reported == TASKS))
    :: atomic { bits == 0 && closed && reported == TASKS -> break }
    od
}
