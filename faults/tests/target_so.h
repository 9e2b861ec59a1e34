/* The shared object of the agent's tests. */
#ifndef WEDGE_FAULTS_TESTS_TARGET_SO_H
#define WEDGE_FAULTS_TESTS_TARGET_SO_H

__attribute__((visibility("default"))) int target_so_ask(void);

#endif
