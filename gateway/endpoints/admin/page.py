"""GET /admin: the live page, in one response. It holds no data and needs no key: its script requests the data, with the
key that the user enters. No other script runs in it, and no other page may frame it.
"""

import base64
import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.admin.access import AdminAccess

_FOLDER = Path(__file__).resolve().parent / "page"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class LivePage:
    """The page, with its style and its script in it."""

    def __init__(self, access: AdminAccess) -> None:
        self._access = access
        style, script = (_FOLDER / "admin.css").read_text("utf-8"), (_FOLDER / "admin.js").read_text("utf-8")
        html = (_FOLDER / "admin.html").read_text("utf-8")
        self._body = html.replace("{{style}}", style).replace("{{script}}", script).encode()
        policy = (
            f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'"
        )
        self._headers = {
            "content-security-policy": policy,
            "x-frame-options": "DENY",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cache-control": "no-cache",
        }

    async def show(self, _request: Request) -> Response:
        """Returns the page. Raises AdminOff."""
        self._access.require_on()
        return Response(self._body, media_type="text/html", headers=self._headers)
