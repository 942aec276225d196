"""Commands in the form of the Redis protocol (RESP)."""


def pack(*parts: bytes) -> bytes:
    """Returns the parts of a command as RESP bulk strings, without the leading count."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(parts), pack(*parts))
