# Where a session description wants media (RFC 8866), read from the octets of a SIP body: of every m= line over UDP the
# address and port (session- and media-level c=), where its RTCP goes (RFC 3550 section 11, RFC 3605, RFC 5761), and
# which payload types carry RFC 4733 events. A multipart body is read the same way: no part header looks like an SDP
# line. mediation/core/network/sdp.py reads everything else for the call model.
#
# It says where somebody wants to receive, nothing of who may send there: that is decided in ext/flows.pxd.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from octets cimport find, is_blank, is_digit, make_span, read_decimal, same_folded, span, trim

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *address)
    enum:
        AF_INET
        AF_INET6

cdef enum:
    SDP_STREAMS = 8            # streams of a description that are followed; what is beyond is counted
    RTCP_NONE = 0              # no RTCP: UDPTL and other protocols
    RTCP_BESIDE = 1            # at an address of its own, as a rule the next port
    RTCP_WITH = 2              # on the port of the media, if both sides say so (rtcp-mux)

cdef enum sdp_result:
    SDP_NONE = 0       # no description
    SDP_MEDIA = 1      # one stream at least has an address and a port that media can be sent to
    SDP_NOWHERE = 2    # every stream is refused (port 0), on hold by a null address, or not over UDP
    SDP_UNKNOWN = 3    # the same, and one of them for a host name, or an address that cannot be read


cdef struct media_address:
    uint8_t family             # 4 or 6; 0: nowhere
    uint16_t port              # host order
    uint8_t address[16]        # network order; IPv4 in the first four octets
    uint64_t events[2]         # bit set of the payload types of telephone-event
    uint64_t ulaw[2]           # of PCMU, one channel of 8 kHz: digits may be heard in it
    uint64_t alaw[2]           # of PCMA


cdef struct media_stream:
    media_address at           # RTP, UDPTL
    media_address rtcp         # when `rtcp_place` is not RTCP_NONE; family 0: nowhere
    uint8_t rtcp_place
    bint audio


cdef struct session_media:
    uint32_t count             # of the streams that have a destination
    media_stream streams[SDP_STREAMS]


cdef struct sdp_reading:       # what is known half-way through a description
    media_stream stream        # of the m= line that is read
    media_address session      # of the session-level c=
    span media_connection      # the c= of this m= line; empty: none
    span rtcp_address          # of a=rtcp:
    uint32_t rtcp_port
    uint64_t formats[2]        # payload types of the m= line
    bint session_known         # there is a readable session-level c=
    bint any_media
    bint inside                # in the section of a stream that is read
    uint32_t unknown           # streams whose address cannot be read
    uint32_t beyond            # streams that are not followed for want of room


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


cdef inline void mark(uint64_t *types, uint64_t payload_type, bint on) noexcept nogil:
    types[payload_type >> 6] &= ~(<uint64_t>1 << (payload_type & 63))
    types[payload_type >> 6] |= <uint64_t>on << (payload_type & 63)


cdef inline bint is_voice(span encoding, const char *name) noexcept nogil:
    """`PCMU/8000` or `PCMU/8000/1` (RFC 3551 section 4.5.14)"""
    return (encoding.length == 9 or (encoding.length == 11 and same_folded(encoding.data + 9, b"/1", 2))) and (
        same_folded(encoding.data, name, 9))


cdef inline bint same_types(const media_address *a, const media_address *b) noexcept nogil:
    return (memcmp(a.events, b.events, sizeof(a.events)) == 0 and memcmp(a.ulaw, b.ulaw, sizeof(a.ulaw)) == 0
            and memcmp(a.alaw, b.alaw, sizeof(a.alaw)) == 0)


cdef inline bint add_types(media_address *a, const media_address *b) noexcept nogil:
    """Those of `b` as well; whether there is any new."""
    cdef media_address before = a[0]
    cdef uint32_t i
    for i in range(2):
        a.events[i] |= b.events[i]
        a.ulaw[i] |= b.ulaw[i]
        a.alaw[i] |= b.alaw[i]
    return not same_types(&before, a)


cdef inline bint any_type(const media_address *a) noexcept nogil:
    return (a.events[0] | a.events[1] | a.ulaw[0] | a.ulaw[1] | a.alaw[0] | a.alaw[1]) != 0


cdef inline void no_types(media_address *a) noexcept nogil:
    cdef uint32_t i
    for i in range(2):
        a.events[i] = a.ulaw[i] = a.alaw[i] = 0


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
    mark(out.events, payload_type, encoding.length >= 15 and same_folded(encoding.data, b"telephone-event", 15)
         and (encoding.length == 15 or encoding.data[15] == 47))
    mark(out.ulaw, payload_type, is_voice(encoding, b"pcmu/8000"))
    mark(out.alaw, payload_type, is_voice(encoding, b"pcma/8000"))


cdef inline void take_formats(span rest, uint64_t *formats) noexcept nogil:
    """The payload types of an m= line, behind its port: `RTP/AVP 0 101`."""
    cdef span word = next_word(&rest)
    cdef uint64_t payload_type
    while word.length:
        word = next_word(&rest)
        if read_decimal(word, &payload_type) and payload_type < 128:
            formats[payload_type >> 6] |= <uint64_t>1 << (payload_type & 63)


