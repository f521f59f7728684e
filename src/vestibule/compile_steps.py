"""Actions of the model to steps and edits of a plan.

Rules: neighbouring edits are one step. An edit that depends on no more than the client's fields and its
connection is made once for as long as both stay the same; `split_steady` finds those a site begins with.

Not here: which plan has which steps (`compile.py`).
"""

from typing import Final

from mypy_extensions import trait

from vestibule.compile_expr import ExprMaker, Mistakes, wire
from vestibule.compile_state import Registry, Root
from vestibule.contract import DOWN, UP, FilterMaker, Keeping, Plan, Step
from vestibule.model import config as model
from vestibule.model import expr as tree
from vestibule.net.reactor import Reactor
from vestibule.plan.expr import CONST, FIELDS, Node
from vestibule.plan.filters.substitute import Substitute
from vestibule.plan.password import has_argon2, has_bcrypt, has_yescrypt
from vestibule.plan.steps.as_get import DropBody, SetBody
from vestibule.plan.steps.ask import AuthRequest, CopiedFields
from vestibule.plan.steps.auth_basic import BasicAuth
from vestibule.plan.steps.bandwidth import BandwidthLimit, SharedAccounts
from vestibule.plan.steps.body import HoldAnswer, ReadBody
from vestibule.plan.steps.count import ADD, BYTES_IN, BYTES_OUT, FIND, LOOK, REQUESTS, SET, Count, CountAnswered, Counters, Tally
from vestibule.plan.steps.deny import ClientCertificate, Deny, HangUp
from vestibule.plan.steps.edit import AddField, Edit, EditLines, EditRequest, EditWhen, RemoveField, RemoveMatching, SetField
from vestibule.plan.steps.instead import ReplaceAnswer, SetStatus
from vestibule.plan.steps.judge_first import JudgeFirst
from vestibule.plan.steps.keep import EarlyHints, Keep, KeepAnswered, SetClient, SetMethod
from vestibule.plan.steps.limit import Accounts, ConcurrencyLimit, Counts, Outcome, RateLimit
from vestibule.plan.steps.rewrite import Rewrite, StripPrefix
from vestibule.plan.steps.times import KeepAlive, SetTimeouts
from vestibule.plan.steps.trailer import AddTrailer
from vestibule.plan.steps.when import Only, When
from vestibule.plan.variables import Place

_HOW: Final = {"add": ADD, "set": SET, "look": LOOK, "find": FIND}
_OF: Final = {"requests": REQUESTS, "bytes_in": BYTES_IN, "bytes_out": BYTES_OUT}

# What is done to the body of a response.
_NO_EDITS: Final = (model.BandwidthLimit, model.ReadBody, model.Substitute)


@trait
class Asked:
    """Who knows how servers are asked whether a request may pass."""

    def question(self, key: str, action: model.AuthRequest, edits: list[Edit]) -> Plan:
        """Return the plan of a question."""
        raise NotImplementedError


