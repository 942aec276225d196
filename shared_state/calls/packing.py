"""Script calls in the form of the Redis protocol: an FCALL with its keys and arguments. The batcher sends it as an
EVALSHA to a store that takes no libraries.
"""

import random
import secrets
from collections.abc import Mapping, Sequence

from shared_state.connection.commands import pack
from shared_state.keys import Keys
from shared_state.scripts import Script

_SEED_BITS = 31


class Packer:
    """Packs the calls of one process on one domain."""

    def __init__(self, scripts: Mapping[str, Script], keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys
        # The epoch of a store without one. It begins with a letter: Lua converts text that looks like a number.
        self._epoch = f"e{secrets.token_hex(8)}".encode()
        self._secret = f"s{secrets.token_hex(16)}".encode()  # of the hashes of a store that has none yet
        self._draw = random.Random(secrets.randbits(64)).getrandbits

    def _seed(self) -> bytes:
        return b"%d" % self._draw(_SEED_BITS)

    def _prefix(self, script: str, argument_count: int, *names: bytes) -> bytes:
        head = (b"FCALL", self._scripts[script].function.encode(), b"%d" % len(names), *names)
        return b"*%d\r\n%b" % (len(head) + argument_count, pack(*head))

    def _packed(self, script: str, names: Sequence[bytes], arguments: Sequence[bytes], has_era: bool = False) -> bytes:
        return self._prefix(script, len(arguments) + has_era, *names) + pack(*arguments)
