/*
 * Programs that wait for themselves while an alarm may be on its way, or is not. Built five times (WEDGE_ALARM_…): one
 * that calls alarm(), one that does not, one that needs the library, one with an alarm() of its own, and a static one that calls.
 *
 *      alarm-target WHAT [FILE]
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef WEDGE_ALARM_LINKED
void wedge_test_alarm_link(void);
#endif

#ifdef WEDGE_ALARM_OWN
/* As a runtime that is linked in has it: the program's own comes before anybody's. */
__attribute__((visibility("default"))) unsigned alarm(unsigned seconds)
{
    unsigned long left = SYS_alarm;
    __asm__ volatile("syscall" : "+a"(left) : "D"((unsigned long)seconds) : "rcx", "r11", "memory");
    return (unsigned)left;
}
#endif

#if defined(WEDGE_ALARM_CALLS) || defined(WEDGE_ALARM_STATIC) || defined(WEDGE_ALARM_OWN)
static void arm(void)
{
    alarm(3600);
}
#else
static void arm(void) {}
#endif

/* Runs before the constructors of all libraries (gABI, "Initialization and Termination Functions"). */
static void before_all(int argc, char **argv, char **env)
{
    (void)env;
    if (argc > 1 && strcmp(argv[1], "first") == 0)
        arm();
}
__attribute__((section(".preinit_array"), used)) static void (*const first)(int, char **, char **) = before_all;

#ifdef WEDGE_ALARM_STATIC
static int load(const char *how, const char *file)
{
    return *how || *file;
}
#else
static int load(const char *how, const char *file)
{
    void *library = strcmp(how, "deep") == 0    ? dlopen(file, RTLD_NOW | RTLD_DEEPBIND)
                    : strcmp(how, "space") == 0 ? dlmopen(LM_ID_NEWLM, file, RTLD_NOW)
                                                : dlopen(file, RTLD_NOW);
    if (!library)
        fprintf(stderr, "%s\n", dlerror());
    return library && strcmp(how, "unload") == 0 ? dlclose(library) : !library;
}
#endif

int main(int argc, char **argv)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const char *what = argc > 1 ? argv[1] : "";
#ifdef WEDGE_ALARM_LINKED
    wedge_test_alarm_link();
#endif
    if (strcmp(what, "arm") == 0 || strcmp(what, "become") == 0)
        arm();
    if (strcmp(what, "become") == 0 && argc > 2) /* an alarm outlives exec, execve(2) */
        execl(argv[2], argv[2], (char *)NULL);
    else if (argc > 2 && load(what, argv[2]))
        return 3;
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
    return 0;
}
