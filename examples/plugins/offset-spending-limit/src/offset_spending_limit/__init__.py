"""
A limit for what each app may spend in a day, fees included.

What an app spends is counted when its transaction is granted, and given back where the transaction fails. Counters are
in the node's store, so a restart does not reset them; a day is one of UTC.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from offset_funder.effects import PaymentFinished
from offset_node.plugins.access import NodeAccess, PluginStore
from offset_node.plugins.hooks import hookimpl
from offset_node.plugins.values import App, Refusal
from offset_proto.errors import InvalidInput
from offset_proto.messages.app import AppRequest, CreatePayment, CreateTransaction, Failure, RequestResult
from offset_proto.text import format_b64, parse_b64
from offset_proto.types import Currency, PaymentId, PublicKey, Uid

__all__ = ["SpendingLimit"]


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


@dataclass(frozen=True, slots=True)
class _Reservation:
    """Credits counted for a transaction that may still fail."""

    account: str
    day: str
    credits: int


class SpendingLimit:
    """
    The plugin.

    Args:
        today: Name of the present day.
    """

    hooks_version = 1

    def __init__(self, today: Callable[[], str] = _today) -> None:
        self._today = today
        self._limits: dict[PublicKey, dict[Currency, int]] = {}
        self._currencies: dict[PaymentId, Currency] = {}
        self._fresh: set[Uid] = set()
        self._store: PluginStore

    @hookimpl
    def offset_startup(self, node: NodeAccess) -> None:
        """Read the limits; forget reservations of days that are over."""
        self._store = node.store
        self._currencies = dict(node.open_payments)
        for key, limits in node.setting("limits", dict, {}).items():
            self._limits[parse_b64(PublicKey, key)] = _parse_limits(key, limits)
        over = {key: None for key in self._store if key.startswith("open/") and self._open(key).day != self._today()}
        if over:
            self._store.change(over)

    @hookimpl
    def offset_judge_request(self, app: App, request: AppRequest) -> Refusal | None:
        """Refuse what would exceed the limit, and count what does not."""
        match request:
            case CreatePayment():
                self._currencies.setdefault(request.payment_id, request.currency)
            case CreateTransaction() if app.public_key in self._limits:
                return self._judge(app.public_key, request)
        return None

    def _judge(self, app: PublicKey, request: CreateTransaction) -> Refusal | None:
        currency = self._currencies.get(request.payment_id)
        if currency is None:
            return Refusal("a transaction of an unknown payment")
        credits_asked = request.dest_payment + request.fees
        account, key = f"{format_b64(app)}/{currency}", f"open/{format_b64(request.request_id)}"
        if key in self._store:
            known = self._open(key)  # the app repeats itself, to hear the result again
            same = (known.account, known.credits) == (account, credits_asked)
            return None if same else Refusal("another transaction of the same id")
        limit = self._limits[app].get(currency, 0)
        spent = self._spent(account)
        if spent + credits_asked > limit:
            return Refusal(f"{credits_asked} {currency} more than {limit - spent} left of {limit} for today")
        reservation = {"account": account, "day": self._today(), "credits": str(credits_asked)}
        self._fresh.add(request.request_id)
        self._store.change(
            {key: json.dumps(reservation).encode(), f"spent/{account}": self._count(spent + credits_asked)}
        )
        return None

    @hookimpl
    def offset_request_judged(self, request: AppRequest, refusal: Refusal | None) -> None:
        """Somebody else refused what we have counted."""
        if isinstance(request, CreateTransaction) and request.request_id in self._fresh:
            self._fresh.remove(request.request_id)
            if refusal is not None:
                self._give_back(request.request_id)

    @hookimpl
    def offset_transaction_ended(self, request_id: Uid, result: RequestResult) -> None:
        """What was not spent is free again."""
        if isinstance(result, Failure):
            self._give_back(request_id)

    @hookimpl
    def offset_payment_finished(self, payment: PaymentFinished) -> None:
        """A payment gets no more transactions."""
        self._currencies.pop(payment.payment_id, None)

    @hookimpl
    def offset_metrics(self, registry: Any) -> None:
        """What each app has left; read when somebody scrapes, in the thread of the metrics."""
        registry.register(self)

    def collect(self) -> Iterator[Any]:
        """One gauge for each app and currency with a limit."""
        from prometheus_client.core import GaugeMetricFamily

        left = GaugeMetricFamily("offset_spending_left", "Credits left for today", labels=["app", "currency"])
        for app, limits in self._limits.items():
            for currency, limit in limits.items():
                name = format_b64(app)
                left.add_metric([name, str(currency)], limit - self._spent(f"{name}/{currency}"))
        yield left

    def _give_back(self, request_id: Uid) -> None:
        key = f"open/{format_b64(request_id)}"
        if key not in self._store:
            return
        reservation = self._open(key)
        changes: dict[str, bytes | None] = {key: None}
        if reservation.day == self._today():
            left = self._spent(reservation.account) - reservation.credits
            changes[f"spent/{reservation.account}"] = self._count(left)
        self._store.change(changes)

    def _open(self, key: str) -> _Reservation:
        value = json.loads(self._store[key])
        return _Reservation(value["account"], value["day"], int(value["credits"]))

    def _spent(self, account: str) -> int:
        value = json.loads(self._store.get(f"spent/{account}", b'{"day": "", "credits": "0"}'))
        return int(value["credits"]) if value["day"] == self._today() else 0

    def _count(self, spent: int) -> bytes:
        return json.dumps({"day": self._today(), "credits": str(spent)}).encode()


def _parse_limits(key: str, limits: object) -> dict[Currency, int]:
    if not isinstance(limits, dict):
        raise InvalidInput(f"limits.{key}: expected a table of currencies")
    for currency, limit in limits.items():
        if type(limit) is not int or limit < 0:
            raise InvalidInput(f"limits.{key}.{currency}: expected credits, 0 or more")
    return {Currency(currency): limit for currency, limit in limits.items()}
