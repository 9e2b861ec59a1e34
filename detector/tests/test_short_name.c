/* Names for sentences: a table of what demanglers make of C, C++, Rust and Go. */
#include <check.h>
#include <string.h>

#include "base/tests/suite.h"
#include "detector/verdict/short_name.h"

static const struct {
    const char *name, *is;
} names[] = {
    {"main", "main()"},
    {"", "()"},
    {"f(int)", "f()"},
    {"ns::Queue::take(std::unique_lock<std::mutex>&, long) const", "ns::Queue::take()"},
    {"void ns::apply<int>(int)", "ns::apply<int>()"},
    {"std::vector<int, std::allocator<int> > ns::all<long>(char const*)", "ns::all<long>()"},
    {"shop::Cart<std::vector<int, std::allocator<int> > >::add(std::function<void (int)> const&)",
     "shop::Cart<…>::add()"},
    {"(anonymous namespace)::worker(void*)", "(anonymous namespace)::worker()"},
    {"node::(anonymous namespace)::PlatformWorkerThread(void*)", "node::(anonymous namespace)::PlatformWorkerThread()"},
    {"v8::internal::Object v8::internal::FutexEmulation::WaitSync<int>(v8::internal::Isolate*, long) [clone .isra.0]",
     "v8::internal::FutexEmulation::WaitSync<int>()"},
    {"main::{lambda(int)#1}::operator()(int) const", "main::{lambda(int)#1}::operator()"},
    {"operator()", "operator()"},
    {"ns::T::operator()", "ns::T::operator()"},
    {"ns::operator<(ns::T const&, ns::T const&)", "ns::operator<()"},
    {"ns::T::operator->() const", "ns::T::operator->()"},
    {"std::ostream& operator<< <char>(std::ostream&, char)", "operator<< <char>()"},
    {"ns::T::operator bool() const", "ns::T::operator bool()"},
    {"operator new(unsigned long)", "operator new()"},
    {"f(int) const &", "f()"},
    {"_sem_wait.cold", "_sem_wait.cold()"},
    {"<std::sys::sync::mutex::futex::Mutex>::lock_contended",
     "<std::sys::sync::mutex::futex::Mutex>::lock_contended()"},
    {"<&dyn core::ops::function::Fn<(), Output = i32> as core::ops::function::FnOnce<()>>::call_once",
     "<&dyn core::ops::function::Fn<(), Output = i32> as core::ops::function::FnOnce<()>>::call_once()"},
    {"r::main::{{closure}}", "r::main::{{closure}}()"},
    {"main.(*Server).handle", "main.(*Server).handle()"},
    {"broken(((", "broken(((()"},
    {")))", ")))"},
    {"<<<<", "<<<<()"},
    {">>>> > (", "(()"},
    {" ", " ()"},
    {" [clone .x]", "[clone .x]()"},
    {"f) const", "const()"},
};

START_TEST(test_names)
{
    char buf[256];
    wedge_short_name(names[_i].name, buf, sizeof(buf));
    ck_assert_str_eq(buf, names[_i].is);
}
END_TEST

/* Whatever a name is and however little room there is, it ends within it. */
START_TEST(test_room)
{
    char buf[64], name[600];
    for (size_t size = 0; size <= sizeof(buf) - 1; size++)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            memset(buf, 'x', sizeof(buf));
            wedge_short_name(names[i].name, buf, size);
            ck_assert_int_eq(buf[size], 'x');
            ck_assert(size == 0 || memchr(buf, 0, size));
        }
    for (char c = ' '; c < '~'; c++) {
        memset(name, c, sizeof(name) - 1);
        name[sizeof(name) - 1] = 0;
        wedge_short_name(name, buf, sizeof(buf));
        ck_assert_uint_lt(strlen(buf), sizeof(buf));
    }
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_names, 0, sizeof(names) / sizeof(names[0]));
    tcase_add_test(tcase, test_room);
}

int main(void)
{
    return wedge_test_main("short_name", 10, fill);
}
