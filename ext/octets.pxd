# Spans: a pointer and a length into octets that somebody else owns. Nothing here copies, allocates or needs the GIL,
# and nothing reads outside the span that it was given. ASCII only: SIP's grammar is (RFC 3261 section 25.1).
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp


cdef struct span:
    const uint8_t *data
    uint32_t length


cdef inline span make_span(const uint8_t *start, const uint8_t *end) noexcept nogil:
    cdef span s
    s.data = start
    s.length = <uint32_t>(end - start) if end > start else 0
    return s


cdef inline bint is_blank(uint8_t c) noexcept nogil:
    """Linear white space, folding included: a folded value keeps its CR and LF inside the span."""
    return c == 32 or c == 9 or c == 13 or c == 10


cdef inline bint is_digit(uint8_t c) noexcept nogil:
    return <uint8_t>(c - 48) < 10


cdef inline uint8_t lower(uint8_t c) noexcept nogil:
    return c | 0x20 if <uint8_t>(c - 65) < 26 else c


cdef inline int hex_value(uint8_t c) noexcept nogil:
    """0 to 15, or -1."""
    if <uint8_t>(c - 48) < 10:
        return c - 48
    c |= 0x20
    if <uint8_t>(c - 97) < 6:
        return c - 87
    return -1


cdef inline bint is_token(uint8_t c) noexcept nogil:
    """token of RFC 3261 section 25.1: alphanum - . ! % * _ + ` ' ~"""
    if <uint8_t>((c | 0x20) - 97) < 26 or <uint8_t>(c - 48) < 10:
        return True
    return (c == 45 or c == 46 or c == 33 or c == 37 or c == 42 or c == 95 or c == 43 or c == 96 or c == 39
            or c == 126)


cdef inline span trim(span s) noexcept nogil:
    while s.length and is_blank(s.data[0]):
        s.data += 1
        s.length -= 1
    while s.length and is_blank(s.data[s.length - 1]):
        s.length -= 1
    return s


cdef inline const uint8_t *find(const uint8_t *start, const uint8_t *end, uint8_t c) noexcept nogil:
    """The first `c` in [start, end), or `end`."""
    cdef const uint8_t *found
    if start >= end:
        return end
    found = <const uint8_t *>memchr(start, c, end - start)
    return end if found == NULL else found


cdef inline bint same_folded(const uint8_t *data, const char *lowercase, uint32_t length) noexcept nogil:
    """ASCII case-insensitive compare of `length` octets with a literal in lower case."""
    cdef uint32_t i
    for i in range(length):
        if lower(data[i]) != <uint8_t>lowercase[i]:
            return False
    return True


cdef inline bint is_word(span s, const char *lowercase, uint32_t length) noexcept nogil:
    return s.length == length and same_folded(s.data, lowercase, length)


cdef inline bint same_octets(span a, span b) noexcept nogil:
    return a.length == b.length and (a.length == 0 or memcmp(a.data, b.data, a.length) == 0)


cdef inline bint read_decimal(span s, uint64_t *value) noexcept nogil:
    """1 to 19 decimal digits and nothing else."""
    cdef uint32_t i
    cdef uint64_t sum = 0
    if s.length == 0 or s.length > 19:
        return False
    for i in range(s.length):
        if not is_digit(s.data[i]):
            return False
        sum = sum * 10 + (s.data[i] - 48)
    value[0] = sum
    return True
