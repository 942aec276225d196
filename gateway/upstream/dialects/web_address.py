"""Addresses of images on the web: what a provider could fetch, before it is asked to."""

import re
from urllib.parse import urlsplit

# Nothing invisible, which parsers of addresses strip or stumble over, each in its own way. Letters outside ASCII are
# common in addresses that people write.
_VISIBLE = re.compile(r"https?://[^\x00-\x20\x7f-\xa0\u2028\u2029\\]+", re.IGNORECASE)
_NO_HOST = re.compile(r"""["%<>^`{|}]""")


def is_web_address(url: str) -> bool:
    """Is it `http` or `https` with a host? A server of one's own may read `file:` addresses from its disk."""
    if not _VISIBLE.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and not _NO_HOST.search(parts.hostname or "") and parts.port != 0
    except ValueError:  # half a bracket, a port that is no number
        return False
