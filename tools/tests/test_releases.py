"""Versions of a package, as git has them; ranges, and metadata that is not complete."""

import subprocess
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import build_distributions
import check_tag
import compat
import history
from packages import Package, read_version

NOT_RELEASED = "# Changelog\n\n## Unreleased\n\n- A thing.\n\n## 0.1.0 - 2026-11-22\n"
RELEASED = "# Changelog\n\n## {} - 2026-11-22\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository that the tools take for ours."""
    _git(tmp_path, "init", "-q")
    monkeypatch.setattr(history, "ROOT", tmp_path)
    return tmp_path


def _git(repository: Path, *words: str) -> str:
    person = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(repository), *person, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _commit(repository: Path, version: str, changelog: str, fragment: str = "", static: bool = False) -> str:
    """A commit of one package; *static* puts the version where it stood up to 0.1.0."""
    folder = repository / "packages" / "offset-thing"
    module = folder / "src" / "offset_thing"
    module.mkdir(parents=True, exist_ok=True)
    stated = f'version = "{version}"' if static else 'dynamic = ["version"]'
    (folder / "pyproject.toml").write_text(f'[project]\nname = "offset-thing"\n{stated}\n')
    (module / "__init__.py").write_text("" if static else f'__version__ = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(changelog)
    (folder / "changes").mkdir(exist_ok=True)
    for path in (folder / "changes").glob("*.md"):
        path.unlink()
    if fragment:
        (folder / "changes" / fragment).write_text("A thing.\n")
    _git(repository, "add", "-A")
    _git(repository, "commit", "-q", "--allow-empty", "-m", "a commit")
    return _git(repository, "rev-parse", "HEAD")


def _package(repository: Path, version: str) -> Package:
    return Package("offset-thing", repository / "packages" / "offset-thing", version, (), {}, ())


def test_a_release_without_a_tag_is_the_last_commit_before_the_next_news(repository: Path) -> None:
    """Both with the old kind of changelog and with fragments; what came after belongs to the next version."""
    _commit(repository, "0.1.0", RELEASED.format("0.1.0"), static=True)
    first = _commit(repository, "0.1.0", RELEASED.format("0.1.0") + "- More.\n", static=True)
    _commit(repository, "0.1.0", NOT_RELEASED, static=True)
    _commit(repository, "0.2.0", RELEASED.format("0.1.0"), "a.added.md")
    second = _commit(repository, "0.2.0", RELEASED.format("0.2.0"))
    _commit(repository, "0.2.0", RELEASED.format("0.2.0"), "b.fixed.md")
    assert history.releases(_package(repository, "0.2.0")) == [
        history.Released("0.2.0", second),
        history.Released("0.1.0", first),
    ]


def test_a_tag_decides(repository: Path) -> None:
    """And a tag of another package does not."""
    _commit(repository, "0.1.0", RELEASED.format("0.1.0"))
    _git(repository, "tag", "offset-thing-v0.1.0")
    _git(repository, "tag", "offset-other-v0.1.1")
    _commit(repository, "0.1.0", RELEASED.format("0.1.0") + "- Later.\n")
    assert history.releases(_package(repository, "0.1.0")) == [history.Released("0.1.0", "offset-thing-v0.1.0")]


def test_the_next_version_is_that_of_the_tree(repository: Path) -> None:
    """A version that is only prepared has no commit; the one before it has."""
    first = _commit(repository, "0.1.0", RELEASED.format("0.1.0"))
    _commit(repository, "0.2.0", RELEASED.format("0.1.0"), "a.added.md")
    package = _package(repository, "0.2.0")
    assert history.releases(package) == [history.Released("0.1.0", first), history.Released("0.2.0", None)]
    assert compat.oldest(package, Requirement("offset-thing>=0.1,<0.3")) == history.Released("0.1.0", first)
    assert compat.oldest(package, Requirement("offset-thing>=0.2,<0.3")) == history.Released("0.2.0", None)
    with pytest.raises(compat.DoesNotHold, match="no version of offset-thing is in this range"):
        compat.oldest(package, Requirement("offset-thing>=0.3"))


def test_sources_of_a_release(repository: Path, tmp_path: Path) -> None:
    """Those of the commit, not of the tree."""
    first = _commit(repository, "0.1.0", RELEASED.format("0.1.0"))
    _commit(repository, "0.2.0", RELEASED.format("0.2.0"))
    folder = history.unpack(_package(repository, "0.2.0"), first, tmp_path / "unpacked")
    assert '"0.1.0"' in (folder / "src" / "offset_thing" / "__init__.py").read_text()


def test_read_version() -> None:
    """From either place."""
    assert read_version("", '[project]\nversion = "0.1.0"\n') == "0.1.0"
    assert read_version('"""A package."""\n\n__version__ = "0.2.0"\n', "[project]\n") == "0.2.0"
    assert read_version("", "[project]\n") is None


def test_the_beginning_of_a_range() -> None:
    """The lowest version that it allows; a range without one is refused."""
    assert compat.lowest(Requirement("click>=8.4,<9")) == "8.4"
    assert compat.lowest(Requirement("click~=8.4.1")) == "8.4.1"
    with pytest.raises(compat.DoesNotHold):
        compat.lowest(Requirement("click<9"))


def test_requirements_of_a_package_follow_its_own_extras() -> None:
    """An extra that names others of the same package stands for what they need."""
    extras = {"metrics": ("counters>=1",), "test": ("pytest>=8", "offset-thing[metrics]")}
    package = Package("offset-thing", Path(), "1", ("click>=8",), extras, ())
    assert [str(requirement) for requirement in package.requirements("test")] == [
        "click>=8",
        "pytest>=8",
        "counters>=1",
    ]


def _metadata(**fields: str | list[str]) -> Message:
    complete: dict[str, str | list[str]] = {
        "Name": "offset-thing",
        "Summary": "A thing",
        "License-Expression": "MIT",
        "License-File": "LICENSE",
        "Requires-Python": ">=3.11",
        "Keywords": "thing",
        "Author": "Somebody",
        "Description": "A long text",
        "Project-URL": "Original, https://example.org",
        "Classifier": [*build_distributions.CLASSIFIERS],
        "Requires-Dist": ["offset-other>=0.2.0,<0.3", "pytest>=8; extra == 'test'"],
    }
    message = Message()
    for name, values in {**complete, **{name.replace("_", "-"): value for name, value in fields.items()}}.items():
        for value in [values] if isinstance(values, str) else values:
            message[name] = value
    return message


def test_complete_metadata() -> None:
    """There is nothing to find."""
    assert not list(build_distributions.check_metadata(_metadata(), {"offset-other": "0.2.0"}))


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"Project_URL": []}, "no project URL"),
        ({"Keywords": ""}, "no Keywords"),
        ({"Classifier": build_distributions.CLASSIFIERS[:-1]}, "no classifier Typing :: Typed"),
        ({"Requires_Dist": "offset-other~=0.1.0"}, "leaves out 0.2.0"),
        ({"Requires_Dist": "click<9"}, "has no beginning"),
        ({"Requires_Dist": "click>=8"}, "has no end"),
        ({"Requires_Dist": "click @ https://example.org/click.whl"}, "an address instead of a range"),
    ],
)
def test_incomplete_metadata(fields: dict[str, str | list[str]], finding: str) -> None:
    """Each thing that is missing is told."""
    assert finding in "\n".join(build_distributions.check_metadata(_metadata(**fields), {"offset-other": "0.2.0"}))


