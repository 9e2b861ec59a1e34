// What C++ programs wait with: each kind a fixed number of times. Says what came out.
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <thread>
#include <vector>

#include <wedge/point.h>

namespace
{
using namespace std::chrono_literals;

std::mutex mutex;
std::condition_variable changed;
std::shared_timed_mutex shared;
std::counting_semaphore<64> semaphore{0};
int ready, timeouts, late;

void work(int number)
{
    {
        std::unique_lock lock(mutex);
        ready++;
        changed.notify_all();
    }
    {
        std::shared_lock lock(shared);
        WEDGE_POINT("cpp.shared");
    }
    if (std::unique_lock lock(shared, 10s); !lock)
        late++;
    semaphore.release();
    if (WEDGE_ASK("cpp.ask") == WEDGE_ASK_FULL)
        std::printf("full %d\n", number > 0);
}
} // namespace

int main()
{
    std::vector<std::thread> threads;
    wedge_role("cpp", 1, 0);
    for (int i = 1; i <= 4; i++)
        threads.emplace_back(work, i);
    {
        std::unique_lock lock(mutex);
        while (!changed.wait_for(lock, 60s, [] { return ready == 4; }))
            ;
        for (int i = 0; i < 3; i++) // nobody notifies any more
            timeouts += changed.wait_for(lock, 1ms) == std::cv_status::timeout;
    }
    for (auto &thread : threads)
        thread.join();
    for (int i = 0; i < 4; i++)
        semaphore.acquire();
    std::printf("ready %d timeouts %d late %d\n", ready, timeouts, late);
    return 0;
}
