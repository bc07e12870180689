# TCP (RFC 9293) on signalling ports: each direction of a connection put in order on its own, bounded in connections,
# octets, pieces and time, and given to ext/stream.pxd. We only listen, so nothing can be asked for again: what was
# lost on the way to us is passed over (frame_gap) when it has not come within GAP_NS.
#
# In order, and with no message begun before, a segment is read where it lies; only what is not a whole message yet is
# copied, into one of WINDOWS windows. Where octets come twice and differ, the first ones count. Windows are reused
# without being cleared and never leave this process. A connection may be picked up in the middle.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove, memset

from ethernet cimport be16, be32
from ip cimport PROTOCOL_TCP, checksum_add, checksum_fold
from keyed_hash cimport hash_octets
from linux cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from match cimport match_table
from packet cimport packet_info
from stream cimport (
    STREAM_MESSAGE, STREAM_SIP, frame_gap, frame_octets, framing, framing_restart, stream_counters, stream_sink,
)
from udp cimport pseudo_header

cdef enum:
    TCP_STREAMS = 32768        # directions followed at once, 16,384 connections; the one silent longest makes room
    TCP_BUCKETS = 65536
    WINDOWS = 256              # streams with octets that wait; x WINDOW_OCTETS = 32 MiB of addresses, touched when used
    WINDOW_OCTETS = 131072     # a message of 64 KiB, and as much again that came ahead
    WINDOW_PIECES = 48         # that came ahead: 64 KiB at an MTU of 1,500 are 46
    JUMP = 1 << 24             # a distance that no window scale in use bridges: another place in the stream
    GAP_NS = 2_000_000_000     # two repetitions at the 1 s of RFC 6298 2.4, and well below the 8 s of 47 CFR 1.20007
    CHUNK = 16384              # taken at once, so that what waits in order and one of these fit into a window
    NO_STREAM = 0xffffffff
    UNKNOWN_ERROR_US = 0xffffffff  # ext/packet.pxd

    TCP_OK = 0
    TCP_MALFORMED = 1
    TCP_CHECKSUM = 2

    FLAG_FIN = 1
    FLAG_SYN = 2
    FLAG_RST = 4


cdef struct tcp_segment:
    uint32_t sequence
    uint8_t flags
    const uint8_t *data
    uint32_t length


cdef struct stream_key:
    uint8_t source[16]
    uint8_t destination[16]
    uint16_t source_port
    uint16_t destination_port
    uint32_t family


cdef struct tcp_stream:
    stream_key key
    framing framing
    uint32_t next              # sequence number of the first octet that is not done with
    uint32_t first             # behind its SYN, if that was seen
    bint opened
    int32_t window             # where octets wait, -1: none do
    uint32_t chain             # of the bucket
    uint32_t newer
    uint32_t older


cdef struct piece:
    uint32_t offset            # in the window
    uint32_t length
    uint64_t stamp_ns
    uint32_t error_us
    uint8_t undisciplined


cdef struct tcp_window:
    uint32_t stream
    bint used
    uint32_t have              # octets in order
    uint32_t count             # pieces ahead, in order and apart from each other
    uint64_t gap_ns            # when the gap before the first of them was noticed
    uint64_t used_ns
    piece[WINDOW_PIECES] pieces


cdef struct tcp_table:
    tcp_stream *streams
    uint32_t *buckets
    tcp_window *windows
    uint8_t *octets
    uint8_t *scratch
    uint32_t used              # entries of `streams` that were ever used
    uint32_t spare             # chain of those that are free
    uint32_t newest
    uint32_t oldest
    uint32_t windows_used
    uint64_t gap_ns            # no gap is older
    stream_counters counts


cdef inline void tcp_free(tcp_table *t) noexcept nogil:
    if t == NULL:
        return
    free(t.streams)
    free(t.buckets)
    free(t.windows)
    if t.octets != NULL:
        munmap(t.octets, <size_t>WINDOWS * WINDOW_OCTETS + STREAM_MESSAGE)
    free(t)


