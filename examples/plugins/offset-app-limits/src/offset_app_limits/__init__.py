"""Apps restricted to some friends and currencies, and allowed more than their tickets say within them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from offset_node.plugins.access import NodeAccess
from offset_node.plugins.hooks import hookimpl
from offset_node.plugins.scope import ReportScope
from offset_node.plugins.ticket import is_permitted
from offset_node.plugins.values import App, Grant, Refusal
from offset_proto.errors import InvalidInput
from offset_proto.messages.app import (
    AddIndexServer,
    AddRelay,
    AppPermissions,
    AppRequest,
    CommitInvoice,
    CreateTransaction,
    DisableFriend,
    EnableFriend,
    RemoveFriend,
    RemoveIndexServer,
    RemoveRelay,
)
from offset_proto.text import parse_b64
from offset_proto.types import Currency, PublicKey

__all__ = ["AppLimits"]

T = TypeVar("T")

_FLAGS = frozenset({"routes", "buyer", "seller", "config"})
_WHOLE_NODE = (AddRelay, RemoveRelay, AddIndexServer, RemoveIndexServer)


@dataclass(frozen=True, slots=True)
class _Limits:
    """Friends and currencies of an app, None where it is not restricted; and what it may do beyond its ticket."""

    friends: frozenset[PublicKey] | None
    currencies: frozenset[Currency] | None
    granted: AppPermissions


class AppLimits:
    """The plugin."""

    hooks_version = 1

    def __init__(self) -> None:
        self._apps: dict[PublicKey, _Limits] = {}

    @hookimpl
    def offset_startup(self, node: NodeAccess) -> None:
        """Read who is restricted to what."""
        for key, table in node.setting("apps", dict, {}).items():
            self._apps[parse_b64(PublicKey, key)] = _parse_limits(key, table)

    @hookimpl
    def offset_judge_request(self, app: App, request: AppRequest) -> Grant | Refusal | None:
        """Refuse what concerns another friend or currency, or the node as a whole; grant what is granted."""
        limits = self._apps.get(app.public_key)
        if limits is None:
            return None
        if isinstance(request, _WHOLE_NODE):
            return Refusal("a restricted app may not change relays or index servers")
        if limits.friends is not None and not limits.friends.issuperset(_friends_of(request)):
            return Refusal("another friend than those of the app")
        if limits.currencies is not None and not limits.currencies.issuperset(_currencies_of(request)):
            return Refusal("another currency than those of the app")
        return Grant() if is_permitted(limits.granted, request) else None

    @hookimpl
    def offset_announce_permissions(self, app: App) -> AppPermissions | None:
        """An app has to know what it may ask for."""
        limits = self._apps.get(app.public_key)
        return None if limits is None else limits.granted

    @hookimpl
    def offset_report_scope(self, app: App) -> ReportScope | None:
        """Only these friends and currencies are seen."""
        limits = self._apps.get(app.public_key)
        return None if limits is None else ReportScope(limits.friends, limits.currencies)


def _friends_of(request: AppRequest) -> Iterator[PublicKey]:
    """The friends that a request is about; of a route the first friend, who is to be paid by us."""
    match request:
        case CreateTransaction(route=route):
            yield from route.public_keys[1:2]
        case EnableFriend(key) | DisableFriend(key) | RemoveFriend(key):
            yield key
        case _:
            if hasattr(request, "friend_public_key"):
                yield request.friend_public_key


def _currencies_of(request: AppRequest) -> Iterator[Currency]:
    """
    The currencies that a request is about.

    A transaction has that of its payment, which was judged when it was created.
    """
    if isinstance(request, CommitInvoice):
        yield request.commit.currency
    elif hasattr(request, "currency"):
        yield request.currency


def _parse_limits(key: str, table: Any) -> _Limits:
    if not isinstance(table, dict) or not table.keys() <= {"friends", "currencies", "grant"}:
        raise InvalidInput(f"apps.{key}: expected a table with friends, currencies or grant")
    granted = _texts(key, table, "grant") or []
    if not _FLAGS.issuperset(granted):
        raise InvalidInput(f"apps.{key}.grant: expected some of {', '.join(sorted(_FLAGS))}")
    friends = _texts(key, table, "friends")
    currencies = _texts(key, table, "currencies")
    return _Limits(
        None if friends is None else frozenset(parse_b64(PublicKey, friend) for friend in friends),
        None if currencies is None else frozenset(map(Currency, currencies)),
        AppPermissions(**{flag: flag in granted for flag in _FLAGS}),
    )


def _texts(key: str, table: dict[str, Any], name: str) -> list[str] | None:
    found = table.get(name)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise InvalidInput(f"apps.{key}.{name}: expected a list of texts")
    return found
