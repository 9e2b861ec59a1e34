/* reports/save, text, html, junit: what lands in files and on terminals, and what must not. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/tests/suite.h"
#include "reports/tests/samples.h"
#include "reports/words.h"
#include "reports/write.h"

static char dir[64];
static int dirfd_of_test = -1;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-write-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    dirfd_of_test = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dirfd_of_test, 0);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void teardown(void)
{
    close(dirfd_of_test);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The whole file, NUL-terminated; owned by the caller. */
static char *slurp(int at, const char *name)
{
    struct stat st;
    int fd = openat(at, name, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
    ck_assert_int_eq(fstat(fd, &st), 0);
    char *text = malloc((size_t)st.st_size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(read(fd, text, (size_t)st.st_size), st.st_size);
    text[st.st_size] = 0;
    close(fd);
    return text;
}

static size_t entries(void)
{
    char command[128], count[32];
    snprintf(command, sizeof(command), "ls -A %s | wc -l", dir);
    FILE *out = popen(command, "r"); /* NOLINT(cert-env33-c): a folder of our own making */
    ck_assert_ptr_nonnull(out);
    ck_assert_ptr_nonnull(fgets(count, sizeof(count), out));
    pclose(out);
    return (size_t)atol(count);
}

START_TEST(test_save_replaces_whole_and_leaves_nothing)
{
    struct stat st;
    ck_assert_int_eq(wedge_report_save(dirfd_of_test, "a", "first, longer", 13, NULL), 0);
    ck_assert_int_eq(wedge_report_save(dirfd_of_test, "a", "second", 6, NULL), 0);
    char *text = slurp(dirfd_of_test, "a");
    ck_assert_str_eq(text, "second");
    free(text);
    ck_assert_int_eq(fstatat(dirfd_of_test, "a", &st, 0), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_uint_eq(entries(), 1);
}
END_TEST

START_TEST(test_save_never_follows_a_link)
{
    ck_assert_int_eq(wedge_report_save(dirfd_of_test, "victim", "precious", 8, NULL), 0);
    ck_assert_int_eq(symlinkat("victim", dirfd_of_test, "report.json"), 0);
    ck_assert_int_eq(wedge_report_save(dirfd_of_test, "report.json", "ours", 4, NULL), 0);
    char *victim = slurp(dirfd_of_test, "victim"), *report = slurp(dirfd_of_test, "report.json");
    ck_assert_str_eq(victim, "precious");
    ck_assert_str_eq(report, "ours");
    free(victim);
    free(report);
}
END_TEST

START_TEST(test_save_says_why_not)
{
    struct wedge_err err = {0};
    ck_assert_int_eq(mkdirat(dirfd_of_test, "taken", 0700), 0);
    ck_assert_int_eq(wedge_report_save(dirfd_of_test, "taken", "x", 1, &err), -EISDIR);
    ck_assert_ptr_nonnull(strstr(err.message, "cannot write taken"));
    ck_assert_ptr_nonnull(strstr(err.remedy, "-o"));
    ck_assert_uint_eq(entries(), 1); /* the temporary file is gone */
}
END_TEST

/* Beyond a limit the kernel sends a signal as well, which would keep back what was found out. */
START_TEST(test_save_outlives_the_limit_of_files)
{
    struct wedge_err err = {0};
    struct rlimit before, few;
    sigset_t pending;
    char large[8192];
    memset(large, 'x', sizeof(large));
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    few = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &few), 0);
    int fits = wedge_report_save(dirfd_of_test, "fits", large, 4096, &err);
    int rc = wedge_report_save(dirfd_of_test, "large", large, sizeof(large), &err);
    sigpending(&pending);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(fits, 0);
    ck_assert_int_eq(rc, -EFBIG);
    ck_assert(!sigismember(&pending, SIGXFSZ));
    ck_assert_ptr_nonnull(strstr(err.message, "cannot write large: File too large"));
    ck_assert_uint_eq(entries(), 1);
}
END_TEST

/* A file as a writer has it on its way. Its descriptor. */
static int on_its_way(const char *name)
{
    int fd = openat(dirfd_of_test, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(test_what_a_killed_writer_left_is_taken_away)
{
    static const char *const stay[] = {"report.json", ".report.json.0123456789abcde", ".report.json.0123456789abcdef0",
                                       ".report.json.0123456789abcdeF", ".mine.json.0123456789abcdef"};
    for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
        close(on_its_way(stay[i]));
    close(on_its_way(".report.json.0123456789abcdef"));
    close(on_its_way(".result.json.fedcba9876543210"));
    ck_assert_int_eq(symlinkat("report.json", dirfd_of_test, ".report.html.0123456789abcdef"), 0);
    int living = on_its_way(".ablation.html.0123456789abcdef");
    ck_assert_int_eq(flock(living, LOCK_EX | LOCK_NB), 0);
    wedge_report_clean(dirfd_of_test);
    for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
        ck_assert_msg(faccessat(dirfd_of_test, stay[i], F_OK, 0) == 0, "%s", stay[i]);
    ck_assert_uint_eq(entries(), sizeof(stay) / sizeof(stay[0]) + 2); /* the link, and the one that is being written */
    close(living);
    wedge_report_clean(dirfd_of_test);
    ck_assert_uint_eq(entries(), sizeof(stay) / sizeof(stay[0]) + 1);
}
END_TEST

START_TEST(test_open_dir_makes_parents)
{
    char path[160];
    struct stat st;
    int fd;
    snprintf(path, sizeof(path), "%s/a//b/./c/", dir);
    ck_assert_int_eq(wedge_report_open_dir(path, &fd, NULL), 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0700);
    close(fd);
    ck_assert_int_eq(wedge_report_open_dir(path, &fd, NULL), 0); /* again: it is there */
    close(fd);
}
END_TEST

START_TEST(test_open_dir_and_links)
{
    char path[160];
    struct wedge_err err = {0};
    int fd = -1;
    ck_assert_int_eq(mkdirat(dirfd_of_test, "real", 0700), 0);
    ck_assert_int_eq(symlinkat("real", dirfd_of_test, "mine"), 0);
    ck_assert_int_eq(symlinkat("nowhere", dirfd_of_test, "dangling"), 0);
    snprintf(path, sizeof(path), "%s/mine/x", dir);
    ck_assert_int_eq(wedge_report_open_dir(path, &fd, &err), 0); /* our own link is followed */
    close(fd);
    fd = -1;
    snprintf(path, sizeof(path), "%s/dangling", dir);
    ck_assert_int_eq(wedge_report_open_dir(path, &fd, &err), -ENOENT);
    ck_assert_int_eq(wedge_report_save(dirfd_of_test, "file", "x", 1, NULL), 0);
    snprintf(path, sizeof(path), "%s/file/x", dir);
    ck_assert_int_eq(wedge_report_open_dir(path, &fd, &err), -ENOTDIR);
    ck_assert_ptr_nonnull(strstr(err.remedy, "-o"));
    ck_assert_int_eq(fd, -1);
    if (geteuid() != 0)
        return; /* only root can make a link that is somebody else's */
    ck_assert_int_eq(fchownat(dirfd_of_test, "mine", 65534, 65534, AT_SYMLINK_NOFOLLOW), 0);
    snprintf(path, sizeof(path), "%s/mine/x", dir);
    ck_assert_int_eq(wedge_report_open_dir(path, &fd, &err), -ELOOP);
    ck_assert_ptr_nonnull(strstr(err.remedy, "another user"));
    /* Nor is ours followed where somebody else could have put another one in its place meanwhile: in his folder, or in
     * one that all may write to without the sticky bit. */
    static const struct {
        uid_t owner;
        mode_t mode;
        int rc;
    } folders[] = {{65534, 0755, -ELOOP}, {0, 0777, -ELOOP}, {0, 01777, 0}, {0, 0755, 0}};
    ck_assert_int_eq(fchownat(dirfd_of_test, "mine", 0, 0, AT_SYMLINK_NOFOLLOW), 0);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        ck_assert_int_eq(fchown(dirfd_of_test, folders[i].owner, 0), 0);
        ck_assert_int_eq(fchmod(dirfd_of_test, folders[i].mode), 0);
        ck_assert_int_eq(wedge_report_open_dir(path, &fd, &err), folders[i].rc);
        if (!folders[i].rc)
            close(fd);
    }
}
END_TEST

START_TEST(test_json_comes_back)
{
    json_t *report = sample_report((enum sample)_i);
    ck_assert_int_eq(wedge_report_write_json(report, dirfd_of_test, "r.json", NULL), 0);
    char *text = slurp(dirfd_of_test, "r.json");
    json_t *again = json_loads(text, 0, NULL);
    ck_assert(json_equal(report, again));
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
    json_decref(again);
    json_decref(report);
    free(text);
}
END_TEST

START_TEST(test_result_names_the_files_of_this_report_alone)
{
    json_t *report = sample_report(SAMPLE_LOCK_CYCLE), *other = sample_report(SAMPLE_IDLE);
    ck_assert_int_eq(wedge_report_write_dir(dir, report, NULL), 0);
    ck_assert_int_eq(wedge_report_write_result(dir, report, 124, NULL), 0);
    char *text = slurp(dirfd_of_test, "result.json");
    json_t *result = json_loads(text, 0, NULL);
    ck_assert_str_eq(wedge_report_text(result, "schema"), "wedge.result/1");
    ck_assert_str_eq(wedge_report_text(result, "verdict.kind"), "lock-cycle");
    ck_assert_int_eq(json_integer_value(json_object_get(result, "exit")), 124);
    ck_assert_uint_eq(json_array_size(json_object_get(result, "files")), 2);
    free(text);
    json_decref(result);
    ck_assert_int_eq(wedge_report_write_result(dir, other, 0, NULL), 0);
    text = slurp(dirfd_of_test, "result.json");
    result = json_loads(text, 0, NULL);
    ck_assert_str_eq(wedge_report_text(result, "verdict.kind"), "idle");
    ck_assert_uint_eq(json_array_size(json_object_get(result, "files")), 0);
    free(text);
    json_decref(result);
    json_decref(report);
    json_decref(other);
}
END_TEST

static char *text_of(const json_t *report, const struct wedge_report_text_options *options)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(wedge_report_write_text(report, out, options, NULL), 0);
    fclose(out);
    return text;
}

START_TEST(test_text_is_golden)
{
    char path[512];
    snprintf(path, sizeof(path), WEDGE_GOLDEN_DIR "/%s.txt", sample_names[_i]);
    json_t *report = sample_report((enum sample)_i);
    struct wedge_report_text_options options = {.columns = 100};
    char *text = text_of(report, &options), *golden = slurp(AT_FDCWD, path);
    ck_assert_str_eq(text, golden);
    free(golden);
    free(text);
    json_decref(report);
}
END_TEST

/* Words longer than a line apart, no line is longer than asked for, and without colour no escape is in it. */
START_TEST(test_text_keeps_its_width)
{
    static const int widths[] = {60, 80, 100, 120};
    for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++) {
        json_t *report = sample_report((enum sample)_i);
        struct wedge_report_text_options options = {.columns = widths[w], .all_threads = true};
        char *text = text_of(report, &options);
        for (char *line = text; *line;) {
            size_t len = strcspn(line, "\n");
            ck_assert_msg((int)len <= widths[w] || _i == SAMPLE_HOSTILE, "%d columns: %.*s", widths[w], (int)len, line);
            line += len + (line[len] == '\n');
        }
        ck_assert_ptr_null(strchr(text, '\033'));
        free(text);
        json_decref(report);
    }
}
END_TEST

