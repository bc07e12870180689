# Digits dialed in the voice band: G.711 of a subject whose order has dialed digit extraction on goes
# through the DTMF receiver (ext/voice.pxd, ext/dtmf.h) and each press becomes one X2 PDU (47 CFR 1.20007(b)(6)).
#
# The voice itself goes nowhere: of each packet nothing but the receiver's state is kept, and that is wiped when the
# flow ends. Only the direction from the subject has such a flow. A key that still sounds when its flow ends was
# pressed.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from dialog cimport call
from entitled cimport dials, may_see
from flows cimport flow
from match_table cimport (
    COUNT_INBAND_DIGITS, COUNT_PDUS, COUNT_VOICE, COUNT_VOICE_LATE, COUNT_VOICE_LOST, COUNT_VOICE_MALFORMED,
    COUNT_VOICE_REFUSED, match_table,
)
from packet cimport packet_info
from rtp cimport RTP_HEADER
from targets cimport task
from voice cimport (
    NO_VOICE, VOICE_ALAW, VOICE_LATE, VOICE_ULAW, drop_voice, end_voice, hear_packet, new_voice, read_voice,
    skip_packet, voice_channel, voice_press, voice_presses, voice_view,
)
from x2 cimport DIRECTION_FROM_TARGET, FORMAT_PROPRIETARY, write_pdu

cdef enum:
    INBAND_OCTETS = 8
    INBAND_VERSION = 1
    PCMU = 0                   # RFC 3551 section 6
    PCMA = 8


cdef inline bint in_types(const uint64_t *types, uint8_t payload_type) noexcept nogil:
    return types[payload_type >> 6] >> (payload_type & 63) & 1


cdef inline bint is_voice_packet(const flow *f, const uint8_t *payload, uint32_t length) noexcept nogil:
    """By the payload type that the receiver's description gives to G.711."""
    return length >= RTP_HEADER and (
        in_types(f.at.ulaw, payload[1] & 0x7f) or in_types(f.at.alaw, payload[1] & 0x7f))


cdef inline void emit_press(match_table *t, const flow *f, const voice_press *press, const packet_info *info,
                            uint64_t now_ns) noexcept nogil:
    """One X2 PDU for every task that may have the digits of the party that sends, stamped when the press began."""
    cdef const call *c = &t.calls.calls[f.call]
    cdef packet_info began = info[0]
    cdef uint8_t payload[INBAND_OCTETS]
    cdef uint32_t sounded = press.sounded_ms if press.sounded_ms < 0xffff else 0xffff
    cdef uint32_t i
    cdef task *k
    cdef bint any_task = False
    began.stamp_ns = press.stamp_ns
    memset(payload, 0, sizeof(payload))
    payload[0] = INBAND_VERSION
    payload[1] = press.key
    payload[2] = PCMA if press.law == VOICE_ALAW else PCMU
    payload[4] = <uint8_t>(sounded >> 8)
    payload[5] = <uint8_t>sounded
    for i in range(c.task_count):
        if not dials(t, c, &c.tasks[i], f.party) or not may_see(t, &c.tasks[i], &began, now_ns):
            continue
        k = &t.targets.tasks[c.tasks[i].task]
        k.sequence += 1
        any_task = True
        if write_pdu(&t.out, k.xid, c.handle, FORMAT_PROPRIETARY, DIRECTION_FROM_TARGET, c.tasks[i].role, k.sequence,
                     &began, t.iaps[info.iap].name, t.iaps[info.iap].name_length, payload, INBAND_OCTETS):
            t.counters[COUNT_PDUS] += 1
    if any_task:
        t.counters[COUNT_INBAND_DIGITS] += 1


cdef inline void emit_presses(match_table *t, const flow *f, voice_channel *channel, const voice_presses *presses,
                              const packet_info *info, uint64_t now_ns) noexcept nogil:
    cdef uint32_t i
    t.counters[COUNT_VOICE_LOST] += channel.lost
    channel.lost = 0
    for i in range(presses.count):
        emit_press(t, f, &presses.items[i], info, now_ns)


cdef inline bint hear_voice(match_table *t, uint32_t index, const packet_info *info, const uint8_t *payload,
                            uint32_t length, uint64_t now_ns) noexcept nogil:
    """Listen to one packet of a flow, if a task may have the digits in it now; whether one may."""
    cdef flow *f = &t.flows.flows[index]
    cdef const call *c = &t.calls.calls[f.call]
    cdef voice_channel *channel
    cdef voice_view view
    cdef voice_presses presses
    cdef bint any_task = False
    cdef uint32_t i
    if c.over_ns:
        return False
    for i in range(c.task_count):
        any_task |= dials(t, c, &c.tasks[i], f.party) and may_see(t, &c.tasks[i], info, now_ns)
    if not any_task:
        return False
    if not read_voice(payload, length, &view):
        t.counters[COUNT_VOICE_MALFORMED] += 1
        return True
    if f.voice == NO_VOICE:
        f.voice = new_voice(&t.voices)
        if f.voice == NO_VOICE:
            t.counters[COUNT_VOICE_REFUSED] += 1
            return True
    channel = &t.voices.channels[f.voice]
    view.law = VOICE_ULAW if in_types(f.at.ulaw, payload[1] & 0x7f) else VOICE_ALAW
    view.stamp_ns = info.stamp_ns
    presses.count = 0
    if hear_packet(channel, &view, &presses) == VOICE_LATE:
        t.counters[COUNT_VOICE_LATE] += 1
        return True
    t.counters[COUNT_VOICE] += 1
    channel.info = info[0]
    channel.now_ns = now_ns
    emit_presses(t, f, channel, &presses, info, now_ns)
    return True


cdef inline void pass_number(match_table *t, const flow *f, const uint8_t *payload) noexcept nogil:
    """An event's packet (RFC 4733) took the next number of the source: no voice was lost."""
    if f.voice != NO_VOICE:
        skip_packet(&t.voices.channels[f.voice], payload)


cdef inline void quiet_flow(match_table *t, uint32_t index) noexcept nogil:
    """Before a flow ends: report what still sounds, to those who may have it, and wipe the channel."""
    cdef flow *f = &t.flows.flows[index]
    cdef voice_channel *channel
    cdef voice_presses presses
    if f.voice == NO_VOICE:
        return
    channel = &t.voices.channels[f.voice]
    presses.count = 0
    end_voice(channel, &presses)
    emit_presses(t, f, channel, &presses, &channel.info, channel.now_ns)
    drop_voice(&t.voices, f.voice)
    f.voice = NO_VOICE
