// From a frame to its transport header: link layer, tags, IPv4 and IPv6. Included by tap.bpf.c; it keeps no state.
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
};

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

// The IP packet of a frame: 0 and `d` filled, or the counter of the reason.
static __always_inline int read_network(struct __sk_buff *skb, struct datagram *d)
{
	__be16 word;
	__u32 at = 12;
	__u32 type;

	if (bpf_skb_load_bytes(skb, at, &word, 2) < 0)
		return DROPPED_MALFORMED;
	type = bpf_ntohs(word);
	at = 14;
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
