# TCP (RFC 9293) on signalling ports: each direction of a connection put in order on its own, bounded in connections,
# octets, pieces and time (ext/streams.pxd), and given to ext/stream.pxd. We only listen, so nothing can be asked for
# again: what was lost on the way to us is passed over (frame_gap) when it has not come within GAP_NS.
#
# In order, and with no message begun before, a segment is read where it lies; only what is not a whole message yet is
# copied, into a window. Where octets come twice and differ, the first ones count. A connection may be picked up in the
# middle.
#
# As long as the receiver has nothing that we have not (ext/acknowledged.pxd), no gap is passed over, and a segment or a
# SYN at another place, which the receiver drops (3.10.7.4), moves nothing.
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from acknowledged cimport JUMP, is_confirmed, note_acknowledged, open_stream
from ethernet cimport be16, be32
from ip cimport PROTOCOL_TCP, checksum_add, checksum_fold
from match cimport match_table
from packet cimport packet_info
from stream cimport frame_gap, frame_octets, framing_restart, stream_sink
from streams cimport (
    NO_STREAM, WINDOWS, WINDOW_OCTETS, WINDOW_PIECES, add_stream, find_stream, forget_waiting, link_newest, make_key,
    piece, release_window, remove_stream, stream_key, take_window, tcp_stream, tcp_table, tcp_window, unlink_age,
    window_octets,
)
from udp cimport pseudo_header

cdef enum:
    GAP_NS = 2_000_000_000     # two repetitions at the 1 s of RFC 6298 2.4, and well below the 8 s of 47 CFR 1.20007
    CHUNK = 16384              # taken at once, so that what waits in order and one of these fit into a window
    UNKNOWN_ERROR_US = 0xffffffff  # ext/packet.pxd

    TCP_OK = 0
    TCP_MALFORMED = 1
    TCP_CHECKSUM = 2

    FLAG_FIN = 1
    FLAG_SYN = 2
    FLAG_RST = 4
    FLAG_ACK = 16


cdef struct tcp_segment:
    uint32_t sequence
    uint32_t acknowledged
    uint8_t flags
    const uint8_t *data
    uint32_t length


cdef inline int read_tcp(
    const uint8_t *data, uint32_t length, bint verify, packet_info *info, tcp_segment *segment,
) noexcept nogil:
    """Ports into `info`, the rest into `segment`."""
    cdef uint32_t header
    if length < 20:
        return TCP_MALFORMED
    header = <uint32_t>(data[12] >> 4) * 4
    if header < 20 or header > length:
        return TCP_MALFORMED
    if verify and checksum_fold(
            checksum_add(pseudo_header(info, PROTOCOL_TCP, length), data, length)) != 0xffff:
        return TCP_CHECKSUM
    info.protocol = PROTOCOL_TCP
    info.source_port = be16(data)
    info.destination_port = be16(data + 2)
    segment.sequence = be32(data + 4)
    segment.acknowledged = be32(data + 8)
    segment.flags = data[13]
    segment.data = data + header
    segment.length = length - header
    return TCP_OK


cdef inline void drop_piece(tcp_window *w, uint32_t i) noexcept nogil:
    memmove(&w.pieces[i], &w.pieces[i + 1], (w.count - i - 1) * sizeof(piece))
    w.count -= 1


cdef inline void shift_window(tcp_table *t, tcp_stream *s, tcp_window *w, uint32_t octets) noexcept nogil:
    """`octets` at the head are done with."""
    cdef uint8_t *data = window_octets(t, s)
    cdef uint32_t end = w.have
    cdef uint32_t i
    if octets == 0:
        return
    if w.count:
        end = w.pieces[w.count - 1].offset + w.pieces[w.count - 1].length
    memmove(data, data + octets, end - octets)
    for i in range(w.count):
        w.pieces[i].offset -= octets
    w.have -= octets
    s.next += octets


