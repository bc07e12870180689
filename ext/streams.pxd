# The tables of ext/tcp.pxd: directions of connections found by their ends, the one silent longest first to go; windows
# for octets that wait, the one not written to for longest first to go. Both are bounded, both losses are counted.
# Windows are reused without being cleared and never leave this process.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from keyed_hash cimport hash_octets
from linux cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from match cimport match_table
from packet cimport packet_info
from stream cimport STREAM_MESSAGE, framing, framing_restart, stream_counters

cdef enum:
    TCP_STREAMS = 32768        # directions followed at once, 16,384 connections
    TCP_BUCKETS = 65536
    WINDOWS = 256              # streams with octets that wait; x WINDOW_OCTETS = 32 MiB of addresses, touched when used
    WINDOW_OCTETS = 131072     # a message of 64 KiB, and as much again that came ahead
    WINDOW_PIECES = 48         # that came ahead: 64 KiB at an MTU of 1,500 are 46
    NO_STREAM = 0xffffffff


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
    bint acknowledges          # the other side was seen to acknowledge
    uint32_t acknowledged      # how far
    bint doubted               # a SYN that the other side has not acknowledged
    uint32_t doubted_first     # behind it
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
