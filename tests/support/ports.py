"""Ports for the servers of tests: below those that the system gives to outgoing connections, and a range for each
worker, so that no port is taken between its choice and its use.
"""

import contextlib
import itertools
import os
import re
import socket

# A node of a Cluster takes the port 10,000 above its own as well: 20,240 to 29,839.
FIRST, RANGE, RANGES = 10_240, 2_400, 4

_worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % RANGES
_own = range(FIRST + _worker * RANGE, FIRST + (_worker + 1) * RANGE)
# Two runs at once begin at different places.
_ports = itertools.islice(itertools.cycle(_own), os.getpid() % RANGE, None)


def free_port(count: int = 1) -> int:
    """Returns the first of ``count`` neighbouring ports that nothing listens on; each call returns others."""
    while True:
        ports = list(itertools.islice(_ports, count))
        if ports[-1] - ports[0] != count - 1:
            continue
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in ports:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return ports[0]
