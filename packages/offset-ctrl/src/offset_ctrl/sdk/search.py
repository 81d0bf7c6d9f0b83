"""
Where the parts of one payment go: routes are asked for, and asked for again where some have failed.

Rules.
1. Routes that the app knows are used alone. Otherwise the node asks an index server.
2. A route that has failed is avoided, and so are the hops that have probably refused (`offset_ctrl.rules.suspicion`).
   Where the index server answers with such routes alone, it is asked again with one suspected hop left out, the
   likeliest first. Where every answer crosses a suspect, a route that has not failed is taken all the same.
3. With no other route for `AGAIN_TICKS` ticks, those that failed are tried again: a friend may have been away for a
   moment.
4. The search for a route ends after the seconds that the app has set; a payment that fails too often ends it, too.
"""

import asyncio
import itertools
from dataclasses import dataclass, replace
from typing import Final

from offset_ctrl.connection.client import RoutesUnavailable
from offset_ctrl.connection.session import ATTEMPTS, NodeSession
from offset_ctrl.rules.routes import RouteChoice, choose_routes
from offset_ctrl.rules.suspicion import Sent, Suspicion, hops_of, suspect
from offset_ctrl.sdk.capacity import routes_request
from offset_ctrl.sdk.failures import FeesTooHigh, NoIndexServer, PaymentFailed
from offset_ctrl.sdk.reasons import why_no_route, why_refused
from offset_proto.files import Invoice
from offset_proto.messages.index import Edge, MultiRoute
from offset_proto.rate import FeeOverflow
from offset_proto.types import U32, U128, PublicKey

__all__ = ["PayOptions", "RouteSearch", "Tried"]

FAILED_PARTS_MAX: Final = 16
"""Transactions of one payment that may fail before it is given up."""

AGAIN_TICKS: Final = 2

EXCLUSIONS_MAX: Final = 4
"""When routes are asked for again, they are to avoid at most so many hops of routes that have failed."""


@dataclass(frozen=True, slots=True)
class PayOptions:
    """
    How to pay: limits of time and fees, and routes that are known.

    Attributes:
        timeout: Seconds until the commit must be there; None: until the payment is given up. Without this limit, a
            node that is away is waited for, and does not fail the payment.
        route_seconds: Seconds to go on asking where index servers know no route yet.
        fees_max: Credits that all mediators together may take; None: any.
        extra_fees: Credits to offer on each route with a mediator beyond what index servers say; the seller gets what
            mediators leave.
        routes: Known already, the preferred ones first; None: ask an index server.
    """

    timeout: float | None = 60.0
    route_seconds: float = 10.0
    fees_max: U128 | None = None
    extra_fees: U32 = 0
    routes: tuple[MultiRoute, ...] | None = None

    @property
    def attempts(self) -> int | None:
        """Connections that a request of the payment may lose; None: any number."""
        return None if self.timeout is None else ATTEMPTS


@dataclass(frozen=True, slots=True)
class Tried:
    """
    What was done so far to find a way for a payment.

    Attributes:
        questions: Times that an index server was to be asked for routes, by way of the node.
        unavailable: Of these, how many the node could hand to no index server.
        fruitless: Of these, how many were answered without any route.
        fruitful: Of these, how many were answered with routes. The rest has no answer.
        failed: Transactions that were sent and have failed.
    """

    questions: int = 0
    unavailable: int = 0
    fruitless: int = 0
    fruitful: int = 0
    failed: int = 0


