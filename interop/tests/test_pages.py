"""The commands of README.md and of docs/how-to/friends.md, run in one shell as they are printed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _commands(page: str) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))


def test_a_first_payment_and_what_comes_after_it(tmp_path: Path) -> None:
    """Every command succeeds; Bob owes 30, and the proofs are good."""
    readme = (ROOT / "README.md").read_text().partition("## A first payment by hand")[2].partition("## Packages")[0]
    installed = _commands(readme).partition("mkdir first && cd first\n")[2]  # the programs are here already
    assert "pay-invoice" in installed
    # A person sees whether a friend is there; here a slow machine gets four times as long.
    installed = re.sub(r"^sleep (\d+)$", lambda wait: f"sleep {4 * int(wait[1])}", installed, flags=re.MULTILINE)
    script = "\n".join(
        [
            "set -eu",
            "trap 'kill $(jobs -p)' EXIT",
            installed,
            _commands((ROOT / "docs" / "how-to" / "friends.md").read_text()),
            "echo finished",
        ]
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with subprocess.Popen(
        ["bash", "-c", script],  # noqa: S607 - the shell of the pages
        cwd=tmp_path,
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
    assert re.search(r"B\s+=30\b", said), said
    assert (tmp_path / "bob.token").exists()
