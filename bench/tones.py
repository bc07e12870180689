"""Voice-band signals to try a DTMF receiver on: dialed digits with every fault ITU-T Q.24 names, and what is none.

All are 16-bit samples at 8 kHz (array "h"), made from a seed alone, so that every receiver hears the same octets.
Levels are in dBm0 of the whole signal: 0 dBm0 is a sine 3.17 dB below the peak of µ-law (ITU-T G.711).
"""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

RATE = 8000
ZERO = 15770.0  # root mean square of 0 dBm0
PEAK = 32256  # of A-law; µ-law ends at 32,124
KEYS = "123A456B789C*0#D"
LOW, HIGH = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)

Samples: TypeAlias = "array[int]"  # of type "h"


class Dialing(NamedTuple):
    """How digits sound."""

    on_ms: float = 40
    off_ms: float = 40
    level: float = -10.0  # dBm0 of both tones together
    twist: float = 0.0  # dB, high tone above the low one
    low_offset: float = 0.0  # of the frequency, 0.015 is 1.5 %
    high_offset: float = 0.0
    cut_ms: float = 0.0  # an interruption in the middle of each tone


def _amplitude(level: float) -> float:
    """Of a sine with that level."""
    return ZERO * math.sqrt(2) * math.pow(10, level / 20)


def clipped(values: Iterable[float]) -> Samples:
    return array("h", [max(-PEAK, min(PEAK, round(value))) for value in values])


def silence(ms: float) -> Samples:
    return array("h", bytes(2 * round(RATE * ms / 1000)))


def tones(components: Sequence[tuple[float, float]], ms: float, phase: float = 0.0) -> Samples:
    """Sines of (frequency in Hz, level in dBm0)."""
    parts = [(2 * math.pi * hertz / RATE, _amplitude(level)) for hertz, level in components]
    return clipped(
        sum(amplitude * math.sin(turn * n + phase * (k + 1)) for k, (turn, amplitude) in enumerate(parts))
        for n in range(round(RATE * ms / 1000))
    )


def dial(digits: str, how: Dialing, seed: int = 0) -> Samples:
    """The digits, each followed by its pause, after 100 ms of silence; phases are random."""
    source = random.Random(seed)
    low_level = how.level - 10 * math.log10(1 + 10 ** (how.twist / 10))
    signal = silence(100)
    for digit in digits:
        row, column = divmod(KEYS.index(digit), 4)
        pair = [
            (LOW[row] * (1 + how.low_offset), low_level),
            (HIGH[column] * (1 + how.high_offset), low_level + how.twist),
        ]
        tone = tones(pair, how.on_ms, source.uniform(0, 2 * math.pi))
        if how.cut_ms:
            cut = round(RATE * how.cut_ms / 1000)
            start = (len(tone) - cut) // 2
            tone[start : start + cut] = array("h", bytes(2 * cut))
        signal += tone + silence(how.off_ms)
    return signal + silence(100)


def noise(ms: float, level: float, seed: int = 0) -> Samples:
    """White noise."""
    gauss, rms = random.Random(seed).gauss, ZERO * math.pow(10, level / 20)
    return clipped(gauss(0.0, rms) for _ in range(round(RATE * ms / 1000)))


def mixed(one: Samples, other: Samples) -> Samples:
    """Their sum, as long as the first; the second is repeated."""
    return clipped(a + other[n % len(other)] for n, a in enumerate(one))


def level(samples: Samples) -> float:
    """dBm0 of the whole."""
    power = sum(s * s for s in samples) / max(1, len(samples))
    return 20 * math.log10(math.sqrt(power) / ZERO) if power else -math.inf


# ---- G.711 ----------------------------------------------------------------------------------------------------------


