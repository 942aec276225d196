"""Checks addresses of images on the web before a provider fetches them."""

import re
from urllib.parse import urlsplit

# Visible characters only: parsers of addresses treat invisible ones each in its own way. Letters outside ASCII are
# common in addresses that people write.
_VISIBLE = re.compile(r"https?://[^\x00-\x20\x7f-\xa0\u2028\u2029\\]+", re.IGNORECASE)
_NO_HOST = re.compile(r"""["%<>^`{|}]""")


def is_web_address(url: str) -> bool:
    """Returns whether the address is `http` or `https` with a host. A self-hosted server may read `file:` addresses
    from its disk.
    """
    if not _VISIBLE.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and not _NO_HOST.search(parts.hostname or "") and parts.port != 0
    except ValueError:  # half a bracket, a port that is not a number
        return False
