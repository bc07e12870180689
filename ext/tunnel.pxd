# What a tunnel carries: IP in IP (RFC 2003, RFC 4213), GRE (RFC 2784, with key and sequence of RFC 2890, and bridged
# Ethernet), VXLAN (RFC 7348), GTP-U (3GPP TS 29.281). Only the kinds that the site names are looked through; the
# kernel's filter (ext/bpf/network.bpf.h) has the same rules. Reads, never copies; every length is checked.
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from ethernet cimport LINK_ETHERNET, NETWORK_MALFORMED, NETWORK_NOT_IP, after_ethertype, be16, link_network
from ip cimport PROTOCOL_GRE, PROTOCOL_IPV4, PROTOCOL_IPV6

cdef enum:
    # kinds; mediation/access/socket_filter.py has the same numbers
    TUNNEL_IP = 1
    TUNNEL_GRE = 2
    TUNNEL_VXLAN = 4
    TUNNEL_GTP = 8

    MAX_TUNNELS = 2            # one in another
    MAX_GTP_EXTENSIONS = 4     # TS 29.281 5.2.2 names few, and one or two in a packet
    PORT_GTP = 2152            # TS 29.281 4.4.2
    VXLAN_VALID = 0x08         # RFC 7348 section 5, the I flag
    ETHERTYPE_BRIDGED = 0x6558

    NO_TUNNEL = -3             # beside what link_network answers


cdef struct tunnel_settings:
    uint32_t kinds
    uint16_t vxlan_port


cdef inline bint is_tunnel(const tunnel_settings *tunnels, uint8_t protocol) noexcept nogil:
    """Whether an IP protocol is one of the tunnels without a port."""
    if protocol == PROTOCOL_GRE:
        return tunnels.kinds & TUNNEL_GRE != 0
    return tunnels.kinds & TUNNEL_IP != 0 and (protocol == PROTOCOL_IPV4 or protocol == PROTOCOL_IPV6)


cdef inline int behind_gre(const uint8_t *data, uint32_t length, uint32_t *at) noexcept nogil:
    cdef uint16_t protocol
    if length < 4 or data[0] & 0x4f or data[1] & 7:
        return NETWORK_MALFORMED  # a routing field, or another version (PPTP's): not looked into
    at[0] = 4 + ((data[0] >> 7 & 1) + (data[0] >> 5 & 1) + (data[0] >> 4 & 1)) * 4  # checksum, key, sequence
    if length < at[0]:
        return NETWORK_MALFORMED
    protocol = be16(data + 2)
    if protocol != ETHERTYPE_BRIDGED:
        return after_ethertype(data, length, protocol, at)
    return behind_ethernet(data, length, at)


cdef inline int behind_ethernet(const uint8_t *data, uint32_t length, uint32_t *at) noexcept nogil:
    """The Ethernet frame that begins at `at`."""
    cdef uint32_t inside = 0
    cdef int network
    if length < at[0]:
        return NETWORK_MALFORMED
    network = link_network(LINK_ETHERNET, data + at[0], length - at[0], &inside)
    at[0] += inside
    return network


cdef inline int behind_gtp(const uint8_t *data, uint32_t length, uint32_t *at) noexcept nogil:
    cdef uint8_t following = 0
    cdef uint32_t size
    cdef int _
    if length < 8 or data[0] >> 4 != 3:  # version 1 of GTP, not GTP'
        return NETWORK_MALFORMED
    if data[1] != 255:
        return NETWORK_NOT_IP  # not a G-PDU: an echo, an error indication
    at[0] = 8
    if data[0] & 7:
        if length < 12:
            return NETWORK_MALFORMED
        following = data[11] if data[0] & 4 else 0
        at[0] = 12
    for _ in range(MAX_GTP_EXTENSIONS):
        if following == 0:
            break
        if length <= at[0] or data[at[0]] == 0:
            return NETWORK_MALFORMED
        size = <uint32_t>data[at[0]] * 4
        if length < at[0] + size:
            return NETWORK_MALFORMED
        following = data[at[0] + size - 1]
        at[0] += size
    if following != 0 or length <= at[0]:
        return NETWORK_MALFORMED
    if data[at[0]] >> 4 == 4 or data[at[0]] >> 4 == 6:
        return data[at[0]] >> 4
    return NETWORK_NOT_IP


cdef inline int behind_protocol(
    uint8_t protocol, const uint8_t *data, uint32_t length, uint32_t *at,
) noexcept nogil:
    """4 or 6 with `at` the offset of the inner IP header, or a NETWORK_ value, for a protocol that `is_tunnel`."""
    if protocol == PROTOCOL_GRE:
        return behind_gre(data, length, at)
    at[0] = 0
    return 4 if protocol == PROTOCOL_IPV4 else 6


cdef inline int behind_datagram(
    const tunnel_settings *tunnels, uint16_t port, const uint8_t *data, uint32_t length, uint32_t *at,
) noexcept nogil:
    """As behind_protocol, for the payload of a UDP datagram to `port`; NO_TUNNEL if that is none."""
    if tunnels.kinds & TUNNEL_GTP and port == PORT_GTP:
        return behind_gtp(data, length, at)
    if not tunnels.kinds & TUNNEL_VXLAN or port != tunnels.vxlan_port:
        return NO_TUNNEL
    if length < 8 or not data[0] & VXLAN_VALID:
        return NETWORK_MALFORMED
    at[0] = 8
    return behind_ethernet(data, length, at)
