# The heart of an access point: a datagram in, PDUs of the subjects' messages out; everything else is forgotten here.
#
# A request that can begin something (without a To tag; REGISTER with any) is matched by the identities that count at
# its access point; every later message passes because its Call-ID is that of a matched call (RFC 3261 section 12). An
# INVITE, UPDATE, PRACK, INFO, REFER or BYE inside of a dialog that is not known joins a call that was up before (armed
# in mid-call, restarted, or a To tag that somebody invented and a lenient switch let pass: section 12.2.2), if an
# identity that counts is in it; a SUBSCRIBE or NOTIFY joins a subscription (RFC 6665). No task gets anything outside
# of its window, its access points and its own calls. Runs on one thread without the GIL.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from call_journal cimport keep_message
from continuity cimport hear_message_of, hear_others
from datagram cimport next_message
from dialog cimport (
    CALLEE, CALLER, CALL_DIALOGS, CALL_TAGS, CALL_TASKS, NO_CALL, add_call, call, call_task, call_view, find_call,
    in_set, oldest_call, remember, set_over, touch_call, view_call,
)
from follow cimport drop_call, emit_message, expire_calls, follow_call, may_see, message_parties, read_parties, to_tag
from hop cimport hop_of
from lookup cimport finding, findings, find_tasks
from match_table cimport (
    COUNT_CALLS, COUNT_CALLS_EVICTED, COUNT_CALLS_JOINED, COUNT_CALLS_REFUSED, COUNT_DATAGRAMS, COUNT_INITIAL,
    COUNT_JUNK, COUNT_KEEPALIVES, COUNT_MALFORMED, COUNT_MATCHED, COUNT_MESSAGES, COUNT_NOT_SIP, COUNT_NO_MATCH,
    COUNT_TASKS_REFUSED, COUNT_TOLERATED, COUNT_UNKNOWN_IAP, SIDE_TRUNK, SIDE_TRUSTED_TRUNK, access_point,
    headers_that_count, match_table,
)
from media cimport match_media
from packet cimport packet_info
from sip cimport (
    IN_ASSERTED, IN_AUTHORIZATION, IN_DIVERSION, IN_FROM, IN_HISTORY, IN_PREFERRED, IN_REQUEST_URI, IN_TO, METHOD_ACK,
    METHOD_BYE, METHOD_INFO, METHOD_INVITE, METHOD_MESSAGE, METHOD_NOTIFY, METHOD_OPTIONS, METHOD_PRACK, METHOD_PUBLISH,
    METHOD_REFER, METHOD_REGISTER, METHOD_SUBSCRIBE, METHOD_UPDATE, scan_message, sip_message,
)
from x2 cimport ROLE_CALLED, ROLE_CALLING


cdef inline bint is_own(const access_point *iap, const packet_info *info) noexcept nogil:
    cdef uint32_t i
    for i in range(iap.own_count):
        if iap.own[i].family == info.family and memcmp(iap.own[i].address, info.source,
                                                       4 if info.family == 4 else 16) == 0:
            return True
    return False


cdef inline uint32_t counting_headers(match_table *t, const sip_message *m, const packet_info *info) noexcept nogil:
    cdef const access_point *iap = &t.iaps[info.iap]
    cdef bint own = iap.side == SIDE_TRUNK and is_own(iap, info)
    cdef uint32_t mask = headers_that_count(iap.side, own, m.method == METHOD_REGISTER)
    if iap.side == SIDE_TRUSTED_TRUNK and mask & m.identity_headers & IN_ASSERTED:
        return mask & ~<uint32_t>IN_FROM
    return mask


cdef inline uint8_t role_of(uint32_t headers, bint registering) noexcept nogil:
    """The subject sent the request if it stands in a header of the sender; else the request is for the subject."""
    if registering or headers & (IN_FROM | IN_ASSERTED | IN_PREFERRED | IN_AUTHORIZATION):
        return ROLE_CALLING
    return ROLE_CALLED


# What an identified request is to the table. `BEGINS`: without a To tag; `JOINS`: inside of a dialog that is not known.
cdef enum:
    BEGINS = 1
    JOINS = 2


