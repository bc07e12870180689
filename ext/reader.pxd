# The tap's own thread: waits for frames, walks them, applies changes of the media filter, sends what matched: X2 first.
#
# No interpreter in it: a lone message goes from the kernel's wake-up to the mediator's socket without a Python call
# (the trio hop it saves is worth more than all parsing). The trio thread changes tasks only while it holds `lock`,
# which inherits priority, so a real-time reader never waits behind an ordinary thread.
#
# Waiting adapts. At low rate the thread polls: one wake-up per frame, lowest latency. A round that found
# NAP_THRESHOLD frames says that more are coming faster than wake-ups are cheap; the thread then naps instead of
# polling, nobody sleeps on the socket, and the kernel's per-packet wake-up falls away. Measured, sender at full
# speed on the other of two busy cores, 700-octet INVITEs, 1,000 targets: this thread 0.5 µs a message instead of 0.8 to
# 1.1, the sending core 2.1 µs instead of 2.4 to 2.7, rate 205,000 to 260,000 instead of 116,000 to 164,000 a second.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from counters cimport walk_counters
from fragment cimport fragments_expire
from frame cimport UNKNOWN_ERROR_US, frame_walk, walk_frame
from ethernet cimport LINK_ETHERNET
from follow cimport expire_calls
from hep cimport hep_drain, hep_feed
from linux cimport (
    CLOCK_MONOTONIC, CLOCK_REALTIME, MSG_DONTWAIT, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, SO_ERROR, SOL_SOCKET,
    TP_STATUS_COPY, TP_STATUS_CSUMNOTREADY, TP_STATUS_CSUM_VALID, TP_STATUS_TS_RAW_HARDWARE, clock_ns, getsockopt, nap,
    poll, pollfd, read, recv, tpacket2_hdr,
)
from match cimport match_table
from media_filter cimport apply_flow_changes, media_maps
from outlet cimport outlet, outlet_disconnect, outlet_flush
from tcp cimport tcp_expire
from packet_ring cimport packet_ring, ring_ahead, ring_frame, ring_prefetch, ring_ready, ring_release

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)

cdef enum:
    MAX_TAPS = 16           # intercept access points of one process
    MAX_FEEDS = 16          # of them fed by a switch with HEP
    LARGE_OCTETS = 65536 + 64  # the largest IP packet and its link header
    ROUND_FRAMES = 1024     # of one ring in one round: bounds how long tasking waits for the lock (about 1 ms)
    NAP_THRESHOLD = 8       # frames in a round; at NAP_US this is the rate of 53,000 a second
    NAP_US = 150            # what a frame waits at most at such rates; the ring must hold 150 µs of line rate
    PREFETCH_AHEAD = 2      # frames; 1 to 4 measure alike, without it a frame costs 1.75 times as much
    IDLE_MS = 1000          # how often an idle thread looks at fragments' ages
    CARD_CLOCK_US = 100_000  # a card's clock further from the time of reading is not believed (PTP's TAI is 37 s off)
    OUTLETS = 2             # X2 and X3


cdef struct tap:
    packet_ring ring
    frame_walk walk
    uint8_t *large               # LARGE_OCTETS: one frame that is longer than the ring's


# AuthorityClock (mediation/runtime/clock.py) for this thread: never back, and at least as fast as CLOCK_MONOTONIC.
cdef struct authority_clock:
    uint64_t now_ns
    uint64_t monotonic_ns


cdef struct reader_counters:
    uint64_t rounds
    uint64_t wakeups             # returns from poll
    uint64_t naps
    uint64_t ring_errors         # the kernel reported an error of a packet socket: its interface went down


cdef struct reader:
    pthread_mutex_t lock
    match_table *table
    tap *taps[MAX_TAPS]
    int tap_count
    hep_feed *feeds[MAX_FEEDS]
    int feed_count
    media_maps maps              # of the kernel's filter
    int wake                     # eventfd
    outlet[OUTLETS] outlets      # X2, X3
    bint stop
    authority_clock clock
    uint64_t expired_ns          # when fragments were last aged
    reader_counters counts


