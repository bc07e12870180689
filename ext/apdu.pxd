# CC-APDU (T1.678, BER in the form that is also DER) and the PacketCable datagram, written front to back into room that
# the caller has made: APDU_MORE and the correlation information, or CABLE_HEADER, more than the packet's octets.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    APDU_MORE = 64               # octets of a CC-APDU around its correlation information and payload, at most 51
    CABLE_HEADER = 12

cdef extern from *:
    """
    #define NTP_EPOCH 2208988800ull    /* 1900 to 1970, seconds (RFC 5905 section 6) */
    #define SECOND 1000000000ull
    """
    const uint64_t NTP_EPOCH
    const uint64_t SECOND


cdef inline uint32_t u16(const uint8_t *p) noexcept nogil:
    return <uint32_t>p[0] << 8 | p[1]


cdef inline uint32_t u32(const uint8_t *p) noexcept nogil:
    return u16(p) << 16 | u16(p + 2)


cdef inline uint8_t *put_u32(uint8_t *p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 24)
    p[1] = <uint8_t>(value >> 16)
    p[2] = <uint8_t>(value >> 8)
    p[3] = <uint8_t>value
    return p + 4


cdef inline uint32_t length_octets(uint32_t length) noexcept nogil:
    """Of the shortest form of a definite length (X.690 10.1)."""
    return 1 if length < 0x80 else 2 if length < 0x100 else 3 if length < 0x10000 else 4


cdef inline uint8_t *put_head(uint8_t *p, uint8_t tag, uint32_t length) noexcept nogil:
    cdef uint32_t more = length_octets(length) - 1
    p[0] = tag
    p += 1
    if more == 0:
        p[0] = <uint8_t>length
        return p + 1
    p[0] = <uint8_t>(0x80 | more)
    p += 1
    while more > 0:
        more -= 1
        p[0] = <uint8_t>(length >> (8 * more))
        p += 1
    return p


cdef inline uint32_t put_digits(uint8_t *p, uint32_t value, uint32_t count) noexcept nogil:
    cdef uint32_t at = count
    while at > 0:
        at -= 1
        p[at] = <uint8_t>(48 + value % 10)
        value //= 10
    return count


cdef inline uint32_t put_time(uint8_t *p, uint64_t stamp_ns) noexcept nogil:
    """GeneralizedTime, UTC, to the microsecond, without trailing zeros (X.690 11.7); at most 22 octets."""
    cdef uint64_t seconds = stamp_ns // SECOND
    cdef uint32_t micro = <uint32_t>(stamp_ns % SECOND // 1000)
    cdef int64_t days = <int64_t>(seconds // 86400)
    cdef uint32_t rest = <uint32_t>(seconds % 86400)
    cdef int64_t shifted = days + 719468          # days since 0000-03-01, so that a leap day ends a year
    cdef int64_t era = shifted // 146097
    cdef int64_t day_of_era = shifted - era * 146097
    cdef int64_t year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    cdef int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    cdef int64_t part = (5 * day_of_year + 2) // 153
    cdef int64_t day = day_of_year - (153 * part + 2) // 5 + 1
    cdef int64_t month = part + 3 if part < 10 else part - 9
    cdef int64_t year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    cdef uint32_t at = 0
    cdef uint32_t count = 6
    at += put_digits(p, <uint32_t>year, 4)
    at += put_digits(p + at, <uint32_t>month, 2)
    at += put_digits(p + at, <uint32_t>day, 2)
    at += put_digits(p + at, rest // 3600, 2)
    at += put_digits(p + at, rest // 60 % 60, 2)
    at += put_digits(p + at, rest % 60, 2)
    if micro != 0:
        while micro % 10 == 0:
            micro //= 10
            count -= 1
        p[at] = 46
        at += 1 + put_digits(p + at + 1, micro, count)
    p[at] = 90
    return at + 1


cdef inline uint32_t write_apdu(uint8_t *start, const uint8_t *correlation, uint32_t correlation_octets, uint32_t way,
                                uint32_t sequence, uint64_t stamp_ns, const uint8_t *packet,
                                uint32_t length) noexcept nogil:
    """CC-APDU ::= SEQUENCE { ccDeliveryHeader [0] { correlationInfo [0], timeStamp [1], packetDirection [2],
    sequenceNumber [3] }, payload [1] }, in DER."""
    cdef uint8_t time[24]
    cdef uint32_t time_octets = put_time(time, stamp_ns)
    cdef uint32_t number_octets = 1
    cdef uint32_t head, whole, at
    cdef uint8_t *p
    while number_octets < 5 and sequence >> (8 * number_octets - 1) != 0:
        number_octets += 1               # a leading octet below 0x80: the number is positive
        if number_octets == 5:
            break
    head = correlation_octets + 2 + time_octets + 3 + 2 + number_octets
    whole = 1 + length_octets(head) + head + 1 + length_octets(length) + length
    p = put_head(put_head(start, 0x30, whole), 0xa0, head)
    memcpy(p, correlation, correlation_octets)
    p = put_head(p + correlation_octets, 0x81, time_octets)
    memcpy(p, time, time_octets)
    p = put_head(p + time_octets, 0x82, 1)
    p[0] = <uint8_t>way
    p = put_head(p + 1, 0x83, number_octets)
    at = number_octets
    while at > 0:
        at -= 1
        p[0] = 0 if at == 4 else <uint8_t>(sequence >> (8 * at))
        p += 1
    p = put_head(p, 0x81, length)
    memcpy(p, packet, length)
    return <uint32_t>(p + length - start)


cdef inline uint32_t write_datagram(uint8_t *start, uint32_t channel, uint64_t stamp_ns, const uint8_t *packet,
                                    uint32_t length) noexcept nogil:
    """PacketCable: CCC identifier, 64-bit NTP time (RFC 5905), the packet from its IP header."""
    put_u32(put_u32(put_u32(start, channel), <uint32_t>(stamp_ns // SECOND + NTP_EPOCH)),
            <uint32_t>(((stamp_ns % SECOND) << 32) // SECOND))
    memcpy(start + CABLE_HEADER, packet, length)
    return CABLE_HEADER + length