def test_a_tag_publishes_what_is_ready(repository: Path) -> None:
    """The package in the tree's version, with its changelog made."""
    _commit(repository, "0.2.0", RELEASED.format("0.2.0"))
    packages = {"offset-thing": _package(repository, "0.2.0")}
    assert check_tag.check("offset-thing-v0.2.0", packages).name == "offset-thing"
    for tag, reason in (
        ("v0.2.0", "a tag is NAME-vVERSION"),
        ("offset-other-v0.2.0", "a tag is NAME-vVERSION"),
        ("offset-thing-v0.1.0", "the tree has version 0.2.0"),
    ):
        with pytest.raises(SystemExit, match=reason):
            check_tag.check(tag, packages)


@pytest.mark.parametrize(
    ("changelog", "fragment", "reason"),
    [
        (RELEASED.format("0.2.0"), "a.added.md", "these fragments are not in the changelog yet: a.added.md"),
        (RELEASED.format("0.1.0"), "", "does not begin with 0.2.0"),
    ],
)
def test_a_tag_publishes_nothing_half_done(repository: Path, changelog: str, fragment: str, reason: str) -> None:
    """A version whose changelog was forgotten stays at home."""
    _commit(repository, "0.2.0", changelog, fragment)
    with pytest.raises(SystemExit, match=reason):
        check_tag.check("offset-thing-v0.2.0", {"offset-thing": _package(repository, "0.2.0")})
