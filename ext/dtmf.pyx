"""The DTMF receiver by itself, for tests and measurements: the daemon's own runs in the matcher (ext/media.pxd)."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from dtmf cimport VOICE_ALAW, VOICE_ULAW, dtmf_choose
from voice cimport (
    VOICE_HEARD, VOICE_LATE, VOICE_MALFORMED, end_voice, hear_packet, read_voice, voice_channel, voice_presses,
    voice_reset, voice_result, voice_view,
)

from mediation.core.errors import LocalProtocolError

LAWS = {"PCMU": VOICE_ULAW, "PCMA": VOICE_ALAW}
RESULTS = {VOICE_HEARD: "heard", VOICE_MALFORMED: "malformed", VOICE_LATE: "late"}
CHANNEL_OCTETS = sizeof(voice_channel)


def use_plain_code(bint plain):
    """Whether to leave out what only some processors have; of this module alone."""
    dtmf_choose(plain)


cdef list listed(const voice_presses *presses):
    return [
        (chr(presses.items[i].key), presses.items[i].stamp_ns, presses.items[i].sounded_ms)
        for i in range(presses.count)
    ]


cdef uint8_t law_of(str law) except 255:
    if law not in LAWS:
        raise LocalProtocolError("dtmf: the law is PCMU or PCMA")
    return LAWS[law]


cdef class Channel:
    """One direction of one call."""
    cdef voice_channel channel

    def __cinit__(self):
        voice_reset(&self.channel)

    def packet(self, const uint8_t[::1] rtp not None, uint64_t stamp_ns, law="PCMU"):
        """One RTP packet: ("heard" | "late" | "malformed", [(key, stamp of the packet it began in, ms it sounded)])."""
        cdef voice_view view
        cdef voice_presses presses
        cdef voice_result result = VOICE_MALFORMED
        presses.count = 0
        view.law = law_of(law)
        view.stamp_ns = stamp_ns
        if rtp.shape[0] and read_voice(&rtp[0], <uint32_t>rtp.shape[0], &view):
            with nogil:
                result = hear_packet(&self.channel, &view, &presses)
        return RESULTS[result], listed(&presses)

    def end(self):
        """What still sounded or waited when the flow ended."""
        cdef voice_presses presses
        presses.count = 0
        end_voice(&self.channel, &presses)
        return listed(&presses)

    @property
    def lost(self):
        """Packets that never came."""
        return self.channel.lost


def listen(const uint8_t[::1] codes not None, law="PCMU", uint32_t packet=160):
    """All of one voice: [(key, when it began in samples, ms it sounded)]. `packet`: samples of each packet."""
    cdef voice_channel *channel = <voice_channel *>calloc(1, sizeof(voice_channel))
    cdef voice_view view
    cdef voice_presses presses
    cdef uint32_t at = 0
    cdef uint32_t length = <uint32_t>codes.shape[0]
    if channel == NULL:
        raise MemoryError
    if not 1 <= packet <= 2048:
        free(channel)
        raise LocalProtocolError("dtmf: a packet has 1 to 2048 samples")
    voice_reset(channel)
    found = []
    memset(&view, 0, sizeof(view))
    view.law = law_of(law)
    while at < length:
        view.codes = &codes[at]
        view.count = packet if length - at > packet else length - at
        view.timestamp = at
        view.stamp_ns = at
        presses.count = 0
        with nogil:
            hear_packet(channel, &view, &presses)
        found += listed(&presses)
        at += view.count
        view.sequence += 1
    presses.count = 0
    end_voice(channel, &presses)
    found += listed(&presses)
    free(channel)
    return found


cdef class Channels:
    """Many channels that hear the same voice, each from another place of it, packet by packet in turn."""
    cdef voice_channel *channels
    cdef uint32_t count
    cdef uint32_t step
    cdef readonly uint64_t presses

    def __cinit__(self, uint32_t count):
        cdef uint32_t i
        if not 1 <= count <= 1 << 20:
            raise LocalProtocolError("dtmf: 1 to 1,048,576 channels")
        self.channels = <voice_channel *>calloc(count, sizeof(voice_channel))
        if self.channels == NULL:
            raise MemoryError
        self.count = count
        for i in range(count):
            voice_reset(&self.channels[i])

    def __dealloc__(self):
        free(self.channels)

    def hear(self, const uint8_t[::1] codes not None, uint32_t rounds, law="PCMU", uint32_t stride=7919):
        """`rounds` packets of 20 ms for each channel, through the same code as live RTP. Channels begin `stride`
        packets apart in `codes`, which repeats."""
        cdef uint32_t packets = <uint32_t>(codes.shape[0] // 160)
        cdef uint32_t i, _
        cdef voice_view view
        cdef voice_presses presses
        if packets == 0:
            raise LocalProtocolError("dtmf: less than one packet")
        memset(&view, 0, sizeof(view))
        view.law = law_of(law)
        view.count = 160
        with nogil:
            for _ in range(rounds):
                view.sequence = <uint32_t>self.step & 0xffff
                view.timestamp = self.step * 160
                for i in range(self.count):
                    view.codes = &codes[160 * ((self.step + <uint64_t>i * stride) % packets)]
                    presses.count = 0
                    hear_packet(&self.channels[i], &view, &presses)
                    self.presses += presses.count
                self.step += 1
