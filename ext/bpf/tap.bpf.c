// The socket filter of an intercept access point: what it does not pass never reaches user space (47 CFR 1.20007(b):
// no communication that is not of an order is to be accessible). It decides on headers alone and keeps no octet.
//
// Passed whole:
//   signalling  UDP whose source or destination port is in `signalling_ports` (set and frozen by the opener);
//   media       UDP to an (address, port) of `media_flows` whose RTP payload type is in the flow's set (RFC 4733
//               events of a subject whose order has dialed digits; the set is the order's, so voice is never passed);
//   fragments   later fragments of a datagram whose first fragment passed as signalling in the last 30 s.
// Everything else returns 0, and each reason has a counter. Later fragments that come before their first one are
// dropped and counted: passing them would open the ring to everybody's fragments.
//
// Link layer: Ethernet, 802.1Q and 802.1ad (the kernel keeps the outermost tag of a received frame beside the data,
// further tags stand in it), PPPoE sessions (RFC 2516). Network layer: IPv4 with options (RFC 791), IPv6 with
// extension headers (RFC 8200). Loops are bounded; a packet that needs more is dropped and counted.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PASS 0xffffffff
#define DROP 0

#define MAX_TAGS 4               // QinQ needs two; the walker (ext/ethernet.pxd) has the same bound
#define MAX_EXTENSION_HEADERS 8  // RFC 8200 4.1 names six, destination options twice
#define FRAGMENT_NS 30000000000ULL  // reassembly time: 30 s (ext/fragment.pxd)

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_PPPOE 0x8864
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_QINQ_OLD 0x9100
#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057

#define NEXT_HOP_BY_HOP 0
#define NEXT_UDP 17
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_AUTHENTICATION 51
#define NEXT_DESTINATION 60

// In the order of FILTER_COUNTERS in mediation/access/socket_filter.py.
enum counter {
	PASSED_SIGNALLING,
	PASSED_MEDIA,
	PASSED_FRAGMENT,
	DROPPED_NOT_IP,
	DROPPED_NOT_UDP,
	DROPPED_MALFORMED,
	DROPPED_EXTENSION_HEADERS,
	DROPPED_OTHER_FLOW,
	DROPPED_PAYLOAD_TYPE,
	DROPPED_FRAGMENT,
	COUNTERS,
};

struct media_key {
	__u8 family;  // 4 or 6
	__u8 zero;
	__be16 port;
	__u8 address[16];
};

struct media_flow {
	__u64 payload_types[2];  // bit set of RTP payload types 0..127
};

struct fragment_key {
	__u8 source[16];
	__u8 destination[16];
	__u32 identification;
	__u32 family;
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
	__uint(max_entries, 65536);  // preallocated, so that an update in mid-call cannot fail for want of memory
} media_flows SEC(".maps");

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

// What the IP header said, filled from either version.
struct datagram {
	struct fragment_key fragment;  // addresses; IPv4 in the first four octets
	__u32 at;                      // offset of the UDP header
	__u8 first;                    // fragment offset 0
	__u8 more;                     // more fragments follow
	__u8 protocol;
};

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

// 0 and `d` filled, or the counter of the reason.
static __always_inline int read_ipv4(struct __sk_buff *skb, __u32 at, struct datagram *d)
{
	__u8 header[20];
	__u32 length;
	__u16 offset;

	if (bpf_skb_load_bytes(skb, at, header, sizeof(header)) < 0)
		return DROPPED_MALFORMED;
	length = (header[0] & 15) * 4;
	if (header[0] >> 4 != 4 || length < sizeof(header))
		return DROPPED_MALFORMED;
	offset = (header[6] << 8 | header[7]) & 0x1fff;
	d->first = offset == 0;
	d->more = (header[6] & 0x20) != 0;
	d->protocol = header[9];
	d->at = at + length;
	d->fragment.family = 4;
	d->fragment.identification = header[4] << 8 | header[5];
	__builtin_memcpy(d->fragment.source, header + 12, 4);
	__builtin_memcpy(d->fragment.destination, header + 16, 4);
	return 0;
}

