"""The command `python -m loadtest.cluster.distant_link`: an address as far away as another continent.
It needs Linux and root.

A TUN device returns packets after half of the round trip, with sender and receiver exchanged. A server that listens on
198.18.0.1 is reachable there at once, and at 198.18.0.2 with the delay of the link, from the first SYN on.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence

from loadtest.children import die_with_parent

NEAR, FAR = "198.18.0.1", "198.18.0.2"  # from the block reserved for measurements (RFC 2544)
DEVICE = "pllm-link"
STOP_S = 5.0
PRIORITY = -15  # a network does not wait for the processors of the machines that it connects
# linux/if_tun.h
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_PACKET_MOST = 65_536
_MISSING = f"a distant link needs root, /dev/net/tun, iproute2's ip and no other device named {DEVICE}: "


def opened() -> int:
    """Returns the file descriptor of the device, which has its address and ends with the descriptor. Raises OSError,
    CalledProcessError.
    """
    link = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(link, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    for words in (("address", "add", f"{NEAR}/24", "dev", DEVICE), ("link", "set", DEVICE, "up")):
        subprocess.run(["ip", *words], check=True, capture_output=True)
    return link


def exchanged(packet: bytes) -> bytes | None:
    """Returns an IPv4 packet with its addresses exchanged, which keeps its checksums valid; None for anything else."""
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:] if packet[0] >> 4 == 4 else None


def carry(link: int, one_way_s: float) -> None:
    """Returns the packets that wait on the device after a delay; runs in an event loop."""
    with contextlib.suppress(BlockingIOError):
        while True:
            packet = exchanged(os.read(link, _PACKET_MOST))
            if packet is not None:
                asyncio.get_running_loop().call_later(one_way_s, os.write, link, packet)


async def run(round_trip_ms: float) -> None:
    try:
        link = opened()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(_MISSING + str(error)) from error
    os.nice(PRIORITY)
    asyncio.get_running_loop().add_reader(link, carry, link, round_trip_ms / 2000)
    print(f"{FAR} is {round_trip_ms:g} ms away", flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def distant_link(round_trip_ms: float) -> Iterator[None]:
    """Makes FAR reachable in a process of its own. Raises SystemExit after the command has printed what is missing."""
    command = [sys.executable, "-P", "-m", __spec__.name, "--die-with-parent", "--round-trip-ms", f"{round_trip_ms:g}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit(1)
        yield
    finally:
        process.terminate()
        process.wait(STOP_S)


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
