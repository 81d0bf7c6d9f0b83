"""
Rules of this repository that no other tool checks. CONTRIBUTING.md gives the reasons.

    python tools/tidy.py

* Imports go one way: proto <- crypto <- {funder, relay, index} <- node, and {proto, crypto} <- ctrl.
* Engines are pure: no event loop, socket, database, clock or randomness of their own.
* Only `offset_proto.wire` knows capnp.
* Functions of at most 70 lines, files of at most 800, at most 6 positional parameters.
* Every public module, class and function has a docstring; every package the same skeleton.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
PARAMETERS_MAX = 6

ALLOWED = {
    "offset_proto": set(),
    "offset_crypto": {"offset_proto"},
    "offset_funder": {"offset_proto", "offset_crypto"},
    "offset_relay": {"offset_proto", "offset_crypto"},
    "offset_index": {"offset_proto", "offset_crypto"},
    "offset_node": {"offset_proto", "offset_crypto", "offset_funder", "offset_relay", "offset_index"},
    "offset_ctrl": {"offset_proto", "offset_crypto"},
}
# stmgr init-node-db and the local nodes of stcompact use offset-node where it is installed.
LAZY = {
    "offset_ctrl/programs/stmgr.py": {"offset_node", "offset_funder"},
    "offset_ctrl/programs/stcompact/local_node.py": {"offset_node"},
}

IMPURE = {"asyncio", "socket", "sqlite3", "aiosqlite", "time", "random", "secrets", "os", "uvloop"}
SHELLS = {
    "offset_node/apps/connections.py",
    "offset_proto/cli.py",
    "offset_proto/files.py",
    "offset_crypto/aio.py",
    "offset_crypto/program.py",
    "offset_relay/service.py",
    "offset_index/service.py",
    "offset_node/embedded.py",
    "offset_node/database/json_file.py",
    "offset_node/node.py",
    "offset_node/links/friends.py",
    "offset_node/links/index.py",
    "offset_node/database/move_over.py",
    "offset_node/plugins/host.py",
    "offset_node/simulation/__main__.py",
    "offset_node/database/sqlite.py",
    "offset_node/apps/tickets.py",
    "offset_ctrl/sdk/blocking.py",
    "offset_ctrl/connection/client.py",
    "offset_ctrl/programs/stcompact/cli.py",
    "offset_ctrl/programs/stcompact/local_node.py",
    "offset_ctrl/programs/stcompact/remote_node.py",
    "offset_ctrl/programs/stcompact/server.py",
    "offset_ctrl/programs/stcompact/store.py",
    "offset_ctrl/sdk/node.py",
    "offset_ctrl/sdk/payment.py",
    "offset_ctrl/connection/session.py",
    "offset_ctrl/programs/stmgr.py",
    "offset_ctrl/programs/stctrl/session.py",
    "offset_ctrl/programs/stctrl/buyer.py",
    "offset_ctrl/programs/stctrl/seller.py",
}
SKELETON = ["CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "src", "tests"]


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def _check_imports(name: str, tree: ast.Module) -> Iterator[str]:
    package = name.split("/")[0]
    for line, module in _imports(tree):
        top = module.split(".")[0]
        if top.startswith("offset_") and top != package and top not in ALLOWED[package] | LAZY.get(name, set()):
            yield f"{name}:{line}: {package} must not import {top}"
        if top in IMPURE and name not in SHELLS:
            yield f"{name}:{line}: an engine must not import {top}"
        if top == "capnp" and name != "offset_proto/wire.py":
            yield f"{name}:{line}: only offset_proto.wire knows capnp"


def _check_definitions(name: str, tree: ast.Module) -> Iterator[str]:
    if not ast.get_docstring(tree):
        yield f"{name}:1: no module docstring"
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.ClassDef):
            if not node.name.startswith("_") and not ast.get_docstring(node):
                yield f"{name}:{node.lineno}: no docstring in class {node.name}"
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES_MAX:
            yield f"{name}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"
        parameters = [argument.arg for argument in node.args.args if argument.arg not in ("self", "cls")]
        if len(parameters) > PARAMETERS_MAX:
            yield f"{name}:{node.lineno}: {node.name} has {len(parameters)} positional parameters"
    for node in tree.body:
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and not node.name.startswith("_") and not ast.get_docstring(node):
            yield f"{name}:{node.lineno}: no docstring in {node.name}"


def _check_skeleton(package: Path) -> Iterator[str]:
    for entry in SKELETON:
        if not (package / entry).exists():
            yield f"{package.name}: {entry} is missing"
    module = package / "src" / package.name.replace("-", "_")
    if not (module / "py.typed").exists():
        yield f"{package.name}: py.typed is missing"
    if not list((package / "tests").glob("test_*.py")):
        yield f"{package.name}: there are no tests"


def main() -> int:
    """Check everything; returns the exit status."""
    findings: list[str] = []
    checked = 0
    for package in sorted((ROOT / "packages").iterdir()):
        findings += _check_skeleton(package)
        for path in sorted((package / "src").rglob("*.py")):
            name = path.relative_to(package / "src").as_posix()
            source = path.read_text()
            tree = ast.parse(source)
            checked += 1
            findings += _check_imports(name, tree)
            findings += _check_definitions(name, tree)
            if source.count("\n") > FILE_LINES_MAX:
                findings.append(f"{name}: {source.count(chr(10))} lines, at most {FILE_LINES_MAX}")
    for finding in findings:
        print(finding)
    print(f"{checked} files checked, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
