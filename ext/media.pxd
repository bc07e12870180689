# RTP packets that passed the kernel's media filter: RFC 4733 events of subjects whose order has dialed digit extraction
# on become PDUs (47 CFR 1.20007(b)(6)); everything else is counted and forgotten.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from dialog cimport call, is_host, touch_call
from flows cimport NO_FLOW, first_flow, flow, is_at, next_flow
from follow cimport may_see, sends_digits
from match_table cimport (
    COUNT_MEDIA, COUNT_MEDIA_AMBIGUOUS, COUNT_MEDIA_EVENT_LENGTH, COUNT_MEDIA_MALFORMED, COUNT_MEDIA_MATCHED,
    COUNT_MEDIA_NO_FLOW, COUNT_MEDIA_OFF, COUNT_MEDIA_OTHER_SOURCE, COUNT_MEDIA_OTHER_TYPE, COUNT_PDUS,
    COUNT_UNKNOWN_IAP, match_table,
)
from packet cimport packet_info
from rtp cimport RTP_EVENT, RTP_EVENT_LENGTH, RTP_MALFORMED, RTP_OTHER_TYPE, check_event, rtp_result
from sdp cimport media_address
from targets cimport task
from x2 cimport DIRECTION_FROM_TARGET, FORMAT_RTP, write_pdu


cdef inline bint comes_from(const media_address *at, const packet_info *info) noexcept nogil:
    return is_at(at, info.family, info.source, info.source_port)


cdef inline uint32_t settle(flow *f, uint32_t index, const packet_info *info) noexcept nogil:
    f.settled = True
    f.source.family = info.family
    f.source.port = info.source_port
    memcpy(f.source.address, info.source, 16)
    return index


cdef inline uint32_t find_flow(match_table *t, const packet_info *info) noexcept nogil:
    """The flow that a packet belongs to by its destination and its source, or NO_FLOW (counted)."""
    cdef uint32_t index = first_flow(&t.flows, info.family, info.destination, info.destination_port)
    cdef uint32_t likely = NO_FLOW
    cdef uint32_t candidates = 0
    cdef flow *f
    cdef const call *c
    if index == NO_FLOW:
        t.counters[COUNT_MEDIA_NO_FLOW] += 1
        return NO_FLOW
    while index != NO_FLOW:
        f = &t.flows.flows[index]
        c = &t.calls.calls[f.call]
        if f.settled and comes_from(&f.source, info):
            return index
        if c.has_media[1 - f.party] and comes_from(&c.media[1 - f.party], info):
            return settle(f, index, info)  # as announced: it passes in place of a source that was only likely
        if not f.settled and is_host(c, 1 - f.party, info.family, info.source):
            likely = index
            candidates += 1
        index = next_flow(&t.flows, f.following, info.family, info.destination, info.destination_port)
    if candidates == 1:
        return settle(&t.flows.flows[likely], likely, info)
    t.counters[COUNT_MEDIA_AMBIGUOUS if candidates else COUNT_MEDIA_OTHER_SOURCE] += 1
    return NO_FLOW


cdef inline void match_media(match_table *t, const packet_info *info, const uint8_t *payload, uint32_t length,
                             uint64_t now_ns) noexcept nogil:
    """One UDP payload that passed the media filter."""
    cdef uint32_t index, i
    cdef const flow *f
    cdef call *c
    cdef task *k
    cdef rtp_result result
    cdef bint any_task = False
    t.counters[COUNT_MEDIA] += 1
    if info.iap >= t.iap_count:
        t.counters[COUNT_UNKNOWN_IAP] += 1
        return
    index = find_flow(t, info)
    if index == NO_FLOW:
        return
    f = &t.flows.flows[index]
    result = check_event(payload, length, f.at.events)
    if result != RTP_EVENT:
        if result == RTP_OTHER_TYPE:
            t.counters[COUNT_MEDIA_OTHER_TYPE] += 1
        elif result == RTP_MALFORMED:
            t.counters[COUNT_MEDIA_MALFORMED] += 1
        else:
            t.counters[COUNT_MEDIA_EVENT_LENGTH] += 1
        return
    c = &t.calls.calls[f.call]
    for i in range(c.task_count):
        if not sends_digits(t, c, &c.tasks[i], f.party) or not may_see(t, &c.tasks[i], info, now_ns):
            continue
        k = &t.targets.tasks[c.tasks[i].task]
        k.sequence += 1
        if write_pdu(&t.out, k.xid, c.handle, FORMAT_RTP, DIRECTION_FROM_TARGET, c.tasks[i].role, k.sequence, info,
                     t.iaps[info.iap].name, t.iaps[info.iap].name_length,
                     payload, length):
            t.counters[COUNT_PDUS] += 1
        any_task = True
    if any_task:
        t.counters[COUNT_MEDIA_MATCHED] += 1
        touch_call(&t.calls, f.call, now_ns)
    else:
        t.counters[COUNT_MEDIA_OFF] += 1
