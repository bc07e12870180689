/* The baseline of `signalling`: opens the same kind of ring as the daemon and only drains it.
 *
 * Prints {"ready":true} when the ring is bound, and at SIGTERM one JSON object: packets it drained, and the packets
 * (drops included) and drops that the kernel counted, and the processor time it ever took. SIGUSR1 prints the same object and goes on, from zero. */
#include "ring.h"

static volatile sig_atomic_t reporting;
static void on_report(int signal_number) {
    (void)signal_number;
    reporting = 1;
}

int main(int count, char **words) {
    struct ring ring;
    uint64_t drained = 0, counted = 0, drops = 0, octets = 0;
    int version = (int)number(count, words, "--version", 2) == 3 ? TPACKET_V3 : TPACKET_V2;
    stop_on_signals();
    struct sigaction action = {.sa_handler = on_report};
    sigaction(SIGUSR1, &action, NULL);
    int home = enter_namespace(option(count, words, "--namespace", ""));
    ring_open(&ring, option(count, words, "--interface", ""), version, (unsigned)number(count, words, "--frames", 8192),
              (unsigned)number(count, words, "--frame-octets", 2048), (unsigned)number(count, words, "--retire-ms", 10));
    leave_namespace(home);
    pin((int)number(count, words, "--core", -1));
    realtime((int)number(count, words, "--priority", 0));
    puts("{\"ready\":true}");
    fflush(stdout);
    while (!stopping) {
        ring_wait(&ring, 50);
        if (version == TPACKET_V3) {
            drained += ring_drain3(&ring);
        } else {
            struct tpacket2_hdr *packet;
            while ((packet = ring_next2(&ring))) {
                octets += packet->tp_len;
                drained++;
                ring_release2(&ring, packet);
            }
        }
        if (reporting || stopping) {
            ring_statistics(&ring, &counted, &drops);
            printf("{\"cpu_ns\":%ld,\"drained\":%lu,\"counted\":%lu,\"drops\":%lu,\"octets\":%lu}\n", now_ns(CLOCK_PROCESS_CPUTIME_ID), drained, counted, drops, octets);
            fflush(stdout);
            drained = counted = drops = octets = 0;
            reporting = 0;
        }
    }
    return 0;
}
