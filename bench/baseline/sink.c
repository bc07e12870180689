/* The collector of `latency`, the same for the daemon and for the baseline: takes one link over TLS 1.3, reads the
 * clock when a record has come, looks for stamps in it, and acknowledges --ack-delay-us later, as one that stores before
 * it acknowledges and is some way off. (An acknowledgement at once would spare the sender's spool its work.)
 *
 * Rows of --output, three int64 each: latest stamp in the record, arrival (CLOCK_REALTIME ns, read as SSL_read
 * returned), received (the DATA frame's own stamp of the packet). Prints {"ready":true}; SIGUSR1 writes the rows taken
 * since the last report and prints counters. A peer that goes is waited for again; positions follow core/interface/link.py.
 * Options: --host --port --certificate --key --authority --output --rows --core --priority --ack-delay-us */
#include "link.h"
#include "tls.h"

#include <poll.h>

struct row {
    int64_t stamp, arrived, received;
};

static struct row *rows;
static size_t row_count, row_limit;
static uint64_t messages, unstamped, lost, links, octets_in, overflow;
static struct position expected;
static int greeted;
static uint8_t buffer[4 * MAX_FRAME];
static size_t have;
static volatile sig_atomic_t reporting;
static const char *output;
static int64_t ack_delay, ack_due; /* CLOCK_MONOTONIC ns; 0: nothing to acknowledge */

static void on_report(int signal_number) {
    (void)signal_number;
    reporting = 1;
}

static void report(void) {
    int file = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t octets = row_count * sizeof *rows;
    if (file < 0 || write(file, rows, octets) != (ssize_t)octets)
        die("%s: %s", output, strerror(errno));
    close(file);
    printf("{\"rows\":%zu,\"messages\":%lu,\"unstamped\":%lu,\"lost\":%lu,\"links\":%lu,\"octets\":%lu,\"overflow\":%lu}\n",
           row_count, messages, unstamped, lost, links, octets_in, overflow);
    fflush(stdout);
    row_count = 0;
    messages = unstamped = lost = octets_in = overflow = 0;
    reporting = 0;
}

static void take(const uint8_t *body, size_t length, int64_t arrived) {
    const char *at = (const char *)body + DATA_OCTETS, *end = (const char *)body + length;
    int64_t latest = 0;
    messages++;
    octets_in += length - DATA_OCTETS;
    while ((at = memmem(at, (size_t)(end - at), STAMP_MARK, STAMP_MARK_LENGTH))) {
        int64_t stamp = find_stamp(at, (size_t)(end - at));
        latest = stamp > latest ? stamp : latest;
        at += STAMP_MARK_LENGTH;
    }
    if (!latest)
        unstamped++;
    else if (row_count == row_limit)
        overflow++;
    else
        rows[row_count++] = (struct row){latest, arrived, (int64_t)get64(body + 8)};
}

static void say(SSL *tls, const uint8_t *octets, size_t length) {
    if (SSL_write(tls, octets, (int)length) != (int)length)
        tls_die("answer");
}