cdef inline uint32_t can_match(uint32_t method) noexcept nogil:
    """How a request of this method may be matched by its identities; ACK and CANCEL belong to a call.

    Not into a call: MESSAGE and OPTIONS, which stand in dialogs of any kind. With a BYE a call joins and ends.
    """
    if (method == METHOD_INVITE or method == METHOD_SUBSCRIBE or method == METHOD_NOTIFY or method == METHOD_REFER
            or method == METHOD_INFO):
        return BEGINS | JOINS
    if method == METHOD_UPDATE or method == METHOD_PRACK or method == METHOD_BYE:
        return JOINS
    if (method == METHOD_REGISTER or method == METHOD_MESSAGE or method == METHOD_OPTIONS
            or method == METHOD_PUBLISH):
        return BEGINS
    return 0


cdef inline bint is_of_call(uint32_t method) noexcept nogil:
    """Whether the dialog of a request with a To tag is an INVITE's, if nothing else is known of it."""
    return method != METHOD_SUBSCRIBE and method != METHOD_NOTIFY


cdef inline void join_call(match_table *t, call *c, const finding *f, bint registering) noexcept nogil:
    """Give a task its part in the call. Who was called first and then stands in Diversion alone has left it.

    Where nobody calls anybody (`invite` is not set) each request says anew who sends it."""
    cdef uint8_t role = role_of(f.headers, registering)
    cdef bint diverted = role == ROLE_CALLED and f.headers & (IN_DIVERSION | IN_HISTORY) and not (
        f.headers & IN_REQUEST_URI)
    cdef call_task *entry
    cdef uint32_t i
    for i in range(c.task_count):
        entry = &c.tasks[i]
        if entry.task == f.task:
            if entry.generation == t.targets.tasks[f.task].generation:
                entry.diverted = entry.diverted or (diverted and entry.role == ROLE_CALLED)
                if not (c.invite or c.subscription):
                    entry.role = role
                return
            break
    else:
        if c.task_count == CALL_TASKS:
            t.counters[COUNT_TASKS_REFUSED] += 1
            return
        entry = &c.tasks[c.task_count]
        c.task_count += 1
    entry.task = f.task
    entry.generation = t.targets.tasks[f.task].generation
    entry.role = role
    entry.diverted = diverted


cdef inline uint32_t open_call(match_table *t, const sip_message *m, const call_view *view,
                               uint64_t now_ns) noexcept nogil:
    """A place for a new call; when the table is full, the one that is over or silent longest makes room."""
    cdef uint32_t index = add_call(&t.calls, m.call_id, view, now_ns)
    if index == NO_CALL and t.calls.count == t.calls.capacity:
        t.counters[COUNT_CALLS_EVICTED] += 1
        drop_call(t, oldest_call(&t.calls))
        index = add_call(&t.calls, m.call_id, view, now_ns)
    if index == NO_CALL:
        t.counters[COUNT_CALLS_REFUSED] += 1
        return NO_CALL
    t.counters[COUNT_CALLS] += 1
    return index


cdef inline uint32_t match_request(match_table *t, uint32_t index, const sip_message *m, const call_view *view,
                                   const packet_info *info, uint64_t now_ns) noexcept nogil:
    """Look the identities up; the call's index if anybody's subject is in them (or the call was there before)."""
    cdef findings found
    cdef call_task entry
    cdef uint32_t i
    t.counters[COUNT_INITIAL] += 1
    find_tasks(t, m, counting_headers(t, m, info), &found)
    for i in range(found.count):
        entry.task = found.items[i].task
        entry.generation = t.targets.tasks[entry.task].generation
        if not may_see(t, &entry, info, now_ns):
            continue
        if index == NO_CALL:
            index = open_call(t, m, view, now_ns)
            if index == NO_CALL:
                return NO_CALL
        join_call(t, &t.calls.calls[index], &found.items[i], m.method == METHOD_REGISTER)
    return index


cdef inline bint moves_call(uint32_t method) noexcept nogil:
    """Whether a call that is up depends on its messages: its dialogs and its media (follow_call)."""
    return (method == METHOD_INVITE or method == METHOD_ACK or method == METHOD_BYE or method == METHOD_PRACK
            or method == METHOD_UPDATE)


