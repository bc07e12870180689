// From a frame to its transport header: link layer, tags, IPv4 and IPv6, and what a tunnel carries. Included by
// tap.bpf.c; it keeps no state.
//
// Tunnels are looked through only where the site names them ([[iap]] tunnels): IP in IP (RFC 2003, RFC 4213), GRE (RFC
// 2784 with the key and sequence of RFC 2890, and Ethernet bridged in it), VXLAN (RFC 7348) and GTP-U (3GPP TS 29.281).
// `tunnels` is a constant when the program is loaded, so a tap without tunnels has none of this code in it.
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_TAGS 4               // QinQ needs two; the walker (ext/ethernet.pxd) has the same bound
#define MAX_EXTENSION_HEADERS 8  // RFC 8200 4.1 names six, destination options twice

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_PPPOE 0x8864
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_QINQ_OLD 0x9100
#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057

#define ETHERTYPE_BRIDGED 0x6558  // GRE: transparent Ethernet bridging

#define NEXT_HOP_BY_HOP 0
#define NEXT_IPV4 4
#define NEXT_TCP 6
#define NEXT_UDP 17
#define NEXT_IPV6 41
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_GRE 47
#define NEXT_AUTHENTICATION 51
#define NEXT_DESTINATION 60

// Kinds of tunnels; ext/tunnel.pxd and mediation/access/socket_filter.py have the same numbers.
#define TUNNEL_IP 1
#define TUNNEL_GRE 2
#define TUNNEL_VXLAN 4
#define TUNNEL_GTP 8
#define MAX_TUNNELS 2          // one in another; ext/tunnel.pxd has the same bound
#define MAX_GTP_EXTENSIONS 4   // TS 29.281 5.2.2 names few, and one or two in a packet
#define PORT_GTP 2152          // TS 29.281 4.4.2
#define VXLAN_VALID 0x08       // RFC 7348 section 5, the I flag
#define NO_TUNNEL -1

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
	PASSED_TCP_SIGNALLING,
	DROPPED_OTHER_CONNECTION,  // TCP between other ports
	DROPPED_TUNNEL,            // a tunnel's header that is impossible, or that carries no packet
	COUNTERS,
};

struct fragment_key {
	__u8 source[16];
	__u8 destination[16];
	__u32 identification;
	__u32 family;
};

// What the IP header said, filled from either version.
struct datagram {
	struct fragment_key fragment;  // addresses; IPv4 in the first four octets
	__u32 at;                      // offset of the UDP header
	__u8 first;                    // fragment offset 0
	__u8 more;                     // more fragments follow
	__u8 protocol;
	__u8 around_more;              // the packet around it is a first fragment too
	struct fragment_key around;
};

struct tunnel_settings {
	__u32 kinds;
	__u16 vxlan_port;
	__u16 zero;
};

const volatile struct tunnel_settings tunnels SEC(".rodata.tunnels") = {};

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

// The IP packet behind an EtherType, `at` the octet that follows it: 0 and `d` filled, or the counter of the reason.
static __always_inline int read_packet(struct __sk_buff *skb, __u32 type, __u32 at, struct datagram *d)
{
	__be16 word;

	for (int i = 0; i < MAX_TAGS; i++) {
		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ && type != ETHERTYPE_QINQ_OLD)
			break;
		if (bpf_skb_load_bytes(skb, at + 2, &word, 2) < 0)
			return DROPPED_MALFORMED;
		type = bpf_ntohs(word);
		at += 4;
	}
	if (type == ETHERTYPE_PPPOE) {
		if (bpf_skb_load_bytes(skb, at + 6, &word, 2) < 0)
			return DROPPED_MALFORMED;
		type = bpf_ntohs(word) == PPP_IPV4 ? ETHERTYPE_IPV4 : bpf_ntohs(word) == PPP_IPV6 ? ETHERTYPE_IPV6 : 0;
		at += 8;
	}
	if (type == ETHERTYPE_IPV4)
		return read_ipv4(skb, at, d);
	if (type == ETHERTYPE_IPV6)
		return read_ipv6(skb, at, d);
	return DROPPED_NOT_IP;
}

// The same of the Ethernet frame that begins at `at`.
static __always_inline int read_network(struct __sk_buff *skb, __u32 at, struct datagram *d)
{
	__be16 word;

	if (bpf_skb_load_bytes(skb, at + 12, &word, 2) < 0)
		return DROPPED_MALFORMED;
	return read_packet(skb, bpf_ntohs(word), at + 14, d);
}

