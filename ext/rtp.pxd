# RTP packets that may carry RFC 4733 named events: header checks of RFC 3550 section 5.1, nothing more is read. And
# what tells RTCP from RTP (RFC 5761 section 4).
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    RTP_HEADER = 12
    EVENT_OCTETS = 4         # RFC 4733 section 2.3
    MAX_EVENTS = 16          # events in one packet (section 2.5.1.5 allows several); more is not telephone-event

    RTCP_HEADER = 8          # RFC 3550 section 6.4.2: an empty receiver report
    RTCP_FIRST = 192         # packet types 192 to 223; as RTP they would be payload types 64 to 95 with a marker
    RTCP_LAST = 223
    RTCP_TYPES_MASKED = 0xffffffff  # the same in the second word of a bit set of payload types 0 to 127

cdef enum rtp_result:
    RTP_EVENT = 0
    RTP_OTHER_TYPE = 1       # another payload type
    RTP_MALFORMED = 2        # not version 2, or shorter than its header says
    RTP_EVENT_LENGTH = 3     # the payload is not a whole number of events


cdef inline rtp_result check_event(const uint8_t *p, uint32_t length, const uint64_t *events) noexcept nogil:
    """Whether this is a packet of a payload type in the bit set `events` with RFC 4733 content."""
    cdef uint32_t header
    cdef uint32_t payload_type
    if length < RTP_HEADER or p[0] >> 6 != 2:
        return RTP_MALFORMED
    payload_type = p[1] & 0x7f
    if not events[payload_type >> 6] >> (payload_type & 63) & 1:
        return RTP_OTHER_TYPE
    header = RTP_HEADER + 4 * (p[0] & 15)
    if p[0] & 0x10:
        if length < header + 4:
            return RTP_MALFORMED
        header += 4 + 4 * (<uint32_t>p[header + 2] << 8 | p[header + 3])
    if length < header:
        return RTP_MALFORMED
    length -= header
    if p[0] & 0x20 and length:
        if p[header + length - 1] > length:
            return RTP_MALFORMED
        length -= p[header + length - 1]
    if length < EVENT_OCTETS or length & 3 or length > EVENT_OCTETS * MAX_EVENTS:
        return RTP_EVENT_LENGTH
    return RTP_EVENT


cdef inline bint is_rtcp(const uint8_t *p, uint32_t length) noexcept nogil:
    """Whether a packet is a control packet by its form."""
    return length >= RTCP_HEADER and p[0] >> 6 == 2 and RTCP_FIRST <= p[1] <= RTCP_LAST
