"""How long, and for how many ids, the store knows which deployment holds what a provider made for a caller."""

import msgspec

from gateway.configuration.provider import ProviderSettings
from gateway.configuration.value_types import Count, Retention, yaml_key


class StateOwnerSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The memory of who holds responses, conversations, containers and encrypted reasoning, by their ids."""

    ttl_ms: Retention = 2_592_000_000
    """How long an id is known after an answer has named it. The default is as long as OpenAI keeps a response."""
    max_entries: Count = 200_000
    """The most ids in a domain, about 70 bytes each. The oldest are dropped first."""


def account_of(provider: ProviderSettings) -> ProviderSettings:
    """Returns what deployments of one account have in common: the whole provider, except for its model and dialect."""
    plain = ProviderSettings()
    return msgspec.structs.replace(
        provider,
        model=plain.model,
        api_version=plain.api_version,
        limit_field=plain.limit_field,
        sampling=plain.sampling,
        stream_usage=plain.stream_usage,
        trace_context=plain.trace_context,
    )
