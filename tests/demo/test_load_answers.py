"""Reading HTTP answers, WebSocket messages and lines from bytes in any pieces."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.demo.load.answers import Answer, AnswerReader, MalformedError
from opsbook.demo.load.frames import CLOSE, PING, TEXT, Message, MessageReader, accept_key, masked
from opsbook.demo.load.lines import LineReader


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def read(data: bytes, cuts: list[int]) -> Answer | None:
    reader = AnswerReader()
    answers = [answer for piece in pieces(data, cuts) if (answer := reader.feed(piece)) is not None]
    assert len(answers) <= 1
    return answers[0] if answers else None


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.binary(max_size=300), CUTS)
def test_an_answer_with_a_length_is_read_whole_however_it_is_cut(body: bytes, cuts: list[int]) -> None:
    """The pieces in which TCP delivers make no difference."""
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Version: 2.0\r\n\r\n%b" % (len(body), body)
    answer = read(data, cuts)
    assert answer == Answer(200, {"content-length": str(len(body)), "x-version": "2.0"}, body, keep=True)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), CUTS)
def test_a_chunked_answer_is_read_whole_however_it_is_cut(chunks: list[bytes], cuts: list[int]) -> None:
    """It is whole with the last, empty chunk and not before."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    data += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    answer = read(data, cuts)
    assert answer is not None
    assert answer.body == b"".join(chunks)
    assert read(data[:-1], cuts) is None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_an_answer_or_one_kind_of_error(data: bytes) -> None:
    """Nothing else may come out of the reader, whatever a broken server sends."""
    try:
        AnswerReader().feed(data)
    except MalformedError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
    ],
)
def test_what_breaks_the_protocol_is_refused(data: bytes) -> None:
    """A lenient reader would count a broken answer as a good one."""
    with pytest.raises(MalformedError):
        AnswerReader().feed(data)


def test_an_answer_without_length_ends_with_the_connection() -> None:
    """HTTP/1.0 servers answer so; the connection cannot be kept."""
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\nall of it") is None
    answer = reader.end()
    assert answer is not None
    assert (answer.body, answer.keep) == (b"all of it", False)


def test_an_end_in_the_middle_is_no_answer() -> None:
    """Less than the announced length is a truncated answer."""
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") is None
    assert reader.end() is None


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_whether_the_connection_may_be_kept(head: bytes, kept: bool) -> None:
    """As RFC 9112, section 9.3 says."""
    answer = AnswerReader().feed(head + b"Content-Length: 0\r\n\r\n")
    assert answer is not None
    assert kept == answer.keep


def test_an_interim_answer_is_not_the_answer() -> None:
    """100 Continue is followed by the real one."""
    answer = AnswerReader().feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    assert answer is not None
    assert answer.status == 204


def test_what_follows_switching_protocols_belongs_to_the_new_protocol() -> None:
    """A server may send its first message together with the 101."""
    answer = AnswerReader().feed(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi")
    assert answer is not None
    assert answer.rest == b"\x81\x02hi"


def server_frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    length = len(payload)
    first = (0x80 if final else 0) | opcode
    if length < 126:
        return struct.pack("!BB", first, length) + payload
    return struct.pack("!BBH", first, 126, length) + payload


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), CUTS)
def test_messages_are_read_whole_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    """Several messages may come in one piece, one message in several."""
    data = b"".join(server_frame(TEXT, payload) for payload in payloads)
    reader, messages = MessageReader(), []
    for piece in [*pieces(data, cuts), b""]:
        message = reader.feed(piece)
        while message is not None:
            messages.append(message)
            message = reader.feed(b"")
    assert [Message(TEXT, payload) for payload in payloads] == messages


def test_a_ping_between_the_fragments_of_a_message() -> None:
    """Control frames may come in the middle of a message (RFC 6455, section 5.4)."""
    reader = MessageReader()
    data = server_frame(TEXT, b"one ", final=False) + server_frame(PING, b"?") + server_frame(0, b"two")
    assert Message(PING, b"?") == reader.feed(data)
    assert Message(TEXT, b"one two") == reader.feed(b"")


def test_a_server_must_not_mask() -> None:
    """RFC 6455, section 5.1: the client must fail the connection."""
    with pytest.raises(MalformedError):
        MessageReader().feed(masked(TEXT, b"hi", b"abcd"))


def test_the_code_of_a_goodbye() -> None:
    """1005 stands for none."""
    assert Message(CLOSE, struct.pack("!H", 1001) + b"bye").close_code == 1001
    assert Message(CLOSE, b"").close_code == 1005


def test_the_accept_key_of_the_standard() -> None:
    """The example of RFC 6455, section 1.3."""
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_lines_come_one_by_one() -> None:
    """Whatever pieces they came in."""
    reader = LineReader()
    assert reader.feed(b"PONG") is None
    assert reader.feed(b" 1\r\nBYE\n") == "PONG 1"
    assert reader.feed(b"") == "BYE"
