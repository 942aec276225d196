"""What the replicas of a cluster do to single requests, as their metrics count it. Events tell of changes only; whom a
cluster sheds, puts in a queue or sends elsewhere while nothing changes would not be seen.
"""

import http.client
import re
import urllib.request
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import msgspec

ANSWER_MOST_S = 5.0
_SWITCHES = "pllm_state_switches_total"
_TEXTS = {
    "pllm_shed_total": "{count} requests of priority {class} shed ({reason})",
    "pllm_attempts_total": "{deployment}: {count} calls ended in {outcome}",
    "pllm_fallbacks_total": "{count} requests for {from} served by {to}",
    _SWITCHES: "{count} times a replica went to the {to} store",
    "pllm_queue_granted_total": "{count} requests for {model} waited for their turn",
    "pllm_queue_dropped_total": "{count} requests for {model} waited for too long",
    "pllm_queue_refused_total": "{count} requests for {model} found the queue full",
}
# Outcomes of a provider's call that say nothing of trouble.
_USUAL = ("success", "cancelled", "client_error")
_LINE = re.compile(r"^(\w+)\{(.*)\} ([\d.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Counts = Mapping[tuple[str, str], float]
"""By the metric's name and its labels."""


class Decision(msgspec.Struct):
    """One kind of thing that was done, from its first to its last time."""

    told: str
    """With a place for the count."""
    first_ms: float
    last_ms: float
    count: int = 0

    def render(self) -> str:
        return self.told.replace("{count}", f"{self.count:,}")


class Decisions:
    """Looks again and again: a replica that dies takes its counts with it, and begins anew from nothing."""

    def __init__(self) -> None:
        self._before: dict[str, Counts] = {}
        self._grown: list[tuple[float, tuple[str, str], float]] = []

    def see(self, replica: str, counts: Counts, at_ms: float) -> None:
        before = self._before.get(replica, {})
        for key, count in counts.items():
            grown = count - before.get(key, 0.0)
            if grown:
                self._grown.append((at_ms, key, grown if grown > 0 else count))
        self._before[replica] = counts

    def between(self, since_ms: float, until_ms: float) -> list[Decision]:
        """In the order in which they began."""
        found: dict[tuple[str, str], Decision] = {}
        for at_ms, key, grown in self._grown:
            if since_ms <= at_ms <= until_ms:
                decision = found.setdefault(key, Decision(_text(*key), at_ms, at_ms))
                decision.last_ms = at_ms
                decision.count += round(grown)
        return sorted(found.values(), key=lambda decision: decision.first_ms)


def read_counts(url: str) -> Counts | None:
    """Of the replica behind this address; None if it does not tell."""
    parts = urlsplit(url)
    try:
        with urllib.request.urlopen(f"{parts.scheme}://{parts.netloc}/metrics", timeout=ANSWER_MOST_S) as answer:
            return dict(_parse(answer.read().decode()))
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _parse(text: str) -> Iterator[tuple[tuple[str, str], float]]:
    for name, labels, value in _LINE.findall(text):
        if name in _TEXTS and _is_trouble(dict(_LABEL.findall(labels)), name):
            yield (name, labels), float(value)


def _is_trouble(labels: Mapping[str, str], name: str) -> bool:
    # The way back to the shared store is an event: it can be told there at once.
    return labels["to"] == "standby" if name == _SWITCHES else labels.get("outcome") not in _USUAL


def _text(name: str, labels: str) -> str:
    return _TEXTS[name].format(count="{count}", **dict(_LABEL.findall(labels)))
