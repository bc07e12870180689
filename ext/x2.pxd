# Writes X2 and X3 PDUs (ETSI TS 103 221-2) into an octet_buffer: the layout that mediation/core/interface/x2.py
# reads and
# documents.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from packet cimport buffer_reserve, octet_buffer, packet_info

cdef enum:
    X2_VERSION = 0x0005
    X2_PDU = 1                 # call-identifying information
    X3_PDU = 2                 # content
    X2_HEADER = 40
    X2_MOST = 144              # octets before the payload, at most: 40 + 8 + 12 + 2 * (20 + 6) + 19 + 12 = 143
    FORMAT_PROPRIETARY = 4     # a digit heard in the voice band, or a notice: mediation/core/interface/x2.py
    FORMAT_IPV4 = 5
    FORMAT_IPV6 = 6
    FORMAT_RTP = 8
    FORMAT_SIP = 9
    DIRECTION_UNKNOWN = 1
    DIRECTION_TO_TARGET = 2
    DIRECTION_FROM_TARGET = 3
    DIRECTION_NOT_APPLICABLE = 5
    ROLE_UNKNOWN = 0
    ROLE_CALLING = 1
    ROLE_CALLED = 2
    ATTRIBUTE_PROPRIETARY = 4
    ATTRIBUTE_INTERCEPTION_POINT = 7   # IPID
    ATTRIBUTE_SEQUENCE = 8
    ATTRIBUTE_TIMESTAMP = 9
    ATTRIBUTE_SOURCE_IPV4 = 10
    ATTRIBUTE_SOURCE_IPV6 = 12
    ATTRIBUTE_SOURCE_PORT = 14


cdef inline uint8_t *put16(uint8_t *p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 8)
    p[1] = <uint8_t>value
    return p + 2


cdef inline uint8_t *put32(uint8_t *p, uint32_t value) noexcept nogil:
    return put16(put16(p, value >> 16), value & 0xffff)


cdef inline uint8_t *put_endpoint(uint8_t *p, uint32_t which, uint8_t family, const uint8_t *address,
                                  uint16_t port) noexcept nogil:
    """`which`: 0 source, 1 destination."""
    cdef uint32_t size = 4 if family == 4 else 16
    p = put16(p, (ATTRIBUTE_SOURCE_IPV4 if family == 4 else ATTRIBUTE_SOURCE_IPV6) + which)
    p = put16(p, size)
    memcpy(p, address, size)
    p = put16(p + size, ATTRIBUTE_SOURCE_PORT + which)
    return put16(put16(p, 2), port)


cdef inline bint write_any(octet_buffer *out, uint32_t pdu_type, const uint8_t *xid, uint64_t correlation,
                           uint32_t payload_format, uint32_t direction, uint32_t role, uint32_t sequence,
                           const packet_info *info, const uint8_t *iap_name, uint32_t iap_name_length,
                           const uint8_t *payload, uint32_t length) noexcept nogil:
    """One PDU at the end of `out`; 0 when its bound refuses (and out.lost is one higher).

    `iap_name` is at most 15 octets (iAPSystemId); without one the attribute is left out.
    """
    cdef uint8_t *start
    cdef uint8_t *p
    if not buffer_reserve(out, X2_MOST + length):
        return False
    start = out.data + out.length
    p = start + X2_HEADER
    p = put32(put16(put16(p, ATTRIBUTE_SEQUENCE), 4), sequence)
    p = put16(put16(p, ATTRIBUTE_TIMESTAMP), 8)
    p = put32(p, <uint32_t>(info.stamp_ns // 1000000000))
    p = put32(p, <uint32_t>(info.stamp_ns % 1000000000))
    if info.family == 4 or info.family == 6:
        p = put_endpoint(p, 0, info.family, info.source, info.source_port)
        p = put_endpoint(p, 1, info.family, info.destination, info.destination_port)
    if iap_name_length != 0:
        p = put16(put16(p, ATTRIBUTE_INTERCEPTION_POINT), iap_name_length)
        memcpy(p, iap_name, iap_name_length)
        p += iap_name_length
    p = put16(put16(p, ATTRIBUTE_PROPRIETARY), 8)
    p = put32(p, info.error_us)
    p[0] = 1 if info.undisciplined else 0
    p[1] = <uint8_t>role
    p = put16(p + 2, 0)
    put32(put16(put16(start, X2_VERSION), pdu_type), <uint32_t>(p - start))
    put16(put16(put32(start + 8, length), payload_format), direction)
    memcpy(start + 16, xid, 16)
    put32(put32(start + 32, <uint32_t>(correlation >> 32)), <uint32_t>correlation)
    memcpy(p, payload, length)
    out.length += <size_t>(p - start) + length
    return True


cdef inline bint write_pdu(octet_buffer *out, const uint8_t *xid, uint64_t correlation, uint32_t payload_format,
                           uint32_t direction, uint32_t role, uint32_t sequence, const packet_info *info,
                           const uint8_t *iap_name, uint32_t iap_name_length,
                           const uint8_t *payload, uint32_t length) noexcept nogil:
    """One X2 PDU."""
    return write_any(out, X2_PDU, xid, correlation, payload_format, direction, role, sequence, info, iap_name,
                     iap_name_length, payload, length)


cdef inline bint write_content(octet_buffer *out, const uint8_t *xid, uint64_t correlation, uint32_t direction,
                               uint32_t role, uint32_t sequence, const packet_info *info, const uint8_t *iap_name,
                               uint32_t iap_name_length) noexcept nogil:
    """One X3 PDU: the IP packet that `info` describes."""
    return write_any(out, X3_PDU, xid, correlation, FORMAT_IPV4 if info.family == 4 else FORMAT_IPV6, direction, role,
                     sequence, info, iap_name, iap_name_length, info.network, info.network_length)