static __always_inline int read_ipv6(struct __sk_buff *skb, __u32 at, struct datagram *d)
{
	__u8 header[40];
	__u8 extension[8];
	__u8 next;

	if (bpf_skb_load_bytes(skb, at, header, sizeof(header)) < 0 || header[0] >> 4 != 6)
		return DROPPED_MALFORMED;
	__builtin_memcpy(d->fragment.source, header + 8, 16);
	__builtin_memcpy(d->fragment.destination, header + 24, 16);
	d->fragment.family = 6;
	d->first = 1;
	next = header[6];
	at += sizeof(header);
	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		if (next != NEXT_HOP_BY_HOP && next != NEXT_ROUTING && next != NEXT_DESTINATION &&
		    next != NEXT_FRAGMENT && next != NEXT_AUTHENTICATION)
			break;
		if (bpf_skb_load_bytes(skb, at, extension, sizeof(extension)) < 0)
			return DROPPED_MALFORMED;
		if (next == NEXT_FRAGMENT) {
			d->first = extension[2] == 0 && extension[3] < 8;
			d->more = extension[3] & 1;
			d->fragment.identification =
				(__u32)extension[4] << 24 | extension[5] << 16 | extension[6] << 8 | extension[7];
			at += 8;
			next = extension[0];
			if (!d->first)
				break;  // what follows is the middle of the datagram
		} else {
			at += next == NEXT_AUTHENTICATION ? (extension[1] + 2) * 4 : (extension[1] + 1) * 8;
			next = extension[0];
		}
	}
	if (next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_DESTINATION)
		return d->first ? DROPPED_EXTENSION_HEADERS : 0;
	d->protocol = next;
	d->at = at;
	return 0;
}

SEC("socket")
int tap(struct __sk_buff *skb)
{
	struct datagram d = {};
	struct media_key flow = {};
	struct media_flow *types;
	__u8 udp[10];  // and the two first octets of an RTP header
	__be16 word;
	__u32 at = 12;
	__u32 type;
	int failed;

	if (bpf_skb_load_bytes(skb, at, &word, 2) < 0)
		return count(DROPPED_MALFORMED, DROP);
	type = bpf_ntohs(word);
	at = 14;
	for (int i = 0; i < MAX_TAGS; i++) {
		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ && type != ETHERTYPE_QINQ_OLD)
			break;
		if (bpf_skb_load_bytes(skb, at + 2, &word, 2) < 0)
			return count(DROPPED_MALFORMED, DROP);
		type = bpf_ntohs(word);
		at += 4;
	}
	if (type == ETHERTYPE_PPPOE) {
		if (bpf_skb_load_bytes(skb, at + 6, &word, 2) < 0)
			return count(DROPPED_MALFORMED, DROP);
		type = bpf_ntohs(word) == PPP_IPV4 ? ETHERTYPE_IPV4 : bpf_ntohs(word) == PPP_IPV6 ? ETHERTYPE_IPV6 : 0;
		at += 8;
	}
	if (type == ETHERTYPE_IPV4)
		failed = read_ipv4(skb, at, &d);
	else if (type == ETHERTYPE_IPV6)
		failed = read_ipv6(skb, at, &d);
	else
		return count(DROPPED_NOT_IP, DROP);
	if (failed)
		return count(failed, DROP);

	if (!d.first) {
		__u64 *seen = bpf_map_lookup_elem(&fragments, &d.fragment);

		if (seen && bpf_ktime_get_ns() - *seen < FRAGMENT_NS)
			return count(PASSED_FRAGMENT, PASS);
		return count(DROPPED_FRAGMENT, DROP);
	}
	if (d.protocol != NEXT_UDP)
		return count(DROPPED_NOT_UDP, DROP);
	if (bpf_skb_load_bytes(skb, d.at, udp, 8) < 0)
		return count(DROPPED_MALFORMED, DROP);
	if (is_signalling(udp[0] << 8 | udp[1]) || is_signalling(udp[2] << 8 | udp[3])) {
		if (d.more) {
			__u64 now = bpf_ktime_get_ns();

			bpf_map_update_elem(&fragments, &d.fragment, &now, BPF_ANY);
		}
		return count(PASSED_SIGNALLING, PASS);
	}

	flow.family = d.fragment.family;
	__builtin_memcpy(&flow.port, udp + 2, 2);
	__builtin_memcpy(flow.address, d.fragment.destination, 16);
	types = bpf_map_lookup_elem(&media_flows, &flow);
	if (!types)
		return count(DROPPED_OTHER_FLOW, DROP);
	// An event packet is 16 octets and more: a fragment of media is none.
	if (d.more || bpf_skb_load_bytes(skb, d.at, udp, sizeof(udp)) < 0 || udp[8] >> 6 != 2)
		return count(DROPPED_PAYLOAD_TYPE, DROP);
	type = udp[9] & 127;
	if ((types->payload_types[type >> 6] >> (type & 63)) & 1)
		return count(PASSED_MEDIA, PASS);
	return count(DROPPED_PAYLOAD_TYPE, DROP);
}

// Only helpers open to every licence are used, so the program carries the project's own.
char _license[] SEC("license") = "Apache-2.0";
