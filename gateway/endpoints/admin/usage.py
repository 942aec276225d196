"""What tenants used, by day: for invoices, and for those who load it elsewhere."""

import asyncio
from datetime import UTC, date, datetime
from typing import cast, get_args

from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.admin.access import AdminAccess
from gateway.errors import InvalidRequest
from gateway.views.usage import DAYS_MOST, DIMENSIONS, Dimension, Report, TooManyRows, as_csv, as_json, report
from shared_state.errors import StoreTimeout
from shared_state.failover import Failover

DAYS_SHOWN = 30  # where the request names no day
ANSWER_MOST_S = 10.0
_TEXT_MOST = 40  # characters of a parameter: no valid one has more
_CSV = "text/csv"


class UsageView:
    """The endpoint GET /v1/admin/usage?from=&to=&by=tenant,model&format=."""

    def __init__(self, access: AdminAccess, store: Failover) -> None:
        self._access = access
        self._store = store

    async def show(self, request: Request) -> Response:
        """Returns the sums as JSON or, for `format=csv` and clients that accept CSV, as CSV. Raises InvalidRequest,
        StateError: a standby store knows only what this replica does, so an error is better than its answer.
        """
        self._access.authorize(request, "viewer")
        is_csv = _is_csv(request)
        first, last = _span(request)
        found = await self._report(first, last, _dimensions(request))
        if is_csv:
            headers = {"content-disposition": f'attachment; filename="usage-{first}-{last}.csv"'}
            return Response(as_csv(found), media_type=_CSV, headers=headers)
        return Response(as_json(found, first, last), media_type="application/json")

    async def _report(self, first: date, last: date, by: tuple[Dimension, ...]) -> Report:
        try:
            async with asyncio.timeout(ANSWER_MOST_S):
                return await report(self._store.shared.views, first, last, by)
        except TimeoutError:
            raise StoreTimeout("the store did not answer in time") from None
        except TooManyRows:
            message = "These days have too many rows. Request fewer days, or leave a name out of `by`."
            raise InvalidRequest(message, param="by") from None


def _is_csv(request: Request) -> bool:
    wanted = request.query_params.get("format")
    if wanted is None:
        return _CSV in request.headers.get("accept", "").lower()
    if wanted not in ("json", "csv"):
        raise InvalidRequest("format must be json or csv.", param="format")
    return wanted == "csv"


def _span(request: Request) -> tuple[date, date]:
    """Returns the first and the last day. Raises InvalidRequest."""
    last = _day(request, "to") or datetime.now(UTC).date()
    first = _day(request, "from") or date.fromordinal(max(1, last.toordinal() - DAYS_SHOWN + 1))
    if first > last:
        raise InvalidRequest("from must not be after to.", param="from")
    if (last - first).days >= DAYS_MOST:
        raise InvalidRequest(
            f"These are more than {DAYS_MOST} days, which is as long as the store keeps.", param="from"
        )
    return first, last


def _day(request: Request, param: str) -> date | None:
    text = request.query_params.get(param)
    if text is None:
        return None
    try:
        if len(text) > _TEXT_MOST:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{param} must be a day such as 2026-11-30, in UTC.", param=param) from None


def _dimensions(request: Request) -> tuple[Dimension, ...]:
    """Returns the names in `by`; an empty one adds everything up. Raises InvalidRequest."""
    text = request.query_params.get("by", "tenant,model")
    names = tuple(text[: _TEXT_MOST + 1].split(",")) if text else ()
    if len(text) > _TEXT_MOST or len(set(names)) < len(names) or not set(names) <= set(get_args(Dimension)):
        raise InvalidRequest(f"by must be names of {', '.join(DIMENSIONS)}, with commas between.", param="by")
    return cast(tuple[Dimension, ...], names)