START_TEST(test_text_color_and_stacks)
{
    json_t *report = sample_report(SAMPLE_LOCK_CYCLE);
    struct wedge_report_text_options options = {.color = true, .all_threads = true};
    char *text = text_of(report, &options);
    ck_assert_ptr_nonnull(strstr(text, "\033[1;31mHANG: \033[0m"));
    ck_assert_ptr_nonnull(strstr(text, "#3 transfer (bank/transfer.c:88)"));
    free(text);
    json_decref(report);
    report = sample_report(SAMPLE_HOSTILE); /* the only escapes are ours */
    text = text_of(report, &options);
    for (char *at = text; (at = strchr(at, '\033')); at++)
        ck_assert_msg(at[1] == '[' && at[2 + strspn(at + 2, "0123456789;")] == 'm', "%.12s", at + 1);
    free(text);
    json_decref(report);
}
END_TEST

/* A CI system that reads the output takes a line that begins with :: (GitHub Actions, after blanks) or has ## in it
 * (Azure Pipelines, TeamCity) for a command: no name, wherever the words are wrapped, makes one. */
START_TEST(test_text_commands_no_ci)
{
    static const char *const names[] = {"::error::x", "##vso[task.setvariable]x", "##[error]x", " ::add-mask::x"};
    static const struct wedge_report_text_options options[] = {{.columns = 60, .all_threads = true},
                                                               {.columns = 60, .all_threads = true, .color = true}};
    json_t *report = sample_report(SAMPLE_LOCK_CYCLE), *process, *thread;
    json_t *verdict = json_object_get(report, "verdict");
    size_t i, j;
    char summary[2000] = "";
    json_array_foreach(json_object_get(report, "processes"), i, process)
        json_array_foreach(json_object_get(process, "threads"), j, thread)
            json_object_set_new(thread, "name", wedge_report_string(names[(i + j + (size_t)_i) % 4]));
    for (int k = 0; k < 40; k++) /* some of these words stand at the beginning of a line */
        snprintf(summary + strlen(summary), sizeof(summary) - strlen(summary), "%s %.*s ", names[_i], k % 9,
                 "aaaaaaaaa");
    json_object_set_new(verdict, "summary", wedge_report_string(summary));
    for (size_t o = 0; o < 2; o++) {
        char *text = text_of(report, &options[o]);
        ck_assert_ptr_null(strstr(text, "##"));
        for (char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
            char *at = line;
            while (*at == ' ' || *at == '\033')
                at += *at == ' ' ? 1 : strcspn(at, "m") + 1;
            ck_assert_msg(strncmp(at, "::", 2) != 0, "%.60s", line);
        }
        free(text);
    }
    json_decref(report);
}
END_TEST

