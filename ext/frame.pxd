# One frame on its way from a ring or a capture file to the matcher. The only path there is: live capture and replay
# differ in the link type and in whether checksums are verified, nothing else.
#
# Checksums are verified for frames from the wire: the called party's own stack would drop a damaged or forged datagram,
# so it is no event of the call. A frame that this host itself sends has none yet (TP_STATUS_CSUMNOTREADY), and captures
# are full of such frames, so a capture's are not looked at.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from counters cimport walk_counters
from ethernet cimport NETWORK_MALFORMED, NETWORK_NOT_IP, link_network
from fragment cimport entry_octets, fragment_add, fragment_entry, fragment_release, fragment_table
from ip cimport (
    IP_CHECKSUM, IP_MALFORMED, IP_OK, IP_TOO_MANY_HEADERS, IP_TRUNCATED, PROTOCOL_TCP, PROTOCOL_UDP, checksum_add,
    checksum_fold, ip_payload, is_extension, read_ipv4, read_ipv6, skip_extensions,
)
from match cimport match_datagram, match_media, match_table
from match_table cimport PORT_WORDS
from octets cimport find
from packet cimport packet_info
from stream cimport is_http, is_start_line
from streams cimport NO_STREAM, find_stream, make_key, stream_key, tcp_table
from tcp cimport TCP_CHECKSUM, TCP_MALFORMED, read_tcp, take_segment, tcp_segment
from tunnel cimport MAX_TUNNELS, NO_TUNNEL, behind_datagram, behind_protocol, is_tunnel, tunnel_settings
from udp cimport UDP_CHECKSUM, UDP_HEADER, UDP_LENGTH, read_udp

cdef enum:
    FIRST_LINE_AT_MOST = 2048  # octets looked at for a start line; longer URIs are not worth a guess
    UNKNOWN_ERROR_US = 0xffffffff  # ext/packet.pxd
    IPV4_HEADER = 20
    IPV6_HEADER = 40
    WHOLE_OCTETS = 65536 + 40


cdef struct frame_walk:
    match_table *table
    fragment_table *fragments
    tcp_table *tcp
    tunnel_settings tunnels
    uint64_t[PORT_WORDS] signalling_ports
    bint by_form                 # captures only: what begins as SIP is signalling, whatever its port
    uint32_t error_us            # bound of the system clock's error; UNKNOWN_ERROR_US if nobody knows
    uint8_t undisciplined
    uint8_t iap                  # index of the intercept access point
    walk_counters counts
    uint8_t[WHOLE_OCTETS] whole  # the IP packet of a reassembled datagram


cdef inline bint is_signalling(const frame_walk *walk, uint16_t port) noexcept nogil:
    return (walk.signalling_ports[port >> 6] >> (port & 63)) & 1


cdef inline bint begins_as_sip(const uint8_t *octets, uint32_t length) noexcept nogil:
    """Whether the first line is a status line or a request line (RFC 3261 section 7)."""
    cdef uint32_t i
    if length < 12:
        return False
    if memcmp(octets, b"SIP/2.0 ", 8) == 0:
        return True
    if not 65 <= octets[0] <= 90:  # methods are upper-case
        return False
    for i in range(min(length, FIRST_LINE_AT_MOST) - 8):
        if octets[i] == 10 or octets[i] == 13:
            return False
        if octets[i] == 32 and memcmp(octets + i, b" SIP/2.0", 8) == 0:
            return True
    return False


cdef inline void walk_inner(
    frame_walk *walk, packet_info *info, int network, const uint8_t *packet, uint32_t length, bint verify,
    uint64_t now_ns, int depth,
) noexcept nogil:
    """What a tunnel carries; `network` as `behind_protocol` said it."""
    if depth == MAX_TUNNELS or network == NETWORK_MALFORMED:
        walk.counts.tunnel_malformed += 1
    elif network == NETWORK_NOT_IP:
        walk.counts.not_ip += 1
    else:
        walk.counts.tunnels += 1
        walk_packet(walk, info, network, packet, length, verify, now_ns, depth + 1)


