"""
Every buffer that is hashed or signed, one function each, and the only ones. Spec 01 §11.

Buffers of different purposes can not be mistaken for each other: all but the 80 bytes of the
key exchange start with the hash of a prefix of their own.
"""

from typing import Final

from offset_crypto.hashing import hash_lock, is_lower, response_hash, sha512_256
from offset_proto import canonical
from offset_proto.messages.friend import MoveToken
from offset_proto.messages.index import MutationsUpdate
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.messages.report import CountersInfo, McInfo, MoveTokenHashedReport, TokenInfo
from offset_proto.types import (
    U128,
    Currency,
    DhPublicKey,
    HashedLock,
    HashResult,
    InvoiceId,
    PublicKey,
    RandValue,
    Salt,
    Signature,
    Uid,
)

__all__ = [
    "commit_buffer",
    "exchange_dh_buffer",
    "info_hash",
    "initial_move_token",
    "initial_token_info",
    "move_token_buffer",
    "move_token_hashed_buffer",
    "mutations_update_buffer",
    "prefix_hash",
    "receipt_buffer",
    "response_buffer",
    "time_hash",
]

# "FUND_RESPONSE" has no S after FUND; comments in the original's schema say otherwise. Spec 01 §3.1.
_FUND_RESPONSE: Final = sha512_256(b"FUND_RESPONSE")
_NEXT: Final = sha512_256(b"NEXT")
_MUTATIONS_UPDATE: Final = sha512_256(b"MUTATIONS_UPDATE")
_HASH_CLOCK: Final = sha512_256(b"HASH_CLOCK")


def exchange_dh_buffer(dh_public_key: DhPublicKey, rand_nonce: RandValue, key_salt: Salt) -> bytes:
    """80 bytes; *rand_nonce* is the one that the peer sent. Spec 01 §11.1."""
    return dh_public_key + rand_nonce + key_salt


def response_buffer(
    *,
    request_id: Uid,
    rand_nonce: RandValue,
    src_hashed_lock: HashedLock,
    dest_hashed_lock: HashedLock,
    is_complete: bool,
    dest_payment: U128,
    total_dest_payment: U128,
    invoice_id: InvoiceId,
    currency: Currency,
) -> bytes:
    """What the destination signs when it accepts a request: 193 bytes and the currency. Spec 01 §11.2."""
    return _funds_buffer(
        response_hash(request_id, rand_nonce),
        src_hashed_lock,
        dest_hashed_lock,
        is_complete,
        canonical.u128(dest_payment) + canonical.u128(total_dest_payment) + invoice_id + currency.encode(),
    )


def receipt_buffer(receipt: Receipt) -> bytes:
    """The same buffer, rebuilt from a receipt. Spec 01 §11.2."""
    return _funds_buffer(
        receipt.response_hash,
        hash_lock(receipt.src_plain_lock),
        hash_lock(receipt.dest_plain_lock),
        receipt.is_complete,
        _amounts(receipt),
    )


def commit_buffer(commit: Commit) -> bytes:
    """The same buffer, rebuilt from a commit, which is always complete. Spec 01 §11.2."""
    return _funds_buffer(
        commit.response_hash,
        hash_lock(commit.src_plain_lock),
        commit.dest_hashed_lock,
        True,
        _amounts(commit),
    )


def _amounts(paid: Commit | Receipt) -> bytes:
    amounts = canonical.u128(paid.dest_payment) + canonical.u128(paid.total_dest_payment)
    return amounts + paid.invoice_id + paid.currency.encode()


def _funds_buffer(
    responded: HashResult, source: HashedLock, destination: HashedLock, is_complete: bool, amounts: bytes
) -> bytes:
    complete = b"\x01" if is_complete else b"\x00"
    return b"".join((_FUND_RESPONSE, responded, source, destination, complete, amounts))


def prefix_hash(token: MoveToken) -> HashResult:
    """Hash of what a move token carries: old token, operations, relays, currencies. Spec 01 §11.3."""
    return sha512_256(
        token.old_token
        + canonical.list_of(canonical.currency_operations(block) for block in token.currencies_operations)
        + canonical.option(token.opt_local_relays, canonical.relay_addresses)
        + canonical.option(token.opt_active_currencies, canonical.currencies)
    )


def info_hash(info: TokenInfo) -> HashResult:
    """Hash of the channel's state after a token, as its signer sees it. Spec 01 §10.3."""
    return sha512_256(canonical.token_info(info))


def move_token_buffer(token: MoveToken) -> bytes:
    """112 bytes that ``new_token`` signs; ``new_token`` itself is not looked at. Spec 01 §11.3."""
    return _NEXT + prefix_hash(token) + token.info_hash + token.rand_nonce


def move_token_hashed_buffer(token: MoveTokenHashedReport) -> bytes:
    """The same 112 bytes, rebuilt from a token that is kept as its hash. Spec 01 §11.3."""
    return _NEXT + token.prefix_hash + info_hash(token.token_info) + token.rand_nonce


def mutations_update_buffer(update: MutationsUpdate) -> bytes:
    """What a node signs for index servers; the rates are not covered [QUIRK]. Spec 01 §11.4."""
    return b"".join(
        (
            _MUTATIONS_UPDATE,
            update.node_public_key,
            canonical.list_of(canonical.index_mutation(mutation) for mutation in update.index_mutations),
            update.time_hash,
            update.session_id,
            canonical.u64(update.counter),
            update.rand_nonce,
        )
    )


def time_hash(expansion: tuple[HashResult, ...]) -> HashResult:
    """An index server's hash of a tick: its own random leaf and its neighbours' hashes. Spec 01 §11.6."""
    return sha512_256(_HASH_CLOCK + b"".join(expansion))


def initial_token_info(first: PublicKey, second: PublicKey) -> TokenInfo:
    """State of a fresh channel, as the lower key sees it. Spec 01 §11.5."""
    low, high = (first, second) if is_lower(first, second) else (second, first)
    return TokenInfo(
        McInfo(local_public_key=low, remote_public_key=high, balances=()),
        CountersInfo(inconsistency_counter=0, move_token_counter=0),
    )


def initial_move_token(first: PublicKey, second: PublicKey) -> MoveToken:
    """
    The unsigned token that both sides of a fresh channel start from, in either order of the keys.

    It counts as sent by the lower key. Its ``new_token`` is no signature and is never verified.
    Spec 01 §11.5, 04 §6.2 [WIRE].
    """
    info = initial_token_info(first, second)
    low, high = info.mc.local_public_key, info.mc.remote_public_key
    return MoveToken(
        old_token=Signature(low + bytes(32)),
        currencies_operations=(),
        opt_local_relays=None,
        opt_active_currencies=None,
        info_hash=info_hash(info),
        rand_nonce=RandValue(sha512_256(high)[: RandValue.SIZE]),
        new_token=Signature(high + bytes(32)),
    )
