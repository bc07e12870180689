# Calls whose end was not seen: what they hold of the media filter ends, and the agencies that have their content are
# told. Their entries stay, and their own signalling gives everything back (hear_message_of).
#
# | a call has lapsed when                                                              | reason            |
# |-------------------------------------------------------------------------------------|-------------------|
# | its session timer ran out, and nothing was heard of it for QUIET_S                  | LAPSED_SESSION    |
# | for DOUBTED_S packets came that nothing shows to be its own, and nothing of its own | LAPSED_DOUBTED    |
# | its media can be heard, and nothing of it was for SILENT_CALL_S                     | LAPSED_SILENT     |
# The session timer of RFC 4028: whoever refreshes does so within the interval, mostly at its half. One refresh may pass
# unseen, however late it was sent, so it has run out for certain after two intervals and a transaction (64*T1).
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from address cimport skip_value
from call_flows cimport has_content, refresh_flows
from continuity cimport NS, QUIET_S, has_run_out, is_numbered, quiet_ns
from dialog cimport LINGER_S, call
from entitled cimport may_see
from flows cimport flow
from liveness cimport liveness
from match_table cimport (
    COUNT_CALLS_DOUBTED, COUNT_CALLS_LAPSED_DOUBTED, COUNT_CALLS_LAPSED_SESSION, COUNT_CALLS_LAPSED_SILENT,
    COUNT_PDUS, match_table,
)
from octets cimport is_word, make_span, read_decimal, span, trim
from packet cimport packet_info
from rtp cimport is_rtcp
from sip cimport METHOD_BYE, METHOD_INVITE, METHOD_UPDATE, cut_header, next_line, sip_message
from targets cimport task
from x2 cimport DIRECTION_NOT_APPLICABLE, FORMAT_PROPRIETARY, write_pdu

cdef enum:
    DOUBTED_S = 60
    # Twice the default session interval (RFC 4028 section 4), and what media relays give a call without media.
    SILENT_CALL_S = 3600
    LONGEST_SESSION_S = 86400  # a timer beyond that says nothing
    SWEEP_MS = 100             # how often flows are looked at, and how many at once: 10,000 within a second
    SWEEP_FLOWS = 1024
    NOTICE_ERROR_US = 0xffffffff   # ext/packet.pxd: nobody knows
    NOTICE_OCTETS = 2
    NOTICE_VERSION = 2         # 1 is a digit (ext/inband.pxd)

cdef enum notice:              # mediation/core/interface/notice.py
    NOT_LAPSED = 0
    DOUBTED = 1
    LAPSED_SESSION = 2
    LAPSED_DOUBTED = 3
    LAPSED_SILENT = 4


cdef inline void tell_content(match_table *t, call *c, uint32_t what, uint64_t now_ns) noexcept nogil:
    """One X2 PDU for every task that has the call's content, at each access point that the call was seen at."""
    cdef packet_info info
    cdef uint8_t payload[NOTICE_OCTETS]
    cdef uint32_t i, iap
    cdef task *k
    if t.journal.replaying:
        return
    memset(&info, 0, sizeof(info))
    info.stamp_ns = now_ns
    info.error_us = NOTICE_ERROR_US
    info.undisciplined = 1
    payload[0] = NOTICE_VERSION
    payload[1] = <uint8_t>what
    for iap in range(t.iap_count):
        info.iap = <uint8_t>iap
        for i in range(c.task_count):
            k = &t.targets.tasks[c.tasks[i].task]
            if (not (c.live.iaps & k.iap_mask) >> iap & 1 or not has_content(t, c, &c.tasks[i])
                    or not may_see(t, &c.tasks[i], &info, now_ns)):
                continue
            k.sequence += 1
            if write_pdu(&t.out, k.xid, c.handle, FORMAT_PROPRIETARY, DIRECTION_NOT_APPLICABLE, c.tasks[i].role,
                         k.sequence, &info, t.iaps[iap].name, t.iaps[iap].name_length, payload, NOTICE_OCTETS):
                t.counters[COUNT_PDUS] += 1


