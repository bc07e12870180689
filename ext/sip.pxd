# One SIP message located as spans into the octets received (RFC 3261); nothing is copied, nothing is decided.
#
# Lenient where real devices are: folded headers, compact forms, LF alone, keep-alives and junk before a start line,
# several messages in one datagram, lengths that lie. What was tolerated is said in `notes`; a message that cannot
# be told apart from garbage has a `fault`. Policy for each RFC 4475 message: tests/conformance/test_rfc4475.py.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from octets cimport (
    find, is_blank, is_digit, is_token, is_word, lower, make_span, read_decimal, same_folded, same_octets, span, trim,
)

cdef enum:
    SIP_IDENTITIES = 32  # identity headers kept of one message; real ones carry fewer than 8


cdef enum sip_method:
    METHOD_OTHER = 0
    METHOD_INVITE
    METHOD_ACK
    METHOD_BYE
    METHOD_CANCEL
    METHOD_REGISTER
    METHOD_OPTIONS
    METHOD_PRACK
    METHOD_UPDATE
    METHOD_INFO
    METHOD_REFER
    METHOD_MESSAGE
    METHOD_SUBSCRIBE
    METHOD_NOTIFY
    METHOD_PUBLISH


# Why octets are no SIP message. The order is the order of the texts in sip.pyx and of the matcher's counters.
cdef enum sip_fault:
    FAULT_NONE = 0
    FAULT_START_LINE   # no method, no Request-URI, or a status that is not three digits
    FAULT_VERSION      # SIP/ of another version than 2.0
    FAULT_NO_CALL_ID
    FAULT_NO_FROM
    FAULT_NO_TO
    FAULT_NO_CSEQ
    FAULT_CSEQ         # not a number of at most 32 digits and a method
    FAULT_COUNT


# What was tolerated; one bit each.
cdef enum sip_note:
    NOTE_REPEATED = 1        # a header that stands once came again: the first one counts
    NOTE_LENGTH_BAD = 2      # Content-Length is no number, or two differ (the smaller counts)
    NOTE_LENGTH_SHORT = 4    # fewer octets than Content-Length says: the body is what there is
    NOTE_HEADER = 8          # a line without a colon or a name, among those that are looked at
    NOTE_SPACES = 16         # white space in or around the Request-URI
    NOTE_BRACKETS = 32       # Request-URI in angle brackets
    NOTE_CSEQ_RANGE = 64     # CSeq over 2**31 - 1
    NOTE_CSEQ_METHOD = 128   # CSeq names another method than the request line
    NOTE_NO_END = 256        # the empty line after the headers is missing
    NOTE_IDENTITIES = 512    # more identity headers than SIP_IDENTITIES (ext/lookup.pxd reads them all)


# Headers in which an identity can stand. Bits, so that a side's table of those that count is one mask.
cdef enum identity_header:
    IN_REQUEST_URI = 1
    IN_FROM = 2
    IN_TO = 4
    IN_ASSERTED = 8          # P-Asserted-Identity, RFC 3325
    IN_PREFERRED = 16        # P-Preferred-Identity, RFC 3325
    IN_CALLED_PARTY = 32     # P-Called-Party-ID, RFC 7315
    IN_AUTHORIZATION = 64    # username of (Proxy-)Authorization, RFC 3261 section 22
    IN_DIVERSION = 128       # RFC 5806
    IN_HISTORY = 256         # History-Info, RFC 7044


cdef struct sip_identity:
    uint32_t header          # one bit of identity_header
    span value


cdef struct sip_message:
    span octets              # the whole message, head and body
    span head
    span body
    uint32_t fault
    uint32_t notes
    uint32_t method          # of the request line, or of CSeq in a response
    uint32_t status          # 0 in a request
    span method_text         # empty in a response
    span request_uri         # empty in a response
    span reason
    span headers             # the header lines, without the start line
    span from_value
    span to_value
    span call_id
    span cseq_number
    span cseq_method
    span via                 # topmost
    span content_type
    uint64_t content_length
    bint has_length
    uint32_t identity_headers  # bits of all identity headers that are there
    uint32_t identity_count
    sip_identity identities[SIP_IDENTITIES]