cdef inline void walk_datagram(
    frame_walk *walk, packet_info *info, const uint8_t *data, uint32_t length, bint verify, uint64_t now_ns, int depth,
) noexcept nogil:
    """A whole UDP datagram, header included; `info.network` is the IP packet that it came in."""
    cdef uint32_t payload = 0
    cdef uint32_t at = 0
    cdef int network
    cdef int found = read_udp(data, length, verify, info, &payload)
    if found == UDP_LENGTH:
        walk.counts.udp_length += 1
        return
    if found == UDP_CHECKSUM:
        walk.counts.udp_checksum += 1
        return
    if is_signalling(walk, info.source_port) or is_signalling(walk, info.destination_port) or (
            walk.by_form and begins_as_sip(data + UDP_HEADER, payload)):
        walk.counts.to_signalling += 1
        match_datagram(walk.table, info, data + UDP_HEADER, payload, now_ns)
        return
    if walk.tunnels.kinds:
        network = behind_datagram(&walk.tunnels, info.destination_port, data + UDP_HEADER, payload, &at)
        if network != NO_TUNNEL:
            walk_inner(walk, info, network, data + UDP_HEADER + at, payload - at, verify, now_ns, depth)
            return
    walk.counts.to_media += 1
    match_media(walk.table, info, data + UDP_HEADER, payload, now_ns)


cdef inline bint continues_or_begins(frame_walk *walk, const packet_info *info, const tcp_segment *s) noexcept nogil:
    """Captures only: a segment of a stream that is followed, or one that begins as SIP or opens a WebSocket."""
    cdef stream_key key
    cdef uint32_t line
    make_key(&key, info)
    if find_stream(walk.tcp, walk.table, &key) != NO_STREAM:
        return True
    line = <uint32_t>(find(s.data, s.data + s.length, 10) - s.data)
    return line < s.length and (is_start_line(s.data, line) or is_http(s.data, line))


cdef inline void walk_segment(
    frame_walk *walk, packet_info *info, const uint8_t *data, uint32_t length, bint verify, uint64_t now_ns,
) noexcept nogil:
    """A whole TCP segment, header included."""
    cdef tcp_segment segment
    cdef int found = read_tcp(data, length, verify, info, &segment)
    if found == TCP_MALFORMED:
        walk.counts.tcp_malformed += 1
    elif found == TCP_CHECKSUM:
        walk.counts.tcp_checksum += 1
    elif is_signalling(walk, info.source_port) or is_signalling(walk, info.destination_port) or (
            walk.by_form and continues_or_begins(walk, info, &segment)):
        walk.counts.to_stream += 1
        take_segment(walk.tcp, walk.table, info, &segment, now_ns)
    else:
        walk.counts.other_connection += 1


cdef inline void walk_transport(
    frame_walk *walk, packet_info *info, uint8_t protocol, const uint8_t *data, uint32_t length, bint verify,
    uint64_t now_ns, int depth,
) noexcept nogil:
    """A whole payload of IP."""
    cdef uint32_t at = 0
    cdef int network
    if protocol == PROTOCOL_UDP:
        walk_datagram(walk, info, data, length, verify, now_ns, depth)
    elif protocol == PROTOCOL_TCP:
        walk_segment(walk, info, data, length, verify, now_ns)
    elif is_tunnel(&walk.tunnels, protocol):
        network = behind_protocol(protocol, data, length, &at)
        walk_inner(walk, info, network, data + at, length - at, verify, now_ns, depth)
    else:
        walk.counts.not_udp += 1


