/* Cases in C++: the standard library's locks are libc's, its atomics and semaphores words of their own. Ready on
 * descriptor 3, else on standard output, like the factory in C. */
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <semaphore>
#include <thread>
#include <unistd.h>

namespace
{
void ready()
{
    if (write(3, "ready\n", 6) == 6)
        close(3);
    else if (write(1, "ready\n", 6) != 6)
        _exit(3);
}

std::mutex locks[2];
std::barrier<> both(2);
std::counting_semaphore<8> items(0), room(0);
std::atomic<int> turn(0);
std::mutex guard;
std::condition_variable changed;

void take_both(int i)
{
    std::unique_lock<std::mutex> first(locks[i]);
    both.arrive_and_wait();
    std::unique_lock<std::mutex> second(locks[1 - i]);
}
void mutex_cycle()
{
    std::thread a(take_both, 0), b(take_both, 1);
    ready();
    a.join();
    b.join();
}

void consume()
{
    for (;;) {
        items.acquire();
        room.release();
    }
}
/* Both begin by taking. */
void semaphores()
{
    std::thread consumer(consume);
    ready();
    room.acquire();
    items.release();
    consumer.join();
}

void wait_for_turn()
{
    turn.wait(0);
}
void atomic_wait()
{
    std::thread waiter(wait_for_turn);
    ready();
    waiter.join();
}

void wait_for_change()
{
    std::unique_lock<std::mutex> lock(guard);
    changed.wait(lock);
}
void condition()
{
    std::thread waiter(wait_for_change);
    ready();
    waiter.join();
}

/* The same by another thread that sleeps and then acts. */
void slow_atomic()
{
    std::thread waker([] {
        for (;;) {
            std::this_thread::sleep_for(std::chrono::milliseconds(30));
            turn++;
            turn.notify_all();
        }
    });
    ready();
    for (;;)
        turn.wait(turn);
}
void slow_mutex()
{
    std::thread holder([] {
        for (;;) {
            std::lock_guard<std::mutex> lock(guard);
            std::this_thread::sleep_for(std::chrono::milliseconds(30));
        }
    });
    ready();
    for (;;)
        std::lock_guard<std::mutex> lock(guard);
}

const struct {
    const char *name;
    void (*run)();
} cases[] = {{"cxx-mutex-cycle", mutex_cycle}, {"cxx-semaphores", semaphores},   {"cxx-atomic-wait", atomic_wait},
             {"cxx-condition", condition},     {"cxx-slow-atomic", slow_atomic}, {"cxx-slow-mutex", slow_mutex}};
} // namespace

int main(int argc, char **argv)
{
    for (const auto &c : cases)
        if (argc == 2 && std::strcmp(argv[1], c.name) == 0)
            c.run();
    return 2;
}
