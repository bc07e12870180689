# The link layer: where the IP header begins in a frame of each link type that a tap or a capture file can have.
#
# Ethernet II with 802.1Q, 802.1ad and the older 0x9100 tags, PPPoE session stage (RFC 2516) in any of them; Linux
# cooked captures v1 and v2 (`tcpdump -i any`); raw IP; BSD null and loop. Numbers of link types are the capture
# formats' own (LINKTYPE_ registry of libpcap).
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    LINK_NULL = 0
    LINK_ETHERNET = 1
    LINK_RAW_BSD = 12
    LINK_RAW_OPENBSD = 14
    LINK_RAW = 101
    LINK_LOOP = 108
    LINK_LINUX_SLL = 113
    LINK_IPV4 = 228
    LINK_IPV6 = 229
    LINK_LINUX_SLL2 = 276

    MAX_TAGS = 4  # QinQ needs two; ext/bpf/tap.bpf.c has the same bound

    ETHERTYPE_IPV4 = 0x0800
    ETHERTYPE_VLAN = 0x8100
    ETHERTYPE_IPV6 = 0x86dd
    ETHERTYPE_PPPOE = 0x8864
    ETHERTYPE_QINQ = 0x88a8
    ETHERTYPE_QINQ_OLD = 0x9100
    PPP_IPV4 = 0x0021
    PPP_IPV6 = 0x0057

    # what link_network answers beside 4 and 6
    NETWORK_NOT_IP = 0
    NETWORK_MALFORMED = -1
    NETWORK_UNKNOWN_LINK = -2


cdef inline uint16_t be16(const uint8_t *at) noexcept nogil:
    return <uint16_t>(at[0] << 8 | at[1])


cdef inline uint32_t be32(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef inline int version_nibble(const uint8_t *frame, uint32_t length, uint32_t at) noexcept nogil:
    cdef int version
    if length <= at:
        return NETWORK_MALFORMED
    version = frame[at] >> 4
    return version if version == 4 or version == 6 else NETWORK_NOT_IP


cdef inline int after_ethertype(
    const uint8_t *frame, uint32_t length, uint16_t ethertype, uint32_t *at,
) noexcept nogil:
    """Behind the tags and the PPPoE header, from an EtherType and the octet that follows it."""
    cdef int tags = 0
    cdef uint16_t protocol
    while ethertype == ETHERTYPE_VLAN or ethertype == ETHERTYPE_QINQ or ethertype == ETHERTYPE_QINQ_OLD:
        if tags == MAX_TAGS or length < at[0] + 4:
            return NETWORK_MALFORMED
        ethertype = be16(frame + at[0] + 2)
        at[0] += 4
        tags += 1
    if ethertype == ETHERTYPE_PPPOE:
        if length < at[0] + 8:
            return NETWORK_MALFORMED
        protocol = be16(frame + at[0] + 6)
        at[0] += 8
        return 4 if protocol == PPP_IPV4 else 6 if protocol == PPP_IPV6 else NETWORK_NOT_IP
    return 4 if ethertype == ETHERTYPE_IPV4 else 6 if ethertype == ETHERTYPE_IPV6 else NETWORK_NOT_IP


cdef inline int link_network(
    uint32_t link_type, const uint8_t *frame, uint32_t length, uint32_t *at,
) noexcept nogil:
    """4 or 6 with `at` the offset of the IP header, or one of the NETWORK_ values."""
    cdef uint32_t family
    if link_type == LINK_ETHERNET:
        if length < 14:
            return NETWORK_MALFORMED
        at[0] = 14
        return after_ethertype(frame, length, be16(frame + 12), at)
    if link_type == LINK_LINUX_SLL:
        if length < 16:
            return NETWORK_MALFORMED
        at[0] = 16
        return after_ethertype(frame, length, be16(frame + 14), at)
    if link_type == LINK_LINUX_SLL2:
        if length < 20:
            return NETWORK_MALFORMED
        at[0] = 20
        return after_ethertype(frame, length, be16(frame), at)
    if (link_type == LINK_RAW or link_type == LINK_RAW_BSD or link_type == LINK_RAW_OPENBSD
            or link_type == LINK_IPV4 or link_type == LINK_IPV6):
        at[0] = 0
        return version_nibble(frame, length, 0)
    if link_type == LINK_NULL or link_type == LINK_LOOP:
        # An address family in the byte order of the machine that captured: 2 is IPv4 everywhere, IPv6 is 10, 24, 28
        # or 30, so the order shows itself.
        if length < 4:
            return NETWORK_MALFORMED
        family = be32(frame)
        if family > 0xffff:
            family = family >> 24
        at[0] = 4
        if family == 2 or family == 10 or family == 24 or family == 28 or family == 30:
            return version_nibble(frame, length, 4)
        return NETWORK_NOT_IP
    return NETWORK_UNKNOWN_LINK
