"""
Build every distribution, check what was built, install each alone, and run its programs.

    python tools/build_distributions.py DIRECTORY [NAME...]

What is checked: the metadata of wheel and sdist (twine, and `check_metadata` below), the files in the wheel
(check-wheel-contents), the news fragments (towncrier); then a fresh environment for each package, with its siblings
from the wheels just built, in which each module can be imported and each program tells its version and its options.
DIRECTORY is emptied first.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement

from packages import ROOT, Package, all_packages

# What the page of a distribution cannot do without.
FIELDS = ["Summary", "License-Expression", "License-File", "Requires-Python", "Keywords", "Description", "Author"]
CLASSIFIERS = [
    "Development Status :: ",
    "Intended Audience :: ",
    "Operating System :: POSIX",
    "Programming Language :: Python :: 3 :: Only",
    "Programming Language :: Python :: 3.11",
    "Topic :: ",
    "Typing :: Typed",
]


# Modules that need more than their distribution declares, and say so when they are used without it.
OPTIONAL = [
    "offset_proto.cli",  # the extra `cli`
    "offset_ctrl.programs.stcompact.local_node",  # offset-node
]
# Run in the fresh environment.
IMPORT_ALL = """
import importlib, pkgutil, sys
_, name, version, *optional = sys.argv
package = importlib.import_module(name)
assert package.__version__ == version, package.__version__
for found in pkgutil.walk_packages(package.__path__, name + "."):
    if not found.name.endswith("__main__") and found.name not in optional:
        importlib.import_module(found.name)
"""


def _run(*command: object) -> str:
    """Run a command; its output, or the end of this program with its output."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def metadata_of(wheel: Path) -> Message:
    """The core metadata in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def check_metadata(metadata: Message, versions: dict[str, str]) -> Iterator[str]:
    """What is missing in the metadata of a wheel, given the *versions* of all our packages."""
    for field in FIELDS:
        if not metadata.get(field) and not (field == "Description" and metadata.get_payload()):
            yield f"no {field}"
    if not metadata.get_all("Project-URL"):
        yield "no project URL"
    classifiers = metadata.get_all("Classifier", [])
    for needed in CLASSIFIERS:
        if not any(classifier.startswith(needed) for classifier in classifiers):
            yield f"no classifier {needed}"
    for text in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        if requirement.url:
            yield f"{text}: an address instead of a range"
        if requirement.name == metadata["Name"]:
            continue
        in_extra = requirement.marker is not None and "extra" in str(requirement.marker)
        operators = {part.operator for part in requirement.specifier}
        if not operators & {">=", "~=", "=="}:
            yield f"{text}: the range has no beginning"
        if not in_extra and not operators & {"<", "~=", "=="}:
            yield f"{text}: the range has no end"
        if requirement.name in versions and not requirement.specifier.contains(versions[requirement.name]):
            yield f"{text}: leaves out {versions[requirement.name]}, the version beside it"


def siblings_of(package: Package, packages: dict[str, Package]) -> set[str]:
    """All packages of ours that come with one, itself included."""
    found = {package.name}
    for requirement in package.requirements():
        if requirement.name in packages:
            found |= siblings_of(packages[requirement.name], packages)
    return found


def build(package: Package, target: Path) -> Path:
    """Build sdist and wheel, the wheel from the sdist, and check both; returns the wheel."""
    _run(sys.executable, "-m", "build", "--installer", "uv", "--outdir", target, package.folder)
    stem = f"{package.module}-{package.version}"
    wheel, sdist = target / f"{stem}-py3-none-any.whl", target / f"{stem}.tar.gz"
    _run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    _run(Path(sys.executable).with_name("check-wheel-contents"), wheel)
    _run(
        Path(sys.executable).with_name("towncrier"),
        *("build", "--draft", "--config", ROOT / "tools" / "towncrier.toml"),
        *("--dir", package.folder, "--version", package.version),
    )
    return wheel


def install_alone(package: Package, packages: dict[str, Package], wheels: Path, environment: Path) -> None:
    """Install a package from its wheel, and use it."""
    uv = (sys.executable, "-m", "uv")
    python = environment / "bin" / "python"
    _run(*uv, "venv", "-q", "--python", sys.executable, environment)
    _run(*uv, "pip", "install", "-q", "--python", python, "--find-links", wheels, f"{package.name}=={package.version}")
    _run(*uv, "pip", "check", "-q", "--python", python)
    listed = _run(*uv, "pip", "list", "--python", python, "--format", "freeze").split()
    ours = {line for line in listed if line.partition("==")[0] in packages}
    expected = {f"{name}=={packages[name].version}" for name in siblings_of(package, packages)}
    if ours != expected:
        raise SystemExit(f"{package.name} comes with {sorted(ours)}, not with {sorted(expected)}")
    _run(python, "-I", "-W", "ignore", "-c", IMPORT_ALL, package.module, package.version, *OPTIONAL)
    for program in package.programs:
        told = _run(environment / "bin" / program, "--version")
        if told != f"{program} {package.version}\n":
            raise SystemExit(f"{program} --version prints {told!r}")
        if "Usage: " not in _run(environment / "bin" / program, "--help"):
            raise SystemExit(f"{program} --help does not show how it is used")


def main(target: Path, names: list[str]) -> int:
    """Build and check the packages that are named, or all; returns the exit status."""
    packages = all_packages()
    versions = {name: package.version for name, package in packages.items()}
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    findings = []
    for package in packages.values():
        wheel = build(package, target)
        findings += [f"{package.name}: {finding}" for finding in check_metadata(metadata_of(wheel), versions)]
    if findings:
        raise SystemExit("\n".join(findings))
    for name in names or packages:
        with tempfile.TemporaryDirectory() as scratch:
            install_alone(packages[name], packages, target, Path(scratch) / "alone")
        programs = ", ".join(packages[name].programs) or "no programs"
        print(f"{name} {versions[name]}: built, checked, installed alone; {programs}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
