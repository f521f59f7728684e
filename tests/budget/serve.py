"""A proxy without configuration, for counting: `serve.py UPSTREAM_PORT REQUESTS` prints its port and ends after so many."""

import socket
import sys

from vestibule.contract import Plan, Timeouts
from vestibule.http.h1 import HeadLimits
from vestibule.net.listen import Listener
from vestibule.net.reactor import Reactor
from vestibule.proxy.door import Door, Porch, Tally, response_table
from vestibule.proxy.entry import Entry
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.relays import BodyRelays
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


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
