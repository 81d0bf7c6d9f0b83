"""
Test packages against the oldest versions that their metadata allows.

    python tools/compat.py DIRECTORY [NAME...] [--range REQUIREMENT...]

Each package, or those named, is installed from its wheel with the oldest siblings in its ranges and with the lowest
versions of everything else that it names; then its unit tests run. A sibling's old wheel is built from the commit of
that version (see history.py) and kept in DIRECTORY. ``--range 'offset-crypto~=0.1.0'`` tries another range than that
of the metadata, to see whether it would hold.

The lowest version of a range must be installable as a wheel: a range that begins below what can be tested promises
what nobody has seen.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from history import Released, releases, unpack
from packages import ROOT, Package, all_packages

# Extras that the unit tests of a package need besides `test`.
EXTRAS = {"offset-proto": ("test", "cli")}


class DoesNotHold(Exception):
    """A range of the metadata promises too much; the message says which and why."""


@dataclass(frozen=True)
class Wheelhouse:
    """Wheels of our packages, built when asked for, each in a folder of its own."""

    directory: Path

    def wheel(self, package: Package, release: Released) -> Path:
        """The wheel of a release; that of the tree is built each time."""
        target = self.directory / f"{package.name}-{release.version}-{release.commit or 'tree'}"
        if release.commit is None or not list(target.glob("*.whl")):
            with tempfile.TemporaryDirectory() as scratch:
                source = package.folder
                if release.commit is not None:
                    source = unpack(package, release.commit, Path(scratch))
                _uv("build", "-q", "--wheel", "--clear", "-o", str(target), str(source))
        return next(target.glob("*.whl"))


def _uv(*words: str) -> None:
    result = subprocess.run([sys.executable, "-m", "uv", *words], capture_output=True, text=True)
    if result.returncode:
        raise DoesNotHold(f"uv {' '.join(words)}\n{result.stderr.strip()}")


def oldest(package: Package, requirement: Requirement) -> Released:
    """The oldest release of a sibling that a range allows."""
    allowed = [release for release in releases(package) if requirement.specifier.contains(release.version)]
    if not allowed:
        raise DoesNotHold(f"{requirement}: no version of {package.name} is in this range")
    return min(allowed, key=lambda release: Version(release.version))


def lowest(requirement: Requirement) -> str | None:
    """The version with which a range begins, or None where it has no beginning."""
    starts = [part.version for part in requirement.specifier if part.operator in (">=", "~=", "==")]
    return max(starts, key=Version, default=None)


def _replaced(requirements: Iterator[Requirement], others: list[Requirement]) -> Iterator[Requirement]:
    ranges = {other.name: other.specifier for other in others}
    for requirement in requirements:
        requirement.specifier = ranges.get(requirement.name, requirement.specifier)
        yield requirement


def check(package: Package, wheels: Wheelhouse, others: list[Requirement]) -> None:
    """
    Install the package with the oldest of what it needs, and run its tests.

    Raises:
        DoesNotHold: There is no such installation, or the tests fail on it.
    """
    packages = all_packages()
    extras = EXTRAS.get(package.name, ("test",))
    requirements = list(_replaced(package.requirements(*extras), others))
    lines = [str(requirement) for requirement in requirements]
    versions: dict[str, str] = {}
    for requirement in requirements:
        if requirement.name in packages:
            sibling = packages[requirement.name]
            release = oldest(sibling, requirement)
            wheel = wheels.wheel(sibling, release)
            marks = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            lines.append(f"{requirement.name}{marks} @ {wheel.resolve().as_uri()}")
            lines.remove(str(requirement))
            versions[requirement.name] = release.version
        else:
            start = lowest(requirement)
            if start is None:
                raise DoesNotHold(f"{requirement}: the range has no beginning")
            versions[requirement.name] = start
    tree = Released(package.version, None)
    lines.append(f"{package.name} @ {wheels.wheel(package, tree).resolve().as_uri()}")
    with tempfile.TemporaryDirectory() as scratch:
        _install_and_test(package, lines, versions, Path(scratch), others)


def _install_and_test(
    package: Package, lines: list[str], versions: dict[str, str], scratch: Path, others: list[Requirement]
) -> None:
    python = scratch / "venv" / "bin" / "python"
    listed = scratch / "requirements.txt"
    listed.write_text("\n".join(lines) + "\n")
    _uv("venv", "-q", "--python", sys.executable, str(scratch / "venv"))
    # A range that is tried in place of the metadata's must win over it.
    instead = scratch / "instead.txt"
    instead.write_text("".join(f"{name} @ {line.partition(' @ ')[2]}\n" for name, line in _files(lines) if others))
    # Nothing but our own wheels is built: the lowest version is that of a wheel.
    command = ["pip", "install", "-q", "--python", str(python), "--resolution", "lowest-direct", "--no-build"]
    _uv(*command, "--overrides", str(instead), "-r", str(listed))
    found = _installed(python)
    for name, version in sorted(versions.items()):
        if Version(found[name]) != Version(version):
            raise DoesNotHold(f"{name}: the range begins at {version}, and the lowest that works is {found[name]}")
    told = ", ".join(f"{name} {found[name]}" for name in sorted(versions))
    print(f"{package.name} {package.version} with {told}", flush=True)
    # Started elsewhere, so that the package under test is the installed one.
    tests = [str(python), "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), str(package.folder / "tests")]
    if subprocess.run(tests, cwd=ROOT).returncode:
        raise DoesNotHold("its tests fail")


def _files(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if " @ " in line:
            yield line.partition("[")[0].partition(" @ ")[0], line


def _installed(python: Path) -> dict[str, str]:
    command = [sys.executable, "-m", "uv", "pip", "list", "--python", str(python), "--format", "freeze"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split("==") for line in listed.split())


def main(arguments: list[str]) -> int:
    """Check the packages that are named, or all; returns the exit status."""
    packages = all_packages()
    parser = argparse.ArgumentParser(description="Test packages against the oldest that their metadata allows.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(packages)}")
    parser.add_argument("--range", nargs="+", type=Requirement, default=[], metavar="REQUIREMENT", dest="others")
    options = parser.parse_args(arguments)
    failures = 0
    for name in options.names or packages:
        try:
            check(packages[name], Wheelhouse(options.directory), options.others)
        except DoesNotHold as error:
            failures += 1
            print(f"{name}: {error}", flush=True)
    print(f"{len(options.names or packages) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
