"""Arithmetic of the comparison: medians over rounds, ratios inside a round, and the targets of the project.

Rules. A ratio is taken inside one round, where both sides met the same mood of the machine, and only then the median over the
rounds. The better of two contenders is likewise chosen round by round. A missing figure (None) is left out, never guessed.

Not here: how a figure is won (`suites.py`), how it is printed (`report.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

#: Contenders whose better figure is the yardstick, in the words of the project's targets.
YARDSTICK = ("nginx", "haproxy")
#: The contender the targets are about.
SUBJECT = "vestibule"


@dataclass(frozen=True)
class Reading:
    """One figure of one contender in one round. `user` and `system` split it where it is CPU time."""

    value: float
    user: float | None = None
    system: float | None = None
    note: str = ""
    #: Share of the load's length the contender was on a processor, where that tells whether the load kept up.
    busy: float | None = None


@dataclass
class Cell:
    """All figures for one question: a list with one place per round for each contender."""

    suite: str
    name: str
    unit: str
    higher_is_better: bool = False
    #: Most the subject may cost as a multiple of the yardstick, or None when nothing was promised.
    limit: float | None = None
    #: Least the slow peers must cost as a multiple of the subject, or None.
    lead: float | None = None
    #: Most the subject's own figure may be, or None.
    ceiling: float | None = None
    readings: dict[str, list[Reading | None]] = field(default_factory=dict)

    def add(self, contender: str, reading: Reading | None) -> None:
        """Append the figure of the next round; None says it could not be had."""
        self.readings.setdefault(contender, []).append(reading)

    def values(self, contender: str) -> list[float]:
        """Return the figures of a contender that exist."""
        return [r.value for r in self.readings.get(contender, ()) if r is not None]

    def median(self, contender: str) -> float | None:
        """Return the median over the rounds, or None without a figure."""
        values = self.values(contender)
        return median(values) if values else None

    def split(self, contender: str) -> tuple[float, float] | None:
        """Return the medians of user and system part, or None where the figure has none."""
        users = [r.user for r in self.readings.get(contender, ()) if r is not None and r.user is not None]
        systems = [r.system for r in self.readings.get(contender, ()) if r is not None and r.system is not None]
        return (median(users), median(systems)) if users and systems else None

    def notes(self, contender: str) -> list[str]:
        """Return what the rounds remarked, each remark once."""
        return list(dict.fromkeys(r.note for r in self.readings.get(contender, ()) if r is not None and r.note))

    def busy(self, contender: str) -> float | None:
        """Return the least share of time the contender was busy, or None where that was not watched."""
        shares = [r.busy for r in self.readings.get(contender, ()) if r is not None and r.busy is not None]
        return min(shares) if shares else None

    def cost_ratio(self, contender: str, yardstick: tuple[str, ...]) -> float | None:
        """Return the median over rounds of *cost of contender / least cost among yardstick*.

        Cost is the figure, or its inverse where higher is better, so above 1 always means worse. Rounds in which either
        side has no figure are left out; None when none is left.
        """
        ratios: list[float] = []
        for index, own in enumerate(self.readings.get(contender, ())):
            others = [self._cost_at(name, index) for name in yardstick]
            known = [cost for cost in others if cost is not None]
            mine = self._cost(own)
            if mine is not None and known and min(known) > 0:
                ratios.append(mine / min(known))
        return median(ratios) if ratios else None

    def _cost_at(self, contender: str, index: int) -> float | None:
        row = self.readings.get(contender, [])
        return self._cost(row[index]) if index < len(row) else None

    def _cost(self, reading: Reading | None) -> float | None:
        if reading is None:
            return None
        if not self.higher_is_better:
            return reading.value
        return 1.0 / reading.value if reading.value else None


@dataclass(frozen=True)
class Verdict:
    """One promise of the project held against the figures."""

    cell: str
    promise: str
    found: str
    met: bool


def verdicts(cells: list[Cell], slow_peers: tuple[str, ...] = ("caddy", "apache2")) -> list[Verdict]:
    """Return a verdict for every promise whose figures are there; a promise without figures gives none."""
    out: list[Verdict] = []
    for cell in cells:
        label = f"{cell.suite}: {cell.name}"
        ratio = cell.cost_ratio(SUBJECT, YARDSTICK)
        if cell.limit is not None and ratio is not None:
            promise = f"≤ {cell.limit:g} × the better of nginx and HAProxy"
            out.append(Verdict(label, promise, f"{ratio:.2f} ×", ratio <= cell.limit))
        own = cell.median(SUBJECT)
        if cell.ceiling is not None and own is not None:
            out.append(Verdict(label, f"≤ {cell.ceiling:g} {cell.unit}", f"{own:.1f} {cell.unit}", own <= cell.ceiling))
        if cell.lead is None:
            continue
        for peer in slow_peers:
            behind = cell.cost_ratio(peer, (SUBJECT,))
            if behind is not None:
                out.append(Verdict(label, f"{peer} ≥ {cell.lead:g} × behind", f"{behind:.2f} ×", behind >= cell.lead))
    return out


def percentile(ordered: list[float], share: float) -> float:
    """Return the smallest element of a sorted, non-empty list that is not below `share` (0 to 1) of all of them."""
    if not ordered:
        raise ValueError("no figures to take a percentile of")
    rank = -(-len(ordered) * share // 1)  # the ceiling
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]
