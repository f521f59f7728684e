"""Another server decides: what it lets pass, what of its answer is used, and what happens where it does not answer."""

import pytest

from vestibule.contract import ANSWERED, PASS, PLAIN_PAGE, WAIT, LogLine, Plan, Step
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, UPSTREAM_REFUSED, Fault
from vestibule.http.fields import EMPTY
from vestibule.http.head import ResponseHead
from vestibule.net.reactor import Reactor
from vestibule.plan.expr import Const, ConstTest
from vestibule.plan.sources.again import Again, Ring
from vestibule.plan.sources.fixed import Respond
from vestibule.plan.steps.as_get import DropBody
from vestibule.plan.steps.ask import AuthRequest, CopiedFields, NoPage
from vestibule.plan.steps.when import When

from .fakes import FakeStream, FakeUpstream, answer_of, client, fields, idle, request, respond


class Door:
    """A site whose requests are asked about."""

    def __init__(
        self, reactor: Reactor, copies: list[tuple[bytes, bytes]] | None = None, passes: bool = False, method: bytes = b""
    ) -> None:
        self.reactor = reactor
        self.judge = FakeUpstream("judge")
        self.up = FakeUpstream()
        question = Plan("question", self.judge, error_page=NoPage())
        self.step = AuthRequest(reactor, question, method, Const(b"/check"), None, copies or [], passes)
        self.plan = Plan("site", self.up, [self.step])

    def knock(self, *lines: str, method: str = "GET") -> tuple[Exchange, FakeStream]:
        return request(self.plan, "/photos?a=1", *lines, method=method)

    def asked(self) -> Exchange:
        assert self.judge.exchange is not None
        return self.judge.exchange

    def turn(self) -> None:
        for _ in range(3):
            self.reactor.turn(0)


def test_a_request_passes_when_the_server_says_so(reactor: Reactor) -> None:
    door = Door(reactor)
    ex, down = door.knock("X-A: 1")
    head = door.judge.request()
    assert (head.method, head.target, head.fields.get(b"x-a")) == (b"GET", b"/check?a=1", b"1")
    assert door.up.exchange is None, "nothing goes on before the answer"
    respond(door.asked(), 204)
    assert door.up.exchange is None, "and not from inside the end of the question"
    door.turn()
    assert door.up.request().target == b"/photos?a=1"
    respond(ex, 200, body=b"hello")
    assert answer_of(down).status == 200 and down.body == b"hello"


def test_the_question_has_no_body_and_its_own_method(reactor: Reactor) -> None:
    door = Door(reactor, method=b"HEAD")
    door.knock("Content-Length: 0", "Content-Encoding: gzip", method="POST")
    head = door.judge.request()
    assert head.method == b"HEAD" and head.fields.content_length == -1
    assert head.fields.get(b"content-encoding") is None and head.fields.get(b"content-length") is None


def test_the_question_about_a_websocket_is_none(reactor: Reactor) -> None:
    """Traefik's issue 3039: a server that decides answers a handshake with an error, and no WebSocket passes."""
    door = Door(reactor)
    door.knock("Connection: Upgrade", "Upgrade: websocket")
    assert door.judge.request().fields.upgrade == b""
    respond(door.asked(), 204)
    door.turn()
    assert door.up.request().fields.upgrade == b"websocket"


def test_fields_of_the_answer_take_the_place_of_the_clients(reactor: Reactor) -> None:
    door = Door(reactor, [(b"x-user", b"X-User"), (b"x-groups", b"X-Groups")])
    door.knock("X-User: root", "X-Groups: wheel", "X-A: 1")
    respond(door.asked(), 200, "X-User: ada")
    door.turn()
    sent = door.up.request().fields
    assert sent.get_all(b"x-user") == [b"ada"] and sent.get_all(b"x-groups") == [] and sent.get(b"x-a") == b"1"


@pytest.mark.parametrize(("status", "wanted"), [(401, 401), (403, 403), (302, 500), (404, 500), (500, 500)])
def test_what_does_not_let_pass(reactor: Reactor, status: int, wanted: int) -> None:
    door = Door(reactor)
    ex, down = door.knock()
    respond(door.asked(), status, "WWW-Authenticate: Basic", body=b"no")
    door.turn()
    assert door.up.exchange is None and answer_of(down).status == wanted and ex.over


