# One X3 PDU (ETSI TS 103 221-2; mediation/core/interface/x2.py has the layout), where it lies; and what became of all of them.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from apdu cimport SECOND, u16, u32

cdef enum:
    X3_HEADER = 40
    X3_MOST = 1 << 17            # octets of one PDU, core/interface/x2.py
    X3_XID = 16                  # where the XID stands, 16 octets, and the correlation after it, 8
    X3_KEY = 24
    PDU_X3 = 2
    PDU_KEEPALIVE = 3
    FORMAT_IPV4 = 5
    FORMAT_IPV6 = 6
    TO_TARGET = 2
    FROM_TARGET = 3
    _POINT = 7
    _SEQUENCE = 8
    _TIMESTAMP = 9


# packets == delivered + held + refused_* + not_ip + no_direction + no_room + barred + after_close + lost_held +
# lost_full + lost_down, but that what was held is counted once more when it flows or is lost.
cdef struct content_counters:
    uint64_t packets             # X3 PDUs that came
    uint64_t octets              # of the IP packets in them
    uint64_t delivered           # written to a queue
    uint64_t refused_unknown     # XID that is not armed here: somebody sends what he should not have
    uint64_t refused_ended       # XID whose window is not open
    uint64_t refused_no_content  # XID of an order without content
    uint64_t not_x3
    uint64_t not_ip              # the payload is no IP packet of the format that it claims
    uint64_t no_direction
    uint64_t missing             # numbers that the access process used and that did not come
    uint64_t keepalives
    uint64_t held                # waited for the channel of their call
    uint64_t lost_held           # no room to wait
    uint64_t lost_unbound        # waited for a call that never came
    uint64_t lost_full           # the destination is slower than its content
    uint64_t lost_down           # the destination is away
    uint64_t barred              # of calls whose content cannot be had, or that is delivered from their other side
    uint64_t after_close         # captured after the end of their call
    uint64_t late                # of those delivered: came when their channel had been closed
    uint64_t no_room             # more streams than the bound


cdef struct x3_pdu:
    uint32_t kind
    uint32_t form
    uint32_t direction
    uint32_t header              # octets before the payload
    uint32_t length              # of the payload
    const uint8_t *point         # name of the access point
    uint32_t point_octets
    uint64_t stamp_ns
    uint32_t sequence
    bint numbered


cdef inline bint x3_parse(const uint8_t *p, x3_pdu *pdu) noexcept nogil:
    """The PDU of which header + length octets are there. False when its attributes do not fit into its header."""
    cdef size_t at = X3_HEADER, size
    cdef uint32_t kind
    pdu.kind, pdu.form, pdu.direction = u16(p + 2), u16(p + 12), u16(p + 14)
    pdu.header, pdu.length = u32(p + 4), u32(p + 8)
    pdu.point = NULL
    pdu.point_octets = pdu.sequence = 0
    pdu.stamp_ns = 0
    pdu.numbered = False
    while at < pdu.header:
        if at + 4 > pdu.header:
            return False
        kind, size = u16(p + at), u16(p + at + 2)
        at += 4
        if at + size > pdu.header:
            return False
        if kind == _POINT:
            pdu.point, pdu.point_octets = p + at, <uint32_t>size
        elif kind == _SEQUENCE and size == 4:
            pdu.sequence, pdu.numbered = u32(p + at), True
        elif kind == _TIMESTAMP and size == 8:
            pdu.stamp_ns = u32(p + at) * SECOND + u32(p + at + 4)
        at += size
    return True


cdef inline bint x3_is_ip(const uint8_t *p, const x3_pdu *pdu) noexcept nogil:
    if pdu.form == FORMAT_IPV4:
        return pdu.length >= 20 and p[pdu.header] >> 4 == 4
    return pdu.form == FORMAT_IPV6 and pdu.length >= 40 and p[pdu.header] >> 4 == 6
