/*
 * The malloc family, an object of its own: only a plan that names one of them pays for it. What happens at a call is
 * decided by the agent, which allocates nothing, so that no call comes back in here.
 *
 * Before the functions behind it are known (ld.so calls our malloc before any constructor runs, and dlsym may allocate
 * while it looks for them) memory comes from a small arena of our own, whose pieces are never used again:
 *
 *      UNKNOWN --first call--> LOOKING (calls meanwhile: the small arena) --> KNOWN
 *
 * Everything is safe where libc's malloc is.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>

#include "faults/agent/interface.h"

enum { SMALL_BYTES = 1 << 17, ALIGN = 16 };
static struct {
    void *(*malloc)(size_t n);
    void *(*calloc)(size_t count, size_t n);
    void *(*realloc)(void *old, size_t n);
    void *(*reallocarray)(void *old, size_t count, size_t n);
    int (*posix_memalign)(void **to, size_t align, size_t n);
    void *(*aligned_alloc)(size_t align, size_t n);
    void *(*memalign)(size_t align, size_t n);
    void *(*valloc)(size_t n);
    void *(*pvalloc)(size_t n);
    void (*free)(void *old);
    size_t (*malloc_usable_size)(void *old);
} real; /* constant once KNOWN; in the order of `names` */
enum { UNKNOWN, LOOKING, KNOWN };
static _Atomic uint32_t state;

static _Alignas(4096) char small[SMALL_BYTES]; /* each piece stands behind a word with its size */
static _Atomic size_t small_used;

static bool is_small(const void *old)
{
    return (uintptr_t)old - (uintptr_t)small < SMALL_BYTES;
}

static size_t small_size(const void *old)
{
    return ((const size_t *)old)[-1];
}

/* Zeroed, since nothing is given twice. */
static void *small_alloc(size_t align, size_t n)
{
    align = align < ALIGN ? ALIGN : align;
    if (n < SMALL_BYTES && align <= 4096) {
        size_t at = atomic_load(&small_used), begin;
        do {
            begin = (at + sizeof(size_t) + align - 1) & ~(align - 1);
            if (begin + n > SMALL_BYTES)
                break;
        } while (!atomic_compare_exchange_weak(&small_used, &at, begin + n));
        if (begin + n <= SMALL_BYTES) {
            ((size_t *)(void *)(small + begin))[-1] = n;
            return small + begin;
        }
    }
    errno = ENOMEM;
    return NULL;
}

static bool look(void)
{
    static const char *const names[] = {"malloc",         "calloc",        "realloc",           "reallocarray",
                                        "posix_memalign", "aligned_alloc", "memalign",          "valloc",
                                        "pvalloc",        "free",          "malloc_usable_size"};
    _Static_assert(sizeof(names) / sizeof(names[0]) == sizeof(real) / sizeof(void *), "one pointer each");
    uint32_t unknown = UNKNOWN;
    if (!atomic_compare_exchange_strong(&state, &unknown, LOOKING))
        return false;
    int before = errno;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ((void **)&real)[i] = dlsym(RTLD_NEXT, names[i]);
    errno = before;
    /* Partner: the acquire in is_known; the pointers are valid behind it. */
    atomic_store_explicit(&state, KNOWN, memory_order_release);
    return true;
}

static bool is_known(void)
{
    return AGENT_LIKELY(atomic_load_explicit(&state, memory_order_acquire) == KNOWN) || look();
}

static bool is_armed(enum wedge_function function)
{
    return atomic_load_explicit(&wedge_agent_interface.armed[function / 64], memory_order_relaxed) >> (function % 64) &
           1;
}

