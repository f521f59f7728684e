"""A short run of the chaos: nothing is lost that could be saved, nothing doubled, and servers are back in time."""

import os

import pytest

from bench import chaos


@pytest.mark.parametrize("seed", [3])
def test_nobody_notices(seed: int) -> None:
    outcome = chaos.run("vestibule", 16.0, 60.0, seed, os.environ["PYTHONPATH"])
    told = chaos.tell("vestibule", outcome)
    assert chaos.holds(outcome), told
    assert outcome.recoveries or outcome.counts["blows: slow"], told
    assert outcome.counts["gets answered"] > 500, told
    assert len(outcome.sent) > 100, told


def test_losses_are_noticed() -> None:
    outcome = chaos.Outcome()
    assert chaos.holds(outcome)
    outcome.note("gets failed (502)", 0.1)
    assert not chaos.holds(outcome)
    for name, value in (("doubled", 1), ("missing", 1), ("recoveries", [9.0])):
        worse = chaos.Outcome()
        setattr(worse, name, value)
        assert not chaos.holds(worse), name
