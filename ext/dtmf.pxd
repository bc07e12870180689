# The DTMF receiver of ext/dtmf.h, for the kernels: what it does and by which limits stands there.
from libc.stdint cimport int16_t, uint8_t, uint32_t

cdef extern from "dtmf.h" nogil:
    enum:
        VOICE_ULAW
        VOICE_ALAW
        VOICE_CHUNK            # samples that dtmf_samples takes at most
        VOICE_STEP             # samples of a millisecond
        DTMF_FOUND
        DTMF_NONE
        DTMF_BRIDGE_MS
        DTMF_PAUSE_MS
    struct dtmf_press:
        uint8_t key
        uint32_t began
        uint32_t sounded_ms
    struct dtmf_channel:
        uint8_t key
    void dtmf_choose(int plain)
    void voice_expand(int16_t *out, const uint8_t *codes, int count, int law)
    void dtmf_reset(dtmf_channel *c)
    void dtmf_bridge(dtmf_channel *c, int samples)
    int dtmf_end(dtmf_channel *c, dtmf_press *found)
    int dtmf_samples(dtmf_channel *c, const int16_t *samples, int count, dtmf_press *found)
