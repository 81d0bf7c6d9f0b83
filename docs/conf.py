"""
The documentation site: `tox -e docs`.

The build is strict (`sphinx-build -W -n`). It fails for a link that leads nowhere, for a page that the navigation does
not name, and for a public name of the SDK or of the plugins' interface that has no docstring (`_require_docstring`) or
that no page describes (`_require_every_name`).
"""

import re
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

log = logging.getLogger(__name__)

project = "Offset"
author = "The Offset Python authors"
copyright = "The Offset Python authors"  # noqa: A001 - Sphinx reads this name
version = release = version_of("offset-ctrl")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]
nitpicky = True
# Types of the standard library and of packages that the reference does not show.
nitpick_ignore_regex = [("py:.*", r"(?!offset_ctrl\.|offset_node\.plugins\.).*")]
default_role = "code"

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

napoleon_use_ivar = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "undoc-members": True}

html_theme = "furo"
html_title = "Offset"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sourcelink = False


def _require_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Complain of a public name without a docstring; the build fails for it."""
    is_public = not any(part.startswith("_") for part in name.split("."))
    if is_public and what in ("module", "class", "exception", "function", "method", "property") and not any(lines):
        log.warning("%s has no docstring", name, type="offset", subtype="docstring")


def _skip_bare_attribute(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out attributes: the docstring of their class describes them."""
    is_attribute = not callable(obj) and not isinstance(obj, property) and what == "class"
    return True if is_attribute else None


PUBLIC = [
    "offset_ctrl",
    "offset_ctrl.blocking",
    "offset_ctrl.testing",
    "offset_node.plugins.hooks",
    "offset_node.plugins.values",
    "offset_node.plugins.access",
    "offset_node.plugins.scope",
    "offset_node.plugins.testing",
]
"""Modules whose public names all stand in the reference."""

_NOT_DESCRIBED = {"offset_node.plugins.hooks.hookspec"}
"""Names that no plugin needs."""


def _require_every_name(app: Sphinx, env: BuildEnvironment) -> None:
    """Complain of a public name that no page describes; the build fails for it."""
    described = {name for name, *_ in env.get_domain("py").get_objects()}
    for module in PUBLIC if "reference/sdk" in env.found_docs else []:
        loaded = import_module(module)
        own = [name for name, value in vars(loaded).items() if getattr(value, "__module__", None) == module]
        for name in getattr(loaded, "__all__", [name for name in own if not name.startswith("_")]):
            full = f"{module}.{name}"
            if full not in described and full not in _NOT_DESCRIBED:
                log.warning("no page describes %s", full, type="offset", subtype="undescribed")


_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(#[^)]*)?\)")


def _name_what_is_outside(app: Sphinx, page: str, content: list[str]) -> None:
    """
    Turn a link to a file of the repository that is no page of the site into the file's name.

    A link to a file that is not there stays as it is, and fails the build.
    """
    site = Path(app.srcdir)
    folder = (site / page).parent

    def name(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if not target.exists() or target.is_relative_to(site):
            return link[0]
        path = str(target.relative_to(site.parent))
        if link[1].strip("`/") in path:
            return f"`{path}` in the repository"
        return f"{link[1]} (`{path}` in the repository)"

    content[0] = _LINK.sub(name, content[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _name_what_is_outside)
    app.connect("autodoc-skip-member", _skip_bare_attribute)
    app.connect("autodoc-process-docstring", _require_docstring)
    app.connect("env-check-consistency", _require_every_name)
