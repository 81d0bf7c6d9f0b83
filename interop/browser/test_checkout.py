"""The page for a buyer: seen without a log-in, paid from a wallet elsewhere, and turned to Paid by itself."""

import os
from pathlib import Path

from playwright.sync_api import Browser, expect

from interop.browser.people import DESKTOP, PHONE, Person, open_page, open_wallet
from interop.network import Network

SCREENSHOTS = os.environ.get("OFFSET_SCREENSHOTS")


def _ask(alice: Person) -> str:
    """Alice asks for 25 FST; the address of the page for the buyer."""
    alice.go("Ask")
    alice.fill("Amount", "25")
    alice.fill("Currency", "FST")
    alice.fill("What for", "Bread & butter")
    alice.press("Make the request")
    alice.sees("Waiting to be paid")
    return alice.text_of("Its address")


def _pay(bob: Person, request: str) -> str:
    """Bob pays in his own wallet; what he gets to hand over."""
    bob.go("Pay")
    bob.fill("The request to pay", request)
    bob.press("Look at it")
    bob.sees("Pay this?")
    bob.press("^Pay 25")
    bob.sees("One more step")
    return bob.text_of("The text for the seller")


def test_a_buyer_at_the_checkout(browser: Browser, network: Network) -> None:
    """Bob sees the page of the shop beside his wallet, and hands over there what the wallet gives him."""
    screenshots = None if SCREENSHOTS is None else Path(SCREENSHOTS)
    network.befriend("alice", "bob", "FST")
    network.set_limit("alice", "bob", "FST", 100)
    with (
        open_wallet(network, "alice", browser, DESKTOP, screenshots) as alice,
        open_wallet(network, "bob", browser, PHONE, screenshots) as bob,
        open_page("buyer", alice.url, browser, PHONE, screenshots) as shop,
    ):
        shop.page.goto(_ask(alice))
        shop.sees("Pay this")
        expect(shop.page.get_by_text("Bread & butter")).to_be_visible()
        shop.look("checkout")
        shop.fill("What your wallet gives you", "offset:commit1qqqq")
        shop.press("Hand it over")
        expect(shop.page.get_by_text("That did not work")).to_be_visible()
        shop.look("checkout-wrong")
        shop.fill("What your wallet gives you", _pay(bob, shop.text_of("The request as text")))
        shop.press("Hand it over")
        shop.sees("^Paid$")
        shop.look("checkout-paid")
        alice.sees("^Paid$")  # both by themselves
        bob.sees("^Paid$")
        shop.forgiven.append("400 (Bad Request)")
        shop.page.goto(alice.url)
        shop.sees("locked")  # the page of an invoice leads to nothing else
