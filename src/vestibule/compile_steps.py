"""Actions of the model to steps and edits of a plan.

Rules: neighbouring edits are one step. An edit that depends on no more than the client's fields and its
connection is made once for as long as both stay the same; `split_steady` finds those a site begins with.

Not here: which plan has which steps (`compile.py`).
"""

from vestibule.compile_expr import ExprMaker, Mistakes, wire
from vestibule.exchange import Step
from vestibule.model import config as model
from vestibule.model import expr as tree
from vestibule.plan.expr import CONST, FIELDS
from vestibule.plan.password import has_bcrypt
from vestibule.plan.steps.auth_basic import BasicAuth
from vestibule.plan.steps.deny import ClientCertificate, Deny, HangUp
from vestibule.plan.steps.edit import AddField, Edit, EditLines, EditRequest, EditWhen, RemoveField, SetField
from vestibule.plan.steps.rewrite import Rewrite, StripPrefix
from vestibule.plan.steps.when import When
from vestibule.plan.variables import Place


class StepMaker:
    """Makes steps and edits."""

    def __init__(self, mistakes: Mistakes, exprs: ExprMaker) -> None:
        self._mistakes = mistakes
        self._exprs = exprs

    def request_steps(self, key: str, actions: tuple[model.Action, ...], place: Place, first: int) -> list[Step]:
        """Make the steps of request actions; neighbouring edits are one step. `first` is the number of the first."""
        steps: list[Step] = []
        run: list[Edit] = []
        for at in range(len(actions)):
            action = actions[at]
            where = f"{key}[{first + at}]"
            edit = self.edit(where, action, place, True)
            if edit is not None:
                run.append(edit)
                continue
            if run:
                steps.append(EditRequest(run, are_steady(run)))
                run = []
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
            return Rewrite(path, query)
        if isinstance(action, model.StripPrefix):
            return StripPrefix(wire(action.prefix))
        if isinstance(action, model.Deny):
            return Deny(action.status)
        if isinstance(action, model.HangUp):
            return HangUp()
        if isinstance(action, model.ClientCertificate):
            return ClientCertificate(action.status)
        if isinstance(action, model.BasicAuth):
            secrets = [wire(secret) for _, secret in action.users]
            if not has_bcrypt() and any(secret.startswith(b"$2") for secret in secrets):
                self._mistakes.add(f"{key}.users", "bcrypt hashes need the package `bcrypt`; install it, or make `$6$` hashes")
            return BasicAuth(wire(action.realm), [wire(name) for name, _ in action.users], secrets)
        if isinstance(action, model.When):
            condition = self._exprs.test(f"{key}.test", action.test, place)
            return When(condition, self.request_steps(f"{key}.actions", action.actions, place, 0))
        self._mistakes.add(key, f"the action {type(action).__name__} is not part of this build")
        return None

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
        """Make the edits among actions, in order; other actions were done when the enclosing plan ran."""
        edits: list[Edit] = []
        for action in actions:
            edit = self.edit(key, action, place, True)
            if edit is not None:
                edits.append(edit)
            elif isinstance(action, model.When):
                inner = self.edits_only(key, action.actions, place)
                if inner:
                    edits.append(EditWhen(self._exprs.test(key, action.test, place), inner))
        return edits

    def response_edits(self, key: str, actions: tuple[model.Action, ...], place: Place) -> list[Edit]:
        """Make the edits of a response."""
        edits: list[Edit] = []
        for at in range(len(actions)):
            edit = self.edit(f"{key}[{at}]", actions[at], place, False)
            if edit is None:
                self._mistakes.add(f"{key}[{at}]", "only fields can be changed in a response")
            else:
                edits.append(edit)
        return edits

    def edit(self, key: str, action: model.Action, place: Place, is_request: bool) -> Edit | None:
        """Make the edit of an action on fields, or return None if it is something else."""
        if isinstance(action, model.SetHeader):
            if is_request and action.name.lower() == "host" and action.value == tree.EMPTY:
                self._mistakes.add(key, "a request keeps its Host (RFC 9112 3.2)")
            return SetField(wire(action.name), self._exprs.text(f"{key}.value", action.value, place))
        if isinstance(action, model.AddHeader):
            if action.name.lower() == "host":
                self._mistakes.add(key, "a message has one Host at most (RFC 9112 3.2); set it instead")
            return AddField(wire(action.name), self._exprs.text(f"{key}.value", action.value, place))
        if isinstance(action, model.EditHeader):
            return EditLines(wire(action.name), self._exprs.text(f"{key}.value", action.value, place))
        if isinstance(action, model.RemoveHeader):
            if is_request and action.name.lower() == "host":
                self._mistakes.add(key, "a request keeps its Host (RFC 9112 3.2)")
            return RemoveField(wire(action.name))
        if not isinstance(action, model.When):
            return None
        inner: list[Edit] = []
        for at in range(len(action.actions)):
            edit = self.edit(f"{key}.actions[{at}]", action.actions[at], place, is_request)
            if edit is None:
                return None
            inner.append(edit)
        return EditWhen(self._exprs.test(f"{key}.test", action.test, place), inner)


def are_steady(edits: list[Edit]) -> bool:
    """Tell whether all edits depend on no more than fields and connection."""
    return max([edit.scope for edit in edits], default=CONST) <= FIELDS
