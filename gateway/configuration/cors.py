"""The settings of calls from web pages."""

from typing import Annotated

import msgspec

from gateway.configuration.value_types import yaml_key

Origin = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A(?:\*|[a-z][a-z0-9+.-]{0,31}://[^\s/?#@,\x00-\x20\x7f-\U0010ffff]{1,255})\Z",
        description="an origin such as https://app.example or http://localhost:3000, without a path, or *",
    ),
]


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Web pages of other origins that may call the gateway, admin endpoints excepted."""

    origins: tuple[Origin, ...] = ()
    """The origins of the pages, or `*` for all. A page still needs a key; without `auth.keys`, pages of listed origins
    are served as programs of the gateway's machine are, and `*` lets none in. Since unreleased."""
