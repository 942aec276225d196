"""The provider of a deployment: its address, its key, and its differences from the dialect."""

from typing import Literal

import msgspec

from gateway.configuration.value_types import OptionalSecret, Secret, Text, Url, yaml_key

ProviderType = Literal["openai", "azure", "anthropic"]
LimitField = Literal["max_tokens", "max_completion_tokens"]


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """``base_url`` ends where an endpoint's path begins: with `/v1` for OpenAI and compatible servers, with or without
    it for Anthropic. For Azure it is the address of the resource.
    """

    type: ProviderType = "openai"
    base_url: Url = "https://api.openai.com/v1"  # default for anthropic: its own address; azure has none
    api_key: OptionalSecret = Secret(
        ""
    )  # default without a base_url: OPENAI_API_KEY or ANTHROPIC_API_KEY of the environment
    model: Text = ""  # default: the deployment's model_name
    api_version: str = ""  # azure only; if set, the older addresses that name the deployment
    limit_field: LimitField | None = None  # of chat completions; None: depends on the provider's address
    sampling: bool | None = None  # may a translation set temperature and top_p? None: depends on the model's name
    stream_usage: bool = True  # request the usage of every stream; a few old servers refuse the field
    trace_context: bool = False  # send the trace's id; it shows which requests belong together
