# Makes the flows of a call what its tasks, descriptions and state ask for, and asks the kernel's filter for the same.
#
# Runs where the message was matched, on the ring's own thread: the filter's map is changed before the next frame is
# walked (ext/media_filter.pxd). No task that may have it, no flow.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy

from continuity cimport claim_address
from description cimport ELSEWHERE, FORMER, NO_DESCRIPTION, description
from dialog cimport call, call_task, in_set
from entitled cimport dials
from flows cimport CALL_FLOWS, NO_FLOW, add_flow, first_flow, flow, is_at, next_flow, remove_flow
from inband cimport quiet_flow
from match_table cimport COUNT_FLOWS_REFUSED, MAX_FLOW_CHANGES, match_table
from packet cimport FLOW_ADD, FLOW_REMOVE, flow_change
from rtp cimport RTCP_TYPES_MASKED
from sdp cimport (
    RTCP_BESIDE, RTCP_NONE, RTCP_WITH, add_types, any_type, media_address, media_stream, no_types, same_types,
)
from targets cimport task


cdef inline void ask_kernel(match_table *t, const media_address *at) noexcept nogil:
    """Bring the kernel's entry for one destination to what the flows to it need: FLOW_ADD sets, FLOW_REMOVE ends."""
    cdef flow_change *change
    cdef const flow *f
    cdef void *bigger
    cdef uint32_t capacity, i
    cdef uint32_t index = first_flow(&t.flows, at.family, at.address, at.port)
    if t.flow_change_count == t.flow_change_capacity:
        capacity = t.flow_change_capacity * 2 if t.flow_change_capacity else 64
        bigger = NULL
        if capacity <= MAX_FLOW_CHANGES:
            bigger = realloc(t.flow_changes, capacity * sizeof(flow_change))
        if bigger == NULL:
            t.counters[COUNT_FLOWS_REFUSED] += 1
            return
        t.flow_changes = <flow_change *>bigger
        t.flow_change_capacity = capacity
    change = &t.flow_changes[t.flow_change_count]
    t.flow_change_count += 1
    change.operation = FLOW_REMOVE if index == NO_FLOW else FLOW_ADD
    change.family = at.family
    change.port = at.port
    change.whole = change.control = False
    memcpy(change.address, at.address, 16)
    change.payload_types[0] = change.payload_types[1] = 0
    while index != NO_FLOW:
        f = &t.flows.flows[index]
        if f.content and f.rtcp:
            change.payload_types[1] |= RTCP_TYPES_MASKED
            change.control = True
        elif f.content:
            change.whole = True
        if f.digits:
            for i in range(2):
                change.payload_types[i] |= f.at.events[i] | f.at.ulaw[i] | f.at.alaw[i]
        index = next_flow(&t.flows, f.following, at.family, at.address, at.port)


cdef inline void end_flow(match_table *t, call *c, uint32_t index) noexcept nogil:
    """Take one flow of a call away; the one that goes back to its likely source goes with it."""
    cdef flow *f = &t.flows.flows[index]
    cdef media_address at = f.at
    cdef uint32_t back = f.back
    cdef bint learned = f.learned
    cdef uint32_t *place = &c.first_flow
    while place[0] != index:
        place = &t.flows.flows[place[0]].of_call
    place[0] = f.of_call
    c.flow_count -= 1
    quiet_flow(t, index)
    remove_flow(&t.flows, index)
    ask_kernel(t, &at)
    if back == NO_FLOW:
        return
    if learned:
        t.flows.flows[back].back = NO_FLOW
    else:
        t.flows.flows[back].back = NO_FLOW
        end_flow(t, c, back)


cdef inline void end_flows(match_table *t, call *c) noexcept nogil:
    while c.first_flow != NO_FLOW:
        end_flow(t, c, c.first_flow)


cdef inline uint32_t make_flow(match_table *t, call *c, uint32_t index, const media_address *at,
                               uint32_t party) noexcept nogil:
    """A new flow of a call, or NO_FLOW (counted) when it has too many, or there is no memory."""
    cdef uint32_t made = NO_FLOW
    if c.flow_count < CALL_FLOWS:
        made = add_flow(&t.flows, at, index, <uint8_t>party)
    if made == NO_FLOW:
        t.counters[COUNT_FLOWS_REFUSED] += 1
        return NO_FLOW
    t.flows.flows[made].of_call = c.first_flow
    c.first_flow = made
    c.flow_count += 1
    return made


cdef inline bint sends_digits(const match_table *t, const call *c, const call_task *entry,
                              uint32_t whose) noexcept nogil:
    """Whether a task may have the digits that go to the address of party `whose`: its subject is the other party."""
    return c.over_ns == 0 and dials(t, c, entry, whose)


cdef inline bint has_content(const match_table *t, const call *c, const call_task *entry) noexcept nogil:
    """Whether a task may have the content of the call: of a call that the subject forwarded as well, because it is the
    subject's service that carries it."""
    cdef const task *k = &t.targets.tasks[entry.task]
    return k.generation == entry.generation and k.content and (c.over_ns == 0 or c.ending)


cdef inline bint holds(const call *c, const description *d) noexcept nogil:
    """Whether media may be sent there: not to what was before or of another hop, nor in a dialog that a BYE ended.

    The dialog whose BYE ended the call has the call's tail, in both directions: what was under way is its own, and a
    BYE that came by another access point or a feed is walked before packets that an interface captured ahead of it."""
    if d.state == FORMER or d.state == ELSEWHERE:
        return False
    return d.fork == 0 or not in_set(c.ended, c.ended_count, d.fork) or (c.ending and d.fork == c.last_dialog)


