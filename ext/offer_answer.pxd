# Which descriptions of a call hold: offers, answers, refusals and forks (RFC 3264, RFC 3261 section 13, RFC 3262, RFC
# 3311, RFC 6337), as far as media addresses need it. What they mean is the mediator's to say.
#
# | message                               | descriptions                                                              |
# |---------------------------------------|---------------------------------------------------------------------------|
# | initial INVITE                        | the caller's of all forks; it takes the place of an earlier one           |
# | 1xx, 2xx, ACK                         | the sender's in this fork takes the place of an earlier one               |
# | INVITE in a dialog, UPDATE, PRACK     | offered, beside the current one                                           |
# | 2xx of these                          | what was offered becomes current                                          |
# | 3xx to 6xx of these                   | what was offered is gone                                                  |
# | 2xx of INVITE                         | forks that are no dialog are gone; their late 1xx describes nothing       |
# | 3xx to 6xx of an initial INVITE       | the fork is gone                                                          |
# | ACK                                   | an answer that was seen on another hop alone holds, with that hop's offer |
# Each holds on the hop that its transaction is followed on (ext/hop.pxd).
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from description cimport (
    CURRENT, ELSEWHERE, NO_DESCRIPTION, OFFERED, PASSING, add_description, description, find_description, make_former,
    remove_description, same_media,
)
from dialog cimport call, in_set
from hop cimport follow_hop, move_hop
from match_table cimport (
    COUNT_DESCRIPTIONS_REFUSED, COUNT_SDP_STREAMS_REFUSED, COUNT_SDP_UNKNOWN, match_table,
)
from octets cimport read_decimal, trim
from sdp cimport SDP_NONE, SDP_UNKNOWN, read_sdp, sdp_result, session_media
from sip cimport METHOD_ACK, METHOD_INVITE, METHOD_PRACK, METHOD_UPDATE, sip_message


cdef inline void supersede(match_table *t, call *c, uint32_t party, uint64_t fork) noexcept nogil:
    cdef uint32_t index = find_description(&t.descriptions, c, party, fork, CURRENT)
    if index != NO_DESCRIPTION:
        make_former(&t.descriptions, c, index)


cdef inline void end_offers(match_table *t, call *c, uint32_t party, uint32_t method, uint32_t sequence,
                            bint accepted) noexcept nogil:
    """The final response to a request of `party`: its offer holds, or never did."""
    cdef uint32_t index = c.first_description
    cdef uint32_t following
    cdef description *d
    while index != NO_DESCRIPTION:
        d = &t.descriptions.items[index]
        following = d.following
        if d.state == OFFERED and d.party == party and d.method == method and d.sequence == sequence:
            if not accepted:
                remove_description(&t.descriptions, c, index)
            else:
                supersede(t, c, party, d.fork)
                d.state = CURRENT
            return  # there is one offer at a time (RFC 3264 section 4)
        index = following


cdef inline void end_forks(match_table *t, call *c) noexcept nogil:
    """The call is answered: only what stands in a dialog is left, and of one dialog its own offers alone."""
    cdef uint32_t index = c.first_description
    cdef uint32_t following
    cdef const description *d
    while index != NO_DESCRIPTION:
        d = &t.descriptions.items[index]
        following = d.following
        if d.fork and not in_set(c.dialogs, c.dialog_count, d.fork):
            remove_description(&t.descriptions, c, index)
        elif (d.fork == 0 and d.state == CURRENT and c.dialog_count == 1
              and find_description(&t.descriptions, c, d.party, c.dialogs[0], CURRENT) != NO_DESCRIPTION):
            make_former(&t.descriptions, c, index)
            following = c.first_description  # from the start: the list may have lost another one
        index = following


cdef inline void end_fork(match_table *t, call *c, uint64_t fork) noexcept nogil:
    cdef uint32_t index = c.first_description
    cdef uint32_t following
    while index != NO_DESCRIPTION:
        following = t.descriptions.items[index].following
        if t.descriptions.items[index].fork == fork:
            remove_description(&t.descriptions, c, index)
        index = following


