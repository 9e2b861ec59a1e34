/*
 * What helgrind cannot know: it takes a C11 atomic store for a plain one, and sees no order in a compare-and-swap or in a
 * futex. Two words for it, which cost nothing where its header is missing or NDEBUG is set, and a few instructions that do
 * nothing where a program does not run under valgrind. ThreadSanitizer needs neither.
 *
 *   WEDGE_ATOMICS(at, bytes)   everything there is atomic, or constant before a second thread sees it: not to be checked
 *   WEDGE_HANDS_OVER(at)       what this thread did before is seen by whoever next passes
 *   WEDGE_TAKES_OVER(at)       for the same address: the two stand around the atomic instruction that orders them
 */
#ifndef WEDGE_POOL_ANNOTATE_H
#define WEDGE_POOL_ANNOTATE_H

#if !defined(NDEBUG) && defined(__has_include)
#if __has_include(<valgrind/helgrind.h>)
#include <valgrind/helgrind.h>
#define WEDGE_ATOMICS(at, bytes) VALGRIND_HG_DISABLE_CHECKING((at), (bytes))
#define WEDGE_HANDS_OVER(at)     ANNOTATE_HAPPENS_BEFORE(at)
#define WEDGE_TAKES_OVER(at)     ANNOTATE_HAPPENS_AFTER(at)
#endif
#endif

#ifndef WEDGE_ATOMICS
#define WEDGE_ATOMICS(at, bytes) ((void)(at), (void)(bytes))
#define WEDGE_HANDS_OVER(at)     ((void)(at))
#define WEDGE_TAKES_OVER(at)     ((void)(at))
#endif

#endif
