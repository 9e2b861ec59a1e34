/*
 * <wedge/point.h>: places in a program that wedge may name, act at, and ask about.
 *
 * For any program, C or C++, executable or shared object, PIE or not: include this header, link nothing.
 * Without the agent (lib/libwedge-agent.so, preloaded by `wedge run|watch|inject`) a place costs one load, one
 * test and a branch never taken.
 *
 * How it works. Each place is a `struct wedge_point` in the section .data.wedge_points, and an ELF note in
 * .note.wedge (owner "wedge", type 1) whose eight bytes are the distance from themselves to that structure.
 * The agent walks the notes of every loaded object and stores its handler where a rule, a mark or the record
 * wants the place. (A weak symbol would not do: with -no-pie -O2 the linker fixes it to 0.)
 *
 * Threads: every place may be passed by any thread, in a signal handler, and in a forked child. Passing a place
 * preserves errno. Only x86-64 ELF today; elsewhere the places compile to nothing.
 */
#ifndef WEDGE_POINT_H
#define WEDGE_POINT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a place is; stored in the structure and read by the agent. */
#define WEDGE_PLACE_POINT          1 /* WEDGE_POINT */
#define WEDGE_PLACE_ASK            2 /* WEDGE_ASK */
#define WEDGE_PLACE_PROGRESS       3 /* WEDGE_PROGRESS */
#define WEDGE_PLACE_ROLE           4 /* wedge_role */
#define WEDGE_PLACE_WAIT_BEGIN     5 /* WEDGE_WAIT_BEGIN */
#define WEDGE_PLACE_WAIT_END       6 /* WEDGE_WAIT_END */
#define WEDGE_PLACE_CALLBACK_BEGIN 7 /* WEDGE_CALLBACK_BEGIN */
#define WEDGE_PLACE_CALLBACK_END   8 /* WEDGE_CALLBACK_END */

/* Answers of WEDGE_ASK other than 0 (nothing) and a negative errno (from the action `errno E`). */
#define WEDGE_ASK_FULL  1 /* behave as if no room is left, until the next look (action `full`) */
#define WEDGE_ASK_EMPTY 2 /* behave as if nothing is there, until the next look (action `empty`) */
#define WEDGE_ASK_DROP  3 /* report success and do nothing (action `drop`) */

/* Kinds of hand-made waits (WEDGE_WAIT_BEGIN). */
#define WEDGE_WAIT_FOR_ROOM 1 /* room in a buffer; whoever takes from it wakes */
#define WEDGE_WAIT_FOR_ITEM 2 /* an item in a buffer; whoever puts into it wakes */
#define WEDGE_WAIT_FOR_LOCK 3 /* a lock; its holder wakes */
#define WEDGE_WAIT_FOR_PEER 4 /* a state that another thread or process changes */

/*
 * One place. 24 bytes and the name. `handler` is the armed word: written by the agent alone, one aligned store,
 * read by the program at each pass. Layout is ABI between a program and any later agent.
 */
struct wedge_point {
    long (*handler)(struct wedge_point *point, long a, long b, long c);
    uint32_t kind; /* WEDGE_PLACE_… */
    uint32_t abi; /* 1 */
    uint64_t reserved; /* the agent's */
    __extension__ char name[]; /* NUL-terminated, at most 55 bytes, of [A-Za-z0-9_.-] */
};

#if defined(__x86_64__) && defined(__ELF__) && !defined(WEDGE_NO_POINTS)

