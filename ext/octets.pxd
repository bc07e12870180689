# Spans: a pointer and a length into octets that somebody else owns. Nothing here copies, allocates or needs the GIL,
# and nothing reads outside the span that it was given. ASCII only: SIP's grammar is (RFC 3261 section 25.1).
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "ascii.h" nogil:
    const uint8_t ascii_class[256]
    enum:
        ASCII_TOKEN
        ASCII_HOST
        ASCII_BLANK


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
    return ascii_class[c] & ASCII_BLANK


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
    """token of RFC 3261 section 25.1"""
    return ascii_class[c] & ASCII_TOKEN


cdef inline bint is_host(uint8_t c) noexcept nogil:
    return ascii_class[c] & ASCII_HOST


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
    """ASCII case-insensitive: whether `s` is a literal of lower-case letters and hyphens, eight octets at a time.

    Setting bit 5 folds letters; nothing else folds to a letter, and to a hyphen only CR, which is looked for.
    """
    cdef uint64_t a, b
    cdef uint32_t i = 0
    if s.length != length:
        return False
    while i + 8 <= length:
        memcpy(&a, s.data + i, 8)
        memcpy(&b, lowercase + i, 8)
        if a | <uint64_t>0x2020202020202020 != b:
            return False
        i += 8
    while i < length:
        if s.data[i] | 0x20 != <uint8_t>lowercase[i]:
            return False
        i += 1
    return length == 0 or memchr(s.data, 13, length) == NULL


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