cdef inline void doubt_call(match_table *t, uint32_t index, const uint8_t *payload, uint32_t length,
                            uint64_t now_ns) noexcept nogil:
    """A packet came that nothing shows to be the call's. What is no RTP (a keep-alive of RFC 6263, STUN) is not worth a
    doubt: it does not pass, and that is all."""
    cdef call *c = &t.calls.calls[index]
    if c.live.doubted_ns or c.over_ns or not (is_rtcp(payload, length) or is_numbered(payload, length)):
        return
    c.live.doubted_ns = now_ns
    t.counters[COUNT_CALLS_DOUBTED] += 1
    tell_content(t, c, DOUBTED, now_ns)


cdef inline uint32_t lapse_of(const call *c, const flow *f, uint64_t now_ns) noexcept nogil:
    """Why the call of this flow has lapsed by now; NOT_LAPSED if it has not."""
    cdef const liveness *life = &c.live
    cdef uint64_t quiet = quiet_ns(life, now_ns)
    if c.over_ns:
        return NOT_LAPSED
    if has_run_out(life, now_ns) and quiet >= <uint64_t>QUIET_S * NS:
        return LAPSED_SESSION
    if life.doubted_ns and now_ns >= life.doubted_ns + <uint64_t>DOUBTED_S * NS:
        return LAPSED_DOUBTED
    if (f.content or f.voiced) and quiet >= <uint64_t>SILENT_CALL_S * NS:
        return LAPSED_SILENT
    return NOT_LAPSED


cdef inline void lapse_call(match_table *t, uint32_t index, uint32_t why, uint64_t now_ns) noexcept nogil:
    cdef call *c = &t.calls.calls[index]
    if why == LAPSED_SESSION:
        t.counters[COUNT_CALLS_LAPSED_SESSION] += 1
    elif why == LAPSED_DOUBTED:
        t.counters[COUNT_CALLS_LAPSED_DOUBTED] += 1
    else:
        t.counters[COUNT_CALLS_LAPSED_SILENT] += 1
    tell_content(t, c, why, now_ns)
    c.live.lapsed = True
    t.journal.dirty = True  # another life must not take it up again
    c.live.doubted_ns = c.live.claimed_ns = 0
    refresh_flows(t, index)


cdef inline void sweep_flows(match_table *t, uint64_t now_ns) noexcept nogil:
    """Look at some flows' calls, in turn. Cheap: nothing without flows, and else ten times a second at most."""
    cdef const flow *f
    cdef uint32_t left = SWEEP_FLOWS
    cdef uint32_t index, why
    if t.flows.count == 0 or now_ns < t.flows.swept_ns + <uint64_t>SWEEP_MS * 1000000:
        return
    t.flows.swept_ns = now_ns
    if left > t.flows.used:
        left = t.flows.used
    while left:
        left -= 1
        t.flows.cursor = t.flows.cursor + 1 if t.flows.cursor + 1 < t.flows.used else 0
        f = &t.flows.flows[t.flows.cursor]
        if not f.used:
            continue
        index = f.call
        why = lapse_of(&t.calls.calls[index], f, now_ns)
        if why != NOT_LAPSED:
            lapse_call(t, index, why, now_ns)


cdef inline uint64_t session_interval(const sip_message *m) noexcept nogil:
    """The seconds of Session-Expires; 0 without one that can be read."""
    cdef const uint8_t *at = m.headers.data
    cdef const uint8_t *end = at + m.headers.length
    cdef span line, name, value
    cdef uint64_t seconds = 0
    while next_line(&at, end, &line):
        if cut_header(line, &name, &value) and (
                (name.length == 15 and is_word(name, b"session-expires", 15))
                or (name.length == 1 and name.data[0] | 0x20 == 120)):  # x
            value = trim(make_span(value.data, skip_value(value.data, value.data + value.length, 59)))
            if not read_decimal(value, &seconds) or seconds > LONGEST_SESSION_S:
                return 0
            return seconds
    return 0


cdef inline void follow_session(call *c, const sip_message *m, uint64_t now_ns) noexcept nogil:
    """The 2xx of an INVITE or UPDATE starts the session timer anew, or says that there is none (RFC 4028 section 7.2).
    With a BYE it cannot be known any more whose timer it is: of the dialog that ends, or of another."""
    cdef uint64_t seconds
    if m.method == METHOD_INVITE or m.method == METHOD_UPDATE:
        if 200 <= m.status < 300:
            seconds = session_interval(m)
            c.live.expires_ns = now_ns + (2 * seconds + LINGER_S) * NS if seconds else 0
    elif m.method == METHOD_BYE and m.status == 0:
        c.live.expires_ns = 0
