# What a call shows of being up: its newest packet and message, the streams that were heard, its session timer, and who
# else announced its media addresses. What follows from it is in ext/continuity.pxd and ext/lapse.pxd.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SOURCES = 8                # of one party that are remembered: audio, video, their repair, some that came before


cdef struct heard_source:
    uint32_t ssrc              # RFC 3550 section 5.1
    uint16_t sequence          # of its newest packet
    bint numbered              # `sequence` is known: RTP of it was heard, not RTCP alone


cdef struct liveness:
    uint64_t heard_ns          # the newest packet that passed, or message that does not end it
    uint64_t signalled_ns      # the newest such message
    uint64_t claimed_ns        # a message of another call announced one of its addresses; 0: none, or it meant nothing
    uint64_t expires_ns        # its session timer has run out by then for certain (RFC 4028); 0: it has none
    uint64_t doubted_ns        # since when packets come that nothing shows to be its own; 0: none do
    uint64_t iaps              # access points of its messages, as bits
    uint8_t source_count[2]    # by party
    uint8_t next_source[2]     # whose place the next one takes
    heard_source sources[2][SOURCES]
    bint shared                # others announce its addresses while it is up: that says nothing of it
    bint lapsed                # its end was not seen: nothing of it passes until its signalling goes on
