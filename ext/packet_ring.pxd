# A TPACKET_V2 receive ring (packet(7), kernel Documentation/networking/packet_mmap.rst): mapped, read, given back.
#
# Why V2 for signalling: V3 hands over whole blocks, so a lone INVITE waits for its block's retire time (p50 5.1 ms at
# 10 ms retire, 0.6 ms at 1 ms, and kernels before the hrtimer round that up to a tick), where V2 wakes for the frame
# itself (p50 12 to 74 µs). The price of V2, one wake-up per packet (12.5 µs of softirq time, 0.41 to 0.55 M packets/s),
# is paid only at low rates: under load the reader naps instead of polling (ext/reader.pxd), nobody sleeps on the
# socket, and the kernel skips the wake-up. Media, where a block's delay does not matter, is V3's case.
from libc.stdint cimport uint8_t, uint32_t

from linux cimport (
    MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, TP_STATUS_KERNEL, TP_STATUS_USER,
    load_acquire, mmap, munmap, prefetch, store_release, tpacket2_hdr,
)

cdef enum:
    CACHE_LINE = 64
    PREFETCH_OCTETS = 768  # the head of a frame that is read for certain: ring header and most of a SIP request


cdef struct packet_ring:
    int fd                # owned by whoever opened it; the mapping is ours
    uint8_t *map
    size_t octets
    uint32_t frame_size   # a power of two, so frames are contiguous through all blocks
    uint32_t frame_count
    uint32_t head         # index of the next frame to read


cdef inline bint ring_map(packet_ring *ring, int fd, uint32_t frame_size, uint32_t frame_count) noexcept nogil:
    """Map the ring of a packet socket. False with errno set if the kernel refuses."""
    cdef void *at
    ring.fd = fd
    ring.frame_size = frame_size
    ring.frame_count = frame_count
    ring.head = 0
    ring.octets = <size_t>frame_size * frame_count
    at = mmap(NULL, ring.octets, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if at == MAP_FAILED:
        ring.map = NULL
        return False
    ring.map = <uint8_t *>at
    return True


cdef inline void ring_unmap(packet_ring *ring) noexcept nogil:
    if ring.map != NULL:
        munmap(ring.map, ring.octets)
        ring.map = NULL


cdef inline tpacket2_hdr *ring_frame(packet_ring *ring, uint32_t index) noexcept nogil:
    return <tpacket2_hdr *>(ring.map + <size_t>ring.frame_size * index)


cdef inline bint ring_ready(packet_ring *ring, uint32_t index) noexcept nogil:
    """Does the frame at this index belong to us?"""
    return (load_acquire(&ring_frame(ring, index).tp_status) & TP_STATUS_USER) != 0


cdef inline uint32_t ring_ahead(packet_ring *ring, uint32_t frames) noexcept nogil:
    """The index that is so many frames behind the head; `frames` is small."""
    return (ring.head + frames) % ring.frame_count


cdef inline void ring_prefetch(packet_ring *ring, uint32_t index) noexcept nogil:
    """Ask for a frame's head early: the ring is larger than any cache, so each frame comes from memory.

    Draining a full ring into the matcher, 700-octet INVITEs, 1,000 targets: 640 ns a frame without it, 365 ns with.
    """
    cdef const uint8_t *at = <const uint8_t *>ring_frame(ring, index)
    cdef uint32_t octet = 0
    while octet < PREFETCH_OCTETS:
        prefetch(at + octet)
        octet += CACHE_LINE


cdef inline void ring_release(packet_ring *ring) noexcept nogil:
    """Give the frame at the head back to the kernel and go on to the next."""
    store_release(&ring_frame(ring, ring.head).tp_status, TP_STATUS_KERNEL)
    ring.head = ring.head + 1 if ring.head + 1 < ring.frame_count else 0
