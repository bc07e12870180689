# The network layer: IPv4 with options (RFC 791) and IPv6 with extension headers (RFC 8200), down to one transport
# payload or one fragment of it. Reads, never copies; every length is checked against what was captured.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ethernet cimport be16, be32
from packet cimport packet_info

cdef enum:
    MAX_EXTENSION_HEADERS = 8  # RFC 8200 4.1 names six, destination options twice; ext/bpf/tap.bpf.c has the same

    PROTOCOL_HOP_BY_HOP = 0
    PROTOCOL_IPV4 = 4
    PROTOCOL_TCP = 6
    PROTOCOL_UDP = 17
    PROTOCOL_IPV6 = 41
    PROTOCOL_ROUTING = 43
    PROTOCOL_FRAGMENT = 44
    PROTOCOL_GRE = 47
    PROTOCOL_AUTHENTICATION = 51
    PROTOCOL_NONE = 59
    PROTOCOL_DESTINATION = 60

    IP_OK = 0
    IP_MALFORMED = 1
    IP_TRUNCATED = 2
    IP_CHECKSUM = 3
    IP_TOO_MANY_HEADERS = 4


# The payload of one IP packet; addresses and family go into packet_info.
cdef struct ip_payload:
    const uint8_t *data
    uint32_t length
    uint8_t protocol        # of the transport; in a later IPv6 fragment what the fragment header says
    bint fragment           # part of a datagram (an "atomic" IPv6 fragment, RFC 6946, is not)
    bint more               # further fragments follow this one
    bint routed             # has a routing header: the pseudo-header's destination is not the header's
    uint32_t offset         # of this fragment's data in the datagram, octets
    uint32_t identification


cdef inline uint64_t checksum_add(uint64_t running, const uint8_t *data, uint32_t length) noexcept nogil:
    """One's complement sum (RFC 1071) in the machine's own byte order, not yet folded."""
    cdef uint32_t i = 0
    cdef uint32_t word
    cdef uint16_t half
    while i + 4 <= length:
        memcpy(&word, data + i, 4)
        running += word
        i += 4
    if i + 2 <= length:
        memcpy(&half, data + i, 2)
        running += half
        i += 2
    if i < length:
        half = 0
        memcpy(&half, data + i, 1)
        running += half
    return running


cdef inline uint16_t checksum_fold(uint64_t running) noexcept nogil:
    running = (running >> 32) + <uint32_t>running
    running = (running >> 32) + <uint32_t>running
    running = (running >> 16) + (running & 0xffff)
    running = (running >> 16) + (running & 0xffff)
    return <uint16_t>running


cdef inline int read_ipv4(
    const uint8_t *packet, uint32_t captured, bint verify, packet_info *info, ip_payload *payload,
) noexcept nogil:
    cdef uint32_t header
    cdef uint32_t total
    cdef uint16_t fragment
    if captured < 20:
        return IP_TRUNCATED
    header = (packet[0] & 15) * 4
    total = be16(packet + 2)
    if packet[0] >> 4 != 4 or header < 20 or total < header:
        return IP_MALFORMED
    if total > captured:
        return IP_TRUNCATED
    if verify and checksum_fold(checksum_add(0, packet, header)) != 0xffff:
        return IP_CHECKSUM
    fragment = be16(packet + 6)
    info.family = 4
    memset(info.source, 0, 16)
    memset(info.destination, 0, 16)
    memcpy(info.source, packet + 12, 4)
    memcpy(info.destination, packet + 16, 4)
    payload.data = packet + header
    payload.length = total - header
    payload.protocol = packet[9]
    payload.more = (fragment & 0x2000) != 0
    payload.offset = <uint32_t>(fragment & 0x1fff) * 8
    payload.fragment = payload.more or payload.offset != 0
    payload.identification = be16(packet + 4)
    payload.routed = False
    return IP_OK


cdef inline int read_ipv6(
    const uint8_t *packet, uint32_t captured, packet_info *info, ip_payload *payload,
) noexcept nogil:
    cdef uint32_t at = 40
    cdef uint32_t end
    cdef uint32_t size
    cdef uint8_t next
    cdef int headers = 0
    if captured < 40:
        return IP_TRUNCATED
    end = 40 + <uint32_t>be16(packet + 4)
    if packet[0] >> 4 != 6 or end == 40:  # a payload length of 0 is a jumbogram (RFC 2675) or nothing
        return IP_MALFORMED
    if end > captured:
        return IP_TRUNCATED
    info.family = 6
    memcpy(info.source, packet + 8, 16)
    memcpy(info.destination, packet + 24, 16)
    payload.more = False
    payload.fragment = False
    payload.offset = 0
    payload.identification = 0
    payload.routed = False
    next = packet[6]
    while (next == PROTOCOL_HOP_BY_HOP or next == PROTOCOL_ROUTING or next == PROTOCOL_DESTINATION
           or next == PROTOCOL_FRAGMENT or next == PROTOCOL_AUTHENTICATION):
        if headers == MAX_EXTENSION_HEADERS:
            return IP_TOO_MANY_HEADERS
        headers += 1
        if at + 8 > end:
            return IP_MALFORMED
        if next == PROTOCOL_FRAGMENT:
            payload.more = packet[at + 3] & 1
            payload.offset = be16(packet + at + 2) & 0xfff8
            payload.fragment = payload.more or payload.offset != 0
            payload.identification = be32(packet + at + 4)
            size = 8
        elif next == PROTOCOL_AUTHENTICATION:
            size = (<uint32_t>packet[at + 1] + 2) * 4
        else:
            size = (<uint32_t>packet[at + 1] + 1) * 8
            if next == PROTOCOL_ROUTING and packet[at + 3] != 0:
                payload.routed = True
        if at + size > end:
            return IP_MALFORMED
        next = packet[at]
        at += size
        if payload.fragment:
            break  # offsets count from here: further headers are the datagram's (RFC 8200 4.5), see skip_extensions
    if payload.fragment and payload.offset == 0 and next == PROTOCOL_FRAGMENT:
        return IP_MALFORMED  # a fragment of a fragment: nobody sends that but to confuse
    payload.protocol = next
    payload.data = packet + at
    payload.length = end - at
    return IP_OK


cdef inline bint is_extension(uint8_t protocol) noexcept nogil:
    """Whether it is a header of IPv6 that a fragmented datagram may begin with."""
    return (protocol == PROTOCOL_HOP_BY_HOP or protocol == PROTOCOL_ROUTING or protocol == PROTOCOL_DESTINATION
            or protocol == PROTOCOL_AUTHENTICATION)


cdef inline int skip_extensions(ip_payload *payload) noexcept nogil:
    """The payload of a reassembled IPv6 datagram without the extension headers that it begins with."""
    cdef uint32_t size
    cdef int headers = 0
    while is_extension(payload.protocol):
        if headers == MAX_EXTENSION_HEADERS:
            return IP_TOO_MANY_HEADERS
        headers += 1
        if payload.length < 8:
            return IP_MALFORMED
        if payload.protocol == PROTOCOL_AUTHENTICATION:
            size = (<uint32_t>payload.data[1] + 2) * 4
        else:
            size = (<uint32_t>payload.data[1] + 1) * 8
            if payload.protocol == PROTOCOL_ROUTING and payload.data[3] != 0:
                payload.routed = True
        if size > payload.length:
            return IP_MALFORMED
        payload.protocol = payload.data[0]
        payload.data += size
        payload.length -= size
    return IP_OK
