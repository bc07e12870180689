/* The delivery link's frames (mediation/core/interface/link.py), as far as a benchmark needs them: u32 length, u8 type, body. */
#ifndef LINK_H
#define LINK_H

#include "bench.h"

#include <endian.h>

enum { HELLO = 1, WELCOME, DATA, ACK, LOSS, EPOCH, KEEPALIVE, KEEPALIVE_ACK, CLOSE };
#define LINK_VERSION 1
#define PREFIX_OCTETS 5                    /* u32 length of type and body, u8 type */
#define DATA_OCTETS (8 + 8 + 4 + 1)        /* sequence, received ns, error us, flags; then the message */
#define MAX_FRAME (4 + 1 + DATA_OCTETS + (1 << 18))
#define UNDISCIPLINED 1

struct position {
    uint64_t epoch, sequence;
};

static inline uint64_t get64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return be64toh(value);
}

static inline uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return be32toh(value);
}

static inline uint8_t *put64(uint8_t *at, uint64_t value) {
    value = htobe64(value);
    memcpy(at, &value, 8);
    return at + 8;
}

static inline uint8_t *put32(uint8_t *at, uint32_t value) {
    value = htobe32(value);
    memcpy(at, &value, 4);
    return at + 4;
}

static inline uint8_t *put_prefix(uint8_t *at, size_t body, uint8_t type) {
    at = put32(at, (uint32_t)(1 + body));
    *at++ = type;
    return at;
}

/* HELLO (with an identity) or WELCOME (without); returns its octets. */
static inline size_t put_greeting(uint8_t *at, uint8_t type, struct position position, const char *identity) {
    uint8_t *start = at;
    at = put_prefix(at, 18 + strlen(identity), type);
    *at++ = 0;
    *at++ = LINK_VERSION;
    at = put64(put64(at, position.epoch), position.sequence);
    memcpy(at, identity, strlen(identity));
    return (size_t)(at - start) + strlen(identity);
}
#endif
