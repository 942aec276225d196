"""The provider of a deployment: its address, its key, and what its dialect lacks."""

from typing import Literal

import msgspec

from gateway.configuration.value_types import OptionalSecret, Secret, Text, Url, yaml_key

ProviderType = Literal["openai", "azure", "anthropic"]
LimitField = Literal["max_tokens", "max_completion_tokens"]


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """``base_url`` ends before an endpoint's path, so with `/v1` for OpenAI and its imitators; for Anthropic with or
    without it; for Azure it is the resource's own address.
    """

    type: ProviderType = "openai"
    base_url: Url = "https://api.openai.com/v1"  # when loaded for anthropic: its own; azure has to name one
    api_key: OptionalSecret = Secret("")  # when loaded without a base_url: the environment's (OPENAI_API_KEY)
    model: Text = ""  # when loaded: the deployment's model_name unless given
    api_version: str = ""  # azure only: with one, the older addresses that name the deployment
    limit_field: LimitField | None = None  # of chat completions; None: by the provider's address
    sampling: bool | None = None  # may temperature and top_p be set in a translation; None: by the model's name
    stream_usage: bool = True  # request the usage of every stream; a few old imitators refuse the field
    trace_context: bool = False  # send the trace's id? It shows which requests belong together
