/* Mangled names: a table of both languages, and names that grow beyond all bounds when they are written out. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tests/suite.h"
#include "detector/stacks/demangle.h"

static const struct {
    const char *name, *is;
} names[] = {
    {"main", "main"},
    {"read@@GLIBC_2.2.5", "read"},
    {"", ""},
    {"_Z", "_Z"},
    {"_R", "_R"},
    {"_Zrubbish@x", "_Zrubbish"},
    {"_Z4lockv", "lock()"},
    {"_ZN4pool4takeEiRKSs", "pool::take(int, std::string const&)"},
    {"_ZNK4pool4sizeEv", "pool::size() const"},
    {"_ZN4pool4takeEv.cold", "pool::take() [clone .cold]"},
    {"_ZN12_GLOBAL__N_16workerEPv", "(anonymous namespace)::worker(void*)"},
    {"_ZZ4mainENKUliE_clEi", "main::{lambda(int)#1}::operator()(int) const"},
    {"_RNvCs1234_7mycrate3foo", "mycrate::foo"},
    {"_RNvC7mycrate3foo", "mycrate::foo"},
    {"_ZN4core3ops8function6FnOnce9call_once17h0123456789abcdefE", "core::ops::function::FnOnce::call_once"},
    {"_RNvC7mycrateu9bcher_kva", "mycrate::b\xc3\xbc"
                                 "cher"},
};

START_TEST(test_names)
{
    char *plain = wedge_demangle(names[_i].name);
    ck_assert_str_eq(plain, names[_i].is);
    free(plain);
}
END_TEST

/* f(p<A, A>, p<p<A, A>, p<A, A> >, …): each parameter is made of the one before it, twice. */
static void add_number(char *name, unsigned number)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t len = strlen(name);
    if (number >= 36)
        sprintf(name + len, "S%c%c_", digits[number / 36], digits[number % 36]);
    else
        sprintf(name + len, "S%c_", digits[number]);
}

static void double_up(char *name, unsigned times)
{
    strcpy(name, "_Z1f1pI1AS0_E");
    for (unsigned i = 1; i <= times; i++) {
        strcat(name, "S_I");
        add_number(name, i);
        add_number(name, i);
        strcat(name, "E");
    }
}

START_TEST(test_growing)
{
    static const unsigned times[] = {4, 12, 40};
    char name[4096];
    double_up(name, times[_i]);
    char *plain = wedge_demangle(name);
    ck_assert_int_eq(strncmp(plain, "f(p<A, A>, p<p<A, A>, p<A, A> >", 31), 0);
    bool cut = strlen(plain) == WEDGE_DEMANGLED_MOST - 1;
    ck_assert_int_eq(cut, times[_i] > 4);
    ck_assert_str_eq(plain + strlen(plain) - 3, cut ? "…" : " >)");
    free(plain);
}
END_TEST

/* As long as a linker takes, and longer. */
START_TEST(test_long)
{
    char name[9000], *plain;
    for (size_t n = 4000; n < 4200; n += 10) {
        int head = sprintf(name, "_Z%zu", n);
        memset(name + head, 'x', n);
        strcpy(name + head + n, "v");
        plain = wedge_demangle(name);
        ck_assert_str_eq(plain + strlen(plain) - 3, strlen(name) < 4096 ? "x()" : "xxv");
        free(plain);
    }
    /* f(a<int>, a<int>, …) */
    strcpy(name, "_Z1f");
    for (int i = 0; i < 700; i++)
        strcat(name, "1aIiE");
    plain = wedge_demangle(name);
    ck_assert_int_eq(strncmp(plain, "f(a<int>, a<int>, ", 18), 0);
    ck_assert_uint_eq(strlen(plain), 700 * 8 + 1);
    free(plain);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_names, 0, sizeof(names) / sizeof(names[0]));
    tcase_add_loop_test(tcase, test_growing, 0, 3);
    tcase_add_test(tcase, test_long);
}

int main(void)
{
    return wedge_test_main("demangle", 20, fill);
}
