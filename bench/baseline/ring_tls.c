/* The baseline of `latency`: packet ring, the stamp in the packet, one TLS 1.3 record to the collector. Nothing else.
 *
 * No parsing, no call model, no encoding, no spool: what remains is what any program must do to carry an event from
 * the wire to the collector. Prints {"ready":true}, and at SIGTERM or SIGUSR1 its counters.
 * Options: --namespace --interface --frames --frame-octets --core --host --port --certificate --key --authority
 *          --record-octets (of the message, 230 as the daemon's usual one) --hold-latency 0|1 (/dev/cpu_dma_latency) */
#include "link.h"
#include "ring.h"
#include "tls.h"

#include <netdb.h>

#define MAX_RECORD 4096

static volatile sig_atomic_t reporting;
static void on_report(int signal_number) {
    (void)signal_number;
    reporting = 1;
}

static int dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found;
    if (getaddrinfo(host, port, &hints, &found))
        die("%s: not an address", host);
    int connection = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 || connect(connection, found->ai_addr, found->ai_addrlen))
        die("connect: %s", strerror(errno));
    freeaddrinfo(found);
    without_delay(connection);
    return connection;
}

/* The latest stamp in a packet: a message of a call carries that of the call's first message as well. */
static int64_t latest_stamp(const char *at, size_t length) {
    int64_t latest = 0;
    const char *end = at + length;
    while ((at = memmem(at, (size_t)(end - at), STAMP_MARK, STAMP_MARK_LENGTH))) {
        int64_t stamp = find_stamp(at, (size_t)(end - at));
        latest = stamp > latest ? stamp : latest;
        at += STAMP_MARK_LENGTH;
    }
    return latest;
}

/* Takes in what the collector says (ACK, KEEPALIVE_ACK) so that its window never fills; nothing depends on it. */
static void read_acknowledgements(SSL *tls) {
    uint8_t octets[4096];
    while (SSL_has_pending(tls) || recv(SSL_get_fd(tls), octets, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
        if (SSL_read(tls, octets, sizeof octets) <= 0)
            die("the collector is gone");
}

int main(int count, char **words) {
    static uint8_t record[MAX_RECORD];
    size_t octets = (size_t)number(count, words, "--record-octets", 230);
    uint64_t sequence = 1, counted = 0, drops = 0, without = 0;
    struct ring ring;
    int holder = -1;
    int32_t nothing = 0;
    stop_on_signals();
    struct sigaction action = {.sa_handler = on_report};
    sigaction(SIGUSR1, &action, NULL);
    if (octets < STAMP_MARK_LENGTH + STAMP_DIGITS || octets > MAX_RECORD - PREFIX_OCTETS - DATA_OCTETS)
        die("record of %zu octets", octets);
    if (number(count, words, "--hold-latency", 0)) {
        holder = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
        if (holder < 0 || write(holder, &nothing, sizeof nothing) != sizeof nothing)
            die("/dev/cpu_dma_latency: %s", strerror(errno));
    }
    int home = enter_namespace(option(count, words, "--namespace", ""));
    ring_open(&ring, option(count, words, "--interface", ""), TPACKET_V2,
              (unsigned)number(count, words, "--frames", 8192), (unsigned)number(count, words, "--frame-octets", 2048), 0);
    leave_namespace(home);
    pin((int)number(count, words, "--core", -1));
    realtime((int)number(count, words, "--priority", 0));

    SSL_CTX *context = tls_context(TLS_client_method(), count, words);
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, dial(option(count, words, "--host", "127.0.0.1"), option(count, words, "--port", "0")));
    if (SSL_connect(tls) != 1)
        tls_die("TLS connect");
    size_t hello = put_greeting(record, HELLO, (struct position){1, sequence}, "baseline");
    if (SSL_write(tls, record, (int)hello) != (int)hello || SSL_read(tls, record, sizeof record) <= 0 ||
        record[4] != WELCOME)
        die("the collector did not welcome us");
    memset(record, ' ', sizeof record);
    put_prefix(record, DATA_OCTETS + octets, DATA);
    uint8_t *message = record + PREFIX_OCTETS + DATA_OCTETS;
    memcpy(message, STAMP_MARK, STAMP_MARK_LENGTH);
    puts("{\"ready\":true}");
    fflush(stdout);
    while (!stopping) {
        struct tpacket2_hdr *packet;
        ring_wait(&ring, 100);
        while ((packet = ring_next2(&ring))) {
            int64_t received = packet->tp_sec * SECOND + packet->tp_nsec;
            int64_t stamp = latest_stamp((char *)packet + packet->tp_mac, packet->tp_snaplen);
            ring_release2(&ring, packet);
            if (!stamp) {
                without++;
                continue;
            }
            uint8_t *at = put64(record + PREFIX_OCTETS, sequence++);
            at = put32(put64(at, (uint64_t)received), UINT32_MAX);
            *at = UNDISCIPLINED;
            put_digits((char *)message + STAMP_MARK_LENGTH, stamp, STAMP_DIGITS);
            int length = (int)(PREFIX_OCTETS + DATA_OCTETS + octets);
            if (SSL_write(tls, record, length) != length)
                tls_die("TLS send");
        }
        read_acknowledgements(tls);
        if (reporting || stopping) {
            ring_statistics(&ring, &counted, &drops);
            printf("{\"records\":%lu,\"without_stamp\":%lu,\"counted\":%lu,\"drops\":%lu}\n", sequence - 1, without, counted, drops);
            fflush(stdout);
            reporting = 0;
        }
    }
    close(holder);
    return 0;
}
