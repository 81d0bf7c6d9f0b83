"""The limit holds for each app and currency, over restarts, and for what is really spent."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from offset_node.plugins.testing import build_node_access
from offset_node.plugins.values import App, Refusal
from offset_proto.errors import InvalidInput
from offset_proto.messages.app import AppPermissions, CreatePayment, CreateTransaction, Failure, Success
from offset_proto.messages.friend import FriendsRoute
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid
from offset_spending_limit import SpendingLimit

FST, EUR = Currency("FST"), Currency("EUR")
BUYER = AppPermissions(routes=True, buyer=True, seller=False, config=False)
CHILD, OWNER = (App(PublicKey(bytes([n]) * 32), BUYER) for n in (1, 2))
LIMITS = {"limits": {format_b64(CHILD.public_key): {"FST": 100}}}


class Day:
    """A calendar."""

    def __init__(self) -> None:
        self.name = "2026-11-25"

    def __call__(self) -> str:
        return self.name


@pytest.fixture
def day() -> Day:
    """Today."""
    return Day()


@pytest.fixture
def values() -> dict[str, bytes]:
    """The plugin's store."""
    return {}


def _start(day: Day, values: dict[str, bytes], **more: Any) -> SpendingLimit:
    plugin = SpendingLimit(day)
    plugin.offset_startup(build_node_access(LIMITS, values, **more))
    return plugin


def _pay(plugin: SpendingLimit, app: App, number: int, amount: int, fees: int = 0, currency: Currency = FST) -> bool:
    payment_id = PaymentId(bytes([number]) * 16)
    created = CreatePayment(payment_id, InvoiceId(bytes(32)), currency, amount, app.public_key)
    assert plugin.offset_judge_request(app, created) is None
    return _send(plugin, app, number, amount, fees)


def _send(plugin: SpendingLimit, app: App, number: int, amount: int, fees: int = 0) -> bool:
    ids = PaymentId(bytes([number]) * 16), Uid(bytes([number]) * 16)
    request = CreateTransaction(*ids, FriendsRoute(()), amount, fees)
    refusal = plugin.offset_judge_request(app, request)
    plugin.offset_request_judged(request, refusal)
    return not isinstance(refusal, Refusal)


def test_the_limit_counts_fees_and_is_reached_exactly(day, values):
    """100 are allowed, 101 are not; other apps have no limit; a currency without a limit is not allowed."""
    plugin = _start(day, values)
    assert _pay(plugin, CHILD, 1, 60, fees=10)
    assert not _pay(plugin, CHILD, 2, 30, fees=1)
    assert _pay(plugin, CHILD, 3, 30)
    assert not _pay(plugin, CHILD, 4, 1)
    assert not _pay(plugin, CHILD, 5, 1, currency=EUR)
    assert _pay(plugin, OWNER, 6, 2**100)


def test_a_restart_forgets_nothing_and_a_new_day_everything(day, values):
    """The day is the calendar's, not the process's."""
    assert _pay(_start(day, values), CHILD, 1, 90)
    assert not _pay(_start(day, values), CHILD, 2, 20)
    day.name = "2026-11-26"
    plugin = _start(day, values)
    assert _pay(plugin, CHILD, 3, 100)
    assert [key for key in values if key.startswith("open/")] == [f"open/{format_b64(bytes([3]) * 16)}"]


def test_what_fails_is_free_again(day, values):
    """Whether it failed on its way or was refused by another plugin; a success is spent."""
    plugin = _start(day, values)
    assert _pay(plugin, CHILD, 1, 100)
    plugin.offset_transaction_ended(Uid(bytes([1]) * 16), Failure())
    assert _pay(plugin, CHILD, 2, 100)
    plugin.offset_transaction_ended(Uid(bytes([2]) * 16), Success())
    assert not _pay(plugin, CHILD, 3, 1)
    plugin.offset_transaction_ended(Uid(bytes([2]) * 16), Failure())  # the seller cancelled
    request = CreateTransaction(PaymentId(bytes([3]) * 16), Uid(bytes([9]) * 16), FriendsRoute(()), 100, 0)
    assert plugin.offset_judge_request(CHILD, request) is None
    plugin.offset_request_judged(request, Refusal("plugin other: no"))
    assert _pay(plugin, CHILD, 4, 100)


def test_a_repeated_transaction_counts_once(day, values):
    """An app that lost its connection asks again with the same id; another amount under that id is refused."""
    plugin = _start(day, values)
    assert _pay(plugin, CHILD, 1, 60)
    assert _send(plugin, CHILD, 1, 60)
    assert not _send(plugin, CHILD, 1, 61)
    assert _pay(plugin, CHILD, 2, 40)


def test_the_currency_of_a_payment_can_not_be_changed(day, values):
    """The first one to create a payment decides, also where the node was restarted since."""
    payment_id = PaymentId(bytes([1]) * 16)
    plugin = _start(day, values, open_payments={payment_id: EUR})
    assert not _pay(plugin, CHILD, 1, 1)
    assert not _send(plugin, CHILD, 7, 1)  # a payment that nobody has created


def test_metrics(day, values):
    """What is left, for each app and currency with a limit."""
    registry = CollectorRegistry()
    plugin = _start(day, values)
    plugin.offset_metrics(registry)
    labels = {"app": format_b64(CHILD.public_key), "currency": "FST"}
    assert registry.get_sample_value("offset_spending_left", labels) == 100
    assert _pay(plugin, CHILD, 1, 60)
    assert registry.get_sample_value("offset_spending_left", labels) == 40


@pytest.mark.parametrize(
    "settings",
    [
        {"limits": {"no key": {"FST": 1}}},
        {"limits": {format_b64(CHILD.public_key): 5}},
        {"limits": {format_b64(CHILD.public_key): {"FST": "5"}}},
        {"limits": {format_b64(CHILD.public_key): {"FST": -5}}},
        {"limits": {format_b64(CHILD.public_key): {"a currency of too many bytes": 5}}},
        {"limits": 3},
    ],
)
def test_wrong_settings_keep_the_node_from_starting(settings):
    """A limit that is not understood is none."""
    with pytest.raises(InvalidInput):
        SpendingLimit().offset_startup(build_node_access(settings))
