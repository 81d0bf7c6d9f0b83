"""What the wallet does with the device that it is on: camera, slider; and what it shows when something is not there."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from interop.browser.people import PHONE, Person, open_wallet
from interop.network import Network

SCREENSHOTS = os.environ.get("OFFSET_SCREENSHOTS")

CAMERA = """
window.BarcodeDetector = class {
  static async getSupportedFormats() { return ["qr_code"]; }
  async detect() { return window.before ?? []; }
};
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 320;
Object.defineProperty(navigator, "mediaDevices", { value: {
  async getUserMedia() {
    if (window.refused) throw new DOMException("no", "NotAllowedError");
    setInterval(() => canvas.getContext("2d").fillRect(0, 0, Math.random() * 320, 320), 50);
    return (window.stream = canvas.captureStream(10));
  },
} });
"""
"""A camera that sees what a test puts into ``window.before``, for a browser that can read codes."""


@pytest.fixture
def alice(browser: Browser, network: Network) -> Iterator[Person]:
    """Alone with a phone."""
    screenshots = None if SCREENSHOTS is None else Path(SCREENSHOTS)
    with open_wallet(network, "alice", browser, PHONE, screenshots) as person:
        yield person


def _show(alice: Person, text: str) -> None:
    """Hold a code before the camera."""
    alice.page.evaluate("(text) => { window.before = [{ rawValue: text }]; }", text)


def test_the_camera(alice: Person) -> None:
    """Reads a code of ours into the field, says so of another one, and is off afterwards; by keyboard, too."""
    page = alice.page
    page.add_init_script(CAMERA)
    alice.go("Pay")
    scan = page.get_by_role("button", name="Scan its code")
    scan.focus()
    page.keyboard.press("Enter")
    _show(alice, "https://example.org")
    expect(page.get_by_text("This is another code")).to_be_visible()
    alice.look("camera")
    _show(alice, "OFFSET:INVOICE1QQQQ")
    expect(page.get_by_label("The request to pay")).to_have_value("OFFSET:INVOICE1QQQQ")
    expect(page.get_by_label("The request to pay")).to_be_focused()
    assert page.locator("dialog").count() == 0
    assert page.evaluate("window.stream.getTracks().every((track) => track.readyState === 'ended')")


def test_a_camera_that_is_stopped_or_refused(alice: Person) -> None:
    """Leaves the field as it was, and where it may not be used, the field says what to do."""
    page = alice.page
    page.add_init_script(CAMERA)
    alice.go("Pay")
    alice.press("Scan its code")
    alice.press("Stop")
    expect(page.locator("dialog")).to_have_count(0)
    page.evaluate("window.refused = true")
    alice.press("Scan its code")
    field = page.get_by_label("The request to pay")
    page.wait_for_function("document.querySelector('textarea').validationMessage.includes('may not use the camera')")
    assert field.input_value() == ""
    alice.fill("The request to pay", "offset:")
    assert field.evaluate("field => field.validationMessage") == ""


def test_without_a_camera(alice: Person) -> None:
    """Nothing speaks of one."""
    alice.go("Pay")
    expect(alice.page.get_by_text("Or open its file")).to_be_visible()  # so the scripts have run
    expect(alice.page.get_by_role("button", name="Scan its code")).to_have_count(0)


def test_the_slider(alice: Person) -> None:
    """Follows the number, changes it, and gives way to one that is too large for it."""
    page = alice.page
    page.goto(f"{alice.url}/wallet/alice/friends/new")
    slider = page.get_by_label("May owe you up to, with a slider")
    alice.fill("May owe you up to", "250")
    expect(slider).to_have_value("250")
    slider.press("ArrowRight")
    assert alice.text_of("May owe you up to") == "255"
    alice.look("friend-new-slider")
    alice.fill("May owe you up to", "1 000")
    expect(slider).to_have_value("1000")
    alice.fill("May owe you up to", str(2**127))
    expect(slider).to_be_hidden()
    assert alice.text_of("May owe you up to") == str(2**127)


def test_a_server_that_is_not_reached(alice: Person) -> None:
    """A page of the browser's own says so, and the page that was wanted comes by itself. Nothing else was kept."""
    page = alice.page
    alice.go("Friends")
    assert page.evaluate("navigator.serviceWorker.ready.then((found) => found.active !== null)")
    kept = page.evaluate(
        "caches.keys().then(async (names) => (await Promise.all(names.map(async (name) => "
        "(await (await caches.open(name)).keys()).map((each) => new URL(each.url).pathname)))).flat())"
    )
    assert kept
    assert all(path == "/offline" or path.startswith("/static/") for path in kept)
    assert alice.server is not None
    alice.server.stop()
    page.goto(f"{alice.url}/wallet/alice/ask")
    alice.sees("Your wallet can not be reached")
    alice.look("offline")
    alice.server.start()
    alice.sees("Ask for a payment")
    alice.forgiven.append("net::ERR_")


def test_a_node_that_is_not_reached(alice: Person, network: Network) -> None:
    """The page that is open says so at once, and so does the next one; both are as ever when the node is back."""
    page, node = alice.page, network.servers["alice"]
    note = page.get_by_text("Your node alice can not be reached")
    alice.go("Ask")
    alice.fill("Amount", "77")
    node.kill()
    expect(note).to_be_visible()
    asked = time.monotonic()
    alice.fill("Currency", "FST")
    alice.press("Make the request")
    expect(page.get_by_text("That did not work")).to_be_visible()
    page.goto(f"{alice.url}/wallet/alice/history")
    alice.sees("This needs your node")
    assert time.monotonic() - asked < 20, "somebody waited for the node, which takes half a minute"
    alice.look("away")
    node.start()
    alice.sees("History")
    expect(note).to_have_count(0)
    alice.forgiven.append("503 (Service Unavailable)")
