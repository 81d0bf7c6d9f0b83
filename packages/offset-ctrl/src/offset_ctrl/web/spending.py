"""
How much each token has paid on each day (UTC).

The sum of a day is one row, read and written under the lock of a transaction. So the limit holds to the credit, however
many requests come at once and whatever ends the process between them. What is counted is in `payment_book` for payments
and in `circle_runs` for circles; all of it is only to be called inside of the transaction that stores the rest.
"""

from typing import Final

from offset_ctrl.web.database import Database
from offset_ctrl.web.tokens import Visitor
from offset_proto.errors import RefusedError

__all__ = ["DAY_SECONDS", "DailyLimitReached", "count", "reserve", "spent"]

DAY_SECONDS: Final = 86400


class DailyLimitReached(RefusedError):
    """
    The token may not pay so much today; nothing was sent.

    Attributes:
        available: Credits that it may still pay today, fees included.
    """

    def __init__(self, wanted: int, available: int, currency: str) -> None:
        super().__init__(f"this token may pay {available} {currency} more today (UTC), and this would be {wanted}")
        self.available = available


def reserve(database: Database, visitor: Visitor, currency: str, day: int, total: int) -> None:
    """
    Count *total* credits on a day; days count from 1970-01-01.

    Raises:
        DailyLimitReached: That is more than the token may pay, or it may pay nothing in this currency at all.
    """
    most = visitor.grants.limit(currency)
    available = most - spent(database, visitor.owner, currency, day)
    if not visitor.grants.is_unlimited and (most == 0 or total > available):
        raise DailyLimitReached(total, max(0, available), currency)
    count(database, visitor.owner, currency, day, total)


def count(database: Database, owner: str, currency: str, day: int, change: int) -> None:
    """Count so many credits more; negative: less."""
    amount = spent(database, owner, currency, day) + change
    database.ask("INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?)", owner, currency, day, str(amount))


def spent(database: Database, owner: str, currency: str, day: int) -> int:
    """Credits that count against the limit of a token on a day."""
    query = "SELECT amount FROM spent WHERE owner = ? AND currency = ? AND day = ?"
    row = database.ask_one(query, owner, currency, day)
    return 0 if row is None else int(row[0])
