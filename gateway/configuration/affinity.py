"""Settings of soft affinity: whether sessions and prompt prefixes stay with a deployment, for how long and how far."""

from typing import Annotated, Literal

import msgspec

from gateway.configuration.value_types import Duration, Ratio, yaml_key

AffinityMode = Literal["off", "session", "prefix"]


def _mode(value: object) -> object:
    """Reads a mode. YAML takes `off` without quotes for false."""
    return "off" if value is False else value


Mode = Annotated[AffinityMode, msgspec.Meta(description="one of off, session, prefix", extra={"read": _mode})]
Entries = Annotated[int, msgspec.Meta(ge=100, le=10_000_000, description="a whole number from 100 to 10000000")]
SessionHeader = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A(?!.*(?:key|token|secret|auth|forwarded|pllm))(?:x-[a-z0-9-]{1,60}|session[-_]id)\Z",
        description="session_id, session-id or a name that begins with x- and carries no key, in small letters",
    ),
]


class AffinitySettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Sessions that stay with the deployment that served them, whose provider has their prompt in its cache."""

    mode: Mode = "session"
    """What stays together: sessions, or sessions and prompts that begin alike. No effect with capacity leases."""
    ttl_ms: Duration = 600_000
    """How long a pin lasts after its last use. Providers keep a cached prompt for 5 to 10 minutes."""
    band: Ratio = 0.3
    """How much more of its limit the pinned deployment may have in use than the least loaded one of its tier."""
    max_entries: Entries = 200_000
    """The most pins in the store, about 120 bytes each. Beyond them those used longest ago are forgotten."""
    pass_headers: tuple[SessionHeader, ...] = ("x-session-affinity", "x-session-id")
    """The headers of a request that are sent to its provider, which may route by them as well."""
