"""Messages to bytes and back; expected bytes are those of the specification, recorded from the original."""

import random
import struct
from dataclasses import replace

import pytest

from offset_proto import wire
from offset_proto.errors import LimitExceeded, MalformedMessage, PeerError
from offset_proto.messages.app import (
    AppPermissions,
    AppToAppServer,
    ClientResponseRoutes,
    PaymentNotFound,
    ReportMutations,
    RequestClosePayment,
    ResponseClosePayment,
    RoutesFailure,
)
from offset_proto.messages.extensions import AppGreeting, Extension
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.history import EntryKind, HistoryEntry, HistoryPage
from offset_proto.messages.index import TimeHash
from offset_proto.messages.keepalive import KeepAlive, Message
from offset_proto.messages.relay import Accept, Connect, InitConnection, Listen, RejectConnection
from offset_proto.messages.report import IndexClientMutationReport, SetConnectedServer
from offset_proto.packing import has_several_segments
from offset_proto.permissions import ExtendedPermissions
from offset_proto.types import Currency, HashResult, InvoiceId, PaymentId, PublicKey, Uid

KEY = PublicKey(bytes(range(1, 33)))
KEY_HEX = "ff080706050403020103100f0e0d0c0b0a091817161514131211201f1e1d1c1b1a19"
UID = Uid(bytes([0x16]) * 16)


@pytest.mark.parametrize(
    ("codec", "message", "packed"),
    [
        (wire.INIT_CONNECTION, Listen(), "10035001010001"),
        (wire.INIT_CONNECTION, Accept(KEY), "10085001010101400110" + "04" + KEY_HEX),
        (wire.INIT_CONNECTION, Connect(KEY), "10085001010102400110" + "04" + KEY_HEX),
        (wire.REJECT_CONNECTION, RejectConnection(KEY), "1007400140011004" + KEY_HEX),
        (wire.KA_MESSAGE, KeepAlive(), "10035001010001"),
        (wire.KA_MESSAGE, Message(bytes.fromhex("10035001010001")), "1004500101010111013a5f100350010101"),
        (wire.APP_PERMISSIONS, AppPermissions(True, True, True, True), "10021001010f"),
        (wire.APP_PERMISSIONS, AppPermissions(True, False, True, False), "100210010105"),
        (
            wire.APP_TO_APP_SERVER,
            AppToAppServer(UID, RequestClosePayment(PaymentId(bytes(range(1, 17))))),
            "100b4002410401510c01011002ff1616161616161616011616161616161616010440011002ff080706050403020101100f0e0d0c0b0a09",
        ),
        (
            wire.APP_SERVER_TO_APP,
            ReportMutations(UID, ()),
            "100a50010101025001020000410401110d071002ff1616161616161616011616161616161616500101",
        ),
        (
            wire.APP_SERVER_TO_APP,
            ReportMutations(None, (IndexClientMutationReport(SetConnectedServer(None)),)),
            "100b5001010102500102010100001101175104010101015001010502010000",
        ),
        (
            wire.APP_SERVER_TO_APP,
            ClientResponseRoutes(UID, RoutesFailure()),
            "100a50010101034002410401510c01011002ff161616161616161601161616161616161601010000",
        ),
        (
            wire.APP_SERVER_TO_APP,
            ResponseClosePayment(PaymentId(bytes([0x16]) * 16), PaymentNotFound()),
            "100a50010101014002410401510c01011002ff16161616161616160116161616161616160001",
        ),
        (
            wire.INDEX_SERVER_TO_CLIENT,
            TimeHash(HashResult(bytes(range(32)))),
            "10085001010000400110047f07060504030201ff0f0e0d0c0b0a09080217161514131211101f1e1d1c1b1a1918",
        ),
    ],
)
def test_examples_of_the_specification(codec, message, packed):
    """Spec 02 §11, 03 §3, 06 §3, 07 §2.3: both directions."""
    assert message == codec.decode(bytes.fromhex(packed))
    assert packed == codec.encode(message).hex()


