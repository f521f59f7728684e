"""What frontends capture: fields of requests and answers that later rules and lines of logs read.

Facts (HAProxy configuration manual, chapter 4.2): ``capture request header``, ``declare capture request`` and
``http-request capture … len`` each declare a slot, numbered by their order, those of ``defaults`` first;
``http-request capture … id`` fills one.

Not here: rules that capture (``rules``), how captures are written (``formats``).
"""

from __future__ import annotations

from dataclasses import replace

from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.settings import Settings
from vestibule.dialects.haproxy.state import State
from vestibule.model.expr import EMPTY, Expr, Var


def captures_of(settings: Settings, state: State, report: Report) -> State:
    """Return what is known before the rules of a frontend: fields that are captured, and which slots rules declare."""
    slots: dict[tuple[str, int], int] = {}
    count = 0
    for statement in settings.statements:
        words = statement.arguments()
        if statement.name == "capture response":
            if words[:1] != ["header"] or len(words) != 4 or words[2] != "len" or not words[3].isdecimal():
                hint = "write `capture response header NAME len 32`"
                report.error(statement.line, statement.first, "syntax", "this captures nothing", hint)
                continue
            captured = Var("response_header_line", words[1].lower())
            number = len([each for each in state.captures if each[0] == "capture.res.hdr"])
            state = state.with_capture(captured, number, int(words[3]), "capture.res.hdr")
        if statement.name == "http-request capture" and "len" in words:
            slots[statement.line.file, statement.line.number] = count
            count += 1
        if statement.name == "capture request" or (statement.name == "declare capture" and words[:1] == ["request"]):
            fields = words[:1] == ["header"] and len(words) > 1 and statement.name == "capture request"
            value: Expr = Var("header_line", words[1].lower()) if fields else EMPTY
            size = words[-1] if words and words[-1].isdecimal() else ""
            if not size or (statement.name == "capture request" and not fields):
                hint = "write `capture request header NAME len 32`"
                report.error(statement.line, statement.first, "syntax", "this captures nothing", hint)
                continue
            state = state.with_capture(value, count, int(size))
            count += 1
    return replace(state, slots=slots, logged={} if settings.has("log") else None)
