# Whether a packet at a call's addresses is still the call's. Ports are used again; a call whose BYE was not seen must
# not hand the next call's media to its agency (47 CFR 1.20007(b)), and one that is up must lose nothing.
#
# A packet that continues a stream of its sender (the same SSRC, a sequence number that goes on: RFC 3550 section 5.1)
# is the call's, whatever else is known. Of one that does not, nothing more is known than that it comes from and goes to
# where the call announced its media. That is not enough
#   after silence    both parties' streams were heard, and for QUIET_S no packet of any of them, RTCP included, nor a
#                    message of the call: a participant that is silent as long as that has left (RFC 3550 section 6.3.5:
#                    5 intervals of 5 s; RFC 7675 section 5.1: 30 s). A sender that pauses, mutes or is held continues
#                    its stream; a relay, a transfer or a conference that changes the one party's SSRC leaves the other
#                    party's stream as it was; and what else begins anew is announced by signalling;
#   after a claim    a message of another call announced one of the addresses, nothing was heard since, and for
#                    CLAIMED_QUIET_S before the packet. Legs that a back-to-back agent makes of the call announce
#                    its addresses too: within LEG_S of the call's own messages, or while its streams go on, which makes
#                    all further claims mean nothing (`shared`);
#   after its time   the session timer ran out (RFC 4028), and the same silence as after a claim.
# Then the call is in doubt: such packets do not pass until a stream of the call goes on, from either party, or a
# message of it comes that does not end it. Where the one party's packets alone are heard (dialed digits, one direction
# at this tap) silence proves nothing.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from dialog cimport call
from flows cimport NO_FLOW, first_flow, flow, next_flow
from liveness cimport SOURCES, heard_source, liveness
from match_table cimport COUNT_CALLS_CLAIMED, COUNT_CALLS_RESUMED, match_table
from octets cimport find, is_digit, span
from rtp cimport RTP_HEADER, is_rtcp
from sdp cimport media_address, read_sdp, session_media
from sip cimport (
    METHOD_ACK, METHOD_BYE, METHOD_CANCEL, METHOD_INVITE, METHOD_PRACK, METHOD_UPDATE, sip_message,
)

cdef enum:
    QUIET_S = 30
    CLAIMED_QUIET_S = 2
    CLAIM_GRACE_S = 1          # what was under way when another call announced the address
    LEG_S = 5
    DROPOUT = 3000             # packets missing in a stream that goes on (RFC 3550 appendix A.1) …
    DROPOUT_PER_S = 100        # … and for each second in which the tap may have been blind
    MISORDER = 100             # the same appendix
    NS = 1000000000