class StepMaker:
    """Makes steps and edits."""

    def __init__(self, mistakes: Mistakes, exprs: ExprMaker, registry: Registry, root: Root, reactor: Reactor, asked: Asked) -> None:
        self._mistakes = mistakes
        self._exprs = exprs
        self._registry = registry
        self._root = root
        self._reactor = reactor
        self._asked = asked

    def judged_first(self, known: int) -> list[Step]:
        """Make what has passwords judged that conditions ask for, beyond so many that were known before; nothing where none takes long."""
        slow = list(dict.fromkeys(self._exprs.slow[known:]))
        return [JudgeFirst(slow, self._reactor, self._registry.judge)] if slow else []

    def request_steps(self, key: str, actions: tuple[model.Action, ...], place: Place, first: int) -> list[Step]:
        """Make the steps of request actions; neighbouring edits are one step. `first` is the number of the first."""
        steps: list[Step] = []
        run: list[Edit] = []
        names: list[bytes] = []
        values: list[Node] = []
        for at in range(len(actions)):
            action = actions[at]
            where = f"{key}[{first + at}]"
            edit = self.edit(where, action, place, True)
            if edit is not None and not (run and _reads_fields(action)):
                run.append(edit)
                continue
            if run:
                steps.append(EditRequest(run, are_steady(run)))
                run = []
            if edit is not None:
                run.append(edit)
                continue
            if isinstance(action, model.EarlyHint):
                names.append(wire(action.name))
                values.append(self._exprs.text(f"{where}.value", action.value, place))
                if at + 1 == len(actions) or not isinstance(actions[at + 1], model.EarlyHint):
                    steps.append(EarlyHints(names, values))
                    names = []
                    values = []
                continue
            step = self.step(where, action, place)
            if step is not None:
                steps.append(step)
        if run:
            steps.append(EditRequest(run, are_steady(run)))
        return steps

    def step(self, key: str, action: model.Action, place: Place) -> Step | None:
        """Make the step of an action that is more than an edit of fields."""
        if isinstance(action, model.Rewrite):
            path = None if action.path is None else self._exprs.text(f"{key}.path", action.path, place)
            query = None if action.query is None else self._exprs.text(f"{key}.query", action.query, place)
            return Rewrite(path, query, action.upstream_only)
        if isinstance(action, model.StripPrefix):
            return StripPrefix(wire(action.prefix), action.ignore_case)
        if isinstance(action, model.Deny):
            return Deny(action.status)
        if isinstance(action, model.HangUp):
            return HangUp()
        if isinstance(action, model.SetBody):
            return SetBody(self._exprs.text(f"{key}.body", action.body, place))
        if isinstance(action, model.ReadBody):
            return ReadBody(self._reactor, action.least, action.time_ms)
        if isinstance(action, model.DropBody):
            return DropBody()
        if isinstance(action, model.ClientCertificate):
            return ClientCertificate(action.status)
        if isinstance(action, model.BasicAuth):
            secrets = [wire(secret) for _, secret in action.users]
            if not has_bcrypt() and any(secret.startswith(b"$2") for secret in secrets):
                self._mistakes.add(f"{key}.users", "bcrypt hashes need the package `bcrypt`; install it, or make `$6$` hashes")
            if any(secret.startswith(b"$argon2") for secret in secrets) and not has_argon2():
                self._mistakes.add(f"{key}.users", "argon2 hashes need `cryptography` 45 with OpenSSL 3.2; make bcrypt ones")
            if any(secret.startswith(b"$y$") for secret in secrets) and not has_yescrypt():
                self._mistakes.add(f"{key}.users", "this system's libcrypt knows no `$y$` hashes; make `$6$` or bcrypt ones")
            names = [wire(name) for name, _ in action.users]
            return BasicAuth(wire(action.realm), names, secrets, self._reactor, action.delay_ms, self._registry.judge)
        if isinstance(action, model.AuthRequest):
            path = None if action.path is None else self._exprs.text(f"{key}.path", action.path, place)
            query = None if action.query is None else self._exprs.text(f"{key}.query", action.query, place)
            edits = self.edits_only(f"{key}.request", action.request, place)
            copies = [(wire(name).lower(), wire(into)) for name, into in action.copy]
            plan = self._asked.question(key, action, edits)
            refused = self.request_steps(f"{key}.refused", action.refused, place, 0)
            name = wire(action.status_as)
            return AuthRequest(self._reactor, plan, wire(action.method), path, query, copies, action.pass_answer, refused, name)
        if isinstance(action, model.RateLimit):
            accounts = self.accounts(f"rate {action.zone or key}", action.keys)
            at_once = -1 if action.at_once is None else action.at_once
            by = self._exprs.text(f"{key}.key", action.key, place)
            outcome = Outcome(wire(action.status_as), action.trial, wire(action.zone))
            most, period_ms = action.requests, action.period_ms
            return RateLimit(self._reactor, by, accounts, most, period_ms, action.burst, at_once, action.status, outcome)
        if isinstance(action, model.ConcurrencyLimit):
            return self.concurrency(key, action, place)
        if isinstance(action, model.BandwidthLimit):
            return self.bandwidth(key, action, place)
        if isinstance(action, model.When):
            condition = self._exprs.test(f"{key}.test", action.test, place)
            others = self.request_steps(f"{key}.otherwise", action.otherwise, place, 0)
            return When(condition, self.request_steps(f"{key}.actions", action.actions, place, 0), others)
        if isinstance(action, model.Count):
            return Count(self._tally(key, action, place))
        if isinstance(action, model.SetVariable):
            return Keep(wire(action.name), self._exprs.text(f"{key}.value", action.value, place), action.connection)
        if isinstance(action, model.SetMethod):
            return SetMethod(self._exprs.text(f"{key}.method", action.method, place))
        if isinstance(action, model.SetClient):
            return SetClient(self._exprs.text(f"{key}.address", action.address, place))
        if isinstance(action, model.SetTimeouts):
            head_ms, tunnel_ms = action.response_head_ms, action.tunnel_idle_ms
            return SetTimeouts(-1 if head_ms is None else head_ms, -1 if tunnel_ms is None else tunnel_ms)
        if isinstance(action, model.KeepAlive):
            return KeepAlive(_keeping(action))
        self._mistakes.add(key, f"the action {type(action).__name__} is not part of this build")
        return None

    def concurrency(self, key: str, limit: model.ConcurrencyLimit, place: Place) -> ConcurrencyLimit:
        """Make a limit of what is under way at a time."""
        by = self._exprs.text(f"{key}.key", limit.key, place)
        outcome = Outcome(wire(limit.status_as), limit.trial, wire(limit.zone))
        return ConcurrencyLimit(by, self.counts(f"concurrency {limit.zone or key}"), limit.most, limit.status, outcome)

    def bandwidth(self, key: str, limit: model.BandwidthLimit, place: Place) -> BandwidthLimit:
        """Make a limit of bytes in a second."""
        rate = self._exprs.text(f"{key}.rate", limit.rate, place)
        after = None if limit.after is None else self._exprs.text(f"{key}.after", limit.after, place)
        by = None if limit.key is None else self._exprs.text(f"{key}.key", limit.key, place)
        name = limit.zone if by is None else ""
        shared = SharedAccounts() if by is None else self.shared(f"bandwidth {limit.zone or key}")
        return BandwidthLimit(self._reactor, UP if limit.of == "request" else DOWN, rate, after, by, shared, name)

    def response_limits(self, key: str, actions: tuple[model.Action, ...], place: Place) -> list[Step]:
        """Make the limits among the actions of a response, and what waits for its body."""
        steps: list[Step] = []
        for at in range(len(actions)):
            action = actions[at]
            if isinstance(action, model.BandwidthLimit):
                steps.append(self.bandwidth(f"{key}[{at}]", action, place))
            elif isinstance(action, model.ReadBody):
                steps.append(HoldAnswer(self._reactor, action.least, action.time_ms))
            elif isinstance(action, model.When):
                inner = self.response_limits(f"{key}[{at}].actions", action.actions, place)
                others = self.response_limits(f"{key}[{at}].otherwise", action.otherwise, place)
                if inner or others:
                    steps.append(When(self._exprs.test(f"{key}[{at}].test", action.test, place), inner, others))
        return steps

    def shared(self, name: str) -> SharedAccounts:
        """Return the accounts that the exchanges of a limit share."""
        found = self._registry.find(name)
        if not isinstance(found, SharedAccounts):
            found = SharedAccounts()
        self._root.keep(name, found)
        return found

    def _tally(self, key: str, count: model.Count, place: Place) -> Tally:
        """Make what counts."""
        by = self._exprs.text(f"{key}.key", count.key, place)
        name = f"count {count.zone} {count.period_ms} {count.keys} {count.expire_ms}"
        found = self._registry.find(name)
        if not isinstance(found, Counters):
            found = Counters(count.period_ms, count.keys, count.expire_ms)
        self._root.keep(name, found)
        return Tally(found, by, wire(count.name), count.add, count.while_open, _HOW[count.how], _OF[count.of])

    def accounts(self, name: str, most: int) -> Accounts:
        """Return what is kept for a rate; it outlives reloads that leave its name and size."""
        name = f"{name} {most}"
        found = self._registry.find(name)
        if not isinstance(found, Accounts):
            found = Accounts(most)
        self._root.keep(name, found)
        return found

    def counts(self, name: str) -> Counts:
        """Return the counts of a limit of concurrency."""
        found = self._registry.find(name)
        if not isinstance(found, Counts):
            found = Counts()
        self._root.keep(name, found)
        return found

    def split_steady(self, key: str, actions: tuple[model.Action, ...], place: Place) -> tuple[list[Edit], tuple[model.Action, ...]]:
        """Take off the leading edits that depend on no more than fields and connection."""
        head: list[Edit] = []
        for at in range(len(actions)):
            edit = self.edit(f"{key}[{at}]", actions[at], place, True)
            if edit is None or edit.scope > FIELDS:
                return head, actions[at:]
            head.append(edit)
        return head, ()

    def edits_only(self, key: str, actions: tuple[model.Action, ...], place: Place) -> list[Edit]:
        """Make the edits among actions, in order; other actions were done when the enclosing plan ran, and what they copied is kept."""
        edits: list[Edit] = []
        for action in actions:
            names = _copied(action)
            if names:
                edits.append(CopiedFields(names))
            edit = self.edit(key, action, place, True)
            if edit is not None:
                edits.append(edit)
            elif isinstance(action, model.When):
                inner = self.edits_only(key, action.actions, place)
                others = self.edits_only(key, action.otherwise, place)
                if inner or others:
                    edits.append(EditWhen(self._exprs.test(key, action.test, place), inner, others))
        return edits

    def response_edits(self, key: str, actions: tuple[model.Action, ...], place: Place) -> list[Edit]:
        """Make the edits of a response."""
        edits: list[Edit] = []
        for at in range(len(actions)):
            if isinstance(actions[at], _NO_EDITS):
                continue
            edit = self.edit(f"{key}[{at}]", actions[at], place, False)
            if edit is None:
                self._mistakes.add(f"{key}[{at}]", "this cannot be done to a response")
            else:
                edits.append(edit)
        return edits

    def substitutes(self, key: str, actions: tuple[model.Action, ...], place: Place, test: tree.Expr | None = None) -> list[FilterMaker]:
        """Make what changes the body of a response; `test` is what holds around the actions."""
        made: list[FilterMaker] = []
        for at in range(len(actions)):
            action = actions[at]
            if isinstance(action, model.Substitute):
                others = [self._exprs.text(f"{key}[{at}].texts", value, place) for _, value in action.texts]
                texts = [wire(text) for text, _ in action.texts]
                types = [wire(kind.lower()) for kind in action.types]
                condition = None if test is None else self._exprs.test(f"{key}[{at}]", test, place)
                made.append(Substitute(texts, others, types, action.once, action.keep_validators, condition))
            elif isinstance(action, model.When):
                no: tree.Expr = tree.Not(action.test)
                yes: tree.Expr = action.test
                if test is not None:
                    yes, no = tree.AllOf((test, yes)), tree.AllOf((test, no))
                made += self.substitutes(f"{key}[{at}].actions", action.actions, place, yes)
                made += self.substitutes(f"{key}[{at}].otherwise", action.otherwise, place, no)
        return made

    def looks(self, key: str, error: model.ErrorRoute, place: Place) -> list[Step]:
        """Make the steps at an answer that something else may replace."""
        steps: list[Step] = []
        if error.when is not None:
            steps.append(Only(self._exprs.test(f"{key}.when", error.when, place)))
        for name, value in error.keep:
            steps.append(Keep(wire(name), self._exprs.text(f"{key}.keep", value, place), False))
        return steps

    def edit(self, key: str, action: model.Action, place: Place, is_request: bool) -> Edit | None:
        """Make the edit of an action on fields, or return None if it is something else."""
        if isinstance(action, model.SetHeader):
            if is_request and action.name.lower() == "host" and action.value == tree.EMPTY:
                self._mistakes.add(key, "a request keeps its Host (RFC 9112 3.2)")
            return SetField(wire(action.name), self._exprs.text(f"{key}.value", action.value, place), action.keep_empty)
        if isinstance(action, model.AddHeader):
            if action.name.lower() == "host":
                self._mistakes.add(key, "a message has one Host at most (RFC 9112 3.2); set it instead")
            return AddField(wire(action.name), self._exprs.text(f"{key}.value", action.value, place), action.keep_empty)
        if isinstance(action, model.EditHeader):
            return EditLines(wire(action.name), self._exprs.text(f"{key}.value", action.value, place))
        if isinstance(action, model.RemoveHeader):
            if is_request and action.name.lower() == "host":
                self._mistakes.add(key, "a request keeps its Host (RFC 9112 3.2)")
            return RemoveField(wire(action.name))
        if isinstance(action, model.RemoveHeaders):
            return RemoveMatching(self._exprs.test(f"{key}.pattern", tree.Match(action.pattern, tree.Var("field_line")), place))
        if not is_request and not isinstance(action, model.When):
            return self._answered_edit(key, action, place)
        if not isinstance(action, model.When) or (is_request and _reads_fields(action)):
            return None
        inner = self._edits_inside(f"{key}.actions", action.actions, place, is_request)
        others = self._edits_inside(f"{key}.otherwise", action.otherwise, place, is_request)
        if inner is None or others is None:
            return None
        return EditWhen(self._exprs.test(f"{key}.test", action.test, place), inner, others)

    def _edits_inside(self, key: str, actions: tuple[model.Action, ...], place: Place, is_request: bool) -> list[Edit] | None:
        """Make the edits of a condition, or return None if one of its actions is something else."""
        edits: list[Edit] = []
        for at in range(len(actions)):
            if not is_request and isinstance(actions[at], _NO_EDITS):
                continue
            edit = self.edit(f"{key}[{at}]", actions[at], place, is_request)
            if edit is None:
                return None
            edits.append(edit)
        return edits

    def _answered_edit(self, key: str, action: model.Action, place: Place) -> Edit | None:
        """Make the edit of an action that only an answer knows, or return None."""
        if isinstance(action, model.Count):
            return CountAnswered(self._tally(key, action, place))
        if isinstance(action, model.SetVariable):
            return KeepAnswered(wire(action.name), self._exprs.text(f"{key}.value", action.value, place), action.connection)
        if isinstance(action, model.AddTrailer):
            return AddTrailer(wire(action.name), self._exprs.text(f"{key}.value", action.value, place))
        if isinstance(action, model.SetStatus):
            return SetStatus(action.status, wire(action.reason))
        if isinstance(action, model.ReplaceAnswer):
            body = None if action.body is None else self._exprs.text(f"{key}.body", action.body, place)
            names = [wire(name) for name, _ in action.headers]
            values: list[Node] = []
            for at in range(len(action.headers)):
                values.append(self._exprs.text(f"{key}.headers[{at}]", action.headers[at][1], place))
            return ReplaceAnswer(action.status, body, names, values)
        return None


