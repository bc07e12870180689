# Packets that passed the kernel's media filter: content of calls of tasks that may have it becomes X3 PDUs (47 CFR
# 1.20003(b)(4), TS 103 221-2 section 5.3: the IP packet from its header), RFC 4733 events of subjects whose order has
# dialed digit extraction on become X2 PDUs (47 CFR 1.20007(b)(6)), their G.711 is listened to for digits in the voice
# band (ext/inband.pxd); everything else is counted and forgotten.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from call_flows cimport ask_kernel, end_flow, has_content, make_flow, sends_digits
from continuity cimport hear_packet_of, is_strange
from description cimport ELSEWHERE, NO_DESCRIPTION, PASSING, description
from dialog cimport CALLEE, call, is_host, touch_call
from entitled cimport may_see
from flows cimport NO_FLOW, first_flow, flow, is_at, next_flow
from inband cimport hear_voice, is_voice_packet, pass_number
from lapse cimport doubt_call
from match_table cimport (
    COUNT_CONTENT, COUNT_MEDIA, COUNT_MEDIA_AMBIGUOUS, COUNT_MEDIA_DOUBTED, COUNT_MEDIA_EVENT_LENGTH,
    COUNT_MEDIA_MALFORMED, COUNT_MEDIA_MATCHED, COUNT_MEDIA_NO_FLOW, COUNT_MEDIA_OFF, COUNT_MEDIA_OTHER_SOURCE,
    COUNT_MEDIA_OTHER_TYPE, COUNT_PDUS, COUNT_UNKNOWN_IAP, match_table,
)
from packet cimport packet_info
from rtp cimport RTP_EVENT, RTP_MALFORMED, RTP_OTHER_TYPE, check_event, is_rtcp, rtp_result
from sdp cimport media_address, media_stream, no_types
from targets cimport task
from x2 cimport (
    DIRECTION_FROM_TARGET, DIRECTION_TO_TARGET, FORMAT_RTP, ROLE_CALLING, write_content, write_pdu,
)


cdef inline bint comes_from(const media_address *at, const packet_info *info) noexcept nogil:
    return is_at(at, info.family, info.source, info.source_port)


cdef inline bint announced(const match_table *t, const call *c, uint32_t party, const packet_info *info,
                           bint *any_description, bint *behind_nat) noexcept nogil:
    """Whether a party announced media of its own at the packet's source, now or before; what else is known of it: that
    it announced anything, and that it announced an address that none of its signalling comes from. On the right hop."""
    cdef uint32_t index = c.first_description
    cdef uint32_t i
    cdef const description *d
    cdef const media_stream *s
    any_description[0] = behind_nat[0] = False
    while index != NO_DESCRIPTION:
        d = &t.descriptions.items[index]
        index = d.following
        if d.party != party or d.state == ELSEWHERE:
            continue
        any_description[0] |= d.state != PASSING
        for i in range(d.media.count):
            s = &d.media.streams[i]
            if comes_from(&s.at, info) or (s.rtcp_place and comes_from(&s.rtcp, info)):
                return True
            behind_nat[0] |= d.state != PASSING and not is_host(c, party, s.at.family, s.at.address)
    return False


cdef inline void settle(match_table *t, uint32_t index, const packet_info *info, bint likely) noexcept nogil:
    """Keep the source; a flow back to another one, that was only likely, ends."""
    cdef flow *f = &t.flows.flows[index]
    if f.back != NO_FLOW and not f.learned:
        end_flow(t, &t.calls.calls[f.call], f.back)
    f.settled = True
    f.likely = likely
    f.source.family = info.family
    f.source.port = info.source_port
    memcpy(f.source.address, info.source, 16)


cdef inline void open_back(match_table *t, uint32_t index) noexcept nogil:
    """What is sent to the likely source of a flow, from the flow's destination alone, is the call's (RFC 4961)."""
    cdef flow *f = &t.flows.flows[index]
    cdef media_address source = f.source
    cdef uint32_t back
    if not f.content:
        return
    no_types(&source)
    back = make_flow(t, &t.calls.calls[f.call], f.call, &source, 1 - f.party)
    if back == NO_FLOW:
        return
    f = &t.flows.flows[index]  # the table may have moved
    f.back = back
    t.flows.flows[back].back = index
    t.flows.flows[back].learned = t.flows.flows[back].content = t.flows.flows[back].settled = True
    t.flows.flows[back].rtcp = f.rtcp
    t.flows.flows[back].source = f.at
    ask_kernel(t, &source)


