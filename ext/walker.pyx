"""Walks frames from packet rings and capture files to the matcher, and runs the tap's own thread.

Answers for: every frame is walked, or counted by the reason why not. May not: decide what a message means, keep an
octet of what did not match, or name a subject. The kernels are in the .pxd files beside this one; here is only what
Python holds on to.

A walker keeps the matcher alive that it feeds. While a Reader runs, tasks may change only under `with reader:`.
"""
from cpython.exc cimport PyErr_SetFromErrno
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fragment cimport fragments_expire, fragments_free, fragments_new
from frame cimport UNKNOWN_ERROR_US, walk_frame
from linux cimport (
    CLOCK_MONOTONIC, EFD_CLOEXEC, EFD_NONBLOCK, PACKET_STATISTICS, SOL_PACKET, clock_ns, close, eventfd, getsockopt,
    map_lookup, tpacket_stats, write,
)
from hep cimport hep_feed
from match cimport match_table
from media_filter cimport apply_flow_changes, media_maps
from outlet cimport outlet, outlet_connect
from packet_ring cimport ring_map, ring_unmap
from reader cimport (
    LARGE_OCTETS, MAX_FEEDS, MAX_TAPS, OUTLETS, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock, reader,
    reader_run, tap, tap_drain,
)

from streams cimport tcp_free, tcp_new
from tcp cimport tcp_expire
from tunnel cimport TUNNEL_GRE, TUNNEL_GTP, TUNNEL_IP, TUNNEL_VXLAN

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutexattr_t:
        pass
    enum:
        PTHREAD_PRIO_INHERIT
    int pthread_mutexattr_init(pthread_mutexattr_t *attributes)
    int pthread_mutexattr_setprotocol(pthread_mutexattr_t *attributes, int protocol)
    int pthread_mutexattr_destroy(pthread_mutexattr_t *attributes)
    int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)

TAPS_AT_MOST = MAX_TAPS
NO_MAPS = (-1, -1)
OUTLET_NAMES = ("x2", "x3")
assert len(OUTLET_NAMES) == OUTLETS
TUNNELS = {"ip": TUNNEL_IP, "gre": TUNNEL_GRE, "vxlan": TUNNEL_VXLAN, "gtp": TUNNEL_GTP}


cdef class Walker:
    """Walks single frames (captures). `matcher` is a mediation.access._matcher.Matcher or its capsule."""

    cdef tap tap
    cdef object matcher

    def __cinit__(self, matcher, int iap, ports, *args, **kwargs):
        cdef object capsule = getattr(matcher, "capsule", matcher)
        cdef uint32_t port
        memset(&self.tap, 0, sizeof(tap))
        self.tap.ring.fd = -1
        self.matcher = matcher
        if not 0 <= iap < MAX_TAPS:
            raise ValueError(f"walker: an intercept access point has a number below {MAX_TAPS}")
        self.tap.walk.table = <match_table *>PyCapsule_GetPointer(capsule, b"mediation.match_table")
        self.tap.walk.iap = <uint8_t>iap
        self.tap.walk.error_us = UNKNOWN_ERROR_US
        self.tap.walk.undisciplined = 1
        for port in ports:
            if not 0 < port < 65536:
                raise ValueError("walker: a port is 1 to 65535")
            self.tap.walk.signalling_ports[port >> 6] |= <uint64_t>1 << (port & 63)
        self.tap.walk.fragments = fragments_new()
        self.tap.walk.tcp = tcp_new()
        if self.tap.walk.fragments == NULL or self.tap.walk.tcp == NULL:
            raise MemoryError("walker: tables of fragments and streams")

    def __dealloc__(self):
        ring_unmap(&self.tap.ring)
        free(self.tap.large)
        fragments_free(self.tap.walk.fragments)
        tcp_free(self.tap.walk.tcp)

    def feed(self, const uint8_t[::1] frame, uint32_t link_type, uint64_t stamp_ns, uint64_t now_ns,
             uint32_t on_wire=0) -> None:
        """One captured frame; `link_type` is a LINKTYPE_ number, `on_wire` its length there when more than captured.

        Times are UTC nanoseconds: the stamp is the capture's, `now_ns` judges the orders' windows.
        """
        cdef uint32_t captured = <uint32_t>frame.shape[0]
        cdef const uint8_t *octets = NULL
        if captured != 0:
            octets = &frame[0]
        walk_frame(&self.tap.walk, link_type, octets, captured, max(on_wire, captured), stamp_ns,
                   self.tap.walk.error_us, now_ns, False)
        self._forget_changes()

    cdef void _forget_changes(self) noexcept:
        cdef media_maps none
        none.flows = none.ports = -1
        apply_flow_changes(self.tap.walk.table, &none, &self.tap.walk.counts)

    def recognise_by_form(self) -> None:
        """For captures, which no kernel filter has narrowed: take what begins as SIP for signalling on any port."""
        self.tap.walk.by_form = True

    def look_through(self, kinds, uint16_t vxlan_port=4789) -> None:
        """The kinds of tunnels ("ip", "gre", "vxlan", "gtp") whose inner packets are walked from now on."""
        self.tap.walk.tunnels.kinds = sum({TUNNELS[kind] for kind in kinds})
        self.tap.walk.tunnels.vxlan_port = vxlan_port

    def expire(self, uint64_t age_clock_ns, uint64_t now_ns) -> None:
        """Give up fragments older than 30 s, and pass over gaps of TCP older than 2 s, before `age_clock_ns` (of the
        same clock as the stamps); messages behind such a gap are matched at `now_ns`."""
        fragments_expire(self.tap.walk.fragments, age_clock_ns, &self.tap.walk.counts)
        tcp_expire(self.tap.walk.tcp, self.tap.walk.table, self.tap.walk.iap, age_clock_ns, now_ns)
        self._forget_changes()

    def set_stamp_quality(self, uint64_t error_ns, bint disciplined) -> None:
        """What every later event says of its time stamp: the bound of its error, and whether the clock is governed."""
        cdef uint64_t error_us = (error_ns + 999) // 1000
        self.tap.walk.error_us = <uint32_t>min(error_us, <uint64_t>UNKNOWN_ERROR_US)
        self.tap.walk.undisciplined = not disciplined

    def counters(self) -> dict[str, int]:
        """What became of every frame (ext/counters.pxd) and of the streams in them (ext/stream.pxd)."""
        cdef dict found = self.tap.walk.counts
        found.update(self.tap.walk.tcp.counts)
        return found