/* Each wrapper has a name of its own in C: the compiler knows too much about malloc. `effect` is the real call. */
#define WRAP(ret, name, params, effect, ...)                                                                           \
    if (AGENT_LIKELY(!is_armed(WEDGE_FN_##name)))                                                                      \
        return effect;                                                                                                 \
    struct agent_call call;                                                                                            \
    const uint64_t words[] = {AGENT_WORDS(__VA_ARGS__)};                                                               \
    if (wedge_agent_interface.enter(&call, WEDGE_FN_##name, __builtin_return_address(0), 0, words,                     \
                                    AGENT_COUNT(__VA_ARGS__)))                                                         \
        return (ret)wedge_agent_interface.result(&call, 0);                                                            \
    return (ret)wedge_agent_interface.leave(&call, (int64_t)(effect));
#define NAMED(ret, name, params)                                                                                       \
    AGENT_EXPORT ret agent_##name params __asm__(#name);                                                               \
    AGENT_EXPORT ret agent_##name params

NAMED(void *, malloc, (size_t n))
{
    if (!is_known())
        return small_alloc(ALIGN, n);
    WRAP(void *, malloc, (size_t n), real.malloc(n), n)
}

NAMED(void *, calloc, (size_t count, size_t n))
{
    size_t bytes;
    if (!is_known())
        return small_alloc(ALIGN, __builtin_mul_overflow(count, n, &bytes) ? SIZE_MAX : bytes);
    WRAP(void *, calloc, (size_t count, size_t n), real.calloc(count, n), count, n)
}

/* What came from the small arena moves. */
static void *move_small(const void *old, size_t n)
{
    char *to = is_known() ? real.malloc(n) : small_alloc(ALIGN, n);
    size_t size = small_size(old);
    for (size_t i = 0; to && i < n && i < size; i++)
        to[i] = ((const char *)old)[i];
    return to;
}

static void *real_realloc(void *old, size_t n)
{
    if (old && is_small(old))
        return move_small(old, n);
    return real.realloc(old, n);
}

NAMED(void *, realloc, (void *old, size_t n))
{
    if (!is_known())
        return old && is_small(old) ? move_small(old, n) : small_alloc(ALIGN, n);
    WRAP(void *, realloc, (void *old, size_t n), real_realloc(old, n), old, n)
}

static void *real_reallocarray(void *old, size_t count, size_t n)
{
    size_t bytes;
    if (old && is_small(old))
        return move_small(old, __builtin_mul_overflow(count, n, &bytes) ? SIZE_MAX : bytes);
    return real.reallocarray(old, count, n);
}

NAMED(void *, reallocarray, (void *old, size_t count, size_t n))
{
    size_t bytes;
    if (!is_known())
        return agent_realloc(old, __builtin_mul_overflow(count, n, &bytes) ? SIZE_MAX : bytes);
    WRAP(void *, reallocarray, (void *old, size_t count, size_t n), real_reallocarray(old, count, n), old, count, n)
}

NAMED(int, posix_memalign, (void **to, size_t align, size_t n))
{
    if (!is_known()) {
        void *piece = small_alloc(align, n);
        if (piece)
            *to = piece;
        return piece ? 0 : ENOMEM;
    }
    WRAP(int, posix_memalign, (void **to, size_t align, size_t n), real.posix_memalign(to, align, n), to, align, n)
}

NAMED(void *, aligned_alloc, (size_t align, size_t n))
{
    if (!is_known())
        return small_alloc(align, n);
    WRAP(void *, aligned_alloc, (size_t align, size_t n), real.aligned_alloc(align, n), align, n)
}

NAMED(void *, memalign, (size_t align, size_t n))
{
    if (!is_known())
        return small_alloc(align, n);
    WRAP(void *, memalign, (size_t align, size_t n), real.memalign(align, n), align, n)
}

NAMED(void *, valloc, (size_t n))
{
    if (!is_known())
        return small_alloc(4096, n);
    WRAP(void *, valloc, (size_t n), real.valloc(n), n)
}

NAMED(void *, pvalloc, (size_t n))
{
    if (!is_known())
        return small_alloc(4096, (n + 4095) & ~(size_t)4095);
    WRAP(void *, pvalloc, (size_t n), real.pvalloc(n), n)
}

static void real_free(void *old)
{
    if (!old || !is_small(old))
        real.free(old);
}

NAMED(void, free, (void *old))
{
    if (!is_known())
        return; /* from the small arena, or NULL: there is nothing else yet */
    if (AGENT_LIKELY(!is_armed(WEDGE_FN_free))) {
        real_free(old);
        return;
    }
    struct agent_call call;
    const uint64_t words[] = {AGENT_WORD(old)};
    if (wedge_agent_interface.enter(&call, WEDGE_FN_free, __builtin_return_address(0), 0, words, 1))
        return;
    real_free(old);
    wedge_agent_interface.leave(&call, 0);
}

NAMED(size_t, malloc_usable_size, (void *old))
{
    if (!old || is_small(old))
        return old ? small_size(old) : 0;
    return is_known() ? real.malloc_usable_size(old) : 0;
}

/*
 * A program with an allocator of its own, or a sanitizer's, never comes here. In a program at a fixed address that takes
 * malloc's, the symbol is a jump to the first malloc behind it, which is ours: such a symbol is undefined and has a
 * value. (An allocator that is hidden from the linker cannot be told: libc alone comes here then.)
 */
__attribute__((constructor)) static void compare(void)
{
    void *first = dlsym(RTLD_DEFAULT, "malloc");
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;
    is_known();
    if (first == (void *)agent_malloc)
        return;
    bool found = dladdr1(first, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol;
    if (!found || symbol->st_shndx != SHN_UNDEF)
        wedge_agent_interface.unreachable();
}
