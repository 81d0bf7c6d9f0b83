"""What git knows about the released versions of a package."""

import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from packages import ROOT, Package, read_version


@dataclass(frozen=True)
class Released:
    """A version of a package, and the commit that has its sources; None stands for the tree itself."""

    version: str
    commit: str | None


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True).stdout


def _show(commit: str, path: str) -> str:
    result = subprocess.run(["git", "-C", ROOT, "show", f"{commit}:{path}"], capture_output=True, text=True)
    return result.stdout if result.returncode == 0 else ""


def _is_released(changelog: str, version: str, changes: str) -> bool:
    """Whether *version* is the newest of the changelog, and nothing has been noted since."""
    headings = [line for line in changelog.splitlines() if line.startswith("## ")]
    return bool(headings) and headings[0].startswith(f"## {version} ") and ".md" not in changes


def releases(package: Package) -> list[Released]:
    """
    Every version of the package, the newest first.

    A version's sources are at its tag, ``offset-relay-v0.2.0``. A version without a tag is taken from the last commit
    whose changelog begins with it and has nothing newer. The version of the tree, if it has not been released, is the
    tree's.
    """
    folder = package.folder.relative_to(ROOT).as_posix()
    prefix = f"{package.name}-v"
    found = {
        tag.removeprefix(prefix): Released(tag.removeprefix(prefix), tag)
        for tag in _git("tag", "--list", f"{prefix}*").split()
    }
    for commit in _git("log", "--format=%H", "--", folder).split():
        project = _show(commit, f"{folder}/pyproject.toml")
        if not project:
            continue  # a commit from before the package
        version = read_version(_show(commit, f"{folder}/src/{package.module}/__init__.py"), project)
        if version is None or version in found:
            continue
        changes = _git("ls-tree", "--name-only", commit, f"{folder}/changes/")
        if _is_released(_show(commit, f"{folder}/CHANGELOG.md"), version, changes):
            found[version] = Released(version, commit)
    found.setdefault(package.version, Released(package.version, None))
    return list(found.values())


def unpack(package: Package, commit: str, target: Path) -> Path:
    """Write the package's folder as of *commit* below *target*, and return it."""
    folder = package.folder.relative_to(ROOT).as_posix()
    command = ["git", "-C", str(ROOT), "archive", commit, folder]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(target, filter="data")
    return target / folder