/* What a thread is said to be called from is nothing of its language's own library, unless it has nothing else. */
START_TEST(test_text_passes_over_the_runtime)
{
    json_t *report = sample_report(SAMPLE_LOCK_CYCLE), *frame;
    size_t i;
    char *text = text_of(report, NULL);
    ck_assert_ptr_nonnull(strstr(text, "called from lock_account"));
    free(text);
    for (int all = 0; all < 2; all++) {
        json_array_foreach(json_object_get(report, "frames"), i, frame) {
            const char *function = json_string_value(json_object_get(frame, "function"));
            if (all || (function && strcmp(function, "lock_account") == 0))
                json_object_set_new(frame, "runtime", json_true());
        }
        text = text_of(report, NULL);
        ck_assert_int_eq(strstr(text, "called from lock_account") != NULL, all);
        free(text);
    }
    json_decref(report);
}
END_TEST

/* A sleep whose end is not known is not said to be over. */
START_TEST(test_text_does_not_guess_a_clock)
{
    json_t *report = sample_report(SAMPLE_NO_PROGRESS);
    json_t *process = json_array_get(json_object_get(report, "processes"), 0);
    json_t *wait = json_object_get(json_array_get(json_object_get(process, "threads"), 0), "wait");
    for (int ms = -1; ms <= 1; ms++) {
        json_object_set_new(wait, "wakes_in_ms", json_integer(ms));
        char *text = text_of(report, NULL);
        ck_assert_msg(strstr(text, ms > 0 ? "; the clock wakes it in 1 ms\n" : "; it may wake at any moment\n"), "%s",
                      text);
        free(text);
    }
    json_decref(report);
}
END_TEST

