"""What holds for all tests: those that look into Python objects are left out where the objects are compiled."""

import hypothesis
import pytest

from vestibule import fault

# How long making an example takes says how busy the machine is, and nothing of what is tested.
hypothesis.settings.register_profile("unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `interpreted_only` tests when the package is compiled."""
    if (fault.__file__ or "").endswith(".py"):
        return
    skip = pytest.mark.skip(reason="compiled classes can be neither derived from nor measured")
    for item in items:
        if item.get_closest_marker("interpreted_only"):
            item.add_marker(skip)
