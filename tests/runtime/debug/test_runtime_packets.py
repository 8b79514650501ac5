"""GDB's packets: whatever comes over the line, in whatever pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.debug.packets import PACKET_SIZE, LineSign, Packet, PacketReader, framed


@given(st.binary(max_size=200))
def test_what_is_framed_is_read_again(data: bytes) -> None:
    assert list(PacketReader().feed(framed(data))) == [Packet(data)]


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_the_pieces_that_bytes_come_in_do_not_matter(
    packets: list[bytes], data: st.DataObject
) -> None:
    line = b"+".join(map(framed, packets)) + b"\x03-"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=8)))
    reader, found = PacketReader(), []
    for first, end in zip([0, *cuts], [*cuts, len(line)], strict=True):
        found += reader.feed(line[first:end])
    assert found == list(PacketReader().feed(line))
    assert [one for one in found if isinstance(one, Packet)] == list(map(Packet, packets))
    assert found[-2:] == [LineSign.INTERRUPT, LineSign.NACK]


@given(st.binary(max_size=300))
def test_a_packet_is_read_behind_any_bytes(noise: bytes) -> None:
    reader = PacketReader()
    for one in reader.feed(noise):
        assert isinstance(one, (Packet, LineSign))
    # What is unfinished of the noise takes in the first one, and a checksum, at most.
    found = [*reader.feed(framed(b"g") * 3)]
    assert found[-1] == Packet(b"g")


def test_a_checksum_that_is_wrong_garbles_the_packet() -> None:
    assert list(PacketReader().feed(b"$g#00$g#67")) == [LineSign.GARBLED, Packet(b"g")]


def test_a_packet_whose_end_was_lost_costs_no_other() -> None:
    assert list(PacketReader().feed(b"$m1,4" + framed(b"g"))) == [Packet(b"g")]


def test_a_packet_that_is_too_long_is_garbled_and_not_kept() -> None:
    reader = PacketReader()
    list(reader.feed(b"$" + b"m" * (4 * PACKET_SIZE)))
    assert reader._body is not None
    assert len(reader._body) <= PACKET_SIZE + 1
    reader = PacketReader()
    assert list(reader.feed(framed(b"m" * PACKET_SIZE))) == [Packet(b"m" * PACKET_SIZE)]
    assert list(reader.feed(framed(b"m" * (PACKET_SIZE + 1)))) == [LineSign.GARBLED]
    assert list(reader.feed(framed(b"?"))) == [Packet(b"?")]