// Behind a GTP-U header: the IP version's EtherType and `at` moved on, 0 if it carries no packet.
static __always_inline __u32 behind_gtp(struct __sk_buff *skb, __u32 *at)
{
	__u8 header[12];
	__u8 next = 0;

	if (bpf_skb_load_bytes(skb, *at, header, 8) < 0 || header[0] >> 4 != 3 || header[1] != 255)
		return 0;  // version 1 of GTP, not GTP'; message type G-PDU
	*at += 8;
	if (header[0] & 7) {
		if (bpf_skb_load_bytes(skb, *at, header + 8, 4) < 0)
			return 0;
		next = header[0] & 4 ? header[11] : 0;
		*at += 4;
	}
	for (int i = 0; i < MAX_GTP_EXTENSIONS && next; i++) {
		__u32 length;

		if (bpf_skb_load_bytes(skb, *at, header, 1) < 0 || !header[0])
			return 0;
		length = header[0] * 4;
		if (bpf_skb_load_bytes(skb, *at + length - 1, &next, 1) < 0)
			return 0;
		*at += length;
	}
	if (next || bpf_skb_load_bytes(skb, *at, header, 1) < 0)
		return 0;
	return header[0] >> 4 == 4 ? ETHERTYPE_IPV4 : header[0] >> 4 == 6 ? ETHERTYPE_IPV6 : 0;
}

// The EtherType of what the tunnel in `d` carries, `at` where that begins; NO_TUNNEL, or 0 for one that is impossible.
static __always_inline int behind_tunnel(struct __sk_buff *skb, const struct datagram *d, __u32 *at)
{
	__u8 header[16];

	*at = d->at;
	if (d->protocol == NEXT_UDP) {
		__u32 port;

		if (!(tunnels.kinds & (TUNNEL_VXLAN | TUNNEL_GTP)) || bpf_skb_load_bytes(skb, d->at, header, 8) < 0)
			return NO_TUNNEL;
		port = header[2] << 8 | header[3];
		*at += 8;
		if (tunnels.kinds & TUNNEL_GTP && port == PORT_GTP)
			return behind_gtp(skb, at);
		if (!(tunnels.kinds & TUNNEL_VXLAN) || port != tunnels.vxlan_port)
			return NO_TUNNEL;
		if (bpf_skb_load_bytes(skb, *at, header, 8) < 0 || !(header[0] & VXLAN_VALID))
			return 0;
		*at += 8;
		return ETHERTYPE_BRIDGED;
	}
	if (tunnels.kinds & TUNNEL_IP && d->protocol == NEXT_IPV4)
		return ETHERTYPE_IPV4;
	if (tunnels.kinds & TUNNEL_IP && d->protocol == NEXT_IPV6)
		return ETHERTYPE_IPV6;
	if (!(tunnels.kinds & TUNNEL_GRE) || d->protocol != NEXT_GRE)
		return NO_TUNNEL;
	// Checksum, key and sequence are optional; a routing field and other versions (PPTP's) are not looked into.
	if (bpf_skb_load_bytes(skb, *at, header, 4) < 0 || header[0] & 0x4f || header[1] & 7)
		return 0;
	*at += 4 + (header[0] >> 7 & 1) * 4 + (header[0] >> 5 & 1) * 4 + (header[0] >> 4 & 1) * 4;
	return header[2] << 8 | header[3];
}

// From the packet that `d` describes to the one it carries, if it is a tunnel: 0, or the counter of the reason.
static __always_inline int look_through(struct __sk_buff *skb, struct datagram *d)
{
	for (int i = 0; i < MAX_TUNNELS; i++) {
		__u32 at;
		int type, failed;

		if (!d->first)
			return 0;
		type = behind_tunnel(skb, d, &at);
		if (type == NO_TUNNEL)
			return 0;
		if (d->more) {
			d->around_more = 1;
			d->around = d->fragment;
		}
		__builtin_memset(&d->fragment, 0, sizeof(d->fragment));
		d->more = 0;
		if (type == ETHERTYPE_BRIDGED)
			failed = read_network(skb, at, d);
		else
			failed = type ? read_packet(skb, type, at, d) : DROPPED_TUNNEL;
		if (failed)
			return failed;
	}
	return 0;
}
