// The socket filter of an intercept access point: what it does not pass never reaches user space (47 CFR 1.20007(b):
// no communication that is not of an order is to be accessible). It decides on headers alone and keeps no octet.
//
// Passed whole:
//   signalling  UDP and TCP whose source or destination port is in `signalling_ports` (set and frozen by the opener);
//   media       UDP to an (address, port) of `media_flows`: all of it where a subject's order has content, else only
//               RTP whose payload type is in the flow's set (RFC 4733 events of a subject whose order has dialed
//               digits), or RTCP by its packet type; and where the order has content, UDP from such an address: media
//               to a called party leaves the caller's address, which is known since the INVITE, right behind the 200
//               that says where it goes, and whether it is the call's is decided behind that 200;
//   fragments   later fragments of a datagram whose first fragment passed in the last 30 s.
// Everything else returns 0, and each reason has a counter. Later fragments that come before their first one are
// dropped and counted: passing them would open the ring to everybody's fragments. In the tunnels that the site names
// (network.bpf.h) the same rules hold for the packet inside.
//
// Link layer: Ethernet, 802.1Q and 802.1ad (the kernel keeps the outermost tag of a received frame beside the data,
// further tags stand in it), PPPoE sessions (RFC 2516). Network layer: IPv4 with options (RFC 791), IPv6 with
// extension headers (RFC 8200). Loops are bounded; a packet that needs more is dropped and counted.
//
// Nearly every packet of a busy switch is somebody else's RTP over plain IPv4. It costs one load of 42 octets and the
// ports' two words in each of two bit sets; `media_flows` is looked at only for ports that media of a subject's call
// uses. Whatever is not of that form takes the long way.
#include "network.bpf.h"

#define PASS 0xffffffff
#define DROP 0
#define FRAGMENT_NS 30000000000ULL  // reassembly time: 30 s (ext/fragment.pxd)

#define PLAIN_OCTETS 42  // Ethernet, IPv4 without options, UDP
#define PLAIN_AT 34      // of the UDP header in them

struct media_key {
	__u8 family;  // 4 or 6
	__u8 sender;  // 1: of what comes from there, 0: of what goes there
	__be16 port;
	__u8 address[16];
};

struct media_flow {
	__u64 payload_types[2];  // bit set of RTP payload types 0..127; of RTCP the packet type without its highest bit
	__u64 whole;             // not 0: everything passes
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1024);  // 65,536 ports as bits: 8 KiB stay in the cache, a hash of them would not
} signalling_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct media_key);
	__type(value, struct media_flow);
	__uint(max_entries, 131072);  // preallocated, so that an update in mid-call cannot fail for want of memory
} media_flows SEC(".maps");

// Ports with an entry in `media_flows`: set before the entry is there, cleared after the last one is gone.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1024);
} media_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct fragment_key);
	__type(value, __u64);
	__uint(max_entries, 4096);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, COUNTERS);
} counters SEC(".maps");

static __always_inline __u32 count(__u32 which, __u32 verdict)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &which);

	if (counter)
		*counter += 1;
	return verdict;
}

static __always_inline int is_signalling(__u32 port)
{
	__u32 word = (port >> 6) & 1023;
	__u64 *bits = bpf_map_lookup_elem(&signalling_ports, &word);

	return bits && (*bits >> (port & 63)) & 1;
}

static __always_inline int is_media(__u32 port)
{
	__u32 word = (port >> 6) & 1023;
	__u64 *bits = bpf_map_lookup_elem(&media_ports, &word);

	return bits && (*bits >> (port & 63)) & 1;
}

// Lets the rest of a datagram pass whose first fragment did, and the rest of the tunnel's packet around it.
static __always_inline void remember_fragments(const struct datagram *d)
{
	__u64 now;

	if (!d->more && !d->around_more)
		return;
	now = bpf_ktime_get_ns();
	if (d->more)
		bpf_map_update_elem(&fragments, &d->fragment, &now, BPF_ANY);
	if (d->around_more)
		bpf_map_update_elem(&fragments, &d->around, &now, BPF_ANY);
}

// What its flow passes of a packet whose UDP header is at `at`.
static __always_inline __u32 judge_media(struct __sk_buff *skb, __u32 at, const struct media_flow *types, int more)
{
	__u8 head[2];
	__u32 type;

	if (types->whole)
		return PASSED_MEDIA;
	// An event packet is 16 octets and more: a fragment of media is none.
	if (more || bpf_skb_load_bytes(skb, at + 8, head, sizeof(head)) < 0 || head[0] >> 6 != 2)
		return DROPPED_PAYLOAD_TYPE;
	type = head[1] & 127;
	return (types->payload_types[type >> 6] >> (type & 63)) & 1 ? PASSED_MEDIA : DROPPED_PAYLOAD_TYPE;
}

