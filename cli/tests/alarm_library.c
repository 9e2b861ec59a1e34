/* A library that arms an alarm when it is loaded, as some runtimes do: before the agent, which has no word in the order of
 * constructors, or in a name space where the agent is not. */
#include <unistd.h>

void wedge_test_alarm_link(void); /* what a program needs it for */

__attribute__((constructor)) static void arm(void)
{
    alarm(3600);
}

__attribute__((visibility("default"))) void wedge_test_alarm_link(void) {}
