"""Two secure channels joined by lists: handshake, messages, rekey, hostile peers. Spec 02 §5, §6."""

import random

import pytest

from offset_crypto.aead import DecryptionFailed, Opener, Sealer
from offset_crypto.identity import Identity, InvalidSignature
from offset_crypto.secure_channel import (
    Established,
    HandshakeFailed,
    MessageReceived,
    Rekeyed,
    RekeyInProgress,
    SecureChannel,
)
from offset_proto import wire
from offset_proto.errors import PeerError, RefusedError
from offset_proto.limits import REKEY_TICKS
from offset_proto.messages.channel import ChannelMessage, ExchangeDh, User
from offset_proto.types import DhPublicKey, PrivateKey, SymmetricKey

C = Identity(PrivateKey(bytes(range(32))))
S = Identity(PrivateKey(bytes(range(32, 64))))


def _pair(seed: int = 1, expected=(None, None)) -> tuple[SecureChannel, SecureChannel]:
    sources = random.Random(seed), random.Random(seed + 1)
    return tuple(
        SecureChannel(identity, expects, source.randbytes)
        for identity, expects, source in zip((C, S), expected, sources, strict=True)
    )


def _exchange(first: SecureChannel, second: SecureChannel) -> list:
    """Deliver until nothing is under way; returns what happened, with who it happened to."""
    happened = []
    moving = True
    while moving:
        moving = False
        for sender, receiver, name in ((first, second, "second"), (second, first, "first")):
            for message in sender.take_outgoing():
                happened += [(name, event) for event in receiver.receive(message)]
                moving = True
    return happened


def _open(seed: int = 1) -> tuple[SecureChannel, SecureChannel]:
    first, second = _pair(seed)
    first.start()
    second.start()
    _exchange(first, second)
    return first, second


def test_worked_example_of_the_specification():
    """Spec 02 §11: every byte from the handshake to the first keepalive, with the recorded draws."""
    draws = {
        "c": [b"\xc1" * 16, b"\xc2" * 32, b"\xc3" * 32],
        "s": [b"\x51" * 16, b"\x52" * 32, b"\x53" * 32],
    }
    c = SecureChannel(C, S.public_key, lambda size: draws["c"].pop(0), lambda: b"")
    s = SecureChannel(S, None, lambda size: draws["s"].pop(0), lambda: b"")
    c.start()
    s.start()
    (hello_c,), (hello_s,) = c.take_outgoing(), s.take_outgoing()
    assert hello_c.hex().startswith("101250010301014108014110014120011002ffc1c1c1c1c1c1c1c101")
    assert hello_s.hex().startswith("100d500103000041080141100100001002ff5151515151515151")
    c.receive(hello_s)
    s.receive(hello_c)
    (dh_c,), (dh_s,) = c.take_outgoing(), s.take_outgoing()
    assert dh_c.hex().endswith(
        "b8964473d8d0098007d4f96c8bacd7707759c2161cf3feacc26419b9d293e5f0a7f54af105dacc1f29a0f7499ff04266f27f602d657f606e0707116f784a12105b"
    )
    assert [Established(S.public_key)] == c.receive(dh_s)
    assert [Established(C.public_key)] == s.receive(dh_c)
    c.send(bytes.fromhex("1004500101010111013a5f100350010101"))
    (sealed,) = c.take_outgoing()
    assert sealed.hex() == (
        "0000000000000000000000002bc82ce0da1106f285c04bf834f871547f808d27df0f0854fb81bebe2b19eed16312c4c4"
        "685de7e4cbc50779cbe8eb7a714d46"
    )
    assert [MessageReceived(bytes.fromhex("1004500101010111013a5f100350010101"))] == s.receive(sealed)


def test_messages_arrive_in_order_and_empty_ones_too():
    """Boundaries are preserved one to one."""
    first, second = _open()
    for index in range(5):
        first.send(bytes([index]) * index)
    happened = _exchange(first, second)
    assert [("second", MessageReceived(bytes([i]) * i)) for i in range(5)] == happened


def test_the_expected_key_is_required():
    """UnexpectedRemotePublicKey; and an address meant for somebody else is refused (D5)."""
    first, second = _pair(expected=(C.public_key, None))
    first.start()
    second.start()
    (hello,) = second.take_outgoing()
    with pytest.raises(HandshakeFailed, match="UnexpectedRemotePublicKey"):
        first.receive(hello)
    (hello,) = first.take_outgoing()
    with pytest.raises(HandshakeFailed, match="somebody else"):
        second.receive(hello)


def test_reflection_is_refused():
    """D5: a peer that sends our own nonce back."""
    first, _ = _pair()
    first.start()
    (hello,) = first.take_outgoing()
    with pytest.raises(HandshakeFailed, match="reflects"):
        first.receive(hello)


def test_own_identity_as_peer_is_accepted():
    """Spec 02 §5.2: an app may share the node's identity."""
    first = SecureChannel(C, None, random.Random(1).randbytes)
    second = SecureChannel(C, C.public_key, random.Random(2).randbytes)
    first.start()
    second.start()
    assert len(_exchange(first, second)) == 2


