Buffer = bytes | bytearray | memoryview
Address = tuple[str, str, tuple[tuple[str, str], ...], str]

FAULTS: tuple[str, ...]

def split(data: Buffer) -> tuple[list[tuple[int, int]], int]: ...
def scan(
    data: Buffer,
) -> tuple[
    str, int, bytes, int, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, list[tuple[bytes, bytes]], bytes
]: ...
def message(
    data: bytes, compact: dict[str, str]
) -> tuple[
    str, str, int, str, str, str, int, str, Address | None, Address | None, str, tuple[tuple[str, str], ...], bytes
]: ...
def addresses(value: bytes) -> list[Address]: ...
def parameters(value: Buffer) -> list[tuple[bytes, bytes]]: ...
