"""The provider of a deployment: its address, its key, and what its dialect lacks."""

from typing import Literal

import msgspec

from gateway.configuration.value_types import OptionalSecret, Secret, Text, Url, yaml_key

ProviderType = Literal["openai", "azure", "anthropic"]
LimitField = Literal["max_tokens", "max_completion_tokens"]


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The provider of a deployment: its address, its key, and what its dialect lacks."""

    type: ProviderType = "openai"
    """The dialect: OpenAI and servers compatible with it, Azure OpenAI, or Anthropic."""
    base_url: Url = "https://api.openai.com/v1"
    """The address before an endpoint's path: with `/v1` for `openai`, with or without it for `anthropic` (whose
    default is Anthropic's own address), the resource's address for `azure` (required)."""
    api_key: OptionalSecret = Secret("")
    """The provider's key. By default, without a `base_url`, `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`."""
    model: Text = ""
    """The model's name at the provider. By default the deployment's `model_name`."""
    api_version: str = ""
    """Azure only: the version of its older addresses, which name the deployment. Empty uses the newer ones."""
    limit_field: LimitField | None = None
    """The name of the output limit in translated chat completions. By default chosen by the provider's address."""
    sampling: bool | None = None
    """Whether a translation may set `temperature` and `top_p`. By default chosen by the model's name."""
    stream_usage: bool = True
    """Whether streams request their usage. A few old compatible servers refuse the field."""
    trace_context: bool = False
    """Whether requests carry the trace's id. Off by default: it shows the provider which requests belong together."""