cdef inline void frame_window(tcp_table *t, uint32_t index, stream_sink *sink) noexcept nogil:
    cdef tcp_stream *s = &t.streams[index]
    cdef tcp_window *w = &t.windows[s.window]
    while w.count and w.pieces[0].offset <= w.have:
        w.have = w.pieces[0].offset + w.pieces[0].length
        drop_piece(w, 0)
    shift_window(t, s, w, frame_octets(&s.framing, sink, window_octets(t, s), w.have))
    if w.count == 0 and w.have == 0:
        release_window(t, s)


cdef inline void pass_gap(tcp_table *t, uint32_t index, stream_sink *sink) noexcept nogil:
    """The octets before the first piece never came. Each message behind them has the stamp of the newest piece that
    it needed."""
    cdef tcp_stream *s = &t.streams[index]
    cdef tcp_window *w = &t.windows[s.window]
    cdef packet_info info = sink.info[0]
    cdef stream_sink later = sink[0]
    cdef uint32_t gap = w.pieces[0].offset - w.have
    t.counts.stream_gaps += 1
    t.counts.stream_gap_octets += gap
    info.stamp_ns = 0
    later.info = &info
    if w.pieces[0].stamp_ns > info.stamp_ns:
        info.stamp_ns = w.pieces[0].stamp_ns
        info.error_us = w.pieces[0].error_us
        info.undisciplined = w.pieces[0].undisciplined
    frame_gap(&s.framing, &later, window_octets(t, s), w.have, gap)
    w.have = w.pieces[0].offset
    shift_window(t, s, w, w.have)
    while w.count and w.pieces[0].offset == w.have:
        if w.pieces[0].stamp_ns > info.stamp_ns:
            info.stamp_ns = w.pieces[0].stamp_ns
            info.error_us = w.pieces[0].error_us
            info.undisciplined = w.pieces[0].undisciplined
        w.have += w.pieces[0].length
        drop_piece(w, 0)
        shift_window(t, s, w, frame_octets(&s.framing, &later, window_octets(t, s), w.have))
    w.gap_ns = sink.info.stamp_ns
    if w.count == 0 and w.have == 0:
        release_window(t, s)


cdef inline void stream_info(const stream_key *key, packet_info *info) noexcept nogil:
    memcpy(info.source, key.source, 16)
    memcpy(info.destination, key.destination, 16)
    info.source_port = key.source_port
    info.destination_port = key.destination_port
    info.family = <uint8_t>key.family
    info.protocol = PROTOCOL_TCP


cdef inline void tcp_expire(tcp_table *t, match_table *table, uint8_t iap, uint64_t clock_ns,
                            uint64_t now_ns) noexcept nogil:
    """Pass over the gaps that have waited GAP_NS by the clock of the stamps. Cheap when there are none."""
    cdef packet_info info
    cdef stream_sink sink
    cdef uint64_t oldest = clock_ns
    cdef uint32_t index
    cdef int i
    if t.windows_used == 0 or clock_ns < t.gap_ns + GAP_NS:
        return
    memset(&info, 0, sizeof(packet_info))
    info.iap = iap
    info.stamp_ns = clock_ns
    sink.table = table
    sink.info = &info
    sink.now_ns = now_ns
    sink.scratch = t.scratch
    sink.counts = &t.counts
    for i in range(WINDOWS):
        if t.windows[i].used and t.windows[i].count:
            index = t.windows[i].stream
            stream_info(&t.streams[index].key, &info)
            if clock_ns >= t.windows[i].gap_ns + GAP_NS and is_confirmed(t, &t.streams[index]):
                t.windows[i].gap_ns = clock_ns  # the receiver waits as well
            elif clock_ns >= t.windows[i].gap_ns + GAP_NS:
                pass_gap(t, index, &sink)
            elif t.windows[i].gap_ns < oldest:
                oldest = t.windows[i].gap_ns
    t.gap_ns = oldest


