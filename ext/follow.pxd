# What a matched call's messages do to it: who sent them, which dialogs stand, where media goes, when it is over, and
# who gets a PDU. The call model of the mediator decides what they mean; this only keeps a call together.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy

from address cimport name_addr, next_name_addr, parameter, skip_value
from dialog cimport (
    CALLEE, CALLER, CALL_BRANCHES, CALL_DIALOGS, LINGER_S, NO_CALL, SILENT_S, call, call_table, call_task, forget,
    in_set, note_host, remember, remove_call, set_over,
)
from flows cimport NO_FLOW, add_flow, first_flow, is_at, next_flow, remove_flow
from keyed_hash cimport hash_octets
from match_table cimport (
    COUNT_CALLS_SILENT, COUNT_FLOWS_REFUSED, COUNT_OUTSIDE_IAP, COUNT_OUTSIDE_WINDOW, COUNT_PDUS, COUNT_SDP_UNKNOWN,
    MAX_FLOW_CHANGES, match_table,
)
from octets cimport find, is_word, make_span, span, trim
from packet cimport FLOW_ADD, FLOW_REMOVE, flow_change, packet_info
from sdp cimport SDP_MEDIA, SDP_NONE, SDP_UNKNOWN, media_address, read_sdp, sdp_result
from sip cimport (
    METHOD_ACK, METHOD_BYE, METHOD_INVITE, METHOD_NOTIFY, METHOD_PRACK, METHOD_REFER, METHOD_SUBSCRIBE, METHOD_UPDATE,
    cut_header, next_line, sip_message,
)
from targets cimport task
from x2 cimport (
    DIRECTION_FROM_TARGET, DIRECTION_TO_TARGET, DIRECTION_UNKNOWN, FORMAT_SIP, ROLE_CALLED, ROLE_CALLING, write_pdu,
)


cdef struct message_parties:
    uint64_t from_tag          # keyed hashes; without a tag (RFC 2543) of the URI
    uint64_t to_tag            # 0 when there is none
    uint64_t branch            # of the topmost Via
    uint32_t sender            # CALLER or CALLEE


cdef inline uint64_t hash_span(const match_table *t, span s) noexcept nogil:
    return hash_octets(&t.calls.secret, s.data, s.length)


cdef inline span to_tag(const sip_message *m) noexcept nogil:
    cdef span rest = m.to_value
    cdef name_addr address
    if find(rest.data, rest.data + rest.length, 59) == rest.data + rest.length:
        return make_span(NULL, NULL)  # no parameter at all: what most initial requests have
    if not next_name_addr(&rest, &address):
        return make_span(NULL, NULL)
    return parameter(address.parameters, b"tag", 3)


cdef inline void read_parties(const match_table *t, const sip_message *m, message_parties *out) noexcept nogil:
    cdef span rest = m.from_value
    cdef name_addr address
    cdef span tag = make_span(NULL, NULL)
    cdef const uint8_t *stop
    if next_name_addr(&rest, &address):
        tag = parameter(address.parameters, b"tag", 3)
        out.from_tag = hash_span(t, tag if tag.length else address.uri)
    else:
        out.from_tag = 0
    tag = to_tag(m)
    out.to_tag = hash_span(t, tag) if tag.length else 0
    stop = skip_value(m.via.data, m.via.data + m.via.length, 44)
    rest = make_span(find(m.via.data, stop, 59), stop)
    tag = parameter(rest, b"branch", 6)
    out.branch = hash_span(t, tag if tag.length else m.via)


cdef inline bint may_see(match_table *t, const call_task *entry, const packet_info *info,
                         uint64_t now_ns) noexcept nogil:
    """Whether a task is armed, in force at this moment, and entitled to this access point."""
    cdef const task *k = &t.targets.tasks[entry.task]
    if k.generation != entry.generation:
        return False
    if now_ns < k.not_before_ns or now_ns >= k.not_after_ns:
        t.counters[COUNT_OUTSIDE_WINDOW] += 1
        return False
    if t.live and (info.stamp_ns < k.not_before_ns or info.stamp_ns >= k.not_after_ns):
        t.counters[COUNT_OUTSIDE_WINDOW] += 1
        return False
    if not k.iap_mask >> info.iap & 1:
        t.counters[COUNT_OUTSIDE_IAP] += 1
        return False
    return True


# ---- media flows ----------------------------------------------------------------------------------------------

cdef inline void ask_kernel(match_table *t, const media_address *at) noexcept nogil:
    """Bring the kernel's entry for one destination to what the flows to it need: FLOW_ADD sets, FLOW_REMOVE ends."""
    cdef flow_change *change
    cdef void *bigger
    cdef uint32_t capacity
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
    memcpy(change.address, at.address, 16)
    change.payload_types[0] = change.payload_types[1] = 0
    while index != NO_FLOW:
        change.payload_types[0] |= t.flows.flows[index].at.events[0]
        change.payload_types[1] |= t.flows.flows[index].at.events[1]
        index = next_flow(&t.flows, t.flows.flows[index].following, at.family, at.address, at.port)


