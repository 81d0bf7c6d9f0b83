"""
The history of a node: each change of a balance with a friend, and why. An extension; spec 12 §6 (app_server.capnp).

Entries are numbered from 1, without gaps, and none is ever changed. For each friend and currency each entry goes on
from the balance that the one before it came to, and the last one comes to the balance as it is: the sum of all changes.
The owner may move the first entries to an archive. Opening entries with the last of their numbers stand for them then.
"""

import enum
from typing import Annotated, Final

from offset_proto.errors import InvalidInput
from offset_proto.layout import Optional, declare_enum, member, struct
from offset_proto.types import I128, U32, U64, U128, Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = [
    "EVERY_ENTRY",
    "HISTORY_PAGE_ENTRIES_MAX",
    "NOTE_LETTERS_MAX",
    "EntryKind",
    "FollowHistory",
    "HistoryEnd",
    "HistoryEntry",
    "HistoryFilter",
    "HistoryPage",
    "NoteEntry",
    "NoteInvoice",
    "NotePayment",
    "NoteRequest",
    "ReadHistory",
    "check_note",
]

HISTORY_PAGE_ENTRIES_MAX: Final = 1000
"""Entries of one page; whoever asks for more gets so many."""

NOTE_LETTERS_MAX: Final = 500
"""Of one note."""


class EntryKind(enum.Enum):
    """
    What an entry tells; the friend and the currency are always those of the entry.

    The balance is what the friend owes us, below zero what we owe. While the channel is broken there is no balance that
    both sides have signed; what counts then is what our own terms for a reset ask for.

    Attributes:
        OPENING: The balance that was there when the history began, or that the entries in an archive had come to.
        PAID: A part of a payment of ours was collected: *amount* for the seller, who is *party*, *fee* for mediators.
        RECEIVED: A part of an invoice of ours was collected: *amount* of the invoice, *fee* what mediators left of
            the fees, which is ours, too.
        FORWARDED: A request passed through us. There are two such entries with one request id: the friend who sent it
            to us owes us more, and we owe more to the one who got it from us; each names the other as *party*. What
            they differ by is our fee, and stands in the second one. *amount* is what goes to the seller.
        BROKEN: The channel broke; from now on our terms count, which add what the friend had frozen.
        RESET: The channel starts anew, from the balance that both sides accepted.
        FORGIVEN: We removed the friend, and what was owed is forgotten.
        LIMIT: The friend may owe us *amount* from now on.
        RATE: The friend pays for forwarding a share of *amount* / 2**32 and *fee* credits from now on.
        OPENED, CLOSED: We forward for the friend from now on, or do not.
        WITHDRAWN: We do not want the currency with this friend any more.
    """

    OPENING = "opening"
    PAID = "paid"
    RECEIVED = "received"
    FORWARDED = "forwarded"
    BROKEN = "broken"
    RESET = "reset"
    FORGIVEN = "forgiven"
    LIMIT = "limit"
    RATE = "rate"
    OPENED = "opened"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


declare_enum("app_server", EntryKind)


@struct("app_server")
class HistoryEntry:
    """
    One entry.

    Attributes:
        number: From 1, without gaps.
        time: When it was stored, in seconds since 1970, by the clock of the node, which may have been set back.
        friend, currency: Whose balance it is about.
        kind: Says what the other fields mean.
        before, balance: Credits that the friend owed us before and after it.
        amount, fee: In credits; 0 where the kind says nothing of them.
        opt_party: The seller, or the other friend of a request that was forwarded.
        opt_invoice_id, opt_payment_id, opt_request_id: Of the payment, as far as this node knows them.
        note: What the owner wrote to it, or to its payment or invoice; empty where there is nothing.
        opt_app: The app that asked for the payment, made the invoice, or changed the setting; None: it is not known, or
            no app did.
    """

    number: U64
    time: U64
    friend: PublicKey
    currency: Currency
    kind: EntryKind
    before: I128
    balance: I128
    amount: U128
    fee: U128
    opt_party: Annotated[PublicKey | None, Optional("party")]
    opt_invoice_id: Annotated[InvoiceId | None, Optional("invoiceId")]
    opt_payment_id: Annotated[PaymentId | None, Optional("paymentId")]
    opt_request_id: Annotated[Uid | None, Optional("requestId")]
    note: str
    opt_app: Annotated[PublicKey | None, Optional("app")]

    @property
    def change(self) -> int:
        """Credits that the friend owes us more; below zero: less. It may need one bit more than a balance."""
        return self.balance - self.before


