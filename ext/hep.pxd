# HEP3 (the HEP/EEP specification of the SIPCAPTURE project): signalling that a switch sends us itself, where it is
# encrypted on the wire. A packet is "HEP3", a length, and chunks {vendor, type, length with its own six octets, data},
# all in network order. Read from a bound UDP socket by the reader's thread, in batches, and matched like a datagram
# between the addresses inside.
#
# HEP gives no integrity: its key stands in the clear in each packet, and nothing says that a packet was not made up.
# So the socket is bound to one interface, that must be isolated or under IPsec, and what it brings is believed as far
# as that interface is. What is not whole and unambiguous is counted and forgotten.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from ethernet cimport be16, be32
from linux cimport CLOCK_REALTIME, clock_ns, datagram_batch, receive_batch
from match cimport match_datagram, match_table
from packet cimport packet_info

cdef enum:
    HEP_HEADER = 6
    HEP_CHUNK = 6
    HEP_LAST = 18               # the highest generic chunk type that is looked at
    HEP_KEY_AT_MOST = 64
    HEP_BATCH = 32              # datagrams of one system call
    HEP_OCTETS = 65536          # the largest UDP datagram
    HEP_ROUND = 1024            # datagrams of one feed in one round, as of one ring

    CHUNK_FAMILY = 1
    CHUNK_PROTOCOL = 2
    CHUNK_SOURCE_4 = 3
    CHUNK_DESTINATION_4 = 4
    CHUNK_SOURCE_6 = 5
    CHUNK_DESTINATION_6 = 6
    CHUNK_SOURCE_PORT = 7
    CHUNK_DESTINATION_PORT = 8
    CHUNK_SECONDS = 9
    CHUNK_MICROSECONDS = 10
    CHUNK_TYPE = 11
    CHUNK_KEY = 14
    CHUNK_PAYLOAD = 15
    CHUNK_COMPRESSED = 16       # sngrep's name for 16 is correlation id, which is 17: beside a payload it means nothing

    TYPE_SIP = 1

    HEP_PROTOCOL_UDP = 17
    # The sender's clock is one that nobody vouches for, like a card's (ext/reader.pxd): its stamp is believed only as
    # far as it agrees with the arrival, and that is its error.
    HEP_CLOCK_US = 100_000
    HEP_UNKNOWN_ERROR_US = 0xffffffff


cdef struct hep_counters:
    uint64_t hep_packets           # received, whatever became of them
    uint64_t hep_octets
    uint64_t hep_sip               # handed to match_datagram
    uint64_t hep_malformed         # no HEP3, lengths that do not agree, or a chunk twice
    uint64_t hep_incomplete        # without addresses, ports or payload
    uint64_t hep_unauthenticated   # another key than the site's, or none
    uint64_t hep_compressed        # refused: nothing from the network is unpacked here
    uint64_t hep_other_type        # RTCP, logs and whatever else HEP carries
    uint64_t hep_stamp_implausible  # the sender's clock too far from the arrival, or not given: arrival, error unknown
    uint64_t hep_truncated         # longer than the buffer: no UDP datagram is


cdef struct hep_feed:
    int fd                         # of the socket that the opener bound, -1: none
    match_table *table
    uint8_t iap
    uint32_t error_us              # of the system's clock
    uint8_t undisciplined
    uint8_t key[HEP_KEY_AT_MOST]
    uint32_t key_length            # 0: the key is not looked at
    uint8_t *octets                # HEP_BATCH x HEP_OCTETS
    datagram_batch *batch
    hep_counters counts


cdef inline bint same_key(const hep_feed *feed, const uint8_t *data, uint32_t length) noexcept nogil:
    """In a time that depends on the site's key alone: how far a guess is right cannot be measured."""
    cdef uint32_t i
    cdef uint32_t other = length ^ feed.key_length
    for i in range(feed.key_length):
        other |= feed.key[i] ^ (data[i] if i < length else 0xff)
    return other == 0


cdef inline bint hep_chunks(const uint8_t *data, uint32_t length, const uint8_t **chunks,
                            uint32_t *lengths) noexcept nogil:
    """Where each generic chunk's data is. 0: the packet is none, or says something twice."""
    cdef uint32_t at = HEP_HEADER
    cdef uint32_t size
    cdef uint16_t kind
    if length < HEP_HEADER or memcmp(data, b"HEP3", 4) != 0 or be16(data + 4) != length:
        return False
    while at < length:
        if length - at < HEP_CHUNK:
            return False
        size = be16(data + at + 4)
        if size < HEP_CHUNK or size > length - at:
            return False
        kind = be16(data + at + 2)
        if be16(data + at) == 0 and 0 < kind <= HEP_LAST:
            if chunks[kind] != NULL:
                return False
            chunks[kind] = data + at + HEP_CHUNK
            lengths[kind] = size - HEP_CHUNK
        at += size
    return True