cdef inline tcp_table *tcp_new() noexcept nogil:
    """NULL when memory is short. What is never used is never touched."""
    cdef tcp_table *t = <tcp_table *>calloc(1, sizeof(tcp_table))
    cdef void *octets
    if t == NULL:
        return NULL
    t.streams = <tcp_stream *>calloc(TCP_STREAMS, sizeof(tcp_stream))
    t.buckets = <uint32_t *>calloc(TCP_BUCKETS, sizeof(uint32_t))
    t.windows = <tcp_window *>calloc(WINDOWS, sizeof(tcp_window))
    octets = mmap(NULL, <size_t>WINDOWS * WINDOW_OCTETS + STREAM_MESSAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if octets != MAP_FAILED:
        t.octets = <uint8_t *>octets
    if t.streams == NULL or t.buckets == NULL or t.windows == NULL or t.octets == NULL:
        tcp_free(t)
        return NULL
    t.scratch = t.octets + <size_t>WINDOWS * WINDOW_OCTETS
    t.spare = t.newest = t.oldest = NO_STREAM
    return t


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
    segment.flags = data[13]
    segment.data = data + header
    segment.length = length - header
    return TCP_OK


# -- streams ----------------------------------------------------------------------------------------------------------

cdef inline void make_key(stream_key *key, const packet_info *info) noexcept nogil:
    memcpy(key.source, info.source, 16)
    memcpy(key.destination, info.destination, 16)
    key.source_port = info.source_port
    key.destination_port = info.destination_port
    key.family = info.family


cdef inline uint32_t *stream_bucket(tcp_table *t, const match_table *table, const stream_key *key) noexcept nogil:
    """Buckets and chains hold index + 1, so that zeroed memory is an empty table."""
    return &t.buckets[hash_octets(&table.flows.secret, <const uint8_t *>key, sizeof(stream_key)) % TCP_BUCKETS]


cdef inline void unlink_age(tcp_table *t, uint32_t index) noexcept nogil:
    cdef tcp_stream *s = &t.streams[index]
    if s.newer != NO_STREAM:
        t.streams[s.newer].older = s.older
    else:
        t.newest = s.older
    if s.older != NO_STREAM:
        t.streams[s.older].newer = s.newer
    else:
        t.oldest = s.newer


cdef inline void link_newest(tcp_table *t, uint32_t index) noexcept nogil:
    cdef tcp_stream *s = &t.streams[index]
    s.older = t.newest
    s.newer = NO_STREAM
    if t.newest != NO_STREAM:
        t.streams[t.newest].newer = index
    t.newest = index
    if t.oldest == NO_STREAM:
        t.oldest = index


cdef inline uint32_t find_stream(tcp_table *t, const match_table *table, const stream_key *key) noexcept nogil:
    cdef uint32_t at = stream_bucket(t, table, key)[0]
    while at != 0:
        if memcmp(&t.streams[at - 1].key, key, sizeof(stream_key)) == 0:
            return at - 1
        at = t.streams[at - 1].chain
    return NO_STREAM


cdef inline void release_window(tcp_table *t, tcp_stream *s) noexcept nogil:
    if s.window >= 0:
        t.windows[s.window].used = False
        t.windows_used -= 1
        s.window = -1


cdef inline void forget_waiting(tcp_table *t, tcp_stream *s) noexcept nogil:
    """What waits will not become whole."""
    if s.window >= 0 and t.windows[s.window].have and s.framing.synced:
        t.counts.messages_unfinished += 1
    release_window(t, s)


cdef inline void remove_stream(tcp_table *t, const match_table *table, uint32_t index) noexcept nogil:
    cdef tcp_stream *s = &t.streams[index]
    cdef uint32_t *at = stream_bucket(t, table, &s.key)
    while at[0] != index + 1:
        at = &t.streams[at[0] - 1].chain
    at[0] = s.chain
    forget_waiting(t, s)
    unlink_age(t, index)
    s.chain = t.spare
    t.spare = index


cdef inline uint32_t add_stream(tcp_table *t, const match_table *table, const stream_key *key) noexcept nogil:
    cdef uint32_t index
    cdef uint32_t *bucket
    if t.spare == NO_STREAM and t.used == TCP_STREAMS:
        t.counts.streams_evicted += 1
        remove_stream(t, table, t.oldest)
    if t.spare != NO_STREAM:
        index = t.spare
        t.spare = t.streams[index].chain
    else:
        index = t.used
        t.used += 1
    memset(&t.streams[index], 0, sizeof(tcp_stream))
    t.streams[index].key = key[0]
    t.streams[index].window = -1
    bucket = stream_bucket(t, table, key)
    t.streams[index].chain = bucket[0]
    bucket[0] = index + 1
    link_newest(t, index)
    return index


# -- windows ----------------------------------------------------------------------------------------------------------

cdef inline uint8_t *window_octets(tcp_table *t, const tcp_stream *s) noexcept nogil:
    return t.octets + <size_t>s.window * WINDOW_OCTETS


cdef inline tcp_window *take_window(tcp_table *t, uint32_t index, uint64_t stamp_ns) noexcept nogil:
    """The stream's window. When all are taken the one that was not written to for longest is given up."""
    cdef tcp_stream *s = &t.streams[index]
    cdef tcp_stream *other
    cdef int32_t i
    cdef int32_t chosen = 0
    if s.window < 0:
        for i in range(WINDOWS):
            if not t.windows[i].used:
                chosen = i
                break
            if t.windows[i].used_ns < t.windows[chosen].used_ns:
                chosen = i
        if t.windows[chosen].used:
            other = &t.streams[t.windows[chosen].stream]
            t.counts.windows_evicted += 1
            other.next += t.windows[chosen].have
            forget_waiting(t, other)
            framing_restart(&other.framing, False)
        memset(&t.windows[chosen], 0, sizeof(tcp_window))
        t.windows[chosen].used = True
        t.windows[chosen].stream = index
        t.windows_used += 1
        s.window = chosen
    t.windows[s.window].used_ns = stamp_ns
    return &t.windows[s.window]


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
            if clock_ns >= t.windows[i].gap_ns + GAP_NS:
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
    tcp_expire(t, table, info.iap, info.stamp_ns, now_ns)
    make_key(&key, info)
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
            t.counts.streams_reused += 1
            remove_stream(t, table, index)
            index = NO_STREAM
        if index == NO_STREAM:
            t.counts.streams_opened += 1
            index = add_stream(t, table, &key)
            t.streams[index].opened = True
            t.streams[index].first = t.streams[index].next = sequence
            t.streams[index].framing.synced = True
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