cdef inline void end_flow(match_table *t, call *c, uint32_t whose) noexcept nogil:
    cdef media_address at
    if c.flows[whose] != NO_CALL:
        at = t.flows.flows[c.flows[whose]].at
        remove_flow(&t.flows, c.flows[whose])
        c.flows[whose] = NO_CALL
        ask_kernel(t, &at)


cdef inline bint sends_digits(const match_table *t, const call *c, const call_task *entry,
                              uint32_t whose) noexcept nogil:
    """Whether a task may have the digits that go to the address of party `whose`: its subject is the other party."""
    cdef const task *k = &t.targets.tasks[entry.task]
    if k.generation != entry.generation or not k.dde or entry.diverted or c.over_ns:
        return False
    return entry.role == (ROLE_CALLING if whose == CALLEE else ROLE_CALLED)


cdef inline void refresh_flows(match_table *t, uint32_t index) noexcept nogil:
    """Make the flows of a call what its tasks, descriptions and state ask for."""
    cdef call *c = &t.calls.calls[index]
    cdef media_address wanted
    cdef const media_address *have
    cdef uint32_t whose, i
    cdef bint any_task
    for whose in range(2):
        any_task = False
        for i in range(c.task_count):
            any_task |= sends_digits(t, c, &c.tasks[i], whose)
        if any_task and c.has_media[whose]:
            wanted = c.media[whose]
            wanted.events[0] |= c.media[1 - whose].events[0] if c.has_media[1 - whose] else 0
            wanted.events[1] |= c.media[1 - whose].events[1] if c.has_media[1 - whose] else 0
            any_task = wanted.events[0] != 0 or wanted.events[1] != 0
        else:
            any_task = False
        if any_task and c.flows[whose] != NO_CALL:
            have = &t.flows.flows[c.flows[whose]].at
            if (is_at(have, wanted.family, wanted.address, wanted.port) and have.events[0] == wanted.events[0]
                    and have.events[1] == wanted.events[1]):
                continue
        end_flow(t, c, whose)
        if any_task:
            c.flows[whose] = add_flow(&t.flows, &wanted, index, <uint8_t>whose)
            if c.flows[whose] == NO_FLOW:
                t.counters[COUNT_FLOWS_REFUSED] += 1
            else:
                ask_kernel(t, &wanted)


cdef inline void take_media(match_table *t, call *c, const sip_message *m, uint32_t sender) noexcept nogil:
    """Remember the description in a message of the offer/answer exchange (RFC 3264, RFC 3262, RFC 3311)."""
    cdef media_address found
    cdef sdp_result result
    if m.body.length == 0 or not (m.method == METHOD_INVITE or m.method == METHOD_ACK or m.method == METHOD_PRACK
                                  or m.method == METHOD_UPDATE):
        return
    if m.status >= 300 or (m.status and m.status < 200 and m.method == METHOD_INVITE and c.answered):
        return  # a refusal describes nothing; after the answer, another branch's early media is not the call's
    result = read_sdp(m.body, &found)
    if result == SDP_NONE:
        return
    if result == SDP_UNKNOWN:
        t.counters[COUNT_SDP_UNKNOWN] += 1
    c.has_media[sender] = result == SDP_MEDIA
    if result == SDP_MEDIA:
        c.media[sender] = found


# ---- the call -------------------------------------------------------------------------------------------------

cdef inline void drop_call(match_table *t, uint32_t index) noexcept nogil:
    end_flow(t, &t.calls.calls[index], CALLER)
    end_flow(t, &t.calls.calls[index], CALLEE)
    remove_call(&t.calls, index)


cdef inline void expire_calls(match_table *t, uint64_t now_ns) noexcept nogil:
    """Forget what has lingered long enough, and what was silent for a day. Cheap: both lists are in order."""
    cdef call_table *calls = &t.calls
    while calls.over.first != NO_CALL and calls.calls[calls.over.first].over_ns <= now_ns:
        drop_call(t, calls.over.first)
    while (calls.live.first != NO_CALL
           and calls.calls[calls.live.first].last_ns + <uint64_t>SILENT_S * 1000000000 <= now_ns):
        t.counters[COUNT_CALLS_SILENT] += 1
        drop_call(t, calls.live.first)


cdef inline void follow_invite(match_table *t, uint32_t index, const sip_message *m, const message_parties *p,
                               bint initial) noexcept nogil:
    """INVITE requests and responses: open transactions and confirmed dialogs."""
    cdef call *c = &t.calls.calls[index]
    cdef uint64_t remote = p.to_tag if in_set(c.tags, c.tag_count, p.from_tag) else p.from_tag
    if initial:
        c.overflow |= not remember(c.branches, &c.branch_count, CALL_BRANCHES, p.branch)
        if c.over_ns:
            set_over(&t.calls, index, 0)
    elif 200 <= m.status < 300:
        c.answered = True
        forget(c.branches, &c.branch_count, p.branch)
        if in_set(c.ended, c.ended_count, remote):
            return
        c.overflow |= not remember(c.dialogs, &c.dialog_count, CALL_DIALOGS, remote)
        if c.over_ns:
            set_over(&t.calls, index, 0)
    elif m.status >= 300:
        forget(c.branches, &c.branch_count, p.branch)


