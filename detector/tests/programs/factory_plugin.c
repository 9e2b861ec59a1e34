/* Loaded by the factory: its constructor waits for a thread that needs the loader itself. */
#include <dlfcn.h>
#include <pthread.h>

static void *load_more(void *arg)
{
    return dlopen("libm.so.6", RTLD_NOW) ? arg : NULL;
}

__attribute__((constructor)) static void start(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, load_more, NULL) == 0)
        pthread_join(thread, NULL);
}