def test_the_whole_answer_is_passed_on_where_that_is_wanted(reactor: Reactor) -> None:
    door = Door(reactor, passes=True)
    _, down = door.knock()
    respond(door.asked(), 302, "Location: /login", "Date: now", "Content-Length: 5", body=b"login")
    door.turn()
    assert answer_of(down).status == 302 and down.body == b"login"
    assert answer_of(down).fields.get(b"location") == b"/login" and answer_of(down).fields.get(b"date") is None


class Lines(LogLine):
    """A log, or what counts like one."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, ex: Exchange) -> None:
        self.written += 1


def test_a_route_of_the_site_may_answer_and_is_not_logged(reactor: Reactor) -> None:
    ring, lines, counts = Ring(DropBody()), Lines(), Lines()
    ring.named[b"verify"] = Plan("verify", Respond(204, [], [], None), log=[lines], error_page=PLAIN_PAGE)
    door = Door(reactor)
    question = Plan("question", Again(ring, b"verify"), log=[counts], error_page=NoPage())
    door.plan = Plan("site", door.up, [AuthRequest(reactor, question, b"", Const(b"/check"), None, [], False)])
    door.knock()
    assert door.up.exchange is not None and (lines.written, counts.written) == (0, 1)


def test_no_answer_lets_nobody_pass(reactor: Reactor) -> None:
    door = Door(reactor)
    _, down = door.knock()
    door.asked().fail(Fault(UPSTREAM_REFUSED))
    door.turn()
    assert answer_of(down).status == 500 and door.up.exchange is None


def test_an_answer_that_breaks_off_is_none(reactor: Reactor) -> None:
    door = Door(reactor)
    _, down = door.knock()
    question = door.asked()
    respond_in_part(question, 200, b"x")
    question.hang_up(Fault(UPSTREAM_REFUSED))
    door.turn()
    assert answer_of(down).status == 500 and door.up.exchange is None


def respond_in_part(ex: Exchange, status: int, body: bytes) -> None:
    ex.on_response(ResponseHead(status, b"", EMPTY), False)
    ex.on_response_body(body, False)


@pytest.mark.parametrize(("status", "passes", "wanted"), [(200, False, 0), (200, True, 0), (401, False, 401), (302, True, 500)])
def test_a_question_ends_once_its_answer_is_too_large(reactor: Reactor, status: int, passes: bool, wanted: int) -> None:
    door = Door(reactor, passes=passes)
    _, down = door.knock()
    question = door.asked()
    respond_in_part(question, status, b"x" * 262_144)
    question.on_response_body(b"x", False)
    question.on_response_body(b"x", False)
    assert not question.over
    door.turn()
    assert question.over
    if wanted:
        assert answer_of(down).status == wanted and door.up.exchange is None
    else:
        assert door.up.exchange is not None


def test_a_client_that_leaves_takes_the_question_along(reactor: Reactor) -> None:
    door = Door(reactor)
    ex, _ = door.knock()
    question = door.asked()
    ex.hang_up(Fault(CLIENT_GONE))
    assert question.over
    door.turn()
    assert door.up.exchange is None


@pytest.mark.parametrize(("status", "wanted"), [(200, 200), (403, 403)])
def test_an_answer_that_is_known_at_once(reactor: Reactor, status: int, wanted: int) -> None:
    step = AuthRequest(reactor, Plan("question", Respond(status, [], [], None), error_page=NoPage()), b"", None, None, [], False)
    up = FakeUpstream()
    ex, down = request(Plan("site", up, [step]), peer=client())
    if up.exchange is not None:
        respond(ex, 200)
    assert answer_of(down).status == wanted


def test_interim_answers_and_trailers_say_nothing(reactor: Reactor) -> None:
    door = Door(reactor)
    door.knock()
    question = door.asked()
    question.on_response(ResponseHead(103, b"", EMPTY), False)
    respond_in_part(question, 200, b"x")
    question.on_response_trailers(fields("X-Sum: 1"))
    door.turn()
    assert door.up.exchange is not None


class Waits(Step):
    """Goes on when it is told to."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def run(self, ex: Exchange) -> int:
        self._said.append("waits")
        return WAIT


