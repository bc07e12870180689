# SIP messages out of a stream of octets: framed by Content-Length (RFC 3261 18.3), with keep-alives between them (RFC
# 5626 3.5.1), or one in each WebSocket message after an upgrade (RFC 7118). ext/tcp.pxd gives the octets in order.
#
# Where the stream is no longer understood, whatever comes is passed over until a whole line is a start line (or a
# segment begins with a WebSocket frame that holds one), and counted. A message that is longer than the bound is given
# on cut off, never left out: who writes long messages must not be missed for it. Nothing is kept here but where in the
# waiting octets the search has got to; so octets that come one by one cost no more than all at once.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from datagram cimport start_line_at
from match cimport match_datagram, match_table
from octets cimport find, is_blank, is_digit, is_word, same_folded, span, trim
from packet cimport packet_info
from sip cimport cut_header, next_line, scan_message, sip_message
from websocket cimport (
    WS_BAD, WS_CLOSE, WS_CONTINUATION, WS_OK, WS_SHORT, ws_begins_sip, ws_copy, ws_frame, ws_read,
)

cdef enum:
    STREAM_MESSAGE = 65536       # the longest message: what a datagram could hold, and more than any switch takes
    STREAM_UNIT = 98304          # octets of the frames of one WebSocket message
    STREAM_LINE = 2048           # the longest start line that is waited for; as ext/frame.pxd
    STREAM_SKIP = 1 << 20        # a body longer than this is not believed: the stream is searched instead

    STREAM_SIP = 0
    STREAM_WEBSOCKET = 1


cdef struct stream_counters:
    uint64_t streams_opened        # directions of connections whose SYN was seen
    uint64_t streams_joined        # that were up before
    uint64_t streams_closed
    uint64_t streams_reused        # a SYN between the same ports: another connection
    uint64_t streams_evicted       # the one silent longest made room for another
    uint64_t openings_doubted      # SYN in a connection that is up, which the other side did not believe yet
    uint64_t resets_ignored        # RST that no receiver would believe (RFC 5961)
    uint64_t segments_repeated
    uint64_t segments_ahead        # came before one that belongs in front of them
    uint64_t segments_conflicting  # other octets at a place that was filled: the first ones count
    uint64_t segments_refused      # more pieces ahead than the bound, or where the receiver takes none: not taken
    uint64_t stream_gaps           # that were not filled in time: passed over
    uint64_t stream_gap_octets
    uint64_t stream_jumps          # a sequence number far from the expected one
    uint64_t windows_evicted       # octets that waited longest, given up for another stream's
    uint64_t stream_messages
    uint64_t messages_cut          # given on without their end, which was too long or never seen
    uint64_t messages_unfinished   # not given on: they broke off before their headers ended
    uint64_t messages_without_length
    uint64_t stream_resyncs        # the stream was not understood
    uint64_t stream_junk           # octets passed over while it was searched
    uint64_t stream_encrypted      # pieces that are TLS records
    uint64_t websocket_upgrades
    uint64_t websocket_joined      # picked up without the upgrade
    uint64_t websocket_frames
    uint64_t websocket_control     # close, ping, pong
    uint64_t websocket_malformed
    uint64_t websocket_compressed  # payload that an extension changed: cannot be read


# What has been found out about the octets that wait at the head of one stream.
cdef struct framing:
    uint8_t kind           # STREAM_SIP or STREAM_WEBSOCKET
    bint synced            # a message begins at the head
    bint head              # its headers are whole
    uint32_t scanned       # octets in which nothing needs to be looked for again
    uint32_t needed        # octets without which looking again is no use
    uint64_t skip          # octets to pass over


# Where messages go, and what is known of the segment that completes them.
cdef struct stream_sink:
    match_table *table
    const packet_info *info
    uint64_t now_ns
    uint8_t *scratch       # STREAM_MESSAGE octets
    stream_counters *counts


cdef inline void framing_restart(framing *f, bint synced) noexcept nogil:
    f.synced = synced
    f.head = False
    f.scanned = 0
    f.needed = 0


