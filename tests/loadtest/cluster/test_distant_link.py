"""The distant link: packets return with sender and receiver exchanged, and with valid checksums."""

import socket
import struct

from loadtest.cluster.distant_link import FAR, NEAR, exchanged


def checksum(data: bytes) -> int:
    """As IP computes it: 0 over a header that holds its own."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def packet(payload: bytes) -> bytes:
    addresses = socket.inet_aton(NEAR) + socket.inet_aton(FAR)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, 0, 64, 6, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def test_packet_comes_back_from_where_it_was_sent_to() -> None:
    back = exchanged(packet(b"hello, far side"))

    assert back is not None
    assert (socket.inet_ntoa(back[12:16]), socket.inet_ntoa(back[16:20])) == (FAR, NEAR)
    assert back[20:] == b"hello, far side"


def test_checksum_of_a_returned_packet_is_valid() -> None:
    sent = packet(b"")
    back = exchanged(sent)

    assert back is not None
    assert (checksum(sent[:20]), checksum(back[:20])) == (0, 0)


def test_packet_that_is_not_ipv4_does_not_come_back() -> None:
    assert exchanged(b"\x60" + bytes(39)) is None