cdef inline bint make_whole(frame_walk *walk, packet_info *info, const uint8_t *header, const uint8_t *datagram,
                            uint32_t length) noexcept nogil:
    """The IP packet of a reassembled datagram, as if it had not been fragmented: the header of the fragment that came
    last without options, extension headers and anything of fragments. 0: longer than an IP packet can be."""
    cdef uint16_t checksum
    cdef uint32_t size = IPV4_HEADER if info.family == 4 else IPV6_HEADER
    if length > 65535 - (size if info.family == 4 else 0):
        return False
    memcpy(walk.whole, header, size)
    if info.family == 4:
        walk.whole[0] = 0x45
        walk.whole[2] = <uint8_t>((size + length) >> 8)
        walk.whole[3] = <uint8_t>(size + length)
        memset(walk.whole + 6, 0, 2)
        memset(walk.whole + 10, 0, 2)
        checksum = <uint16_t>~checksum_fold(checksum_add(0, walk.whole, size))
        memcpy(walk.whole + 10, &checksum, 2)
    else:
        walk.whole[4] = <uint8_t>(length >> 8)
        walk.whole[5] = <uint8_t>length
        walk.whole[6] = PROTOCOL_UDP
    memcpy(walk.whole + size, datagram, length)
    info.network = walk.whole
    info.network_length = size + length
    return True


cdef inline void walk_packet(
    frame_walk *walk, packet_info *info, int network, const uint8_t *packet, uint32_t captured, bint verify,
    uint64_t now_ns, int depth,
) noexcept nogil:
    """An IP packet of version `network`; `depth` tunnels are around it."""
    cdef ip_payload payload
    cdef fragment_entry *whole
    cdef int found
    if network == 4:
        found = read_ipv4(packet, captured, verify, info, &payload)
    else:
        found = read_ipv6(packet, captured, info, &payload)
    if found != IP_OK:
        if found == IP_TRUNCATED:
            walk.counts.truncated += 1
        elif found == IP_CHECKSUM:
            walk.counts.ip_checksum += 1
        elif found == IP_TOO_MANY_HEADERS:
            walk.counts.extension_headers += 1
        else:
            walk.counts.ip_malformed += 1
        return
    info.network = packet
    info.network_length = <uint32_t>(payload.data + payload.length - packet)
    if not payload.fragment:
        walk_transport(walk, info, payload.protocol, payload.data, payload.length, verify and not payload.routed,
                       now_ns, depth)
        return
    if (payload.protocol != PROTOCOL_UDP and payload.protocol != PROTOCOL_TCP
            and not is_tunnel(&walk.tunnels, payload.protocol)
            and (network == 4 or (payload.offset == 0 and not is_extension(payload.protocol)))):
        walk.counts.not_udp += 1
        return
    whole = fragment_add(walk.fragments, info, &payload, &walk.counts)
    if whole != NULL:
        # A later IPv6 fragment does not say the protocol, the first one did.
        payload.protocol = whole.protocol
        payload.data = entry_octets(walk.fragments, whole)
        payload.length = whole.total
        if network == 6:
            found = skip_extensions(&payload)
        if found == IP_TOO_MANY_HEADERS:
            walk.counts.extension_headers += 1
        elif found != IP_OK:
            walk.counts.ip_malformed += 1
        elif payload.protocol == PROTOCOL_UDP and not make_whole(walk, info, packet, payload.data, payload.length):
            walk.counts.udp_length += 1
        else:
            walk_transport(walk, info, payload.protocol, payload.data, payload.length,
                           verify and not payload.routed, now_ns, depth)
        fragment_release(walk.fragments, whole)


cdef inline void walk_frame(
    frame_walk *walk, uint32_t link_type, const uint8_t *frame, uint32_t captured, uint32_t on_wire,
    uint64_t stamp_ns, uint32_t error_us, uint64_t now_ns, bint verify,
) noexcept nogil:
    """`captured` octets at `frame` of a frame that had `on_wire`; stamp and now are UTC nanoseconds, `error_us` the
    bound of the stamp's error."""
    cdef packet_info info
    cdef uint32_t at = 0
    cdef int network
    walk.counts.frames += 1
    walk.counts.octets += on_wire
    network = link_network(link_type, frame, captured, &at)
    if network == NETWORK_NOT_IP:
        walk.counts.not_ip += 1
        return
    if network < 0:
        if network == NETWORK_MALFORMED:
            walk.counts.link_malformed += 1
        else:
            walk.counts.link_type_unknown += 1
        return
    info.stamp_ns = stamp_ns
    info.error_us = error_us
    info.undisciplined = walk.undisciplined
    info.iap = walk.iap
    walk_packet(walk, &info, network, frame + at, captured - at, verify, now_ns, 0)
