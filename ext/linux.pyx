"""The privileged system calls of the opener: load the socket filter, fill and freeze its maps, enter a namespace, turn
on the card's time stamps.

Answers for: each call either does what it says or raises OSError. May not: be imported by a process that is confined;
the access process works with descriptors alone (ext/linux.pxd).
"""
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport strerror

from linux cimport close, map_delete, map_lookup, map_update

cdef enum:
    LOG_OCTETS = 1 << 24

LAST_WORDS = slice(-200, None)

cdef extern from *:
    """
    #define _GNU_SOURCE 1
    #include <bpf/bpf.h>
    #include <bpf/libbpf.h>
    #include <fcntl.h>
    #include <linux/net_tstamp.h>
    #include <linux/sockios.h>
    #include <net/if.h>
    #include <sched.h>
    #include <string.h>
    #include <sys/ioctl.h>

    static int be_quiet(enum libbpf_print_level level, const char *format, va_list values) {
        (void)level; (void)format; (void)values;
        return 0;
    }
    /* An object from memory; the kernel's words on a refused program go to `log`. */
    static struct bpf_object *open_object(const void *data, size_t length, char *log, size_t log_length) {
        LIBBPF_OPTS(bpf_object_open_opts, options,
            .object_name = "tap", .kernel_log_buf = log, .kernel_log_size = log_length, .kernel_log_level = 0);
        libbpf_set_print(be_quiet);
        return bpf_object__open_mem(data, length, &options);
    }
    static int duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); }
    static int enter_network_namespace(int fd) { return setns(fd, CLONE_NEWNET); }

    /* The card stamps every frame it receives, or the call fails. */
    static int stamp_all(int fd, const char *interface) {
        struct hwtstamp_config config = {.rx_filter = HWTSTAMP_FILTER_ALL};
        struct ifreq request;
        memset(&request, 0, sizeof request);
        strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
        request.ifr_data = (void *)&config;
        if (ioctl(fd, SIOCSHWTSTAMP, &request) < 0)
            return -1;
        if (config.rx_filter != HWTSTAMP_FILTER_ALL) {
            errno = ERANGE;
            return -1;
        }
        return 0;
    }
    """
    struct bpf_object:
        pass
    struct bpf_program:
        pass
    struct bpf_map:
        pass
    bpf_object *open_object(const void *data, size_t length, char *log, size_t log_length)
    int bpf_object__load(bpf_object *object)
    void bpf_object__close(bpf_object *object)
    bpf_program *bpf_object__find_program_by_name(const bpf_object *object, const char *name)
    int bpf_program__fd(const bpf_program *program)
    bpf_map *bpf_object__find_map_by_name(const bpf_object *object, const char *name)
    int bpf_map__fd(const bpf_map *map)
    int bpf_map__reuse_fd(bpf_map *map, int fd)
    int bpf_map__set_initial_value(bpf_map *map, const void *data, size_t length)
    uint32_t bpf_map__key_size(const bpf_map *map)
    uint32_t bpf_map__value_size(const bpf_map *map)
    int bpf_map_freeze(int fd)
    int libbpf_num_possible_cpus()
    int duplicate(int fd)
    int enter_network_namespace(int fd)
    int stamp_all(int fd, const char *interface)


def load_filter(bytes object_file, str program, dict reuse, tuple maps,
                dict constants=None) -> tuple[int, dict[str, int]]:
    """Loads a compiled eBPF object into the kernel. Returns new descriptors of the program and of the named maps.

    `reuse` names maps to share with an object loaded before, `constants` sections of constants and their octets.
    Raises OSError with the kernel's reason.
    """
    cdef bpf_object *loaded
    cdef bpf_map *map
    cdef char *log = <char *>malloc(LOG_OCTETS)
    cdef list made = []
    cdef dict found = {}
    if log == NULL:
        raise MemoryError("filter: log")
    log[0] = 0
    loaded = open_object(<const char *>object_file, len(object_file), log, LOG_OCTETS)
    try:
        if loaded == NULL:
            raise OSError(errno, "filter: not an eBPF object")
        for name, fd in reuse.items():
            map = bpf_object__find_map_by_name(loaded, name.encode())
            if map == NULL or bpf_map__reuse_fd(map, fd) != 0:
                raise OSError(errno, f"filter: map {name} cannot be shared")
        for name, octets in (constants or {}).items():
            map = bpf_object__find_map_by_name(loaded, name.encode())
            if map == NULL or bpf_map__set_initial_value(map, <const char *>octets, len(octets)) != 0:
                raise OSError(errno, f"filter: constants {name} cannot be set")
        if bpf_object__load(loaded) != 0:
            failed = errno
            words = log.decode(errors="replace").strip()[LAST_WORDS]
            raise OSError(failed, f"filter: refused by the kernel: {strerror(failed).decode()}: {words!r}")
        try:
            made.append(new_descriptor(bpf_program__fd(
                bpf_object__find_program_by_name(loaded, program.encode()))))
            for name in maps:
                found[name] = new_descriptor(bpf_map__fd(bpf_object__find_map_by_name(loaded, name.encode())))
                made.append(found[name])
        except OSError:
            for fd in made:
                close(fd)
            raise
        return made[0], found
    finally:
        if loaded != NULL:
            bpf_object__close(loaded)
        free(log)


cdef int new_descriptor(int fd) except -1:
    cdef int made = duplicate(fd)
    if made < 0:
        PyErr_SetFromErrno(OSError)
    return made


def update(int map, bytes key, bytes value) -> None:
    """Sets one element; sizes are the map's own and checked by nobody but the caller. Raises OSError."""
    if map_update(map, <const char *>key, <char *><const char *>value) != 0:
        PyErr_SetFromErrno(OSError)


def delete(int map, bytes key) -> None:
    """Takes one element away. Raises OSError."""
    if map_delete(map, <const char *>key) != 0:
        PyErr_SetFromErrno(OSError)


def lookup(int map, bytes key, int octets) -> bytes:
    """The value of one element, `octets` long. Raises OSError."""
    cdef bytearray value = bytearray(octets)
    cdef uint8_t *at = value
    if map_lookup(map, <const char *>key, at) != 0:
        PyErr_SetFromErrno(OSError)
    return bytes(value)


def freeze(int map) -> None:
    """No system call can change the map any more, not even root's. Raises OSError."""
    if bpf_map_freeze(map) != 0:
        PyErr_SetFromErrno(OSError)


def possible_processors() -> int:
    """How many values a per-processor map has."""
    return libbpf_num_possible_cpus()


def enter_namespace(int fd) -> None:
    """This thread's network namespace becomes that of the descriptor. Raises OSError."""
    if enter_network_namespace(fd) != 0:
        PyErr_SetFromErrno(OSError)


def stamp_in_hardware(int fd, str interface) -> None:
    """The card stamps every frame it receives. Raises OSError where it cannot."""
    if stamp_all(fd, interface.encode()) != 0:
        PyErr_SetFromErrno(OSError)
