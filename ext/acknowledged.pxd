# What the receiver of a stream says that it has: its acknowledgements (RFC 9293 3.4), which pass in the other direction
# of the connection. They tell what it took from what was only sent by: one octet held back for a while, one segment far
# ahead or one SYN with an invented number, which the receiver waits out or drops, would hide a subject's messages from
# who believes each segment.
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from match cimport match_table
from streams cimport NO_STREAM, add_stream, find_stream, remove_stream, stream_key, tcp_stream, tcp_table

cdef enum:
    JUMP = 1 << 24             # a distance that no window scale in use bridges: another place in the stream


cdef inline uint32_t in_order(const tcp_table *t, const tcp_stream *s) noexcept nogil:
    """The number of the first octet that is not in order yet."""
    return s.next + (t.windows[s.window].have if s.window >= 0 else 0)


cdef inline bint is_confirmed(const tcp_table *t, const tcp_stream *s) noexcept nogil:
    """Whether the receiver, by its own word, waits for what is waited for here, or has less. Not when it was not seen:
    a tap may see one direction alone."""
    return s.acknowledges and <uint32_t>(in_order(t, s) - s.acknowledged) <= JUMP


cdef inline uint32_t open_stream(tcp_table *t, match_table *table, const stream_key *key,
                                 uint32_t sequence) noexcept nogil:
    """A connection that begins behind its SYN at `sequence`."""
    cdef uint32_t index = add_stream(t, table, key)
    t.counts.streams_opened += 1
    t.streams[index].opened = True
    t.streams[index].first = t.streams[index].next = sequence
    t.streams[index].framing.synced = True
    return index


cdef inline bint note_acknowledged(tcp_table *t, match_table *table, const stream_key *key, uint32_t number,
                                   bint opening) noexcept nogil:
    """The receiver of the other direction says what it has. True when it takes up (`opening`: SYN and ACK) a SYN that
    was in doubt: both directions begin anew."""
    cdef stream_key other
    cdef tcp_stream *s
    cdef uint32_t index
    memcpy(other.source, key.destination, 16)
    memcpy(other.destination, key.source, 16)
    other.source_port = key.destination_port
    other.destination_port = key.source_port
    other.family = key.family
    index = find_stream(t, table, &other)
    if index == NO_STREAM:
        return False
    s = &t.streams[index]
    opening = opening and s.doubted and number == s.doubted_first
    if opening:
        t.counts.streams_reused += 1
        remove_stream(t, table, index)
        s = &t.streams[open_stream(t, table, &other, number)]
    elif s.acknowledges and <uint32_t>(s.acknowledged - number) <= JUMP:
        return False  # what it said before, or less: an older segment
    s.acknowledges = True
    s.acknowledged = number
    return opening
