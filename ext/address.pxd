# name-addr and addr-spec of RFC 3261 section 20.10 located in a header value: display name, URI, parameters.
# Lenient: an open quote, a display name with a comma in it, a missing > lose nothing that can still be understood.
from libc.stdint cimport uint8_t, uint32_t

from octets cimport find, is_blank, lower, make_span, span, trim


cdef struct name_addr:
    span display     # with its quotes
    span uri         # without angle brackets
    span parameters  # from the first ; on
    bint bracketed


cdef inline const uint8_t *skip_quoted(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Behind the closing quote of the quoted-string at `p`, or `end` when it never closes."""
    p += 1
    while p < end:
        if p[0] == 92:  # backslash: the next octet stands for itself
            p += 1
        elif p[0] == 34:
            return p + 1
        p += 1
    return end


cdef inline const uint8_t *skip_value(const uint8_t *p, const uint8_t *end, uint8_t stop) noexcept nogil:
    """The first `stop` or comma outside of quotes, or `end`."""
    while p < end:
        if p[0] == 34:
            p = skip_quoted(p, end)
            continue
        if p[0] == stop or p[0] == 44:
            return p
        p += 1
    return end


cdef inline bint next_name_addr(span *rest, name_addr *out) noexcept nogil:
    """Cut the next element off a comma-separated list; 0 when there is none."""
    cdef const uint8_t *p
    cdef const uint8_t *q
    cdef const uint8_t *start
    cdef const uint8_t *end = rest.data + rest.length
    cdef bint colon = False
    p = rest.data
    while p < end and (is_blank(p[0]) or p[0] == 44):
        p += 1
    if p == end:
        rest[0] = make_span(end, end)
        return False
    start = p
    if p[0] == 34:
        q = skip_quoted(p, end)
        if q < end or (end > p + 1 and (end - 1)[0] == 34):
            p = q
    while p < end:  # to the < of a name-addr, or to the end of an addr-spec
        if p[0] == 60:
            break
        if p[0] == 58:
            colon = True
        elif colon and (p[0] == 59 or p[0] == 44 or is_blank(p[0])):
            break
        p += 1
    if p < end and p[0] != 60 and is_blank(p[0]):
        q = p  # "Name: x <sip:…>" has a colon in the display name; "sip:a@b ;tag" has only blanks here
        while q < end and q[0] != 60 and q[0] != 59 and q[0] != 44:
            q += 1
        if q < end and q[0] == 60:
            p = q
    if p == end and not colon:  # neither brackets nor a scheme: what stands before the parameters
        p = start
        while p < end and p[0] != 59 and p[0] != 44:
            p += 1
    if p < end and p[0] == 60:
        out.bracketed = True
        out.display = trim(make_span(start, p))
        q = find(p, end, 62)
        out.uri = trim(make_span(p + 1, q))
        p = q + 1 if q < end else end
    else:
        out.bracketed = False
        out.display = make_span(start, start)
        # A ; before an @ belongs to the user part even without brackets: sip:+1555;npdi@host
        q = p
        while q < end and q[0] != 64 and q[0] != 44 and q[0] != 62 and not is_blank(q[0]) and q[0] != 34:
            q += 1
        if q < end and q[0] == 64 and p[0] == 59 and end - start > 4 and lower(start[0]) == 115:
            p = q
            while p < end and p[0] != 59 and p[0] != 44 and not is_blank(p[0]):
                p += 1
        out.uri = trim(make_span(start, p))
    q = skip_value(p, end, 44)
    while p < q and p[0] != 59:
        p += 1
    out.parameters = trim(make_span(p, q))
    rest[0] = make_span(q + 1, end) if q < end else make_span(end, end)
    return True


cdef inline bint next_parameter(span *rest, span *name, span *value) noexcept nogil:
    """Cut the next ;name=value off; the quotes of a quoted value stay. 0 when there is none."""
    cdef const uint8_t *p = rest.data
    cdef const uint8_t *end = rest.data + rest.length
    cdef const uint8_t *q
    cdef const uint8_t *equals
    while p < end:
        while p < end and (p[0] == 59 or is_blank(p[0])):
            p += 1
        q = skip_value(p, end, 59)
        equals = find(p, q, 61)
        name[0] = trim(make_span(p, equals))
        value[0] = trim(make_span(equals + 1, q)) if equals < q else make_span(q, q)
        p = q + 1 if q < end else end
        rest[0] = make_span(p, end)
        if name.length:
            return True
    return False


cdef inline span parameter(span parameters, const char *lowercase, uint32_t length) noexcept nogil:
    """The value of one parameter; empty when it is absent or has none."""
    cdef span name, value
    cdef uint32_t i
    while next_parameter(&parameters, &name, &value):
        if name.length == length:
            i = 0
            while i < length and lower(name.data[i]) == <uint8_t>lowercase[i]:
                i += 1
            if i == length:
                return value
    return make_span(NULL, NULL)
