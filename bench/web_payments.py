"""
Payments over HTTP beside payments by the SDK: what stweb costs the program that uses it.

    python -m bench.web_payments [--payments N] [--rounds N] [--at-once N]

Two friends on loopback, each with a stweb. Rounds alternate, on one network: in the one, a client pays through both
stwebs, from the request for an invoice to the receipt; in the other, two apps do the same with `offset_ctrl.connect`,
the buyer's with a journal, as stweb has one. Each payment asks an index server for its route and waits for its end.
stweb writes more to disk than the SDK: what was asked for, by whom, and what is left of a day's limit.
"""

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Final

import click
import httpx

from bench.payments import CURRENCY, STALL_SECONDS, build_chain
from interop.by_hand import run_by_hand
from interop.network import Network
from interop.web import LIMIT, Web
from offset_ctrl import PayOptions, connect
from offset_proto.messages.payment import Commit

__all__ = ["main"]

BUYER, SELLER = "n0", "n1"
OPTIONS: Final = PayOptions(timeout=STALL_SECONDS, route_seconds=STALL_SECONDS)
WAIT_SECONDS: Final = 30.0

Pay = Callable[[], Awaitable[None]]
"""Makes one payment, from invoice to receipt."""


async def _over_http(stack: AsyncExitStack, buyer: Web, seller: Web) -> Pay:
    pays, sells = [await stack.enter_async_context(web.client()) for web in (buyer, seller)]
    keys = (f"{time.time_ns()}-{number}" for number in itertools.count())

    async def ask(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> Any:
        answer = await client.request(method, f"/api/v1/nodes/{path}", **more)
        answer.raise_for_status()
        return answer.json()

    async def pay() -> None:
        key = {"idempotency-key": next(keys)}
        wanted = {"currency": str(CURRENCY), "amount": "1"}
        invoice = (await ask(sells, "POST", f"{SELLER}/invoices", json=wanted, headers=key))["invoice"]
        asked = {"json": {"invoice": invoice}, "headers": key, "params": {"wait": WAIT_SECONDS}}
        payment = await ask(pays, "POST", f"{BUYER}/payments", **asked)
        await ask(sells, "POST", f"{SELLER}/invoices/{invoice['invoice_id']}/commit", json=payment["commit"])
        end = {"wait": WAIT_SECONDS, "wait_for": "end"}
        payment = await ask(pays, "GET", f"{BUYER}/payments/{payment['payment_id']}", params=end)
        if payment["state"] != "paid":
            raise click.ClickException(f"a payment is {payment['state']}: {payment['failure']}")

    return pay


async def _by_sdk(stack: AsyncExitStack, network: Network, journal: Path) -> Pay:
    async def open_app(name: str, kept: Path | None) -> Any:
        files = network.path(f"{name}.ticket"), network.path(f"{name}-app.ident")
        return await stack.enter_async_context(connect(*files, journal=kept))

    buyer, seller = await open_app(BUYER, journal), await open_app(SELLER, None)

    async def pay() -> None:
        invoice = await seller.create_invoice(str(CURRENCY), 1)

        async def deliver(commit: Commit) -> None:
            await seller.accept_commit(invoice, commit)

        await buyer.pay(invoice, deliver, OPTIONS)

    return pay


async def _measure(pay: Pay, payments: int, at_once: int) -> str:
    waits: list[float] = []
    left = iter(range(payments))

    async def work() -> None:
        for _ in left:
            began = time.perf_counter()
            async with asyncio.timeout(STALL_SECONDS):
                await pay()
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work())
    rate = payments / (time.perf_counter() - began)
    return (
        f"{rate:6.1f} payments/s, median {1000 * statistics.median(waits):6.1f} ms, longest {1000 * max(waits):.0f} ms"
    )


async def _run(
    network: Network, webs: tuple[Web, Web], journal: Path, rounds: int, payments: int, at_once: int
) -> None:
    async with AsyncExitStack() as stack:
        ways = {
            "HTTP": await _over_http(stack, *webs),
            "SDK": await _by_sdk(stack, network, journal),
        }
        for pay in ways.values():
            await pay()  # once the index server knows what the nodes can carry
        for number in range(1, rounds + 1):
            for name, pay in ways.items():
                click.echo(f"round {number}, {name:4}: {await _measure(pay, payments, at_once)}")


@click.command()
@click.option("--payments", default=200, help="Of each round.")
@click.option("--rounds", default=3, help="Of each way to pay.")
@click.option("--at-once", default=8, help="Payments under way at the same time.")
def main(payments: int, rounds: int, at_once: int) -> None:
    """Pay through stweb and by the SDK, in turns, and print how fast that was."""
    if payments * rounds >= LIMIT:
        raise click.BadParameter(f"the token of the client may pay {LIMIT} credits in all")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="offset-bench-web-")))
        network = stack.enter_context(Network(place))
        build_chain(network, 2)
        buyer, seller = (_open_web(stack, network, place, name) for name in (BUYER, SELLER))
        asyncio.run(_run(network, (buyer, seller), place / "journal", rounds, payments, at_once))


def _open_web(stack: ExitStack, network: Network, place: Path, name: str) -> Web:
    web = Web(network, place, name)
    stack.callback(web.server.stop)
    return web


if __name__ == "__main__":
    sys.exit(run_by_hand(main))
