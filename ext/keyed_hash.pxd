# SipHash-1-3 (Aumasson and Bernstein, 2012): tables whose keys come from strangers are hashed with a secret of this
# process, so that nobody outside can choose keys that collide.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef struct hash_secret:
    uint64_t k0
    uint64_t k1


cdef inline uint64_t rotate(uint64_t x, int by) noexcept nogil:
    return (x << by) | (x >> (64 - by))


cdef inline void hash_round(uint64_t *v) noexcept nogil:
    v[0] += v[1]
    v[1] = rotate(v[1], 13)
    v[1] ^= v[0]
    v[0] = rotate(v[0], 32)
    v[2] += v[3]
    v[3] = rotate(v[3], 16)
    v[3] ^= v[2]
    v[0] += v[3]
    v[3] = rotate(v[3], 21)
    v[3] ^= v[0]
    v[2] += v[1]
    v[1] = rotate(v[1], 17)
    v[1] ^= v[2]
    v[2] = rotate(v[2], 32)


cdef inline uint64_t hash_octets(const hash_secret *secret, const uint8_t *data, size_t length) noexcept nogil:
    cdef uint64_t v[4]
    cdef uint64_t word
    cdef size_t left = length
    v[0] = secret.k0 ^ <uint64_t>0x736f6d6570736575
    v[1] = secret.k1 ^ <uint64_t>0x646f72616e646f6d
    v[2] = secret.k0 ^ <uint64_t>0x6c7967656e657261
    v[3] = secret.k1 ^ <uint64_t>0x7465646279746573
    while left >= 8:
        memcpy(&word, data, 8)
        v[3] ^= word
        hash_round(v)
        v[0] ^= word
        data += 8
        left -= 8
    word = 0
    if left:
        memcpy(&word, data, left)
    word |= <uint64_t>length << 56
    v[3] ^= word
    hash_round(v)
    v[0] ^= word
    v[2] ^= 0xff
    hash_round(v)
    hash_round(v)
    hash_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


cdef inline uint64_t hash_word(const hash_secret *secret, uint64_t word) noexcept nogil:
    """hash_octets of the eight octets of `word`."""
    return hash_octets(secret, <const uint8_t *>&word, 8)
