# BER primitives (X.690), written from the back of a buffer to the front: contents before header, so every definite
# length is known when it is written, is minimal, and nothing is ever moved. Only what T1.678 needs: tag numbers up to
# 30 (its largest is 29), no indefinite lengths. Nothing here touches a Python object.
#
# Every function that writes returns False when the bound refused the octets; the message is then abandoned as a whole.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

cdef enum:
    BER_CONSTRUCTED = 0x20
    BER_CONTEXT = 0x80
    BER_TIME_OCTETS = 22          # YYYYMMDDhhmmss.ffffffZ
    BER_MAX_ELEMENTS = 64         # of one SET OF or SEQUENCE OF; see core/message/syntax.py

cdef extern from "arpa/inet.h" nogil:
    int inet_pton(int family, const char *text, void *address)

cdef extern from "sys/socket.h" nogil:
    enum: AF_INET
    enum: AF_INET6


# The message so far is the last `written` octets of data[0:capacity]. A mark is a value of `written`, so growth leaves
# it valid.
cdef struct ber_writer:
    uint8_t *data
    size_t capacity
    size_t written
    size_t bound


cdef inline bint ber_reserve(ber_writer *writer, size_t more) noexcept nogil:
    """Room for `more` octets in front, or False: over the bound, or out of memory."""
    cdef size_t capacity
    cdef uint8_t *grown
    if more <= writer.capacity - writer.written:
        return True
    if more > writer.bound - writer.written:
        return False
    capacity = writer.capacity * 2
    if capacity < writer.written + more:
        capacity = writer.written + more
    if capacity > writer.bound:
        capacity = writer.bound
    grown = <uint8_t *>malloc(capacity)
    if grown == NULL:
        return False
    if writer.written:
        memcpy(grown + capacity - writer.written, writer.data + writer.capacity - writer.written, writer.written)
    free(writer.data)
    writer.data = grown
    writer.capacity = capacity
    return True


cdef inline uint8_t *ber_front(ber_writer *writer) noexcept nogil:
    """The first octet written so far."""
    return writer.data + writer.capacity - writer.written


cdef inline bint ber_octets(ber_writer *writer, const uint8_t *octets, size_t count) noexcept nogil:
    if not ber_reserve(writer, count):
        return False
    writer.written += count
    if count:
        memcpy(ber_front(writer), octets, count)
    return True


cdef inline bint ber_header(ber_writer *writer, uint8_t identifier, size_t mark) noexcept nogil:
    """Identifier and shortest definite length (X.690 10.1) of what was written since `mark`."""
    cdef size_t length = writer.written - mark
    cdef uint8_t *front
    cdef uint8_t count = 0
    if not ber_reserve(writer, 2 + sizeof(size_t)):
        return False
    front = ber_front(writer)
    if length < 0x80:
        front -= 1
        front[0] = <uint8_t>length
        writer.written += 2
    else:
        while length:
            front -= 1
            front[0] = <uint8_t>(length & 0xff)
            length >>= 8
            count += 1
        front -= 1
        front[0] = 0x80 | count
        writer.written += <size_t>count + 2
    front -= 1
    front[0] = identifier
    return True


cdef inline bint ber_integer(ber_writer *writer, int64_t value) noexcept nogil:
    """Contents of an INTEGER or ENUMERATED: two's complement in the fewest octets (X.690 8.3.2)."""
    cdef uint8_t octets[8]
    cdef size_t at = 8
    while True:
        at -= 1
        octets[at] = <uint8_t>(value & 0xff)
        value >>= 8
        if (value == 0 and not octets[at] & 0x80) or (value == -1 and octets[at] & 0x80):
            return ber_octets(writer, octets + at, 8 - at)  # reached by the eighth octet at the latest


cdef inline void ber_decimal(uint8_t *to, uint32_t value, int digits) noexcept nogil:
    while digits:
        digits -= 1
        to[digits] = 0x30 + <uint8_t>(value % 10)
        value = value // 10


