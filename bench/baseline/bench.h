/* What the baseline programs share: the clock, the core they stand on, the namespace they open sockets in.
 *
 * They are written to do the least that any program could do, so nothing here is clever: a failure ends the program
 * with one line on standard error, and results are one JSON object on standard output. */
#ifndef BENCH_H
#define BENCH_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define STAMP_DIGITS 19 /* CLOCK_REALTIME in nanoseconds has 19 digits until the year 2286 */
#define STAMP_MARK "lat-"
#define STAMP_MARK_LENGTH 4

static volatile sig_atomic_t stopping;

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static inline int64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void on_stop(int signal_number) {
    (void)signal_number;
    stopping = 1;
}

/* SIGTERM and SIGINT ask for the result; no SA_RESTART, so that a blocking call returns. */
static inline void stop_on_signals(void) {
    struct sigaction action = {.sa_handler = on_stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* the harness is gone: so are we */
}

static inline void pin(int core) {
    cpu_set_t set;
    if (core < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        die("pin to core %d: %s", core, strerror(errno));
}

/* SCHED_FIFO, so that other programs of the machine are not what is measured; 0 leaves the scheduling class alone. */
static inline void realtime(int priority) {
    struct sched_param parameter = {.sched_priority = priority};
    if (priority && sched_setscheduler(0, SCHED_FIFO, &parameter))
        die("SCHED_FIFO %d: %s", priority, strerror(errno));
}

/* Enters the named network namespace and returns a descriptor of the one we came from. */
static inline int enter_namespace(const char *name) {
    char path[256];
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/run/netns/%s", name);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET))
        die("namespace %s: %s", name, strerror(errno));
    close(there);
    return home;
}

static inline void leave_namespace(int home) {
    if (setns(home, CLONE_NEWNET))
        die("back to the first namespace: %s", strerror(errno));
    close(home);
}

/* Writes `value` as exactly `width` decimal digits. */
static inline void put_digits(char *at, int64_t value, int width) {
    for (char *digit = at + width; digit > at; value /= 10)
        *--digit = (char)('0' + value % 10);
}

/* The 19 digits after STAMP_MARK at or after `from`, or 0. */
static inline int64_t find_stamp(const char *from, size_t length) {
    const char *end = from + length;
    while (from < end) {
        from = memmem(from, (size_t)(end - from), STAMP_MARK, STAMP_MARK_LENGTH);
        if (!from || end - from < STAMP_MARK_LENGTH + STAMP_DIGITS)
            return 0;
        from += STAMP_MARK_LENGTH;
        int64_t value = 0;
        int digit = 0;
        for (; digit < STAMP_DIGITS && from[digit] >= '0' && from[digit] <= '9'; digit++)
            value = value * 10 + (from[digit] - '0');
        if (digit == STAMP_DIGITS)
            return value;
    }
    return 0;
}

/* --name value pairs only; the text of a value, or `otherwise`. */
static inline const char *option(int count, char **words, const char *name, const char *otherwise) {
    for (int i = 1; i + 1 < count; i += 2)
        if (!strcmp(words[i], name))
            return words[i + 1];
    return otherwise;
}

static inline long number(int count, char **words, const char *name, long otherwise) {
    const char *text = option(count, words, name, NULL);
    return text ? strtol(text, NULL, 10) : otherwise;
}
#endif
