"""Several sections that fit a request, of which the last decides.

Facts: two sections by path meet only if one path is inside of the other; conditions and patterns may meet anything.

Rules: an action is tied to its own test and to none of the later ones that may hold with it being true. Where that would be many tests,
the number of the last section that fits is kept first, and decides.

Not here: what sections say (``access``, ``pacing``), which sections there are (``sections``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from vestibule.dialects.apache.expressions import negated
from vestibule.dialects.apache.fields import conditional
from vestibule.dialects.apache.sections import Section, bases_of, both
from vestibule.model.config import Action, SetVariable, When
from vestibule.model.expr import EMPTY, Compare, Const, Expr, Var

_MOST_TESTS = 1_000

_LAST = "section"

Decided = Sequence[tuple[Section, tuple[Action, ...]]]


def settled(decided: Decided) -> tuple[Action, ...]:
    """Return actions of which those decide whose section is the last that fits."""
    # What stands before a section that every request is in decides nothing.
    first = max([at for at, (section, _) in enumerate(decided) if section.test is None], default=0)
    decided = decided[first:]
    meeting = _meeting([section for section, _ in decided])
    if meeting is None:
        return _by_number(decided)
    found: list[Action] = []
    for (section, actions), later in zip(decided, meeting, strict=True):
        whole: Expr | None = section.test
        for at in later:
            test = decided[at][0].test
            whole = both(whole, None if test is None else negated(test))
        found.extend(conditional(whole, actions))
    return tuple(found)


def _by_number(decided: Decided) -> tuple[Action, ...]:
    found: list[Action] = [SetVariable(_LAST, EMPTY)]
    for at, (section, _) in enumerate(decided):
        found.extend(conditional(section.test, (SetVariable(_LAST, Const(f"{at + 1}")),)))
    found.extend([When(Compare("==", Var("kept", _LAST), Const(f"{at + 1}")), actions) for at, (_, actions) in enumerate(decided)])
    return tuple(found)


def _meeting(sections: Sequence[Section]) -> list[list[int]] | None:
    """Return, for each section, the later ones that some of its requests may be in; None if they are more than are written out."""
    total = 0
    anywhere: list[int] = []
    places: dict[str, list[int]] = {}
    for at, section in enumerate(sections):
        if _is_plain(section):
            places.setdefault(section.path.rstrip("/"), []).append(at)
        else:
            anywhere.append(at)
    names = sorted([f"{path}/" for path in places])
    found: list[list[int]] = []
    for at, section in enumerate(sections):
        later = range(at + 1, len(sections))
        if _is_plain(section):
            path = section.path.rstrip("/")
            inside = names[bisect_left(names, f"{path}/") : bisect_left(names, f"{path}0")]
            near = {*bases_of(path), *[each[:-1] for each in inside]}
            later_ones = [each for place in near for each in places.get(place, ()) if each > at]
            found.append(sorted([*later_ones, *anywhere[bisect_left(anywhere, at) :]]))
        else:
            found.append(list(later))
        total += len(found[-1])
        if total > _MOST_TESTS:
            return None
    return found


def _is_plain(section: Section) -> bool:
    return not section.is_pattern and not section.is_if and section.path != "/"
