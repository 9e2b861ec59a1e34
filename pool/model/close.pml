/*
 * Closing (pool.c, put.c, supervisor.c): whether each task that a put accepted is reported, and every worker and the
 * collector leave, when close runs beside puts and beside workers that die.
 *
 *   put      counts itself in (putters); RUNNING? puts, counts what it accepted; counts itself out
 *   close    CLOSING; until no putter is left; closed; CLOSED
 *   worker   reads closed; looks for a task; none, and it had read closed: leaves
 *   keeper   a seat is filled again until closed and nothing is queued; then it is over
 *   collect  leaves when CLOSED and as many are reported as were accepted
 *
 * Mutations (MUTANT=…), each of which the checker must refuse:
 *   1 close waits for no putter                     2 a put looks at the phase before it counts itself in
 *   3 closed is set before the last put is over    4 the collector does not wait for CLOSED
 *   5 nobody is replaced once closed                6 after a death the keeper believes the ring, not the ledger
 */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#define WORKERS 2
#define PUTTERS 2

mtype = { RUNNING, CLOSING, CLOSED };
mtype phase = RUNNING;
byte putters;
bool closed;
byte queued, claimed[WORKERS + 1], ended; /* the ledger: a bit for each task */
byte ring; /* what the hints say is queued: a bit may be missing after a death, and stale */
byte accepted, reported, refused, deaths;
bool sits[WORKERS + 1], dead[WORKERS + 1], gone[WORKERS + 1];
byte process[WORKERS + 1], dying;
bool over; /* the keeper has ended */

active [PUTTERS] proctype putter() provided (dying == 0)
{
#if MUTANT == 2
    if
    :: phase != RUNNING -> refused++; goto out
    :: else
    fi;
    putters++;
#else
    putters++;
    if
    :: phase != RUNNING -> atomic { putters--; refused++ } goto out
    :: else
    fi;
#endif
    accepted++; /* before anyone can report it */
    queued = queued | (1 << _pid);
    ring = ring | (1 << _pid);
    putters--;
out:
    skip
}

active proctype closer() provided (dying == 0)
{
    phase = CLOSING;
    closed = (MUTANT == 3);
    if
    :: putters == 0 || MUTANT == 1
    fi;
    closed = true;
    phase = CLOSED
}

proctype worker(byte me) provided (dying == 0 || dying == _pid)
{
    bool was_closed;
    byte task;
life:
    {
        do
        :: was_closed = closed;
           if
           :: atomic { ring != 0 -> task = ring & ~(ring - 1); ring = ring & ~task }
              atomic {
                  if
                  :: queued & task -> queued = queued & ~task; claimed[me] = task
                  :: else /* a stale hint */
                  fi;
                  task = 0
              }
              atomic { ended = ended | claimed[me]; claimed[me] = 0 }
           :: atomic { ring == 0 && was_closed -> break }
           :: ring == 0 && !was_closed && closed /* woken by close */
           fi
        od;
        atomic { was_closed = false; sits[me] = false; dead[me] = true }
    } unless {
        atomic {
            dying == _pid;
            was_closed = false;
            task = 0;
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
    :: atomic { deaths < DEATHS && sits[2] -> dying = process[2]; deaths++ }
    od
}

active proctype keeper() provided (dying == 0)
{
    byte w;
    atomic { sits[1] = true; sits[2] = true; process[1] = run worker(1); process[2] = run worker(2) }
    do
    :: atomic {
           if
           :: dead[1] -> w = 1
           :: dead[2] -> w = 2
           fi;
           dead[w] = false
       }
       atomic { ended = ended | claimed[w]; claimed[w] = 0 } /* LOST */
       if
       :: MUTANT != 6 -> ring = ring | queued
       :: else
       fi;
       atomic {
           if
           :: closed && (MUTANT == 5 || queued == 0 || (MUTANT == 6 && ring == 0)) -> gone[w] = true
           :: else -> sits[w] = true
           fi;
           w = 0
       }
    :: atomic { gone[1] && gone[2] -> over = true; break }
    od
}

active proctype collector() provided (dying == 0)
{
    do
    :: atomic { ended != 0 -> ended = ended & (ended - 1); reported++ }
    :: atomic { ended == 0 && reported == accepted && (phase == CLOSED || (MUTANT == 4 && accepted > 0)) -> break }
    od;
    over && accepted + refused == PUTTERS && putters == 0; /* every put has returned */
    assert(queued == 0 && ended == 0 && reported == accepted)
}
