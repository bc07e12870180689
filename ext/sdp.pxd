# The first audio stream of a session description (RFC 8866), read from the octets of a SIP body: where its sender wants
# media, and which payload types carry RFC 4733 events. A multipart body is read the same way: no part header looks
# like an SDP line. mediation/core/sdp.py reads everything else for the call model.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from octets cimport find, is_blank, is_digit, make_span, read_decimal, same_folded, span, trim

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *address)
    enum:
        AF_INET
        AF_INET6

cdef enum sdp_result:
    SDP_NONE = 0       # no description, or no audio stream in it
    SDP_MEDIA = 1      # an address and a port that media can be sent to
    SDP_NOWHERE = 2    # audio refused (port 0), or on hold by a null address: media has no destination
    SDP_UNKNOWN = 3    # a host name, or an address that cannot be read


cdef struct media_address:
    uint8_t family             # 4 or 6
    uint16_t port              # host order
    uint8_t address[16]        # network order; IPv4 in the first four octets
    uint64_t events[2]         # bit set of the payload types of telephone-event


cdef inline bint read_address(span text, media_address *out) noexcept nogil:
    cdef char copy[46]
    if text.length == 0 or text.length > 45:
        return False
    memcpy(copy, text.data, text.length)
    copy[text.length] = 0
    memset(out.address, 0, 16)
    if inet_pton(AF_INET, copy, out.address) == 1:
        out.family = 4
        return True
    if inet_pton(AF_INET6, copy, out.address) == 1:
        out.family = 6
        return True
    return False


cdef inline bint is_null_address(const media_address *a) noexcept nogil:
    cdef uint32_t i
    for i in range(16):
        if a.address[i]:
            return False
    return True


cdef inline span next_word(span *rest) noexcept nogil:
    cdef const uint8_t *p = rest.data
    cdef const uint8_t *end = p + rest.length
    cdef const uint8_t *start
    while p < end and is_blank(p[0]):
        p += 1
    start = p
    while p < end and not is_blank(p[0]):
        p += 1
    rest[0] = make_span(p, end)
    return make_span(start, p)


cdef inline span connection_address(span value) noexcept nogil:
    """The address of `IN IP4 192.0.2.1/127`, without the multicast suffix."""
    cdef span word
    next_word(&value)
    next_word(&value)
    word = next_word(&value)
    return make_span(word.data, find(word.data, word.data + word.length, 47))


cdef inline void take_rtpmap(span value, media_address *out) noexcept nogil:
    """`rtpmap:101 telephone-event/8000`"""
    cdef span number
    cdef span encoding
    cdef uint64_t payload_type
    if value.length < 7 or not same_folded(value.data, b"rtpmap:", 7):
        return
    value = make_span(value.data + 7, value.data + value.length)
    number = next_word(&value)
    encoding = next_word(&value)
    if not read_decimal(number, &payload_type) or payload_type > 127:
        return
    if (encoding.length >= 15 and same_folded(encoding.data, b"telephone-event", 15)
            and (encoding.length == 15 or encoding.data[15] == 47)):
        out.events[payload_type >> 6] |= <uint64_t>1 << (payload_type & 63)
    else:
        out.events[payload_type >> 6] &= ~(<uint64_t>1 << (payload_type & 63))


cdef inline void take_formats(span rest, uint64_t *formats) noexcept nogil:
    """The payload types of an m= line, behind its port: `RTP/AVP 0 101`."""
    cdef span word = next_word(&rest)
    cdef uint64_t payload_type
    while word.length:
        word = next_word(&rest)
        if read_decimal(word, &payload_type) and payload_type < 128:
            formats[payload_type >> 6] |= <uint64_t>1 << (payload_type & 63)


cdef inline sdp_result read_sdp(span body, media_address *out) noexcept nogil:
    """The first audio stream with a port, or what became of the first one without."""
    cdef const uint8_t *p = body.data
    cdef const uint8_t *end = p + body.length
    cdef const uint8_t *stop
    cdef span line, value, port, word
    cdef span of_session = make_span(NULL, NULL)
    cdef span of_media = make_span(NULL, NULL)
    cdef bint any_media = False
    cdef bint any_audio = False
    cdef bint inside = False     # in the section of the stream that is read
    cdef uint64_t number = 0
    cdef uint64_t formats[2]
    cdef uint8_t key
    formats[0] = formats[1] = 0
    memset(out, 0, sizeof(media_address))
    while p < end:
        stop = find(p, end, 10)
        line = trim(make_span(p, stop))
        p = stop + 1 if stop < end else end
        if line.length < 3:
            continue
        key = line.data[0]
        value = trim(make_span(line.data + 1, line.data + line.length))
        if value.length == 0 or value.data[0] != 61:
            continue
        value = trim(make_span(value.data + 1, value.data + value.length))
        if key == 109:  # m=
            if inside:
                break
            any_media = True
            if value.length > 6 and same_folded(value.data, b"audio", 5) and is_blank(value.data[5]):
                any_audio = True
                next_word(&value)
                port = next_word(&value)
                port = make_span(port.data, find(port.data, port.data + port.length, 47))
                if read_decimal(port, &number) and 0 < number < 65536:
                    inside = True
                    take_formats(value, formats)
        elif key == 99:  # c=
            word = connection_address(value)
            if inside and word.length:
                of_media = word
            elif not any_media and word.length:
                of_session = word
        elif key == 97 and inside:  # a=
            take_rtpmap(value, out)
    if not inside:
        return SDP_NOWHERE if any_audio else SDP_NONE
    out.port = <uint16_t>number
    out.events[0] &= formats[0]  # a map of a type that the stream does not use means nothing
    out.events[1] &= formats[1]
    if not read_address(of_media if of_media.length else of_session, out):
        return SDP_UNKNOWN
    return SDP_NOWHERE if is_null_address(out) else SDP_MEDIA