cdef inline uint32_t lose_sync(framing *f, stream_sink *sink, uint32_t consumed) noexcept nogil:
    """At least one octet goes, so that the same octets are not looked at for ever."""
    framing_restart(f, False)
    sink.counts.stream_resyncs += 1
    sink.counts.stream_junk += consumed
    return consumed


cdef inline void give_on(stream_sink *sink, const uint8_t *data, uint32_t length) noexcept nogil:
    sink.counts.stream_messages += 1
    match_datagram(sink.table, sink.info, data, length, sink.now_ns)


cdef inline bint is_tls(const uint8_t *data, uint32_t length) noexcept nogil:
    """The header of a TLS record (RFC 8446 5.1), which is none of SIP's text."""
    return length >= 3 and 20 <= data[0] <= 24 and data[1] == 3 and data[2] <= 4


cdef inline bint is_http(const uint8_t *line, uint32_t length) noexcept nogil:
    """What opens a WebSocket: `GET … HTTP/1.1` or `HTTP/1.1 101` (RFC 6455 4.1, 4.2.2)."""
    if length and line[length - 1] == 13:
        length -= 1
    if length < 12:
        return False
    return memcmp(line, b"HTTP/1.1 ", 9) == 0 or (
        memcmp(line, b"GET ", 4) == 0 and memcmp(line + length - 9, b" HTTP/1.1", 9) == 0)


cdef inline bint is_start_line(const uint8_t *line, uint32_t length) noexcept nogil:
    """Strictly RFC 3261 7.1 and 7.2, for a search: a header that mentions SIP/2.0 must not look like one."""
    cdef uint32_t i = 0
    if length and line[length - 1] == 13:
        length -= 1
    if length < 12:
        return False
    if memcmp(line, b"SIP/2.0 ", 8) == 0:
        return is_digit(line[8]) and is_digit(line[9]) and is_digit(line[10])
    if memcmp(line + length - 8, b" SIP/2.0", 8) != 0:
        return False
    while i < length and 65 <= line[i] <= 90:
        i += 1
    return i > 2 and line[i] == 32 and i + 9 < length


cdef inline uint32_t blank_line(const uint8_t *data, uint32_t start, uint32_t length) noexcept nogil:
    """The end of the empty line that ends the headers, searched from `start`; 0 when there is none yet."""
    cdef const uint8_t *end = data + length
    cdef const uint8_t *p = find(data + start, end, 10)
    while p < end:
        if p + 1 < end and p[1] == 10:
            return <uint32_t>(p + 2 - data)
        if p + 2 < end and p[1] == 13 and p[2] == 10:
            return <uint32_t>(p + 3 - data)
        p = find(p + 1, end, 10)
    return 0


cdef inline bint upgrades(const uint8_t *data, uint32_t length) noexcept nogil:
    """Whether HTTP headers say `Upgrade: websocket`."""
    cdef const uint8_t *end = data + length
    cdef const uint8_t *at = find(data, end, 10)
    cdef span line, name, value
    if memcmp(data, b"HTTP", 4) == 0 and memcmp(data + 9, b"101", 3) != 0:
        return False
    if at < end:
        at += 1
    while next_line(&at, end, &line):
        if cut_header(line, &name, &value) and is_word(name, b"upgrade", 7):
            value = trim(value)
            return value.length >= 9 and same_folded(value.data, b"websocket", 9)
    return False


cdef inline uint32_t search(framing *f, stream_sink *sink, const uint8_t *data, uint32_t length) noexcept nogil:
    """Octets to pass over; `synced` when what follows them is understood again."""
    cdef const uint8_t *end = data + length
    cdef const uint8_t *p = data
    cdef const uint8_t *line_end
    if is_tls(data, length):
        sink.counts.stream_encrypted += 1
        sink.counts.stream_junk += length
        return length
    if ws_begins_sip(data, length):
        if f.kind != STREAM_WEBSOCKET:
            sink.counts.websocket_joined += 1
        f.kind = STREAM_WEBSOCKET
        framing_restart(f, True)
        return 0
    while p < end:
        line_end = find(p, end, 10)
        if line_end == end:
            # The end of a line may be still to come. In WebSocket frames the start of the next segment matters more.
            if f.kind == STREAM_WEBSOCKET or end - p > STREAM_LINE or not 65 <= p[0] <= 90:
                p = end
            break
        if is_start_line(p, <uint32_t>(line_end - p)) or is_http(p, <uint32_t>(line_end - p)):
            f.kind = STREAM_SIP
            framing_restart(f, True)
            break
        p = line_end + 1
    sink.counts.stream_junk += <uint64_t>(p - data)
    return <uint32_t>(p - data)


