/* The packet ring of the baselines: the same kind and size as the daemon's, with the least a reader can do.
 *
 * TPACKET_V2 hands over packet by packet (a wake-up each); TPACKET_V3 block by block (limits of both are measured by
 * `drain`). The filter is classic BPF with the meaning of the daemon's own: IPv4, UDP, port 5060 on either side. */
#ifndef RING_H
#define RING_H

#include "bench.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

struct ring {
    int socket, version;
    uint8_t *memory;
    unsigned frames, frame_octets, frame;    /* TPACKET_V2 */
    unsigned blocks, block_octets, block;    /* both; V3 walks by block */
};

static struct sock_filter sip_filter[] = {
    {BPF_LD | BPF_H | BPF_ABS, 0, 0, 12},
    {BPF_JMP | BPF_JEQ | BPF_K, 0, 10, ETH_P_IP},
    {BPF_LD | BPF_B | BPF_ABS, 0, 0, 23},
    {BPF_JMP | BPF_JEQ | BPF_K, 0, 8, IPPROTO_UDP},
    {BPF_LD | BPF_H | BPF_ABS, 0, 0, 20},
    {BPF_JMP | BPF_JSET | BPF_K, 6, 0, 0x1fff}, /* a later fragment has no ports */
    {BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14},
    {BPF_LD | BPF_H | BPF_IND, 0, 0, 14},
    {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 5060},
    {BPF_LD | BPF_H | BPF_IND, 0, 0, 16},
    {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 5060},
    {BPF_RET | BPF_K, 0, 0, 0x40000},
    {BPF_RET | BPF_K, 0, 0, 0},
};

/* Opens the ring on `interface` of the present namespace. Memory: frames * frame_octets. */
static inline void ring_open(struct ring *ring, const char *interface, int version, unsigned frames,
                             unsigned frame_octets, unsigned retire_ms) {
    static const unsigned block_octets = 1 << 16;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct sock_fprog program = {sizeof sip_filter / sizeof *sip_filter, sip_filter};
    struct tpacket_req3 request = {
        .tp_block_size = block_octets,
        .tp_block_nr = (unsigned)((uint64_t)frames * frame_octets / block_octets),
        .tp_frame_size = frame_octets,
        .tp_frame_nr = frames,
        .tp_retire_blk_tov = version == TPACKET_V3 ? retire_ms : 0,
    };
    if (block_octets % frame_octets || request.tp_block_nr * (block_octets / frame_octets) != frames)
        die("ring: %u frames of %u octets do not fill blocks of %u", frames, frame_octets, block_octets);
    *ring = (struct ring){.version = version, .frames = frames, .frame_octets = frame_octets,
                          .blocks = request.tp_block_nr, .block_octets = block_octets};
    ring->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (ring->socket < 0)
        die("packet socket: %s", strerror(errno));
    if (setsockopt(ring->socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) ||
        setsockopt(ring->socket, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
        setsockopt(ring->socket, SOL_PACKET, PACKET_RX_RING, &request,
                   version == TPACKET_V3 ? sizeof request : sizeof(struct tpacket_req)))
        die("ring: %s", strerror(errno));
    size_t octets = (size_t)ring->blocks * block_octets;
    ring->memory = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->socket, 0);
    if (ring->memory == MAP_FAILED)
        die("map the ring: %s", strerror(errno));
    address.sll_ifindex = (int)if_nametoindex(interface);
    if (!address.sll_ifindex || bind(ring->socket, (struct sockaddr *)&address, sizeof address))
        die("bind to %s: %s", interface, strerror(errno));
}

static inline void ring_wait(struct ring *ring, int timeout_ms) {
    struct pollfd readable = {.fd = ring->socket, .events = POLLIN};
    poll(&readable, 1, timeout_ms);
}

/* The next packet of a V2 ring, or NULL when it is empty; give it back with ring_release2. */
static inline struct tpacket2_hdr *ring_next2(struct ring *ring) {
    struct tpacket2_hdr *packet = (void *)(ring->memory + (size_t)ring->frame * ring->frame_octets);
    return __atomic_load_n(&packet->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER ? packet : NULL;
}

static inline void ring_release2(struct ring *ring, struct tpacket2_hdr *packet) {
    __atomic_store_n(&packet->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    if (++ring->frame == ring->frames)
        ring->frame = 0;
}

/* Drains all blocks that a V3 ring holds; returns the packets in them. */
static inline uint64_t ring_drain3(struct ring *ring) {
    uint64_t packets = 0;
    for (;;) {
        struct tpacket_block_desc *block = (void *)(ring->memory + (size_t)ring->block * ring->block_octets);
        if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            return packets;
        packets += block->hdr.bh1.num_pkts;
        __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        if (++ring->block == ring->blocks)
            ring->block = 0;
    }
}

/* Packets and drops that the kernel counted for this socket since the last call. */
static inline void ring_statistics(struct ring *ring, uint64_t *packets, uint64_t *drops) {
    struct tpacket_stats_v3 statistics = {0};
    socklen_t length = ring->version == TPACKET_V3 ? sizeof statistics : sizeof(struct tpacket_stats);
    if (getsockopt(ring->socket, SOL_PACKET, PACKET_STATISTICS, &statistics, &length))
        die("packet statistics: %s", strerror(errno));
    *packets += statistics.tp_packets;
    *drops += statistics.tp_drops;
}
#endif
