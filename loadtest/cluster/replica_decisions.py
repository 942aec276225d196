"""Decisions of replicas about single requests, from their metrics. Events show changes only, not the requests that a
cluster sheds, queues or sends elsewhere while its state is constant.
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
    _SWITCHES: "{count} times a replica switched to the {to} store",
    "pllm_queue_granted_total": "{count} requests for {model} waited for their turn",
    "pllm_queue_dropped_total": "{count} requests for {model} waited for too long",
    "pllm_queue_refused_total": "{count} requests for {model} found the queue full",
}
# Outcomes of provider calls that are no sign of a fault.
_USUAL = ("success", "cancelled", "client_error")
_LINE = re.compile(r"^(\w+)\{(.*)\} ([\d.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Counts = Mapping[tuple[str, str], float]
"""By the metric's name and its labels."""


class Decision(msgspec.Struct):
    """One kind of decision, from its first to its last time."""

    text: str
    """With a place for the count."""
    first_ms: float
    last_ms: float
    count: int = 0

    def render(self) -> str:
        return self.text.replace("{count}", f"{self.count:,}")


class Decisions:
    """Collects decisions by repeated reads: the counts of a replica end with it and begin at zero after a restart."""

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
        """Returns the decisions within a period, in the order in which they began."""
        decisions: dict[tuple[str, str], Decision] = {}
        for at_ms, key, grown in self._grown:
            if since_ms <= at_ms <= until_ms:
                decision = decisions.setdefault(key, Decision(_text(*key), at_ms, at_ms))
                decision.last_ms = at_ms
                decision.count += round(grown)
        return sorted(decisions.values(), key=lambda decision: decision.first_ms)


def read_counts(url: str) -> Counts | None:
    """Returns the counts of the replica at this address, None if it does not answer."""
    parts = urlsplit(url)
    try:
        with urllib.request.urlopen(f"{parts.scheme}://{parts.netloc}/metrics", timeout=ANSWER_MOST_S) as answer:
            return dict(_parse(answer.read().decode()))
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _parse(text: str) -> Iterator[tuple[tuple[str, str], float]]:
    for name, labels, value in _LINE.findall(text):
        if name in _TEXTS and _is_fault(dict(_LABEL.findall(labels)), name):
            yield (name, labels), float(value)


def _is_fault(labels: Mapping[str, str], name: str) -> bool:
    # The return to the shared store is not: it is an event of that store.
    return labels["to"] == "standby" if name == _SWITCHES else labels.get("outcome") not in _USUAL


def _text(name: str, labels: str) -> str:
    return _TEXTS[name].format(count="{count}", **dict(_LABEL.findall(labels)))