cdef inline uint32_t method_of(span s) noexcept nogil:
    """Methods are case-sensitive (RFC 3261 section 7.1)."""
    if s.length == 6 and memcmp(s.data, <const char *>b"INVITE", 6) == 0:
        return METHOD_INVITE
    if s.length == 3:
        if memcmp(s.data, <const char *>b"ACK", 3) == 0:
            return METHOD_ACK
        if memcmp(s.data, <const char *>b"BYE", 3) == 0:
            return METHOD_BYE
    elif s.length == 4:
        if memcmp(s.data, <const char *>b"INFO", 4) == 0:
            return METHOD_INFO
    elif s.length == 5:
        if memcmp(s.data, <const char *>b"PRACK", 5) == 0:
            return METHOD_PRACK
        if memcmp(s.data, <const char *>b"REFER", 5) == 0:
            return METHOD_REFER
    elif s.length == 6:
        if memcmp(s.data, <const char *>b"CANCEL", 6) == 0:
            return METHOD_CANCEL
        if memcmp(s.data, <const char *>b"UPDATE", 6) == 0:
            return METHOD_UPDATE
        if memcmp(s.data, <const char *>b"NOTIFY", 6) == 0:
            return METHOD_NOTIFY
    elif s.length == 7:
        if memcmp(s.data, <const char *>b"OPTIONS", 7) == 0:
            return METHOD_OPTIONS
        if memcmp(s.data, <const char *>b"MESSAGE", 7) == 0:
            return METHOD_MESSAGE
        if memcmp(s.data, <const char *>b"PUBLISH", 7) == 0:
            return METHOD_PUBLISH
    elif s.length == 8:
        if memcmp(s.data, <const char *>b"REGISTER", 8) == 0:
            return METHOD_REGISTER
    elif s.length == 9 and memcmp(s.data, <const char *>b"SUBSCRIBE", 9) == 0:
        return METHOD_SUBSCRIBE
    return METHOD_OTHER


cdef inline bint next_line(const uint8_t **at, const uint8_t *end, span *line) noexcept nogil:
    """The next header line, folded lines joined; 0 at the empty line or at the end. `at` moves behind it.

    At the empty line `at` moves behind that, to the body.
    """
    cdef const uint8_t *p = at[0]
    cdef const uint8_t *q
    if p >= end:
        return False
    if p[0] == 10:
        at[0] = p + 1
        return False
    if p[0] == 13 and (p + 1 == end or p[1] == 10):
        at[0] = p + 2 if p + 1 < end else end
        return False
    q = find(p, end, 10)
    while q + 1 < end and (q[1] == 32 or q[1] == 9):
        q = find(q + 1, end, 10)
    at[0] = q + 1 if q < end else end
    if q > p and (q - 1)[0] == 13:
        q -= 1
    line[0] = make_span(p, q)
    return True


cdef inline bint cut_header(span line, span *name, span *value) noexcept nogil:
    """Name and trimmed value of a header line; 0 when it has no colon or no name."""
    cdef const uint8_t *end = line.data + line.length
    cdef const uint8_t *colon = find(line.data, end, 58)
    if colon == end:
        return False
    value[0] = trim(make_span(colon + 1, end))
    while colon > line.data and is_blank((colon - 1)[0]):
        colon -= 1
    name[0] = make_span(line.data, colon)
    return name.length > 0


cdef inline bint may_matter(uint8_t c) noexcept nogil:
    """Whether a header with this first letter can be one that `take_header` looks at: a c d f h i l p t v."""
    c = (c | 0x20) - 97
    return c < 26 and (<uint32_t>0x2889ad >> c) & 1


