"""What holds for all tests: those that look into Python objects are left out where the objects are compiled."""

import pytest

from vestibule import fault


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `interpreted_only` tests when the package is compiled."""
    if (fault.__file__ or "").endswith(".py"):
        return
    skip = pytest.mark.skip(reason="compiled classes can be neither derived from nor measured")
    for item in items:
        if item.get_closest_marker("interpreted_only"):
            item.add_marker(skip)
