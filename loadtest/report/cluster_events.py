"""The events of a cluster during a run: `GET /v1/admin/events`."""

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
    """A transition of a breaker, or another event. `at_ms`: by the clock of the cluster's store."""

    subject: str
    before: str = msgspec.field(name="from")
    to: str = ""
    reason: str = ""
    at_ms: int = 0

    def render(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.subject}: {self.before} → {self.to}{reason}"


class _Page(msgspec.Struct):
    events: list[Event]


class EventsUnknown(Exception):
    """The events could not be fetched. The message has the reason, without the key."""


def fetch_events(urls: Sequence[str], admin_key: str | None, since_ms: float, until_ms: float) -> Sequence[Event]:
    """Returns the events from the first replica that answers, because all replicas have the same; oldest first, without
    events of configuration. Raises EventsUnknown.
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
    request = urllib.request.Request(f"{parts.scheme}://{parts.netloc}/v1/admin/events?limit=1000", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_MOST_S) as answer:
            page = msgspec.json.decode(answer.read(ANSWER_MOST), type=_Page)
    except urllib.error.HTTPError as error:
        with error:
            raise EventsUnknown(f"{parts.netloc} answered {error.code} to /v1/admin/events") from None
    except http.client.HTTPException:
        raise EventsUnknown(f"{parts.netloc} sent an incomplete answer to /v1/admin/events") from None
    except (OSError, ValueError) as error:
        raise EventsUnknown(f"{parts.netloc}: {error}") from None
    events = [event for event in reversed(page.events) if event.reason != "configured"]
    return [event for event in events if since_ms <= event.at_ms <= until_ms]
