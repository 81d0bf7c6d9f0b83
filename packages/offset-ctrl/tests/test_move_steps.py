"""An account that moves to another key: each step, and the whole of them with kills, in a world of plain values."""

from dataclasses import dataclass, field, replace
from typing import assert_never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offset_crypto.identity import Identity
from offset_ctrl.rules.move_steps import (
    Asked,
    Collect,
    Configure,
    Done,
    Fix,
    MakeInvoice,
    MoveStep,
    Papers,
    Pay,
    Remove,
    Settle,
    TakeInvoice,
    TellNode,
    Unfinished,
    Wanted,
    next_step,
)
from offset_ctrl.rules.moving import Move, MoveRefused, fix_balances, plan_move
from offset_ctrl.testing import build_commit, build_friend, build_ledger, build_report
from offset_proto.files import FriendTicket, Invoice
from offset_proto.messages.app import (
    AddFriend,
    AppRequest,
    CloseFriendCurrency,
    DisableFriend,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriend,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
)
from offset_proto.messages.payment import Commit, Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
    McBalanceReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, InvoiceId, PrivateKey, PublicKey

NODE, NEW, LOST = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
OLD, CAROL = LOST.public_key, PublicKey(b"\x05" * 32)
TICKET = FriendTicket(NEW.public_key, ())
FST, USD, EUR = Currency("FST"), Currency("USD"), Currency("EUR")


def _friend(name: str, **balances: int) -> FriendReport:
    """An enabled friend that is online, with a limit of 70 in each currency."""
    configs = tuple(CurrencyConfigReport(Currency(currency), Rate(5, 3), 70, True) for currency in balances)
    ledgers = [build_ledger(Currency(currency), balance) for currency, balance in balances.items()]
    return build_friend(name, *ledgers, currency_configs=configs)


def _report(**balances: int) -> ReportView:
    """A node whose friends are bob, who has these balances, and carol, who has none."""
    report = ReportView(build_report(NODE.public_key))
    report.friends = {OLD: _friend("bob", **balances), CAROL: _friend("carol")}
    return report


def _frozen(report: ReportView, key: PublicKey, currency: Currency, out: int, back: int) -> None:
    """Freeze credits with a friend."""
    friend = report.friends[key]
    assert isinstance(friend.channel_status, ChannelConsistentReport)
    entries = tuple(
        replace(entry, balance=replace(entry.balance, local_pending_debt=out, remote_pending_debt=back))
        if entry.currency == currency
        else entry
        for entry in friend.channel_status.currency_reports
    )
    report.friends[key] = replace(friend, channel_status=ChannelConsistentReport(entries))


# The plan.


def test_a_plan_has_all_that_the_owner_has_set() -> None:
    """Balances, limits, rates and openings; what has no balance is moved already."""
    move = plan_move(_report(FST=100, USD=-40, EUR=0), OLD, TICKET)
    assert (move.old, move.new, move.new_name, move.final_name) == (OLD, NEW.public_key, "bob-new", "bob")
    found = {it.currency: (it.balance, it.max_debt, it.rate, it.is_open, it.is_moved) for it in move.currencies}
    assert found == {
        "FST": (100, 70, Rate(5, 3), True, False),
        "USD": (-40, 70, Rate(5, 3), True, False),
        "EUR": (0, 70, Rate(5, 3), True, True),
    }


def test_names() -> None:
    """The new friend has a name of its own while both are there, and in the end the one that is wanted."""
    report = _report(FST=1)
    assert plan_move(report, OLD, TICKET, "robert").new_name == "robert"
    report.friends[CAROL] = replace(report.friends[CAROL], name="bob-new")
    assert plan_move(report, OLD, TICKET).new_name == "bob-new-2"
    with pytest.raises(MoveRefused, match="another friend has the name bob-new"):
        plan_move(report, OLD, TICKET, "bob-new")
    report.friends[NEW.public_key] = _friend("robert")
    known = plan_move(report, OLD, TICKET)
    assert (known.new_name, known.final_name) == ("robert", "robert")


