"""
What a member of the community exported: its node's view of its friends, in one currency.

The export is what ``stctrl info friends --json`` prints (spec 09 §6). It does not name the node that it comes from, so
the public key is told beside it; the friend ticket of the member has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from offset_proto.errors import InvalidInput
from offset_proto.message import frozen
from offset_proto.message_json import SNAKE_CASE, JsonForm, at, parse_json, required
from offset_proto.messages.payment import Rate
from offset_proto.rate import FREE
from offset_proto.types import I128, U128, Currency, PublicKey

__all__ = ["Member", "Side", "read_member"]


@dataclass(frozen=True, slots=True)
class Side:
    """
    What one of two friends says of their ledger in the currency.

    Attributes:
        balance: Credits that the friend owes; negative where the friend is owed. None: the channel is inconsistent.
        local_pending_debt: Credits frozen in payments under way to the friend.
        remote_pending_debt: Credits frozen in payments under way from the friend.
        max_debt: Credits that the friend may owe.
        rate: What the friend is charged for forwarding.
        is_open: Whether payments are forwarded to and from the friend.
        is_enabled: Whether there is a connection to the friend, or the node looks for one.
    """

    balance: I128 | None
    local_pending_debt: U128
    remote_pending_debt: U128
    max_debt: U128
    rate: Rate
    is_open: bool
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Member:
    """Who takes part: a name for the report, the key of its node, and its side of each ledger in the currency."""

    name: str
    public_key: PublicKey
    sides: Mapping[PublicKey, Side]


@frozen
class _Config:
    currency: Currency
    rate: Rate
    remote_max_debt: U128
    is_open: bool


@frozen
class _Balance:
    currency: Currency
    balance: I128
    local_pending_debt: U128
    remote_pending_debt: U128


@frozen
class _Friend:
    public_key: PublicKey
    enabled: bool
    channel: str
    currency_configs: tuple[_Config, ...]


@frozen
class _Balances:
    balances: tuple[_Balance, ...]


_FRIEND = JsonForm(_Friend, camel_case=SNAKE_CASE)
_BALANCES = JsonForm(_Balances, camel_case=SNAKE_CASE)


def read_member(name: str, public_key: PublicKey, text: str, currency: Currency) -> Member:
    """
    The member *name*, whose node has *public_key* and printed *text*.

    Friends with whom there is no ledger in *currency* are left out.

    Raises:
        InvalidInput: *text* is no such export, or not one of this node; says at which key.
    """
    value = parse_json(text)
    if not isinstance(value, list):
        raise InvalidInput("expected an array of friends, as stctrl info friends --json prints it")
    sides: dict[PublicKey, Side] = {}
    seen = {public_key}
    for index, item in enumerate(value):
        friend = at(f"[{index}]", _FRIEND.from_value, item)
        if friend.public_key == public_key:
            raise InvalidInput(f"[{index}]: the member is a friend of its own: export and ticket are not of one node")
        if friend.public_key in seen:
            raise InvalidInput(f"[{index}]: public_key: a friend that is listed before")
        seen.add(friend.public_key)
        side = at(f"[{index}]", partial(_side, friend, currency), item)
        if side is not None:
            sides[friend.public_key] = side
    return Member(name, public_key, sides)


def _side(friend: _Friend, currency: Currency, item: dict[str, Any]) -> Side | None:
    config = next((config for config in friend.currency_configs if config.currency == currency), None)
    rate, max_debt, is_open = FREE, 0, False
    if config is not None:
        rate, max_debt, is_open = config.rate, config.remote_max_debt, config.is_open
    if friend.channel == "inconsistent":
        return None if config is None else Side(None, 0, 0, max_debt, rate, is_open, friend.enabled)
    if friend.channel != "consistent":
        raise InvalidInput(f"channel: expected consistent or inconsistent, not {friend.channel!r}")
    required(item, "balances")
    for entry in _BALANCES.from_value(item).balances:
        if entry.currency == currency:
            pending = (entry.local_pending_debt, entry.remote_pending_debt)
            return Side(entry.balance, *pending, max_debt, rate, is_open, friend.enabled)
    return None