#define WEDGE_STR1_(x) #x
#define WEDGE_STR_(x)  WEDGE_STR1_(x)
/* An assembler line each. */
/* clang-format off */
#define WEDGE_PLACE_(var, kind, name)                                                                          \
    struct wedge_point *var;                                                                                   \
    __asm__("leaq 990f(%%rip), %0\n\t"                                                                         \
            ".pushsection .data.wedge_points,\"aw\",@progbits\n\t"                                             \
            ".balign 16\n"                                                                                     \
            "990:\n\t"                                                                                         \
            ".8byte 0\n\t"                                                                                     \
            ".4byte " WEDGE_STR_(kind) ", 1\n\t"                                                               \
            ".8byte 0\n\t"                                                                                     \
            ".asciz \"" name "\"\n\t"                                                                          \
            ".popsection\n\t"                                                                                  \
            ".pushsection .note.wedge,\"a\",@note\n\t"                                                         \
            ".balign 4\n\t"                                                                                    \
            ".4byte 6, 8, 1\n\t"                                                                               \
            ".asciz \"wedge\"\n\t"                                                                             \
            ".balign 4\n"                                                                                      \
            "992:\n\t"                                                                                         \
            ".8byte 990b - 992b\n\t"                                                                           \
            ".popsection"                                                                                      \
            : "=r"(var))
/* clang-format on */

/* The armed word is loaded afresh at each pass; relaxed is enough: the handler needs nothing but itself. */
#define WEDGE_PASS_(kind, name, a, b, c)                                                                               \
    __extension__({                                                                                                    \
        WEDGE_PLACE_(wedge_place_, kind, name);                                                                        \
        long (*wedge_handler_)(struct wedge_point *, long, long, long) =                                               \
            __atomic_load_n(&wedge_place_->handler, __ATOMIC_RELAXED);                                                 \
        __builtin_expect(wedge_handler_ != 0, 0) ? wedge_handler_(wedge_place_, (long)(a), (long)(b), (long)(c)) : 0L; \
    })
#else
#define WEDGE_PASS_(kind, name, a, b, c) ((void)(a), (void)(b), (void)(c), 0L)
#endif

/* A named place: a rule may kill, stop, delay, block or hold the thread here. `name` is a string literal. */
#define WEDGE_POINT(name) ((void)WEDGE_PASS_(WEDGE_PLACE_POINT, name, 0, 0, 0))

/* A named question: 0, a negative errno, or WEDGE_ASK_…, as a rule says. The program does what the answer means
 * with its own code, so that what waits then is the program and not the agent. */
#define WEDGE_ASK(name) ((int)WEDGE_PASS_(WEDGE_PLACE_ASK, name, 0, 0, 0))

/* The program got n (0 to 2^32) units of its work done: `wedge watch --stall` asks for these marks. */
#define WEDGE_PROGRESS(n) ((void)WEDGE_PASS_(WEDGE_PLACE_PROGRESS, "wedge.progress", n, 0, 0))

/* This process is `name`[index], its generation-th incarnation (index from 1, generation from 0; index 0: the
 * role is not counted). `name` is copied, at most 23 bytes. Once per process, or again when the role changes. */
#define wedge_role(name, index, generation) ((void)WEDGE_PASS_(WEDGE_PLACE_ROLE, "wedge.role", name, index, generation))

/* A hand-made wait (a sequence word, a spin): `object` is its address, `kind` WEDGE_WAIT_FOR_…, `holder` the TID
 * that must act, 0 unknown. BEGIN before the first sleep, END after the last, on the same thread; they do not nest. */
#define WEDGE_WAIT_BEGIN(object, kind, holder)                                                                         \
    ((void)WEDGE_PASS_(WEDGE_PLACE_WAIT_BEGIN, "wedge.wait", object, kind, holder))
#define WEDGE_WAIT_END() ((void)WEDGE_PASS_(WEDGE_PLACE_WAIT_END, "wedge.wait", 0, 0, 0))

/* The user's function `fn` (its address) runs from BEGIN to END as `name` (a literal, what it is to the program:
 * "process_init"); `limit_ms` is its limit, 0 none. They do not nest. */
#define WEDGE_CALLBACK_BEGIN(name, fn, limit_ms) ((void)WEDGE_PASS_(WEDGE_PLACE_CALLBACK_BEGIN, name, fn, limit_ms, 0))
#define WEDGE_CALLBACK_END(name)                 ((void)WEDGE_PASS_(WEDGE_PLACE_CALLBACK_END, name, 0, 0, 0))

#ifdef __cplusplus
}
#endif
#endif