def test_what_can_not_be_moved() -> None:
    """Each reason by its words."""
    report = _report(FST=100)
    with pytest.raises(MoveRefused, match="no friend of this node"):
        plan_move(report, NEW.public_key, TICKET)
    for key in (OLD, NODE.public_key):
        with pytest.raises(MoveRefused, match="ask for the ticket of the new key"):
            plan_move(report, OLD, FriendTicket(key, ()))
    report.friends[NEW.public_key] = _friend("robert", FST=1)
    with pytest.raises(MoveRefused, match="has a balance of FST already"):
        plan_move(report, OLD, TICKET)
    report = _report(FST=100)
    _frozen(report, OLD, FST, 3, 4)
    with pytest.raises(MoveRefused, match="3 FST on the way out and 4 on the way in"):
        plan_move(report, OLD, TICKET)
    broken = ChannelInconsistentReport((), None)
    report.friends[OLD] = replace(report.friends[OLD], channel_status=broken)
    with pytest.raises(MoveRefused, match="broken"):
        plan_move(report, OLD, TICKET)


@pytest.mark.parametrize(("out", "back", "balance"), [(3, 0, 100), (0, 4, 104), (3, 4, 104), (0, 0, 100)])
def test_what_is_frozen_may_be_counted(out: int, back: int, balance: int) -> None:
    """As in the terms of a reset: the old friend pays what it froze, and gets nothing for what we froze."""
    report = _report(FST=100)
    _frozen(report, OLD, FST, out, back)
    move = plan_move(report, OLD, TICKET, counts_frozen=True)
    assert move.of(FST).balance == balance
    report.friends[OLD] = replace(report.friends[OLD], status=FriendStatusReport.DISABLED)
    fixed = fix_balances(move, report)
    assert fixed.of(FST).balance == balance
    nothing = Papers({}, {}, frozenset(), {})
    assert isinstance(next_step(fixed, report, nothing, removes=False), Configure)
    _frozen(report, OLD, FST, out, back + 1)
    with pytest.raises(MoveRefused, match="enabled meanwhile"):
        next_step(fixed, report, nothing, removes=False)


# A world.


