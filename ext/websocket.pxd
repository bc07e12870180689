# Frames of WebSocket (RFC 6455 section 5) that carry SIP (RFC 7118): one SIP message in each WebSocket message, as text
# or binary, masked from the client and not from the server. Reads headers and takes masks off; ext/stream.pxd puts
# messages together. Extensions that change the payload (RFC 7692 compression) are told by a reserved bit.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from ethernet cimport be16, be32
from octets cimport is_token, same_folded

cdef enum:
    WS_CONTINUATION = 0
    WS_TEXT = 1
    WS_BINARY = 2
    WS_CLOSE = 8
    WS_PING = 9
    WS_PONG = 10

    WS_CONTROL_AT_MOST = 125   # RFC 6455 5.5
    WS_HEADER_AT_MOST = 14
    WS_LOOK = 24               # octets of a payload in which a method and the blank behind it must stand

    WS_SHORT = 0               # more octets are needed
    WS_OK = 1
    WS_BAD = 2


cdef struct ws_frame:
    uint8_t opcode
    bint final
    bint compressed            # RSV1
    bint masked
    uint8_t mask[4]
    uint32_t header            # octets
    uint64_t payload           # octets


cdef inline int ws_read(const uint8_t *data, uint32_t length, ws_frame *frame) noexcept nogil:
    """The frame header at `data`."""
    cdef uint8_t size
    if length < 2:
        return WS_SHORT
    frame.opcode = data[0] & 15
    frame.final = data[0] >> 7
    frame.compressed = (data[0] & 0x40) != 0
    frame.masked = data[1] >> 7
    size = data[1] & 127
    frame.header = 2
    frame.payload = size
    if data[0] & 0x30 or (2 < frame.opcode < 8) or frame.opcode > WS_PONG:
        return WS_BAD
    if frame.opcode >= WS_CLOSE and (not frame.final or frame.compressed or size > WS_CONTROL_AT_MOST):
        return WS_BAD
    if size == 126:
        if length < 4:
            return WS_SHORT
        frame.payload = be16(data + 2)
        frame.header = 4
    elif size == 127:
        if length < 10:
            return WS_SHORT
        frame.payload = <uint64_t>be32(data + 2) << 32 | be32(data + 6)
        frame.header = 10
        if frame.payload >> 63:
            return WS_BAD
    if frame.masked:
        if length < frame.header + 4:
            return WS_SHORT
        memcpy(frame.mask, data + frame.header, 4)
        frame.header += 4
    return WS_OK


cdef inline void ws_copy(uint8_t *out, const uint8_t *data, uint32_t length, const ws_frame *frame) noexcept nogil:
    """The payload without its mask; `data` is its first octet."""
    cdef uint32_t i
    if not frame.masked:
        memcpy(out, data, length)
        return
    for i in range(length):
        out[i] = data[i] ^ frame.mask[i & 3]


cdef inline bint ws_begins_sip(const uint8_t *data, uint32_t length) noexcept nogil:
    """Whether a whole frame header stands at `data`, and behind it the beginning of a SIP message: how a connection is
    picked up whose upgrade was not seen."""
    cdef ws_frame frame
    cdef uint8_t[WS_LOOK] start
    cdef uint32_t i
    if ws_read(data, length, &frame) != WS_OK or frame.compressed or frame.payload < WS_LOOK:
        return False
    if (frame.opcode != WS_TEXT and frame.opcode != WS_BINARY) or length < frame.header + WS_LOOK:
        return False
    ws_copy(start, data + frame.header, WS_LOOK, &frame)
    if memcmp(start, b"SIP/2.0 ", 8) == 0:
        return True
    for i in range(WS_LOOK - 4):
        if start[i] == 32:  # a method, and a URI that begins with a scheme
            return i > 2 and (same_folded(start + i + 1, b"sip", 3) or same_folded(start + i + 1, b"tel", 3))
        if not is_token(start[i]):
            return False
    return False
