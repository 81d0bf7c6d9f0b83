"""
Check that a tag may publish a package, and print the package's name.

    python tools/check_tag.py offset-relay-v0.2.1

The version must be that of the tree, and its changelog must have been made: it begins with the version, and there are
no news fragments left.
"""

import sys

from packages import Package, all_packages


def check(tag: str, packages: dict[str, Package]) -> Package:
    """
    The package that the tag names.

    Raises:
        SystemExit: The tag must not publish anything; the message says why.
    """
    name, _, version = tag.rpartition("-v")
    package = packages.get(name)
    if package is None:
        raise SystemExit(f"{tag}: a tag is NAME-vVERSION, with one of {', '.join(packages)}")
    if version != package.version:
        raise SystemExit(f"{tag}: the tree has version {package.version} of {name}")
    fragments = sorted(path.name for path in (package.folder / "changes").glob("*.md"))
    if fragments:
        raise SystemExit(f"{tag}: these fragments are not in the changelog yet: {', '.join(fragments)}")
    changelog = (package.folder / "CHANGELOG.md").read_text()
    headings = [line for line in changelog.splitlines() if line.startswith("## ")]
    if not headings or not headings[0].startswith(f"## {version} "):
        raise SystemExit(f"{tag}: the changelog of {name} does not begin with {version}")
    return package


if __name__ == "__main__":
    print(check(sys.argv[1], all_packages()).name)