cdef inline uint32_t find_flow(match_table *t, const packet_info *info, const uint8_t *payload,
                               uint32_t length, uint64_t now_ns) noexcept nogil:
    """The flow that a packet belongs to by its destination and its source, or NO_FLOW (counted). Of two calls at the
    same addresses, one of which has its tail, or does not go on with it, it is the other's: ports are used again."""
    cdef uint32_t index = first_flow(&t.flows, info.family, info.destination, info.destination_port)
    cdef uint32_t likely = NO_FLOW
    cdef uint32_t ending = NO_FLOW
    cdef uint32_t candidates = 0
    cdef uint32_t refused = COUNT_MEDIA_OTHER_SOURCE
    cdef uint32_t other
    cdef bint described = False
    cdef bint behind_nat = False
    cdef flow *f
    cdef const call *c
    if index == NO_FLOW:
        t.counters[COUNT_MEDIA_NO_FLOW] += 1
        return NO_FLOW
    while index != NO_FLOW:
        f = &t.flows.flows[index]
        c = &t.calls.calls[f.call]
        other = 1 - f.party
        if f.rtcp and not is_rtcp(payload, length):
            refused = COUNT_MEDIA_OTHER_TYPE
        elif (f.settled and comes_from(&f.source, info)) or (
                not f.learned and announced(t, c, other, info, &described, &behind_nat)):
            if is_strange(t, f, payload, length, now_ns):
                doubt_call(t, f.call, payload, length, now_ns)
                refused = COUNT_MEDIA_DOUBTED
            elif c.over_ns == 0:
                if not (f.settled and comes_from(&f.source, info)):
                    settle(t, index, info, False)  # it passes in place of a source that was only likely
                return index
            else:
                ending = index
        elif not f.learned and not f.settled and is_host(c, other, info.family, info.source) and (
                behind_nat if described else is_host(c, f.party, f.at.family, f.at.address)):
            likely = index
            candidates += 1
        index = next_flow(&t.flows, f.following, info.family, info.destination, info.destination_port)
    if ending != NO_FLOW:
        f = &t.flows.flows[ending]
        if not f.settled or not comes_from(&f.source, info):
            settle(t, ending, info, False)
        return ending
    if candidates == 1 and is_strange(t, &t.flows.flows[likely], payload, length, now_ns):
        doubt_call(t, t.flows.flows[likely].call, payload, length, now_ns)
        candidates = 0
        refused = COUNT_MEDIA_DOUBTED
    if candidates == 1:
        settle(t, likely, info, True)
        open_back(t, likely)
        return likely
    t.counters[COUNT_MEDIA_AMBIGUOUS if candidates else refused] += 1
    return NO_FLOW


cdef inline bint emit_content(match_table *t, uint32_t index, const packet_info *info, uint64_t now_ns) noexcept nogil:
    """One X3 PDU for every task of the call that may have its content; whether there was one."""
    cdef const flow *f = &t.flows.flows[index]
    cdef const call *c = &t.calls.calls[f.call]
    cdef bint by_caller = f.party == CALLEE
    cdef bint any_task = False
    cdef uint32_t i
    cdef task *k
    if c.over_ns and now_ns >= c.over_ns:
        return False
    for i in range(c.task_count):
        if not has_content(t, c, &c.tasks[i]) or not may_see(t, &c.tasks[i], info, now_ns):
            continue
        k = &t.targets.tasks[c.tasks[i].task]
        k.content_sequence += 1  # a PDU that the bound refuses leaves a gap that the mediator sees
        any_task = True
        if write_content(&t.content_out, k.xid, c.handle,
                         DIRECTION_FROM_TARGET if (c.tasks[i].role == ROLE_CALLING) == by_caller
                         else DIRECTION_TO_TARGET,
                         c.tasks[i].role, k.content_sequence, info,
                         t.iaps[info.iap].name, t.iaps[info.iap].name_length):
            t.counters[COUNT_CONTENT] += 1
    return any_task


cdef inline bint emit_digits(match_table *t, uint32_t index, const packet_info *info, const uint8_t *payload,
                             uint32_t length, uint64_t now_ns) noexcept nogil:
    """One X2 PDU for every task that may have the digits of the party that sends; whether there was one."""
    cdef const flow *f = &t.flows.flows[index]
    cdef const call *c = &t.calls.calls[f.call]
    cdef bint any_task = False
    cdef uint32_t i
    cdef task *k
    for i in range(c.task_count):
        if not sends_digits(t, c, &c.tasks[i], f.party) or not may_see(t, &c.tasks[i], info, now_ns):
            continue
        k = &t.targets.tasks[c.tasks[i].task]
        k.sequence += 1
        if write_pdu(&t.out, k.xid, c.handle, FORMAT_RTP, DIRECTION_FROM_TARGET, c.tasks[i].role, k.sequence, info,
                     t.iaps[info.iap].name, t.iaps[info.iap].name_length, payload, length):
            t.counters[COUNT_PDUS] += 1
        any_task = True
    return any_task


cdef inline void match_media(match_table *t, const packet_info *info, const uint8_t *payload, uint32_t length,
                             uint64_t now_ns) noexcept nogil:
    """One UDP payload that passed the media filter."""
    cdef uint32_t index
    cdef uint32_t refused = COUNT_MEDIA_OFF
    cdef flow *f
    cdef rtp_result result
    cdef bint any_task = False
    t.counters[COUNT_MEDIA] += 1
    if info.iap >= t.iap_count:
        t.counters[COUNT_UNKNOWN_IAP] += 1
        return
    index = find_flow(t, info, payload, length, now_ns)
    if index == NO_FLOW:
        return
    f = &t.flows.flows[index]
    hear_packet_of(t, f, payload, length, now_ns)
    if f.content:
        any_task = emit_content(t, index, info, now_ns)
    if f.digits and is_voice_packet(f, payload, length):
        f.voiced = True
        any_task |= hear_voice(t, index, info, payload, length, now_ns)
    elif f.digits:
        result = check_event(payload, length, f.at.events)
        if result == RTP_EVENT:
            pass_number(t, f, payload)
            any_task |= emit_digits(t, index, info, payload, length, now_ns)
        elif result == RTP_OTHER_TYPE:
            refused = COUNT_MEDIA_OTHER_TYPE
        elif result == RTP_MALFORMED:
            refused = COUNT_MEDIA_MALFORMED
        else:
            refused = COUNT_MEDIA_EVENT_LENGTH
    if any_task:
        t.counters[COUNT_MEDIA_MATCHED] += 1
        touch_call(&t.calls, f.call, now_ns)
    else:
        t.counters[refused] += 1
