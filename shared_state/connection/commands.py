"""Commands in the form of the Redis protocol (RESP)."""

from collections.abc import Mapping

_FCALL = b"\r\n$5\r\nFCALL\r\n"


def pack(*parts: bytes) -> bytes:
    """Returns the parts of a command as RESP bulk strings, without the leading count."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


_NUMBERS = tuple(pack(b"%d" % number) for number in range(256))  # most numbers of a call


def pack_number(number: int) -> bytes:
    return _NUMBERS[number] if 0 <= number < len(_NUMBERS) else pack(b"%d" % number)


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(parts), pack(*parts))


def as_script(packed: bytes, shas: Mapping[bytes, bytes]) -> bytes:
    """Returns the same call as an EVALSHA. ``packed``: an FCALL; any other command, and a function that is not in
    ``shas``, stays as it is. ``shas``: of the scripts, by function.
    """
    count, _, rest = packed.partition(_FCALL)
    _, function, rest = rest.split(b"\r\n", 2) if rest else (b"", b"", b"")
    return count + b"\r\n" + pack(b"EVALSHA", shas[function]) + rest if function in shas else packed