cdef inline void scan_start(sip_message *m, span line) noexcept nogil:
    cdef const uint8_t *p
    cdef const uint8_t *end
    cdef span rest
    line = trim(line)
    p = line.data
    end = line.data + line.length
    if line.length >= 8 and same_folded(p, b"sip/", 4):
        if not same_folded(p, b"sip/2.0", 7):
            m.fault = FAULT_VERSION
            return
        rest = trim(make_span(p + 7, end))
        if (not is_blank(p[7]) or rest.length < 3 or not is_digit(rest.data[0]) or not is_digit(rest.data[1])
                or not is_digit(rest.data[2]) or (rest.length > 3 and not is_blank(rest.data[3]))
                or rest.data[0] < 49 or rest.data[0] > 54):
            m.fault = FAULT_START_LINE
            return
        m.status = (rest.data[0] - 48) * 100 + (rest.data[1] - 48) * 10 + (rest.data[2] - 48)
        m.reason = trim(make_span(rest.data + 3, end))
        return
    while p < end and is_token(p[0]):
        p += 1
    m.method_text = make_span(line.data, p)
    if m.method_text.length == 0 or p == end or not is_blank(p[0]):
        m.fault = FAULT_START_LINE
        return
    m.method = method_of(m.method_text)
    if line.length < 11 or not same_folded(end - 7, b"sip/2.0", 7) or not is_blank((end - 8)[0]):
        rest = make_span(end - 8, end) if end - p > 8 else make_span(p, end)
        m.fault = FAULT_START_LINE
        if rest.length == 8 and same_folded(rest.data + 1, b"sip/", 4):
            m.fault = FAULT_VERSION
        return
    m.request_uri = trim(make_span(p, end - 7))
    if (m.request_uri.length + 9 != <uint32_t>(end - p)
            or find(m.request_uri.data, m.request_uri.data + m.request_uri.length, 32)
            != m.request_uri.data + m.request_uri.length):
        m.notes |= NOTE_SPACES
    if m.request_uri.length > 2 and m.request_uri.data[0] == 60:
        if m.request_uri.data[m.request_uri.length - 1] == 62:
            m.request_uri.length -= 1
        m.request_uri.data += 1
        m.request_uri.length -= 1
        m.notes |= NOTE_BRACKETS
        m.request_uri = trim(m.request_uri)
    if m.request_uri.length == 0:
        m.fault = FAULT_START_LINE


cdef inline void add_identity(sip_message *m, uint32_t header, span value) noexcept nogil:
    m.identity_headers |= header
    if m.identity_count == SIP_IDENTITIES:
        m.notes |= NOTE_IDENTITIES
        return
    m.identities[m.identity_count].header = header
    m.identities[m.identity_count].value = value
    m.identity_count += 1


cdef inline void once(sip_message *m, span *place, span value) noexcept nogil:
    if place.length:
        m.notes |= NOTE_REPEATED
    else:
        place[0] = value


cdef inline void take_length(sip_message *m, span value) noexcept nogil:
    cdef uint64_t length
    if not read_decimal(value, &length):
        m.notes |= NOTE_LENGTH_BAD
    elif m.has_length and length != m.content_length:
        m.notes |= NOTE_LENGTH_BAD
        if length < m.content_length:
            m.content_length = length
    else:
        m.content_length = length
        m.has_length = True


