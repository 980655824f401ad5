"""How Sphinx makes the pages: `make docs`. What they show needs no network, formulas are MathML."""

from __future__ import annotations

import sys
from pathlib import Path

from fastxent import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fastxent"
author = copyright = "fastxent authors"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "mathml"]
exclude_patterns = ["build", "examples/*.py"]
html_theme = "furo"
html_title = f"fastxent {release}"
html_extra_path = ["example-report.html"]
suppress_warnings = ["myst.header"]
nb_execution_mode = "off"  # notebooks are run by `make notebooks`

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
smartquotes = False