// What either end of a packet of media says of it; `udp` is its header, at `at`, and the addresses have `octets` each.
static __always_inline __u32 judge_ends(struct __sk_buff *skb, __u32 at, int more, __u8 family, const __u8 *udp,
					const void *source, const void *destination, const int octets)
{
	struct media_key flow = {.family = family};
	struct media_flow *types;
	__u32 judged = DROPPED_OTHER_FLOW;

	if (is_media(udp[2] << 8 | udp[3])) {
		__builtin_memcpy(&flow.port, udp + 2, 2);
		__builtin_memcpy(flow.address, destination, octets);
		types = bpf_map_lookup_elem(&media_flows, &flow);
		if (types)
			judged = judge_media(skb, at, types, more);
		if (judged == PASSED_MEDIA)
			return judged;
	}
	if (is_media(udp[0] << 8 | udp[1])) {
		flow.sender = 1;
		__builtin_memcpy(&flow.port, udp, 2);
		__builtin_memcpy(flow.address, source, octets);
		types = bpf_map_lookup_elem(&media_flows, &flow);
		if (types)
			judged = judge_media(skb, at, types, more);
	}
	return judged;
}

// Every form but the plain one: the counter of what becomes of it.
static __noinline int judge_any(struct __sk_buff *skb)
{
	struct datagram d = {};
	__u8 udp[8] __attribute__((aligned(4)));
	__u32 judged;
	int failed;

	failed = read_network(skb, 0, &d);
	if (!failed && tunnels.kinds)
		failed = look_through(skb, &d);
	if (failed)
		return failed;

	if (!d.first) {
		__u64 *seen = bpf_map_lookup_elem(&fragments, &d.fragment);

		return seen && bpf_ktime_get_ns() - *seen < FRAGMENT_NS ? PASSED_FRAGMENT : DROPPED_FRAGMENT;
	}
	if (d.protocol == NEXT_TCP) {
		if (bpf_skb_load_bytes(skb, d.at, udp, 4) < 0)
			return DROPPED_MALFORMED;
		if (!is_signalling(udp[0] << 8 | udp[1]) && !is_signalling(udp[2] << 8 | udp[3]))
			return DROPPED_OTHER_CONNECTION;
		remember_fragments(&d);
		return PASSED_TCP_SIGNALLING;
	}
	if (d.protocol != NEXT_UDP)
		return DROPPED_NOT_UDP;
	if (bpf_skb_load_bytes(skb, d.at, udp, sizeof(udp)) < 0)
		return DROPPED_MALFORMED;
	if (is_signalling(udp[0] << 8 | udp[1]) || is_signalling(udp[2] << 8 | udp[3])) {
		remember_fragments(&d);
		return PASSED_SIGNALLING;
	}
	judged = judge_ends(skb, d.at, d.more, d.fragment.family, udp, d.fragment.source, d.fragment.destination, 16);
	if (judged == PASSED_MEDIA)
		remember_fragments(&d);
	return judged;
}

static __always_inline int passes(__u32 judged)
{
	return judged == PASSED_SIGNALLING || judged == PASSED_MEDIA || judged == PASSED_FRAGMENT ||
	       judged == PASSED_TCP_SIGNALLING;
}

SEC("socket")
int tap(struct __sk_buff *skb)
{
	__u8 plain[PLAIN_OCTETS + 2] __attribute__((aligned(4)));  // two more, so that the addresses are aligned
	__u8 *frame = plain + 2;
	__u32 judged;

	// Ethernet type IPv4, version 4 with 20 octets of header, whole, UDP; and no tunnel stands in UDP.
	if (tunnels.kinds || bpf_skb_load_bytes(skb, 0, frame, PLAIN_OCTETS) < 0 || frame[12] != 0x08 ||
	    frame[13] != 0x00 || frame[14] != 0x45 || (frame[20] & 0x3f) || frame[21] || frame[23] != NEXT_UDP) {
		judged = judge_any(skb);
		return count(judged, passes(judged) ? PASS : DROP);
	}
	if (is_signalling(frame[34] << 8 | frame[35]) || is_signalling(frame[36] << 8 | frame[37]))
		return count(PASSED_SIGNALLING, PASS);
	judged = judge_ends(skb, PLAIN_AT, 0, 4, frame + PLAIN_AT, frame + 26, frame + 30, 4);
	return count(judged, judged == PASSED_MEDIA ? PASS : DROP);
}

// Only helpers open to every licence are used, so the program carries the project's own.
char _license[] SEC("license") = "Apache-2.0";