/* All whole frames in the buffer; 0 when the peer has closed. */
static int frames(SSL *tls, int64_t arrived) {
    uint8_t answer[64];
    size_t at = 0;
    int moved = 0, open = 1;
    while (open && have - at >= PREFIX_OCTETS) {
        size_t length = get32(buffer + at);
        if (length < 1 || length + 4 > MAX_FRAME)
            die("a frame of %zu octets", length);
        if (have - at < 4 + length)
            break;
        const uint8_t *body = buffer + at + PREFIX_OCTETS;
        size_t size = length - 1;
        switch (buffer[at + 4]) {
        case HELLO: {
            if (size < 19)
                die("a short HELLO");
            struct position theirs = {get64(body + 2), get64(body + 10)};
            if (!greeted || theirs.epoch != expected.epoch || theirs.sequence > expected.sequence)
                expected = theirs; /* a link we do not know: begin where it begins */
            greeted = 1;
            say(tls, answer, put_greeting(answer, WELCOME, expected, ""));
            break;
        }
        case DATA:
            if (size < DATA_OCTETS)
                die("a short DATA");
            if (get64(body) >= expected.sequence) {
                take(body, size, arrived);
                expected.sequence = get64(body) + 1;
            }
            moved = 1;
            break;
        case LOSS:
            if (size < 25)
                die("a short LOSS");
            lost += get64(body + 16);
            expected.sequence = get64(body + 8) + 1;
            moved = 1;
            break;
        case EPOCH:
            if (size < 16)
                die("a short EPOCH");
            expected = (struct position){get64(body), get64(body + 8)};
            break;
        case KEEPALIVE:
            say(tls, answer, (size_t)(put_prefix(answer, 0, KEEPALIVE_ACK) - answer));
            break;
        case CLOSE:
            open = 0;
            break;
        default:
            die("frame type %u", buffer[at + 4]);
        }
        at += 4 + length;
    }
    memmove(buffer, buffer + at, have - at);
    have -= at;
    if (moved && !ack_due)
        ack_due = now_ns(CLOCK_MONOTONIC) + ack_delay;
    return open;
}

static void acknowledge(SSL *tls) {
    uint8_t frame[64];
    uint8_t *end = put64(put64(put_prefix(frame, 16, ACK), expected.epoch), expected.sequence);
    say(tls, frame, (size_t)(end - frame));
    ack_due = 0;
}

/* Waits for octets without SSL_read, so that a signal is served and an acknowledgement sent in time; 0 to stop. */
static int wait_readable(int descriptor, SSL *tls) {
    struct pollfd readable = {.fd = descriptor, .events = POLLIN};
    for (;;) {
        int64_t wait = SECOND / 10;
        if (reporting)
            report();
        if (stopping)
            return 0;
        if (tls && ack_due) {
            wait = ack_due - now_ns(CLOCK_MONOTONIC);
            if (wait <= 0) {
                acknowledge(tls);
                continue;
            }
        }
        struct timespec timeout = {wait / SECOND, wait % SECOND};
        if (ppoll(&readable, 1, &timeout, NULL) > 0)
            return 1;
    }
}

static void serve(SSL *tls) {
    have = 0;
    ack_due = 0;
    for (;;) {
        if (!SSL_has_pending(tls) && !wait_readable(SSL_get_fd(tls), tls))
            return;
        int length = SSL_read(tls, buffer + have, (int)(sizeof buffer - have));
        int64_t arrived = now_ns(CLOCK_REALTIME);
        if (length <= 0 && SSL_get_error(tls, length) == SSL_ERROR_WANT_READ)
            continue; /* a signal came while we read */
        if (length <= 0)
            return;
        have += (size_t)length;
        if (!frames(tls, arrived))
            return;
    }
}

int main(int count, char **words) {
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET};
    stop_on_signals();
    struct sigaction action = {.sa_handler = on_report};
    sigaction(SIGUSR1, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1UL);
    ack_delay = number(count, words, "--ack-delay-us", 0) * 1000;
    output = option(count, words, "--output", "");
    row_limit = (size_t)number(count, words, "--rows", 500000);
    rows = mmap(NULL, row_limit * sizeof *rows, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    address.sin_port = htons((uint16_t)number(count, words, "--port", 0));
    if (rows == MAP_FAILED || inet_pton(AF_INET, option(count, words, "--host", "127.0.0.1"), &address.sin_addr) != 1)
        die("options");
    SSL_CTX *context = tls_context(TLS_server_method(), count, words);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4))
        die("listen: %s", strerror(errno));
    pin((int)number(count, words, "--core", -1));
    realtime((int)number(count, words, "--priority", 0));
    puts("{\"ready\":true}");
    fflush(stdout);
    while (wait_readable(listener, NULL)) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0)
            continue;
        without_delay(connection);
        SSL *tls = SSL_new(context);
        SSL_set_fd(tls, connection);
        if (SSL_accept(tls) == 1) {
            links++;
            serve(tls);
        }
        SSL_free(tls);
        close(connection);
    }
    return 0;
}
