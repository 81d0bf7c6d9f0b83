"""The distributions of this repository, as their pyproject.toml describes them."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """One distribution: its folder, its version, what it needs, and its programs."""

    name: str
    folder: Path
    version: str
    dependencies: tuple[str, ...]
    extras: dict[str, tuple[str, ...]]
    programs: tuple[str, ...]

    @property
    def module(self) -> str:
        """The name to import."""
        return self.name.replace("-", "_")

    def requirements(self, *extras: str) -> Iterator[Requirement]:
        """What the package needs with *extras*; an extra that names the package's own extras is followed."""
        for text in (*self.dependencies, *(text for extra in extras for text in self.extras[extra])):
            requirement = Requirement(text)
            if requirement.name == self.name:
                yield from map(Requirement, (text for extra in requirement.extras for text in self.extras[extra]))
            else:
                yield requirement


def read_version(module_source: str, project: str) -> str | None:
    """The version in a package's ``__init__.py``, or that in its pyproject.toml, where it stood up to 0.1.0."""
    stated = tomllib.loads(project)["project"].get("version")
    if stated is not None:
        return str(stated)
    found = _VERSION.search(module_source)
    return None if found is None else found[1]


def all_packages() -> dict[str, Package]:
    """Every distribution of the tree, by its name."""
    packages = {}
    for folder in sorted((ROOT / "packages").iterdir()):
        text = (folder / "pyproject.toml").read_text()
        project = tomllib.loads(text)["project"]
        name = project["name"]
        source = (folder / "src" / name.replace("-", "_") / "__init__.py").read_text()
        version = read_version(source, text)
        if version is None:
            raise SystemExit(f"{name}: there is no __version__")
        packages[name] = Package(
            name,
            folder,
            version,
            tuple(project.get("dependencies", ())),
            {extra: tuple(texts) for extra, texts in project.get("optional-dependencies", {}).items()},
            tuple(project.get("scripts", {})),
        )
    return packages
