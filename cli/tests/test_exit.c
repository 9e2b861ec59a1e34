/*
 * The command line from outside: each way to misuse it has the exit status and the message of the manual. The table
 * runs the real program; its path comes from the environment (WEDGE_BIN), as do the targets beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tests/suite.h"

static char dir[64];

static const char *from_env(const char *name)
{
    const char *value = getenv(name);
    ck_assert_msg(value && *value, "%s is not set: run this by ctest", name);
    return value;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void copy_program(const char *from, const char *name, mode_t mode)
{
    char path[256], buf[65536];
    size_t n;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *in = fopen(from, "re"), *out = fopen(path, "we");
    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(out);
    while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
        ck_assert_uint_eq(fwrite(buf, 1, n, out), n);
    fclose(in);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void write_plans(void)
{
    write_file("empty.plan", "plan 1\n", 0644);
    write_file("bad.plan", "plan 1\nf1 root start -> kil KILL\n", 0644);
    write_file("never.plan", "plan 1\nf1 root no.such.place nth=1 -> kill KILL\n", 0644);
    write_file("must.plan", "plan 1\nf1 root start nth=1 -> delay 1us\n", 0644);
    write_file("place.plan", "plan 1\nf1 * no.such -> kill KILL\n", 0644);
    write_file("quiet.plan", "plan 1\nf1 root mq_send nth=5 -> errno EAGAIN\n", 0644);
    write_file("far.plan", "plan 1\nf1 * mq_send -> errno EAGAIN\n", 0644);
    write_file("root.plan", "plan 1\nf1 root mq_send -> errno EAGAIN\n", 0644);
    write_file("nowhere.plan", "plan 1\nf1 * write caller=libc.so.6!nope -> drop\n", 0644);
    write_file("nobody.plan", "plan 1\ndefine q = pipe created-in=nobody\nf1 * read obj=q -> errno EIO\n", 0644);
    write_file("illegal.plan", "plan 1\nf1 * write -> drop\nf2 * t.x -> drop\nf3 * write -> short 1\n", 0644);
}

static void write_scenarios(void)
{
    write_file("bad.yaml", "format: wedge.scenario/1\nnmae: x\n", 0644);
    write_file("plan.yaml",
               "format: wedge.scenario/1\nname: x\ntitle: T\nseverity: low\nlearn: L\ncommand: /bin/true\n"
               "plan: |\n  plan 1\n  f1 root strat -> kil KILL\nexpect: {kind: lock-cycle}\n"
               "twin: {cure: c, add: [x], expect: {kind: finished}}\n",
               0644);
#define TINY                                                                                                           \
    "format: wedge.scenario/1\nname: tiny\ntitle: T\nseverity: low\nlearn: L\ncommand: [/bin/echo, 'counts:', n=3]\n"
#define TINY_TWIN            "twin: {cure: c, add: [m=4], expect: {kind: finished, counts: {n: 3, m: 4}}}\n"
#define TINY_TWIN_OF(counts) "twin: {cure: c, add: [x], expect: {kind: finished, counts: {" counts "}}}\n"
    write_file("tiny.yaml", TINY "expect: {kind: finished, counts: {n: 3}}\n" TINY_TWIN, 0644);
    write_file("ends.yaml", TINY "expect: {kind: lock-cycle}\n" TINY_TWIN, 0644);
    write_file("count.yaml", TINY "expect: {kind: finished, counts: {n: 4}}\n" TINY_TWIN, 0644);
    write_file("nofault.yaml", TINY "plan: plan 1\nexpect: {kind: finished, counts: {n: 4}}\n" TINY_TWIN, 0644);
    write_file("long.yaml",
               "format: wedge.scenario/1\nname: long\ntitle: T\nseverity: low\nlearn: L\n"
               "command: [sh, -c, 'seq 400000', x]\nexpect: {kind: finished}\n"
               "twin: {cure: c, add: [y], expect: {kind: finished}}\n",
               0644);
    write_file("fires.yaml",
               TINY "plan: |\n  plan 1\n  f1 root start -> delay 1ms\nexpect: {kind: finished}\n" TINY_TWIN, 0644);
    /* Two hangs of one kind, with different signatures, in turn. */
    write_file("turns.yaml",
               "format: wedge.scenario/1\nname: turns\ntitle: T\nseverity: low\nlearn: L\n"
               "command: [sh, -c, 'mkdir turned && exec $F closed-conditions; exec $F join-with-lock']\n"
               "expect: {kind: closed-wait, certainty: proved}\n" TINY_TWIN,
               0644);
    write_file("deaf.yaml",
               "format: wedge.scenario/1\nname: deaf\ntitle: T\nseverity: low\nlearn: L\n"
               "command: [sh, -c, 'trap : TERM INT; touch deaf; while :; do sleep 0.1; done']\n"
               "expect: {kind: lock-cycle}\n" TINY_TWIN,
               0644);
    write_file("excused.yaml",
               TINY
               "plan: |\n  plan 1\n  f1 root no.such nth=1 -> kill KILL\nexpect: {kind: finished, counts: {n: 3}}\n"
               "twin: {cure: c, add: [m=4], unfired-ok: [f1], expect: {kind: finished, counts: {n: 3, m: 4}}}\n",
               0644);
    write_file("never.yaml",
               TINY "plan: |\n  plan 1\n  f1 root no.such.place nth=1 -> kill KILL\n"
                    "expect: {kind: finished}\n" TINY_TWIN,
               0644);
    write_file("absent.yaml",
               "format: wedge.scenario/1\nname: absent\ntitle: T\nseverity: low\nlearn: L\n"
               "command: [/bin/sh, -c, './static; echo counts: n=3']\n"
               "plan: |\n  plan 1\n  f1 root start nth=1 -> delay 1us\n"
               "expect: {kind: finished, counts: {n: 3}}\n" TINY_TWIN_OF("n: 3"),
               0644);
    /* A child, and a grandchild that nobody in between is left of. */
    write_file("orphan.yaml",
               "format: wedge.scenario/1\nname: orphan\ntitle: T\nseverity: low\nlearn: L\n"
               "command: [/bin/sh, -c, '(sleep 600 & echo $! >>orphans); echo $$ >>orphans; touch born; sleep 600']\n"
               "expect: {kind: lock-cycle}\n" TINY_TWIN,
               0644);
    write_file("leaves.yaml",
               "format: wedge.scenario/1\nname: leaves\ntitle: T\nseverity: low\nlearn: L\n"
               "command: [/bin/sh, -c, 'sleep 600 & echo $! >>pids; echo counts: n=3']\n"
               "expect: {kind: finished, counts: {n: 3}}\n" TINY_TWIN_OF("n: 3"),
               0644);
    write_file("text", "no program\n", 0644);
    copy_program(from_env("WEDGE_TEST_STATIC"), "static", 0755);
    copy_program("/bin/true", "setuid", 04755);
    copy_program("/bin/sleep", "setuid-sleep", 04755);
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/wedge-test-exit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0777), 0);
    write_plans();
    write_file("crowd.sh",
               "rm -f up; mkfifo up; exec 3<>up\nfor i in $(seq 280); do sh -c 'echo up; exec sleep 600' >&3 & p=\"$p "
               "$!\"; done\nhead -n 280 <&3 >/dev/null; kill $p\n",
               0644);
    write_file("raw.py",
               "import ctypes, os\nlibc = ctypes.CDLL(None)\nif os.fork() == 0:\n"
               "  libc.syscall(59, b'/bin/sleep', (ctypes.c_char_p * 3)(b'sleep', b'1'), (ctypes.c_char_p * 1)())\n"
               "os.wait()\n",
               0644);
    /* An orphan that has ended is gone, as it would be without wedge: not a zombie that can still be signalled. */
    write_file("orphan.sh",
               "(sleep 0.05 & echo $! >orphan)\nn=0\nwhile kill -0 $(cat orphan) 2>/dev/null; do\n"
               "  sleep 0.05; n=$((n+1)); [ $n -lt 100 ] || { echo zombie; exit; }\ndone\necho gone\n",
               0644);
    write_scenarios();
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Runs `wedge ARGUMENTS` by the shell in `dir`, with $W the program; returns its exit status and what it printed. */
static int run(const char *command, char *output, size_t size)
{
    char full[2048];
    snprintf(full, sizeof(full), "cd '%s' && W='%s' && unset CI && { %s; } 2>&1", dir, from_env("WEDGE_BIN"), command);
    FILE *pipe = popen(full, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t n = fread(output, 1, size - 1, pipe);
    output[n] = 0;
    while (fgetc(pipe) != EOF)
        ;
    int wstatus = pclose(pipe);
    ck_assert(WIFEXITED(wstatus));
    return WEXITSTATUS(wstatus);
}

static const struct {
    const char *command;
    int status;
    const char *says;
} cases[] = {
    /* usage */
    {"$W", 2, "Usage: wedge"},
    {"$W --help", 0, "Examples:"},
    {"$W --version", 0, "wedge "},
    {"$W wach -- true", 2, "unknown verb 'wach'; did you mean 'watch'?"},
    {"$W zzzzzz", 2, "`wedge --help` shows the verbs"},
    {"$W run --help", 0, "Example:"},
    {"$W watch --help", 0, "Example:"},
    {"$W dump --help", 0, "Examples:"},
    {"$W inject --help", 0, "Example:"},
    {"$W list --help", 0, "Example:"},
    {"$W list", 0, "hang-report/1.1a"},
    {"$W run --bogus", 2, "bogus"},
    {"$W run --repeat 0 1.1a", 2, "--repeat takes a number"},
    {"$W watch", 125, "watch what?"},
    {"$W watch -o text/x -- touch begun || [ $? -ne 125 ] || [ -e begun ] || echo not begun", 0, "not begun"},
    {"$W inject -o text -f empty.plan -- touch begun || [ $? -ne 125 ] || [ -e begun ] || echo not begun", 0,
     "not begun"},
    /* A command has the signals blocked and ignored that whoever called wedge has. */
    {"export W m='grep Sig[BI] /proc/self/status'; env --block-signal=USR1 --ignore-signal=HUP sh -c 'b=$($m); "
     "[ \"$b\" = \"$($W watch -q -o out -- $m)\" ] && [ \"$b\" = \"$($W inject -q -o out -f empty.plan -- $m)\" ] && "
     "echo \"as before: $b\"'",
     0, "as before: SigBlk:"},
    {"$W watch -o /proc/nope -- true", 125, "cannot open the folder /proc/nope for reports"},
    {"$W dump -o /proc/nope 99999999", 3, "cannot open the folder /proc/nope for reports"}, /* before it looks */
    {"mkdir flat; touch flat/wedge-out; cd flat; sleep 60 & $W dump -s $! >said 2>&1; s=$?; kill $!; "
     "head -n1 said | grep -q 'cannot open the folder wedge-out' && grep -q \"(pid $!) runs\\.\" said && "
     "! grep -q 'report.html' said && echo only printed; exit $s",
     0, "only printed\n"},
    {"$W watch --stall never -- true", 125, "--stall takes a duration"},
    {"$W watch --limit 0 -- true", 125, "--limit takes a duration"},
    {"$W watch --on-hang dance -- true", 125, "report, kill, core"},
    {"$W watch -p 1 -- true", 125, "watch what?"},
    {"$W watch -f empty.plan --no-agent -- true", 125, "a plan needs the agent"},
    {"$W inject -- true", 125, "-f FILE"},
    {"$W inject -f empty.plan", 125, "run what?"},
    {"$W dump", 2, "which process?"},
    {"$W dump --core core 1", 2, "not both"},
    {"$W dump --exe /bin/true 1", 2, "--exe goes with --core"},
    {"$W dump --no-stop --core core", 2, "nothing to stop"},
    {"$W dump --core /nonexistent", 2, "No such file"},
    {"$W dump --core /bin/true", 2, "no core file"},
    {"$W dump --tree=all 1", 2, "--tree takes children, group or session, not 'all'"},
    {"$W dump --all-of-user=no_such_user", 2, "no user 'no_such_user'"},
    {"$W dump --all-of-user 0 5", 2, "and no PID"},
    {"$W dump 12x", 2, "'12x' is not a process number"},
    {"$W dump -- -5", 2, "not a process number"},
    {"$W dump --color sometimes 1", 2, "always, never or auto"},
    /* scenarios and plans */
    {"$W run 1.1z", 2, "unknown scenario '1.1z'; did you mean '1.1a'?"},
    {"$W run bad.yaml", 2, "bad.yaml:2:1: unknown key 'nmae'; did you mean 'name'?"},
    {"$W run plan.yaml", 2, "plan.yaml:9:"},
    {"$W run -q -o out tiny.yaml && $W run -q -o out 1.1z; cat out/result.json", 0, "\"exit\": 2"},
    {"$W run -q -o out tiny.yaml && $W run -q -o out bad.yaml; cat out/result.json", 0, "\"complete\": false"},
    {"$W run -q -o out tiny.yaml; cat out/result.json", 0, "\"complete\": true"},
    {"mkdir -p late/tiny && touch late/tiny/twin && $W run -q -o late tiny.yaml; cat late/result.json", 0,
     "\"exit\": 3"},
    {"$W list | grep -A 1 '+ sem_timedwait'", 0,
     "  + sem_timedwait sem_clockwait\n      legal: errno EINTR ETIMEDOUT\n"},
    {"$W list | grep -A 1 '^  pthread_cond_signal'", 0, "\n      illegal: drop\n"},
    {"$W list --json | grep '\"prototype\": \"int sem_post('", 0, "(sem_t *sem)\""},
    {"$W inject -v -f illegal.plan -- true", 0, "rule f1 is illegal: no man page lets write do this"},
    {"$W inject -v -f illegal.plan -- true", 0, "rule f2 is illegal: it says done where nothing is done"},
    {"$W inject -v -f illegal.plan -- true 2>&1 | grep -c illegal", 0, "2\n"},
    {"$W inject -f illegal.plan -- true 2>&1 | grep -c illegal", 1, "0\n"},
    {"$W list | tail -n 20", 0, "Actions: kill exit stop"},
    {"$W list >/dev/full", 3, "cannot write to standard output"},
    {"$W run tiny.yaml >/dev/full", 3, "cannot write to standard output"},
    {"$W run --json tiny.yaml >/dev/full", 3, "cannot write to standard output"},
    {"$W dump --core tiny.yaml", 2, "tiny.yaml: this is no core file"},
    {"$W dump --core nowhere", 2, "nowhere: cannot open the core file: No such file"},
    {"$W watch --json -- true >/dev/full", 125, "cannot write to standard output"},
    {"WEDGE_SCENARIOS=/nowhere $W run", 3, "no scenario below /nowhere"},
    {"$W inject -f bad.plan -- true", 125, "bad.plan:2:"},
    {"$W inject -f bad.plan -- true", 125, "`kil` is not an action; nearest: kill"},
    {"$W watch -f bad.plan -- true", 125, "bad.plan:2:"},
    /* what stands behind a NUL would be left out otherwise */
    {"printf 'plan 1\\nf1 * write -> errno EIO\\0\\nf2 nonsense\\n' >nul.plan; $W inject -f nul.plan -- true", 125,
     "nul.plan:2:24: byte 0x00 has no place in a plan"},
    {"$W inject -f missing.plan -- true", 125, "missing.plan: cannot be read"},
    {"$W inject -f /dev/zero -- true", 125, "not a regular file"},
    {"$W inject -f never.plan -- true", 125, "never fired: f1"},
    {"$W inject --disarm=f9 -f never.plan -- true", 125, "no rule has the id `f9`; did you mean `f1`?"},
    {"$W inject -f nowhere.plan -- true", 125, "no loaded module libc.so.6 has a function nope (caller= of f1)"},
    {"$W inject -f nobody.plan -- true", 125, "no loaded module has a function nobody (created-in= of q)"},
    {"$W watch -f nowhere.plan -- true", 0, "not all of the plan could happen: no loaded module libc.so.6"},
    /* more processes at once than the arena has room for: a plan that did not reach them proves nothing */
    {"$W inject -f far.plan -- sh crowd.sh", 125,
     "the run is invalid: no rule acted on what found no room in the arena"},
    {"$W inject -f empty.plan -- sh crowd.sh", 0, "wedge: no rule acted on what found no room in the arena"},
    {"$W inject -f root.plan -- sh crowd.sh", 0, "wedge: no rule acted on what found no room in the arena"},
    {"$W census -- sh crowd.sh", 0, "wedge: the census is not complete: nothing is counted of "},
    /* what a plan names and nobody has */
    {"$W inject -f place.plan -- true", 0,
     "wedge: the plan names what was nowhere: no loaded module has the place no.such"},
    {"$W inject -f never.plan -- true", 125, "the run is invalid: no loaded module has the place no.such.place (f1)"},
    {"$W watch -o out -f quiet.plan -- true", 0, "the run proves nothing of the plan: never fired: f1"},
    {"$W watch -o out -f quiet.plan -- true; cat out/result.json", 0, "\"invalid\": true"},
    {"$W watch -f place.plan -- true", 0, "the plan names what was nowhere: no loaded module has the place no.such"},
    {"$W inject --json -f place.plan -- true | grep -A3 '\"injection\"'", 0, "\"invalid\": false"},
    {"$W inject --json -f never.plan -- true | grep -A3 '\"injection\"'", 0, "\"invalid\": true"},
    {"$W inject --json -f empty.plan -- sh -c './static; exit 5' | grep -A9 '\"absent\"'", 0,
     "\"is statically linked\""},
    {"$W inject --json -f must.plan -- sh -c './static; exit 5' | grep -A3 '\"injection\"'", 0, "\"invalid\": true"},
    {"$W watch --no-agent --json -- true | grep '\"injection\"'", 0, "\"injection\": null"},
    {"$W inject --json -f place.plan -- true | grep '\"noted\"'", 0, "no loaded module has the place no.such (f1)"},
    {"$W inject --json -f never.plan -- true | grep -A1 '\"unfired\"'", 0, "\"f1\""},
    {"$W inject -o out -f never.plan -- true 2>/dev/null; cat out/result.json", 0, "\"invalid\": true"},
    {"$W run -q -o out never.yaml", 1, "never fired: f1; no loaded module has the place no.such.place (f1)"},
    {"$W run -q -o out excused.yaml; cat out/tiny/twin/report.json", 0, "no loaded module has the place no.such (f1)"},
    {"$W inject -q -f empty.plan -- sh orphan.sh", 0, "gone"},
    {"$W watch -q -- sh orphan.sh", 0, "gone"},
    {"$W run tiny.yaml", 0, "2 of 2 checks as expected"},
    /* what is refused was no run */
    {"$W run -q -o past tiny.yaml; $W run -o past no-such; $W run -o past nofault.yaml broken.yaml; $W run -o past "
     "--ablate=robust 2.2; "
     "$W history -o past",
     0, "\n1 run\n"},
    {"$W run -o fresh no-such; $W history -o fresh", 2, "no run has left its results in fresh"},
    {"$W run -q -o out long.yaml; cd out/long/twin; for i in $(seq 500); do test $(tail -n1 output.txt) = 400000 && "
     "break; sleep 0.01; done; "
     "head -n1 output.txt; tail -n1 output.txt; test $(stat -c %s output.txt) -lt 2200000 && grep -c 'bytes are left "
     "out here' output.txt",
     0, "\n400000\n1\n"},
    {"$W run -j2 tiny.yaml leaves.yaml", 0, "4 of 4 checks as expected"},
    {"$W run -j3 --repeat 5 -o out tiny.yaml && grep -c '\"round\": 5' out/result.json", 0, "2\n"},
    {"$W run tiny.yaml tiny.yaml", 0, "2 of 2 checks as expected"},
    {"$W run tiny.yaml count.yaml", 2, "count.yaml: has the name of tiny.yaml, 'tiny'"},
    {"$W run nofault.yaml", 1, "expected n=4, got 3"},
    {"$W run --filter='ti*' tiny.yaml deaf.yaml", 0, "2 of 2 checks as expected"},
    {"$W run --filter='ti' tiny.yaml", 2, "no scenario's name fits 'ti'; `wedge list` shows them"},
    {"$W run --filter='corpus/once-a*'", 0, "2 of 2 checks as expected"},
    {"${W%wedge}wedge-corpus --list", 0, "once-again\n"},
    {"${W%wedge}wedge-corpus once-more", 2, "there is no case 'once-more'"},
    {"${W%wedge}wedge-corpus once-again --cure", 2, "usage: wedge-corpus CASE [--cured]"},
    {"$W watch -o out -- $WEDGE_FACTORY leader-gone", 124, "has ended\n"},
    {"$W run --jobs 0 tiny.yaml", 2, "--jobs takes a number from 1 to 64, not '0'"},
    {"$W run --fail-fast -o out count.yaml; grep '\"complete\"' out/result.json", 0,
     "0 of 1 checks as expected, and others were not played"},
    {"$W run --fail-fast -o out count.yaml; grep '\"complete\"' out/result.json", 0, "\"complete\": false"},
    {"$W run -o out count.yaml", 1, "1 of 2 checks as expected\n"},
    {"$W run --timeout=300ms --hang-only -o out deaf.yaml", 1, "no-progress"},
    {"mkdir -p kept/tiny && touch kept/tiny/twin && $W run --keep-going -o kept tiny.yaml", 1,
     "1 of 2 checks as expected\n"},
    {"mkdir -p kept/tiny && touch kept/tiny/twin; $W run --keep-going -o kept tiny.yaml", 1, "invalid tiny twin"},
    {"$W run tiny.yaml --json 2>/dev/null", 0, "wedge.run/1"},
    {"$W run -q -o out tiny.yaml && cat out/result.json out/tiny/twin/report.json", 0, "\"passed\": 2"},
    {"$W run -q -o out tiny.yaml; cat out/tiny/twin/output.txt", 0, "counts: n=3 m=4"},
    {"$W run -q -o out ends.yaml", 1, "expected lock-cycle, but it ended with status 0"},
    {"$W run -q -o out ends.yaml; grep -c '<failure' out/junit.xml", 0, "1"},
    {"$W run -q -o out count.yaml", 1, "expected n=4, got 3"},
    {"$W run -q -o out fires.yaml && cat out/tiny/twin/report.json", 0, "\"what\": \"fault\""},
    {"F=$WEDGE_FACTORY; export F; $W run -q --hang-only --repeat 2 -o out turns.yaml", 1, "in the first round"},
    {"F=$WEDGE_FACTORY; export F; mkdir turned; $W run -q --hang-only --repeat 2 -o out turns.yaml", 0, ""},
    {"$W run -q -o out deaf.yaml & until test -e deaf; do sleep 0.01; done; kill -TERM $!; wait $!", 143, ""},
    {"$W run -q -o out never.yaml", 1, "the run is invalid: never fired: f1"},
    /* what a check leaves behind when its command has ended */
    {"$W run -q -o out leaves.yaml && for pid in $(cat pids); do kill -0 $pid && echo alive; done", 1,
     "No such process"},
    {"$W run -q -o out orphan.yaml & until test -e born; do sleep 0.01; done; kill -KILL $!; wait $!; "
     "for pid in $(cat orphans); do for i in $(seq 1000); do kill -0 $pid 2>/dev/null || break; sleep 0.01; done; "
     "kill -0 $pid && echo alive; done",
     1, "No such process"},
    {"$W run -q -o text tiny.yaml", 3, "text"},
    /* what cannot be looked at */
    {"unshare -Urpf true || { echo PID namespace; exit 3; }; unshare -Urpf sh -c \"$W dump 1; exit \\$?\"", 3,
     "PID namespace"},
    {"unshare -Urpf true || exit 0; unshare -Urpf --mount-proc sh -c \"sleep 60 & $W dump -s -o out \\$!; S=\\$?; kill "
     "\\$!; exit \\$S\"",
     0, ""},
    {"$W dump --all-of-user 4294967293", 3, "user 4294967293 has no process"},
    {"$W watch -q -- sh -c 'echo mark=$WEDGE_RUN'", 0, "mark="},
    {"$W dump 2147483646", 3, "no process 2147483646"},
    {"$W watch -p 2147483646", 125, "no process 2147483646"},
    {"setpriv --reuid=65534 --regid=65534 --clear-groups $W dump 1", 3, "root"},
    /* a command that may not be looked at is none of wedge's to end */
    {"setpriv --reuid=65534 --regid=65534 --clear-groups $W watch -- ./setuid-sleep 1 && echo went on", 0, "went on"},
    {"setpriv --reuid=65534 --regid=65534 --clear-groups $W watch -- ./setuid-sleep 1", 0, "could not be examined"},
    {"setpriv --reuid=65534 --regid=65534 --clear-groups $W watch --limit 500ms -- ./setuid-sleep 600", 124,
     "was not examined"},
    {"sleep 60 & A=$!; sleep 60 & B=$!; $W dump -q -o out $A $B; S=$?; kill $A $B; ls out/$A out/$B; exit $S", 0,
     "report.html"},
    /* what the agent cannot enter */
    {"$W inject -f empty.plan -- ./static", 125, "static"},
    {"$W inject -f empty.plan -- ./setuid", 125, "setuid"},
    {"$W watch --no-agent -- ./static", 0, ""},
    {"$W watch -- ./static", 0, "static"},
    /* what it cannot enter further down the tree: named, and with a rule that must fire no valid run */
    {"$W inject -f empty.plan -- sh -c './static; exit 5'", 5, "no rule reached ./static ("},
    {"$W inject -f empty.plan -- sh -c './static; exit 5'", 5, "), which is statically linked\n"},
    {"$W inject -f empty.plan -- env -i ./static", 0, "no rule reached ./static ("},
    {"$W inject -f must.plan -- sh -c './static; true'", 125, "the run is invalid: no rule reached ./static ("},
    {"$W inject -f must.plan -- sh -c 'env -i sleep 0; true' 2>&1 | grep -c wedge", 1, "0"},
    {"$W inject -f empty.plan -- python3 raw.py", 0, "/sleep ("},
    {"$W inject -f empty.plan -- python3 raw.py", 0, "was started past libc"},
    {"setpriv --reuid=65534 --regid=65534 --clear-groups $W inject -f empty.plan -- sh -c './setuid; true'", 0,
     "which runs with set-user-ID"},
    {"$W inject -f must.plan -- sh -c 'setpriv --reuid=65534 --regid=65534 --clear-groups true; true'", 125,
     "which runs where wedge's /proc/PID/fd cannot be opened"},
    {"$W inject -f must.plan -- unshare -pf sh -c 'sh -c :; unshare -pf sh -c :; sleep 0.3' 2>&1 | "
     "grep wedge; test $? = 1",
     0, ""},
    {"$W watch -- sh -c './static; true'", 0, "without the agent"},
    {"$W run -q -o out absent.yaml", 1, "the run is invalid: no rule reached ./static ("},
    /* what cannot be executed */
    {"$W watch -- ./missing", 127, "No such file"},
    {"$W watch -- \"$(printf './mis\\033[31m')\"", 127, "cannot execute ./mis\\x1b[31m: No such file"},
    {"$W watch -q -- ./missing; cat wedge-out/result.json", 0, "could not be executed: No such file"},
    {"$W watch -- ./text", 126, "Permission denied"},
    {"$W watch --no-agent -- ./missing", 127, "No such file"},
    /* the command's own status */
    {"$W watch -- true", 0, ""},
    {"$W watch -- sh -c 'exit 7'", 7, ""},
    {"$W watch -- sh -c 'kill -TERM $$'", 143, ""},
    {"$W watch -q -- sh -c 'echo out; echo err >&2; exit 3'", 3, "out"},
    {"$W inject -f empty.plan -- sh -c 'exit 9'", 9, ""},
    {"$W watch --json -- echo hello 2>/dev/null", 0, "wedge.report/2"},
    {"test \"$($W watch -- cat /dev/null; echo end)\" = end", 0, ""},
    /* the command's streams */
    {"$W watch -q -- sh -c 'for i in 1 2 3 4 5; do echo a; echo b >&2; done' >both 2>&1; tr -d '\\n' <both", 0,
     "ababababab"},
    {"$W watch -q -- echo hello >/dev/full", 125, "output could not be written: No space left"},
    {"$W watch -q -- sh -c 'echo hello; exit 5' >/dev/full", 5, "output could not be written: No space left"},
    {"$W watch -q -- sh -c 'echo hello; echo status $? >&2' >&-", 0, "status 1"},
    {"$W watch -q -- cat <&- 2>&1 | grep -c 'Bad file'", 0, ""},
    {"$W watch --json -- true >&-", 125, "cannot write to standard output"},
    {"echo through | $W watch -- cat", 0, "through"},
};

START_TEST(test_case)
{
    char output[65536];
    if ((strstr(cases[_i].command, "setpriv") || strstr(cases[_i].command, "unshare")) && geteuid() != 0)
        return; /* only root can become somebody else */
    int status = run(cases[_i].command, output, sizeof(output));
    ck_assert_msg(status == cases[_i].status, "%s\nexit status %d, expected %d; it said:\n%s", cases[_i].command,
                  status, cases[_i].status, output);
    ck_assert_msg(strstr(output, cases[_i].says) != NULL, "%s\nexpected \"%s\"; it said:\n%s", cases[_i].command,
                  cases[_i].says, output);
}
END_TEST

static void fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_case, 0, sizeof(cases) / sizeof(cases[0]));
}

int main(void)
{
    return wedge_test_main("exit", 30, fill);
}