cdef class RingWalker(Walker):
    """Walks the TPACKET_V2 ring of a packet socket that the opener made. The descriptor stays the caller's; so do those
    of `maps`, the filter's `media_flows` and `media_ports`."""

    cdef uint64_t kernel_packets
    cdef uint64_t kernel_drops
    cdef media_maps maps

    def __cinit__(self, matcher, int iap, ports, int fd, uint32_t frame_size, uint32_t frame_count,
                  tuple maps=NO_MAPS):
        if frame_size < 256 or frame_size & (frame_size - 1) or frame_count == 0:
            raise ValueError("walker: impossible ring geometry")
        self.maps.flows, self.maps.ports = maps
        self.tap.large = <uint8_t *>malloc(LARGE_OCTETS)
        if self.tap.large == NULL:
            raise MemoryError("walker: buffer")
        if not ring_map(&self.tap.ring, fd, frame_size, frame_count):
            PyErr_SetFromErrno(OSError)

    def drain(self, uint64_t now_ns, uint32_t limit=1 << 30) -> int:
        """Walk what the ring holds, at most `limit` frames, without the interpreter lock. Returns how many."""
        cdef uint32_t found
        with nogil:
            found = tap_drain(&self.tap, now_ns, limit, &self.maps)
        return found

    def counters(self) -> dict[str, int]:
        """Those of Walker, and what the kernel says: `kernel_packets` passed the filter, `kernel_drops` of them
        found the ring full."""
        cdef tpacket_stats since_last
        cdef uint32_t size = sizeof(since_last)
        # Reading sets the kernel's figures back to zero, so they are summed here. tp_packets includes tp_drops.
        if self.tap.ring.fd >= 0 and getsockopt(
                self.tap.ring.fd, SOL_PACKET, PACKET_STATISTICS, &since_last, &size) == 0:
            self.kernel_packets += since_last.tp_packets
            self.kernel_drops += since_last.tp_drops
        cdef dict found = Walker.counters(self)
        found["kernel_packets"] = self.kernel_packets
        found["kernel_drops"] = self.kernel_drops
        return found


