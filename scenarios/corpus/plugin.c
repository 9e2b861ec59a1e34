/* A shared object whose constructor is the program's: see loading.c. */
extern void corpus_plugin_loaded(void);

__attribute__((constructor)) static void loaded(void)
{
    corpus_plugin_loaded();
}