class RouteSearch:
    """
    The search for routes of one payment.

    Attributes:
        failed: The parts that have failed, in their order.
        has_answers: Whether the seller has accepted a part; set by the payment.
    """

    def __init__(self, session: NodeSession, invoice: Invoice, options: PayOptions) -> None:
        self._session = session
        self._invoice = invoice
        self._options = options
        self.failed: list[Sent] = []
        self.has_answers = False
        self._tried = Tried()

    @property
    def tried(self) -> Tried:
        """What was done so far."""
        return replace(self._tried, failed=len(self.failed))

    async def part_failed(self, part: Sent) -> None:
        """
        This part has failed.

        Raises:
            PaymentFailed: Too many have.
        """
        self.failed.append(part)
        if len(self.failed) >= FAILED_PARTS_MAX:
            raise await self._refused()

    async def _refused(self) -> PaymentFailed:
        return await why_refused(self._session, self._invoice, self.failed, has_answers=self.has_answers)

    async def choose(self, amount: int, fees_before: int, accepted: tuple[Sent, ...] = ()) -> RouteChoice:
        """
        How to send *amount* credits to the seller.

        Args:
            amount: Credits that are to arrive.
            fees_before: Credits that the other parts of the payment cost.
            accepted: Those of the other parts that the seller has accepted.

        Raises:
            PaymentFailed: There is no way, or it costs more than the app has allowed.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.route_seconds
        for ticks in itertools.count():
            failed = () if ticks >= AGAIN_TICKS else tuple(self.failed)
            failure: PaymentFailed | None = None
            try:
                choice = await self._choose_once(amount, failed, suspect(failed, accepted))
            except RoutesUnavailable as error:
                choice, failure = None, NoIndexServer(str(error))
            except FeeOverflow as error:
                raise FeesTooHigh(str(error)) from None
            if choice is not None:
                fees = choice.total_fees + fees_before
                if self._options.fees_max is not None and fees > self._options.fees_max:
                    raise FeesTooHigh(f"fees of {fees}, more than {self._options.fees_max}")
                return choice
            if loop.time() >= end or self._options.routes is not None:
                raise failure or await self._failure()
            await asyncio.sleep(self._session.tick_seconds)
        raise AssertionError("a count has no end")

    async def _failure(self) -> PaymentFailed:
        if self.failed:
            return await self._refused()
        return await why_no_route(self._session, self._invoice, self._options.routes)

    async def _choose_once(self, amount: int, failed: tuple[Sent, ...], suspicion: Suspicion) -> RouteChoice | None:
        known = self._options.routes
        routes = frozenset(part.public_keys for part in failed)
        answers: list[tuple[MultiRoute, ...]] = []
        exclusions: tuple[Edge | None, ...] = (None, *suspicion.order[:EXCLUSIONS_MAX])
        for exclude in exclusions if known is None else (None,):
            answers.append(await self.ask(amount, exclude) if known is None else known)
            choice = self._choose_from(answers[-1], amount, routes, suspicion.avoided)
            if choice is not None:
                return choice
        for answer in answers:
            choice = self._choose_from(answer, amount, routes, frozenset())
            if choice is not None:
                return choice
        return None

    async def ask(self, amount: int, exclude: Edge | None) -> tuple[MultiRoute, ...]:
        """
        Ask an index server for routes to the seller that can carry *amount* credits.

        Raises:
            RoutesUnavailable: The node is not connected to an index server.
            NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
        """
        self._tried = replace(self._tried, questions=self._tried.questions + 1)
        try:
            ends = self._session.report.local_public_key, self._invoice.dest_public_key
            request = routes_request(self._invoice.currency, amount, *ends, exclude)
            routes = await self._session.request_routes(request, attempts=self._options.attempts)
        except RoutesUnavailable:
            self._tried = replace(self._tried, unavailable=self._tried.unavailable + 1)
            raise
        if routes:
            self._tried = replace(self._tried, fruitful=self._tried.fruitful + 1)
        else:
            self._tried = replace(self._tried, fruitless=self._tried.fruitless + 1)
        return routes

    def _choose_from(
        self,
        multi_routes: tuple[MultiRoute, ...],
        amount: int,
        failed: frozenset[tuple[PublicKey, ...]],
        avoided: frozenset[Edge],
    ) -> RouteChoice | None:
        """How to send *amount* over routes that have not *failed* and cross none of the hops *avoided*."""

        def is_fresh(public_keys: tuple[PublicKey, ...]) -> bool:
            return public_keys not in failed and avoided.isdisjoint(hops_of(public_keys))

        fresh = [
            MultiRoute(tuple(route for route in multi.routes if is_fresh(route.route.public_keys)))
            for multi in multi_routes
        ]
        return choose_routes(tuple(multi for multi in fresh if multi.routes), amount, self._options.extra_fees)