@pytest.mark.parametrize("data", [b"", b"\x10", b"\x10\x03P\x01\x01\x00", b"\xff" * 40, b"\x00\xff" * 8])
def test_truncated_and_garbage_are_malformed(data):
    """Spec 01 §9: empty or truncated input is an error, never a default."""
    with pytest.raises(MalformedMessage):
        wire.INIT_CONNECTION.decode(data)


def _pack(words: bytes) -> bytes:
    """Each word by its tag, without runs but those that the packing asks for."""
    packed = bytearray()
    for start in range(0, len(words), 8):
        word = words[start : start + 8]
        packed.append(sum(1 << bit for bit, byte in enumerate(word) if byte))
        packed += bytes(byte for byte in word if byte)
        if not any(word) or all(word):
            packed.append(0)
    return bytes(packed)


def _segmented(*segments: bytes) -> bytes:
    """The packed message of these segments, each a multiple of eight bytes."""
    table = struct.pack("<I", len(segments) - 1) + b"".join(struct.pack("<I", len(part) // 8) for part in segments)
    return _pack(table + bytes(-len(table) % 8) + b"".join(segments))


FAR_ROOT = struct.pack("<II", 2, 1)  # far pointer to word 0 of segment 1
PERMISSIONS = struct.pack("<IHH", 0, 1, 0) + struct.pack("<Q", 0b1010)  # struct of one data word; buyer and config


def test_several_segments():
    """Spec 01 §9: the original's messages over 8 KiB have them; the order of the segments is free."""
    whole = _segmented(FAR_ROOT, PERMISSIONS)
    expected = AppPermissions(routes=False, buyer=True, seller=False, config=True)
    assert wire.APP_PERMISSIONS.decode(whole) == expected
    assert wire.APP_PERMISSIONS.decode(whole + b"\xff\xff") == expected
    assert wire.APP_PERMISSIONS.decode(_segmented(FAR_ROOT, PERMISSIONS, b"\x07" * 80)) == expected


@pytest.mark.parametrize("count", [1, 40, 41, 42, 43, 44, 45, 5000])
def test_what_we_write_has_one_segment(count):
    """Also where it is longer than the first segment that a message begins with, which has 8 KiB. Spec 01 §9."""
    page = HistoryPage(UID, tuple(_entry(number) for number in range(count)), count, count, 0, True, 0)
    packed = wire.APP_SERVER_TO_APP.encode(page)
    assert not has_several_segments(packed)
    assert wire.APP_SERVER_TO_APP.decode(packed) == page


def _entry(number: int) -> HistoryEntry:
    ids = KEY, InvoiceId(KEY), PaymentId(UID), UID
    amounts = number - 2**127, 2**127 - number - 1, 2**128 - 1 - number, number
    return HistoryEntry(number, 2**63, KEY, Currency("x" * 16), EntryKind.PAID, *amounts, *ids, "ж" * 100, KEY)


def test_segments_that_are_not_all_there():
    """The library ends the process for such a message, by an exception in a destructor; it must never see one."""
    whole = _segmented(FAR_ROOT, PERMISSIONS, bytes(800), b"\x07" * 80)
    for end in range(len(whole)):
        with pytest.raises(MalformedMessage):
            wire.APP_PERMISSIONS.decode(whole[:end])
    found_in_fuzzing = "0108500101000040011004ff82a2f2c91c18dd810365ae468e4fd7aeab8a9fa5908dff8c9440ae1661b7d11444"
    with pytest.raises(MalformedMessage):
        wire.INDEX_SERVER_TO_CLIENT.decode(bytes.fromhex(found_in_fuzzing))


@pytest.mark.parametrize(
    "packed",
    [
        _pack(struct.pack("<II", 511, 1)) + bytes(2000),  # 512 segments
        _pack(struct.pack("<II", 2**32 - 1, 1)),
        _pack(struct.pack("<IIII", 1, 2**31, 2**31, 0)),  # 32 GiB
        _pack(struct.pack("<IIII", 1, 1024 * 1024, 1, 0)),  # one word over the limit
    ],
)
def test_announced_sizes_are_limited(packed):
    """No memory is taken for what is only announced."""
    with pytest.raises(LimitExceeded):
        wire.APP_PERMISSIONS.decode(packed)


def test_a_run_ends_with_the_table():
    """Spec 01 §9: a run of zeros or of raw words must not reach from the table into the segments."""
    table = b"\xff" + struct.pack("<II", 1, 1) + b"\x01" + struct.pack("<II", 2, 0)
    assert wire.APP_PERMISSIONS.decode(table + _pack(FAR_ROOT + PERMISSIONS)).buyer
    joined = b"\xff" + struct.pack("<II", 1, 1) + b"\x02" + struct.pack("<II", 2, 0) + FAR_ROOT
    with pytest.raises(MalformedMessage, match="a run reaches"):
        wire.APP_PERMISSIONS.decode(joined + _pack(PERMISSIONS))


def test_unknown_union_member_is_malformed():
    """Spec 01 §9: a discriminant that is not in the schema."""
    with pytest.raises(MalformedMessage):
        wire.INIT_CONNECTION.decode(bytes.fromhex("1003500101030001"))


def test_trailing_bytes_are_ignored():
    """Spec 01 §9 [QUIRK]."""
    assert Listen() == wire.INIT_CONNECTION.decode(bytes.fromhex("10035001010001") + b"junk")


def test_null_root_reads_as_defaults():
    """Spec 01 §9 [QUIRK]: a null root is the first member of the union."""
    assert KeepAlive() == wire.KA_MESSAGE.decode(bytes.fromhex("10010000"))


def test_long_currency_exceeds_a_limit_and_is_told_from_malformed():
    """D10: 17 bytes of currency on the wire; the error is LimitExceeded, not MalformedMessage."""
    packed = bytes.fromhex("10054001110192ff414243444546474801494a4b4c4d4e4f500151")
    with pytest.raises(LimitExceeded, match="CurrencyNameTooLong"):
        wire.codec("common", "Currency").decode(packed)
    assert wire.codec("common", "Currency").decode(packed, clip=True) == "ABCDEFGHIJKLMNOP"


def test_a_list_can_not_be_longer_than_its_message():
    """A short message that announces a million list items costs nothing."""
    words = [
        0x0001_0001_0000_0000,  # root: FriendMessage, one data word, one pointer
        1,  # inconsistencyError
        0x0002_0001_0000_0000,  # ResetTerms, one data word, two pointers
        0,
        0,
        7 << 32 | 1,  # a composite list of no words ...
        2**20 << 2,  # ... of a million structs without size
    ]
    body = b"".join(word.to_bytes(8, "little") for word in words)
    data = _pack(bytes(4) + len(words).to_bytes(4, "little") + body)
    assert len(data) < 40
    with pytest.raises(PeerError):
        wire.FRIEND_MESSAGE.decode(data)


def _pack(data: bytes) -> bytes:
    """The packing of Cap'n Proto, without its runs."""
    packed = bytearray()
    for start in range(0, len(data), 8):
        word = data[start : start + 8]
        packed.append(sum(1 << i for i, byte in enumerate(word) if byte))
        packed += bytes(byte for byte in word if byte)
        if word == bytes(8):
            packed.append(0)
        if all(word):
            packed.append(0)
    return bytes(packed)


def test_flipped_bits_give_a_message_or_a_peer_error():
    """Whatever arrives, decoding ends with a message or a PeerError."""
    source = random.Random(7)
    valid = [
        bytes.fromhex("1004500101010111013a5f100350010101"),
        bytes.fromhex("100b5001010102500102010100001101175104010101015001010502010000"),
        bytes.fromhex("1017500101010150010201014104011125171008ffa703b89e6afbad64078c323fa6935cd02fd2a8ccb39674a5"),
    ]
    codecs = [wire.KA_MESSAGE, wire.APP_SERVER_TO_APP, wire.FRIEND_MESSAGE, wire.NODE_REPORT]
    for _ in range(5000):
        data = bytearray(source.choice(valid))
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        codec = source.choice(codecs)
        try:
            codec.decode(bytes(data))
        except PeerError:
            continue


def test_messages_are_frozen_values():
    """Equal by value and class, hashable, not assignable."""
    assert Accept(KEY) == Accept(PublicKey(bytes(KEY)))
    assert Accept(KEY) != Connect(KEY)
    assert len({Accept(KEY), Accept(KEY), Connect(KEY)}) == 2
    with pytest.raises(AttributeError):
        Accept(KEY).public_key = KEY
    assert repr(Accept(KEY)).startswith("Accept(public_key=PublicKey(AQIDBAUGBwgJ")
    assert InitConnection
    assert FriendMessage


GREETING = AppGreeting(
    routes=True,
    buyer=False,
    seller=True,
    config=False,
    extensions=int(Extension.OPEN_PAYMENTS | Extension.GIVE_UP),
    history=True,
)


def test_an_original_app_reads_the_flags_of_a_greeting_and_nothing_else() -> None:
    """Its struct has one data word; the second one is not there for it. Spec 12 §2."""
    permissions = wire.APP_PERMISSIONS.decode(wire.APP_GREETING.encode(GREETING))
    assert permissions == AppPermissions(routes=True, buyer=False, seller=True, config=False)


def test_an_original_node_announces_no_extension() -> None:
    """These bytes are recorded from the original; see the table above."""
    assert wire.APP_GREETING.decode(bytes.fromhex("100210010105")) == AppGreeting(
        routes=True, buyer=False, seller=True, config=False, extensions=0, history=False
    )


def test_a_page_of_an_older_node_does_not_say_that_it_is_whole() -> None:
    """These bytes are recorded from a node that did not know the field. Spec 12 §6."""
    old = "100c50010101065003020002410401110d071002ff010101010101010101010101010101010150040d"
    assert wire.APP_SERVER_TO_APP.decode(bytes.fromhex(old)) == HistoryPage(Uid(b"\x01" * 16), (), 0, 0, 0, False, 0)


def test_a_message_that_goes_on_from_another_one() -> None:
    """Its fields follow those of that one; it is compared, shown and replaced with all of them."""
    less = AppPermissions(routes=True, buyer=False, seller=True, config=False)
    more = ExtendedPermissions(True, False, True, False, True)
    assert isinstance(more, AppPermissions)
    assert more != less
    assert more != replace(more, history=False)
    assert len({more, replace(more, routes=True), replace(more, routes=False)}) == 2
    assert repr(more) == "ExtendedPermissions(routes=True, buyer=False, seller=True, config=False, history=True)"
    with pytest.raises(AttributeError):
        more.routes = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("codec", "packed"),
    [
        (wire.APP_SERVER_TO_APP, "1003500101017f0000"),  # a union of the tag 0x7f, with no payload
        (  # the recorded request to close a payment, whose union has the tag 0x7f in place of 4
            wire.APP_TO_APP_SERVER,
            "100b4002410401510c01011002ff1616161616161616011616161616161616017f40011002ff080706050403020101100f0e0d0c0b0a09",
        ),
    ],
)
def test_a_member_that_is_not_known_is_an_error_that_says_so(codec: wire.Codec[object], packed: str) -> None:
    """It can not be left out: nobody can tell what would be missed. Spec 12 §1."""
    with pytest.raises(MalformedMessage, match="a member that this program does not know"):
        codec.decode(bytes.fromhex(packed))