/* A recursion is one line that counts, and the frames behind it keep their numbers. */
START_TEST(test_text_counts_a_recursion)
{
    json_t *report = sample_report(SAMPLE_LOCK_CYCLE);
    struct wedge_report_text_options options = {.all_threads = true};
    json_t *stack = json_array_get(json_object_get(report, "stacks"), 0);
    const size_t at = 3;
    ck_assert_str_eq(wedge_report_text(wedge_report_frame(report, stack, at), "function"), "transfer");
    for (int k = 0; k < 40; k++)
        ck_assert_int_eq(json_array_insert(stack, at, json_array_get(stack, at)), 0);
    char *text = text_of(report, &options);
    ck_assert_msg(strstr(text, "#3 transfer (bank/transfer.c:88), 41 times\n"), "%s", text);
    ck_assert_ptr_null(strstr(text, "#4 transfer"));
    ck_assert_msg(strstr(text, "#44 "), "%s", text);
    free(text);
    json_decref(report);
}
END_TEST

START_TEST(test_text_says_when_it_cannot)
{
    struct wedge_err err = {0};
    json_t *report = sample_report(SAMPLE_IDLE);
    FILE *full = fopen("/dev/full", "we");
    ck_assert_ptr_nonnull(full);
    ck_assert_int_eq(wedge_report_write_text(report, full, NULL, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.message, "cannot print"));
    fclose(full);
    json_decref(report);
}
END_TEST

