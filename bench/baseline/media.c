/* The load of `media`: other people's RTP made in the kernel at a given rate, and beside it the two-way RTP of some calls.
 *
 * The generator is bpf(2) BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES (Linux 5.18): frames enter the stack of the
 * tap's interface as if its card had delivered them, each with another destination drawn by a six-line XDP program. A
 * kernel without it gets sendmmsg(2) on the other end of the veth, and the output says which it was. The calls' packets
 * always go over the wire.
 *
 * Every call into the kernel's generator ends with a wait for a grace period of RCU (some 30 ms), so it runs in a thread
 * of its own and makes a fifth of a second's packets at once, as fast as the core goes: the rate is a mean, the bursts
 * are above it.
 *
 * Options: --namespace (the sender's) --interface --tap-namespace --tap-interface --rate N/s (0: as fast as it goes)
 *          --count N (of other people's packets) --streams N (calls; 50 packets a second each way) --seconds N --stream-core N
 *          --filter none|drop (drop: a packet ring whose filter drops everything, as the least that a tap could cost)
 *          --core N --first-port N --priority N (SCHED_FIFO)
 * Prints one JSON object; cpu_ns is what the generator's own thread took for other people's packets, the kernel's part
 * of every tap included. */
#include "ring.h"

#include <linux/bpf.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/syscall.h>

#define FRAME 214        /* octets: Ethernet, IPv4, UDP, RTP, 20 ms of G.711 */
#define BATCH 256        /* frames that the kernel makes, or one system call sends, at once */
#define CHUNKS 5         /* calls into the generator in a second */
#define TICK_NS 1000000  /* the load is dealt out by the millisecond */
#define PER_SECOND 50    /* packets of one direction of a call */
#define MAX_STREAMS 2000

static const uint8_t head[42] = {
    2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0,                                     /* to another station */
    0x45, 0, 0, FRAME - 14, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 51, 100, 1, 203, 0, 0, 0,
    0x40, 0, 0x40, 0, 0, FRAME - 34, 0, 0};

static void checksum(uint8_t *ip) {
    uint32_t sum = 0;
    ip[10] = ip[11] = 0;
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
}

/* ---- the kernel's generator ----------------------------------------------------------------------------------- */

static int load_program(void) {
    struct bpf_insn code[] = {
        {BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0},
        {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_prandom_u32},
        {BPF_LDX | BPF_MEM | BPF_W, 2, 6, 0, 0},             /* data */
        {BPF_LDX | BPF_MEM | BPF_W, 3, 6, 4, 0},             /* data_end */
        {BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0},
        {BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 42},
        {BPF_JMP | BPF_JGT | BPF_X, 4, 3, 7, 0},
        {BPF_STX | BPF_MEM | BPF_H, 2, 0, 32, 0},            /* low half of the destination address */
        {BPF_ALU64 | BPF_RSH | BPF_K, 0, 0, 0, 16},
        {BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 0x3ffe},
        {BPF_ALU64 | BPF_OR | BPF_K, 0, 0, 0, 0x4000},       /* an even port from 16384 on: never one of signalling */
        {BPF_ALU | BPF_END | BPF_TO_BE, 0, 0, 0, 16},
        {BPF_STX | BPF_MEM | BPF_H, 2, 0, 36, 0},
        {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS},
        {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
    };
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_XDP, .insns = (uintptr_t)code,
                           .insn_cnt = sizeof code / sizeof *code, .license = (uintptr_t) "Apache-2.0"};
    code[6].off = (short)(sizeof code / sizeof *code - 2 - 7);
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}

static int generate(int program, unsigned interface, uint8_t *frame, unsigned count) {
    struct xdp_md context = {.data_end = FRAME, .ingress_ifindex = interface};
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.test.prog_fd = (uint32_t)program;
    attr.test.data_in = (uintptr_t)frame;
    attr.test.data_size_in = FRAME;
    attr.test.ctx_in = (uintptr_t)&context;
    attr.test.ctx_size_in = sizeof context;
    attr.test.repeat = count;
    attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    attr.test.batch_size = 64;
    return (int)syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr);
}

/* ---- the wire -------------------------------------------------------------------------------------------------- */

static int wire_socket(const char *interface) {
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
    int one = 1, wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (wire < 0 || !address.sll_ifindex || bind(wire, (struct sockaddr *)&address, sizeof address) ||
        setsockopt(wire, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one))
        die("packet socket: %s", strerror(errno));
    return wire;
}