def _ulaw(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((((code & 15) << 3) + 0x84) << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw(code: int) -> int:
    code ^= 0x55
    exponent = code >> 4 & 7
    magnitude = (code & 15) << 4
    magnitude = (magnitude + 0x108) << (exponent - 1) if exponent else magnitude + 8
    return magnitude if code & 0x80 else -magnitude


class Law:
    """One law of G.711, by its decoding alone: a sample becomes the code whose value is nearest."""

    def __init__(self, expand: Sequence[int]) -> None:
        self.expand = tuple(expand)
        ordered = sorted((value, code) for code, value in enumerate(expand))
        values = [value for value, _ in ordered]
        nearest = bytearray(65536)
        for sample in range(-32768, 32768):
            at = bisect_left(values, sample)
            if at == len(values) or (at and sample - values[at - 1] < values[at] - sample):
                at -= 1
            nearest[sample & 0xFFFF] = ordered[at][1]
        self._nearest = bytes(nearest)

    def encode(self, samples: Samples) -> bytes:
        nearest = self._nearest
        return bytes([nearest[s & 0xFFFF] for s in samples])

    def decode(self, codes: bytes | bytearray) -> Samples:
        expand = self.expand
        return array("h", [expand[code] for code in codes])


ULAW = Law([_ulaw(code) for code in range(256)])
ALAW = Law([_alaw(code) for code in range(256)])


# ---- what is no digit -----------------------------------------------------------------------------------------------

# Formants of vowels (Peterson and Barney 1952), men and women: Hz.
VOWELS = (
    (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440), (570, 840, 2410),
    (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
    (310, 2790, 3310), (430, 2480, 3070), (610, 2330, 2990), (860, 2050, 2850), (850, 1220, 2810), (590, 920, 2710),
    (470, 1160, 2680), (370, 950, 2670), (760, 1400, 2780), (500, 1640, 1960),
)  # fmt: skip
BANDWIDTHS = (60.0, 90.0, 120.0)
JITTER, SHIMMER = 0.008, 0.05  # of a healthy voice's period and amplitude from one pulse to the next


def speech(ms: float, to: float = -20.0, seed: int = 0) -> Samples:
    """Voices without words: glottal pulses of 80 to 400 Hz through moving formants, breath, and pauses."""
    source = random.Random(seed)
    values: list[float] = []
    wanted = round(RATE * ms / 1000)
    state = [[0.0, 0.0] for _ in BANDWIDTHS]
    phase, jitter = 0.0, 1.0
    pitch = source.uniform(90, 280)
    while len(values) < wanted:
        if source.random() < 0.15:
            values += [0.0] * round(RATE * source.uniform(0.05, 0.4))
            pitch = source.uniform(80, 400)
        frm, to_vowel = source.choice(VOWELS), source.choice(VOWELS)
        glide = pitch * source.choice((1.0, 1.0, source.uniform(0.8, 1.25)))
        count = round(RATE * source.uniform(0.06, 0.35))
        breath = source.choice((0.01, 0.02, 0.2))
        loud = source.uniform(0.3, 1.0)
        for block in range(0, count, 40):
            share = min(1.0, 2 * block / count)
            pitch_now = pitch + (glide - pitch) * block / count
            filters = []
            for k, width in enumerate(BANDWIDTHS):
                radius = math.exp(-math.pi * width / RATE)
                turn = 2 * math.pi * (frm[k] + (to_vowel[k] - frm[k]) * share) / RATE
                filters.append((2 * radius * math.cos(turn), -radius * radius, 1 - radius))
            edge = loud * min(1.0, block / 160, (count - block) / 160)
            for _ in range(40):
                phase += jitter * pitch_now / RATE
                pulse = breath * source.uniform(-1, 1)
                if phase >= 1:
                    phase -= 1
                    pulse += 1.0 + source.uniform(-SHIMMER, SHIMMER)
                    jitter = 1.0 + source.uniform(-JITTER, JITTER)
                value = edge * pulse
                for k, (one, two, gain) in enumerate(filters):
                    last = state[k]
                    value = gain * 8 * value + one * last[0] + two * last[1]
                    last[1], last[0] = last[0], value
                values.append(value)
        pitch = glide
    del values[wanted:]
    rms = math.sqrt(sum(v * v for v in values) / len(values))
    factor = ZERO * math.pow(10, to / 20) / rms
    return clipped(v * factor for v in values)


def music(ms: float, to: float = -15.0, seed: int = 0) -> Samples:
    """Plucked and sung chords of the tempered scale, with harmonics. (Without any, B flat and E are key 0 by Q.24.)"""
    source = random.Random(seed)
    values: list[float] = []
    wanted = round(RATE * ms / 1000)
    while len(values) < wanted:
        count = round(RATE * source.choice((0.09, 0.12, 0.18, 0.25, 0.5)))
        decay = source.choice((0.0, 2.0, 6.0))
        parts = []
        for _ in range(source.randint(1, 4)):
            hertz = 220 * 2 ** (source.randint(0, 36) / 12)
            falls = source.choice((0.6, 0.8, 0.95))
            parts += [
                (2 * math.pi * hertz * k / RATE, falls ** (k - 1), source.uniform(0, 6.28))
                for k in range(1, 7)
                if hertz * k < 3800
            ]
        values += [
            math.exp(-decay * n / RATE) * sum(a * math.sin(turn * n + phase) for turn, a, phase in parts)
            for n in range(count)
        ]
    del values[wanted:]
    rms = math.sqrt(sum(v * v for v in values) / len(values))
    factor = ZERO * math.pow(10, to / 20) / rms
    return clipped(v * factor for v in values)


# (name, [(components, on ms, off ms), ...]): call progress and machines; frequencies of ITU-T E.180 and Q.35, T.30.
PROGRESS: tuple[tuple[str, tuple[tuple[tuple[tuple[float, float], ...], float, float], ...]], ...] = (
    ("dial tone", ((((350, -13), (440, -13)), 3000, 0),)),
    ("dial tone, 425 Hz", ((((425, -10),), 3000, 0),)),
    ("ringback", ((((440, -16), (480, -16)), 2000, 1000),)),
    ("busy", ((((480, -13), (620, -13)), 500, 500),) * 3),
    ("reorder", ((((480, -13), (620, -13)), 250, 250),) * 6),
    ("special information", ((((950, -10),), 330, 0), (((1400, -10),), 330, 0), (((1800, -10),), 330, 500)) * 2),
    (
        "special information, high and long",
        ((((985.2, -10),), 380, 0), (((1428.5, -10),), 380, 0), (((1776.7, -10),), 380, 0)),
    ),
    ("off hook", ((((1400, -8), (2060, -8), (2450, -8), (2600, -8)), 100, 100),) * 20),
    ("fax calling", ((((1100, -10),), 500, 1000),) * 3),
    ("fax answering", ((((2100, -10),), 3000, 75),)),
    ("modem answering", ((((1200, -13), (2400, -13)), 1000, 100), (((1800, -12),), 1000, 100))),
    ("call waiting", ((((440, -13),), 300, 1000),) * 3),
    ("recorder beep", ((((1400, -10),), 500, 500),) * 3),
    ("one tone of a key", tuple((((hertz, -8),), 100.0, 50.0) for hertz in LOW + HIGH)),
    ("two of one group", tuple(
        (((one, -10), (two, -10)), 100.0, 50.0) for group in (LOW, HIGH) for one in group for two in group if one < two
    )),
    ("three tones", tuple(
        (((low, -10), (high, -10), (third, -10)), 100.0, 50.0)
        for low in LOW for high in HIGH for third in LOW + HIGH if third not in (low, high)
    )),
    ("keys with harmonics", tuple(
        (((low, -10), (high, -10), (2 * low, -12), (2 * high, -12)), 100.0, 50.0) for low in LOW for high in HIGH
    )),
)  # fmt: skip


def progress(name: str) -> Samples:
    """One row of PROGRESS, in silence."""
    signal = silence(50)
    for components, on_ms, off_ms in dict(PROGRESS)[name]:
        signal += tones(components, on_ms) + silence(off_ms)
    return signal + silence(100)
