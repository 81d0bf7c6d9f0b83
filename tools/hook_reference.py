"""
The reference of docs/plugins.md, made from the hookspecs.

    python tools/hook_reference.py            writes it
    python tools/hook_reference.py --check    fails where the file has another one
"""

import inspect
import sys
from pathlib import Path

from made_pages import keep_part
from offset_node.plugins import hooks as hookspecs
from offset_proto.messages.app import AppRequest, RequestResult

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "plugins.md"
BEGIN = "<!-- made by tools/hook_reference.py -->\n"


def reference() -> str:
    """One section for each hook, in the order of the file."""
    sections = []
    for name, function in vars(hookspecs).items():
        if not name.startswith("offset_"):
            continue
        parameters = ", ".join(map(str, inspect.signature(function).parameters))
        annotations = inspect.get_annotations(function)
        rows = [f"* `{key}`: `{_name(value)}`" for key, value in annotations.items() if key != "return"]
        result = annotations["return"]
        if result is not None:
            rows.append(f"* answers `{_name(result)}`")
        text = inspect.getdoc(function)
        sections.append("\n".join([f"### `{name}({parameters})`\n", f"{text}\n", *rows]) + "\n")
    return "\n".join(sections)


def _name(annotation: object) -> str:
    if annotation is AppRequest:
        return "AppRequest"
    if annotation is RequestResult:
        return "RequestResult"
    if isinstance(annotation, type):
        return annotation.__name__
    return " | ".join(part.strip().rpartition(".")[2] for part in str(annotation).split("|"))


if __name__ == "__main__":
    sys.exit(keep_part(DOCUMENT, BEGIN, reference(), "the hookspecs", sys.argv))
