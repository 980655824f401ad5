"""``python -m fastxent`` is the ``fastxent`` command."""

from fastxent.cli.main import main

main()
