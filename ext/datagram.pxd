# Where SIP messages begin in a datagram: keep-alives and junk before a start line are passed over, and several messages
# may follow each other (RFC 3261 section 18.3, RFC 4475 section 3.1.1.8).
from libc.stdint cimport uint8_t, uint32_t

from octets cimport find, is_blank, is_digit, is_token, same_folded


cdef inline bint start_line_at(const uint8_t *p, const uint8_t *end, const uint8_t **start) noexcept nogil:
    """Whether a start line stands in the line at `p`; `start` is where it begins, junk before it left out.

    The sign is SIP/ and a digit: three digits of a status follow it, or a token and a URI stand before it.
    """
    cdef const uint8_t *stop = find(p, end, 10)
    cdef const uint8_t *slash = p
    cdef const uint8_t *word
    while True:
        slash = find(slash, stop, 47)
        if slash == stop:
            return False
        if slash - p >= 3 and slash + 1 < stop and is_digit(slash[1]) and same_folded(slash - 3, b"sip", 3):
            if slash == p + 3 or (slash + 5 < stop and slash[4] == 32 and is_digit(slash[5])):
                start[0] = slash - 3
                return True
            if is_blank((slash - 4)[0]):
                break
        slash += 1
    while p < slash:  # the first word of token characters with white space behind it is the method
        word = p
        while is_token(p[0]):
            p += 1
        if p > word and is_blank(p[0]) and p < slash - 4:
            start[0] = word
            return True
        p += 1
    return False


cdef inline bint next_message(const uint8_t **at, const uint8_t *end, const uint8_t **start,
                              uint32_t *junk) noexcept nogil:
    """Find the next start line of a datagram; 0 when none is left. `junk` is how many octets were skipped, without
    the keep-alives (CR, LF, NUL and blanks: RFC 5626 section 3.5.1 and what older devices send)."""
    cdef const uint8_t *p = at[0]
    junk[0] = 0
    while p < end:
        while p < end and (is_blank(p[0]) or p[0] == 0):
            p += 1
        if p == end:
            break
        if start_line_at(p, end, start):
            junk[0] += <uint32_t>(start[0] - p)
            at[0] = start[0]
            return True
        junk[0] += <uint32_t>(find(p, end, 10) - p)
        p = find(p, end, 10)
    at[0] = end
    return False
