"""The forms a value can take in TOML: how each is read, written, and told in the reference.

Rules: ``read`` gets what ``tomllib`` made of the value and returns the model's; it raises ``ValueError`` saying what was
expected. ``write`` is its inverse and returns TOML text.

Not here: which key has which form (``schema``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from vestibule.dialects.toml.expression import format_template, format_test, parse_template, parse_test
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.quantity import MAX_QUANTITY, format_duration, format_size, parse_duration, parse_size

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def quote(text: str) -> str:
    """Write a TOML basic string. Raises ``ValueError`` for text that TOML cannot carry (lone surrogates)."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError(f"TOML has no way to write {text!r}, which is not UTF-8")
    # JSON's escapes are TOML's; of the rest only DEL may not stand for itself.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_text(key: str) -> str:
    """Write a key: bare where that is allowed."""
    return key if key and _BARE.issuperset(key) else quote(key)


def kind_name(value: object) -> str:
    """Name the TOML type of a value, for messages."""
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a text", int: "a number", float: "a fraction", list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")


class Form:
    """How one kind of value is written."""

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def read(self, value: object) -> object:
        """Return the model's value. Raises ``ValueError``."""
        raise NotImplementedError

    def write(self, value: object) -> str:
        """Return TOML text."""
        raise NotImplementedError

    def wrong(self, value: object) -> ValueError:
        """Return the error for a value of the wrong TOML type."""
        return ValueError(f"expected {self.type_name}, not {kind_name(value)}")


class Text(Form):
    """A text, given to ``convert`` if there is one."""

    def __init__(self, type_name: str = "a text", convert: Callable[[str], object] = str) -> None:
        super().__init__(type_name)
        self._convert = convert

    def read(self, value: object) -> object:
        if not isinstance(value, str):
            raise self.wrong(value)
        if "\0" in value:
            raise ValueError("a NUL byte is not allowed here")
        return self._convert(value)

    def write(self, value: object) -> str:
        return quote(str(value))


class Flag(Form):
    """True or false."""

    def __init__(self) -> None:
        super().__init__("true or false")

    def read(self, value: object) -> object:
        if not isinstance(value, bool):
            raise self.wrong(value)
        return value

    def write(self, value: object) -> str:
        return "true" if value else "false"


