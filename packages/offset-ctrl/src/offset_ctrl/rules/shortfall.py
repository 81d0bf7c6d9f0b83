"""
Whether friends could bring an amount now; where they could not, what is missing, in words for a person. Pure.

An invoice is made all the same: a friend may come online, or its limit be raised, before somebody pays. Which routes
there are further on, nobody here knows, so that nothing is said where friends could bring enough.

==========================================================  ============================================================
what the report shows                                       what is to be done
==========================================================  ============================================================
no friend trades the currency                               find one, or wait until it has opened it
all limits together are enough, and not those of friends    wait for one whose limit makes up for the rest; where there
who can be paid over now                                    is none, for as few as do so together
all limits together are not enough                          raise one so far that it makes up for the rest, and for what
                                                            its friend owes beyond it already
==========================================================  ============================================================
"""

from typing import Final

from offset_ctrl.rules.capacity import FriendCredit, friend_credits
from offset_ctrl.rules.findings import command
from offset_proto.report_view import ReportView
from offset_proto.types import U128, U128_MAX, Currency

__all__ = ["describe_shortfall"]

NAMED_MAX: Final = 3
"""Friends that are named; of more, one and their number is told, or their number alone where several are needed."""


def describe_shortfall(
    report: ReportView, currency: Currency, amount: U128, stctrl: tuple[str, ...] | None = None
) -> str | None:
    """
    Why no friend, nor all of them together, can bring *amount* now, and what to do; None: they can.

    Args:
        report: Of the node that is to be paid.
        currency, amount: Credits that are to arrive.
        stctrl: With what commands for this node begin; None: say it without commands.
    """
    credits_ = friend_credits(report.friends, currency)
    if sum(credit.receive for credit in credits_) >= amount:
        return None
    if not credits_:
        return _without_friend(report, currency, amount, stctrl)
    now, together = sum(credit.receive for credit in credits_), sum(map(_limit, credits_))
    words = f"friends can bring {now} of {amount} {currency} now" if now else f"no friend can bring {currency} now"
    if together >= amount:
        awaited = _awaited([credit for credit in credits_ if not credit.is_usable], amount - now)
        return f"{words}; it can be paid when {awaited} can be paid over: online, enabled, and {currency} open"
    words = f"{words}, and {together} if all are online"
    raised = _raised(credits_, amount)
    if raised is None:
        return f"{words}; no limit of a single friend is high enough: ask for less, or let several owe you more"
    if stctrl is None:
        return f"{words}; let one owe you more"
    name, limit = raised
    which = ("-n", name, "-c", currency, "-m", str(limit))
    return f"{words}; let one owe you more: {command(*stctrl, 'config', 'set-currency-max-debt', *which)}"


def _limit(credit: FriendCredit) -> int:
    """What a friend could bring if it were online, enabled, and the currency open."""
    return max(_room(credit), 0)


def _room(credit: FriendCredit) -> int:
    """What is left of a friend's limit; below 0: it owes so much more than that, since the limit was lowered."""
    return credit.max_debt - credit.balance - credit.receiving


def _raised(credits_: tuple[FriendCredit, ...], amount: U128) -> tuple[str, int] | None:
    """The friend whose limit is to be raised the least, and to what; None: a limit can not be that high."""
    together = sum(map(_limit, credits_))
    for credit in sorted(credits_, key=_room, reverse=True):
        limit = credit.balance + credit.receiving + amount - (together - _limit(credit))
        if limit <= U128_MAX:
            return credit.name, limit
    return None


def _without_friend(report: ReportView, currency: Currency, amount: U128, stctrl: tuple[str, ...] | None) -> str:
    words = f"no friend trades {currency} with you yet, so nobody can pay this"
    waiting = [
        friend.name
        for friend in report.friends.values()
        if any(config.currency == currency for config in friend.currency_configs)
    ]
    if waiting:
        return f"{words}; wait until {_names(waiting)} has opened it, too, and the channel works"
    if stctrl is None:
        return f"{words}; open it with a friend who opens it, too"
    if report.friends:
        opens = command(*stctrl, "config", "open-currency", "-n", "NAME", "-c", currency)
        limits = command(*stctrl, "config", "set-currency-max-debt", "-n", "NAME", "-c", currency, "-m", str(amount))
        return f"{words}; open it with a friend who opens it, too: {opens}, then {limits}"
    opening = ("--name", "NAME", "--open", currency, "--limit", str(amount))
    return f"{words}; {command(*stctrl, 'friend', 'add', 'THEIR.friend', *opening)} adds a friend"


def _awaited(away: list[FriendCredit], missing: int) -> str:
    """Of friends who can bring *missing* credits together: those who can do so alone, else as few as can."""
    alone = [credit.name for credit in away if _limit(credit) >= missing]
    if alone:
        return _names(alone)
    able = sorted((credit for credit in away if _limit(credit)), key=_limit, reverse=True)
    needed = next(count for count in range(2, len(able) + 1) if sum(map(_limit, able[:count])) >= missing)
    if needed > NAMED_MAX:
        return f"enough of {len(able)} friends"
    return _listed([credit.name for credit in able[:needed]], "and")


def _names(names: list[str]) -> str:
    """Any one of them."""
    return _listed(names, "or") if len(names) <= NAMED_MAX else f"one of {len(names)} friends, such as {min(names)},"


def _listed(names: list[str], word: str) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} {word} {last}" if most else last