cdef inline void take_header(sip_message *m, span name, span value) noexcept nogil:
    """Only what an interception point needs is looked at; the rest stays unread."""
    cdef uint8_t c = lower(name.data[0])
    cdef uint32_t n = name.length
    if c == 99:  # c
        if n == 7 and is_word(name, b"call-id", 7):
            once(m, &m.call_id, value)
        elif n == 4 and is_word(name, b"cseq", 4):
            once(m, &m.cseq_number, value)
        elif n == 14 and is_word(name, b"content-length", 14):
            take_length(m, value)
        elif n == 1 or (n == 12 and is_word(name, b"content-type", 12)):
            once(m, &m.content_type, value)
    elif c == 102:  # f
        if n == 1 or is_word(name, b"from", 4):
            once(m, &m.from_value, value)
            add_identity(m, IN_FROM, value)
    elif c == 116:  # t
        if n == 1 or is_word(name, b"to", 2):
            once(m, &m.to_value, value)
            add_identity(m, IN_TO, value)
    elif c == 105:  # i
        if n == 1:
            once(m, &m.call_id, value)
    elif c == 108:  # l
        if n == 1:
            take_length(m, value)
    elif c == 118:  # v
        if (n == 1 or is_word(name, b"via", 3)) and m.via.data == NULL:
            m.via = value
    elif c == 112:  # p
        if n == 19:
            if is_word(name, b"p-asserted-identity", 19):
                add_identity(m, IN_ASSERTED, value)
            elif is_word(name, b"proxy-authorization", 19):
                add_identity(m, IN_AUTHORIZATION, value)
        elif n == 20:
            if is_word(name, b"p-preferred-identity", 20):
                add_identity(m, IN_PREFERRED, value)
        elif n == 17 and is_word(name, b"p-called-party-id", 17):
            add_identity(m, IN_CALLED_PARTY, value)
    elif c == 97:  # a
        if n == 13 and is_word(name, b"authorization", 13):
            add_identity(m, IN_AUTHORIZATION, value)
    elif c == 100:  # d
        if n == 9 and is_word(name, b"diversion", 9):
            add_identity(m, IN_DIVERSION, value)
    elif c == 104:  # h
        if n == 12 and is_word(name, b"history-info", 12):
            add_identity(m, IN_HISTORY, value)


cdef inline void take_cseq(sip_message *m) noexcept nogil:
    cdef span s = m.cseq_number
    cdef const uint8_t *end = s.data + s.length
    cdef const uint8_t *p = s.data
    cdef uint64_t number = 0
    while p < end and is_digit(p[0]):
        p += 1
    m.cseq_number = make_span(s.data, p)
    m.cseq_method = trim(make_span(p, end))
    if (m.cseq_number.length == 0 or m.cseq_number.length > 32 or m.cseq_method.length == 0
            or not is_blank(p[0])):
        m.fault = FAULT_CSEQ
        return
    p = m.cseq_method.data
    while p < end:
        if not is_token(p[0]):
            m.fault = FAULT_CSEQ
            return
        p += 1
    if not read_decimal(m.cseq_number, &number) or number > 0x7fffffff:
        m.notes |= NOTE_CSEQ_RANGE
    if m.status:
        m.method = method_of(m.cseq_method)
    elif not same_octets(m.cseq_method, m.method_text):
        m.notes |= NOTE_CSEQ_METHOD


cdef inline void scan_message(sip_message *m, const uint8_t *start, const uint8_t *end) noexcept nogil:
    """Locate everything in the message that begins at `start`; its end is found here (Content-Length, or `end`).

    With a `fault` the extent is still right, so that a following message is not lost with this one.
    """
    cdef const uint8_t *at = start
    cdef span line, name, value
    memset(m, 0, <size_t>(<uint8_t *>&m.identities - <uint8_t *>m))
    at = find(start, end, 10)
    scan_start(m, make_span(start, at))
    at = at + 1 if at < end else end
    m.headers.data = at
    while next_line(&at, end, &line):
        m.headers.length = <uint32_t>(at - m.headers.data)
        if not may_matter(line.data[0]):
            continue
        if cut_header(line, &name, &value):
            take_header(m, name, value)
        else:
            m.notes |= NOTE_HEADER
    m.head = make_span(start, at)
    if at == end and (at == start or (at - 1)[0] != 10 or m.headers.data + m.headers.length == end):
        m.notes |= NOTE_NO_END
    if m.has_length and m.content_length > <uint64_t>(end - at):
        m.notes |= NOTE_LENGTH_SHORT
    elif m.has_length:
        end = at + m.content_length
    m.body = make_span(at, end)
    m.octets = make_span(start, end)
    if m.fault:
        return
    if m.call_id.length == 0:
        m.fault = FAULT_NO_CALL_ID
    elif m.from_value.length == 0:
        m.fault = FAULT_NO_FROM
    elif m.to_value.length == 0:
        m.fault = FAULT_NO_TO
    elif m.cseq_number.length == 0:
        m.fault = FAULT_NO_CSEQ
    else:
        take_cseq(m)