cdef inline void follow_bye(match_table *t, uint32_t index, const sip_message *m,
                            const message_parties *p) noexcept nogil:
    """A BYE ends its dialog unless it is refused; no such dialog (481) and no answer (408) refuse nothing."""
    cdef call *c = &t.calls.calls[index]
    cdef uint64_t remote = p.to_tag if in_set(c.tags, c.tag_count, p.from_tag) else p.from_tag
    if m.status == 0:
        forget(c.dialogs, &c.dialog_count, remote)
        remember(c.ended, &c.ended_count, CALL_DIALOGS, remote)
    elif m.status >= 300 and m.status != 481 and m.status != 408:
        forget(c.ended, &c.ended_count, remote)
        c.overflow |= not remember(c.dialogs, &c.dialog_count, CALL_DIALOGS, remote)
        if c.over_ns:
            set_over(&t.calls, index, 0)


cdef inline bint says(const sip_message *m, const char *name, uint32_t length, const char *word,
                      uint32_t word_length) noexcept nogil:
    """Whether a header's first value is this word (both in lower case), parameters aside."""
    cdef const uint8_t *at = m.headers.data
    cdef const uint8_t *end = at + m.headers.length
    cdef span line, found, value
    while next_line(&at, end, &line):
        if cut_header(line, &found, &value) and found.length == length and is_word(found, name, length):
            value = trim(make_span(value.data, skip_value(value.data, value.data + value.length, 59)))
            return value.length == word_length and is_word(value, word, word_length)
    return False


cdef inline bint follow_subscription(call *c, const sip_message *m) noexcept nogil:
    """Subscriptions (RFC 6665): a 2xx to SUBSCRIBE or REFER makes one, Expires: 0 or a last NOTIFY ends it.

    True when nothing of it stands. A call with an INVITE has its own end; so has a single transaction: it lingers from
    its first message on, as long as its retransmissions can last.
    """
    if (m.method == METHOD_SUBSCRIBE or m.method == METHOD_REFER) and 200 <= m.status < 300:
        c.subscription = not says(m, b"expires", 7, b"0", 1)
    elif m.method == METHOD_NOTIFY and m.status == 0 and says(m, b"subscription-state", 18, b"terminated", 10):
        c.subscription = False
    return not c.subscription


cdef inline void follow_call(match_table *t, uint32_t index, const sip_message *m, const message_parties *p,
                             bint initial, uint64_t now_ns) noexcept nogil:
    """One message's effect on its call. A call is over when no dialog stands and no INVITE waits for its answer."""
    cdef call *c = &t.calls.calls[index]
    cdef bint ending
    if not c.invite:
        ending = follow_subscription(c, m)
        if not ending and c.over_ns:
            set_over(&t.calls, index, 0)
    else:
        ending = False
        if m.method == METHOD_INVITE:
            follow_invite(t, index, m, p, initial)
            ending = m.status >= 300 and c.branch_count == 0
        elif m.method == METHOD_BYE:
            follow_bye(t, index, m, p)
            ending = m.status == 0
        ending = ending and c.dialog_count == 0 and not c.overflow
        take_media(t, c, m, p.sender)
    if ending:
        set_over(&t.calls, index, now_ns + <uint64_t>LINGER_S * 1000000000)
    refresh_flows(t, index)


cdef inline uint32_t direction_of(const call_task *entry, uint32_t sender) noexcept nogil:
    if entry.diverted:
        return DIRECTION_UNKNOWN
    return DIRECTION_FROM_TARGET if (entry.role == ROLE_CALLING) == (sender == CALLER) else DIRECTION_TO_TARGET


cdef inline uint32_t emit_message(match_table *t, uint32_t index, const sip_message *m, uint32_t sender,
                                  const packet_info *info, uint64_t now_ns) noexcept nogil:
    """One PDU for every task of the call that may see the message; their number."""
    cdef call *c = &t.calls.calls[index]
    cdef call_task *entry
    cdef task *k
    cdef uint32_t i = 0
    cdef uint32_t sent = 0
    note_host(c, sender, info.family, info.source)
    while i < c.task_count:
        entry = &c.tasks[i]
        k = &t.targets.tasks[entry.task]
        if k.generation != entry.generation:  # disarmed since: it has no part in this call any more
            c.task_count -= 1
            c.tasks[i] = c.tasks[c.task_count]
            continue
        i += 1
        if not may_see(t, entry, info, now_ns):
            continue
        k.sequence += 1  # a PDU that the bound refuses leaves a gap that the mediator sees
        if write_pdu(&t.out, k.xid, c.handle, FORMAT_SIP, direction_of(entry, sender), entry.role, k.sequence, info,
                     t.iaps[info.iap].name, t.iaps[info.iap].name_length,
                     m.octets.data, m.octets.length):
            t.counters[COUNT_PDUS] += 1
        sent += 1
    return sent
