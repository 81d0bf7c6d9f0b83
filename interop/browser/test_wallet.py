"""Two people in their wallets: friends, a limit, a request, a payment, and a receipt."""

import csv
import os
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from interop.browser.people import DESKTOP, PHONE, Person, open_wallet
from interop.network import Network
from offset_proto.files import RECEIPT

SCREENSHOTS = os.environ.get("OFFSET_SCREENSHOTS")


def _befriend(alice: Person, bob: Person) -> None:
    """Each pastes the invitation of the other; alice lets bob owe up to 100."""
    for person in (alice, bob):
        person.look("home-first")
        person.go("Friends")
        person.page.get_by_role("link", name="Add a friend").click()
        person.sees("Add a friend")
        person.look("friend-new")
    invitations = [person.text_of("Your invitation as text") for person in (alice, bob)]
    for person, other, invitation, limit in ((alice, bob, invitations[1], "100"), (bob, alice, invitations[0], "")):
        person.fill("The invitation of your friend", invitation)
        person.fill("Name", other.name)
        person.fill("May owe you up to", limit)
        person.fill("Currency", "FST")
        person.press("Add this friend")
        person.sees(other.name)
    for person in (alice, bob):
        # Nobody loads the page again: the stream of events brings it.
        expect(person.page.get_by_text("Nothing is owed").first).to_be_visible()
        expect(person.page.get_by_text("Connected", exact=True)).to_be_visible()
        person.look("friend")


def _ask(alice: Person, amount: str, note: str) -> str:
    alice.go("Ask")
    alice.sees("Ask for a payment")
    alice.look("ask")
    alice.fill("Amount", amount)
    alice.fill("Currency", "FST")
    alice.fill("What for", note)
    alice.press("Make the request")
    alice.sees("Waiting to be paid")
    alice.look("request")
    return alice.text_of("The request as text")


def _pay_and_collect(alice: Person, bob: Person, request: str) -> None:
    bob.go("Pay")
    bob.sees("Pay")
    bob.look("pay")
    bob.fill("The request to pay", request)
    bob.press("Look at it")
    bob.sees("Pay this?")
    expect(bob.page.get_by_text("Tea for two")).to_be_visible()
    bob.look("review")
    bob.press("^Pay 30")
    bob.sees("One more step")
    bob.look("payment")
    address = bob.page.url
    bob.page.reload()
    bob.sees("One more step")
    commit = bob.text_of("The text for the seller")
    alice.fill("What the buyer hands you", commit)
    alice.press("Collect")
    alice.sees("Paid")
    alice.look("request-paid")
    bob.sees("^Paid$")  # by itself
    assert bob.page.url == address
    bob.look("payment-paid")


def _pay_by_keyboard(alice: Person, bob: Person) -> None:
    """A payment without a mouse: along the ways of a page by Tab, with Enter, and nothing else."""
    request = _ask(alice, "12", "Cake")
    bob.go("Home")
    bob.sees("Overview")
    page = bob.page
    _tab_to(page, "Pay")
    page.keyboard.press("Enter")
    bob.sees("Pay")
    _tab_to(page, "The request to pay")
    page.keyboard.insert_text(request)
    _tab_to(page, "Look at it")
    page.keyboard.press("Enter")
    bob.sees("Pay this?")
    _tab_to(page, "Pay 12 FST")
    page.keyboard.press("Enter")
    bob.sees("One more step")
    alice.fill("What the buyer hands you", bob.text_of("The text for the seller"))
    alice.press("Collect")
    alice.sees("Paid")
    bob.sees("^Paid$")


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until what is called *name* has the focus, and can be seen to have it."""
    script = (
        "() => { const at = document.activeElement; return [at.labels?.[0]?.textContent ?? at.textContent, "
        "getComputedStyle(at).outlineStyle] }"
    )
    for _ in range(40):
        page.keyboard.press("Tab")
        text, outline = page.evaluate(script)
        if " ".join(text.split()) == name:
            assert outline == "solid", f"nobody sees that {name!r} has the focus"
            return
    raise AssertionError(f"nothing that is called {name!r} gets the focus")


def _keep_the_receipt(bob: Person, directory: Path) -> None:
    with bob.page.expect_download() as waiting:
        bob.page.get_by_role("link", name="Save the receipt").click()
    waiting.value.save_as(directory / "tea.receipt")
    assert RECEIPT.load(directory / "tea.receipt").total_dest_payment == 30


def _read_the_statement(alice: Person, directory: Path) -> None:
    alice.go("Friends")
    alice.look("friends")
    alice.page.get_by_role("link", name="bob").click()
    alice.sees("bob")
    alice.look("friend-later")
    with alice.page.expect_download() as waiting:
        alice.page.get_by_role("link", name="Save as a table").click()
    waiting.value.save_as(directory / "statement.csv")
    with (directory / "statement.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["balance"] for row in rows if row["kind"] == "received"] == ["30", "42"]
    alice.page.get_by_role("link", name="The whole history").click()
    alice.sees("History")
    expect(alice.page.get_by_text("Received", exact=True).first).to_be_visible()
    alice.look("history")
    alice.page.get_by_role("link", name="Statement of a month").click()
    alice.sees("Statement of")
    account = alice.page.get_by_role("region", name="bob")
    expect(account.get_by_text("So far").locator("xpath=following-sibling::dd")).to_have_text("42")
    expect(account.get_by_text("balance 30", exact=True)).to_be_visible()
    alice.look("statement")
    with alice.page.expect_download() as waiting:
        alice.page.get_by_role("link", name="Save as a PDF").click()
    waiting.value.save_as(directory / "statement.pdf")
    assert (directory / "statement.pdf").read_bytes().startswith(b"%PDF-")
    alice.page.go_back()
    alice.page.go_back()
    alice.sees("bob")


def _part(alice: Person) -> None:
    alice.page.get_by_role("link", name="Part with this friend").click()
    alice.sees("Part with bob")
    alice.look("part")
    alice.page.get_by_role("link", name="Keep this friend").click()
    alice.sees("bob")


def test_two_people(browser: Browser, network: Network, tmp_path: Path) -> None:
    """From the first start to a receipt and a statement: alice at a desk, bob with a phone."""
    screenshots = None if SCREENSHOTS is None else Path(SCREENSHOTS)
    with ExitStack() as stack:
        alice = stack.enter_context(open_wallet(network, "alice", browser, DESKTOP, screenshots))
        bob = stack.enter_context(open_wallet(network, "bob", browser, PHONE, screenshots))
        _befriend(alice, bob)
        request = _ask(alice, "30", "Tea for two")
        _pay_and_collect(alice, bob, request)
        _keep_the_receipt(bob, tmp_path)
        _pay_by_keyboard(alice, bob)
        for person in (alice, bob):
            person.go("Home")
            person.sees("Overview")
            expect(person.page.get_by_text("42").first).to_be_visible()
            person.look("home")
            person.go("Settings")
            person.sees("Settings")
            person.look("settings")
        _read_the_statement(alice, tmp_path)
        _part(alice)
        assert alice.looked_at + bob.looked_at >= 20
        bob.page.get_by_role("button", name="Log out", exact=True).click()
        bob.sees("locked")
        bob.look("locked")