cdef class Reader:
    """The tap's thread: `run` in a thread of its own, everything else from the thread that owns the tasks.

    `now_ns` is AuthorityClock's at the start; the thread's own clock goes on from there and never back. Output is the
    matcher's buffers of X2 and of X3 PDUs; each goes to the connection that `connect` was given for it, and waits,
    bounded, for one.
    """

    cdef reader reader
    cdef list walkers
    cdef list feeds
    cdef object matcher

    def __cinit__(self, matcher, walkers, tuple maps, uint64_t now_ns, feeds=()):
        cdef RingWalker walker
        cdef pthread_mutexattr_t attributes
        memset(&self.reader, 0, sizeof(reader))
        self.reader.outlets[0].fd = self.reader.outlets[1].fd = -1
        self.reader.wake = -1
        self.matcher = matcher
        self.walkers = list(walkers)
        if len(self.walkers) > MAX_TAPS:
            raise ValueError(f"reader: more than {MAX_TAPS} intercept access points")
        self.reader.table = <match_table *>PyCapsule_GetPointer(
            getattr(matcher, "capsule", matcher), b"mediation.match_table")
        self.reader.outlets[0].out = &self.reader.table.out
        self.reader.outlets[1].out = &self.reader.table.content_out
        for walker in self.walkers:
            if walker.tap.walk.table != self.reader.table:
                raise ValueError("reader: a walker feeds another matcher")
            self.reader.taps[self.reader.tap_count] = &walker.tap
            self.reader.tap_count += 1
        self.feeds = list(feeds)
        if len(self.feeds) > MAX_FEEDS:
            raise ValueError(f"reader: more than {MAX_FEEDS} feeds")
        for feed in self.feeds:
            self.reader.feeds[self.reader.feed_count] = <hep_feed *>PyCapsule_GetPointer(
                feed.capsule, b"mediation.hep_feed")
            if self.reader.feeds[self.reader.feed_count].table != self.reader.table:
                raise ValueError("reader: a feed feeds another matcher")
            self.reader.feed_count += 1
        self.reader.maps.flows, self.reader.maps.ports = maps
        self.reader.clock.now_ns = now_ns
        self.reader.clock.monotonic_ns = clock_ns(CLOCK_MONOTONIC)
        self.reader.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self.reader.wake < 0:
            PyErr_SetFromErrno(OSError)
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT)
        pthread_mutex_init(&self.reader.lock, &attributes)
        pthread_mutexattr_destroy(&attributes)

    def __dealloc__(self):
        cdef int i
        for i in range(OUTLETS):
            if self.reader.outlets[i].fd >= 0:
                close(self.reader.outlets[i].fd)
        if self.reader.wake >= 0:
            close(self.reader.wake)
            pthread_mutex_destroy(&self.reader.lock)

    cdef void wake(self) noexcept nogil:
        cdef uint64_t one = 1
        write(self.reader.wake, &one, sizeof(one))

    def __enter__(self):
        """Holds the thread between two rounds, so that tasks can change."""
        with nogil:
            pthread_mutex_lock(&self.reader.lock)
        return self

    def __exit__(self, *error):
        # For a task more the thread need not look; it would take the lock, and each of ten thousand wait for a round.
        cdef bint moved = self.reader.table.flow_change_count != 0  # media flows were taken away, or are to pass
        cdef int i
        for i in range(OUTLETS):
            moved = moved or self.reader.outlets[i].sent < self.reader.outlets[i].out.length
        pthread_mutex_unlock(&self.reader.lock)
        if moved:
            self.wake()

    def run(self) -> None:
        """The thread's body; returns after `stop`."""
        with nogil:
            reader_run(&self.reader)

    def stop(self) -> None:
        self.reader.stop = True
        self.wake()

    cdef outlet *_outlet(self, str name) except NULL:
        return &self.reader.outlets[OUTLET_NAMES.index(name)]

    def connect(self, int fd, str name="x2") -> bool:
        """Takes over the descriptor of the mediator's connection for "x2" or "x3". False (and the caller keeps it)
        while another is alive: each output has one reader."""
        cdef outlet *o = self._outlet(name)
        cdef bint taken
        with nogil:
            pthread_mutex_lock(&self.reader.lock)
            taken = outlet_connect(o, fd)
            pthread_mutex_unlock(&self.reader.lock)
            self.wake()
        return taken

    def is_connected(self, str name="x2") -> bool:
        return self._outlet(name).fd >= 0

    @property
    def connected(self) -> bool:
        return self.is_connected()

    def counters(self) -> dict[str, int]:
        """The thread's own, and of each outlet `octets`, `disconnects`, `torn`, `lost`, `waiting` under its name."""
        cdef dict found = self.reader.counts
        cdef outlet *o
        for name in OUTLET_NAMES:
            o = self._outlet(name)
            found |= {f"{name}_{counter}": value for counter, value in (<dict>o.counts).items()}
            found[f"{name}_waiting"] = o.out.length - o.sent
        return found


def filter_counters(int fd, int names, int cpus) -> list[int]:
    """The filter's own counters (ext/bpf/tap.bpf.c), summed over all processors. Raises OSError."""
    cdef uint32_t key
    cdef int cpu
    cdef uint64_t *values = <uint64_t *>calloc(cpus, sizeof(uint64_t))
    if values == NULL:
        raise MemoryError("walker: filter counters")
    try:
        found = []
        for key in range(<uint32_t>names):
            if map_lookup(fd, &key, values) != 0:
                PyErr_SetFromErrno(OSError)
            found.append(sum(values[cpu] for cpu in range(cpus)))
        return found
    finally:
        free(values)