class Says(Step):
    def __init__(self, said: list[str], word: str, answer: int = PASS) -> None:
        self._said = said
        self._word = word
        self._answer = answer

    def run(self, ex: Exchange) -> int:
        self._said.append(self._word)
        if self._answer == ANSWERED:
            ex.answer(418, [], b"")
        return self._answer


def last_word(reactor: Reactor, refused: list[Step], said: list[str]) -> tuple[FakeUpstream, FakeUpstream, Exchange, FakeStream]:
    judge, up = FakeUpstream("judge"), FakeUpstream()
    asks = AuthRequest(reactor, Plan("question", judge, error_page=NoPage()), b"", None, None, [], False, refused)
    inside: list[Step] = [asks, Says(said, "behind")]
    ex, down = request(Plan("site", up, [When(ConstTest(True), inside)]), "/")
    return judge, up, ex, down


@pytest.mark.parametrize(("status", "wanted"), [(401, ["last"]), (403, ["last"]), (204, ["behind"]), (500, [])])
def test_a_refusal_may_have_a_last_word(reactor: Reactor, status: int, wanted: list[str]) -> None:
    said: list[str] = []
    judge, _, _, down = last_word(reactor, [Says(said, "last", ANSWERED)], said)
    assert judge.exchange is not None
    respond(judge.exchange, status)
    reactor.turn(0)
    assert said == wanted
    if said == ["last"]:
        assert answer_of(down).status == 418


def test_what_has_the_last_word_may_wait_and_what_follows_comes_after_it(reactor: Reactor) -> None:
    said: list[str] = []
    judge, up, ex, _ = last_word(reactor, [Waits(said), Says(said, "last")], said)
    assert judge.exchange is not None
    respond(judge.exchange, 403)
    reactor.turn(0)
    assert (said, up.exchange) == (["waits"], None)
    ex.proceed()
    assert said == ["waits", "last", "behind"]
    assert up.exchange is ex


def test_who_passes_by_the_last_word_brings_no_fields_of_the_answer(reactor: Reactor) -> None:
    """Or whoever knows a password could say that the server that decides had named him somebody else."""
    judge, up = FakeUpstream("judge"), FakeUpstream()
    refused: list[Step] = [Says([], "last")]
    asks = AuthRequest(reactor, Plan("question", judge, error_page=NoPage()), b"", None, None, [(b"x-user", b"X-User")], False, refused)
    request(Plan("site", up, [asks]), "/", "X-User: root", "X-A: 1")
    assert judge.exchange is not None
    respond(judge.exchange, 401, "X-User: nobody")
    reactor.turn(0)
    assert up.request().fields.get_all(b"x-user") == [] and up.request().fields.get(b"x-a") == b"1"


def test_the_status_of_an_answer_that_lets_pass_is_kept(reactor: Reactor) -> None:
    judge = FakeUpstream("judge")
    asks = AuthRequest(reactor, Plan("question", judge, error_page=NoPage()), b"", None, None, [], False, status_as=b"verdict")
    ex, _ = request(Plan("site", FakeUpstream(), [asks]), "/")
    assert judge.exchange is not None
    respond(judge.exchange, 202)
    reactor.turn(0)
    assert ex.kept == {b"verdict": b"202"}


def test_who_asks_takes_everything_at_once(reactor: Reactor) -> None:
    """It is memory, so nothing holds it up and nothing is held up."""
    door = Door(reactor)
    door.knock()
    asker = door.asked().down
    assert asker is not None
    asker.pause()
    asker.resume()
    assert asker.send_body(b"x", False)


def test_copied_fields_stay_as_they_are_where_nothing_was_asked() -> None:
    copied = CopiedFields([b"X-User", b"X-Mail"])
    ex = idle("/", "X-User: own")
    assert copied.apply(ex, ex.request.fields) is ex.request.fields
    ex.kept = {b"else": b"1"}
    assert copied.apply(ex, ex.request.fields) is ex.request.fields
