# One direction of G.711 voice in RTP (RFC 3550, RFC 3551) as the DTMF receiver wants it: whole, in order, every sample
# once. Packets become samples here and presses of keys; no octet of voice goes anywhere else.
#
# | what comes                                       | what the receiver hears                                     |
# |--------------------------------------------------|-------------------------------------------------------------|
# | the next packet                                  | its samples, of either law                                  |
# | one packet is missing                            | nothing yet: the packet behind it waits for it, once        |
# | the missing packet, late by one                  | both, in order                                              |
# | packets lost, LOST_MOST samples or less          | silence, over which a key that is held goes on              |
# | a pause of the sender (RFC 3389), a longer loss  | silence until what sounded has ended                        |
# | a packet a second time, or later than that       | nothing: counted                                            |
# | another source (SSRC), a sequence far away       | a new channel; what sounded has ended                       |
# | a time stamp that runs back                      | as if it did not: some gateways count wrongly               |
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from dtmf cimport (
    DTMF_BRIDGE_MS, DTMF_FOUND, VOICE_CHUNK, VOICE_STEP, dtmf_bridge, dtmf_channel, dtmf_end, dtmf_press, dtmf_reset,
    dtmf_samples, voice_expand,
)

cdef enum:
    NO_VOICE = 0xffffffff
    VOICE_HEADER = 12
    VOICE_MOST = 2048          # samples of one packet; an Ethernet frame carries 1,460
    HELD_MOST = 320            # samples of a packet that waits for the one before it: 40 ms
    LOST_MOST = 480            # samples of lost packets over which a press goes on: DTMF_BRIDGE_MS
    STAMPS = 32                # packets whose time stamps are remembered: 320 ms of the shortest usual ones
    FAR = 1000                 # packets: a jump further than that is another stream (RFC 3550, MAX_DROPOUT is 3,000)
    # Chunks of a packet, of one that waited, and of the silence before each of them, DTMF_FOUND presses each.
    PRESSES = (VOICE_MOST // 160 + 1 + HELD_MOST // 160 + 1 + 2 * (LOST_MOST // 160 + 1)) * 8

cdef enum voice_result:
    VOICE_HEARD = 0
    VOICE_MALFORMED = 1        # not version 2, shorter than its header says, empty, or longer than VOICE_MOST
    VOICE_LATE = 2             # a copy, or too late


cdef struct voice_view:        # an RTP packet
    uint16_t sequence
    uint32_t timestamp
    uint32_t ssrc
    const uint8_t *codes
    uint32_t count
    uint8_t law
    uint64_t stamp_ns


cdef struct voice_press:
    uint64_t stamp_ns          # of the packet in which it began
    uint32_t sounded_ms
    uint8_t key                # ASCII
    uint8_t law


cdef struct voice_presses:
    uint32_t count
    voice_press items[PRESSES]


cdef struct voice_channel:
    dtmf_channel dtmf
    bint started
    uint32_t ssrc
    uint32_t timestamp         # of the next packet
    uint16_t sequence
    uint8_t law                # of the newest samples
    uint32_t heard             # samples, modulo 2^32
    uint32_t lost              # packets that never came; the owner takes the number
    uint32_t stamp_count
    uint32_t starts[STAMPS]    # `heard` before a packet, and its stamp
    uint64_t stamps[STAMPS]
    voice_view waiting         # `codes` is not used; count 0: none waits
    uint8_t held[HELD_MOST]
    uint32_t next_free         # in the table


cdef struct voice_table:
    voice_channel *channels
    uint32_t capacity
    uint32_t used              # places in use or freed
    uint32_t count
    uint32_t free_channel


cdef inline bint voices_init(voice_table *t, uint32_t capacity) noexcept nogil:
    """Room for `capacity` channels; memory is touched as they come into use."""
    t.capacity = capacity
    t.used = t.count = 0
    t.free_channel = NO_VOICE
    t.channels = <voice_channel *>calloc(capacity if capacity else 1, sizeof(voice_channel))
    return t.channels != NULL


cdef inline void voices_free(voice_table *t) noexcept nogil:
    free(t.channels)


cdef inline void voice_reset(voice_channel *c) noexcept nogil:
    memset(c, 0, sizeof(voice_channel))
    dtmf_reset(&c.dtmf)


cdef inline uint32_t new_voice(voice_table *t) noexcept nogil:
    """A silent channel, or NO_VOICE when all are in use."""
    cdef uint32_t index = t.free_channel
    if index != NO_VOICE:
        t.free_channel = t.channels[index].next_free
    elif t.used < t.capacity:
        index = t.used
        t.used += 1
    else:
        return NO_VOICE
    t.count += 1
    voice_reset(&t.channels[index])
    return index


cdef inline void drop_voice(voice_table *t, uint32_t index) noexcept nogil:
    """The place is free, and nothing of the voice is left in it."""
    memset(&t.channels[index], 0, sizeof(voice_channel))
    t.channels[index].next_free = t.free_channel
    t.free_channel = index
    t.count -= 1


cdef inline bint read_voice(const uint8_t *p, uint32_t length, voice_view *out) noexcept nogil:
    """The header checks of RFC 3550 section 5.1; `law` and `stamp_ns` are the caller's."""
    cdef uint32_t header
    if length < VOICE_HEADER or p[0] >> 6 != 2:
        return False
    header = VOICE_HEADER + 4 * (p[0] & 15)
    if p[0] & 0x10:
        if length < header + 4:
            return False
        header += 4 + 4 * (<uint32_t>p[header + 2] << 8 | p[header + 3])
    if length <= header:
        return False
    length -= header
    if p[0] & 0x20:
        if p[header + length - 1] >= length:
            return False
        length -= p[header + length - 1]
    if length > VOICE_MOST:
        return False
    out.sequence = <uint16_t>(<uint32_t>p[2] << 8 | p[3])
    out.timestamp = <uint32_t>p[4] << 24 | <uint32_t>p[5] << 16 | <uint32_t>p[6] << 8 | p[7]
    out.ssrc = <uint32_t>p[8] << 24 | <uint32_t>p[9] << 16 | <uint32_t>p[10] << 8 | p[11]
    out.codes = p + header
    out.count = length
    return True


cdef inline uint64_t stamp_of_sample(const voice_channel *c, uint32_t sample) noexcept nogil:
    """The stamp of the packet that a sample came in, or of the oldest that is remembered."""
    cdef uint32_t back = 1
    cdef uint32_t most = c.stamp_count if c.stamp_count < STAMPS else STAMPS
    if most == 0:
        return 0
    while back < most and <int32_t>(sample - c.starts[(c.stamp_count - back) % STAMPS]) < 0:
        back += 1
    return c.stamps[(c.stamp_count - back) % STAMPS]


cdef inline void take_presses(voice_channel *c, const dtmf_press *found, int count, voice_presses *out) noexcept nogil:
    cdef int i
    cdef voice_press *press
    for i in range(count):
        if out.count == PRESSES:
            return  # cannot be: PRESSES is what the most chunks can hold
        press = &out.items[out.count]
        out.count += 1
        press.key = found[i].key
        press.law = c.law
        press.sounded_ms = found[i].sounded_ms
        press.stamp_ns = stamp_of_sample(c, found[i].began)


cdef inline void hear_silence(voice_channel *c, uint32_t count, voice_presses *out) noexcept nogil:
    cdef int16_t samples[VOICE_CHUNK]
    cdef dtmf_press found[DTMF_FOUND]
    cdef uint32_t chunk
    memset(samples, 0, sizeof(samples))
    while count:
        chunk = VOICE_CHUNK if count > VOICE_CHUNK else count
        c.heard += chunk
        take_presses(c, found, dtmf_samples(&c.dtmf, samples, <int>chunk, found), out)
        count -= chunk


cdef inline void hear_codes(voice_channel *c, const voice_view *v, const uint8_t *codes,
                            voice_presses *out) noexcept nogil:
    """The samples of one packet, which is the next one."""
    cdef int16_t samples[VOICE_CHUNK]
    cdef dtmf_press found[DTMF_FOUND]
    cdef uint32_t at = 0
    cdef uint32_t chunk
    c.starts[c.stamp_count % STAMPS] = c.heard
    c.stamps[c.stamp_count % STAMPS] = v.stamp_ns
    c.stamp_count += 1
    if c.stamp_count == 2 * STAMPS:
        c.stamp_count = STAMPS
    c.law = v.law
    while at < v.count:
        chunk = VOICE_CHUNK if v.count - at > VOICE_CHUNK else v.count - at
        voice_expand(samples, codes + at, <int>chunk, v.law)
        c.heard += chunk
        take_presses(c, found, dtmf_samples(&c.dtmf, samples, <int>chunk, found), out)
        at += chunk
    c.sequence = <uint16_t>(v.sequence + 1)
    c.timestamp = v.timestamp + v.count


cdef inline void hear_behind(voice_channel *c, const voice_view *v, const uint8_t *codes,
                             voice_presses *out) noexcept nogil:
    """A packet that is not before its turn; what is missing in front of it never comes any more."""
    cdef uint32_t missing = <uint16_t>(v.sequence - c.sequence)
    cdef int32_t gap = <int32_t>(v.timestamp - c.timestamp)
    c.lost += missing
    if gap > 0:
        if missing and gap <= LOST_MOST:
            dtmf_bridge(&c.dtmf, gap)
        hear_silence(c, <uint32_t>gap if gap < LOST_MOST else LOST_MOST, out)
    hear_codes(c, v, codes, out)


cdef inline void hear_waiting(voice_channel *c, voice_presses *out) noexcept nogil:
    cdef voice_view waiting = c.waiting
    if waiting.count:
        c.waiting.count = 0
        hear_behind(c, &waiting, c.held, out)


cdef inline void end_voice(voice_channel *c, voice_presses *out) noexcept nogil:
    """Nothing more comes: what waited is heard, and a key that sounds was pressed until now."""
    cdef dtmf_press found[DTMF_FOUND]
    hear_waiting(c, out)
    take_presses(c, found, dtmf_end(&c.dtmf, found), out)


cdef inline voice_result hear_packet(voice_channel *c, const voice_view *v, voice_presses *out) noexcept nogil:
    """One packet of the flow; presses are added to `out`, which must be empty."""
    cdef uint32_t ahead = <uint16_t>(v.sequence - c.sequence)
    if not c.started or v.ssrc != c.ssrc or FAR < ahead < 0x10000 - FAR:
        if c.started:
            end_voice(c, out)
            voice_reset(c)
        c.started = True
        c.ssrc = v.ssrc
        c.sequence = v.sequence
        c.timestamp = v.timestamp
        ahead = 0
    if ahead > FAR or (c.waiting.count and v.sequence == c.waiting.sequence):
        return VOICE_LATE
    if ahead == 0:
        hear_behind(c, v, v.codes, out)
        hear_waiting(c, out)
    elif ahead == 1 and c.waiting.count == 0 and v.count <= HELD_MOST:
        c.waiting = v[0]
        memcpy(c.held, v.codes, v.count)
    else:
        hear_waiting(c, out)
        hear_behind(c, v, v.codes, out)
    return VOICE_HEARD


cdef inline void skip_packet(voice_channel *c, uint16_t sequence) noexcept nogil:
    """A packet of the same source that is no voice (RFC 4733) took this number."""
    if c.started and sequence == c.sequence and c.waiting.count == 0:
        c.sequence += 1
