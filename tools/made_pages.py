"""Pages of the documentation, or parts of them, that are made from code: written, or only compared."""

from pathlib import Path

__all__ = ["END", "keep", "keep_part"]

END = "<!-- end -->\n"


def keep(document: Path, made: str, source: str, arguments: list[str]) -> int:
    """
    Write *made* to *document*; with ``--check`` among *arguments* only compare.

    Args:
        document: The page.
        made: All of its text.
        source: What it is made from, in words.
        arguments: Of the tool that makes it, its own name first.

    Returns:
        The exit status: 1 where the page is another one.
    """
    if "--check" not in arguments:
        document.write_text(made)
    elif not document.exists() or document.read_text() != made:
        print(f"{document.name}: not what {source} make of it; run {arguments[0]}")
        return 1
    return 0


def keep_part(document: Path, begin: str, made: str, source: str, arguments: list[str]) -> int:
    """The same for what stands between the line *begin* and `END`; 1 as well where one of the two is missing."""
    before, mark, rest = document.read_text().partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        print(f"{document.name}: the marks of the reference are missing")
        return 1
    return keep(document, f"{before}{begin}\n{made}\n{END}{after}", source, arguments)