cdef inline bint hep_ends(const uint8_t **chunks, const uint32_t *lengths, packet_info *info) noexcept nogil:
    """Addresses and ports. The family is the sending machine's AF_ number: 2 is IPv4 everywhere, 10, 24, 28 and 30 are
    IPv6 somewhere."""
    cdef uint8_t family
    cdef int first
    cdef uint32_t octets
    if lengths[CHUNK_FAMILY] != 1 or lengths[CHUNK_SOURCE_PORT] != 2 or lengths[CHUNK_DESTINATION_PORT] != 2:
        return False
    family = chunks[CHUNK_FAMILY][0]
    if family == 2:
        info.family, first, octets = 4, CHUNK_SOURCE_4, 4
    elif family == 10 or family == 24 or family == 28 or family == 30:
        info.family, first, octets = 6, CHUNK_SOURCE_6, 16
    else:
        return False
    if lengths[first] != octets or lengths[first + 1] != octets:
        return False
    memcpy(info.source, chunks[first], octets)
    memcpy(info.destination, chunks[first + 1], octets)
    info.source_port = be16(chunks[CHUNK_SOURCE_PORT])
    info.destination_port = be16(chunks[CHUNK_DESTINATION_PORT])
    info.protocol = chunks[CHUNK_PROTOCOL][0] if lengths[CHUNK_PROTOCOL] == 1 else HEP_PROTOCOL_UDP
    return True


cdef inline void hep_stamp(hep_feed *feed, const uint8_t **chunks, const uint32_t *lengths, uint64_t arrival_ns,
                           packet_info *info) noexcept nogil:
    """The switch's own stamp where it is plausible, else the arrival, whose distance from the event nobody knows."""
    cdef uint64_t stamp = 0
    cdef uint64_t limit = <uint64_t>HEP_CLOCK_US * 1000
    if lengths[CHUNK_SECONDS] == 4 and lengths[CHUNK_MICROSECONDS] == 4 and be32(
            chunks[CHUNK_MICROSECONDS]) < 1_000_000:
        stamp = <uint64_t>be32(chunks[CHUNK_SECONDS]) * 1_000_000_000 + <uint64_t>be32(
            chunks[CHUNK_MICROSECONDS]) * 1000
    info.undisciplined = feed.undisciplined
    if stamp + limit < arrival_ns or arrival_ns + limit < stamp:
        feed.counts.hep_stamp_implausible += 1
        info.stamp_ns = arrival_ns
        info.error_us = HEP_UNKNOWN_ERROR_US
        return
    info.stamp_ns = stamp
    info.error_us = feed.error_us
    if feed.error_us < HEP_UNKNOWN_ERROR_US - HEP_CLOCK_US:
        info.error_us += HEP_CLOCK_US


cdef inline void hep_packet(hep_feed *feed, const uint8_t *data, uint32_t length, uint64_t arrival_ns,
                            uint64_t now_ns) noexcept nogil:
    """One datagram; `arrival_ns` by the system's clock, `now_ns` the authority clock."""
    cdef const uint8_t *chunks[HEP_LAST + 1]
    cdef uint32_t lengths[HEP_LAST + 1]
    cdef packet_info info
    memset(chunks, 0, sizeof(chunks))
    memset(lengths, 0, sizeof(lengths))
    feed.counts.hep_packets += 1
    feed.counts.hep_octets += length
    if not hep_chunks(data, length, chunks, lengths):
        feed.counts.hep_malformed += 1
        return
    if feed.key_length and not same_key(feed, chunks[CHUNK_KEY], lengths[CHUNK_KEY]):
        feed.counts.hep_unauthenticated += 1
        return
    if lengths[CHUNK_TYPE] != 1 or chunks[CHUNK_TYPE][0] != TYPE_SIP:
        feed.counts.hep_other_type += 1
        return
    if chunks[CHUNK_PAYLOAD] == NULL and chunks[CHUNK_COMPRESSED] != NULL:
        feed.counts.hep_compressed += 1
        return
    memset(&info, 0, sizeof(info))
    if lengths[CHUNK_PAYLOAD] == 0 or not hep_ends(chunks, lengths, &info):
        feed.counts.hep_incomplete += 1
        return
    info.iap = feed.iap
    hep_stamp(feed, chunks, lengths, arrival_ns, &info)
    feed.counts.hep_sip += 1
    match_datagram(feed.table, &info, chunks[CHUNK_PAYLOAD], lengths[CHUNK_PAYLOAD], now_ns)


cdef inline uint32_t hep_drain(hep_feed *feed, uint64_t now_ns) noexcept nogil:
    """Whatever the socket holds, up to HEP_ROUND datagrams; how many there were."""
    cdef uint32_t done = 0
    cdef uint64_t wall = clock_ns(CLOCK_REALTIME)
    cdef uint64_t arrival
    cdef uint32_t length
    cdef int found
    cdef int i
    while done < HEP_ROUND:
        found = receive_batch(feed.fd, feed.batch, HEP_BATCH)
        if found <= 0:
            break
        for i in range(found):
            length = feed.batch.lengths[i]
            arrival = feed.batch.stamps[i] if feed.batch.stamps[i] else wall
            if feed.batch.truncated[i]:
                feed.counts.hep_packets += 1
                feed.counts.hep_truncated += 1
            else:
                hep_packet(feed, feed.octets + <size_t>i * HEP_OCTETS, length, arrival, now_ns)
        done += found
        if found < HEP_BATCH:
            break
    return done
