"""
Errors of the SDK as answers of HTTP: problem details (RFC 9457), with the names that the errors have in Python. Pure.

An error that is not in the table is a fault of ours, and its text goes to the log and not to the client.
"""

from typing import Final

from offset_ctrl.connection.client import ConnectionClosed, NodeConnectionError, NotAnnounced, RoutesUnavailable
from offset_ctrl.sdk.errors import InvoiceEndUnknown, InvoiceNotOpen, NotPermitted, RequestRefused, UnknownName
from offset_ctrl.sdk.failures import PaymentFailed
from offset_ctrl.sdk.history import HistoryReplaced
from offset_ctrl.web.database import DatabaseUnavailable
from offset_ctrl.web.forms import Failure, Problem
from offset_ctrl.web.keys import KeyReused, TooManyOpen
from offset_ctrl.web.payment_book import DailyLimitReached
from offset_proto.errors import InvalidInput, OffsetError

__all__ = ["Rejected", "answer_of", "describe_failure", "for_strangers", "problem_of", "rejection"]

_STATUSES: Final[tuple[tuple[type[OffsetError], int], ...]] = (
    (DailyLimitReached, 403),
    (NotPermitted, 403),
    (UnknownName, 404),
    (KeyReused, 422),
    (TooManyOpen, 429),
    (InvoiceNotOpen, 409),
    (RequestRefused, 409),
    (HistoryReplaced, 409),
    (PaymentFailed, 409),
    (NotAnnounced, 501),
    (InvoiceEndUnknown, 503),
    (NodeConnectionError, 503),
    (ConnectionClosed, 503),
    (RoutesUnavailable, 503),
    (DatabaseUnavailable, 503),
    (InvalidInput, 400),
)
"""The first class that fits says the status."""

_SHOP_AWAY: Final = (
    "The shop can not be reached at the moment. Your amount is set aside; keep the text, and hand it over again in a "
    "minute."
)

_TYPE: Final = "urn:offset:problem:"


class Rejected(Exception):
    """
    A request is not carried out.

    Attributes:
        problem: Says why.
        headers: Of the answer.
    """

    def __init__(self, problem: Problem, headers: dict[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers or {}


def rejection(status: int, name: str, detail: str, headers: dict[str, str] | None = None) -> Rejected:
    """A request is not carried out, for a reason that is none of the SDK's."""
    return Rejected(Problem(type=_TYPE + name, title=name, status=status, detail=detail), headers)


def problem_of(error: Exception) -> Problem | None:
    """What to answer for an error of a verb; None: it is a fault of ours."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            name = type(error).__name__
            return Problem(
                type=_TYPE + name,
                title=name,
                status=status,
                detail=str(error),
                available=_amount(error, "available"),
                largest=_amount(error, "largest"),
                position=getattr(error, "position", None),
            )
    return None


def for_strangers(error: Exception) -> Rejected | None:
    """
    What whoever has no token is answered for an error of a verb; None: it is a fault of ours.

    Where the node is away, the words of an error name its address and what the system says. They are for its owner.
    """
    if isinstance(error, NodeConnectionError | ConnectionClosed | DatabaseUnavailable):
        return rejection(503, "ShopAway", _SHOP_AWAY, {"retry-after": "60"})
    return answer_of(error)


def answer_of(error: Exception) -> Rejected | None:
    """What the owner of a token is answered for an error of a verb; None: it is a fault of ours."""
    problem = problem_of(error)
    return None if problem is None else Rejected(problem)


def describe_failure(error: OffsetError) -> Failure:
    """Why a payment failed, for whoever asks for the payment later."""
    return Failure(
        name=type(error).__name__,
        detail=str(error),
        available=_amount(error, "available"),
        largest=_amount(error, "largest"),
        position=getattr(error, "position", None),
    )


def _amount(error: Exception, attribute: str) -> str | None:
    value = getattr(error, attribute, None)
    return None if value is None else str(value)
