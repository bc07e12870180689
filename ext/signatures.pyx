"""Many Ed25519 signatures, verified one after the other without the interpreter (RFC 8032 §5.1.7).

The mathematics is libsodium's `crypto_sign_open`, the very function that core/authority/key.py asks for one signature:
this kernel only calls it without holding the interpreter between two of them. It decides nothing: what was signed, and
whose key it must be, is judged before and after.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free

from nacl._sodium import ffi, lib

ctypedef int (*opening)(
    uint8_t *message, unsigned long long *length, const uint8_t *signed, unsigned long long octets, const uint8_t *key
) noexcept nogil

cdef enum:
    KEY_OCTETS = 32
    SIGNATURE_OCTETS = 64

cdef opening crypto_sign_open = <opening><size_t>int(ffi.cast("uintptr_t", ffi.addressof(lib, "crypto_sign_open")))


cdef struct one:
    const uint8_t *signed
    unsigned long long octets
    const uint8_t *key
    bint good


def verify(tuple signed not None, tuple keys not None):
    """For each pair whether the key made the signature. `signed`: bytes, each 64 octets of signature and then what was
    signed; `keys`: bytes of 32 octets. Raises ValueError for what has not these shapes, MemoryError."""
    cdef Py_ssize_t count = len(signed), i
    if len(keys) != count:
        raise ValueError("signatures: not one key for each")
    cdef one *each = <one *>calloc(count or 1, sizeof(one))
    cdef bytes octets, key
    if each == NULL:
        raise MemoryError
    try:
        for i in range(count):
            octets, key = signed[i], keys[i]  # the tuples keep them
            if octets is None or PyBytes_GET_SIZE(octets) < SIGNATURE_OCTETS:
                raise ValueError("signatures: shorter than a signature")
            if key is None or PyBytes_GET_SIZE(key) != KEY_OCTETS:
                raise ValueError("signatures: not a key")
            each[i].signed = <const uint8_t *>PyBytes_AS_STRING(octets)
            each[i].octets = <unsigned long long>PyBytes_GET_SIZE(octets)
            each[i].key = <const uint8_t *>PyBytes_AS_STRING(key)
        with nogil:
            for i in range(count):
                each[i].good = crypto_sign_open(NULL, NULL, each[i].signed, each[i].octets, each[i].key) == 0
        return [each[i].good != 0 for i in range(count)]
    finally:
        free(each)