# What a description came in.
cdef struct origin:
    uint64_t fork
    uint64_t hop
    uint64_t right_hop         # that its transaction is followed on
    uint32_t sequence
    uint8_t method
    uint8_t requester
    uint8_t party
    bint request
    bint final                 # response, or ACK


cdef inline bint is_of(const description *d, const origin *o) noexcept nogil:
    """Whether it came in the same transaction."""
    return d.requester == o.requester and d.sequence == o.sequence


cdef inline void forget_state(match_table *t, call *c, const origin *o, uint32_t state) noexcept nogil:
    cdef uint32_t index = find_description(&t.descriptions, c, o.party, o.fork, state)
    if index != NO_DESCRIPTION:
        remove_description(&t.descriptions, c, index)


cdef inline void put_description(match_table *t, call *c, const origin *o, uint32_t state,
                                 const session_media *found) noexcept nogil:
    cdef uint32_t index = add_description(&t.descriptions, c)
    cdef description *d
    if index == NO_DESCRIPTION:
        t.counters[COUNT_DESCRIPTIONS_REFUSED] += 1
        return
    d = &t.descriptions.items[index]
    d.fork = o.fork
    d.hop = o.hop
    d.sequence = o.sequence
    d.method = o.method
    d.requester = o.requester
    d.party = o.party
    d.final = o.final
    d.state = <uint8_t>state
    d.media = found[0]


cdef inline bint known_on_right_hop(const match_table *t, const call *c, const origin *o,
                                    bint any_fork) noexcept nogil:
    """Whether what this message says was seen on its transaction's hop, in this form or another."""
    cdef uint32_t index = c.first_description
    cdef const description *d
    while index != NO_DESCRIPTION:
        d = &t.descriptions.items[index]
        index = d.following
        if (d.party == o.party and (any_fork or d.fork == o.fork) and is_of(d, o) and d.hop == o.right_hop
                and (d.state == CURRENT or d.state == OFFERED) and (d.final or not o.final)):
            return True
    return False


cdef inline void keep_beside(match_table *t, call *c, const origin *o, const session_media *found) noexcept nogil:
    """A description that was seen on another hop than the right one, and is not the current one."""
    cdef uint32_t before = find_description(&t.descriptions, c, o.party, o.fork, OFFERED)
    if o.request:
        if before != NO_DESCRIPTION and same_media(&t.descriptions.items[before].media, found):
            return
        forget_state(t, c, o, ELSEWHERE)
        put_description(t, c, o, ELSEWHERE, found)
    elif not known_on_right_hop(t, c, o, False):
        forget_state(t, c, o, PASSING)
        put_description(t, c, o, PASSING, found)


cdef inline void keep_description(match_table *t, call *c, const origin *o, bint offered,
                                  const session_media *found) noexcept nogil:
    """A party's description in one fork, in the place of the one before it, or beside it if it may yet be refused."""
    cdef uint32_t index = find_description(&t.descriptions, c, o.party, o.fork, CURRENT)
    cdef uint32_t before = find_description(&t.descriptions, c, o.party, o.fork, OFFERED)
    cdef bint right = o.hop == o.right_hop
    cdef bint same = False
    cdef description *d
    if index != NO_DESCRIPTION:
        d = &t.descriptions.items[index]
        if d.requester == o.requester and o.sequence < d.sequence:
            return  # a copy of an older message
        same = same_media(&d.media, found)
        if same and not offered:
            if right or not is_of(d, o):
                d.hop = o.hop
            d.final = o.final or (d.final and is_of(d, o))
            d.sequence = o.sequence
            d.requester = o.requester
    if not right:
        if not same:
            keep_beside(t, c, o, found)
        return
    forget_state(t, c, o, PASSING)
    if same:
        if offered and before != NO_DESCRIPTION and is_of(&t.descriptions.items[before], o):
            remove_description(&t.descriptions, c, before)  # as it was seen on another hop before
        return
    if before != NO_DESCRIPTION and (offered or same_media(&t.descriptions.items[before].media, found)):
        remove_description(&t.descriptions, c, before)
    if not offered:
        supersede(t, c, o.party, o.fork)
    put_description(t, c, o, OFFERED if offered else CURRENT, found)


