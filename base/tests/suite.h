/* The main function of a test binary: one suite of one case, filled by the test. */
#ifndef WEDGE_BASE_TESTS_SUITE_H
#define WEDGE_BASE_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Whether a process all of whose threads wait is ever seen to sleep. Not under ThreadSanitizer: its runtime has a thread in each
 * that naps for a tenth of a second, again and again (measured: 10 switches a second in a child that does nothing). */
#ifdef __SANITIZE_THREAD__
enum { WEDGE_TEST_MAY_SLEEP = 0 };
#else
enum { WEDGE_TEST_MAY_SLEEP = 1 };
#endif

/* Runs what `fill` adds to the case; `timeout_s` bounds each test. Returns main's exit status. */
static inline int wedge_test_main(const char *name, double timeout_s, void (*fill)(TCase *))
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, timeout_s);
    fill(tcase);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
