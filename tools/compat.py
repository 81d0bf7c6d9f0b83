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
                _uv("build", "-q", "--wheel", "--clear", "-o", target, source)
        return next(target.resolve().glob("*.whl"))


def _run(*command: str | Path) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise DoesNotHold(f"{' '.join(map(str, command))}\n{result.stderr.strip()}")
    return result.stdout


def _uv(*words: str | Path) -> str:
    return _run(sys.executable, "-m", "uv", *words)


def oldest(package: Package, requirement: Requirement) -> Released:
    """The oldest release of a sibling that a range allows."""
    allowed = [release for release in releases(package) if requirement.specifier.contains(release.version)]
    if not allowed:
        raise DoesNotHold(f"{requirement}: no version of {package.name} is in this range")
    return min(allowed, key=lambda release: Version(release.version))


def lowest(requirement: Requirement) -> str:
    """The version with which a range begins."""
    starts = [part.version for part in requirement.specifier if part.operator in (">=", "~=", "==")]
    if not starts:
        raise DoesNotHold(f"{requirement}: the range has no beginning")
    return max(starts, key=Version)


def check(package: Package, wheels: Wheelhouse, others: list[Requirement]) -> None:
    """
    Install the package with the oldest of what it needs, and run its tests.

    Args:
        package: The package under test, as it is in the tree.
        wheels: Where wheels of ours are built and kept.
        others: Ranges to try in place of those in the package's metadata.

    Raises:
        DoesNotHold: There is no such installation, or the tests fail on it.
    """
    packages = all_packages()
    ranges = {other.name: other.specifier for other in others}
    lines = [f"{package.name} @ {wheels.wheel(package, Released(package.version, None)).as_uri()}"]
    overrides: list[str] = []
    versions: dict[str, str] = {}
    for requirement in package.requirements(*EXTRAS.get(package.name, ("test",))):
        requirement.specifier = ranges.get(requirement.name, requirement.specifier)
        sibling = packages.get(requirement.name)
        if sibling is None:
            lines.append(str(requirement))
            if requirement.name in ranges:
                overrides.append(str(requirement))
            versions[requirement.name] = lowest(requirement)
        else:
            release = oldest(sibling, requirement)
            address = wheels.wheel(sibling, release).as_uri()
            marks = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            lines.append(f"{sibling.name}{marks} @ {address}")
            if others:
                overrides.append(f"{sibling.name} @ {address}")
            versions[sibling.name] = release.version
    with tempfile.TemporaryDirectory() as scratch:
        python = _install(lines, overrides, Path(scratch))
        found = _installed(python)
        for name, version in sorted(versions.items()):
            if Version(found[name]) != Version(version):
                raise DoesNotHold(f"{name}: the range begins at {version}, and the lowest that works is {found[name]}")
        told = ", ".join(f"{name} {found[name]}" for name in sorted(versions))
        print(f"{package.name} {package.version} with {told}", flush=True)
        for program in package.programs:
            _run(python.with_name(program), "--help")
        tests: list[str | Path] = [python, "-m", "pytest", "-q", package.folder / "tests"]
        if subprocess.run(tests, cwd=ROOT).returncode:
            raise DoesNotHold("its tests fail")


def _install(lines: list[str], overrides: list[str], scratch: Path) -> Path:
    """
    Make an environment with the lowest versions that *lines* allow; returns its Python.

    *overrides* win over what the metadata of a package says. No wheel is built here: the lowest version of a range has
    to be one that can be installed as it was published.
    """
    python = scratch / "venv" / "bin" / "python"
    (scratch / "requirements.txt").write_text("\n".join(lines) + "\n")
    (scratch / "overrides.txt").write_text("\n".join(overrides) + "\n")
    _uv("venv", "-q", "--python", sys.executable, scratch / "venv")
    command: list[str | Path] = [
        "pip",
        "install",
        "-q",
        "--python",
        python,
        "--resolution",
        "lowest-direct",
        "--no-build",
    ]
    _uv(*command, "--overrides", scratch / "overrides.txt", "-r", scratch / "requirements.txt")
    return python


def _installed(python: Path) -> dict[str, str]:
    listed = _uv("pip", "list", "--python", python, "--format", "freeze")
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
