"""Each contract of .importlinter is broken by an import that it is there to forbid, and kept without it."""

import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / ".importlinter"

# Contract, module, and the line that the contract forbids there.
VIOLATIONS = [
    ("packages", "offset_proto/rate.py", "from offset_crypto import hashing"),
    ("packages", "offset_crypto/link.py", "def late():\n    import offset_relay.client"),
    ("packages", "offset_relay/server.py", "import offset_index.client"),
    ("packages", "offset_funder/routing.py", "import offset_node.state"),
    ("packages", "offset_node/node.py", "import offset_ctrl"),
    ("packages", "offset_ctrl/programs/stverify.py", "import offset_node"),
    ("ctrl-is-light", "offset_ctrl/sdk/journal.py", "import offset_index.client"),
    ("ctrl-is-light", "offset_ctrl/rules/routes.py", "import immutables"),
    ("capnp", "offset_proto/frames.py", "import capnp"),
    ("capnp", "offset_node/simulation/world.py", "from capnp import lib"),
    ("psycopg", "offset_node/database/opening.py", "def late():\n    import psycopg"),
    ("rooms-of-the-node", "offset_node/database/rows.py", "import offset_node.links.channeler"),
    ("rooms-of-the-node", "offset_node/plugins/host.py", "from offset_node.apps import server"),
    ("rooms-of-the-node", "offset_node/apps/server.py", "from offset_node import node"),
    ("rooms-of-the-node", "offset_node/simulation/nodes.py", "from offset_node.node import something"),
    ("rooms-of-the-node", "offset_node/cli.py", "import offset_node.policy"),
    ("rooms-of-the-node", "offset_node/a_new_module.py", '"""In no room."""'),
    ("database-of-the-node", "offset_node/apps/tickets.py", "import offset_node.database.rows"),
    ("database-of-the-node", "offset_node/simulation/nodes.py", "import offset_node.database.sqlite"),
    ("links-of-the-node", "offset_node/links/friends.py", "from offset_node.plugins import values"),
    ("rooms-of-ctrl", "offset_ctrl/rules/proofs.py", "import offset_ctrl.connection.client"),
    ("rooms-of-ctrl", "offset_ctrl/connection/session.py", "import offset_ctrl.sdk.node"),
    ("rooms-of-ctrl", "offset_ctrl/sdk/blocking.py", "import offset_ctrl.programs.table"),
    ("rooms-of-ctrl", "offset_ctrl/clearing/plan.py", "import offset_ctrl.rules.routes"),
    ("rooms-of-ctrl", "offset_ctrl/a_new_module.py", '"""In no room."""'),
    ("rooms-of-ctrl", "offset_ctrl/web/grants.py", "import offset_ctrl.programs.table"),
    ("web-is-an-extra", "offset_ctrl/testing.py", "import starlette"),
    ("web-is-an-extra", "offset_ctrl/programs/stctrl/cli.py", "def late():\n    import offset_ctrl.web.tokens"),
    ("pure", "offset_ctrl/web/openapi.py", "import os"),
    ("pure", "offset_funder/ledger.py", "import time"),
    ("pure", "offset_crypto/signed.py", "from random import random"),
    ("pure", "offset_crypto/locking.py", "import os"),
    ("pure", "offset_ctrl/programs/stcompact/compact_node.py", "def late():\n    import os.path"),
    ("pure", "offset_ctrl/programs/stmgr/words.py", "import secrets"),
    ("pure", "offset_node/database/rows.py", "import sqlite3"),
    ("pure", "offset_node/a_new_engine.py", "from pathlib import Path"),
    ("pure", "offset_node/database/errors.py", "import os"),
    ("pure-by-any-way", "offset_funder/buyer.py", "import offset_crypto.aio"),
    ("pure-by-any-way", "offset_ctrl/clearing/exports.py", "from offset_crypto.aio import serve"),
    ("pure-by-any-way", "offset_node/links/channeler.py", "from offset_node.links import friends"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of all packages side by side, with the configuration of the contracts."""
    directory = tmp_path_factory.mktemp("tree")
    for package in (ROOT / "packages").glob("*/src/offset_*"):
        shutil.copytree(package, directory / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CONFIGURATION, directory)
    return directory


def _contracts() -> dict[str, str]:
    """The name of each contract, by its key in the configuration."""
    parser = ConfigParser()
    parser.read(CONFIGURATION)
    prefix = "importlinter:contract:"
    return {name.removeprefix(prefix): parser[name]["name"] for name in parser.sections() if name.startswith(prefix)}


def _check(tree: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def findings(tree: Path) -> dict[str, str]:
    """What is printed about each contract when all violations are in the tree."""
    assert _check(tree).returncode == 0
    for _, module, line in VIOLATIONS:
        path = tree / module
        path.write_text(f"{path.read_text() if path.exists() else ''}\n{line}\n")
    result = _check(tree)
    assert result.returncode == 1
    _, _, text = result.stdout.partition("Broken contracts\n")
    names = {name: key for key, name in _contracts().items()}
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line in names:
            current = found.setdefault(names[line], [])
        current.append(line)
    return {key: "\n".join(lines) for key, lines in found.items()}


@pytest.mark.parametrize(("contract", "module", "line"), VIOLATIONS)
def test_a_violation_is_found(findings: dict[str, str], contract: str, module: str, line: str) -> None:
    """The contract names the module that breaks it, and what that module imports."""
    importer = module.removesuffix(".py").replace("/", ".")
    words = line.split()
    if "import" in words:
        position = words.index("from" if "from" in words else "import") + 1
        imported = words[position]
        if not imported.startswith("offset_"):
            imported = imported.partition(".")[0]  # of other packages, only the name is told
        assert f"{importer} -> {imported}" in findings[contract]
    else:
        assert f"- {importer}\n" in findings[contract] + "\n"  # a module in no room


def test_each_shell_needs_to_be_one(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that has become pure loses its line in the configuration, and is checked from then on."""
    parser = ConfigParser()
    parser.read(CONFIGURATION)
    monkeypatch.syspath_prepend(str(tree))
    packages = parser["importlinter"]["root_packages"].split()
    graph = grimp.build_graph(*packages, include_external_packages=True, cache_dir=None)
    contract = parser["importlinter:contract:pure"]
    forbidden = set(contract["forbidden_modules"].split())
    lines = [line for line in contract["ignore_imports"].splitlines() if line and not line.startswith("#")]
    for line in lines:
        shell, _, imported = line.partition(" -> ")
        needed = {
            name
            for module in graph.find_matching_modules(shell)
            for name in graph.find_modules_directly_imported_by(module)
        }
        assert needed & (forbidden if imported == "*" else {imported}), line


def test_each_contract_has_a_violation_here() -> None:
    """A contract that nobody has seen fail may be one that cannot."""
    assert _contracts().keys() == {contract for contract, _, _ in VIOLATIONS}
