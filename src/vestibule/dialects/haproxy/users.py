"""Userlists: names, passwords and groups.

Facts (HAProxy configuration manual, chapter 3.4): ``user NAME password HASH`` holds what crypt(3) makes,
``insecure-password`` the password itself; ``groups`` after a user and ``users`` after a group say the same thing.

Not here: who is asked (``rules``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.model.diagnostic import did_you_mean


@dataclass(slots=True)
class Userlist:
    """Users with their stored passwords, in order, and the members of each group."""

    users: dict[str, str] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)

    def members(self, groups: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Return the users who have a password, of all groups or of those named."""
        wanted = set[str]().union(*[self.groups.get(group, set()) for group in groups])
        return tuple([(name, secret) for name, secret in self.users.items() if secret and (not groups or name in wanted)])


def read_userlist(section: Section, report: Report) -> Userlist:
    """Read a userlist; a user without a password can never pass and is told."""
    found = Userlist()
    for statement in section.lines:
        words = statement.arguments()
        if not words:
            report.error(statement.line, 0, "missing", f"a {statement.name} needs a name")
        elif statement.name == "user":
            _user(found, statement, words, report)
        else:
            _members(found, statement, words, report)
    _check_groups(section, found, report)
    return found


def _check_groups(section: Section, found: Userlist, report: Report) -> None:
    """A group is declared, and so are its members; the order does not matter."""
    declared = {"".join(each.arguments()[:1]) for each in section.lines if each.name == "group"}
    for statement in section.lines:
        words = statement.arguments()
        if statement.name == "user" and "groups" in words[1:-1]:
            at = words.index("groups", 1) + 1
            missing, what = [each for each in words[at].split(",") if each not in declared], "group"
        elif statement.name == "group" and len(words) == 3:
            at = 2
            missing, what = [each for each in words[at].split(",") if each not in found.users], "user"
        else:
            continue
        for name in missing:
            hint = did_you_mean(name, sorted(declared if what == "group" else found.users))
            report.error(
                statement.line, statement.first + at, "unknown-reference", f"there is no {what} `{name}` in `{section.name}`", hint
            )


def _user(found: Userlist, statement: Statement, words: list[str], report: Report) -> None:
    name, secret, at = words[0], "", 1
    if name in found.users:
        report.error(statement.line, 1, "duplicate-name", f"the user `{name}` is here already")
    while at < len(words):
        value = words[at + 1] if at + 1 < len(words) else ""
        place = statement.first + at
        if not value:
            report.error(statement.line, place, "missing", f"nothing follows `{words[at]}`")
        elif words[at] == "insecure-password":
            secret = "{PLAIN}" + value
        elif words[at] == "password":
            secret = value
        elif words[at] == "groups":
            for group in value.split(","):
                found.groups.setdefault(group, set()).add(name)
        else:
            report.error(
                statement.line, place, "syntax", f"`{words[at]}` is not expected here", "write `password`, `insecure-password` or `groups`"
            )
        at += 2
    if not secret:
        report.warning(statement.line, 1, "no-password", f"the user `{name}` has no password and can never pass")
    found.users[name] = secret


def _members(found: Userlist, statement: Statement, words: list[str], report: Report) -> None:
    members = found.groups.setdefault(words[0], set())
    if len(words) == 1:
        return
    if words[1] != "users" or len(words) != 3:
        report.error(statement.line, statement.first + 1, "syntax", "a group is followed by `users NAME,NAME…`")
        return
    members.update(words[2].split(","))