cdef inline uint32_t word_at(const uint8_t *p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef inline uint64_t quiet_ns(const liveness *life, uint64_t now_ns) noexcept nogil:
    return now_ns - life.heard_ns if now_ns > life.heard_ns else 0


cdef inline heard_source *find_source(liveness *life, uint32_t party, uint32_t ssrc) noexcept nogil:
    cdef uint32_t i
    for i in range(life.source_count[party]):
        if life.sources[party][i].ssrc == ssrc:
            return &life.sources[party][i]
    return NULL


cdef inline bint is_numbered(const uint8_t *p, uint32_t length) noexcept nogil:
    """Whether a packet can be RTP."""
    return length >= RTP_HEADER and p[0] >> 6 == 2 and not is_rtcp(p, length)


cdef inline bint continues(liveness *life, uint32_t party, const uint8_t *p, uint32_t length,
                           uint64_t now_ns) noexcept nogil:
    """Whether a packet of this party goes on with a stream of it."""
    cdef const heard_source *s
    cdef uint64_t ahead
    if is_rtcp(p, length):
        return find_source(life, party, word_at(p + 4)) != NULL
    if not is_numbered(p, length):
        return False
    s = find_source(life, party, word_at(p + 8))
    if s == NULL or not s.numbered:
        return s != NULL
    ahead = <uint16_t>((<uint32_t>p[2] << 8 | p[3]) - s.sequence)
    return ahead <= DROPOUT + quiet_ns(life, now_ns) // NS * DROPOUT_PER_S or ahead >= 0x10000 - MISORDER


cdef inline bint has_run_out(const liveness *life, uint64_t now_ns) noexcept nogil:
    """Whether the call's session timer has."""
    return life.expires_ns != 0 and now_ns >= life.expires_ns


cdef inline bint is_strange(match_table *t, const flow *f, const uint8_t *payload, uint32_t length,
                            uint64_t now_ns) noexcept nogil:
    """Whether nothing shows that a packet, which fits the flow by its addresses, is the call's."""
    cdef liveness *life = &t.calls.calls[f.call].live
    cdef uint64_t quiet
    if not (f.content or f.voiced) or continues(life, 1 - f.party, payload, length, now_ns):
        return False
    if life.doubted_ns:
        return True
    quiet = quiet_ns(life, now_ns)
    if f.content and life.source_count[0] and life.source_count[1] and quiet >= <uint64_t>QUIET_S * NS:
        return True
    return quiet >= <uint64_t>CLAIMED_QUIET_S * NS and (
        has_run_out(life, now_ns)
        or (life.claimed_ns != 0 and life.heard_ns <= life.claimed_ns + <uint64_t>CLAIM_GRACE_S * NS))


cdef inline void hear_packet_of(match_table *t, const flow *f, const uint8_t *payload, uint32_t length,
                                uint64_t now_ns) noexcept nogil:
    """A packet is the call's: it is up, and the packet's stream is one of its own."""
    cdef liveness *life = &t.calls.calls[f.call].live
    cdef uint32_t party = 1 - f.party
    cdef bint rtcp = is_rtcp(payload, length)
    cdef heard_source *s
    cdef uint32_t ssrc
    if (life.doubted_ns or life.claimed_ns) and continues(life, party, payload, length, now_ns):
        if life.doubted_ns:
            t.counters[COUNT_CALLS_RESUMED] += 1
        life.doubted_ns = 0
        if life.claimed_ns and now_ns > life.claimed_ns + <uint64_t>CLAIM_GRACE_S * NS:
            life.claimed_ns = 0
            life.shared = True
    if now_ns > life.heard_ns:
        life.heard_ns = now_ns
    if not rtcp and not is_numbered(payload, length):
        return
    ssrc = word_at(payload + (4 if rtcp else 8))
    s = find_source(life, party, ssrc)
    if s == NULL:
        s = &life.sources[party][life.next_source[party]]
        life.next_source[party] = <uint8_t>((life.next_source[party] + 1) % SOURCES)
        if life.source_count[party] < SOURCES:
            life.source_count[party] += 1
        s.ssrc = ssrc
        s.numbered = False
    if not rtcp:
        s.sequence = <uint16_t>(<uint32_t>payload[2] << 8 | payload[3])
        s.numbered = True


cdef inline void hear_message_of(match_table *t, call *c, const sip_message *m, uint32_t iap,
                                 uint64_t now_ns) noexcept nogil:
    """A message of the call: it is up, and what it was held for is over, unless the message ends it, or tells that the
    other side knows nothing of it (RFC 5057 section 5.1: 408, 481)."""
    cdef liveness *life = &c.live
    life.iaps |= <uint64_t>1 << iap
    if m.method == METHOD_BYE or m.method == METHOD_CANCEL or m.status == 408 or m.status == 481:
        return
    if life.doubted_ns or life.lapsed:
        t.counters[COUNT_CALLS_RESUMED] += 1
    life.doubted_ns = life.claimed_ns = 0
    life.lapsed = False
    life.signalled_ns = life.heard_ns = now_ns


cdef inline void claim_address(match_table *t, const media_address *at, uint32_t but, uint64_t now_ns) noexcept nogil:
    """Another call than these flows' announced this address; `but`: that call, if it is one of the table."""
    cdef uint32_t index = first_flow(&t.flows, at.family, at.address, at.port)
    cdef liveness *life
    while index != NO_FLOW:
        life = &t.calls.calls[t.flows.flows[index].call].live
        if (t.flows.flows[index].call != but and not life.shared
                and now_ns > life.signalled_ns + <uint64_t>LEG_S * NS):
            t.counters[COUNT_CALLS_CLAIMED] += life.claimed_ns == 0
            life.claimed_ns = now_ns
        index = next_flow(&t.flows, t.flows.flows[index].following, at.family, at.address, at.port)


cdef inline bint names_used_port(const match_table *t, span body) noexcept nogil:
    """Whether an m= line has the port of a flow; no address is looked at."""
    cdef const uint8_t *p = body.data
    cdef const uint8_t *end = p + body.length
    cdef uint32_t port
    while end - p > 4:
        if p[0] == 109 and p[1] == 61:  # m=
            p = find(p, end, 32)
            port = 0
            while end - p > 1 and is_digit(p[1]) and port < 65536:
                port = port * 10 + p[1] - 48
                p += 1
            if port < 65536 and t.flows.port_uses[port]:
                return True
        p = find(p, end, 10)
        if p < end:
            p += 1
    return False


cdef inline void hear_others(match_table *t, const sip_message *m, uint64_t now_ns) noexcept nogil:
    """A message of nobody's call. Nothing of it is kept but that an address of a flow stood in it."""
    cdef session_media found
    cdef uint32_t beyond = 0
    cdef uint32_t i
    if m.body.length == 0 or m.status >= 300 or (
            m.method != METHOD_INVITE and m.method != METHOD_ACK and m.method != METHOD_PRACK
            and m.method != METHOD_UPDATE) or not names_used_port(t, m.body):
        return
    read_sdp(m.body, &found, &beyond)
    for i in range(found.count):
        claim_address(t, &found.streams[i].at, NO_FLOW, now_ns)