def _reads_fields(action: model.Action) -> bool:
    """Tell whether an edit looks at fields as the one before it left them, and so begins a step of its own."""
    if isinstance(action, (model.SetHeader, model.AddHeader, model.EditHeader)):
        return _reads(action.value)
    if isinstance(action, model.When):
        return _reads(action.test) or any(_reads_fields(each) for each in (*action.actions, *action.otherwise))
    return False


_LEFT_BY_STEPS = ("request_header", "request_header_line", "each_request_header")


def _reads(expr: tree.Expr) -> bool:
    return any(isinstance(each, tree.Var) and each.name in _LEFT_BY_STEPS for each in tree.walk(expr))


def _copied(action: model.Action) -> list[bytes]:
    """Return the fields that an action, or one inside it, copies from what another server answered."""
    names: list[bytes] = []
    if isinstance(action, model.AuthRequest):
        names.extend([wire(into) for _, into in action.copy])
        for each in action.refused:
            names.extend(_copied(each))
    elif isinstance(action, model.When):
        for each in (*action.actions, *action.otherwise):
            names.extend(_copied(each))
    return names


def are_steady(edits: list[Edit]) -> bool:
    """Tell whether all edits depend on no more than fields and connection."""
    return max([edit.scope for edit in edits], default=CONST) <= FIELDS


def _keeping(action: model.KeepAlive) -> Keeping:
    idle_ms, requests, age_ms = [-1 if each is None else each for each in (action.idle_ms, action.requests, action.age_ms)]
    return Keeping(idle_ms, requests, age_ms, action.told_s)