cdef inline bint ber_time(ber_writer *writer, int64_t nanoseconds) noexcept nogil:
    """Contents of a GeneralizedTime in the one form of X.690 11.7: UTC, `Z`, no trailing zero in the fraction, no
    fraction when it is zero. Microseconds; the rest is cut, so an event is never dated after it happened.

    `nanoseconds` since 1970-01-01 UTC; the int64 range (years 1678 to 2261) always has a four-digit year.
    """
    cdef uint8_t text[BER_TIME_OCTETS]
    cdef int64_t seconds, days, era, year
    cdef uint32_t micro, of_day, of_era, of_year, year_of_era, month
    cdef size_t length = 14
    cdef int digits = 6
    # Floored whichever way `//` rounds here (C's unless the checked build asks for Python's).
    seconds = nanoseconds // 1000000000
    if nanoseconds % 1000000000 < 0:
        seconds -= 1
    micro = <uint32_t>((nanoseconds - seconds * 1000000000) // 1000)
    days = seconds // 86400
    if seconds % 86400 < 0:
        days -= 1
    of_day = <uint32_t>(seconds - days * 86400)
    # Days to civil date over 400-year eras that begin on 1 March 0000 (proleptic Gregorian).
    days += 719468
    era = days // 146097
    of_era = <uint32_t>(days - era * 146097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    year = <int64_t>year_of_era + era * 400 + (1 if month >= 10 else 0)
    ber_decimal(text, <uint32_t>year, 4)
    ber_decimal(text + 4, month + 3 if month < 10 else month - 9, 2)
    ber_decimal(text + 6, of_year - (153 * month + 2) // 5 + 1, 2)
    ber_decimal(text + 8, of_day // 3600, 2)
    ber_decimal(text + 10, of_day // 60 % 60, 2)
    ber_decimal(text + 12, of_day % 60, 2)
    if micro:
        while micro % 10 == 0:
            micro = micro // 10
            digits -= 1
        text[length] = 0x2e
        ber_decimal(text + length + 1, micro, digits)
        length += 1 + <size_t>digits
    text[length] = 0x5a
    return ber_octets(writer, text, length + 1)


cdef inline bint ber_is_visible(const uint8_t *octets, size_t count) noexcept nogil:
    """Whether all are characters of VisibleString: space to tilde (X.680 41, ISO 646)."""
    cdef uint8_t outside = 0
    cdef size_t at
    for at in range(count):
        outside |= <uint8_t>(<uint8_t>(octets[at] - 0x20) > 0x5e)
    return outside == 0


cdef inline int ber_address(const char *text, uint8_t *octets) noexcept nogil:
    """An IP address literal to 4 or 16 octets; 0 when `text` is none."""
    if inet_pton(AF_INET, text, octets) == 1:
        return 4
    if inet_pton(AF_INET6, text, octets) == 1:
        return 16
    return 0


cdef inline bint ber_after(
    const uint8_t *one, size_t one_length, const uint8_t *other, size_t other_length
) noexcept nogil:
    """Whether encoding `one` sorts after `other` (X.690 11.6). Two TLVs that differ, differ before the shorter ends."""
    return memcmp(one, other, one_length if one_length < other_length else other_length) > 0


cdef inline bint ber_sort(ber_writer *writer, const size_t *marks, int count) noexcept nogil:
    """Brings the last `count` encodings into the order of a SET OF in DER (X.690 11.6).

    They were written last to first: marks[0] is `written` before the last one, marks[count] is `written` now.
    """
    cdef size_t start[BER_MAX_ELEMENTS]
    cdef size_t length[BER_MAX_ELEMENTS]
    cdef uint8_t order[BER_MAX_ELEMENTS]
    cdef size_t total = marks[count] - marks[0]
    cdef uint8_t *front = ber_front(writer)
    cdef uint8_t *copy
    cdef uint8_t moving
    cdef bint sorted_already = True
    cdef int at, place
    for at in range(count):
        start[at] = marks[count] - marks[count - at]
        length[at] = marks[count - at] - marks[count - at - 1]
        order[at] = <uint8_t>at
        if at and ber_after(front + start[at - 1], length[at - 1], front + start[at], length[at]):
            sorted_already = False
    if sorted_already:
        return True
    for at in range(1, count):
        moving = order[at]
        place = at
        while place and ber_after(front + start[order[place - 1]], length[order[place - 1]],
                                  front + start[moving], length[moving]):
            order[place] = order[place - 1]
            place -= 1
        order[place] = moving
    copy = <uint8_t *>malloc(total)
    if copy == NULL:
        return False
    memcpy(copy, front, total)
    for at in range(count):
        memcpy(front, copy + start[order[at]], length[order[at]])
        front += length[order[at]]
    free(copy)
    return True