cdef inline void settle_answer(match_table *t, call *c, const origin *ack) noexcept nogil:
    """The call is up, and its answer was not seen on the right hop: it holds where it was, with the offer there."""
    cdef origin answer = ack[0]
    cdef uint32_t index, offer
    cdef uint64_t hop
    answer.party = 1 - ack.party
    index = find_description(&t.descriptions, c, answer.party, ack.fork, PASSING)
    if index == NO_DESCRIPTION or not is_of(&t.descriptions.items[index], ack):
        return
    answer.final = False
    if known_on_right_hop(t, c, &answer, True):
        remove_description(&t.descriptions, c, index)
        return
    supersede(t, c, answer.party, ack.fork)
    t.descriptions.items[index].state = CURRENT
    hop = t.descriptions.items[index].hop
    move_hop(c, ack.requester, ack.method, ack.sequence, hop)
    answer.party = ack.party
    offer = find_description(&t.descriptions, c, ack.party, ack.fork, ELSEWHERE)
    if offer == NO_DESCRIPTION:
        offer = find_description(&t.descriptions, c, ack.party, 0, ELSEWHERE)
    if offer != NO_DESCRIPTION and is_of(&t.descriptions.items[offer], ack) and t.descriptions.items[offer].hop == hop:
        supersede(t, c, ack.party, t.descriptions.items[offer].fork)
        t.descriptions.items[offer].state = CURRENT


cdef inline void take_media(match_table *t, call *c, const sip_message *m, uint32_t sender, uint64_t fork,
                            bint in_dialog, uint64_t hop) noexcept nogil:
    """What a message does to its call's descriptions. `fork` is the callee's tag, 0 without; `in_dialog`: it has both
    tags; `hop`: where it was seen. Dialogs must be up to date."""
    cdef session_media found
    cdef sdp_result result
    cdef uint64_t number = 0
    cdef uint32_t beyond = 0
    cdef origin o
    if m.method != METHOD_INVITE and m.method != METHOD_ACK and m.method != METHOD_PRACK and (
            m.method != METHOD_UPDATE):
        return
    if not read_decimal(trim(m.cseq_number), &number):
        number = 0
    o.fork = fork if in_dialog else 0
    o.hop = hop
    o.sequence = <uint32_t>number
    o.method = <uint8_t>m.method
    o.requester = <uint8_t>(sender if m.status == 0 else 1 - sender)
    o.party = <uint8_t>sender
    o.request = m.status == 0 and m.method != METHOD_ACK
    o.final = m.status >= 200 or m.method == METHOD_ACK
    o.right_hop = follow_hop(c, o.requester, m.method, o.sequence, hop, o.request,
                             in_dialog or m.method != METHOD_INVITE or m.status != 0)
    if m.status >= 300:
        end_offers(t, c, o.requester, m.method, o.sequence, False)
        if m.method == METHOD_INVITE and fork and not in_set(c.dialogs, c.dialog_count, fork):
            end_fork(t, c, fork)
        return  # a refusal describes nothing
    if m.status >= 200:
        end_offers(t, c, o.requester, m.method, o.sequence, True)
        if hop == o.right_hop and m.method != METHOD_PRACK:
            c.hop = hop
        if m.method == METHOD_INVITE:
            end_forks(t, c)
    elif m.status and m.method == METHOD_INVITE and c.answered and not in_set(c.dialogs, c.dialog_count, fork):
        return  # after the answer, another branch's early media is not the call's
    if m.body.length:
        result = read_sdp(m.body, &found, &beyond)
        t.counters[COUNT_SDP_STREAMS_REFUSED] += beyond
        if result == SDP_UNKNOWN:
            t.counters[COUNT_SDP_UNKNOWN] += 1
        if result != SDP_NONE:
            keep_description(t, c, &o, o.request and in_dialog, &found)
            if (m.status >= 200 and m.method == METHOD_INVITE) or m.method == METHOD_ACK:
                end_forks(t, c)
    if m.method == METHOD_ACK:
        settle_answer(t, c, &o)
