/*
 * The wrapped functions that follow one pattern, generated from the tables in faults/functions/. A function that no
 * rule names costs a load and a test before the tail call.
 *
 * Each wrapper has a name of its own in C and its function's in the object file, so that no header's macro or
 * declaration of it is in the way.
 */
#include <errno.h>

#include "faults/agent/cut.h"
#include "faults/agent/quick.h"
#include "faults/agent/real.h"

#define NO_CUT
#define CUT_COUNT(n)                                                                                                   \
    if (call.site.answer == AGENT_ANSWER_SHORT && (uint64_t)call.site.value < (n))                                     \
        (n) = (size_t)call.site.value;
#define CUT_VECTOR(iov, count)                                                                                         \
    struct iovec pieces[AGENT_CUT_PIECES];                                                                             \
    if (call.site.answer == AGENT_ANSWER_SHORT)                                                                        \
        (count) = (__typeof__(count))agent_cut_vector(&(iov), (size_t)(count), (size_t)call.site.value, pieces);
#define CUT_MESSAGE(message)                                                                                           \
    struct agent_cut_message cut_message;                                                                              \
    if (call.site.answer == AGENT_ANSWER_SHORT)                                                                        \
        (message) = agent_cut_message(&cut_message, (message), (size_t)call.site.value);
#define CUT_MESSAGE_BACK(message)                                                                                      \
    struct agent_cut_message cut_message __attribute__((cleanup(agent_cut_message_back)));                             \
    cut_message.back = NULL;                                                                                           \
    if (call.site.answer == AGENT_ANSWER_SHORT) {                                                                      \
        cut_message.back = (message);                                                                                  \
        (message) = agent_cut_message(&cut_message, (message), (size_t)call.site.value);                               \
    }

/* What a call gives, as a word. */
#define VALUE_MINUS1(call) (int64_t)(call)
#define VALUE_CODE         VALUE_MINUS1
#define VALUE_NULLED       VALUE_MINUS1
#define VALUE_THRD         VALUE_MINUS1
#define VALUE_LEFT         VALUE_MINUS1
#define VALUE_PLAIN        VALUE_MINUS1
#define VALUE_VOID(call)   ((call), 0)

/* The way of most calls has no frame: what a rule needs is apart, and jumped to, so that its caller is the program. */
#define GENERATE(label, real, ret, name, style, object, params, args, cut, dropped)                                    \
    static __attribute__((noinline)) ret agent_ruled_##real params                                                     \
    {                                                                                                                  \
        if (AGENT_UNLIKELY(!agent_real.real))                                                                          \
            agent_resolve();                                                                                           \
        uint64_t counted;                                                                                              \
        if (!agent_is_armed(WEDGE_FN_##name) || agent_quick_pass(WEDGE_FN_##name, &counted))                           \
            return agent_real.real args;                                                                               \
        struct agent_call call;                                                                                        \
        const uint64_t words[AGENT_COUNT args + !AGENT_COUNT args] = {AGENT_WORDS args};                               \
        if (agent_enter_counted(&call, WEDGE_FN_##name, __builtin_return_address(0), AGENT_WORD(object), words,        \
                                AGENT_COUNT args, counted)) {                                                          \
            int64_t success = 0;                                                                                       \
            if (call.site.answer == AGENT_ANSWER_DROP)                                                                 \
                success = (int64_t)(dropped);                                                                          \
            return (ret)agent_result(&call, success);                                                                  \
        }                                                                                                              \
        cut return (ret)agent_leave(&call, VALUE_##style(agent_real.real args));                                       \
    }                                                                                                                  \
    AGENT_EXPORT ret agent_wrap_##real params __asm__(label);                                                          \
    AGENT_EXPORT ret agent_wrap_##real params                                                                          \
    {                                                                                                                  \
        if (AGENT_LIKELY(agent_real.real && !agent_is_armed(WEDGE_FN_##name)))                                         \
            return agent_real.real args;                                                                               \
        return agent_ruled_##real args;                                                                                \
    }
#define F(ret, name, family, style, extra, kind, effect, object, params, args, cut, dropped, ...)                      \
    GENERATE(#name, name, ret, name, style, object, params, args, cut, dropped)
#define V(ret, name, family, style, extra, kind, effect, object, params, args, cut, dropped, ...)                      \
    GENERATE("agent_new_" #name, name, ret, name, style, object, params, args, cut, dropped)                           \
    GENERATE("agent_old_" #name, old_##name, ret, name, style, object, params, args, cut, dropped)
#define H(...)
#include "faults/functions/all.def"
#undef F
#undef V
#undef H

#define VERSIONS(name, old, new)                                                                                       \
    __asm__(".symver agent_new_" #name ", " #name "@@" new ", remove\n"                                                \
                                                           ".symver agent_old_" #name ", " #name "@" old               \
                                                           ", remove\n");
/* A name of its own for each: clang takes one version for each symbol. */
#define ALSO(name, version)                                                                                            \
    __asm__(".globl agent_also_" #name "\n.type agent_also_" #name ", @function\n"                                     \
            ".set agent_also_" #name ", agent_new_" #name "\n"                                                         \
            ".symver agent_also_" #name ", " #name "@" version ", remove\n");
#include "faults/agent/versions.def"
#undef VERSIONS
#undef ALSO

#define ALIAS(alias, name) __asm__(".globl " #alias "\n.type " #alias ", @function\n.set " #alias ", " #name "\n");
#define ALIAS_HAND(alias, name)
#define ALIAS_PROCESS(alias, name)
#include "faults/functions/aliases.def"
#undef ALIAS
#undef ALIAS_HAND
#undef ALIAS_PROCESS
