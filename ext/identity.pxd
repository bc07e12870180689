# Identities of a SIP message in canonical form: the fast twin of mediation/core/network/identity.py, which defines the forms.
# A number becomes one 64-bit word (length and digits), everything else the canonical text. Nothing is allocated.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from octets cimport find, hex_value, is_blank, is_digit, is_host, lower, make_span, same_folded, span, trim

cdef enum:
    MAX_DIGITS = 15                # ITU-T E.164
    MIN_GLOBAL_DIGITS = 4
    MIN_INTERNATIONAL_DIGITS = 7
    MIN_FOREIGN_DIGITS = 11
    MAX_LOCAL_DIGITS = 32
    MAX_USER_OCTETS = 255
    MAX_HOST_OCTETS = 255
    MAX_TEXT_OCTETS = 520          # "sip:" user "@" host

cdef enum identity_kind:
    IDENTITY_NONE = 0
    IDENTITY_NUMBER = 1            # E.164, in `number`
    IDENTITY_TEXT = 2              # in `text`


cdef struct dial_plan:
    uint8_t country_code[4]
    uint32_t country_code_length
    uint8_t area_code[8]
    uint32_t area_code_length
    uint8_t national_prefix[4]
    uint32_t national_prefix_length
    uint8_t international_prefix[8]
    uint32_t international_prefix_length
    uint32_t national_length
    uint32_t local_length


cdef struct identity:
    uint32_t kind
    uint32_t length                # of text
    uint64_t number
    span host                      # of a SIP URI with a user part, as received, without a final dot; else empty
    uint8_t text[MAX_TEXT_OCTETS]


cdef inline uint64_t pack_digits(const uint8_t *digits, uint32_t length) noexcept nogil:
    """Up to 15 digits in one word: the length in the top four bits, four bits a digit."""
    cdef uint64_t word = 0
    cdef uint32_t i
    for i in range(length):
        word = word << 4 | (digits[i] - 48)
    return word | <uint64_t>length << 60


cdef inline bint starts_with(const uint8_t *digits, uint32_t length, const uint8_t *prefix, uint32_t n) noexcept nogil:
    return n > 0 and length >= n and memcmp(digits, prefix, n) == 0


cdef inline bint completed(identity *out, const uint8_t *a, uint32_t na, const uint8_t *b, uint32_t nb,
                           const uint8_t *c, uint32_t nc) noexcept nogil:
    cdef uint8_t digits[MAX_DIGITS]
    if na + nb + nc > MAX_DIGITS:
        return False
    memcpy(digits, a, na)
    memcpy(digits + na, b, nb)
    memcpy(digits + na + nb, c, nc)
    out.kind = IDENTITY_NUMBER
    out.number = pack_digits(digits, na + nb + nc)
    return True


cdef inline bint complete_number(const dial_plan *plan, const uint8_t *d, uint32_t n, identity *out) noexcept nogil:
    """identity.py, e164: the same rules in the same order."""
    cdef uint32_t skip = plan.international_prefix_length
    if starts_with(d, n, plan.international_prefix, skip) and n - skip >= MIN_INTERNATIONAL_DIGITS:
        return completed(out, d, 0, d, 0, d + skip, n - skip)
    skip = plan.national_prefix_length
    if n == skip + plan.national_length and starts_with(d, n, plan.national_prefix, skip):
        return completed(out, plan.country_code, plan.country_code_length, d, 0, d + skip, n - skip)
    skip = plan.country_code_length
    if n == skip + plan.national_length and starts_with(d, n, plan.country_code, skip):
        return completed(out, d, 0, d, 0, d, n)
    if n == plan.national_length:
        return completed(out, plan.country_code, plan.country_code_length, d, 0, d, n)
    if plan.area_code_length and plan.local_length and n == plan.local_length:
        return completed(out, plan.country_code, plan.country_code_length, plan.area_code, plan.area_code_length, d, n)
    if n >= MIN_FOREIGN_DIGITS and d[0] != 48:
        return completed(out, d, 0, d, 0, d, n)
    return False


