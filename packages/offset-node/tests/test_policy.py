"""Verdicts on requests, and what of a report an app gets to see."""

from random import Random

import pytest

from offset_funder.effects import SendToApps
from offset_funder.reports import initial_report
from offset_funder.testing import FST, SimulatedNetwork
from offset_node.plugins.scope import EVERYTHING, NOTHING, ReportScope
from offset_node.plugins.values import Forwarding, Grant, NotGranted, Refusal, decide, forwardings_of
from offset_proto.messages.app import ReportMutations
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CurrencyOperations,
    FriendsRoute,
    MoveToken,
    MoveTokenRequest,
    RequestSendFundsOp,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, HashedLock, HashResult, InvoiceId, PublicKey, RandValue, Signature, Uid

EUR = Currency("EUR")
NO, YES = Refusal("no"), Grant()


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([], NotGranted()),
        ([None, None], NotGranted()),
        ([None, YES], YES),
        ([YES, NO, YES], NO),
        ([NO], NO),
        ([YES, YES], YES),
    ],
)
def test_a_refusal_wins_over_any_grant(answers, verdict):
    """And without a grant nothing is allowed."""
    assert decide(answers) == verdict


def test_what_is_to_be_forwarded():
    """Requests with somebody after us in their route; neither those that end here nor other operations."""
    friend, after, last = (PublicKey(bytes([n]) * 32) for n in (1, 2, 3))

    def request(number: int, *route: PublicKey) -> RequestSendFundsOp:
        ids = (Uid(bytes([number]) * 16), HashedLock(bytes(32)), FriendsRoute(route))
        return RequestSendFundsOp(*ids, 7, 9, InvoiceId(bytes(32)), 4)

    operations = (request(1, after, last), request(2), CancelSendFundsOp(Uid(bytes(16))))
    token = MoveToken(
        Signature(bytes(64)),
        (CurrencyOperations(FST, operations),),
        None,
        None,
        HashResult(bytes(32)),
        RandValue(bytes(16)),
        Signature(bytes(64)),
    )
    expected = Forwarding(friend, (after, last), FST, Uid(b"\x01" * 16), 7, 4)
    assert list(forwardings_of(friend, MoveTokenRequest(token, token_wanted=False))) == [expected]


def _report_of_b(network: SimulatedNetwork) -> ReportView:
    return ReportView(initial_report(network.nodes["B"].funder.state, ()))


@pytest.mark.parametrize("seed", range(5))
def test_a_filtered_report_stays_the_filtered_report(seed):
    """Snapshot and mutations of a scope lead to the same as filtering the whole report at the end."""
    network = SimulatedNetwork("ABC", Random(seed))
    keys = {name: node.key for name, node in network.nodes.items()}
    scopes = [
        EVERYTHING,
        NOTHING,
        ReportScope(friends=frozenset({keys["A"]})),
        ReportScope(currencies=frozenset({FST})),
        ReportScope(frozenset({keys["C"]}), frozenset({EUR}), servers=False),
    ]
    whole = _report_of_b(network)
    filtered = [ReportView(scope.filter_report(whole.snapshot())) for scope in scopes]
    node = network.nodes["B"]
    handle = node.funder.handle

    def watch(event):
        outcome = handle(event)
        for effect in outcome.effects:
            match effect:
                case SendToApps(ReportMutations(_, mutations)):
                    whole.apply(mutations)
                    for scope, view in zip(scopes, filtered, strict=True):
                        view.apply(scope.filter_mutations(mutations))
                case _:
                    pass
        return outcome

    node.funder.handle = watch
    for currency in (FST, EUR):
        network.befriend("A", "B", currency=currency)
        network.befriend("B", "C", currency=currency)
        network.pay(["A", "B", "C"], 20, currency=currency)
    network.disconnect("A", "B")
    for scope, view in zip(scopes, filtered, strict=True):
        assert view.snapshot() == scope.filter_report(whole.snapshot())
    assert filtered[0].snapshot() == whole.snapshot()
    assert filtered[1].friends == {}
    assert set(filtered[2].friends) == {keys["A"]}
    shown = filtered[3].friends[keys["C"]]
    assert [report.currency for report in shown.channel_status.currency_reports] == [FST]
    assert [config.currency for config in shown.currency_configs] == [FST]
    assert shown.opt_last_incoming_move_token is None
    assert set(filtered[4].friends) == {keys["C"]}
    assert filtered[4].relays == []


def test_scopes_of_several_plugins_narrow_each_other():
    """What one leaves out stays out."""
    a, b, c = (PublicKey(bytes([n]) * 32) for n in (1, 2, 3))
    one = ReportScope(friends=frozenset({a, b}))
    other = ReportScope(friends=frozenset({b, c}), currencies=frozenset({FST}), servers=False)
    assert one & other == ReportScope(frozenset({b}), frozenset({FST}), servers=False)
    assert EVERYTHING & one == one
    assert one & NOTHING == NOTHING
