"""
Rules of this repository that no other tool checks. CONTRIBUTING.md gives the reasons.

    python tools/tidy.py

* A function has at most 70 lines, a module at most 400, unless `LONG_MODULES` says why.
* The docstring of a package names each of its modules in backticks, and each row of its table begins with the name of
  a module that exists. A module that only keeps an old name working need not be named.
* Every package has the same skeleton.

Which module may import which is in .importlinter; parameters and docstrings are checked by ruff.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 400
LONG_MODULES = {
    "offset_proto/messages/app.py": "a table of messages, in the order of the schema",
    "offset_proto/messages/report.py": "a table of messages, in the order of the schema",
    "offset_ctrl/programs/stcompact/messages.py": "a table of messages, in the order of the original's enums",
}
"""Modules that are longer, and why they are not cut."""

SKELETON = ["CHANGELOG.md", "LICENSE", "README.md", "changes", "pyproject.toml", "src", "tests"]

_NAME = re.compile(r"`([a-z_0-9]+)`")
_ROW = re.compile(r"^(?:[|*-] *)?(`[a-z_0-9]+`(?:, `[a-z_0-9]+`)*)(?:  |:| +\||$)")


def check_lengths(name: str, source: str) -> Iterator[str]:
    """What is too long in a file of Python."""
    lines = source.count("\n")
    if lines > MODULE_LINES_MAX and name not in LONG_MODULES:
        yield f"{name}: {lines} lines, at most {MODULE_LINES_MAX}"
    if lines <= MODULE_LINES_MAX and name in LONG_MODULES:
        yield f"{name}: no longer long, and still in LONG_MODULES"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"


def check_package_docstring(name: str, source: str, modules: set[str]) -> Iterator[str]:
    """What the docstring in *source*, the ``__init__`` of a package, says wrongly about the package's *modules*."""
    text = ast.get_docstring(ast.parse(source)) or ""
    for module in sorted(modules - set(_NAME.findall(text))):
        yield f"{name}: the docstring does not name the module `{module}`"
    for line in text.splitlines():
        if found := _ROW.match(line):
            for module in _NAME.findall(found[1]):
                if module not in modules:
                    yield f"{name}: the docstring names `{module}`, and there is no such module"


def modules_of(package: Path) -> set[str]:
    """The public modules and packages in the folder *package*, without those that keep an old name working."""
    files = {path.stem for path in package.glob("*.py") if not path.read_text().startswith('"""The name that ')}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    return {name for name in files | packages if not name.startswith("_")}


def check_skeleton(package: Path) -> Iterator[str]:
    """What each distribution has, and this one has not."""
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
        findings += check_skeleton(package)
        for path in sorted((package / "src").rglob("*.py")):
            name = path.relative_to(package / "src").as_posix()
            source = path.read_text()
            checked += 1
            findings += check_lengths(name, source)
            if path.name == "__init__.py":
                findings += check_package_docstring(name, source, modules_of(path.parent))
    for finding in findings:
        print(finding)
    print(f"{checked} files checked, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
