# Hops: between which two hosts a message of a call was seen. A tap on both sides of a session border controller sees
# each message twice, with other media addresses where a relay stands between (RFC 7092 section 3.1.3). Offer and answer
# fit each other only if both are of one hop; and of two copies of a packet one is the call's.
#
# A hop is the unordered pair of IP addresses of signalling. A transaction (RFC 3261 section 17: who asks, CSeq, method;
# an ACK belongs to its INVITE) is followed on the hop where it was first seen, or on the call's own hop if it comes by
# there as well, so that a request of the called party does not move the call to the other side of the relay. The call's
# hop is the first one with an INVITE; when a whole transaction passed elsewhere (mobility), that one.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from dialog cimport CALL_TRANSACTIONS, call, transaction
from keyed_hash cimport hash_octets, hash_secret
from packet cimport packet_info
from sip cimport METHOD_ACK, METHOD_INVITE


cdef inline uint64_t hop_of(const hash_secret *secret, const packet_info *info) noexcept nogil:
    """A keyed hash of the pair, never 0."""
    cdef uint8_t[40] pair
    cdef uint32_t octets = 4 if info.family == 4 else 16
    cdef const uint8_t *lower = info.source
    cdef const uint8_t *upper = info.destination
    if memcmp(lower, upper, octets) > 0:
        lower, upper = upper, lower
    memset(pair, 0, sizeof(pair))
    memcpy(pair, lower, octets)
    memcpy(pair + 16, upper, octets)
    pair[32] = info.family
    return hash_octets(secret, pair, sizeof(pair)) | 1


cdef inline transaction *find_transaction(call *c, uint32_t requester, uint32_t method,
                                          uint32_t sequence) noexcept nogil:
    cdef int i
    cdef transaction *x
    for i in range(CALL_TRANSACTIONS):
        x = &c.transactions[i]
        if x.hop and x.sequence == sequence and x.requester == requester and (
                x.method == (METHOD_INVITE if method == METHOD_ACK else method)):
            return x
    return NULL


cdef inline uint64_t follow_hop(call *c, uint32_t requester, uint32_t method, uint32_t sequence, uint64_t hop,
                                bint request, bint in_dialog) noexcept nogil:
    """The hop on which a message's transaction is followed, now that this message of it was seen on `hop`."""
    cdef transaction *x = find_transaction(c, requester, method, sequence)
    if c.hop == 0:
        c.hop = hop
    if x == NULL:
        x = &c.transactions[c.next_transaction]  # in the place of the oldest
        c.next_transaction = <uint8_t>((c.next_transaction + 1) % CALL_TRANSACTIONS)
        x.sequence = sequence
        x.requester = <uint8_t>requester
        x.method = <uint8_t>(METHOD_INVITE if method == METHOD_ACK else method)
        # What begins the call anew elsewhere is what a back-to-back agent made of it, with a CSeq of its own.
        x.hop = hop if in_dialog else c.hop
    elif request and hop == c.hop:
        x.hop = hop
    return x.hop


cdef inline void move_hop(call *c, uint32_t requester, uint32_t method, uint32_t sequence, uint64_t hop) noexcept nogil:
    """The transaction passed on this hop, and so does the call from now on."""
    cdef transaction *x = find_transaction(c, requester, method, sequence)
    if x != NULL:
        x.hop = hop
    c.hop = hop
