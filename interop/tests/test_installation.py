"""An app author's machine: offset-ctrl in a fresh environment, and nothing of the servers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with offset-ctrl and what it declares."""
    directory = tmp_path_factory.mktemp("installation")
    wheelhouse = os.environ.get("OFFSET_WHEELHOUSE")
    if wheelhouse is None:
        wheelhouse = str(directory / "wheelhouse")
        subprocess.run([sys.executable, ROOT / "tools" / "build_wheels.py", wheelhouse], check=True)
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    install = ["-m", "pip", "install", "-q", "--find-links", wheelhouse, "offset-ctrl"]
    subprocess.run([directory / "venv" / "bin" / "python", *install], check=True)
    return directory / "venv" / "bin"


def _run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)


def test_what_is_there(environment: Path) -> None:
    """Five programs and the packages that they need; no engine, no server, no event loop of C."""
    listed = _run(environment / "python", "-m", "pip", "list", "--format", "freeze").stdout.lower()
    versions = dict(line.split("==") for line in listed.splitlines())
    assert {name for name in versions if name.startswith("offset")} == {"offset-ctrl", "offset-crypto", "offset-proto"}
    assert not versions.keys() & {"uvloop", "aiosqlite", "immutables"}
    for program in ("stctrl", "stmgr", "stverify", "stclear", "stcompact", "stweb"):
        assert _run(environment / program, "--version").stdout == f"{program} {versions['offset-ctrl']}\n"
    for program in ("stnode", "strelay", "stindex"):
        assert not (environment / program).exists()


def test_the_programs_work(environment: Path, tmp_path: Path) -> None:
    """Keys and tickets are made; an unreachable node is told in one line."""
    ident, ticket = tmp_path / "app.ident", tmp_path / "node.ticket"
    assert _run(environment / "stmgr", "gen-ident", "-o", ident).returncode == 0
    made = _run(environment / "stmgr", "node-ticket", "-i", ident, "-a", "127.0.0.1:1", "-o", ticket)
    assert made.returncode == 0, made.stderr
    result = _run(environment / "stctrl", "-I", ident, "-T", ticket, "info", "friends")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_a_database_needs_the_node(environment: Path, tmp_path: Path) -> None:
    """And the message names the package to install."""
    _run(environment / "stmgr", "gen-ident", "-o", tmp_path / "a.ident")
    result = _run(environment / "stmgr", "init-node-db", "-i", tmp_path / "a.ident", "-o", tmp_path / "a.db")
    assert result.returncode == 1
    assert "pip install offset-node" in result.stderr
    assert not (tmp_path / "a.db").exists()


def test_local_nodes_of_a_wallet_need_the_node(environment: Path, tmp_path: Path) -> None:
    """stcompact says so, acknowledges, and goes on with remote nodes."""
    lines = [
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":{"createNode":{"createNodeLocal":{"nodeName":"a"}}}}',
        '{"requestId":"AgICAAECAAIBAQIAAgIBAA","inner":{"removeNode":"a"}}',
    ]
    command = [str(environment / "stcompact"), "-s", str(tmp_path / "store")]
    result = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert result.stdout.splitlines()[1:] == [
        '{"ack":"AQIBAAIAAQIBAQEAAAIBAQ"}',
        '{"ack":"AgICAAECAAIBAQIAAgIBAA"}',
    ]
    assert "pip install offset-node" in result.stderr


def test_the_library_works_alone(environment: Path) -> None:
    """What an app imports needs nothing else."""
    source = "import offset_ctrl; from offset_ctrl import connect; from offset_ctrl import blocking; print('fine')"
    assert _run(environment / "python", "-I", "-c", source).stdout == "fine\n"


APPS: dict[str, list[object]] = {
    "shop/shop.py": [],
    "shop/buy.py": ["http://127.0.0.1:1/"],
    "pay-list/pay_list.py": ["list.csv"],
    "even-balances/even_balances.py": [],
}


@pytest.mark.parametrize("app", APPS)
def test_the_examples_need_nothing_else(
    environment: Path, app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shows its help, and tells in one line that there is no such node."""
    script = ROOT / "examples" / "apps" / app
    monkeypatch.chdir(tmp_path)
    assert "Usage: " in _run(environment / "python", script, "--help").stdout
    ident, ticket = tmp_path / "app.ident", tmp_path / "node.ticket"
    _run(environment / "stmgr", "gen-ident", "-o", ident)
    _run(environment / "stmgr", "node-ticket", "-i", ident, "-a", "127.0.0.1:1", "-o", ticket)
    (tmp_path / "list.csv").write_text("invoice,deliver\na.invoice,a.commit\n")
    result = _run(environment / "python", script, *APPS[app], "-T", ticket, "-I", ident)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
