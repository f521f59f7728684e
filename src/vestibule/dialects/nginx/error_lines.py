"""What the error log of nginx says of requests that are refused or held up, which programs that ban clients read.

Facts:
* ``limit_req`` and ``limit_conn`` tell of requests that they refuse at their ``..._log_level``, and of those that wait one level below.
* ``auth_basic`` tells a name that it does not know from a password that is wrong; ``deny`` tells where ``satisfy any`` does not hold.
* A file that is not there is told of, unless ``log_not_found`` is ``off``; ``try_files`` asks quietly.
* A line begins with the time, the level, process and connection, and ends with whose request it was.

Rules: a line is one of an access log whose file is the error log, so it is written when the request is over. It is written where
there is an access log; only who stands in for nginx asks for it. The referrer is left out, and so are refusals by `deny` and for
passwords, and missing files, where another location has the page for them.

Not here: what vestibule itself says (``control/logs.py``), the outcome of limits (``plan/steps/limit.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vestibule.dialects.nginx.levels import denied_of, target_of
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.variables import Names
from vestibule.dialects.read import ReadText
from vestibule.model.config import AccessLog, Syslog
from vestibule.model.expr import AllOf, AnyOf, Call, Compare, Concat, Const, Expr, InSet, Match, Not, Var, concat

_LEVELS = ("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg")
_OF_LIMITS = _LEVELS[1:5]
_NOW = Call("divide", (Var("time_ms"), Const(1_000)))
_STAMP = Call("format_date", (_NOW, Const("%Y/%m/%d %H:%M:%S"), Const("local")))
_ASKED_NOBODY = Compare("==", Var("tried_addresses"), Const(""))
_NOT_FILES = ("proxy_pass", "return", "rewrite", "if", "try_files", "stub_status", "internal", "auth_request")
_WHOSE = ', client: $remote_addr, server: $server_name, request: "$request", host: "$http_host"'


@dataclass(frozen=True, slots=True)
class Telling:
    """Where such lines go, and from which level on."""

    target: str
    syslog: Syslog
    least: int

    def lines(self, scope: Scope, names: Names, read_text: ReadText) -> tuple[AccessLog, ...]:
        """Return the logs of what may be refused in a block."""
        names = names.copy()
        names.for_log = True
        made: list[AccessLog] = []
        for directive, said, what in (
            ("limit_req", "limit_req_log_level", "requests"),
            ("limit_conn", "limit_conn_log_level", "connections"),
        ):
            # The page for an error has a location of its own.
            if scope.nearest(directive) or (scope.nearest("error_page") and scope.nearest(f"{directive}_zone")):
                level = scope.text(said, "error")
                made += self._of_limit(scope, names, directive, what, level if level in _OF_LIMITS else "error")
        rules = scope.nearest("allow", "deny")
        if rules and scope.text("satisfy", "all") != "any":
            denied = denied_of(scope, rules)
            if denied != Const(False):
                test = AllOf((denied, _answered("403"))) if denied != Const(True) else _answered("403")
                made += self._line(scope, names, "error", [Const("access forbidden by rule")], test)
        made += self._of_passwords(scope, names, read_text)
        made += self._of_files(scope, names)
        return tuple(made)

    def _of_files(self, scope: Scope, names: Names) -> list[AccessLog]:
        """Return the log of files that are not there, in a place that serves files and does nothing else about a request."""
        if "request_filename" not in names.own or not scope.flag("log_not_found", True) or scope.own(*_NOT_FILES):
            return []
        text: list[Expr] = [Const('open() "'), names.own["request_filename"], Const('" failed (2: No such file or directory)')]
        is_first = Compare("==", Var("error_status"), Const(0))
        missing = AllOf((_answered("404"), is_first, Not(Match("/$", Var("decoded_path")))))
        return self._line(scope, names, "error", text, missing)

    def _of_limit(self, scope: Scope, names: Names, directive: str, what: str, level: str) -> list[AccessLog]:
        kept = f"{directive}_status"
        by = concat([Const(' by zone "'), Var("kept", f"{kept} zone"), Const('"')])
        excess = concat([Const(", excess: "), Var("kept", f"{kept} excess")]) if directive == "limit_req" else Const("")
        lower = _OF_LIMITS[max(0, _OF_LIMITS.index(level) - 1)]
        trial = scope.flag(f"{directive}_dry_run", False)
        # Where requests wait there is a comma before the zone, and where connections are tried one before what limits them.
        tried = ", dry run" + ("," if directive == "limit_conn" else "") if trial else ""
        suffix = "_DRY_RUN" if trial else ""
        text: list[Expr] = [Const(f"limiting {what}{tried}"), excess, by]
        made = self._line(scope, names, level, text, InSet(Var("kept", kept), (f"REJECTED{suffix}",)))
        if directive == "limit_req":
            text = [Const(f"delaying request{tried}"), excess, Const(","), by]
            made += self._line(scope, names, lower, text, InSet(Var("kept", kept), (f"DELAYED{suffix}",)))
        return made

    def _of_passwords(self, scope: Scope, names: Names, read_text: ReadText) -> list[AccessLog]:
        realm, file = scope.find("auth_basic"), scope.find("auth_basic_user_file")
        path = names.fixed(file.args[0]) if file is not None else None
        if realm is None or realm.text() == "off" or path is None:
            return []
        try:
            known = tuple(dict.fromkeys([line.strip().partition(":")[0] for line in read_text(path).splitlines() if ":" in line]))
        except (OSError, UnicodeError):
            return []
        refused = AllOf((_answered("401"), Not(InSet(Var("user"), ("",)))))
        user: list[Expr] = [Const('user "'), Var("user")]
        is_known = InSet(Var("user"), known)
        wrong: list[Expr] = [*user, Const('": password mismatch')]
        other: list[Expr] = [*user, Const(f'" was not found in "{path}"')]
        return [
            *self._line(scope, names, "error", wrong, AllOf((refused, is_known))),
            *self._line(scope, names, "error", other, AllOf((refused, Not(is_known)))),
        ]

    def _line(self, scope: Scope, names: Names, level: str, text: list[Expr], when: Expr) -> list[AccessLog]:
        if _LEVELS.index(level) < self.least:
            return []
        span = scope.nearest("access_log")[0].span
        process = Var("process_id")
        head: list[Expr] = [_STAMP, Const(f" [{level}] "), process, Const("#"), process, Const(": *"), Var("connection_number"), Const(" ")]
        whose = names.template(_WHOSE, span)
        parts: list[Expr] = []
        for part in (*head, *text, *(whose.parts if isinstance(whose, Concat) else (whose,))):
            parts += part.parts if isinstance(part, Concat) else (part,)
        how = replace(self.syslog, severity="err" if level == "error" else "warning" if level == "warn" else "info")
        return [AccessLog(self.target, "template", concat(parts), when=when, syslog=how)]


def _answered(status: str) -> Expr:
    """Return whether a request was answered so here, whatever page shows it."""
    return AllOf((_ASKED_NOBODY, AnyOf((InSet(Var("status"), (status,)), InSet(Var("error_status"), (status,))))))


def telling_of(main: Scope, http: Scope) -> Telling | None:
    """Return where a file has such lines go; None where it names no error log."""
    directive = http.find("error_log") or main.find("error_log")
    if directive is None or directive.text(1) not in ("", *_LEVELS):
        return None
    target, syslog = target_of(http, directive)
    return Telling(target, syslog, _LEVELS.index(directive.text(1) or "error"))
