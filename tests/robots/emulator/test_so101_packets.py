"""Packets of the servo bus, whatever comes over the wire."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.so101_packets import BROADCAST, HEADER, LONGEST, Instruction, Parser, packet

FUZZ = settings(max_examples=100, deadline=None, database=None)

INSTRUCTIONS = st.builds(Instruction, st.integers(0, BROADCAST), st.integers(0, 255), st.binary(max_size=40))
LOOKS_LIKE_A_PACKET = st.sampled_from([b"\xff", HEADER, b"\xff\xff\x01", b"\x00", b"\x03\x02"])
NOISE = st.lists(LOOKS_LIKE_A_PACKET | st.binary(max_size=8), max_size=12).map(b"".join)


def wire(asked: Instruction) -> bytes:
    return packet(asked.servo, asked.code, asked.parameters)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


def parsed(parts: list[bytes]) -> list[Instruction]:
    parser = Parser()
    return [found for part in parts for found in parser.feed(part)]


def test_a_packet_is_as_the_servo_s_manual_has_it() -> None:
    assert packet(1, 1) == bytes.fromhex("ff ff 01 02 01 fb")
    assert packet(1, 2, bytes([56, 2])) == bytes.fromhex("ff ff 01 04 02 38 02 be")


@FUZZ
@given(st.lists(INSTRUCTIONS, max_size=5), st.lists(st.integers(0, 500), max_size=6))
def test_what_was_sent_comes_out_however_it_is_cut(asked: list[Instruction], cuts: list[int]) -> None:
    assert parsed(pieces(b"".join(map(wire, asked)), cuts)) == asked


@FUZZ
@given(NOISE, st.lists(st.integers(0, 100), max_size=6))
def test_noise_breaks_nothing_and_invents_nothing(noise: bytes, cuts: list[int]) -> None:
    found = parsed(pieces(noise, cuts))
    assert found == parsed([noise])
    assert all(wire(each) in noise for each in found)


@FUZZ
@given(NOISE, INSTRUCTIONS)
def test_what_comes_after_noise_is_heard_again(noise: bytes, asked: Instruction) -> None:
    sent = wire(asked)
    again = (LONGEST + 6) // len(sent) + 1  # noise can look like the beginning of the longest packet
    assert asked in parsed([noise, *[sent] * again])


@FUZZ
@given(NOISE, INSTRUCTIONS)
def test_a_packet_whose_rest_never_came_is_forgotten(noise: bytes, asked: Instruction) -> None:
    parser = Parser()
    parser.feed(noise)
    parser.clear()
    assert not parser.waiting
    assert parser.feed(wire(asked)) == [asked]
    assert not parser.waiting


def test_a_damaged_packet_is_not_carried_out() -> None:
    damaged = bytearray(packet(2, 3, bytes([40, 1])))
    damaged[5] ^= 1
    assert parsed([bytes(damaged) + packet(2, 1)]) == [Instruction(2, 1, b"")]
