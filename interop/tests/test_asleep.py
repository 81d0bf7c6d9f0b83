"""A seller that does not answer: no command waits for ever, and nothing stays frozen. Spec 12, 09 §8, §9."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from random import Random
from threading import Timer

import pytest

from interop.live.payments import wait_for_route
from interop.network import Network
from interop.programs import OURS, wait_until
from interop.sleepers import GOES_ON, CommandPayment, asleep, frozen_credits


def test_a_payment_goes_on_when_the_seller_wakes(chain: Network) -> None:
    """pay-invoice ends with what is frozen; called again, it writes the commit of the same payment."""
    before = chain.balance("A", "B", "FST")["balance"]
    wait_for_route(chain, "A", "C", "FST", 30)
    payment = CommandPayment(chain, "asleep")
    payment.create_invoice(30)
    with asleep(chain, "C"):
        assert payment.pay(2) == GOES_ON
        said = payment.status()
        assert said["state"] == "open"
        assert [part["state"] for part in said["parts"]] == ["frozen"]  # type: ignore[attr-defined]
        (listed,) = json.loads(chain.stctrl("A", "buyer", "payments", "--json").stdout)
        assert listed["payment_id"] == said["payment_id"]
        assert not payment.commit.exists()
    assert payment.pay(60) == 0
    (invoice,) = json.loads(chain.stctrl("C", "seller", "invoices", "--json").stdout)
    assert int(invoice["arrived"]) == 30
    payment.collect()
    assert chain.balance("A", "B", "FST")["balance"] == before - 31  # B takes 1
    assert frozen_credits(chain) == 0


def test_an_invoice_that_ends_frees_everything(chain: Network) -> None:
    """Its seller was asleep when it ended; soon after it is back, no credit is frozen anywhere."""
    before = chain.balance("A", "B", "FST")["balance"]
    wait_for_route(chain, "A", "C", "FST", 20)
    payment = CommandPayment(chain, "ends")
    payment.create_invoice(20, "--expires", "6s")
    with asleep(chain, "C"):
        assert payment.pay(8) == GOES_ON
        assert payment.status()["state"] == "open"
    wait_until("all credits to be free", lambda: frozen_credits(chain) == 0, 40)
    assert chain.balance("A", "B", "FST")["balance"] == before
    said = payment.status()
    assert said["parts"] == []
    assert "give-up" in str(said["waits_for"])
    assert "canceled" in chain.stctrl("A", "buyer", "give-up", "-p", payment.payment).stdout
    assert json.loads(chain.stctrl("C", "seller", "invoices", "--json").stdout) == []


@contextmanager
def _away(network: Network, what: str) -> Iterator[None]:
    """Without relays, without the friend on the way, or with a disk of the buyer's node that takes its time."""
    if what == "friend":
        with asleep(network, "B"):
            yield
    elif what == "relays":
        for name in ("relay0", "relay1"):
            network.servers[name].kill()
        try:
            yield
        finally:
            for name in ("relay0", "relay1"):
                network.servers[name].start()
    else:
        database = sqlite3.connect(network.path("A.db"), isolation_level=None, check_same_thread=False)
        with closing(database):
            database.execute("BEGIN IMMEDIATE")  # what the node has to store waits for the end of this
            release = Timer(3, database.execute, ["ROLLBACK"])
            release.start()
            yield
            release.join()


@pytest.mark.parametrize("what", ["friend", "relays", "disk"])
def test_commands_end_whatever_is_away(chain: Network, what: str) -> None:
    """The same command finishes the payment when everything is back."""
    before = chain.balance("A", "B", "FST")["balance"]
    wait_for_route(chain, "A", "C", "FST", 7)
    payment = CommandPayment(chain, f"away-{what}")
    payment.create_invoice(7)
    with _away(chain, what):
        assert payment.pay(2) in (0, 1, GOES_ON)  # 1: no friend is online, so that nothing was begun
    wait_until("the payment to get through", lambda: payment.pay(20) == 0, 120)
    payment.collect()
    assert chain.balance("A", "B", "FST")["balance"] == before - 8
    assert frozen_credits(chain) == 0


KILLS = 6
"""Of stctrl, at random moments of a payment."""


def test_a_killed_stctrl_leaves_files_to_go_on_from(chain: Network) -> None:
    """kill -9 in any moment: commands alone finish the payment or give it up, and the balances are exact."""
    kill_and_go_on(chain, KILLS, Random(5))


def kill_and_go_on(network: Network, count: int, chance: Random) -> dict[str, int]:
    """Kill *count* payments; how many of them were paid, and how many given up."""
    ends = {"paid": 0, "given up": 0}
    wait_for_route(network, "A", "C", "FST", 5)
    before = network.balance("A", "B", "FST")["balance"]
    for number in range(count):
        payment = CommandPayment(network, f"killed-{count}-{number}")
        payment.create_invoice(5)
        _pay_and_kill(network, payment, chance)
        is_given_up = (
            chance.random() < 0.7
            and payment.payment.exists()
            and not payment.commit.exists()
            and _give_up(network, payment)
        )
        if not is_given_up:
            assert payment.pay(60) == 0
            payment.collect()
            ends["paid"] += 1
        else:
            network.stctrl("C", "seller", "cancel-invoice", "-i", payment.invoice)
            if payment.payment.exists():
                network.stctrl("A", "buyer", "give-up", "-p", payment.payment, "--timeout", 30)
            assert not payment.commit.exists()
            ends["given up"] += 1
    wait_until("all credits to be free", lambda: frozen_credits(network) == 0, 40)
    assert network.balance("A", "B", "FST")["balance"] == before - 6 * ends["paid"]
    assert json.loads(network.stctrl("A", "buyer", "payments", "--json").stdout) == []
    return ends


def _give_up(network: Network, payment: CommandPayment) -> bool:
    """Try to give a payment up; False where its commit was about to be written, so that it can only be finished."""
    said = network.stctrl("A", "buyer", "give-up", "-p", payment.payment, "--timeout", 1, check=False)
    return "CommitMayBeHandedOver" not in said.stderr


def _pay_and_kill(network: Network, payment: CommandPayment, chance: Random) -> None:
    """Begin to pay, and kill -9: mostly while there is a payment and no commit, sometimes before or after."""
    arguments = ["-i", payment.invoice, "-p", payment.payment, "-c", payment.commit]
    command = [OURS.program("stctrl"), *network.login("A"), "buyer", "pay-invoice", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        if chance.random() < 0.8:
            while not payment.payment.exists() and process.poll() is None:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.1))
        else:
            time.sleep(chance.uniform(0.1, 1.2))
        process.kill()
