# Zeroed memory for tables that are read at random: big ones ask for huge pages, so that a look-up costs one cache miss
# and not a page walk as well.
from libc.stdint cimport uint8_t
from libc.stdlib cimport free

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **out, size_t alignment, size_t size)

cdef extern from "<string.h>" nogil:
    void *memset(void *block, int c, size_t size)

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void *address, size_t length, int advice)
    enum:
        MADV_HUGEPAGE

cdef extern from * nogil:
    void __builtin_prefetch(const void *address)

cdef enum:
    HUGE_PAGE = 2097152


cdef inline void *table_memory(size_t size) noexcept nogil:
    """`size` octets of zeros, aligned to a cache line; NULL when there are none. Free with free()."""
    cdef void *block = NULL
    cdef size_t alignment = 64
    if size >= HUGE_PAGE:
        alignment = HUGE_PAGE
    if posix_memalign(&block, alignment, size):
        return NULL
    if size >= HUGE_PAGE:
        madvise(block, size & ~<size_t>(HUGE_PAGE - 1), MADV_HUGEPAGE)
    memset(block, 0, size)
    return block
