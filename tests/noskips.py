"""A pytest plugin for CI: a test that was skipped has failed, unless ``--may-skip`` (a regular expression) knows why.

python -m pytest -p tests.noskips --may-skip "netcal|lacks avx512"
"""

from __future__ import annotations

import re
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--may-skip", default="(?!)", help="reasons for which tests may be skipped")


def _judge(report: Any, config: pytest.Config) -> Any:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not re.search(config.getoption("--may-skip"), reason):
            report.outcome, report.longrepr = "failed", f"it was skipped, and must run here: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    return _judge((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    return _judge((yield), collector.config)
