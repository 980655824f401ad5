"""Measures fastxent beside its alternatives: ``python -m bench``.

``cases`` names the data, ``peers`` and ``file_peers`` the contenders, the modules of ``families`` string them
into trials, ``measure`` times the contenders of a trial in turns, ``results`` keeps and compares, ``show`` and
``report`` print.
"""