static char *page_of(const json_t *report)
{
    ck_assert_int_eq(wedge_report_write_html(report, dirfd_of_test, "r.html", NULL), 0);
    return slurp(dirfd_of_test, "r.html");
}

static void check_page(const json_t *report, char *page)
{
    static const char open[] = "<script type=\"application/json\" id=\"report\">";
    char *data = strstr(page, open);
    ck_assert_ptr_nonnull(data);
    data += strlen(open);
    char *end = strchr(data, '<'); /* there is none in the data */
    ck_assert_int_eq(strncmp(end, "</script>", 9), 0);
    *end = 0;
    for (const unsigned char *c = (const unsigned char *)data; *c; c++)
        ck_assert_msg((*c >= 0x20 && *c < 0x7f) || *c == '\n', "byte %02x", *c);
    json_t *again = json_loads(data, 0, NULL);
    ck_assert(json_equal(report, again));
    json_decref(again);
    free(page);
}

/* Composed for the page, and with the text of report.json at hand: that of the hostile one must not stand in a page. */
START_TEST(test_html_carries_the_report)
{
    json_t *report = sample_report((enum sample)_i);
    check_page(report, page_of(report));
    ck_assert_int_eq(wedge_report_write_dir(dir, report, NULL), 0);
    char *json = slurp(dirfd_of_test, "report.json"), *page = slurp(dirfd_of_test, "report.html");
    bool harmless = !strpbrk(json, "<>&") && strlen(json) > 0;
    for (const char *c = json; *c; c++)
        harmless &= (unsigned char)*c < 0x80;
    ck_assert(_i != SAMPLE_HOSTILE || !harmless);
    ck_assert_int_eq(strstr(page, json) != NULL, harmless);
    check_page(report, page);
    free(json);
    json_decref(report);
}
END_TEST

START_TEST(test_html_reads_without_a_script)
{
    json_t *report = sample_report(SAMPLE_LOCK_CYCLE);
    char *page = page_of(report);
    char *header_end = strstr(page, "</header>");
    ck_assert_ptr_nonnull(header_end);
    *header_end = 0;
    ck_assert_ptr_nonnull(strstr(page, "<h1 class=\"kind\">Lock cycle</h1>"));
    ck_assert_ptr_nonnull(strstr(page, "bank (4711) in transfer (bank/transfer.c:88) waits for a mutex"));
    ck_assert_ptr_nonnull(strstr(page, "Each of these threads holds a lock that the next one waits for"));
    ck_assert_ptr_nonnull(strstr(page, "<b>Here:</b> each wait has one owner"));
    ck_assert_ptr_nonnull(strstr(page, "default-src 'none'; script-src 'nonce-"));
    free(page);
    json_decref(report);
}
END_TEST