cdef inline uint32_t cut_message(framing *f, stream_sink *sink, const uint8_t *data, uint64_t total) noexcept nogil:
    """Give on the first STREAM_MESSAGE octets of a message that is longer; `total` 0: nobody knows how long."""
    sink.counts.messages_cut += 1
    give_on(sink, data, STREAM_MESSAGE)
    if total == 0 or total > STREAM_SKIP:
        framing_restart(f, False)
        sink.counts.stream_resyncs += 1
    else:
        f.skip = total - STREAM_MESSAGE
        framing_restart(f, True)
    return STREAM_MESSAGE


cdef inline uint32_t frame_sip(framing *f, stream_sink *sink, const uint8_t *data, uint32_t length) noexcept nogil:
    """Octets of the keep-alives, the message or the HTTP headers at `data`; 0 when they are not whole yet."""
    cdef const uint8_t *end = data + length
    cdef const uint8_t *line_end
    cdef const uint8_t *start = NULL
    cdef sip_message m
    cdef uint32_t at = 0
    cdef uint64_t total
    if f.scanned == 0:
        while at < length and (is_blank(data[at]) or data[at] == 0):
            at += 1
        if at:
            return at
        if is_tls(data, length):
            sink.counts.stream_encrypted += 1
            return lose_sync(f, sink, length)
        line_end = find(data, end, 10)
        if line_end == end:
            return lose_sync(f, sink, length) if length >= STREAM_MESSAGE else 0
        if not is_http(data, <uint32_t>(line_end - data)):
            if not start_line_at(data, end, &start):
                return lose_sync(f, sink, <uint32_t>(line_end + 1 - data))
            if start > data:
                sink.counts.stream_junk += <uint64_t>(start - data)
                return <uint32_t>(start - data)
        f.scanned = <uint32_t>(line_end - data)
    at = blank_line(data, f.scanned, length)
    if at == 0:
        if length >= STREAM_MESSAGE:
            return cut_message(f, sink, data, 0)
        f.scanned = length - 2 if length > f.scanned + 2 else f.scanned
        return 0
    if is_http(data, <uint32_t>(find(data, end, 10) - data)):
        if upgrades(data, at):
            sink.counts.websocket_upgrades += 1
            f.kind = STREAM_WEBSOCKET
        framing_restart(f, True)
        return at
    if not f.head:
        f.head = True
        f.scanned = at - 3 if at > f.scanned + 3 else f.scanned
    scan_message(&m, data, data + at)
    if not m.has_length:
        sink.counts.messages_without_length += 1
    total = at + (m.content_length if m.has_length else 0)
    if total > STREAM_MESSAGE:
        f.needed = STREAM_MESSAGE
        return cut_message(f, sink, data, total) if length >= STREAM_MESSAGE else 0
    f.needed = <uint32_t>total
    if length < total:
        return 0
    give_on(sink, data, <uint32_t>total)
    framing_restart(f, True)
    return <uint32_t>total


cdef inline uint32_t gather(stream_sink *sink, const uint8_t *data, uint32_t length) noexcept nogil:
    """The payloads of the whole frames at `data` into the scratch, as much as it holds; how many octets."""
    cdef ws_frame frame
    cdef uint32_t at = 0
    cdef uint32_t have = 0
    cdef uint32_t size
    while at < length and ws_read(data + at, length - at, &frame) == WS_OK:
        size = length - at - frame.header
        if frame.payload < size:
            size = <uint32_t>frame.payload
        if frame.opcode < WS_CLOSE:
            if have + size > STREAM_MESSAGE:
                size = STREAM_MESSAGE - have
                sink.counts.messages_cut += 1
            ws_copy(sink.scratch + have, data + at + frame.header, size, &frame)
            have += size
        if frame.payload > length - at - frame.header:
            break
        at += frame.header + <uint32_t>frame.payload
    return have


