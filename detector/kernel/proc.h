/*
 * Readers of /proc: bounded, and indifferent to what a hostile process writes into its own name, arguments or paths.
 *
 * Every function reads at most the buffer it was given and takes any bytes: a parser that meets what it does not know
 * says -EBADMSG and sets nothing. Parsers work on text alone, so that tests can feed them.
 *
 * Blocking: cmdline and memory of another process may block on its whim (its mmap lock,
 * userfaultfd); call those in a disposable child. stat, status, syscall and wchan do not.
 * Threads: all safe. Source of the formats: proc(5), Documentation/filesystems/proc.rst.
 */
#ifndef WEDGE_DETECTOR_PROC_H
#define WEDGE_DETECTOR_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WEDGE_PROC_COMM_BYTES 64
#define WEDGE_PROC_PATH_BYTES 4096

/* Path of a file of process `pid`, or of its thread `tid` when that is not 0; both 0: of /proc itself. `file` "" gives
 * the folder. */
void wedge_proc_path(pid_t pid, pid_t tid, const char *file, char *buf, size_t size);

/* Reads /proc/PID[/task/TID]/FILE into buf, NUL-terminated, cut at size - 1. Returns the bytes or a negative errno
 * (-ENOENT and -ESRCH: it is gone; -EACCES and -EPERM: not ours to read). */
ssize_t wedge_proc_read(pid_t pid, pid_t tid, const char *file, char *buf, size_t size);
/* stat, status, syscall, wchan or schedstat, which the kernel gives in one piece (seq_file.rst), of process or thread
 * `number` below an open folder (/proc, /proc/PID/task): half the system calls of the one above. -ESRCH too when there
 * is nothing in it. */
ssize_t wedge_proc_read_at(int dir, pid_t number, const char *file, char *buf, size_t size);
/* Its parts: a descriptor of the caller's or a negative errno; reading it, as often as wanted. A descriptor stays with
 * its process or thread: when that is gone it gives nothing, whoever has the number by then. */
int wedge_proc_open_at(int dir, pid_t number, const char *file);
ssize_t wedge_proc_read_open(int fd, char *buf, size_t size);
/* The same with any file of a file system of the kernel's. */
ssize_t wedge_proc_read_file(const char *path, char *buf, size_t size);
/* The same with a buffer of its own of at most max_bytes, to be freed by the caller. */
ssize_t wedge_proc_read_all(pid_t pid, pid_t tid, const char *file, size_t max_bytes, char **ret);
/* The same of a table of lines of at most `line_bytes`, without waiting to be told that it ends. The kernel hands out whole
 * lines, as many as a page holds (seq_read_iter in fs/seq_file.c), so that a read which leaves room for another one was the
 * last. To say so itself it would go through all of the table's buckets once more: a quarter of a million of TCP's, 2 ms. */
ssize_t wedge_proc_read_table(pid_t pid, pid_t tid, const char *file, size_t line_bytes, size_t max_bytes, char **ret);
/* Reads a link of /proc/PID[/task/TID]; NUL-terminated, cut. Returns the bytes or a negative errno. */
ssize_t wedge_proc_link(pid_t pid, pid_t tid, const char *file, char *buf, size_t size);

/* The numbers in a folder of /proc (pid 0: /proc itself; else /proc/PID/task), in increasing order; freed by the
 * caller. -EOVERFLOW past `max`. */
int wedge_proc_list(pid_t pid, size_t max, pid_t **ret, size_t *ret_n);
/* The same of an open folder, as often as wanted. */
int wedge_proc_list_at(int dir, size_t max, pid_t **ret, size_t *ret_n);

struct wedge_proc_stat {
    pid_t pid, ppid, pgrp, session;
    char comm[WEDGE_PROC_COMM_BYTES]; /* any bytes but NUL */
    char state;
    uint64_t cpu_ticks, start_ticks; /* user and system together; since boot */
    uint64_t stack; /* the top of its first stack; 0: it has no memory, or nobody may know */
    long threads;
    bool kernel; /* a kernel thread */
};
int wedge_proc_stat_parse(const char *text, struct wedge_proc_stat *ret);

/* /proc/PID/timers, a block for each POSIX timer: "ID: 0", "signal: 10/…", "notify: signal/pid.4711", … (proc(5)). True: one of
 * them sends a signal; sets which, by bits as in status (what is no number: all). Whether it is armed is not shown. */
bool wedge_proc_timers_parse(const char *text, uint64_t *ret_signals);

#define WEDGE_PROC_NAMESPACES 8
/* One number in each PID namespace that sees it, from the reader's to the innermost (NSpid and its like, proc(5)). */
struct wedge_proc_ns {
    int n; /* above WEDGE_PROC_NAMESPACES: those that did not fit are left out */
    pid_t numbers[WEDGE_PROC_NAMESPACES];
};

struct wedge_proc_status {
    char comm[WEDGE_PROC_COMM_BYTES]; /* any bytes but NUL; "" not given */
    char state; /* '\0' not given */
    pid_t tracer;
    pid_t ns_tid; /* its TID in the innermost PID namespace it is in */
    struct wedge_proc_ns tids, groups; /* TIDs; its process group */
    uid_t uid;
    gid_t gid;
    bool dumping; /* its process is writing a core file (since Linux 4.15, proc(5)) */
    uint64_t switches, voluntary; /* off the processor: all, and those by itself, as when it falls asleep */
    uint64_t sig_pending, sig_shared_pending, sig_blocked, sig_ignored, sig_caught; /* bit n-1: signal n */
};
int wedge_proc_status_parse(const char *text, struct wedge_proc_status *ret);

struct wedge_proc_syscall {
    int number; /* -1 running or not in a call */
    uint64_t args[6], sp, pc;
};
int wedge_proc_syscall_parse(const char *text, struct wedge_proc_syscall *ret);

struct wedge_proc_map {
    uint64_t start, end, offset, inode;
    uint32_t dev_major, dev_minor;
    bool shared, readable, writable, executable;
    bool deleted; /* its last name is gone */
    const char *path; /* into the line, "" none; without " (deleted)" */
};
/* Parses one line of maps, in place (the newline and " (deleted)" are cut). */
int wedge_proc_map_parse(char *line, struct wedge_proc_map *ret);

/* Copies memory of a process. 0 when all of it came, -EFAULT for a part or none, or process_vm_readv's errno. */
int wedge_proc_memory(pid_t pid, uint64_t address, void *buf, size_t size);

#endif
