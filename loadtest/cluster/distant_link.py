"""The command `python -m loadtest.cluster.distant_link`: addresses that are as far away as another continent. It needs
Linux and root.

A TUN device whose packets come back after half of the round trip with sender and receiver exchanged: what listens on
198.18.0.1 is found there at once and at 198.18.0.2 after the line's time, from the first SYN on.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Sequence

from loadtest.children import die_with_parent

NEAR, FAR = "198.18.0.1", "198.18.0.2"  # of the block that is set aside for measurements (RFC 2544)
DEVICE = "pllm-line"
# linux/if_tun.h
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_PACKET_MOST = 65_536
_MISSING = f"a line needs root, /dev/net/tun, iproute2's ip and no other device called {DEVICE}: "


def opened() -> int:
    """The device, with its address; it goes with its file descriptor. Raises OSError, CalledProcessError."""
    line = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(line, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    for words in (("address", "add", f"{NEAR}/24", "dev", DEVICE), ("link", "set", DEVICE, "up")):
        subprocess.run(["ip", *words], check=True, capture_output=True)
    return line


def exchanged(packet: bytes) -> bytes | None:
    """An IPv4 packet on its way back; its checksums stay true. None for anything else."""
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:] if packet[0] >> 4 == 4 else None


def carry(line: int, one_way_s: float) -> None:
    """What waits on the device; runs in an event loop."""
    with contextlib.suppress(BlockingIOError):
        while True:
            packet = exchanged(os.read(line, _PACKET_MOST))
            if packet is not None:
                asyncio.get_running_loop().call_later(one_way_s, os.write, line, packet)


async def run(round_trip_ms: float) -> None:
    try:
        line = opened()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(_MISSING + str(error)) from error
    asyncio.get_running_loop().add_reader(line, carry, line, round_trip_ms / 2000)
    print(f"{FAR} is {round_trip_ms:g} ms away", flush=True)
    await asyncio.Event().wait()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.cluster.distant_link", description=__doc__)
    parser.add_argument("--round-trip-ms", type=float, default=80)
    parser.add_argument("--die-with-parent", action="store_true")
    options = parser.parse_args(arguments)
    if options.die_with_parent:
        die_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(options.round_trip_ms))


if __name__ == "__main__":
    main(sys.argv[1:])
