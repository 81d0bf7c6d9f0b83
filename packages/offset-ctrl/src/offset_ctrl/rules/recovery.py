"""
Becoming friends again after a node's database was lost: what to ask for now, and where each friend stands. Pure.

Nothing is remembered between two looks: all follows from the contact list and the node's report. So a recovery that was
ended in any moment goes on where it was.

==========  ==================================  =================================================================
standing    the channel in the report           next
==========  ==================================  =================================================================
`WAITING`   there is none, or it is consistent  the friend speaks as soon as it has a link
            and lacks an active currency
`TERMS`     inconsistent, with the friend's     whoever accepts them has the balances that the friend knows
            terms
`WORKS`     consistent, with all currencies     limits, rates and openings as they were
==========  ==================================  =================================================================

Accepting terms is up to a person; those that say of each currency what the list says, *agree*.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from offset_ctrl.rules import changes
from offset_ctrl.rules.changes import Change
from offset_proto.contacts import Contact, ContactCurrency, ContactList
from offset_proto.files import FriendTicket
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    FriendReport,
    FriendStatusReport,
    MoveTokenHashedReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import I128, Currency, PublicKey, Signature

__all__ = ["FriendStanding", "Standing", "contacts_of", "proven_balances", "standings", "steps"]

Balances = Mapping[Currency, I128]


class Standing(Enum):
    """How far the recovery of a friend has come."""

    WAITING = "waiting"
    TERMS = "terms"
    WORKS = "works"


@dataclass(frozen=True, slots=True)
class FriendStanding:
    """
    Where a friend stands. Balances are seen from the node, in credits: above zero, the friend owes.

    Attributes:
        contact: Of the list.
        standing: How far it has come.
        says: What the friend says; what is agreed, once it works.
        known: What the list says.
        reset_token: Of the friend's terms; None without them.
    """

    contact: Contact
    standing: Standing
    says: Balances
    known: Balances
    reset_token: Signature | None = None

    @property
    def agrees(self) -> bool:
        """Whether the friend says what the list says, of each currency; one that is missing has a balance of 0."""
        return all(self.says.get(name, 0) == self.known.get(name, 0) for name in {*self.says, *self.known})


def contacts_of(report: ReportView) -> ContactList:
    """The contact list of a node that runs."""
    friends = tuple(_contact_of(key, friend) for key, friend in sorted(report.friends.items()))
    return ContactList(report.local_public_key, tuple(report.relays), tuple(report.index_servers), friends)


def _contact_of(key: PublicKey, friend: FriendReport) -> Contact:
    match friend.channel_status:
        case ChannelConsistentReport(reports):
            balances = {report.currency: report.balance.balance for report in reports}
        case ChannelInconsistentReport(local, _):
            balances = {entry.currency: entry.balance for entry in local}
    currencies = tuple(
        ContactCurrency(
            config.currency,
            config.rate,
            config.remote_max_debt,
            config.is_open,
            config.currency in balances,
            balances.get(config.currency, 0),
        )
        for config in sorted(friend.currency_configs, key=lambda config: config.currency)
    )
    is_enabled = friend.status is FriendStatusReport.ENABLED
    return Contact(key, friend.name, is_enabled, friend.remote_relays, currencies)


def steps(contacts: ContactList, report: ReportView) -> Iterator[Change]:
    """What is to be asked for now, in this order; nothing that holds already, and nothing of broken channels."""
    for relay in contacts.relays:
        if all(known.public_key != relay.public_key for known in report.relays):
            yield changes.add_relay(relay.without_name(), relay.name)
    for server in contacts.index_servers:
        if all(known.public_key != server.public_key for known in report.index_servers):
            yield changes.add_index_server(RelayAddress(server.public_key, server.address), server.name)
    for contact in contacts.friends:
        yield from _steps_of_friend(contact, report)


def _steps_of_friend(contact: Contact, report: ReportView) -> Iterator[Change]:
    key = contact.public_key
    friend = report.friends.get(key)
    if friend is None:
        yield changes.add_friend(FriendTicket(key, contact.relays), contact.name)
    elif isinstance(friend.channel_status, ChannelInconsistentReport):
        return
    wanted = [changes.enable_friend(key)] if contact.is_enabled else []
    for entry in contact.currencies:
        is_open = entry.is_open or None  # one that was closed is closed at first
        wanted += changes.set_up_currency(
            key, entry.currency, rate=entry.rate, max_debt=entry.max_debt, is_open=is_open
        )
    yield from (change for change in wanted if not change.holds(report))


def standings(contacts: ContactList, report: ReportView) -> list[FriendStanding]:
    """Where each friend of the list stands, in the order of the list."""
    return [_standing(contact, report.friends.get(contact.public_key)) for contact in contacts.friends]


def _standing(contact: Contact, friend: FriendReport | None) -> FriendStanding:
    known = {entry.currency: entry.balance for entry in contact.currencies if entry.is_active}
    match None if friend is None else friend.channel_status:
        case ChannelConsistentReport(reports) if {*known} <= {report.currency for report in reports}:
            says = {report.currency: report.balance.balance for report in reports}
            return FriendStanding(contact, Standing.WORKS, says, known)
        case ChannelInconsistentReport(_, terms) if terms is not None:
            says = {entry.currency: -entry.balance for entry in terms.balance_for_reset}
            return FriendStanding(contact, Standing.TERMS, says, known, terms.reset_token)
        case _:
            return FriendStanding(contact, Standing.WAITING, {}, known)


def proven_balances(
    local: PublicKey, tokens: Iterable[MoveTokenHashedReport]
) -> dict[tuple[PublicKey, Currency], I128]:
    """
    What friends have signed, seen from the node *local*; of several tokens of a friend the one of the highest counters.

    Tokens of others, or for others, count for nothing. Their signatures are checked by whoever loads them.
    """
    newest: dict[PublicKey, MoveTokenHashedReport] = {}
    for token in tokens:
        mc = token.token_info.mc
        if mc.remote_public_key != local:
            continue
        known = newest.get(mc.local_public_key)
        if known is None or _age(token) > _age(known):
            newest[mc.local_public_key] = token
    return {
        (friend, entry.currency): -entry.balance_info.balance
        for friend, token in newest.items()
        for entry in token.token_info.mc.balances
    }


def _age(token: MoveTokenHashedReport) -> tuple[int, int]:
    counters = token.token_info.counters
    return counters.inconsistency_counter, counters.move_token_counter