static void send_frames(int wire, uint8_t (*frames)[FRAME], unsigned count) {
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    for (unsigned i = 0; i < count; i++) {
        parts[i] = (struct iovec){frames[i], FRAME};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (unsigned done = 0; done < count;) {
        int taken = sendmmsg(wire, messages + done, count - done, 0);
        if (taken > 0)
            done += (unsigned)taken;
        else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
            die("send: %s", strerror(errno));
    }
}

/* Both directions of call `stream`: 192.0.2.10:port <-> 192.0.2.20:port. */
static void call_frame(uint8_t *frame, long stream, int back, uint16_t sequence, long first_port) {
    uint16_t port = htons((uint16_t)(first_port + 2 * stream));
    memcpy(frame, head, sizeof head);
    memcpy(frame + 26, (uint8_t[]){192, 0, 2, back ? 20 : 10, 192, 0, 2, back ? 10 : 20}, 8);
    memcpy(frame + 34, &port, 2);
    memcpy(frame + 36, &port, 2);
    checksum(frame + 14);
    memset(frame + 42, 0, FRAME - 42);
    frame[42] = 0x80;
    frame[44] = (uint8_t)(sequence >> 8);
    frame[45] = (uint8_t)sequence;
    frame[53] = (uint8_t)(back + 1); /* SSRC */
}

static void drop_everything(const char *interface) {
    static struct sock_filter drop[] = {{BPF_RET | BPF_K, 0, 0, 0}};
    struct sock_fprog program = {1, drop};
    struct ring ring;
    ring_open(&ring, interface, TPACKET_V2, 32768, 2048, 0);
    if (setsockopt(ring.socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
        die("filter: %s", strerror(errno));
}

static struct {
    int program, live, wire, core, priority;
    unsigned interface;
    long rate, total, sent;
    double seconds;
    int64_t cpu, took;
    uint8_t frames[BATCH][FRAME];
} others;

static void *make_others(void *nothing) {
    (void)nothing;
    int64_t start = now_ns(CLOCK_MONOTONIC);
    long chunk = others.rate ? others.rate / CHUNKS : others.total;
    pin(others.core);
    realtime(others.priority);
    for (long turn = 0; chunk && !stopping; turn++) {
        int64_t due = start + turn * (SECOND / CHUNKS);
        struct timespec time = {due / SECOND, due % SECOND};
        if (others.rate ? (double)turn >= others.seconds * CHUNKS : others.sent >= others.total)
            break;
        if (others.rate)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
        int64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
        if (others.live && generate(others.program, others.interface, others.frames[0], (unsigned)chunk))
            die("generator: %s", strerror(errno));
        for (long done = 0; !others.live && done < chunk && !stopping; done += BATCH)
            send_frames(others.wire, others.frames, BATCH);
        others.cpu += now_ns(CLOCK_THREAD_CPUTIME_ID) - before;
        others.sent += chunk;
    }
    others.took = now_ns(CLOCK_MONOTONIC) - start;
    return NULL;
}

int main(int count, char **words) {
    static uint8_t calls[BATCH][FRAME];
    static uint16_t sequences[MAX_STREAMS];
    long streams = number(count, words, "--streams", 0), first_port = number(count, words, "--first-port", 20000);
    const char *tap_interface = option(count, words, "--tap-interface", "");
    stop_on_signals();
    if (streams > MAX_STREAMS)
        die("at most %d streams", MAX_STREAMS);
    int home = enter_namespace(option(count, words, "--namespace", ""));
    int wire = wire_socket(option(count, words, "--interface", ""));
    others.wire = wire_socket(option(count, words, "--interface", ""));
    leave_namespace(home);
    enter_namespace(option(count, words, "--tap-namespace", "")); /* where frames are let in */
    others.interface = if_nametoindex(tap_interface);
    others.core = (int)number(count, words, "--core", -1);
    others.priority = (int)number(count, words, "--priority", 0);
    others.rate = number(count, words, "--rate", 0);
    others.total = number(count, words, "--count", 0);
    others.seconds = (double)number(count, words, "--seconds", 0);
    if (!strcmp(option(count, words, "--filter", "none"), "drop"))
        drop_everything(tap_interface);
    for (int i = 0; i < BATCH; i++) {
        memcpy(others.frames[i], head, sizeof head);
        others.frames[i][33] = (uint8_t)i;
        others.frames[i][42] = 0x80;
        checksum(others.frames[i] + 14);
    }
    others.program = load_program();
    others.live = others.program >= 0 && generate(others.program, others.interface, others.frames[0], 1) == 0;

    pthread_t maker;
    if (pthread_create(&maker, NULL, make_others, NULL))
        die("thread: %s", strerror(errno));
    pin((int)number(count, words, "--stream-core", -1));
    realtime(others.priority);
    prctl(PR_SET_TIMERSLACK, 1UL);
    long call_packets = 0;
    int64_t start = now_ns(CLOCK_MONOTONIC), late_max = 0;
    for (long tick = 0; streams && !stopping && (double)tick < others.seconds * 1000; tick++) {
        int64_t due = start + tick * TICK_NS, late = now_ns(CLOCK_MONOTONIC) - due;
        struct timespec time = {due / SECOND, due % SECOND};
        if (late < 0)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
        else if (late > late_max)
            late_max = late;
        /* each call sends every 20 ms; the calls are spread over the ticks */
        unsigned filled = 0;
        for (long stream = tick % (1000 / PER_SECOND); stream < streams; stream += 1000 / PER_SECOND) {
            for (int back = 0; back < 2; back++)
                call_frame(calls[filled++], stream, back, sequences[stream], first_port);
            sequences[stream]++;
            if (filled + 2 > BATCH || stream + 1000 / PER_SECOND >= streams) {
                send_frames(wire, calls, filled);
                call_packets += filled;
                filled = 0;
            }
        }
    }
    pthread_join(maker, NULL);
    printf("{\"generator\":\"%s\",\"sent\":%ld,\"streams_sent\":%ld,\"seconds\":%.4f,\"per_second\":%.1f,"
           "\"cpu_ns\":%ld,\"late_us_max\":%.1f}\n",
           others.live ? "kernel (XDP live frames)" : "sendmmsg", others.sent, call_packets,
           (double)others.took / SECOND, (double)others.sent * SECOND / (double)(others.took ? others.took : 1),
           others.cpu, (double)late_max / 1000);
    return 0;
}