class Count(Form):
    """A whole number, not negative."""

    def __init__(self, octal: bool = False) -> None:
        super().__init__("permissions such as 0o660" if octal else "a whole number")
        self._octal = octal

    def read(self, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(value)
        if value < 0:
            raise ValueError("a negative number is not allowed here")
        if value > MAX_QUANTITY:
            raise ValueError("the number is too large")
        return value

    def write(self, value: object) -> str:
        return f"0o{value:o}" if self._octal else str(value)


class Measure(Form):
    """A size or a duration, written as a text with its unit, kept as a number of ``scale`` units."""

    def __init__(self, type_name: str, parse: Callable[[str], int], form: Callable[[int], str], scale: int = 1) -> None:
        super().__init__(type_name)
        self._parse = parse
        self._form = form
        self._scale = scale

    def read(self, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            raise ValueError(f"expected {self.type_name}: a text with its unit, not a bare number")
        if not isinstance(value, str):
            raise self.wrong(value)
        number, left = divmod(self._parse(value), self._scale)
        if left:
            raise ValueError("expected whole seconds")
        return number

    def write(self, value: object) -> str:
        assert isinstance(value, int)
        return quote(self._form(value * self._scale))


class Unlimited(Form):
    """A form, or the word that stands for no limit."""

    def __init__(self, inner: Form) -> None:
        super().__init__(f'{inner.type_name} or "unlimited"')
        self._inner = inner

    def read(self, value: object) -> object:
        if value == "unlimited":
            return None
        try:
            return self._inner.read(value)
        except ValueError as bad:
            raise ValueError(f'{bad}; or write "unlimited"') from None

    def write(self, value: object) -> str:
        return quote("unlimited") if value is None else self._inner.write(value)


class Choice(Form):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        super().__init__("one of " + ", ".join([quote(word) for word in words]))
        self._words = words

    def read(self, value: object) -> object:
        if not isinstance(value, str):
            raise self.wrong(value)
        if value not in self._words:
            raise ValueError(f"`{value}` is not known here; {did_you_mean(value, self._words)}")
        return value

    def write(self, value: object) -> str:
        return quote(str(value))


class Template(Form):
    """A text with variables in braces."""

    def __init__(self) -> None:
        super().__init__("a template")

    def read(self, value: object) -> object:
        if not isinstance(value, str):
            raise self.wrong(value)
        return parse_template(value)

    def write(self, value: object) -> str:
        return quote(format_template(value))  # type: ignore[arg-type]  # the schema pairs this form with expressions


class Test(Form):
    """An expression that is true or false."""

    __test__ = False  # pytest: this is no test class

    def __init__(self) -> None:
        super().__init__("a test")

    def read(self, value: object) -> object:
        if not isinstance(value, str):
            raise self.wrong(value)
        return parse_test(value)

    def write(self, value: object) -> str:
        return quote(format_test(value))  # type: ignore[arg-type]  # the schema pairs this form with expressions


class ListOf(Form):
    """An array of one form; where one value is the common case, it may stand without the brackets."""

    def __init__(self, item: Form, one_alone: bool = False) -> None:
        type_name = f"an array, each item {item.type_name}"
        super().__init__(f"{item.type_name}, or {type_name}" if one_alone else type_name)
        self.item = item
        self.one_alone = one_alone

    def items(self, value: object) -> list[object]:
        """Return the items as ``tomllib`` made them; each is then read by ``item``."""
        if isinstance(value, list):
            return value
        if self.one_alone:
            return [value]
        raise self.wrong(value)

    def read(self, value: object) -> object:
        return tuple([self.item.read(item) for item in self.items(value)])

    def write(self, value: object) -> str:
        assert isinstance(value, Sequence)
        return "[" + ", ".join([self.item.write(item) for item in value]) + "]"


class Named(Form):
    """A table whose values have one form; names keep their order."""

    def __init__(self, item: Form, type_name: str = "") -> None:
        super().__init__(type_name or f"a table, each value {item.type_name}")
        self.item = item

    def read(self, value: object) -> object:
        if not isinstance(value, dict):
            raise self.wrong(value)
        found: list[tuple[str, object]] = []
        for name, item in value.items():
            try:
                found.append((name, self.item.read(item)))
            except ValueError as bad:
                raise ValueError(f"`{name}`: {bad}") from None
        return tuple(found)

    def write(self, value: object) -> str:
        assert isinstance(value, tuple)
        return "{ " + ", ".join([f"{key_text(name)} = {self.item.write(item)}" for name, item in value]) + " }"


class Fields(Form):
    """A table of texts, or an array of pairs: a field may be there more than once."""

    def __init__(self) -> None:
        super().__init__("a table of texts, or an array of pairs")

    def read(self, value: object) -> object:
        if isinstance(value, dict):
            return PAIRS.read(value)
        if not isinstance(value, list):
            raise self.wrong(value)
        for each in value:
            if not (isinstance(each, list) and len(each) == 2):
                raise ValueError('expected a pair such as `["X-Name", "value"]`')
        return tuple([(TEXT.read(name), TEXT.read(text)) for name, text in value])

    def write(self, value: object) -> str:
        assert isinstance(value, tuple)
        if len({name for name, _ in value}) == len(value):
            return PAIRS.write(value)
        return "[" + ", ".join([f"[{quote(name)}, {quote(text)}]" for name, text in value]) + "]"


class Shape(Form):
    """A value with a structure of its own, which ``parse`` and ``write`` know; here only told in the reference."""

    def read(self, value: object) -> object:
        return value


TEXT = Text()
PATH = Text("a path")
FLAG = Flag()
COUNT = Count()
PERMISSIONS = Count(octal=True)
SIZE = Measure('a size such as "16KiB"', parse_size, format_size)
DURATION = Measure('a duration such as "75s"', parse_duration, format_duration)
SECONDS = Measure('a duration such as "365d"', parse_duration, format_duration, 1_000)
TEMPLATE = Template()
PAIRS = Named(TEXT, "a table of texts")
FIELDS = Fields()
TEST = Test()
TEXTS = ListOf(TEXT)