cdef inline void match_message(match_table *t, const sip_message *m, const packet_info *info,
                               uint64_t now_ns) noexcept nogil:
    cdef call_view view
    cdef message_parties parties
    cdef uint32_t index
    cdef call *c
    cdef bint initial = False
    cdef bint joining = False
    cdef bint calling = m.method == METHOD_INVITE or m.method == METHOD_UPDATE
    cdef uint32_t how = can_match(m.method) if m.status == 0 else 0
    view_call(&t.calls, m.call_id, &view)
    if how:
        if m.method != METHOD_REGISTER and to_tag(m).length:
            joining = how & JOINS
        else:
            initial = how & BEGINS
    index = find_call(&t.calls, m.call_id, &view)
    joining = joining and (index == NO_CALL or (calling and not t.calls.calls[index].invite))
    calling = calling or (joining and is_of_call(m.method))
    if initial or joining:
        index = match_request(t, index, m, &view, info, now_ns)
    if index == NO_CALL:
        t.counters[COUNT_NO_MATCH] += 1
        if t.flows.count:
            hear_others(t, m, now_ns)
        return
    c = &t.calls.calls[index]
    read_parties(t, m, &parties)
    parties.hop = hop_of(&t.calls.secret, info)
    if calling and (initial or joining):
        c.invite = True
    if joining:
        t.counters[COUNT_CALLS_JOINED] += 1
        if calling:
            remember(c.dialogs, &c.dialog_count, CALL_DIALOGS, parties.to_tag)
            c.answered = True
            if c.over_ns:
                set_over(&t.calls, index, 0)
        else:
            c.subscription = True
    if initial and not (c.invite or c.subscription):
        c.tag_count = 0  # the newest request says who sends
    if initial or joining:
        remember(c.tags, &c.tag_count, CALL_TAGS, parties.from_tag)
    parties.sender = CALLER if in_set(c.tags, c.tag_count, parties.from_tag) == (m.status == 0) else CALLEE
    touch_call(&t.calls, index, now_ns)
    hear_message_of(t, c, m, info.iap, now_ns)
    follow_call(t, index, m, &parties, initial, now_ns)
    if emit_message(t, index, m, parties.sender, info, now_ns):
        t.counters[COUNT_MATCHED] += 1
        if t.journal.replaying:
            t.journal.index = index
        elif t.journal.map != NULL and c.invite and moves_call(m.method):
            keep_message(&t.journal, &t.calls, &t.targets, index, m.octets.data, m.octets.length, info, now_ns)
    else:
        t.counters[COUNT_NO_MATCH] += 1
        if c.task_count == 0:
            drop_call(t, index)


cdef inline void count_notes(match_table *t, uint32_t notes) noexcept nogil:
    cdef uint32_t bit = 0
    while notes:
        if notes & 1:
            t.counters[COUNT_TOLERATED + bit] += 1
        notes >>= 1
        bit += 1


cdef inline void match_datagram(match_table *t, const packet_info *info, const uint8_t *payload, uint32_t length,
                                uint64_t now_ns) noexcept nogil:
    """One UDP payload of a signalling port. `now_ns`: UTC, nanoseconds since 1970, never going backwards."""
    cdef const uint8_t *at = payload
    cdef const uint8_t *end = payload + length
    cdef const uint8_t *start
    cdef uint32_t junk = 0
    cdef uint32_t sum_of_junk = 0
    cdef uint32_t messages = 0
    cdef sip_message m
    t.counters[COUNT_DATAGRAMS] += 1
    if info.iap >= t.iap_count:
        t.counters[COUNT_UNKNOWN_IAP] += 1
        return
    expire_calls(t, now_ns)
    while next_message(&at, end, &start, &junk):
        sum_of_junk += junk
        scan_message(&m, start, end)
        at = start + m.octets.length
        messages += 1
        count_notes(t, m.notes)
        if m.fault:
            t.counters[COUNT_MALFORMED + m.fault - 1] += 1
        else:
            match_message(t, &m, info, now_ns)
    t.counters[COUNT_MESSAGES] += messages
    sum_of_junk += junk
    if messages == 0:
        t.counters[COUNT_NOT_SIP if sum_of_junk else COUNT_KEEPALIVES] += 1
    elif sum_of_junk:
        t.counters[COUNT_JUNK] += 1