START_TEST(test_html_lets_nothing_through)
{
    json_t *report = sample_report(SAMPLE_HOSTILE);
    char *page = page_of(report), *again;
    ck_assert_ptr_null(strstr(page, "<script>"));
    ck_assert_ptr_null(strstr(page, "alert(1)</"));
    ck_assert_ptr_nonnull(strstr(page, "&#60;/script&#62;&#60;script&#62;alert(1)"));
    ck_assert_ptr_nonnull(strstr(page, "\\u003c/script\\u003e"));
    ck_assert_ptr_null(strstr(page, "\\u2028")); /* a script's line end; it stands as bytes, escaped */
    ck_assert_ptr_nonnull(strstr(page, "\\\\xe2\\\\x80\\\\xa8"));
    ck_assert_ptr_null(strstr(page, "{{"));
    ck_assert_ptr_null(strstr(page, "sourceMappingURL"));
    size_t scripts = 0;
    for (char *at = page; (at = strstr(at, "<script")); at++)
        scripts++;
    ck_assert_uint_eq(scripts, 5);
    again = page_of(report); /* a nonce is never used twice */
    ck_assert_str_ne(page, again);
    free(again);
    free(page);
    json_decref(report);
}
END_TEST

START_TEST(test_every_word_is_explained)
{
    for (size_t i = 0; wedge_verdict_words[i]; i++) {
        struct wedge_word w = wedge_word_kind(wedge_verdict_words[i]);
        ck_assert_str_ne(w.title, w.word);
        ck_assert_uint_gt(strlen(w.means), 20);
        ck_assert_int_eq(*w.next != 0, wedge_verdict_is_hang((enum wedge_verdict_kind)i));
    }
    for (size_t i = 0; wedge_certainty_words[i]; i++)
        ck_assert_uint_gt(strlen(wedge_word_certainty(wedge_certainty_words[i]).means), 20);
    for (size_t i = 0; wedge_scope_words[i]; i++)
        for (size_t j = 0; wedge_certainty_words[j]; j++)
            ck_assert_uint_gt(strlen(wedge_word_scope(wedge_scope_words[i], wedge_certainty_words[j]).means), 20);
    ck_assert_ptr_null(strstr(wedge_word_scope("whole", "suspected").means, "will not"));
    ck_assert_str_eq(wedge_word_kind("unheard-of").title, "unheard-of");
    ck_assert_str_eq(wedge_word_kind("unheard-of").means, "");
}
END_TEST

/* All statuses, texts that XML cannot carry, and the file is whole before the end. */
START_TEST(test_junit_is_golden)
{
    static const struct wedge_junit_case cases[] = {
        {.name = "1.1a hang",
         .classname = "1.1a",
         .seconds = 1.2345,
         .status = WEDGE_JUNIT_PASSED,
         .message = "orphaned-wait"},
        {.name = "1.1a twin", .classname = "1.1a", .seconds = 0.5, .status = WEDGE_JUNIT_PASSED},
        {.name = "2.2 hang",
         .classname = "2.2",
         .status = WEDGE_JUNIT_FAILED,
         .message = "expected a < b & \"c\"",
         .details = "one\ntwo"},
        {.name = "2.3a hang", .classname = "2.3a", .status = WEDGE_JUNIT_ERROR, .message = "cannot be played"},
        {.name = "3.1a hang", .classname = "3.1a", .status = WEDGE_JUNIT_SKIPPED, .message = "interrupted"},
        {.name = sample_hostile_text,
         .classname = sample_hostile_text,
         .status = WEDGE_JUNIT_FAILED,
         .message = sample_hostile_text,
         .details = sample_hostile_text},
    };
    struct wedge_junit *junit;
    ck_assert_int_eq(wedge_junit_open(dir, "wedge run", &junit, NULL), 0);
    char *early = slurp(dirfd_of_test, "junit.xml");
    ck_assert_ptr_nonnull(strstr(early, "<testsuite name=\"wedge run\" tests=\"1\" failures=\"0\" errors=\"1\""));
    ck_assert_ptr_nonnull(strstr(early, "not come to its end"));
    free(early);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_int_eq(wedge_junit_add(junit, &cases[i], NULL), 0);
    ck_assert_int_eq(wedge_junit_close(junit, NULL, NULL), 0);
    ck_assert_int_eq(wedge_junit_close(NULL, NULL, NULL), 0);
    char *text = slurp(dirfd_of_test, "junit.xml"), *golden = slurp(AT_FDCWD, WEDGE_GOLDEN_DIR "/junit.xml");
    ck_assert_str_eq(text, golden);
    free(text);
    free(golden);
}
END_TEST

