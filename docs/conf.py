from __future__ import annotations

import pathlib
import sys

import aioaurora

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_ext"))

project = "aioaurora"
author = "The aioaurora developers"
copyright = author
version = release = aioaurora.__version__

myst_enable_extensions = ["colon_fence", "deflist"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "made_from_code"]
exclude_patterns = ["_build", "_ext", "changelog.d"]
html_theme = "furo"
html_title = f"aioaurora {version}"

default_role = "code"  # `x` in a docstring is code.
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
myst_heading_anchors = 3

# Nothing is fetched while building, so other projects' names cannot be linked; nor are our private ones documented.
nitpick_ignore_regex = [("py:.*", r"(?!aioaurora\b).*"), ("py:.*", r"aioaurora\.(.*\.)?_.*")]