@dataclass
class World:
    """
    Our node, the person with the new key, and the disk.

    What is on *disk* and in *report* survives a kill; what the run has in its head does not.
    """

    report: ReportView
    disk: Move
    removes: bool = True
    told: set[Currency] = field(default_factory=set)
    later: dict[Currency, str] = field(default_factory=dict)
    open_invoices: dict[InvoiceId, Invoice] = field(default_factory=dict)
    invoices: dict[Currency, Invoice] = field(default_factory=dict)
    commits: dict[Currency, Commit] = field(default_factory=dict)
    paid: list[InvoiceId] = field(default_factory=list)
    collected: list[InvoiceId] = field(default_factory=list)

    def step(self) -> MoveStep:
        """What is next."""
        papers = Papers(self.invoices, self.commits, frozenset(self.told), self.later)
        return next_step(self.disk, self.report, papers, removes=self.removes)

    def kill(self) -> None:
        """The run ends, and another one begins."""
        self.told.clear()
        self.later.clear()

    def carry_out(self, step: MoveStep, dies: bool) -> None:
        """What a run does for *step*; where it *dies*, no more than the first half, up to what is written down."""
        match step:
            case Configure(change) | Remove(change):
                self._configure(change.request)
                assert change.holds(self.report)
            case Fix():
                self.disk = fix_balances(self.disk, self.report)
            case MakeInvoice(currency):
                moved = self.disk.of(currency)
                number = len(self.open_invoices) + len(self.collected) + 1
                made = Invoice(InvoiceId(bytes([number]) * 32), currency, NODE.public_key, moved.amount)
                self.disk = self.disk.with_currency(replace(moved, invoices=(made,)))
            case TellNode(invoice):
                assert invoice.invoice_id not in self.collected
                self.open_invoices[invoice.invoice_id] = invoice
                self.told.add(invoice.currency)
            case TakeInvoice(invoice):
                self.disk = self.disk.with_currency(replace(self.disk.of(invoice.currency), invoices=(invoice,)))
            case Collect(currency, commit):
                self.disk = self.disk.with_currency(replace(self.disk.of(currency), commits=(commit,)))
                if not dies:
                    self._collect(currency, commit)
            case Pay(invoice):
                if invoice.invoice_id not in self.paid:
                    self.paid.append(invoice.invoice_id)
                    self._add(invoice.currency, -invoice.dest_payment)
                if not dies:
                    self.disk = self.disk.with_currency(replace(self.disk.of(invoice.currency), is_moved=True))
            case Settle():
                self.disk = replace(self.disk, is_settled=True)
            case Unfinished() | Done():
                raise AssertionError(step)
            case _:
                assert_never(step)
        if dies:
            self.kill()

    def _collect(self, currency: Currency, commit: Commit) -> None:
        invoice = self.open_invoices.pop(commit.invoice_id, None)
        if invoice is not None:
            self.collected.append(invoice.invoice_id)
            self._add(currency, invoice.dest_payment)
            _frozen(self.report, NEW.public_key, currency, 0, 0)
        if commit.invoice_id in self.collected:
            self.disk = self.disk.with_currency(replace(self.disk.of(currency), is_moved=True))

    def answer(self, asked: Asked) -> None:
        """The person does what it is asked for."""
        moved = asked.moved
        assert moved is not None
        match asked.wanted:
            case Wanted.PAYMENT:
                (invoice,) = moved.invoices
                assert invoice == self.open_invoices[invoice.invoice_id]
                _frozen(self.report, NEW.public_key, moved.currency, 0, invoice.dest_payment)
                self.commits[moved.currency] = build_commit(invoice, NODE)
            case Wanted.INVOICE:
                made = InvoiceId(moved.currency.encode().ljust(32))
                self.invoices[moved.currency] = Invoice(made, moved.currency, NEW.public_key, moved.amount)
            case Wanted.COLLECTION | Wanted.REMOVAL:
                raise AssertionError(asked)

    def agree(self) -> None:
        """The new friend's node comes, and agrees to all currencies."""
        friend = self.report.friends[NEW.public_key]
        known = friend.channel_status
        assert isinstance(known, ChannelConsistentReport)
        entries = {entry.currency: entry for entry in known.currency_reports}
        for config in friend.currency_configs:
            entries.setdefault(config.currency, CurrencyReport(config.currency, McBalanceReport(0, 0, 0)))
        self.report.friends[NEW.public_key] = replace(
            friend,
            liveness=FriendLivenessReport.ONLINE,
            channel_status=ChannelConsistentReport(tuple(entries.values())),
        )

    def balances(self, key: PublicKey) -> dict[str, int]:
        """Of a friend."""
        status = self.report.friends[key].channel_status
        assert isinstance(status, ChannelConsistentReport)
        return {entry.currency: entry.balance.balance for entry in status.currency_reports}

    def _add(self, currency: Currency, amount: int) -> None:
        friend = self.report.friends[NEW.public_key]
        assert isinstance(friend.channel_status, ChannelConsistentReport)
        entries = tuple(
            replace(entry, balance=replace(entry.balance, balance=entry.balance.balance + amount))
            if entry.currency == currency
            else entry
            for entry in friend.channel_status.currency_reports
        )
        config = next(config for config in friend.currency_configs if config.currency == currency)
        assert config.is_open
        assert self.balances(NEW.public_key)[currency] + amount <= config.remote_max_debt or amount < 0
        self.report.friends[NEW.public_key] = replace(friend, channel_status=ChannelConsistentReport(entries))

    def _configure(self, request: AppRequest) -> None:
        friends = self.report.friends
        match request:
            case AddFriend(key, relays, name):
                offline = replace(_friend(name), status=FriendStatusReport.DISABLED)
                friends[key] = replace(offline, remote_relays=relays, liveness=FriendLivenessReport.OFFLINE)
            case EnableFriend(key):
                friends[key] = replace(friends[key], status=FriendStatusReport.ENABLED)
            case DisableFriend(key):
                friends[key] = replace(friends[key], status=FriendStatusReport.DISABLED)
            case SetFriendName(key, name):
                friends[key] = replace(friends[key], name=name)
            case RemoveFriend(key):
                del friends[key]
            case SetFriendCurrencyRate(key, currency, rate):
                self._set(key, currency, rate=rate)
            case SetFriendCurrencyMaxDebt(key, currency, max_debt):
                self._set(key, currency, remote_max_debt=max_debt)
            case OpenFriendCurrency(key, currency):
                self._set(key, currency, is_open=True)
            case CloseFriendCurrency(key, currency):
                self._set(key, currency, is_open=False)
            case _:
                raise AssertionError(request)

    def _set(self, key: PublicKey, currency: Currency, **values: object) -> None:
        friend = self.report.friends[key]
        configs = {config.currency: config for config in friend.currency_configs}
        config = configs.get(currency, CurrencyConfigReport(currency, Rate(0, 0), 0, False))
        configs[currency] = replace(config, **values)  # type: ignore[arg-type]
        self.report.friends[key] = replace(friend, currency_configs=tuple(configs.values()))


