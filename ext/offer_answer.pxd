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
from libc.stdint cimport uint32_t, uint64_t

from description cimport (
    CURRENT, NO_DESCRIPTION, OFFERED, add_description, description, find_description, make_former,
    remove_description, same_media,
)
from dialog cimport CALLER, call, in_set
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


cdef inline void keep_description(match_table *t, call *c, uint32_t party, uint64_t fork, uint32_t requester,
                                  uint32_t method, uint32_t sequence, bint offered,
                                  const session_media *found) noexcept nogil:
    """A party's description in one fork, in the place of the one before it, or beside it if it may yet be refused."""
    cdef uint32_t index = find_description(&t.descriptions, c, party, fork, CURRENT)
    cdef uint32_t before
    cdef description *d
    if index != NO_DESCRIPTION:
        d = &t.descriptions.items[index]
        if d.requester == requester and sequence < d.sequence:
            return  # a copy of an older message
        if same_media(&d.media, found):
            if not offered:
                d.sequence = sequence
                d.requester = <unsigned char>requester
            return
    before = find_description(&t.descriptions, c, party, fork, OFFERED)
    if before != NO_DESCRIPTION and (offered or same_media(&t.descriptions.items[before].media, found)):
        remove_description(&t.descriptions, c, before)
    if not offered and index != NO_DESCRIPTION:
        make_former(&t.descriptions, c, index)
    index = add_description(&t.descriptions, c)
    if index == NO_DESCRIPTION:
        t.counters[COUNT_DESCRIPTIONS_REFUSED] += 1
        return
    d = &t.descriptions.items[index]
    d.fork = fork
    d.sequence = sequence
    d.method = <unsigned char>method
    d.requester = <unsigned char>requester
    d.party = <unsigned char>party
    d.state = OFFERED if offered else CURRENT
    d.media = found[0]


cdef inline void take_media(match_table *t, call *c, const sip_message *m, uint32_t sender, uint64_t fork,
                            bint in_dialog) noexcept nogil:
    """What a message does to its call's descriptions. `fork` is the callee's tag, 0 without; `in_dialog`: it has both
    tags. Dialogs must be up to date."""
    cdef session_media found
    cdef sdp_result result
    cdef uint64_t number = 0
    cdef uint32_t requester = sender if m.status == 0 else 1 - sender
    cdef uint32_t beyond = 0
    cdef bint offered
    if m.method != METHOD_INVITE and m.method != METHOD_ACK and m.method != METHOD_PRACK and (
            m.method != METHOD_UPDATE):
        return
    if not read_decimal(trim(m.cseq_number), &number):
        number = 0
    if m.status >= 300:
        end_offers(t, c, requester, m.method, <uint32_t>number, False)
        if m.method == METHOD_INVITE and fork and not in_set(c.dialogs, c.dialog_count, fork):
            end_fork(t, c, fork)
        return  # a refusal describes nothing
    if m.status >= 200:
        end_offers(t, c, requester, m.method, <uint32_t>number, True)
        if m.method == METHOD_INVITE:
            end_forks(t, c)
    elif m.status and m.method == METHOD_INVITE and c.answered and not in_set(c.dialogs, c.dialog_count, fork):
        return  # after the answer, another branch's early media is not the call's
    if m.body.length == 0:
        return
    result = read_sdp(m.body, &found, &beyond)
    t.counters[COUNT_SDP_STREAMS_REFUSED] += beyond
    if result == SDP_NONE:
        return
    if result == SDP_UNKNOWN:
        t.counters[COUNT_SDP_UNKNOWN] += 1
    offered = m.status == 0 and m.method != METHOD_ACK and in_dialog
    keep_description(t, c, sender, fork if in_dialog else 0, requester, m.method, <uint32_t>number, offered, &found)
    if m.status >= 200 and m.method == METHOD_INVITE or m.method == METHOD_ACK:
        end_forks(t, c)
