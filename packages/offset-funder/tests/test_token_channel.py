"""The chain of tokens T0-T6 and R of spec 04 §13, recorded from the original; hostile tokens; resets."""

from dataclasses import replace

import pytest
from immutables import Map

from offset_crypto.hashing import hash_lock
from offset_crypto.identity import Identity
from offset_crypto.signed import move_token_buffer, prefix_hash, response_buffer
from offset_funder.channel_reset import ResetRefused, accept_reset, accept_terms, build_terms, check_terms, is_reset_of
from offset_funder.ledger import RequestReceived, RequestRefused
from offset_funder.mutations import apply_channel
from offset_funder.state import Incoming, Outgoing, TokenChannel, fresh_channel
from offset_funder.token_channel import Duplicate, InvalidMoveToken, Received, RetransmitOutgoing, TokenBuilder, receive
from offset_proto.messages.friend import (
    CollectSendFundsOp,
    CurrencyBalance,
    FriendsRoute,
    RequestSendFundsOp,
    ResetTerms,
    ResponseSendFundsOp,
)
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import (
    I128_MIN,
    Currency,
    InvoiceId,
    NetAddress,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

LOW, HIGH, D = (Identity(PrivateKey(bytes([number]) * 32)) for number in (1, 2, 3))
FST = Currency("FST")
RELAYS = (RelayAddress(PublicKey(b"\x03" * 32), NetAddress("127.0.0.1:1337")),)
Q = RequestSendFundsOp(
    Uid(b"\x03" * 16), hash_lock(PlainLock(b"\x01" * 32)), FriendsRoute((D.public_key,)), 10, 10, InvoiceId.zero(), 5
)
PREFIX_HASHES = [
    "d4185d7038d8eb12337ed9af3b807d544f0f41a03525d9670f5af474e5e0565e",
    "0c9b39e958b9d88e8014e79cea6132788a80e7343438af27520210fdcb6ebca8",
    "81f096aca408b382d863d45fabe86ea76897bfad423c4c19d196f9d3aee76b51",
    "829c149a0d20919082f7cf04fd26629ee36fd410856ddc58aaf321ce65b8331a",
    "18702cec2a30f18d4f76e1e040ace83685e6955f5e2a2a9a21169831f788c07a",
    "d72e2067654fd5a23bf9ec5bf596889bd6a796c513997a5cee3b6aeffa62f15a",
]
SIGNATURES = [
    "dadbd82b2816ec0f5e47da02692352e4b918aa95d689b5e3ec101700e76e8b324568b7194176caf2522e013615b8ec6df7d938205574fdf34f38a0829ebbd30c",
    "8fe9f85c6973d4e3df36b69aa954d788ecb9d071fa5dcef1e66affd7624354922d95c8791374a89b0f3b33416d260c86974bd4298418a94bd7dad3562132d702",
    "9a830bc56fe79e5a1bca26d42ca966ddb6582b675abcbd85180b253a563dee297a9560a0b97ba18e3650b949f9bfc09a1959727b8f329abb4570c386a108fa0c",
    "818d92f13975331a0c6369de6a2c439ef1ca92e87e714386064c141540fa1fe626b9c93be9cf8c6cb6b6ec188563ddf1c831447f9de1f1e866a5c85b08c74506",
    "a8f5ee965c7f013a397954207567131a60db615e99f933a6f0bff38906379bc72f2460bf697cffca175119ed3d47a5fb158ab856048d135bc588b1b88868fb06",
    "0c41f650630b6a27bb3294006bb139477fa45d55e7153a8e673e24c5b01053456e0c33c7289adb288a25f7476527a16715201563ef226d15209cf606c3b18700",
]


def _response() -> ResponseSendFundsOp:
    nonce, lock = RandValue(b"\x05" * 16), hash_lock(PlainLock(b"\x02" * 32))
    buffer = response_buffer(
        request_id=Q.request_id,
        rand_nonce=nonce,
        src_hashed_lock=Q.src_hashed_lock,
        dest_hashed_lock=lock,
        is_complete=True,
        dest_payment=10,
        total_dest_payment=10,
        invoice_id=Q.invoice_id,
        currency=FST,
    )
    return ResponseSendFundsOp(Q.request_id, lock, True, nonce, D.sign(buffer))


COLLECT = CollectSendFundsOp(Q.request_id, PlainLock(b"\x01" * 32), PlainLock(b"\x02" * 32))
STEPS = [
    (HIGH, RELAYS, (FST,), None, 0x07),
    (LOW, None, (FST,), None, 0x08),
    (HIGH, None, None, Q, 0x09),
    (LOW, None, None, _response(), 0x0A),
    (HIGH, None, None, None, 0x0B),
    (LOW, None, None, COLLECT, 0x0C),
]


def _send(channel: TokenChannel, signer: Identity, relays=None, currencies=None, op=None, nonce=0x55):
    builder = TokenBuilder(channel, currencies)
    if op is not None:
        builder.add(FST, op)
    token, mutations = builder.finish(relays, RandValue(bytes([nonce]) * 16), signer.sign)
    for mutation in mutations:
        channel = apply_channel(channel, mutation)
    return channel, token


def _take(channel: TokenChannel, token, limit: int = 100) -> TokenChannel:
    received = receive(channel, token, {FST: limit})
    assert isinstance(received, Received)
    for mutation in received.mutations:
        channel = apply_channel(channel, mutation)
    return channel


def _play(steps: int):
    """Both channels after so many steps of the chain, and the tokens."""
    low, high = LOW.public_key, HIGH.public_key
    channels = {low: fresh_channel(low, high), high: fresh_channel(high, low)}
    tokens = []
    for signer, *parts in STEPS[:steps]:
        own, other = signer.public_key, high if signer is LOW else low
        channels[own], token = _send(channels[own], signer, *parts)
        channels[other] = _take(channels[other], token)
        tokens.append(token)
    return channels[low], channels[high], tokens


def test_recorded_chain():
    """Spec 04 §13 T1-T6: every prefix hash and signature."""
    low, high, tokens = _play(6)
    assert [prefix_hash(token).hex() for token in tokens] == PREFIX_HASHES
    assert [token.new_token.hex() for token in tokens] == SIGNATURES
    assert low.ledgers[FST].balance == 15
    assert high.ledgers[FST].balance == -15


def test_birth():
    """Spec 04 §6.2: the low side has sent the initial token, the high side holds it."""
    low, high, _ = _play(0)
    assert isinstance(low.direction, Outgoing)
    assert isinstance(high.direction, Incoming)
    assert low.last_incoming is None
    assert isinstance(receive(high, low.direction.move_token_out, {}), Duplicate)


def test_repetition():
    """Spec 04 §11-10: twice is once; after an answer it asks for the answer again; two steps old is a break."""
    low, _, tokens = _play(3)
    assert isinstance(receive(low, tokens[2], {}), Duplicate)
    assert isinstance(receive(low, replace(tokens[2], info_hash=tokens[1].info_hash), {}), Duplicate)
    answered, _ = _send(low, LOW)
    assert isinstance(receive(answered, tokens[2], {}), RetransmitOutgoing)
    for old in tokens[:2]:
        with pytest.raises(InvalidMoveToken, match="ChainInconsistency"):
            receive(answered, old, {})


@pytest.mark.parametrize("member", ["old_token", "new_token", "rand_nonce", "info_hash"])
def test_one_flipped_bit(member):
    """Spec 04 §11-18: the next token with any bit changed is refused, and the channel is as before."""
    low, high, _ = _play(2)
    _, token = _send(high, HIGH, op=Q)
    value = getattr(token, member)
    altered = replace(token, **{member: type(value)(bytes([value[0] ^ 1]) + value[1:])})
    with pytest.raises(InvalidMoveToken):
        receive(low, altered, {FST: 100})
    assert isinstance(receive(low, token, {FST: 100}), Received)


def test_the_second_operation_fails_and_nothing_is_applied():
    """Spec 04 §11-9: atomic; the index within the block is told."""
    low, high, _ = _play(2)
    other = replace(Q, request_id=Uid(b"\x04" * 16))
    builder = TokenBuilder(high)
    builder.add(FST, Q)
    builder.add(FST, other)
    token, _ = builder.finish(None, RandValue(b"\x01" * 16), HIGH.sign)
    ops = token.currencies_operations[0]
    twice = replace(token, currencies_operations=(replace(ops, operations=(Q, Q)),))
    twice = replace(twice, new_token=HIGH.sign(move_token_buffer(twice)))
    with pytest.raises(InvalidMoveToken) as raised:
        receive(low, twice, {FST: 100})
    assert raised.value.failed_operation == (1, "RequestAlreadyExists")
    assert isinstance(receive(low, token, {FST: 100}), Received)


def test_a_friend_may_name_a_currency_twice():
    """Spec 04 §6.4: several groups of one currency count in their order, like one; so does a list of currencies."""
    low, high, _ = _play(2)
    builder = TokenBuilder(high)
    builder.add(FST, Q)
    builder.add(FST, replace(Q, request_id=Uid(b"\x04" * 16)))
    token, _ = builder.finish(None, RandValue(b"\x01" * 16), HIGH.sign)
    (group,) = token.currencies_operations  # ours makes one group
    groups = tuple(replace(group, operations=(op,)) for op in group.operations)
    other = replace(token, currencies_operations=groups, opt_active_currencies=(FST, FST))
    other = replace(other, new_token=HIGH.sign(move_token_buffer(other)))
    received = receive(low, other, {FST: 100})
    assert isinstance(received, Received)
    assert [[output.op.request_id[0] for output in outputs] for _, outputs in received.outputs] == [[3], [4]]
    assert _take(low, other).ledgers == _take(low, token).ledgers
    short = receive(low, other, {FST: 29})  # the debt limit holds for both together
    assert isinstance(short, Received)
    assert [type(output) for _, outputs in short.outputs for output in outputs] == [RequestReceived, RequestRefused]


def test_a_currency_in_use_can_not_be_left_out():
    """Spec 04 §6.4-2; a currency of nobody's ledger can."""
    low, high, _ = _play(2)
    with pytest.raises(Exception, match="CanNotRemoveCurrencyInUse"):
        TokenBuilder(high, (Currency("X"),))
    _, token = _send(high, HIGH, currencies=(FST, Currency("X")))
    received = receive(low, token, {})
    assert isinstance(received, Received)
    assert received.activated == ()


def test_terms_and_reset():
    """Spec 04 §7.2, §7.4, §13 R: balance plus what the friend froze; the accepting side negates, order kept."""
    low, _, _ = _play(3)
    assert build_terms(low, Signature.zero()).balance_for_reset == (CurrencyBalance(FST, 15),)
    terms = ResetTerms(Signature(b"\x55" * 64), 1, (CurrencyBalance(FST, -15),))
    nonce = RandValue(b"\x0d" * 16)
    accepted = accept_terms(
        LOW.public_key, HIGH.public_key, terms, relays=RELAYS, previous=None, rand_nonce=nonce, sign=LOW.sign
    )
    assert isinstance(accepted.direction, Outgoing)
    token = accepted.direction.move_token_out
    assert token.new_token.hex() == (
        "116ec537241f6956e280266fc623c08c5ef9f23abd96050bd97a305f3a3695d0"
        "630dda337585ad34b2f3547fd4a24b105ab3c00d0f29279520efb0e284d1df06"
    )
    assert accepted.ledgers[FST].balance == 15
    assert is_reset_of(accepted, terms)
    assert not is_reset_of(accepted, replace(terms, inconsistency_counter=2))
    other = accept_reset(HIGH.public_key, LOW.public_key, terms, token)
    assert other is not None
    assert other.ledgers[FST].balance == -15
    for bad in (
        replace(token, rand_nonce=RandValue.zero()),
        replace(token, old_token=Signature.zero()),
        replace(token, info_hash=token.info_hash[:0] + type(token.info_hash).zero()),
    ):
        assert accept_reset(HIGH.public_key, LOW.public_key, terms, bad) is None


def test_terms_that_can_not_be_accepted():
    """D36, D37: -2**127, and a currency twice."""
    for balances in ([CurrencyBalance(FST, I128_MIN)], [CurrencyBalance(FST, 1), CurrencyBalance(FST, 2)]):
        with pytest.raises(ResetRefused):
            check_terms(ResetTerms(Signature.zero(), 1, tuple(balances)))


def test_persistent_maps():
    """A channel shares its ledgers with the one before; the old one is untouched."""
    _, high, _ = _play(2)
    before = high.ledgers
    after, _ = _send(high, HIGH, op=Q)
    assert isinstance(before, Map)
    assert before[FST].local_pending_debt == 0
    assert after.ledgers[FST].local_pending_debt == 15
