# What the layers of the tap hand to each other: one packet's facts, an output buffer, and changes to the media filter.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy


cdef struct packet_info:
    uint64_t stamp_ns        # kernel or card time stamp, UTC
    uint32_t error_us        # proven bound of its error; 0xffffffff unknown
    uint8_t undisciplined    # 1: the clock was not under discipline
    uint8_t family           # 4 or 6
    uint8_t protocol         # IP protocol number of the payload
    uint8_t iap              # index of the intercept access point
    uint16_t source_port     # host order
    uint16_t destination_port
    uint8_t source[16]       # network order; IPv4 in the first four octets
    uint8_t destination[16]
    const uint8_t *network   # the IP packet, from its header; of a reassembled datagram with a header that fits it
    uint32_t network_length


# Bounded, growing output. `lost` counts appends that the bound refused: the caller reports it, never drops in silence.
cdef struct octet_buffer:
    uint8_t *data
    size_t length
    size_t capacity
    size_t bound
    uint64_t lost


cdef inline bint buffer_reserve(octet_buffer *buffer, size_t more) noexcept nogil:
    """Room for `more` octets at data + length, or 0 (and `lost` is one higher)."""
    cdef size_t want = buffer.length + more
    cdef size_t capacity
    cdef uint8_t *grown
    if want <= buffer.capacity:
        return True
    if want > buffer.bound:
        buffer.lost += 1
        return False
    capacity = buffer.capacity * 2 if buffer.capacity * 2 > want else want
    if capacity > buffer.bound:
        capacity = buffer.bound
    grown = <uint8_t *>realloc(buffer.data, capacity)
    if grown == NULL:
        buffer.lost += 1
        return False
    buffer.data = grown
    buffer.capacity = capacity
    return True


# A change to the kernel's media filter, asked for by the matcher, carried out on the ring's own thread by the walker.
# Key: an address that media of a subject's call is sent to. Of what goes there RTP and RTCP with a payload type (of
# RTCP: the packet type without its highest bit) in `payload_types` passes the kernel, or everything if it is `whole`.
# Of what comes from there everything passes if it is `whole`, RTCP alone if it is `control`; digits never by that.
cdef enum:
    FLOW_ADD = 1
    FLOW_REMOVE = 2

cdef struct flow_change:
    uint8_t operation
    uint8_t family           # 4 or 6
    uint8_t whole
    uint8_t control
    uint16_t port            # host order
    uint8_t address[16]
    uint64_t payload_types[2]   # bit set of RTP payload types 0..127
