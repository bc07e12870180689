# The kernel's interfaces that the tap uses: packet socket ring headers, bpf(2) on map elements, clocks, poll, naps.
#
# Raw bpf(2) instead of libbpf on the packet path: the reader may only look up, update and delete map elements (its
# seccomp filter allows no more), and those are one system call each.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE 1
    #endif
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <time.h>

    /* Datagrams of one recvmmsg(2), with the kernel's time stamp of each (SO_TIMESTAMPNS). */
    #define BATCH_AT_MOST 32
    struct datagram_batch {
        uint32_t lengths[BATCH_AT_MOST];
        uint64_t stamps[BATCH_AT_MOST];     /* UTC ns, 0 when there is none */
        int truncated[BATCH_AT_MOST];
        struct mmsghdr headers[BATCH_AT_MOST];
        struct iovec vectors[BATCH_AT_MOST];
        union { char octets[CMSG_SPACE(sizeof(struct timespec))]; struct cmsghdr align; } control[BATCH_AT_MOST];
    };
    static inline struct datagram_batch *batch_new(uint8_t *octets, size_t each) {
        struct datagram_batch *batch = (struct datagram_batch *)calloc(1, sizeof *batch);
        for (int i = 0; batch && i < BATCH_AT_MOST; i++) {
            batch->vectors[i].iov_base = octets + i * each;
            batch->vectors[i].iov_len = each;
            batch->headers[i].msg_hdr.msg_iov = &batch->vectors[i];
            batch->headers[i].msg_hdr.msg_iovlen = 1;
            batch->headers[i].msg_hdr.msg_control = batch->control[i].octets;
        }
        return batch;
    }
    /* How many came, or what recvmmsg(2) says. Never waits. */
    static inline int receive_batch(int fd, struct datagram_batch *batch, unsigned count) {
        int found;
        for (unsigned i = 0; i < count; i++) {
            batch->headers[i].msg_hdr.msg_controllen = sizeof batch->control[i].octets;
            batch->headers[i].msg_hdr.msg_flags = 0;
        }
        found = recvmmsg(fd, batch->headers, count, MSG_DONTWAIT, NULL);
        for (int i = 0; i < found; i++) {
            struct msghdr *header = &batch->headers[i].msg_hdr;
            struct cmsghdr *control = CMSG_FIRSTHDR(header);
            batch->lengths[i] = batch->headers[i].msg_len;
            batch->truncated[i] = (header->msg_flags & MSG_TRUNC) != 0;
            batch->stamps[i] = 0;
            if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_TIMESTAMPNS) {
                struct timespec stamp;
                memcpy(&stamp, CMSG_DATA(control), sizeof stamp);
                batch->stamps[i] = (uint64_t)stamp.tv_sec * 1000000000 + (uint64_t)stamp.tv_nsec;
            }
        }
        return found;
    }
    /* What the kernel has dropped because the socket's buffer was full: SK_MEMINFO_DROPS of linux/sock_diag.h. */
    static inline uint32_t socket_drops(int fd) {
        uint32_t found[9] = {0};
        socklen_t size = sizeof found;
        return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, found, &size) == 0 ? found[8] : 0;
    }
    """
    uint32_t socket_drops(int fd) noexcept nogil
    cdef struct datagram_batch:
        uint32_t *lengths
        uint64_t *stamps
        int *truncated
    datagram_batch *batch_new(uint8_t *octets, size_t each) noexcept nogil
    int receive_batch(int fd, datagram_batch *batch, unsigned count) noexcept nogil

cdef extern from "<linux/if_packet.h>" nogil:
    cdef struct tpacket2_hdr:
        uint32_t tp_status
        uint32_t tp_len
        uint32_t tp_snaplen
        uint16_t tp_mac
        uint16_t tp_net
        uint32_t tp_sec
        uint32_t tp_nsec
    cdef struct tpacket_stats:
        unsigned int tp_packets
        unsigned int tp_drops
    enum:
        PACKET_STATISTICS
        TP_STATUS_KERNEL
        TP_STATUS_USER
        TP_STATUS_COPY
        TP_STATUS_CSUMNOTREADY
        TP_STATUS_CSUM_VALID
    uint32_t TP_STATUS_TS_SOFTWARE
    uint32_t TP_STATUS_TS_RAW_HARDWARE

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SOL_PACKET
        SOL_SOCKET
        SO_ERROR
        MSG_DONTWAIT
        MSG_NOSIGNAL
    int getsockopt(int fd, int level, int name, void *value, uint32_t *length)
    ssize_t send(int fd, const void *data, size_t length, int flags)
    ssize_t recv(int fd, void *data, size_t length, int flags)

cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_SHARED
        MAP_PRIVATE
        MAP_ANONYMOUS
    void *MAP_FAILED
    void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)
    int munmap(void *address, size_t length)

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    enum:
        POLLIN
        POLLOUT
        POLLERR
        POLLHUP
        POLLNVAL
    int poll(pollfd *fds, unsigned long count, int timeout_ms)

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        int64_t tv_sec
        long tv_nsec
    enum:
        CLOCK_REALTIME
        CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)
    int nanosleep(const timespec *wanted, timespec *rest)

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_NONBLOCK
        EFD_CLOEXEC
    int eventfd(unsigned int initial, int flags)

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *data, size_t length)
    ssize_t write(int fd, const void *data, size_t length)
    int close(int fd)

cdef extern from *:
    """
    #include <linux/bpf.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    static inline int map_element(int command, int map, const void *key, void *value) {
        union bpf_attr attr;
        memset(&attr, 0, sizeof attr);
        attr.map_fd = map;
        attr.key = (unsigned long)key;
        attr.value = (unsigned long)value;
        return syscall(SYS_bpf, command, &attr, sizeof attr);
    }
    static inline int map_update(int map, const void *key, void *value) {
        return map_element(BPF_MAP_UPDATE_ELEM, map, key, value);
    }
    static inline int map_delete(int map, const void *key) {
        return map_element(BPF_MAP_DELETE_ELEM, map, key, NULL);
    }
    static inline int map_lookup(int map, const void *key, void *value) {
        return map_element(BPF_MAP_LOOKUP_ELEM, map, key, value);
    }
    /* The frame's owner word: the kernel's writes to the frame happen before its USER mark is seen. */
    static inline uint32_t load_acquire(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static inline void store_release(uint32_t *word, uint32_t value) {
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
    }
    static inline void prefetch(const void *address) { __builtin_prefetch(address, 0, 3); }
    """
    int map_update(int map, const void *key, void *value) noexcept nogil
    int map_delete(int map, const void *key) noexcept nogil
    int map_lookup(int map, const void *key, void *value) noexcept nogil
    uint32_t load_acquire(const uint32_t *word) noexcept nogil
    void store_release(uint32_t *word, uint32_t value) noexcept nogil
    void prefetch(const void *address) noexcept nogil


cdef inline uint64_t clock_ns(int clock) noexcept nogil:
    """Nanoseconds of CLOCK_REALTIME (since 1970, UTC) or CLOCK_MONOTONIC."""
    cdef timespec now
    clock_gettime(clock, &now)
    return <uint64_t>now.tv_sec * 1_000_000_000 + <uint64_t>now.tv_nsec


cdef inline void nap(uint32_t microseconds) noexcept nogil:
    """Sleep; the thread's timer slack (1 µs after confinement, 50 µs by default) is added by the kernel."""
    cdef timespec wanted
    wanted.tv_sec = 0
    wanted.tv_nsec = <long>microseconds * 1000
    nanosleep(&wanted, NULL)