START_TEST(test_junit_has_each_case_at_once_and_says_what_is_missing)
{
    struct wedge_junit *junit;
    ck_assert_int_eq(wedge_junit_open(dir, "s", &junit, NULL), 0);
    for (int i = 0; i < 3; i++) {
        char name[16], wanted[32];
        snprintf(name, sizeof(name), "case%d", i);
        ck_assert_int_eq(wedge_junit_add(junit, &(struct wedge_junit_case){.name = name, .classname = "s"}, NULL), 0);
        char *text = slurp(dirfd_of_test, "junit.xml");
        snprintf(wanted, sizeof(wanted), "name=\"case%d\"", i);
        ck_assert_ptr_nonnull(strstr(text, wanted));
        ck_assert_ptr_nonnull(strstr(text, "not come to its end"));
        ck_assert_str_eq(text + strlen(text) - strlen("</testsuite>\n"), "</testsuite>\n");
        free(text);
    }
    ck_assert_int_eq(wedge_junit_close(junit, "interrupted by signal 2", NULL), 0);
    char *text = slurp(dirfd_of_test, "junit.xml");
    ck_assert_ptr_nonnull(strstr(text, "tests=\"4\" failures=\"0\" errors=\"1\""));
    ck_assert_ptr_nonnull(strstr(text, "interrupted by signal 2"));
    free(text);
}
END_TEST

START_TEST(test_junit_says_when_it_cannot)
{
    char path[160];
    struct wedge_err err = {0};
    struct wedge_junit *junit = NULL;
    ck_assert_int_eq(wedge_report_save(dirfd_of_test, "file", "x", 1, NULL), 0);
    snprintf(path, sizeof(path), "%s/file", dir);
    ck_assert_int_eq(wedge_junit_open(path, "s", &junit, &err), -ENOTDIR);
    ck_assert_ptr_null(junit);
    ck_assert_int_eq(mkdirat(dirfd_of_test, "junit.xml", 0700), 0);
    ck_assert_int_eq(wedge_junit_open(dir, "s", &junit, &err), -EISDIR);
    ck_assert_ptr_null(junit);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_save_replaces_whole_and_leaves_nothing);
    tcase_add_test(tcase, test_save_never_follows_a_link);
    tcase_add_test(tcase, test_save_says_why_not);
    tcase_add_test(tcase, test_save_outlives_the_limit_of_files);
    tcase_add_test(tcase, test_what_a_killed_writer_left_is_taken_away);
    tcase_add_test(tcase, test_open_dir_makes_parents);
    tcase_add_test(tcase, test_open_dir_and_links);
    tcase_add_loop_test(tcase, test_json_comes_back, 0, SAMPLE_COUNT);
    tcase_add_test(tcase, test_result_names_the_files_of_this_report_alone);
    tcase_add_loop_test(tcase, test_text_is_golden, 0, SAMPLE_COUNT);
    tcase_add_loop_test(tcase, test_text_keeps_its_width, 0, SAMPLE_COUNT);
    tcase_add_test(tcase, test_text_color_and_stacks);
    tcase_add_loop_test(tcase, test_text_commands_no_ci, 0, 4);
    tcase_add_test(tcase, test_text_does_not_guess_a_clock);
    tcase_add_test(tcase, test_text_counts_a_recursion);
    tcase_add_test(tcase, test_text_passes_over_the_runtime);
    tcase_add_test(tcase, test_text_says_when_it_cannot);
    tcase_add_loop_test(tcase, test_html_carries_the_report, 0, SAMPLE_COUNT);
    tcase_add_test(tcase, test_html_reads_without_a_script);
    tcase_add_test(tcase, test_html_lets_nothing_through);
    tcase_add_test(tcase, test_every_word_is_explained);
    tcase_add_test(tcase, test_junit_is_golden);
    tcase_add_test(tcase, test_junit_has_each_case_at_once_and_says_what_is_missing);
    tcase_add_test(tcase, test_junit_says_when_it_cannot);
}

int main(void)
{
    return wedge_test_main("write", 30, fill);
}
