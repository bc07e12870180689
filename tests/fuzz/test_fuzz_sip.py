"""Five seconds of fuzzing in every run of the tests; minutes of it belong to the sanitizer build."""

from tests.fuzz.fuzz_sip import run


def test_five_seconds_without_a_finding() -> None:
    fuzzer = run(5, seed=4475)
    counters = fuzzer.matcher.counters()
    assert fuzzer.rounds > 200
    for reached in ("matched", "media_matched", "calls", "malformed_cseq", "tolerated_header", "junk"):
        assert counters[reached], f"the fuzzer never reached {reached}"
