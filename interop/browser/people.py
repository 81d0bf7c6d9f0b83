"""People with nodes and wallets, and what they do with the pages."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from interop.network import Network
from interop.ports import find_free_port
from interop.programs import Server, wait_until

__all__ = ["DESKTOP", "PHONE", "Person", "open_page", "open_wallet"]

DESKTOP: Final = (1100, 900)
PHONE: Final = (390, 844)

PATIENCE_MS: Final = 120_000
"""For one thing on a page; the machine may be busy with others."""

_SCHEMES: Final[tuple[tuple[Literal["light", "dark"], dict[str, list[str]]], ...]] = (
    ("light", {}),
    ("dark", {"runOnly": ["color-contrast"]}),
)
"""Of colours, each with what axe is to look at: all of it, or what differs."""


@dataclass
class Person:
    """
    Somebody at a browser.

    Attributes:
        name: Of the person, and of the node.
        url: Of the wallet.
        page: What is open.
        screenshots: Where pictures of the pages go; None: nowhere.
        looked_at: The number of pages that were looked at.
        forgiven: Words of what the browser may complain of, since the test has brought it about.
        server: Of the wallet, where it is the person's own.
    """

    name: str
    url: str
    page: Page
    screenshots: Path | None
    looked_at: int = 0
    forgiven: list[str] = field(default_factory=lambda: ["401 (Unauthorized)"])
    server: Server | None = None

    def go(self, way: str) -> None:
        """Take one of the ways at the top, or at the bottom of a phone."""
        self.page.get_by_role("navigation").get_by_role("link", name=way, exact=True).click()

    def fill(self, label: str, text: str) -> None:
        """Enter something into the field of a label."""
        self.page.get_by_label(label, exact=True).fill(text)

    def press(self, name: str) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=re.compile(name)).click()

    def text_of(self, label: str) -> str:
        """What is in a field."""
        return self.page.get_by_label(label, exact=True).input_value()

    def sees(self, heading: str) -> None:
        """Wait for a heading."""
        expect(self.page.get_by_role("heading", name=re.compile(heading), level=1)).to_be_visible()

    def look(self, what: str) -> None:
        """What is shown fits into the window, and nobody who reads it by other means than the eyes is left out."""
        width = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert width <= 0, f"{what}: {width} pixels too wide"
        for scheme, options in _SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            found = Axe().run(self.page, options=options).response["violations"]
            told = [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]
            assert not told, f"{what}, {scheme}: " + "\n".join(told)
            if self.screenshots is not None:
                size = "phone" if self.page.evaluate("innerWidth") < 600 else "desktop"
                path = self.screenshots / f"{what}-{self.name}-{size}-{scheme}.png"
                self.page.screenshot(path=path, full_page=size == "desktop")
        self.looked_at += 1


def _printed_link(log: Path) -> str:
    """What a wallet prints at its first start, which is a moment after it listens."""
    found: list[str] = []

    def is_there() -> bool:
        found[:] = re.findall(r"http://\S+/log-in\?link=\S+", log.read_text())
        return bool(found)

    wait_until("the wallet to print its link", is_there)
    [link] = found
    return link


@contextmanager
def open_wallet(
    network: Network, name: str, browser: Browser, size: tuple[int, int], screenshots: Path | None
) -> Iterator[Person]:
    """A wallet that has just been started, and a browser that has logged in by the link that it printed."""
    port = find_free_port()
    log = network.path(f"{name}-web-{port}.log")
    state = ["-l", f"127.0.0.1:{port}", "--state", str(network.path(f"{name}-web-{port}"))]
    command = [network.cast.of("stweb").program("stweb"), *network.login(name), *state]
    server = Server(f"{name}-web", command, port, log)
    server.start()
    try:
        with open_page(name, f"http://127.0.0.1:{port}", browser, size, screenshots) as person:
            person.server = server
            person.page.goto(_printed_link(log))
            person.look("log-in")
            person.press("Log this browser in")
            yield person
    finally:
        server.stop()


@contextmanager
def open_page(
    name: str, url: str, browser: Browser, size: tuple[int, int], screenshots: Path | None
) -> Iterator[Person]:
    """A browser that knows nothing yet. What it asks others for than the server of *url*, or complains of, fails."""
    context: BrowserContext = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, accept_downloads=True, locale="en-GB", timezone_id="UTC"
    )
    try:
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page = context.new_page()
        strangers: list[str] = []
        page.on("request", lambda request: strangers.append(request.url))
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
        person = Person(name, url, page, screenshots)
        yield person
        assert all(address.startswith(url) for address in strangers), strangers
        complaints = [each for each in failures if not any(words in each for words in person.forgiven)]
        assert not complaints, complaints
    finally:
        context.close()