cdef inline void events_of(const match_table *t, const call *c, uint32_t party, uint64_t *events) noexcept nogil:
    """The payload types that a party's audio streams give to RFC 4733 events."""
    cdef uint32_t index = c.first_description
    cdef uint32_t i
    cdef const description *d
    events[0] = events[1] = 0
    while index != NO_DESCRIPTION:
        d = &t.descriptions.items[index]
        index = d.following
        if d.party != party or not holds(c, d):
            continue
        for i in range(d.media.count):
            if d.media.streams[i].audio:
                events[0] |= d.media.streams[i].at.events[0]
                events[1] |= d.media.streams[i].at.events[1]


cdef inline bint muxes(const match_table *t, const call *c, uint32_t party) noexcept nogil:
    """Whether the party has said nothing yet, or takes RTCP on the media's own port somewhere: then the port beside
    it is not the call's for certain (RFC 5761 section 5.1.1), and may be another call's."""
    cdef uint32_t index = c.first_description
    cdef uint32_t i
    cdef const description *d
    cdef bint any_stream = False
    while index != NO_DESCRIPTION:
        d = &t.descriptions.items[index]
        index = d.following
        if d.party != party or not holds(c, d):
            continue
        for i in range(d.media.count):
            if d.media.streams[i].rtcp_place == RTCP_WITH:
                return True
            any_stream = True
    return not any_stream


cdef inline void want_flow(match_table *t, call *c, uint32_t index, const media_address *at, uint32_t party,
                           bint content, bint digits, bint rtcp) noexcept nogil:
    """Keep or make a flow to this destination, for at least this."""
    cdef uint32_t found = c.first_flow
    cdef flow *f
    cdef bint changed
    while found != NO_FLOW:
        f = &t.flows.flows[found]
        if f.party == party and not f.learned and is_at(&f.at, at.family, at.address, at.port):
            break
        found = f.of_call
    if found == NO_FLOW:
        if not rtcp:
            claim_address(t, at, index, c.live.heard_ns)
        found = make_flow(t, c, index, at, party)
        if found == NO_FLOW:
            return
        f = &t.flows.flows[found]
        f.content = content
        f.digits = digits
        f.rtcp = rtcp
        f.wanted = True
        ask_kernel(t, at)
        return
    f = &t.flows.flows[found]
    if f.wanted:  # a second stream of the same destination (RFC 8843), or another fork's
        changed = (content and not f.content) or (digits and not f.digits) or (f.rtcp and not rtcp)
        changed |= add_types(&f.at, at)
        f.content |= content
        f.digits |= digits
        f.rtcp &= rtcp
    else:
        changed = f.content != content or f.digits != digits or f.rtcp != rtcp
        changed |= not same_types(&f.at, at)
        f.content = content
        f.digits = digits
        f.rtcp = rtcp
        f.at = at[0]
        f.wanted = True
    if changed:
        ask_kernel(t, at)


cdef inline void want_stream(match_table *t, call *c, uint32_t index, const media_stream *s, uint32_t party,
                             bint content, bint digits, const uint64_t *events) noexcept nogil:
    """The flows to one stream of a party; `events` are the other party's."""
    cdef media_address at = s.at
    if digits and s.audio:
        at.events[0] |= events[0]
        at.events[1] |= events[1]
        digits = any_type(&at)
    else:
        digits = False
    if not digits:
        no_types(&at)
    if content or digits:
        want_flow(t, c, index, &at, party, content, digits, False)
    if not content or s.rtcp_place == RTCP_NONE or s.rtcp.family == 0:
        return
    if s.rtcp_place == RTCP_BESIDE or not muxes(t, c, 1 - party):
        want_flow(t, c, index, &s.rtcp, party, True, False, True)


cdef inline void refresh_flows(match_table *t, uint32_t index) noexcept nogil:
    """Make the flows of a call what its tasks, descriptions and state ask for."""
    cdef call *c = &t.calls.calls[index]
    cdef const description *d
    cdef uint64_t events[2]
    cdef bint digits_to[2]     # by party
    cdef bint content = False
    cdef uint32_t i, k, following
    digits_to[0] = digits_to[1] = False
    for i in range(c.task_count):
        content |= has_content(t, c, &c.tasks[i])
        for k in range(2):
            digits_to[k] |= sends_digits(t, c, &c.tasks[i], k)
    i = c.first_flow
    while i != NO_FLOW:
        t.flows.flows[i].wanted = False
        if not t.flows.flows[i].likely and not t.flows.flows[i].learned:
            t.flows.flows[i].settled = False  # whoever announced the source may have taken it back
        i = t.flows.flows[i].of_call
    i = c.first_description
    while i != NO_DESCRIPTION and (content or digits_to[0] or digits_to[1]) and not c.live.lapsed:
        d = &t.descriptions.items[i]
        i = d.following
        if holds(c, d):
            events_of(t, c, 1 - d.party, events)
            for k in range(d.media.count):
                want_stream(t, c, index, &d.media.streams[k], d.party, content, digits_to[d.party], events)
    i = c.first_flow
    while i != NO_FLOW:
        following = t.flows.flows[i].of_call
        if t.flows.flows[i].learned:
            t.flows.flows[i].wanted = content and not c.live.lapsed  # as long as the one that it answers
        i = following
    i = c.first_flow
    while i != NO_FLOW:
        if t.flows.flows[i].wanted:
            i = t.flows.flows[i].of_call
        else:
            end_flow(t, c, i)
            i = c.first_flow  # from the start: another may have gone with it
