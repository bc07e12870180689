# What a matched call's messages do to it: who sent them, which dialogs stand, where media goes, when it is over, and
# who gets a PDU. The call model of the mediator decides what they mean; this only keeps a call together.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from address cimport name_addr, next_name_addr, parameter, skip_value
from call_flows cimport end_flows, has_content, refresh_flows
from description cimport remove_descriptions
from dialog cimport (
    CALLER, CALL_BRANCHES, CALL_DIALOGS, CONTENT_TAIL_MS, LINGER_S, NO_CALL, SILENT_S, call, call_table, call_task,
    forget, in_set, note_host, remember, remove_call, set_over,
)
from entitled cimport may_see
from keyed_hash cimport hash_octets
from lapse cimport follow_session, sweep_flows
from match_table cimport COUNT_CALLS_SILENT, COUNT_PDUS, match_table
from octets cimport find, is_word, make_span, span, trim
from offer_answer cimport take_media
from packet cimport packet_info
from sip cimport (
    METHOD_BYE, METHOD_INVITE, METHOD_NOTIFY, METHOD_REFER, METHOD_SUBSCRIBE, cut_header, next_line, sip_message,
)
from targets cimport task
from x2 cimport (
    DIRECTION_FROM_TARGET, DIRECTION_TO_TARGET, DIRECTION_UNKNOWN, FORMAT_SIP, ROLE_CALLING, write_pdu,
)


cdef struct message_parties:
    uint64_t from_tag          # keyed hashes; without a tag (RFC 2543) of the URI
    uint64_t to_tag            # 0 when there is none
    uint64_t branch            # of the topmost Via
    uint64_t hop
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


cdef inline void drop_call(match_table *t, uint32_t index) noexcept nogil:
    end_flows(t, &t.calls.calls[index])
    remove_descriptions(&t.descriptions, &t.calls.calls[index])
    remove_call(&t.calls, index)


cdef inline void expire_calls(match_table *t, uint64_t now_ns) noexcept nogil:
    """End the tails of content, forget what has lingered long enough, and what was silent for a day, and find the calls
    whose end was not seen. Cheap: all lists are in order."""
    cdef call_table *calls = &t.calls
    cdef uint32_t index
    while calls.ending.first != NO_CALL and calls.calls[calls.ending.first].over_ns <= now_ns:
        index = calls.ending.first
        set_over(calls, index, calls.calls[index].over_ns + <uint64_t>LINGER_S * 1000000000)
        refresh_flows(t, index)
    while calls.over.first != NO_CALL and calls.calls[calls.over.first].over_ns <= now_ns:
        drop_call(t, calls.over.first)
    while (calls.live.first != NO_CALL
           and calls.calls[calls.live.first].last_ns + <uint64_t>SILENT_S * 1000000000 <= now_ns):
        t.counters[COUNT_CALLS_SILENT] += 1
        drop_call(t, calls.live.first)
    sweep_flows(t, now_ns)


cdef inline void end_call(match_table *t, uint32_t index, uint64_t dialog, uint64_t now_ns) noexcept nogil:
    """No dialog stands, none is being made: it lingers, and if a task has its content, that has a tail. `dialog`: whose
    BYE ended it, 0: none."""
    cdef call *c = &t.calls.calls[index]
    cdef bint content = False
    cdef uint32_t i
    if c.over_ns:
        return
    c.last_dialog = dialog
    for i in range(c.task_count):
        content |= has_content(t, c, &c.tasks[i])
    if content:
        set_over(&t.calls, index, now_ns + <uint64_t>CONTENT_TAIL_MS * 1000000, True)
    else:
        set_over(&t.calls, index, now_ns + <uint64_t>LINGER_S * 1000000000)


cdef inline void follow_invite(match_table *t, uint32_t index, const sip_message *m, const message_parties *p,
                               bint initial) noexcept nogil:
    """INVITE requests and responses: open transactions and confirmed dialogs."""
    cdef call *c = &t.calls.calls[index]
    cdef uint64_t remote = p.to_tag if in_set(c.tags, c.tag_count, p.from_tag) else p.from_tag
    if initial:
        c.many_branches |= not remember(c.branches, &c.branch_count, CALL_BRANCHES, p.branch)
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
    cdef uint64_t remote = p.to_tag if in_set(c.tags, c.tag_count, p.from_tag) else p.from_tag
    cdef bint ending
    if not c.invite:
        ending = follow_subscription(c, m)
        if not ending and c.over_ns:
            set_over(&t.calls, index, 0)
    else:
        ending = False
        if m.method == METHOD_INVITE:
            follow_invite(t, index, m, p, initial)
            ending = m.status >= 300 and c.branch_count == 0 and not c.many_branches
        elif m.method == METHOD_BYE:
            follow_bye(t, index, m, p)
            ending = m.status == 0
        follow_session(c, m, now_ns)
        ending = ending and c.dialog_count == 0 and not c.overflow
        take_media(t, c, m, p.sender, remote, p.to_tag != 0, p.hop)
    if ending:
        end_call(t, index, remote if m.method == METHOD_BYE else 0, now_ns)
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
        sent += 1
        if t.journal.replaying:
            continue
        k.sequence += 1  # a PDU that the bound refuses leaves a gap that the mediator sees
        if write_pdu(&t.out, k.xid, c.handle, FORMAT_SIP, direction_of(entry, sender), entry.role, k.sequence, info,
                     t.iaps[info.iap].name, t.iaps[info.iap].name_length,
                     m.octets.data, m.octets.length):
            t.counters[COUNT_PDUS] += 1
    return sent