def _world(**balances: int) -> World:
    report = _report(**balances)
    return World(report, plan_move(report, OLD, TICKET))


def _until_unfinished(world: World) -> Unfinished:
    while not isinstance(step := world.step(), Unfinished):
        world.carry_out(step, dies=False)
    return step


BALANCES = st.dictionaries(st.sampled_from(["FST", "USD", "EUR"]), st.integers(-200, 200), max_size=3)


@settings(deadline=None)
@given(balances=BALANCES, closed=st.sets(st.sampled_from(["FST", "USD"])), dies=st.lists(st.booleans(), max_size=60))
def test_every_move_comes_to_its_end(balances: dict[str, int], closed: set[str], dies: list[bool]) -> None:
    """Whenever a run is killed: what the old friend had, the new one has, by one payment for each balance."""
    report = _report(**balances)
    old = report.friends[OLD]
    configs = tuple(replace(it, is_open=it.currency not in closed) for it in old.currency_configs)
    report.friends[OLD] = replace(old, currency_configs=configs)
    world = World(report, plan_move(report, OLD, TICKET))
    for _ in range(200):
        step = world.step()
        if isinstance(step, Done):
            break
        if isinstance(step, Remove):
            assert all(moved.is_moved for moved in world.disk.currencies)
            assert world.balances(OLD) == balances
        if not isinstance(step, Unfinished):
            world.carry_out(step, dies=dies.pop() if dies else False)
            continue
        if step.waits:
            world.agree()
            continue
        for asked in step.asked:
            world.answer(asked)
    assert isinstance(world.step(), Done)
    assert OLD not in world.report.friends
    kept = {currency: balance for currency, balance in world.balances(NEW.public_key).items() if balance}
    assert kept == {currency: balance for currency, balance in balances.items() if balance}
    assert len(world.collected) == sum(balance > 0 for balance in balances.values())
    assert len(world.paid) == sum(balance < 0 for balance in balances.values())
    new = world.report.friends[NEW.public_key]
    assert new.name == "bob"
    assert sorted(map(repr, new.currency_configs)) == sorted(map(repr, configs))


def test_what_is_asked_of_whom() -> None:
    """Both orders at once; and only what has a balance is asked for."""
    world = _world(FST=100, USD=-40, EUR=0)
    first = _until_unfinished(world)
    assert [(asked.wanted, asked.moved and asked.moved.amount) for asked in first.asked] == [
        (Wanted.PAYMENT, 100),
        (Wanted.INVOICE, 40),
    ]
    assert first.waits == ("bob-new to be online",)
    assert world.report.friends[OLD].status is FriendStatusReport.DISABLED
    world.agree()
    assert _until_unfinished(world).waits == ()