@struct("app_server")
class HistoryFilter:
    """
    Which entries are wanted.

    Attributes:
        opt_friend, opt_currency: Of this one only; None: of all.
        kinds: Of these only; empty: of all.
        since, until: Seconds since 1970: not before the one, and before the other; 0: no bound.
    """

    opt_friend: Annotated[PublicKey | None, Optional("friend")]
    opt_currency: Annotated[Currency | None, Optional("currency")]
    kinds: tuple[EntryKind, ...]
    since: U64
    until: U64


EVERY_ENTRY: Final = HistoryFilter(None, None, (), 0, 0)
"""The filter that leaves nothing out."""


@struct("app_server")
class ReadHistory:
    """
    Give me a page of the history.

    Attributes:
        request_id: The page repeats it.
        after, before: Numbers that bound what is wanted; neither is part of it. *before* 0: no bound.
        newest_first: From the last entry down, instead of up.
        limit: Entries that are wanted; the node gives `HISTORY_PAGE_ENTRIES_MAX` at most.
        filter: Which entries.
    """

    request_id: Uid
    after: U64
    before: U64
    newest_first: bool
    limit: U32
    filter: HistoryFilter


@member
class FollowHistory:
    """Tell me the number of the last entry, and then each new one, for as long as I am connected."""


@struct("app_server")
class HistoryPage:
    """
    A page of the history.

    Attributes:
        request_id: Of the `ReadHistory` that it answers.
        entries: In the order that was asked for. There may be none although more follow: the node looks at so many
            entries for a page and no more.
        through: The page leaves out nothing up to this number, or down to it where the newest come first.
        end: Number of the last entry of the whole history; 0: there is none.
        archived: Up to this number entries were moved to an archive; 0: none were. What has such a number here is an
            opening entry, which stands for them.
        is_whole: The app is shown every entry that its filter wants. Not so where a plugin limits what it sees, and
            never said by a node older than this field: then what is not in a page may have happened all the same.
        timeline: Which history of this node it is. Numbers are given again where a node goes on from what is older, or
            from nothing; its history has another timeline from then on. 0: the first one, or the node does not say.
    """

    request_id: Uid
    entries: tuple[HistoryEntry, ...]
    through: U64
    end: U64
    archived: U64
    is_whole: bool
    timeline: U64


@struct("app_server")
class HistoryEnd:
    """The history has come to the entry of the number *end*; 0: there is none. *timeline* is as in `HistoryPage`."""

    end: U64
    timeline: U64


@struct("app_server")
class NoteInvoice:
    """Keep *note* with an invoice of ours, instead of what was noted before; empty: nothing any more."""

    invoice_id: InvoiceId
    note: str


@struct("app_server")
class NotePayment:
    """Keep *note* with a payment of ours, instead of what was noted before; empty: nothing any more."""

    payment_id: PaymentId
    note: str


@struct("app_server")
class NoteEntry:
    """Keep *note* with one entry, before that of its payment or invoice; no effect where there is no such entry."""

    number: U64
    note: str


NoteRequest = NoteInvoice | NotePayment | NoteEntry
"""Whatever keeps a note."""


def check_note(text: str) -> None:
    """
    Check that *text* can be a note.

    Raises:
        InvalidInput: It is too long, or has letters that can not be shown, such as an end of line.
    """
    if len(text) > NOTE_LETTERS_MAX:
        raise InvalidInput(f"a note of {len(text)} letters; {NOTE_LETTERS_MAX} are the most")
    for position, letter in enumerate(text, 1):
        if not letter.isprintable():
            raise InvalidInput(f"a note has one line of letters that can be shown; letter {position} is {letter!r}")
