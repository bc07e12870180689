# The transport layer: UDP (RFC 768) over one whole IP payload.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ethernet cimport be16
from ip cimport PROTOCOL_UDP, checksum_add, checksum_fold
from packet cimport packet_info

cdef enum:
    UDP_HEADER = 8

    UDP_OK = 0
    UDP_LENGTH = 1
    UDP_CHECKSUM = 2


cdef inline uint64_t pseudo_header(const packet_info *info, uint8_t protocol, uint32_t length) noexcept nogil:
    """The sum of the pseudo-header (RFC 768, RFC 9293 3.1, RFC 8200 8.1), not yet folded."""
    cdef uint32_t octets = 4 if info.family == 4 else 16
    cdef uint8_t[4] tail
    cdef uint64_t running = checksum_add(0, info.source, octets)
    running = checksum_add(running, info.destination, octets)
    tail[0] = 0
    tail[1] = protocol
    tail[2] = <uint8_t>(length >> 8)
    tail[3] = <uint8_t>length
    return checksum_add(running, tail, 4)


cdef inline int read_udp(
    const uint8_t *data, uint32_t length, bint verify, packet_info *info, uint32_t *payload_length,
) noexcept nogil:
    """Ports into `info`; the payload is at data + UDP_HEADER. A checksum of 0 says that none was made."""
    cdef uint32_t stated
    cdef uint16_t checksum
    if length < UDP_HEADER:
        return UDP_LENGTH
    stated = be16(data + 4)
    if stated < UDP_HEADER or stated > length:
        return UDP_LENGTH
    memcpy(&checksum, data + 6, 2)
    if verify and checksum != 0:
        if checksum_fold(checksum_add(pseudo_header(info, PROTOCOL_UDP, stated), data, stated)) != 0xffff:
            return UDP_CHECKSUM
    info.protocol = PROTOCOL_UDP
    info.source_port = be16(data)
    info.destination_port = be16(data + 2)
    payload_length[0] = stated - UDP_HEADER
    return UDP_OK