cdef inline uint8_t next_octet(const uint8_t **at, const uint8_t *end) noexcept nogil:
    """One octet with its %XX undone; a % that escapes nothing stands for itself. `at` must be before `end`."""
    cdef const uint8_t *p = at[0]
    cdef int high
    cdef int low
    if p[0] == 37 and end - p >= 3:
        high = hex_value(p[1])
        low = hex_value(p[2])
        if high >= 0 and low >= 0:
            at[0] = p + 3
            return <uint8_t>(high << 4 | low)
    at[0] = p + 1
    return p[0]


cdef inline bint is_separator(uint8_t c) noexcept nogil:
    return c == 45 or c == 46 or c == 40 or c == 41 or c == 32


cdef inline const uint8_t *skip_host(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Behind the longest host (name, IPv4 address or bracketed IPv6 address) at `p`; `p` itself when there is none."""
    cdef const uint8_t *start = p
    if p < end and p[0] == 91:
        p += 1
        while p < end and (hex_value(p[0]) >= 0 or p[0] == 58 or p[0] == 46):
            p += 1
        return p + 1 if p < end and p[0] == 93 and p > start + 1 else start
    while p < end and is_host(p[0]):
        p += 1
    return p


cdef inline uint32_t read_context(span parameters, uint8_t *out) noexcept nogil:
    """The phone-context in lower case (a global one as + and digits) into out[MAX_HOST_OCTETS]; its length or 0."""
    cdef const uint8_t *p = parameters.data
    cdef const uint8_t *end = p + parameters.length
    cdef const uint8_t *stop
    cdef const uint8_t *equals
    cdef uint32_t n = 0
    cdef bint is_global
    cdef uint8_t c
    while p < end:
        stop = find(p, end, 59)
        equals = find(p, stop, 61)
        if equals - p == 13 and same_folded(p, b"phone-context", 13):
            p = equals + 1 if equals < stop else stop
            is_global = False
            while p < stop:
                c = lower(next_octet(&p, stop))
                if n == 0 and not is_global and c == 43:
                    is_global = True
                    out[0] = 43
                    n = 1
                elif is_global and is_separator(c):
                    continue
                elif n == MAX_HOST_OCTETS or (is_global and (not is_digit(c) or n > MAX_DIGITS)):
                    return 0
                else:
                    out[n] = c
                    n += 1
            if is_global:
                return n if n > 1 else 0
            return n if n and skip_host(out, out + n) == out + n else 0
        p = stop + 1
    return 0


cdef inline bint in_context(const dial_plan *plan, const uint8_t *d, uint32_t n, const uint8_t *context,
                            uint32_t length, identity *out) noexcept nogil:
    """identity.py, _in_context."""
    cdef uint32_t area
    if length and context[0] == 43:
        if not starts_with(context + 1, length - 1, plan.country_code, plan.country_code_length):
            return False
        area = length - 1 - plan.country_code_length
        if area and n == plan.local_length and area + n == plan.national_length:
            return completed(out, context + 1, length - 1, d, 0, d, n)
    return complete_number(plan, d, n, out)


cdef inline void of_number(const dial_plan *plan, span number, span parameters, bint tel, identity *out) noexcept nogil:
    """identity.py, _of_number. `out.kind` stays IDENTITY_NONE when it is no number."""
    cdef const uint8_t *p = number.data
    cdef const uint8_t *end = p + number.length
    cdef uint8_t digits[MAX_LOCAL_DIGITS]
    cdef uint8_t context[MAX_HOST_OCTETS]
    cdef uint32_t n = 0
    cdef uint32_t length
    cdef bint plus = False
    cdef bint decimal = True
    cdef uint8_t c
    if p < end:
        c = next_octet(&p, end)
        if c == 43:
            plus = True
        else:
            p = number.data
    while p < end and n < MAX_LOCAL_DIGITS and is_digit(p[0]):  # most numbers are digits alone
        digits[n] = p[0]
        n += 1
        p += 1
    while p < end:
        c = next_octet(&p, end)
        if is_digit(c):
            pass
        elif is_separator(c):
            continue
        elif tel and not plus and (c == 42 or c == 35 or <uint8_t>((c | 0x20) - 97) < 4):
            decimal = False
            c = lower(c)
        else:
            return
        if n == MAX_LOCAL_DIGITS:
            return
        digits[n] = c
        n += 1
    if n == 0:
        return
    if plus:
        if digits[0] != 48 and MIN_GLOBAL_DIGITS <= n <= MAX_DIGITS:
            out.kind = IDENTITY_NUMBER
            out.number = pack_digits(digits, n)
        return
    length = read_context(parameters, context) if parameters.length else 0
    if decimal and in_context(plan, digits, n, context, length, out):
        return
    if length == 0 and not tel:
        return
    memcpy(out.text, <const char *>b"tel:", 4)
    memcpy(out.text + 4, digits, n)
    out.length = 4 + n
    if length:
        memcpy(out.text + out.length, <const char *>b";phone-context=", 15)
        memcpy(out.text + out.length + 15, context, length)
        out.length += 15 + length
    out.kind = IDENTITY_TEXT


cdef inline void of_user(const dial_plan *plan, span user, span host, identity *out) noexcept nogil:
    """The identity of a user part (no password) at a host that was checked; an empty host lets only numbers pass."""
    cdef const uint8_t *p
    cdef const uint8_t *end = user.data + user.length
    cdef const uint8_t *stop = find(user.data, end, 59)
    cdef uint32_t n = 4
    cdef uint32_t i
    out.kind = IDENTITY_NONE
    out.host = host
    if user.length == 0:
        return
    of_number(plan, make_span(user.data, stop), make_span(stop + 1, end), False, out)
    if out.kind != IDENTITY_NONE or host.length == 0:
        return
    memcpy(out.text, <const char *>b"sip:", 4)
    p = user.data
    while p < end:
        if n == 4 + MAX_USER_OCTETS:
            return
        out.text[n] = next_octet(&p, end)
        n += 1
    out.text[n] = 64
    n += 1
    for i in range(host.length):
        out.text[n + i] = lower(host.data[i])
    out.length = n + host.length
    out.kind = IDENTITY_TEXT


cdef inline span checked_host(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """The host at `p` without a final dot; empty unless a port, parameters, headers or the end of the URI follow."""
    cdef const uint8_t *stop = skip_host(p, end)
    if stop < end and not (stop[0] == 58 or stop[0] == 59 or stop[0] == 63 or stop[0] == 62 or is_blank(stop[0])):
        return make_span(p, p)
    if stop > p and (stop - 1)[0] == 46:
        stop -= 1
    return make_span(p, stop) if stop - p <= MAX_HOST_OCTETS else make_span(p, p)


cdef inline void identity_of(const dial_plan *plan, span uri, identity *out) noexcept nogil:
    """The identity that a URI names; `out.kind` is IDENTITY_NONE when it names none."""
    cdef const uint8_t *p
    cdef const uint8_t *q
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef span host
    out.kind = IDENTITY_NONE
    out.host.length = 0
    uri = trim(uri)
    p = uri.data
    end = p + uri.length
    if uri.length > 4 and same_folded(p, b"sip", 3) and (p[3] == 58 or (lower(p[3]) == 115 and p[4] == 58)):
        p += 4 if p[3] == 58 else 5
        at = find(p, end, 64)
        if at == end:
            return
        host = checked_host(at + 1, end)
        if host.length:
            of_user(plan, make_span(p, find(p, at, 58)), host, out)
    elif uri.length > 4 and same_folded(p, b"tel:", 4):
        p += 4
        q = p
        while q < end and q[0] != 63 and q[0] != 62:
            q += 1
        at = find(p, q, 59)
        of_number(plan, make_span(p, at), make_span(at + 1, q), True, out)