cdef inline bint extend_piece(piece *p, uint32_t offset, uint32_t length, const packet_info *info) noexcept nogil:
    """One piece of two that touch. Its stamp is the newer one, and its error as much more as they are apart."""
    cdef uint64_t apart_us = 0
    cdef uint64_t error_us
    if p.offset + p.length != offset:
        return False
    p.length += length
    if info.stamp_ns > p.stamp_ns:
        apart_us = (info.stamp_ns - p.stamp_ns + 999) // 1000
        p.stamp_ns = info.stamp_ns
    error_us = apart_us + (info.error_us if info.error_us > p.error_us else p.error_us)
    p.error_us = <uint32_t>error_us if error_us < UNKNOWN_ERROR_US else UNKNOWN_ERROR_US
    p.undisciplined |= info.undisciplined
    return True


cdef inline bint add_piece(tcp_window *w, uint32_t i, uint32_t offset, uint32_t length,
                           const packet_info *info) noexcept nogil:
    if offset == w.have:
        w.have += length  # in order: no piece of its own
        return True
    if w.count == WINDOW_PIECES:
        return i > 0 and extend_piece(&w.pieces[i - 1], offset, length, info)
    memmove(&w.pieces[i + 1], &w.pieces[i], (w.count - i) * sizeof(piece))
    w.pieces[i].offset = offset
    w.pieces[i].length = length
    w.pieces[i].stamp_ns = info.stamp_ns
    w.pieces[i].error_us = info.error_us
    w.pieces[i].undisciplined = info.undisciplined
    w.count += 1
    return True


cdef inline void place_octets(tcp_table *t, tcp_stream *s, tcp_window *w, const packet_info *info, uint32_t offset,
                              const uint8_t *data, uint32_t length) noexcept nogil:
    """Into the window, where nothing stands yet. `offset` is not below `have`, and all of it fits."""
    cdef uint8_t *octets = window_octets(t, s)
    cdef uint32_t at = offset
    cdef uint32_t end = offset + length
    cdef uint32_t stop
    cdef uint32_t i = 0
    cdef uint32_t before
    while at < end:
        while i < w.count and w.pieces[i].offset + w.pieces[i].length <= at:
            i += 1
        stop = end
        if i < w.count and w.pieces[i].offset < end:
            stop = w.pieces[i].offset
        if at < stop:
            before = w.count
            if not add_piece(w, i, at, stop - at, info):
                t.counts.segments_refused += 1
                return
            memcpy(octets + at, data + (at - offset), stop - at)
            i += w.count - before
            at = stop
        if i < w.count and w.pieces[i].offset < end and at < end:
            stop = w.pieces[i].offset + w.pieces[i].length
            if stop > end:
                stop = end
            if memcmp(octets + at, data + (at - offset), stop - at) != 0:
                t.counts.segments_conflicting += 1
            at = stop


cdef inline void add_octets(tcp_table *t, uint32_t index, stream_sink *sink, uint32_t sequence,
                            const uint8_t *data, uint32_t length) noexcept nogil:
    """Octets of one segment, anywhere in the stream."""
    cdef tcp_stream *s = &t.streams[index]
    cdef tcp_window *w
    cdef int32_t ahead = <int32_t>(sequence - s.next)
    cdef uint32_t have
    cdef uint32_t done
    cdef int _
    if (ahead > WINDOW_OCTETS - <int32_t>length or ahead < -JUMP) and is_confirmed(t, s):
        t.counts.segments_refused += 1
        return
    if ahead > JUMP or ahead < -JUMP:
        t.counts.stream_jumps += 1
        forget_waiting(t, s)
        framing_restart(&s.framing, False)
        s.framing.skip = 0
        s.next = sequence
        ahead = 0
    for _ in range(WINDOW_PIECES + 1):  # what does not fit pushes out the gaps that it is too far ahead of
        if ahead + <int32_t>length <= WINDOW_OCTETS:
            break
        done = s.next
        if s.window >= 0 and t.windows[s.window].count:
            pass_gap(t, index, sink)
        else:
            have = t.windows[s.window].have if s.window >= 0 else 0
            t.counts.stream_gaps += 1
            t.counts.stream_gap_octets += <uint32_t>ahead - have
            frame_gap(&s.framing, sink, window_octets(t, s) if have else t.scratch, have, <uint32_t>ahead - have)
            release_window(t, s)
            s.next += <uint32_t>ahead
        ahead -= <int32_t>(s.next - done)
    have = t.windows[s.window].have if s.window >= 0 else 0
    if ahead < <int32_t>have:  # it begins before what is in order
        done = <uint32_t>(<int32_t>have - ahead)
        if done >= length:
            t.counts.segments_repeated += 1
            return
        data += done
        length -= done
        ahead = <int32_t>have
    if s.window < 0 and ahead == 0:
        done = frame_octets(&s.framing, sink, data, length)
        s.next += done
        data += done
        length -= done
        if length == 0:
            return
    w = take_window(t, index, sink.info.stamp_ns)
    if <uint32_t>ahead > w.have and w.count == 0:
        w.gap_ns = sink.info.stamp_ns
        if t.gap_ns > w.gap_ns or t.windows_used == 1:
            t.gap_ns = w.gap_ns
    if <uint32_t>ahead > w.have:
        t.counts.segments_ahead += 1
    have = w.have
    place_octets(t, s, w, sink.info, <uint32_t>ahead, data, length)
    if w.have > have:
        w.gap_ns = sink.info.stamp_ns
        frame_window(t, index, sink)


