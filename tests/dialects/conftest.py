"""Golden cases: ``pytest tests/dialects/LANGUAGE --accept`` rewrites what they expect.

One for all languages: an option is declared once.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="rewrite the expected half of golden cases")


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> bool:
    """Whether to rewrite instead of to compare. The option is unknown when the tests of all directories run together."""
    return bool(request.config.getoption("--accept", default=False))
