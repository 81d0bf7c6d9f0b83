"""
What must hold between the fields of a whole database before a node may go on from it.

`rust_database` reads each field by itself; here they are compared with each other: keys with what is stored
under them, ledgers with their pending transactions and with the state that the last token was signed for, the
token with its hash and signature, payments with their transactions. Money is at stake: a node that went on
from a state that its friend never signed would break the channel, or sign a second successor of a token.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from offset_crypto.identity import InvalidSignature, verify
from offset_crypto.signed import (
    info_hash,
    initial_move_token,
    initial_token_info,
    move_token_buffer,
    move_token_hashed_buffer,
)
from offset_funder.invariants import check_channel, check_ledger
from offset_funder.state import (
    CanceledPayment,
    Consistent,
    Friend,
    FunderState,
    Incoming,
    Ledger,
    OpenInvoice,
    Outgoing,
    Payment,
    TokenChannel,
    hash_token,
)
from offset_node.state import NodeState
from offset_proto.canonical import flip
from offset_proto.errors import InvalidInput, InvariantBroken
from offset_proto.limits import NODE_RELAYS_MAX
from offset_proto.messages.report import BalanceInfo, CurrencyBalanceInfo, McInfo, MoveTokenHashedReport, TokenInfo
from offset_proto.text import format_b64
from offset_proto.types import Currency, PublicKey

__all__ = ["audit"]


def audit(state: NodeState) -> None:
    """
    Check all that one side of its friendships can check.

    Args:
        state: As read; every single field is well formed.

    Raises:
        InvalidInput: With the path of the first field that does not fit, in the words of spec 08 §6.2.
    """
    with _at("funder_state"):
        _check_funder(state.funder)
    with _at("index_client_config"), _at("index_servers"):
        _check_unique("public key", (server.public_key for server in state.index_servers))


@contextmanager
def _at(key: object) -> Iterator[None]:
    """Put *key* before the message of an error within."""
    try:
        yield
    except (InvalidInput, InvariantBroken) as error:
        raise InvalidInput(f"{key}: {error}") from None


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise InvalidInput(rule)


def _check_unique(what: str, values: Iterable[object]) -> None:
    seen = set()
    for index, value in enumerate(values):
        _require(value not in seen, f"[{index}]: the same {what} once more")
        seen.add(value)


def _check_funder(state: FunderState) -> None:
    with _at("relays"):
        _require(len(state.relays) <= NODE_RELAYS_MAX, f"{len(state.relays)} relays, at most {NODE_RELAYS_MAX}")
        _check_unique("public key", (relay.public_key for relay in state.relays))
    for key, friend in state.friends.items():
        with _at("friends"), _at(repr(format_b64(key))):
            _check_friend(state.local_public_key, key, friend)
    for invoice_id, invoice in state.open_invoices.items():
        with _at("open_invoices"), _at(repr(format_b64(invoice_id))):
            _check_invoice(invoice)
    for request_id, transaction in state.open_transactions.items():
        with _at("open_transactions"), _at(repr(format_b64(request_id))):
            with _at("payment_id"):
                _require(transaction.payment_id in state.payments, "no such payment")
            response = transaction.opt_response
            with _at("opt_response"), _at("request_id"):
                _require(response is None or response.request_id == request_id, "not the id of its transaction")
    opened = Counter(transaction.payment_id for transaction in state.open_transactions.values())
    for payment_id, payment in state.payments.items():
        with _at("payments"), _at(repr(format_b64(payment_id))), _at("stage"):
            _check_payment(payment, opened[payment_id])


def _check_invoice(invoice: OpenInvoice) -> None:
    with _at("incoming_transactions"):
        _check_unique("request id", invoice.incoming_transactions)
        locked = invoice.opt_src_hashed_lock is not None
        _require(locked or not invoice.incoming_transactions, "transactions without the buyer's lock")


def _check_payment(payment: Payment, opened: int) -> None:
    """A count that is too high keeps a payment open, which its owner sees; one that is too low would end it early."""
    stage = payment.stage
    told = 0 if isinstance(stage, CanceledPayment) else stage.num_transactions
    _require(told >= opened, f"counts {told} open transactions, there are {opened}")


def _check_friend(local: PublicKey, key: PublicKey, friend: Friend) -> None:
    with _at("local_public_key"):
        _require(friend.local_public_key == local, "not the key of this node")
    with _at("remote_public_key"):
        _require(friend.remote_public_key == key, "not the key that the friend is stored under")
        _require(key != local, "the key of this node itself")
    with _at("channel_status"):
        if isinstance(friend.channel, Consistent):
            with _at("Consistent"):
                _check_consistent(local, key, friend.channel)
        else:
            token = friend.channel.opt_last_incoming_move_token
            with _at("Inconsistent"), _at("opt_last_incoming_move_token"):
                if token is not None:
                    _check_received(local, key, token)


def _check_consistent(local: PublicKey, remote: PublicKey, channel: Consistent) -> None:
    with _at("token_channel"):
        token_channel = channel.token_channel
        with _at("direction"):
            match token_channel.direction:
                case Incoming(token):
                    with _at("Incoming"), _at("move_token_in"):
                        _check_received(local, remote, token)
                        with _at("token_info"):
                            _check_balances(token_channel, flip(token.token_info))
                case Outgoing():
                    with _at("Outgoing"):
                        _check_sent(local, remote, token_channel, token_channel.direction)
        with _at("mutual_credits"):
            check_channel(token_channel)
            for currency, ledger in token_channel.ledgers.items():
                with _at(repr(currency)), _at("state"):
                    _check_ledger(local, remote, ledger)
    queues = {
        "pending_requests": channel.pending_requests,
        "pending_backwards_ops": channel.pending_backwards_ops,
        "pending_user_requests": channel.pending_user_requests,
    }
    for name, queue in queues.items():
        with _at(name):
            _check_unique("request id", (op.request_id for _, op in queue))


def _check_ledger(local: PublicKey, remote: PublicKey, ledger: Ledger) -> None:
    with _at("idents"):
        _require((ledger.local_public_key, ledger.remote_public_key) == (local, remote), "not the two friends")
    for name, pending in (("local", ledger.pending_local), ("remote", ledger.pending_remote)):
        for request_id, transaction in pending.items():
            with _at("pending_transactions"), _at(name), _at(repr(format_b64(request_id))), _at("request_id"):
                _require(transaction.request_id == request_id, "not the id that it is stored under")
    with _at("balance"):
        check_ledger(ledger)


def _check_received(local: PublicKey, remote: PublicKey, token: MoveTokenHashedReport) -> None:
    """The friend signed it, or it is the one that every channel starts from."""
    with _at("token_info"), _at("mc"):
        _check_keys(token.token_info.mc, remote, local)
    if token == hash_token(initial_move_token(local, remote), initial_token_info(local, remote)):
        return
    with _at("new_token"):
        _check_signature(move_token_hashed_buffer(token), remote, token.new_token)


def _check_sent(local: PublicKey, remote: PublicKey, channel: TokenChannel, direction: Outgoing) -> None:
    token, info = direction.move_token_out, direction.token_info
    with _at("token_info"):
        with _at("mc"):
            _check_keys(info.mc, local, remote)
        _check_balances(channel, info)
    with _at("move_token_out"):
        with _at("info_hash"):
            _require(token.info_hash == info_hash(info), "not the hash of token_info")
        if token != initial_move_token(local, remote):
            with _at("new_token"):
                _check_signature(move_token_buffer(token), local, token.new_token)
    if direction.opt_prev_move_token_in is not None:
        with _at("opt_prev_move_token_in"):
            _check_received(local, remote, direction.opt_prev_move_token_in)


def _check_keys(mc: McInfo, local: PublicKey, remote: PublicKey) -> None:
    _require((mc.local_public_key, mc.remote_public_key) == (local, remote), "not the two friends, signer first")


def _check_signature(buffer: bytes, public_key: PublicKey, signature: Any) -> None:
    try:
        verify(buffer, public_key, signature)
    except InvalidSignature:
        raise InvalidInput("not a signature of this token") from None


def _check_balances(channel: TokenChannel, info: TokenInfo) -> None:
    """The ledgers are what the last token was signed for; *info* is seen from our side."""
    told = {entry.currency: entry for entry in info.mc.balances}
    with _at("mc"), _at("balances"):
        _require(len(told) == len(info.mc.balances), "a currency that stands there twice")
        for currency in sorted(set(told) | set(channel.ledgers)):
            with _at(repr(currency)):
                _require(told.get(currency) == _balance(channel, currency), "not what stands in mutual_credits")


def _balance(channel: TokenChannel, currency: Currency) -> CurrencyBalanceInfo | None:
    ledger = channel.ledgers.get(currency)
    if ledger is None:
        return None
    return CurrencyBalanceInfo(
        currency, BalanceInfo(ledger.balance, ledger.local_pending_debt, ledger.remote_pending_debt)
    )
