"""What the checks of a configuration write their findings into.

Rules: a place is given as a path in the model (``sites[0].source.routes[2].when``); who called the check knows which
place of which file that is.

Not here: the checks (``check``, ``check_route``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from vestibule.model.diagnostic import Diagnostic, Span, did_you_mean, error, warning


class Findings:
    """Collects diagnostics of one configuration, in the order they are found."""

    def __init__(self, place: Callable[[str], Span]) -> None:
        self._place = place
        self.diagnostics: list[Diagnostic] = []

    def error(self, path: str, code: str, message: str, hint: str = "") -> None:
        """Note what forbids the configuration."""
        self.diagnostics.append(error(self._place(path), code, message, hint))

    def warning(self, path: str, code: str, message: str, hint: str = "") -> None:
        """Note what is allowed and probably not meant."""
        self.diagnostics.append(warning(self._place(path), code, message, hint))

    def reference(self, path: str, what: str, name: str, known: Collection[str]) -> bool:
        """Note a name that refers to nothing; tell whether it refers to something."""
        if name in known:
            return True
        self.error(path, "unknown-reference", f"there is no {what} `{name}`", did_you_mean(name, list(known)))
        return False

    def at_least(self, path: str, value: int | None, lowest: int) -> None:
        """Note a number that is too small; None is no number and fine."""
        if value is not None and value < lowest:
            self.error(path, "out-of-range", f"{value} is too small", f"the least is {lowest}")

    def unique(self, path: str, what: str, names: Sequence[str]) -> None:
        """Note names that are empty or used twice; ``path`` is that of the list."""
        seen: set[str] = set()
        for at, name in enumerate(names):
            if name == "":
                self.error(f"{path}[{at}].name", "empty-name", f"a {what} needs a name")
            elif name in seen:
                self.error(f"{path}[{at}].name", "duplicate-name", f"there are two {what}s named `{name}`")
            seen.add(name)
