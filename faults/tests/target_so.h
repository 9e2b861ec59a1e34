/* The shared object of the agent's tests. */
#ifndef WEDGE_FAULTS_TESTS_TARGET_SO_H
#define WEDGE_FAULTS_TESTS_TARGET_SO_H

__attribute__((visibility("default"))) int target_so_ask(void);
/* Writes a byte: 0 by itself, 1 by a static function of its own. The result, or the errno below zero. */
__attribute__((visibility("default"))) int target_so_put(int fd, int by_inner);

#endif
