"""`digits`: how many channels of G.711 one core listens to for dialed digits, and what it hears, beside two others.

Cost: the daemon's own code (RTP numbers, G.711, receiver) over a mixture of speech, silence and dialing, thousands of
channels in turn so that their state does not stay in a near cache; the baseline is a bare Goertzel loop that decides
nothing. Hearing: the same octets to spandsp and multimon-ng, where these are installed; digits heard in their place,
and digits invented.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import programs, report, tones
from bench.tones import KEYS, ULAW, Dialing, Samples
from mediation.access import _dtmf

CHANNELS = 4000  # 10 MB of state: beyond a core's own cache
ROUNDS = 50  # packets of each channel in one timing: a second of voice
PACKETS_PER_SECOND = 50
REQUIRED_CHANNELS = 40_000
PROMPTS = Path("/usr/share/asterisk")  # Debian's asterisk-core-sounds-*-wav and asterisk-moh-*-wav: voices and music
PROMPT_S = 3600  # of them, at most
MULTIMON_RATE = 22_050  # what it reads
Receiver = Callable[[bytes | bytearray], str]


def _ours(codes: bytes | bytearray) -> str:
    return "".join(key for key, _, _ in _dtmf.listen(codes))


def _spandsp(codes: bytes | bytearray) -> str:
    done = subprocess.run(
        [str(programs.BASELINE / "bin" / "spandsp_dtmf")],
        input=ULAW.decode(codes).tobytes(), stdout=subprocess.PIPE, check=True, timeout=programs.PATIENCE_S,
    )  # fmt: skip
    return done.stdout.decode().strip()


def _multimon(codes: bytes | bytearray) -> str:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "voice.raw"
        subprocess.run(
            ["sox", "-t", "raw", "-e", "mu-law", "-b", "8", "-r", "8000", "-c", "1", "-",
             "-t", "raw", "-e", "signed", "-b", "16", "-r", str(MULTIMON_RATE), "-D", str(raw)],
            input=codes, check=True, stderr=subprocess.DEVNULL, timeout=programs.PATIENCE_S,
        )  # fmt: skip
        done = subprocess.run(
            ["multimon-ng", "-q", "-t", "raw", "-a", "DTMF", str(raw)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=programs.PATIENCE_S,
        )  # fmt: skip
    return "".join(line.split()[1] for line in done.stdout.decode().splitlines() if line.startswith("DTMF:"))


def receivers() -> dict[str, Receiver]:
    """Ours, and the others that are here; who is not is said on standard error."""
    found: dict[str, Receiver] = {"ours": _ours}
    built = subprocess.run(
        ["make", "-s", "-C", str(programs.BASELINE), "bin/spandsp_dtmf"], check=False, stderr=subprocess.DEVNULL
    )
    if built.returncode == 0:
        found["spandsp"] = _spandsp
    else:
        print("digits: without spandsp (libspandsp-dev)", file=sys.stderr)
    try:
        _multimon(b"\xff" * 800)
        found["multimon-ng"] = _multimon
    except (OSError, subprocess.CalledProcessError):
        print("digits: without multimon-ng (multimon-ng, sox)", file=sys.stderr)
    return found


def agreement(heard: str, dialed: str) -> tuple[int, int]:
    """(digits heard in their order, digits too many): by the longest common subsequence."""
    row = [0] * (len(dialed) + 1)
    for key in heard:
        last = row
        row = [0]
        for at, wanted in enumerate(dialed):
            row.append(max(last[at] + 1 if key == wanted else 0, last[at + 1], row[-1]))
    return row[-1], len(heard) - row[-1]


def dialings() -> Iterator[tuple[str, Dialing, Callable[[float, int], Samples] | None]]:
    """(name, how it is dialed, what lies under it by length in ms and seed)."""

    def noise(level: float) -> Callable[[float, int], Samples]:
        return lambda ms, seed: tones.noise(ms, level, seed)

    yield "40/40 ms", Dialing(), None
    yield "30/30 ms", Dialing(on_ms=30, off_ms=30), None
    yield "100 ms, 10 ms interrupted", Dialing(on_ms=100, cut_ms=10), None
    for level in (0, -25, -29, -36, -40):
        yield f"{level} dBm0", Dialing(level=level), None
    for twist in (4, 8, -4, -8):
        yield f"twist {twist:+} dB", Dialing(twist=twist), None
    for offset in (0.015, -0.015):
        yield f"frequency {100 * offset:+.1f} %", Dialing(low_offset=offset, high_offset=offset), None
    for ratio in (12, 6, 4):
        yield f"{ratio} dB over noise", Dialing(), noise(-10 - ratio)
    for on_ms, level in ((40, -7), (80, -7), (80, -10)):
        yield (
            f"{level} dBm0, {on_ms}/60 ms, under speech of -20 dBm0", Dialing(on_ms=on_ms, off_ms=60, level=level),
            lambda ms, seed: tones.speech(ms, -20, seed),
        )  # fmt: skip


def no_digits() -> Iterator[tuple[str, Dialing]]:
    """Dialed, and to be refused."""
    yield "20 ms", Dialing(on_ms=20)
    yield "23 ms", Dialing(on_ms=23)
    yield "-55 dBm0", Dialing(level=-55)
    for offset in (0.035, -0.035):
        yield f"frequency {100 * offset:+.1f} %", Dialing(on_ms=100, low_offset=offset, high_offset=offset)
        yield f"low tone {100 * offset:+.1f} %", Dialing(on_ms=100, low_offset=offset)


def talk_off(seconds: int) -> Iterator[tuple[str, bytes]]:
    """Voices, music, noise and the network's own tones without a digit."""
    for seed in range(seconds // 20):
        yield "synthetic voices", ULAW.encode(tones.speech(20_000, (-6, -12, -20)[seed % 3], seed))
    for seed in range(seconds // 60):
        yield "synthetic music", ULAW.encode(tones.music(20_000, (-6, -15)[seed % 2], seed))
    yield "noise", ULAW.encode(tones.noise(20_000, -12, 1))
    for name, _ in tones.PROGRESS:
        yield "call progress, machines, tones that are no key", ULAW.encode(tones.progress(name))
    yield from prompts(seconds * 6)


def prompts(seconds: int) -> Iterator[tuple[str, bytes]]:
    """Recorded voices and music of Debian's packages, where installed."""
    left = min(seconds, PROMPT_S) * tones.RATE
    files = sorted(PROMPTS.glob("**/*.wav"), key=lambda path: path.name)
    for path in files[:: max(1, len(files) // 600)]:
        if "tone" in path.name or "beep" in path.name:
            continue
        with wave.open(str(path)) as file:
            if file.getframerate() != tones.RATE or file.getsampwidth() != 2 or file.getnchannels() != 1:
                continue
            samples = array("h", file.readframes(min(file.getnframes(), left)))
        left -= len(samples)
        yield "recorded voices and music", ULAW.encode(samples)
        if left <= 0:
            return


def hearing(found: dict[str, Receiver], repeats: int, seconds: int) -> report.Result:
    tables: dict[str, dict[str, object]] = {}
    for name, how, under in dialings():
        row: dict[str, list[int]] = {who: [0, 0] for who in found}
        for seed in range(repeats):
            signal = tones.dial(KEYS, how, seed)
            if under is not None:
                signal = tones.mixed(signal, under(len(signal) * 1000 / tones.RATE, seed))
            codes = ULAW.encode(signal)
            for who, receiver in found.items():
                right, false = agreement(receiver(codes), KEYS)
                row[who] = [row[who][0] + right, row[who][1] + false]
        tables[name] = {"dialed": repeats * len(KEYS), **{who: {"heard": h, "false": f} for who, (h, f) in row.items()}}
        print(f"  {name}: {row}", file=sys.stderr)
    refused = {}
    for name, how in no_digits():
        codes = ULAW.encode(tones.dial(KEYS, how, 1))
        refused[name] = {"dialed": len(KEYS), **{who: len(receiver(codes)) for who, receiver in found.items()}}
        print(f"  to be refused, {name}: {refused[name]}", file=sys.stderr)
    voices: dict[str, bytearray] = {}
    for name, codes in talk_off(seconds):
        voices.setdefault(name, bytearray()).extend(codes)
    quiet = {
        name: {"seconds": len(codes) // tones.RATE, **{who: len(receiver(codes)) for who, receiver in found.items()}}
        for name, codes in voices.items()
    }
    print(f"  talk-off: {quiet}", file=sys.stderr)
    return {"detection": tables, "to_be_refused": refused, "talk_off": quiet}


def mixture() -> bytes:
    """A minute as a call is: half silence, voices, and one string of digits."""
    signal = tones.speech(20_000, -20, 1) + tones.dial(KEYS, Dialing(on_ms=100, off_ms=100), 1)
    signal += tones.noise(20_000, -60, 1) + tones.speech(10_000, -15, 2)
    return ULAW.encode(signal[: len(signal) // 160 * 160])


def cost(voice: bytes, rounds: int) -> dict[str, float]:
    """Our nanoseconds a packet, the Goertzel loop's, and their ratio: medians over rounds that take turns."""
    ours, bare, ratios = [], [], []
    with tempfile.NamedTemporaryFile() as file:
        file.write(voice)
        file.flush()
        channels = _dtmf.Channels(CHANNELS)
        channels.hear(voice, 5)
        for _ in range(rounds):
            start = time.thread_time_ns()
            channels.hear(voice, ROUNDS)
            ours.append((time.thread_time_ns() - start) / (CHANNELS * ROUNDS))
            said = programs.run("goertzel", file=file.name, channels=CHANNELS, rounds=ROUNDS)
            bare.append(said["cpu_ns"] / said["packets"])
            ratios.append(ours[-1] / bare[-1])
    median = statistics.median(ours)
    return {
        "nanoseconds_per_packet": round(median, 1),
        "channels_per_core": round(1e9 / PACKETS_PER_SECOND / median),
        "slowest_nanoseconds_per_packet": round(max(ours), 1),
        "goertzel_nanoseconds_per_packet": round(statistics.median(bare), 1),
        "ratio_to_goertzel": round(statistics.median(ratios), 2),
    }


def measure(chosen: argparse.Namespace) -> report.Result:
    subprocess.run(["make", "-s", "-C", str(programs.BASELINE), "bin/goertzel"], check=True)
    rounds = 5 if chosen.quick else 15
    dialing = ULAW.encode(_only_dialing())
    result = cost(mixture(), rounds)
    print(f"  {result}", file=sys.stderr)
    return {
        "required_channels": REQUIRED_CHANNELS,
        **result,
        "channel_octets": _dtmf.CHANNEL_OCTETS,
        "channels": CHANNELS,
        "while_every_channel_dials": cost(dialing, rounds),
        **hearing(receivers(), 2 if chosen.quick else 10, 120 if chosen.quick else 600),
    }


def _only_dialing() -> Samples:
    signal = tones.silence(0)
    for seed in range(4):
        signal += tones.dial(KEYS, Dialing(on_ms=100, off_ms=100), seed)
    return signal[: len(signal) // 160 * 160]


if __name__ == "__main__":
    report.main("digits", (__doc__ or "").splitlines()[0], measure)