cdef inline uint32_t frame_websocket(framing *f, stream_sink *sink, const uint8_t *data,
                                     uint32_t length) noexcept nogil:
    """Octets of the control frame or of the frames of one message at `data`; 0 when they are not whole yet."""
    cdef ws_frame frame
    cdef uint32_t at = f.scanned  # behind the whole frames of a message that goes on
    cdef int found
    cdef bint first
    while True:
        found = ws_read(data + at, length - at, &frame)
        if found == WS_SHORT:
            return 0
        first = frame.opcode < WS_CLOSE and frame.opcode != WS_CONTINUATION
        if found == WS_OK and frame.opcode < WS_CLOSE and first != (f.scanned == 0):
            found = WS_BAD  # a continuation of nothing, or a message within another
        if found == WS_BAD:
            sink.counts.websocket_malformed += 1
            return lose_sync(f, sink, at if at else 1)
        if frame.opcode >= WS_CLOSE or frame.compressed:
            if frame.payload > STREAM_SKIP:
                sink.counts.websocket_malformed += 1
                return lose_sync(f, sink, at + frame.header)
            if f.scanned == 0:
                f.skip = frame.payload
                sink.counts.websocket_frames += 1
                if frame.compressed:
                    sink.counts.websocket_compressed += 1
                    f.kind = STREAM_WEBSOCKET
                else:
                    sink.counts.websocket_control += 1
                return frame.header
        if at + frame.header + frame.payload > length:
            if frame.payload > STREAM_UNIT or at + frame.header + <uint32_t>frame.payload > STREAM_UNIT:
                if length < STREAM_UNIT:
                    f.needed = STREAM_UNIT
                    return 0
                give_on(sink, sink.scratch, gather(sink, data, length))
                sink.counts.messages_cut += 1
                return lose_sync(f, sink, length)
            f.needed = at + frame.header + <uint32_t>frame.payload
            return 0
        at += frame.header + <uint32_t>frame.payload
        sink.counts.websocket_frames += 1
        if frame.opcode >= WS_CLOSE:
            sink.counts.websocket_control += 1
        elif frame.final:
            give_on(sink, sink.scratch, gather(sink, data, at))
            framing_restart(f, True)
            return at
        f.scanned = at
        f.needed = 0
        if at >= STREAM_UNIT:
            sink.counts.messages_cut += 1
            give_on(sink, sink.scratch, gather(sink, data, at))
            return lose_sync(f, sink, at)


cdef inline uint32_t frame_octets(framing *f, stream_sink *sink, const uint8_t *data, uint32_t length) noexcept nogil:
    """Give on all messages that are whole in `data`, the head of the stream; how many octets are done with."""
    cdef uint32_t at = 0
    cdef uint32_t step
    while at < length:
        if f.skip:
            step = length - at if f.skip > length - at else <uint32_t>f.skip
            f.skip -= step
        elif length - at < f.needed:
            break
        elif not f.synced:
            step = search(f, sink, data + at, length - at)
            if step == 0 and not f.synced:
                break
        elif f.kind == STREAM_WEBSOCKET:
            step = frame_websocket(f, sink, data + at, length - at)
            if step == 0:
                break
        else:
            step = frame_sip(f, sink, data + at, length - at)
            if step == 0:
                break
        at += step
    return at


cdef inline void frame_gap(framing *f, stream_sink *sink, const uint8_t *data, uint32_t length,
                           uint64_t gap) noexcept nogil:
    """`gap` octets behind the `length` that wait are lost. A message whose headers are whole is given on cut off, and
    what follows it is found by its length; else the stream is searched."""
    if f.skip:
        if f.skip >= gap:
            f.skip -= gap
            return
        f.skip = 0
    elif f.synced and f.kind == STREAM_SIP and f.head:
        sink.counts.messages_cut += 1
        give_on(sink, data, length)
        if f.needed >= length + gap:
            f.skip = f.needed - length - gap
            framing_restart(f, True)
            return
    elif length:
        sink.counts.messages_unfinished += 1
    framing_restart(f, False)
    sink.counts.stream_resyncs += 1
