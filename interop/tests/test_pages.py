"""The commands of README.md and of pages in docs/how-to, run in one shell as they are printed."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from interop.ports import find_free_port

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
INSTALL_WEB = "pip install 'offset-ctrl[web]'\n"

_PAGE_PORTS = re.compile(r"\b(?:[a-z]+\.example\.net|0\.0\.0\.0|127\.0\.0\.1):(\d+)\b")
_INDEX_SERVERS = re.compile(r"^(stmgr setup-index .*)$", re.MULTILINE)
"""Their second port is the one after the first, which may be taken here."""

_PROGRAMS = re.compile(r"^((?:strelay|stindex|stnode) .*[^&\n])$", re.MULTILINE)
"""Lines that start a program in the foreground, where a person goes on in another shell."""


def _blocks(page: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", page, re.DOTALL)


def _first_payment() -> tuple[str, str]:
    """The commands of the README that start the servers, and those from the nodes on; the programs are here already."""
    readme = (ROOT / "README.md").read_text().partition("## A first payment by hand")[2].partition("## Packages")[0]
    install, servers, *nodes = _blocks(readme)
    assert install.endswith("mkdir first && cd first\n")
    assert "strelay" in servers
    assert "pay-invoice" in nodes[-1]
    return servers, "\n".join(nodes)


def _after_installation(page: Path) -> list[str]:
    install, *blocks = _blocks(page.read_text())
    assert install.endswith('export PATH="$PWD/.venv/bin:$PATH"\n')
    return blocks


class _Loopback:
    """Puts each address of a page on a port of 127.0.0.1 that was free a moment ago."""

    def __init__(self) -> None:
        self._ports: dict[tuple[str, str], int] = {}

    def rewrite(self, commands: str, owner: str = "") -> str:
        """The commands with those ports; the same number of a page is the same port for one *owner*."""
        commands = _PAGE_PORTS.sub(lambda found: f"127.0.0.1:{self._port(owner, found[1])}", commands)
        commands = _INDEX_SERVERS.sub(rf"\1 --server-address 127.0.0.1:{self._port(owner, 'servers')}", commands)
        return _PROGRAMS.sub(r"\1 &", commands)

    def _port(self, owner: str, number: str) -> int:
        if (owner, number) not in self._ports:
            self._ports[owner, number] = find_free_port()
        return self._ports[owner, number]


def _run(directory: Path, *commands: str) -> str:
    """
    Run commands in one shell that ends with the first failure; what it said.

    At the end each program that was started in the background is ended by its process id, and has to end well.
    """
    # A person sees whether a friend is there; here a slow machine gets four times as long.
    patient = re.sub(
        r"^sleep (\d+)$", lambda wait: f"sleep {4 * int(wait[1])}", "\n".join(commands), flags=re.MULTILINE
    )
    script = "\n".join(
        [
            "set -eu",
            "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT",
            patient,
            "for program in $(jobs -p); do kill $program; wait $program; done",
            "echo finished",
        ]
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with subprocess.Popen(
        ["bash", "-c", script],  # noqa: S607 - the shell of the pages
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            said, _ = shell.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            raise
    assert shell.returncode == 0, said
    assert said.endswith("finished\n"), said
    return said


def test_a_first_payment_and_what_comes_after_it(tmp_path: Path) -> None:
    """Every command succeeds; Bob owes 30, and the proofs are good."""
    on_loopback = _Loopback()
    first_payment = (on_loopback.rewrite(commands) for commands in _first_payment())
    names = ("payment-requests.md", "friends.md", "keys-and-backups.md")
    pages = [block for name in names for block in _blocks((HOW_TO / name).read_text())]
    said = _run(tmp_path, *first_payment, *pages)
    assert re.search(r"B\s+=30\b", said), said
    assert (tmp_path / "bob.token").exists()
    assert (tmp_path / "copy.invoice").read_bytes() == (tmp_path / "lunch.invoice").read_bytes()
    assert "For: Lunch on Friday\n" in said
    assert (tmp_path / "alice" / "node.ident").read_bytes() == (tmp_path / "alice.unlocked").read_bytes()
    assert (tmp_path / "alice-restored.db").exists()


def test_an_account_moves_to_a_new_key(tmp_path: Path) -> None:
    """After the first payment; the new key of Bob owes what the old one did, and is the only Bob in the end."""
    on_loopback = _Loopback()
    first_payment = (on_loopback.rewrite(commands) for commands in _first_payment())
    page = map(on_loopback.rewrite, _blocks((HOW_TO / "moving-an-account.md").read_text()))
    said = _run(tmp_path, *first_payment, *page, "alice info friends --json > friends.json", "bob2 info friends")
    (bob,) = json.loads((tmp_path / "friends.json").read_text())
    assert (bob["name"], bob["balances"][0]["balance"]) == ("bob", "30"), said
    assert "forgiven" in said


def test_the_api(tmp_path: Path) -> None:
    """With curl, as the page does: Bob pays through the API, and Alice makes an invoice with it."""
    on_loopback = _Loopback()
    first_payment = (on_loopback.rewrite(commands) for commands in _first_payment())
    install, *blocks = _blocks((HOW_TO / "api.md").read_text())
    assert install == INSTALL_WEB
    said = _run(tmp_path, *first_payment, *(on_loopback.rewrite(block) for block in blocks))
    for part in ('"committed"', '"open"', "event: history", "groceries"):
        assert part in said, said


def test_the_wallet(tmp_path: Path) -> None:
    """It is started as the page says, and prints a link for each browser; what a person sees is in interop/browser."""
    on_loopback = _Loopback()
    first_payment = (on_loopback.rewrite(commands) for commands in _first_payment())
    blocks = _blocks((HOW_TO / "wallet.md").read_text())
    said = _run(tmp_path, *first_payment, *(on_loopback.rewrite(block.removeprefix(INSTALL_WEB)) for block in blocks))
    assert said.count("/log-in?link=") == 2, said


def test_a_page_on_which_a_customer_pays(tmp_path: Path) -> None:
    """The shop makes it, Bob pays what is on it, and both see that it is paid."""
    on_loopback = _Loopback()
    first_payment = (on_loopback.rewrite(commands) for commands in _first_payment())
    blocks = _blocks((HOW_TO / "checkout.md").read_text())
    said = _run(tmp_path, *first_payment, *(on_loopback.rewrite(block.removeprefix(INSTALL_WEB)) for block in blocks))
    assert said.index("<h1>Pay this</h1>") < said.index("<h1>Paid</h1>") < said.rindex("true"), said


def _federation(on_loopback: _Loopback) -> Iterator[str]:
    """The page of index servers, followed by two operators in turn; they exchange the tickets that it tells them to."""
    for block in _after_installation(HOW_TO / "index-server.md"):
        for operator in ("alice-index", "bob-index"):
            yield f"mkdir -p {operator} && cd {operator}\n{on_loopback.rewrite(block, operator)}\ncd .."
        if "setup-index" in block:
            yield "cp alice-index/index/index-server.ticket bob-index/other-server.ticket"
            yield "cp bob-index/index/index-server.ticket alice-index/other-server.ticket"


def test_a_payment_over_servers_that_follow_the_pages(tmp_path: Path) -> None:
    """Alice and Bob share the relay of one page, and each has an index server of the other page; Bob pays Alice."""
    on_loopback = _Loopback()
    relay = on_loopback.rewrite("\n".join(_after_installation(HOW_TO / "relay.md")), "relay")
    nodes = _first_payment()[1].replace("--index index/", "--index $name-index/index/")
    said = _run(
        tmp_path,
        relay,
        *_federation(on_loopback),
        on_loopback.rewrite(nodes),
    )
    assert re.search(r"B\s+=30\b", said), said