def test_who_owes_more_than_the_limit_may_do_so_until_it_is_moved() -> None:
    """100 are owed, and the limit is 70."""
    world = _world(FST=100)
    asked = _until_unfinished(world)
    assert [config.remote_max_debt for config in world.report.friends[NEW.public_key].currency_configs] == [100]
    world.agree()
    world.answer(asked.asked[0])
    assert isinstance(world.step(), Collect)
    _until_end_of_transfer(world)
    assert [config.remote_max_debt for config in world.report.friends[NEW.public_key].currency_configs] == [70]


def _until_end_of_transfer(world: World) -> None:
    world.removes = False
    assert _until_unfinished(world).asked == (Asked(Wanted.REMOVAL),)
    assert OLD in world.report.friends


def test_what_does_not_come_over_the_direct_link_is_not_collected() -> None:
    """One credit less than the invoice asks for is frozen with the new friend: some came over others."""
    world = _world(FST=100)
    asked = _until_unfinished(world)
    world.agree()
    world.answer(asked.asked[0])
    _frozen(world.report, NEW.public_key, FST, 0, 99)
    with pytest.raises(MoveRefused, match="not come over the direct link"):
        world.step()


def test_papers_for_something_else_are_refused() -> None:
    """A commit of another invoice, and invoices of others, over less, or in another currency."""
    world = _world(FST=100, USD=-40)
    _until_unfinished(world)
    world.agree()
    (invoice,) = world.disk.of(FST).invoices
    world.commits[FST] = build_commit(replace(invoice, dest_payment=1), NODE)
    with pytest.raises(MoveRefused, match="commit of FST collects nothing, InvoiceCommitMismatch"):
        world.step()
    del world.commits[FST]
    good = Invoice(InvoiceId(b"\x09" * 32), USD, NEW.public_key, 40)
    for other in (
        replace(good, dest_public_key=OLD),
        replace(good, dest_payment=41),
        replace(good, currency=EUR),
    ):
        world.invoices[USD] = other
        with pytest.raises(MoveRefused, match="not one of the new friend over 40 USD"):
            world.step()
    world.invoices[USD] = good
    assert world.step() == TakeInvoice(good)


def test_another_invoice_is_not_paid() -> None:
    """The one that was taken first stands, whatever is handed over later."""
    world = _world(USD=-40)
    _until_unfinished(world)
    world.agree()
    first, second = (Invoice(InvoiceId(bytes([n]) * 32), USD, NEW.public_key, 40) for n in (8, 9))
    world.invoices[USD] = first
    world.carry_out(world.step(), dies=False)
    world.invoices[USD] = second
    assert world.step() == Pay(first)


def test_the_old_friend_stays_as_it_was() -> None:
    """Enabled again by somebody, it is disabled; with another balance, or gone, the move stops."""
    world = _world(FST=100)
    _until_unfinished(world)
    world.report.friends[OLD] = replace(world.report.friends[OLD], status=FriendStatusReport.ENABLED)
    assert isinstance(world.step(), Configure)
    world.report.friends[OLD] = replace(_friend("bob", FST=90), status=FriendStatusReport.DISABLED)
    with pytest.raises(MoveRefused, match="is 90 FST, and was 100"):
        world.step()
    del world.report.friends[OLD]
    with pytest.raises(MoveRefused, match="removed before its account had moved"):
        world.step()


def test_what_was_put_aside_is_waited_for() -> None:
    """A payment that was refused is no step until the run takes it up again; one with a commit asks a person."""
    world = _world(USD=-40)
    _until_unfinished(world)
    world.agree()
    world.answer(Asked(Wanted.INVOICE, world.disk.of(USD)))
    world.carry_out(world.step(), dies=False)
    world.later[USD] = "bob-new to set a limit"
    assert world.step() == Unfinished((), ("bob-new to set a limit",))
    world.later[USD] = ""
    assert world.step() == Unfinished((Asked(Wanted.COLLECTION, world.disk.of(USD)),), ())
    world.later.clear()
    assert isinstance(world.step(), Pay)
