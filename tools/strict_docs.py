"""
Show that the documentation's build fails where it has to: each mistake below, planted into a small site, is found.

    python tools/strict_docs.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SITE = Path(__file__).resolve().parent.parent / "docs"

INDEX = "# Index\n\n```{toctree}\npage\n```\n"
MISTAKES = {
    "a link that leads nowhere": ("myst.xref_missing", {"page.md": "# Page\n\n[there](nowhere.md)\n"}),
    "an anchor that is not there": ("myst.xref_missing", {"page.md": "# Page\n\n[there](#nowhere)\n"}),
    "a page outside of the navigation": ("toc.not_included", {"page.md": "# Page\n", "lost.md": "# Lost\n"}),
    "a public name without a docstring": (
        "planted.bare has no docstring",
        {
            "page.md": "# Page\n\n```{eval-rst}\n.. automodule:: planted\n```\n",
            "planted.py": '"""A module."""\n\ndef bare(): ...\n',
        },
    ),
    "a public name that no page describes": (
        "no page describes offset_ctrl.connect",
        {
            "index.md": "# Index\n\n```{toctree}\nreference/sdk\n```\n",
            "reference/sdk.md": "# SDK\n\n```{eval-rst}\n.. autoclass:: offset_ctrl.Node\n```\n",
        },
    ),
    "a public value that no page describes": (
        "no page describes offset_node.plugins.hooks.HOOKS_VERSION",
        {
            "index.md": "# Index\n\n```{toctree}\nreference/sdk\n```\n",
            "reference/sdk.md": "# Hooks\n\n```{eval-rst}\n.. automodule:: offset_node.plugins.values\n```\n",
        },
    ),
}


def _build(directory: Path, pages: dict[str, str]) -> tuple[int, str]:
    source = directory / "source"
    source.mkdir()
    shutil.copy(SITE / "conf.py", source)
    shutil.copytree(SITE / "_static", source / "_static")
    for name, text in {"index.md": INDEX, **pages}.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(source), str(directory / "site")]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    return result.returncode, result.stderr


def main() -> int:
    """Build one site without a mistake, and one for each mistake; returns the exit status."""
    wrong = 0
    for name, (sign, pages) in {"no mistake": ("", {"page.md": "# Page\n"}), **MISTAKES}.items():
        with tempfile.TemporaryDirectory() as directory:
            status, complaint = _build(Path(directory), pages)
        found = status == 0 if not sign else status != 0 and sign in complaint
        print(f"{name}: {'as it should be' if found else f'status {status}, {complaint}'}")
        wrong += not found
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
