"""What happened to the balance with a friend: an entry of the history, in words for a person. Spec 12 §6."""

from offset_proto.messages.history import EntryKind, HistoryEntry
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64, printable
from offset_proto.types import PublicKey

__all__ = ["describe_entry", "friend_name"]


def friend_name(report: ReportView, key: PublicKey) -> str:
    """The local name of a friend; its key, where it is none any more."""
    friend = report.friends.get(key)
    return format_b64(key) if friend is None else printable(friend.name)


def describe_entry(report: ReportView, entry: HistoryEntry) -> str:
    """What happened, in words for a person, and what the owner noted to it."""
    words = _words(report, entry)
    return f"{words}: {printable(entry.note)}" if entry.note else words


def _words(report: ReportView, entry: HistoryEntry) -> str:
    amount, fee = entry.amount, entry.fee
    party = "nobody any more" if entry.opt_party is None else friend_name(report, entry.opt_party)
    match entry.kind:
        case EntryKind.OPENING:
            return "balance brought forward"
        case EntryKind.PAID:
            return f"paid {amount} to {party}" + (f", {fee} in fees" if fee else "")
        case EntryKind.RECEIVED:
            return f"received {amount}" + (f", and {fee} that mediators left" if fee else "")
        case EntryKind.FORWARDED if entry.change >= 0:
            return f"forwarded {amount} to {party}"
        case EntryKind.FORWARDED:
            return f"forwarded {amount} from {party}" + (f", earned {fee}" if fee else "")
        case EntryKind.BROKEN:
            return "the channel broke; our terms count"
        case EntryKind.RESET:
            return "the channel was reset"
        case EntryKind.FORGIVEN:
            return "the friend was removed; forgiven"
        case EntryKind.LIMIT:
            return f"may owe us {amount}"
        case EntryKind.RATE:
            return f"pays {amount} / 2^32 and {fee} for forwarding"
        case EntryKind.OPENED:
            return "opened"
        case EntryKind.CLOSED:
            return "closed"
        case EntryKind.WITHDRAWN:
            return "withdrawn"
