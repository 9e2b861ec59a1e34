/* The words of a verdict, explained. docs/verdicts.md is the long form; a test holds that every word has its entry. */
#include "reports/words.h"

#include <stddef.h>
#include <string.h>

static const struct wedge_word kinds[] = {
    {"self-deadlock", "Self-deadlock", "A thread waits for something that it holds itself, so nobody can ever give it.",
     "Look at the stack from the outside in: the function that took the lock calls back into code that takes it again, "
     "or a signal handler takes a lock that the interrupted code holds."},
    {"abandoned-lock", "Abandoned lock",
     "A lock is held by somebody who is dead or gone, and will never be given back.",
     "Find out how the holder ended with the lock in hand: it was killed, it left without unlocking, or the process "
     "was "
     "forked while another thread held the lock. A robust lock, or none across fork, survives this."},
    {"lock-cycle", "Lock cycle", "Each of these threads holds a lock that the next one waits for, in a circle.",
     "Compare the order in which the functions below take their locks, and choose one order for all of them."},
    {"stuck-callback", "Stuck callback",
     "A function that the user of a library handed in does not return, and others wait for it.",
     "Look at the function named here and at what it waits for itself; give such functions a limit."},
    {"mutual-backpressure", "Mutual backpressure",
     "Bounded buffers are full on all sides, and everyone waits for room before taking anything out.",
     "Let one side take while it waits to put: reserve room beforehand, put with a deadline, or leave one buffer "
     "unbounded and watch memory instead."},
    {"orphaned-wait", "Orphaned wait", "Everyone who could have ended this wait is dead or gone, so it never ends.",
     "See how the ones named as the cause ended, and why the waiting side did not notice: wait with a deadline, and "
     "between two waits look whether anyone is left."},
    {"closed-wait", "Closed wait", "These threads wait only for one another; none of them can make the first move.",
     "Follow the arrows of the graph: one of these waits must end for another reason than the next thread's action."},
    {"lost-wakeup", "Lost wake-up",
     "A thread waits for something that has already happened, and will not happen again.",
     "Look for a condition that is checked outside its lock, or a signal sent before the wait began."},
    {"stopped", "Stopped", "Progress needs a thread that is stopped, frozen, or in an uninterruptible sleep.",
     "Find out who stopped it: a debugger, SIGSTOP or job control, a frozen control group, a disk or network file "
     "system "
     "that does not answer."},
    {"livelock", "Livelock", "Processor time is burnt, and nothing gets done.",
     "Look at the loops in the stacks: what do they wait for without sleeping?"},
    {"contention", "Contention", "Things move, but threads wait too long behind one holder.",
     "Look at what the holder does with the lock held, and move the slow part out."},
    {"no-progress", "No progress",
     "Nothing moved for the whole stall time, and no reason could be found that it never will.",
     "This is a suspicion: read the stacks, and ask of each what would have had to happen next."},
    {"idle", "Idle", "Everything waits for the outside: a network peer, a terminal, a timer. That is no hang.", ""},
    {"running", "Running", "The program works. That is no hang.", ""},
    {"finished", "Finished", "The program has ended.", ""},
    {0},
};

static const struct wedge_word certainties[] = {
    {"proved", "proved",
     "These threads wait only for one another or for the dead. It follows from who holds what, without any time-out: "
     "none "
     "of them returns unless something from outside interferes.",
     ""},
    {"evident", "evident",
     "The same argument as a proof, but one link of it is only nearly always so. The reason says which one.", ""},
    {"suspected", "suspected", "No argument explains it; it has merely stood still. A person has to look.", ""},
    {0},
};

static const struct wedge_word scopes[] = {
    {"whole", "the whole program",
     "The main process itself is stuck, or waits only for what is: the program will not go on.", ""},
    {"part", "a part of the program", "Some threads are stuck for ever, while the rest of the program can go on.", ""},
    {0},
};

/* What has merely stood still has not been shown to stay so. */
static const struct wedge_word suspected_scopes[] = {
    {"whole", "the whole program", "It concerns the main process: as far as one can see, the program does not go on.",
     ""},
    {"part", "a part of the program", "It concerns some threads; the rest of the program goes on.", ""},
    {0},
};

static const struct wedge_word assumptions[] = {
    {"no-outside-signal", "no outside signal",
     "no process outside this tree sends a signal whose handler would end one of the waits", ""},
    {"no-outside-kill", "no outside kill", "nobody from outside kills one of these processes", ""},
    {"posix-owner", "locks have owners", "a mutex is unlocked by the thread that locked it, as POSIX requires", ""},
    {"complete-view", "complete view", "no process that could not be read holds an end of what is waited for", ""},
    {0},
};

static struct wedge_word find(const struct wedge_word *words, const char *word)
{
    for (; words->word; words++)
        if (strcmp(words->word, word) == 0)
            return *words;
    return (struct wedge_word){word, word, "", ""};
}

struct wedge_word wedge_word_kind(const char *kind)
{
    return find(kinds, kind);
}

struct wedge_word wedge_word_certainty(const char *certainty)
{
    return find(certainties, certainty);
}

struct wedge_word wedge_word_scope(const char *scope, const char *certainty)
{
    return find(strcmp(certainty, "suspected") == 0 ? suspected_scopes : scopes, scope);
}

struct wedge_word wedge_word_assumption(const char *assumption)
{
    return find(assumptions, assumption);
}
