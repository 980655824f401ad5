"""``python -m fastxent.cli`` is the ``fastxent`` command."""

from fastxent.cli import main

main()