def test_weak_and_unsigned_ephemeral_keys_are_refused():
    """D4: an all-zero secret; a signature that does not match."""
    first, second = _pair()
    first.start()
    second.start()
    (hello_first,), (hello_second,) = first.take_outgoing(), second.take_outgoing()
    second.receive(hello_first)
    first.receive(hello_second)
    answer = wire.EXCHANGE_DH.decode(second.take_outgoing()[0])
    forged = ExchangeDh(answer.dh_public_key, answer.rand_nonce, answer.key_salt, C.sign(b"other"))
    with pytest.raises(InvalidSignature):
        first.receive(wire.EXCHANGE_DH.encode(forged))
    zero = DhPublicKey.zero()
    signature = S.sign(zero + answer.rand_nonce + answer.key_salt)
    with pytest.raises(PeerError, match="low order"):
        first.receive(wire.EXCHANGE_DH.encode(ExchangeDh(zero, answer.rand_nonce, answer.key_salt, signature)))


@pytest.mark.parametrize("size", [0, 5, 11, 12, 27])
def test_short_messages_close_the_channel(size):
    """D1: fewer than 28 bytes can be no message."""
    first, _ = _open()
    with pytest.raises(DecryptionFailed):
        first.receive(bytes(size))


def test_replay_gap_and_change_are_refused_and_do_not_advance():
    """Spec 01 §7: exactly the next counter."""
    key = SymmetricKey(b"\x01" * 32)
    sealer, opener = Sealer(key), Opener(key)
    zero, one, two = (sealer.seal(bytes([index])) for index in range(3))
    assert opener.open(zero) == b"\x00"
    for bad in (zero, two, one[:-1] + bytes([one[-1] ^ 1])):
        with pytest.raises(DecryptionFailed):
            opener.open(bad)
    assert opener.open(one) == b"\x01"


def test_rekey_by_one_side_with_messages_under_way():
    """Spec 02 §6.5: what was sealed with the old key before the peer switched still arrives."""
    first, second = _open()
    first.rekey()
    first.send(b"under the old key")
    second.send(b"from before")
    with pytest.raises(RekeyInProgress):
        first.rekey()
    happened = _exchange(first, second)
    assert ("second", Rekeyed()) in happened
    assert ("first", Rekeyed()) in happened
    assert ("second", MessageReceived(b"under the old key")) in happened
    assert ("first", MessageReceived(b"from before")) in happened
    for _ in range(100):
        first.rekey()
        _exchange(first, second)
    second.send(b"after")
    assert [("first", MessageReceived(b"after"))] == _exchange(first, second)


def test_simultaneous_rekey():
    """Each takes the other's Rekey as the answer; no third one is sent."""
    first, second = _open()
    first.rekey()
    second.rekey()
    first.send(b"a")
    second.send(b"b")
    happened = _exchange(first, second)
    assert sum(1 for _, event in happened if event == Rekeyed()) == 2
    first.send(b"c")
    assert [("second", MessageReceived(b"c"))] == _exchange(first, second)


def test_rekey_starts_on_the_3601st_tick():
    """Spec 02 §6.5; and not again while one is pending."""
    first, _ = _open()
    for _ in range(REKEY_TICKS):
        first.tick()
    assert first.take_outgoing() == []
    first.tick()
    assert len(first.take_outgoing()) == 1
    for _ in range(2 * REKEY_TICKS):
        first.tick()
    assert first.take_outgoing() == []


def test_nothing_is_sent_before_the_handshake():
    """A refusal, not a message in the clear."""
    first, _ = _pair()
    with pytest.raises(RefusedError):
        first.send(b"secret")


def test_altered_handshakes_give_peer_errors_only():
    """One flipped bit anywhere: no channel, or a channel with the right peer; never another exception."""
    source = random.Random(5)
    for _ in range(300):
        first, second = _pair(seed=9)
        first.start()
        second.start()
        position = source.randrange(4)
        try:
            messages = [(first, second.take_outgoing()[0]), (second, first.take_outgoing()[0])]
            for index in range(4):
                if index == 2:
                    messages += [(first, second.take_outgoing()[0]), (second, first.take_outgoing()[0])]
                receiver, message = messages[index]
                data = bytearray(message)
                if index == position:
                    data[source.randrange(len(data))] ^= 1 << source.randrange(8)
                receiver.receive(bytes(data))
        except PeerError:
            continue


def test_padding_is_small_and_any_is_taken():
    """D6: we add 0 to 255 bytes, never the same; what the peer adds is its own affair."""
    first, _ = _open()
    sizes = set()
    for _ in range(300):
        first.send(b"x" * 100)
        (message,) = first.take_outgoing()
        sizes.add(len(message))
    assert len(sizes) > 50
    assert max(sizes) - min(sizes) <= 255 + 40  # the length of packed random bytes varies a little
    padded = wire.CHANNEL_MESSAGE.encode(ChannelMessage(bytes(65_535), User(b"hello")))
    assert wire.CHANNEL_MESSAGE.decode(padded).content == User(b"hello")
