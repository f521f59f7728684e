"""The arithmetic of the comparison: medians of ratios, the better of two, promises."""

import pytest
from bench.stats import YARDSTICK, Cell, Reading, percentile, verdicts


def cell(higher_is_better: bool = False, **readings: list[float | None]) -> Cell:
    made = Cell("suite", "cell", "µs", higher_is_better)
    for name, values in readings.items():
        for value in values:
            made.add(name, None if value is None else Reading(value))
    return made


def test_ratio_is_median_of_ratios_inside_rounds() -> None:
    # The machine was ten times slower in the second round, for both alike.
    made = cell(vestibule=[2.0, 30.0, 4.0], nginx=[1.0, 10.0, 1.0])
    assert made.cost_ratio("vestibule", ("nginx",)) == 3.0


def test_better_of_two_is_chosen_round_by_round() -> None:
    made = cell(vestibule=[2.0, 2.0, 2.0], nginx=[1.0, 4.0, 2.0], haproxy=[2.0, 1.0, 4.0])
    assert made.cost_ratio("vestibule", YARDSTICK) == 2.0


def test_where_higher_is_better_a_lower_figure_costs_more() -> None:
    made = cell(True, vestibule=[500.0], nginx=[1000.0])
    assert made.cost_ratio("vestibule", ("nginx",)) == 2.0


def test_missing_figures_are_left_out() -> None:
    made = cell(vestibule=[None, 3.0, 5.0], nginx=[1.0, None, 1.0], haproxy=[1.0, 3.0, None])
    assert made.median("vestibule") == 4.0
    assert made.cost_ratio("vestibule", YARDSTICK) == 3.0
    assert made.cost_ratio("caddy", YARDSTICK) is None
    assert made.median("caddy") is None


def test_split_is_the_median_of_each_part() -> None:
    made = Cell("suite", "cell", "µs")
    for user, system in ((1.0, 9.0), (2.0, 7.0), (3.0, 8.0)):
        made.add("nginx", Reading(user + system, user, system))
    assert made.split("nginx") == (2.0, 8.0)
    assert cell(nginx=[1.0]).split("nginx") is None


def test_least_busy_round_is_told() -> None:
    made = Cell("suite", "cell", "µs")
    made.add("nginx", Reading(1.0, busy=0.9))
    made.add("nginx", Reading(1.0, busy=0.4))
    assert made.busy("nginx") == 0.4
    assert cell(nginx=[1.0]).busy("nginx") is None


def test_promises_are_held_against_the_figures() -> None:
    made = cell(vestibule=[12.0], nginx=[10.0], haproxy=[11.0], caddy=[30.0], apache2=[20.0])
    made.limit, made.lead, made.ceiling = 1.1, 2.0, 12.0
    assert [(v.found, v.met) for v in verdicts([made])] == [
        ("1.20 ×", False),
        ("12.0 µs", True),
        ("2.50 ×", True),
        ("1.67 ×", False),
    ]


def test_a_promise_without_figures_gives_no_verdict() -> None:
    made = cell(nginx=[10.0])
    made.limit, made.lead, made.ceiling = 1.1, 2.0, 12.0
    assert verdicts([made]) == []


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.501, 51.0), (0.99, 99.0), (1.0, 100.0)])
def test_percentile_is_the_smallest_not_below_the_share(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == expected


def test_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no figures"):
        percentile([], 0.5)
