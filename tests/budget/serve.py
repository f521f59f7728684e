"""A proxy without configuration, for counting: `serve.py UPSTREAM_PORT COUNT` prints its port and ends after so many requests.

With `udp` behind that it passes datagrams on, and ends after so many answers.
"""

import socket
import sys

from vestibule.contract import Plan, Timeouts
from vestibule.http.h1 import HeadLimits
from vestibule.net.listen import Listener
from vestibule.net.reactor import Reactor
from vestibule.proxy.door import Door, Porch, Refusals, SessionLimits, Tally, response_table
from vestibule.proxy.entry import Entry
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.relays import BodyRelays
from vestibule.proxy.udp import Sessions
from vestibule.proxy.upstream import Server, Upstream

TURNS_MOST = 100_000


def main(upstream_port: int, requests: int) -> None:
    reactor, tally = Reactor(), Tally()
    pool = Pool(
        reactor, Target("127.0.0.1", upstream_port, "", None, ""), AddressBook(), PoolLimits(), HeadLimits(65_536, 0, 200), response_table()
    )
    door = Door("count", Plan("count", Upstream("count", [Server(pool)])), HeadLimits(), Timeouts())
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    Listener(reactor, sock, Entry(Porch(reactor, door, BodyRelays(), tally))).start()
    sys.stdout.write(f"{sock.getsockname()[1]}\n")
    sys.stdout.flush()
    for _ in range(TURNS_MOST):
        reactor.turn(1000)
        if tally.requests >= requests and tally.exchanges == 0:
            return


def pass_datagrams(upstream_port: int, answers: int) -> None:
    reactor = Reactor()
    target = Target("127.0.0.1", upstream_port, "", None, "", datagrams=True)
    pool = Pool(reactor, target, AddressBook(), PoolLimits(), HeadLimits(), response_table())
    plan = Plan("count", Upstream("count", [Server(pool)]))
    door = Door("count", plan, HeadLimits(), Timeouts(), raw=True, sessions=SessionLimits(requests=answers, responses=1))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("127.0.0.1", 0))
    tally = Tally()
    Sessions(Porch(reactor, door, BodyRelays(), tally), Refusals()).serve([sock])
    sys.stdout.write(f"{sock.getsockname()[1]}\n")
    sys.stdout.flush()
    began = False
    for _ in range(TURNS_MOST):
        reactor.turn(1000)
        began = began or tally.sessions > 0
        if began and tally.sessions == 0:
            return


if __name__ == "__main__":
    (pass_datagrams if "udp" in sys.argv else main)(int(sys.argv[1]), int(sys.argv[2]))