cdef inline void take_segment(tcp_table *t, match_table *table, const packet_info *info, const tcp_segment *segment,
                              uint64_t now_ns) noexcept nogil:
    """One segment of a connection on a signalling port."""
    cdef stream_key key
    cdef stream_sink sink
    cdef tcp_stream *s
    cdef uint32_t sequence = segment.sequence
    cdef uint32_t index
    cdef uint32_t have
    cdef uint32_t at = 0
    cdef uint32_t size
    cdef bint believed = False
    tcp_expire(t, table, info.iap, info.stamp_ns, now_ns)
    make_key(&key, info)
    if segment.flags & (FLAG_ACK | FLAG_RST) == FLAG_ACK:
        believed = note_acknowledged(t, table, &key, segment.acknowledged, segment.flags & FLAG_SYN)
    index = find_stream(t, table, &key)
    if segment.flags & FLAG_RST:
        if index != NO_STREAM:
            s = &t.streams[index]
            have = t.windows[s.window].have if s.window >= 0 else 0
            if sequence == s.next + have:
                t.counts.streams_closed += 1
                remove_stream(t, table, index)
            else:
                t.counts.resets_ignored += 1
        return
    if segment.flags & FLAG_SYN:
        sequence += 1
        if index != NO_STREAM and not (t.streams[index].opened and t.streams[index].first == sequence):
            if not believed and is_confirmed(t, &t.streams[index]):
                t.counts.openings_doubted += 1
                t.streams[index].doubted = True
                t.streams[index].doubted_first = sequence
                return
            t.counts.streams_reused += 1
            remove_stream(t, table, index)
            index = NO_STREAM
        if index == NO_STREAM:
            index = open_stream(t, table, &key, sequence)
    elif index == NO_STREAM:
        if segment.length == 0:
            return
        t.counts.streams_joined += 1
        index = add_stream(t, table, &key)
        t.streams[index].next = sequence
    s = &t.streams[index]
    if t.newest != index:
        unlink_age(t, index)
        link_newest(t, index)
    if segment.length:
        sink.table = table
        sink.info = info
        sink.now_ns = now_ns
        sink.scratch = t.scratch
        sink.counts = &t.counts
        while at < segment.length:
            size = segment.length - at if segment.length - at < CHUNK else CHUNK
            add_octets(t, index, &sink, sequence + at, segment.data + at, size)
            at += size
    if segment.flags & FLAG_FIN:
        have = t.windows[s.window].have if s.window >= 0 else 0
        if s.next + have == sequence + segment.length and (s.window < 0 or t.windows[s.window].count == 0):
            t.counts.streams_closed += 1
            remove_stream(t, table, index)