cdef inline bint take_stream_line(span value, sdp_reading *r) noexcept nogil:
    """`m=audio 49170/2 RTP/AVP 0 101`: whether it asks for media over UDP."""
    cdef span kind = next_word(&value)
    cdef span port = next_word(&value)
    cdef span transport = value
    cdef const uint8_t *slash
    cdef uint64_t number
    transport = next_word(&transport)
    port = make_span(port.data, find(port.data, port.data + port.length, 47))
    if not read_decimal(port, &number) or number == 0 or number > 65535:
        return False
    if transport.length >= 3 and same_folded(transport.data, b"tcp", 3):
        return False  # RFC 4145, RFC 4975: no media in datagrams
    memset(&r.stream, 0, sizeof(media_stream))
    r.media_connection = r.rtcp_address = make_span(NULL, NULL)
    r.rtcp_port = 0
    r.formats[0] = r.formats[1] = 0
    r.stream.at.port = <uint16_t>number
    mark(r.stream.at.ulaw, 0, True)  # types that need no map (RFC 3551 section 6)
    mark(r.stream.at.alaw, 8, True)
    r.stream.audio = kind.length == 5 and same_folded(kind.data, b"audio", 5)
    slash = transport.data
    while slash < transport.data + transport.length:  # RTP/AVP, RTP/SAVPF, UDP/TLS/RTP/SAVPF
        if transport.data + transport.length - slash >= 4 and same_folded(slash, b"rtp/", 4):
            r.stream.rtcp_place = RTCP_BESIDE
            break
        slash += 1
    take_formats(value, r.formats)
    return True


cdef inline void take_attribute(span value, sdp_reading *r) noexcept nogil:
    """a= of a stream: rtpmap, rtcp (RFC 3605: `rtcp:53020 IN IP6 2001:db8::1`), rtcp-mux."""
    cdef span port
    cdef uint64_t number
    take_rtpmap(value, &r.stream.at)
    if r.stream.rtcp_place == RTCP_NONE:
        return
    if value.length == 8 and same_folded(value.data, b"rtcp-mux", 8):
        r.stream.rtcp_place = RTCP_WITH
    elif value.length > 5 and same_folded(value.data, b"rtcp:", 5):
        value = make_span(value.data + 5, value.data + value.length)
        port = next_word(&value)
        if read_decimal(port, &number) and 0 < number < 65536:
            r.rtcp_port = <uint32_t>number
            r.rtcp_address = connection_address(value)


cdef inline void end_stream(sdp_reading *r, session_media *out) noexcept nogil:
    """The stream's section is read: it is kept if its media has a destination."""
    cdef media_address *at = &r.stream.at
    cdef media_address *rtcp = &r.stream.rtcp
    cdef uint32_t i
    if not r.inside:
        return
    r.inside = False
    for i in range(2):
        at.events[i] &= r.formats[i]  # a map of a type that the stream does not use means nothing
        at.ulaw[i] &= r.formats[i]
        at.alaw[i] &= r.formats[i]
    if r.media_connection.length:
        if not read_address(r.media_connection, at):
            r.unknown += 1
            return
    elif r.session_known:
        at.family = r.session.family
        memcpy(at.address, r.session.address, 16)
    else:
        r.unknown += 1
        return
    if is_null_address(at):
        return
    if out.count == SDP_STREAMS:
        r.beyond += 1
        return
    if r.stream.rtcp_place != RTCP_NONE:
        rtcp.port = <uint16_t>r.rtcp_port
        if r.rtcp_address.length and not read_address(r.rtcp_address, rtcp):
            rtcp.family = 0
        elif r.rtcp_address.length == 0:
            rtcp.family = at.family
            memcpy(rtcp.address, at.address, 16)
        if r.rtcp_port == 0:
            rtcp.port = <uint16_t>(at.port + 1)
        if rtcp.port == 0 or is_null_address(rtcp):
            rtcp.family = 0
    out.streams[out.count] = r.stream
    out.count += 1


cdef inline sdp_result read_sdp(span body, session_media *out, uint32_t *beyond) noexcept nogil:
    """Every stream over UDP with a destination, in order; `beyond` is how many more there are than room is for."""
    cdef const uint8_t *p = body.data
    cdef const uint8_t *end = p + body.length
    cdef const uint8_t *stop
    cdef span line, value, word
    cdef sdp_reading r
    cdef uint8_t key
    memset(&r, 0, sizeof(sdp_reading))
    out.count = 0
    beyond[0] = 0
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
            end_stream(&r, out)
            r.any_media = True
            r.inside = take_stream_line(value, &r)
        elif key == 99:  # c=
            word = connection_address(value)
            if r.inside and word.length:
                r.media_connection = word
            elif not r.any_media and word.length:
                r.session_known = read_address(word, &r.session)
        elif key == 97 and r.inside:  # a=
            take_attribute(value, &r)
    end_stream(&r, out)
    beyond[0] = r.beyond
    if out.count:
        return SDP_MEDIA
    if r.unknown:
        return SDP_UNKNOWN
    return SDP_NOWHERE if r.any_media else SDP_NONE