cdef inline uint64_t authority_now(authority_clock *clock) noexcept nogil:
    cdef uint64_t wall = clock_ns(CLOCK_REALTIME)
    cdef uint64_t monotonic = clock_ns(CLOCK_MONOTONIC)
    cdef uint64_t projected = clock.now_ns + (monotonic - clock.monotonic_ns)
    clock.now_ns = wall if wall > projected else projected
    clock.monotonic_ns = monotonic
    return clock.now_ns


cdef inline uint64_t stamp_of(
    const tpacket2_hdr *frame, frame_walk *walk, uint64_t wall_ns, uint32_t *error_us,
) noexcept nogil:
    """A frame's time stamp and the bound of its error.

    The kernel's stamp is as good as the system clock. A card's clock is another clock, that nobody vouches for: all
    that is known is that its stamp lies within CARD_CLOCK_US of the reading, so that is its error.
    """
    cdef uint64_t stamp = <uint64_t>frame.tp_sec * 1_000_000_000 + frame.tp_nsec
    cdef uint64_t limit = <uint64_t>CARD_CLOCK_US * 1000
    error_us[0] = walk.error_us
    if not frame.tp_status & TP_STATUS_TS_RAW_HARDWARE:
        walk.counts.stamp_software += 1
        return stamp
    if stamp + limit < wall_ns or wall_ns + limit < stamp:
        walk.counts.stamp_implausible += 1
        error_us[0] = UNKNOWN_ERROR_US
        return wall_ns
    walk.counts.stamp_hardware += 1
    if walk.error_us < UNKNOWN_ERROR_US - CARD_CLOCK_US:
        error_us[0] += CARD_CLOCK_US
    return stamp


cdef inline const uint8_t *frame_octets_of(tap *t, const tpacket2_hdr *frame, uint32_t *captured) noexcept nogil:
    """The frame's octets. What is longer than a frame of the ring (segments that the sender's or the card's offload has
    put together) waits whole on the socket, in the ring's order (packet(7), PACKET_COPY_THRESH)."""
    cdef ssize_t length
    captured[0] = frame.tp_snaplen
    if frame.tp_status & TP_STATUS_COPY and t.large != NULL:
        length = recv(t.ring.fd, t.large, LARGE_OCTETS, MSG_DONTWAIT)
        if length > <ssize_t>frame.tp_snaplen:
            captured[0] = <uint32_t>length
            return t.large
    return <const uint8_t *>frame + frame.tp_mac


cdef inline uint32_t tap_drain(tap *t, uint64_t now_ns, uint32_t limit,
                               const media_maps *maps) noexcept nogil:
    """Walk up to `limit` frames of one ring; returns how many there were."""
    cdef packet_ring *ring = &t.ring
    cdef walk_counters *counts = &t.walk.counts
    cdef match_table *table = t.walk.table
    cdef tpacket2_hdr *frame
    cdef uint64_t wall = clock_ns(CLOCK_REALTIME)
    cdef uint64_t stamp
    cdef uint32_t status
    cdef uint32_t error_us = 0
    cdef uint32_t done = 0
    cdef uint32_t captured = 0
    cdef const uint8_t *octets
    cdef uint64_t window
    while done < limit and ring_ready(ring, ring.head):
        ring_prefetch(ring, ring_ahead(ring, PREFETCH_AHEAD))
        frame = ring_frame(ring, ring.head)
        status = frame.tp_status
        stamp = stamp_of(frame, &t.walk, wall, &error_us)
        octets = frame_octets_of(t, frame, &captured)
        walk_frame(
            &t.walk, LINK_ETHERNET, octets, captured, frame.tp_len, stamp, error_us, now_ns,
            (status & (TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID)) == 0,
        )
        if table.flow_change_count != 0 and apply_flow_changes(table, maps, counts):
            window = clock_ns(CLOCK_REALTIME)
            window = (window - stamp) // 1000 if window > stamp else 0
            counts.content_windows += 1
            counts.content_window_us += window
            if window > counts.content_window_us_max:
                counts.content_window_us_max = window
        ring_release(ring)
        done += 1
    return done


