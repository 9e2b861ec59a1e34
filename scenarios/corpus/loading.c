/* What runs once: initialisers, constructors, and the loader's own lock around them. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "scenarios/corpus/cases.h"

/* The first use of a library fails inside its initialiser; to note the error the library has to be initialised. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void note_error(void);

static void initialise(void)
{
    note_error();
}
static void note_error(void)
{
    static int errors;
    if (!corpus_cured)
        pthread_once(&once, initialise);
    errors++;
}

static void once_again(void)
{
    pthread_once(&once, initialise);
}

/* Loads the plugin, whose constructor calls corpus_plugin_loaded. */
static void (*constructor)(void);

__attribute__((visibility("default"))) void corpus_plugin_loaded(void);
void corpus_plugin_loaded(void)
{
    if (constructor)
        constructor();
}

static void load_plugin(void)
{
    if (!dlopen("libwedge-corpus-plugin.so", RTLD_NOW)) {
        fprintf(stderr, "wedge-corpus: %s\n", dlerror());
        exit(3);
    }
}

/* The constructor of a plugin starts a thread and waits for it. The thread loads something too, for which the loader's lock
 * is needed that the loading of the plugin has. */
static pthread_t loader;

static void *load_more(void *arg)
{
    return dlopen(NULL, RTLD_NOW) ? arg : NULL;
}

static void start_and_wait(void)
{
    loader = corpus_thread(load_more, NULL);
    if (!corpus_cured)
        corpus_join(loader);
}

static void constructor_waits(void)
{
    constructor = start_and_wait;
    load_plugin();
    if (corpus_cured)
        corpus_join(loader);
}

/* A thread has the program's own lock and needs the loader's, to walk the loaded objects; the constructor of a plugin, which
 * runs within the loader's lock, needs the program's. */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct corpus_mark loading, has_registry;

static void register_plugin(void)
{
    corpus_tell(&loading);
    if (!corpus_cured)
        corpus_hear(&has_registry);
    pthread_mutex_lock(&registry);
    pthread_mutex_unlock(&registry);
}

static void *look_around(void *arg)
{
    corpus_hear(&loading);
    if (corpus_cured)
        load_more(NULL);
    pthread_mutex_lock(&registry);
    corpus_tell(&has_registry);
    if (!corpus_cured)
        load_more(NULL);
    pthread_mutex_unlock(&registry);
    return arg;
}

static void constructor_locks(void)
{
    loading = corpus_mark();
    has_registry = corpus_mark();
    constructor = register_plugin;
    pthread_t other = corpus_thread(look_around, NULL);
    load_plugin();
    corpus_join(other);
}

const struct corpus_case corpus_loading[] = {
    {"once-again", once_again},
    {"constructor-waits", constructor_waits},
    {"constructor-locks", constructor_locks},
    {NULL, NULL},
};
