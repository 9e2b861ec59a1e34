/* A C++ program whose blocked thread has frames with landing pads, as most of C++ has. Speaks as stacks_target.c does. */
#include <csignal>
#include <cstdio>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

namespace pool
{
static int silent[2];

template <class T> struct Queue {
    T first;
    /* Objects with destructors live across the call: the function can be unwound through, and says to where. */
    NOINLINE std::string take(int fd)
    {
        std::string kept("some text that is too long to be kept inside of the object itself");
        char c;
        kept += std::to_string(read(fd, &c, 1) + first);
        return kept;
    }
};

struct Task {
    virtual ~Task() = default;
    virtual size_t run(int fd) = 0;
};
struct Loader : Task {
    NOINLINE size_t run(int fd) override
    {
        Queue<long> queue{1};
        std::string all("another text that is too long to be kept inside of the object itself");
        all += queue.take(fd);
        return all.size();
    }
};

/* A member of a template over a lambda: DWARF has neither a linkage name for it nor the class in its own. */
template <class F> struct Call {
    F function;
    NOINLINE size_t enter()
    {
        return function() + 1;
    }
};
NOINLINE size_t guarded(Task &task);
static size_t local(Task &task)
{
    auto inner = [&task] { return guarded(task); };
    Call<decltype(inner)> call{inner};
    return call.enter() + 1;
}

NOINLINE size_t guarded(Task &task)
{
    try {
        return task.run(silent[0]) + 1;
    } catch (const std::exception &e) {
        std::puts(e.what());
        return 0;
    }
}
} // namespace pool

int main()
{
    pool::Loader loader;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (pipe(pool::silent))
        return 1;
    std::printf(
        "thread %d cxx read\nframe pool::Queue<long>::take 0\nframe pool::Loader::run 0\nframe pool::guarded 0\n"
        "frame pool::Call<pool::local( 0\nframe main 0\nready\n",
        getpid());
    std::fflush(stdout);
    return static_cast<int>(pool::local(loader));
}