cdef inline uint32_t reader_round(reader *r) noexcept nogil:
    """One pass over all rings, under the lock. Returns the most frames that one ring had."""
    cdef uint64_t now
    cdef uint64_t wall
    cdef uint32_t found
    cdef uint32_t most = 0
    cdef int i
    pthread_mutex_lock(&r.lock)
    r.counts.rounds += 1
    now = authority_now(&r.clock)
    wall = clock_ns(CLOCK_REALTIME)
    for i in range(r.feed_count):
        found = hep_drain(r.feeds[i], now)
        if found > most:
            most = found
    expire_calls(r.table, now)  # a tail of content ends, whether another message comes or not
    if r.table.flow_change_count != 0 and r.tap_count != 0:
        apply_flow_changes(r.table, &r.maps, &r.taps[0].walk.counts)  # asked for here or by the trio thread
    elif r.tap_count == 0:
        r.table.flow_change_count = 0  # there is no media filter
    for i in range(r.tap_count):
        found = tap_drain(r.taps[i], now, ROUND_FRAMES, &r.maps)
        if found > most:
            most = found
    if wall - r.expired_ns >= <uint64_t>IDLE_MS * 1_000_000 or wall < r.expired_ns:
        for i in range(r.tap_count):
            fragments_expire(r.taps[i].walk.fragments, wall, &r.taps[i].walk.counts)
            tcp_expire(r.taps[i].walk.tcp, r.table, r.taps[i].walk.iap, wall, now)
        r.expired_ns = wall
    for i in range(OUTLETS):
        outlet_flush(&r.outlets[i])
    pthread_mutex_unlock(&r.lock)
    return most


cdef inline void reader_wait(reader *r) noexcept nogil:
    """Sleep until a frame, a wake-up by the trio thread, room in the mediator's socket, or a second."""
    cdef pollfd[MAX_TAPS + MAX_FEEDS + 1 + OUTLETS] fds
    cdef outlet *o
    cdef uint64_t drained
    cdef int count = r.tap_count + r.feed_count
    cdef int error = 0
    cdef uint32_t size = sizeof(error)
    cdef int i
    for i in range(r.tap_count):
        fds[i].fd = r.taps[i].ring.fd
        fds[i].events = POLLIN
    for i in range(r.feed_count):
        fds[r.tap_count + i].fd = r.feeds[i].fd
        fds[r.tap_count + i].events = POLLIN
    fds[count].fd = r.wake
    fds[count].events = POLLIN
    for i in range(OUTLETS):
        o = &r.outlets[i]
        fds[count + 1 + i].fd = o.fd  # poll(2) skips a negative descriptor
        fds[count + 1 + i].events = POLLOUT if o.sent < o.out.length else 0
    if poll(fds, count + 1 + OUTLETS, IDLE_MS) <= 0:
        return
    r.counts.wakeups += 1
    for i in range(count):
        if fds[i].revents & POLLERR:
            # Reading the error takes it away; else poll would return at once for ever. When the link comes up again
            # the kernel goes on with this socket.
            getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, &error, &size)
            r.counts.ring_errors += 1
    if fds[count].revents & POLLIN:
        read(r.wake, &drained, sizeof(drained))
    for i in range(OUTLETS):
        o = &r.outlets[i]
        if o.fd >= 0 and fds[count + 1 + i].revents & (POLLHUP | POLLERR | POLLNVAL):
            pthread_mutex_lock(&r.lock)
            if o.fd == fds[count + 1 + i].fd:
                outlet_disconnect(o, 0)
            pthread_mutex_unlock(&r.lock)


cdef inline void reader_run(reader *r) noexcept nogil:
    """Until `stop`."""
    cdef uint32_t found
    while not r.stop:
        found = reader_round(r)
        if found == ROUND_FRAMES:
            continue  # behind: no pause
        if found >= NAP_THRESHOLD:
            r.counts.naps += 1
            nap(NAP_US)
        else:
            reader_wait(r)
