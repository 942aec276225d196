"""What a cluster says happened during a run: `GET /v1/admin/events`."""

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

ANSWER_MOST_S = 5.0
ANSWER_MOST = 16 * 2**20  # bytes: a thousand events are a hundredth of it


class Event(msgspec.Struct, frozen=True):
    """A breaker's move, or another of the cluster's; `at_ms` is the clock of the cluster's store."""

    subject: str
    before: str = msgspec.field(name="from")
    to: str = ""
    reason: str = ""
    at_ms: int = 0

    def render(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.subject}: {self.before} → {self.to}{why}"


class _Page(msgspec.Struct):
    events: list[Event]


class EventsUnknown(Exception):
    """The cluster did not tell; says why, without the key."""


def fetch_events(urls: Sequence[str], admin_key: str | None, since_ms: float, until_ms: float) -> Sequence[Event]:
    """Of the first replica that tells: all of them know the same. Oldest first, without those of replicas that bring
    their configuration. Raises EventsUnknown.
    """
    *others, last = urls
    for url in others:
        with contextlib.suppress(EventsUnknown):
            return _fetch(url, admin_key, since_ms, until_ms)
    return _fetch(last, admin_key, since_ms, until_ms)


def _fetch(url: str, admin_key: str | None, since_ms: float, until_ms: float) -> Sequence[Event]:
    parts = urlsplit(url)
    # As bytes of UTF-8, which is what the calls of the load test send.
    headers = {"authorization": f"Bearer {admin_key}".encode().decode("latin-1")} if admin_key else {}
    asked = urllib.request.Request(f"{parts.scheme}://{parts.netloc}/v1/admin/events?limit=1000", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_MOST_S) as answer:
            page = msgspec.json.decode(answer.read(ANSWER_MOST), type=_Page)
    except urllib.error.HTTPError as error:
        with error:
            raise EventsUnknown(f"{parts.netloc} answered {error.code} to /v1/admin/events") from None
    except http.client.HTTPException:
        raise EventsUnknown(f"{parts.netloc} gave no whole answer to /v1/admin/events") from None
    except (OSError, ValueError) as error:
        raise EventsUnknown(f"{parts.netloc}: {error}") from None
    told = [event for event in reversed(page.events) if event.reason != "configured"]
    return [event for event in told if since_ms <= event.at_ms <= until_ms]
