"""The provider of a deployment: its address, its key, and what its dialect lacks."""

from typing import Literal

import msgspec

from gateway.configuration.value_types import Count, OptionalSecret, RequiredSecret, Secret, Text, Url, yaml_key

ProviderType = Literal["openai", "azure", "anthropic"]
LimitField = Literal["max_tokens", "max_completion_tokens"]
Reasoning = Literal["effort", "thinking", "none"]


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """The provider of a deployment: its address, its key, and what its dialect lacks."""

    type: ProviderType = "openai"
    """The dialect: OpenAI and servers compatible with it, Azure OpenAI, or Anthropic."""
    base_url: Url = "https://api.openai.com/v1"
    """The address before an endpoint's path: with `/v1` for `openai`, with or without it for `anthropic` (whose
    default is Anthropic's own address), the resource's address for `azure` (required). For Claude on Vertex it ends in
    `/publishers/anthropic`."""
    api_key: OptionalSecret = Secret("")
    """The provider's key. By default, without a `base_url`, `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`."""
    api_keys: tuple[RequiredSecret, ...] = ()
    """Several keys, each a deployment of its own in the state, with the limits of this entry. Since unreleased."""
    api_key_file: str = ""
    """A file with the key, which is read again when it changes. Since unreleased."""
    api_key_command: tuple[Text, ...] = ()
    """A program and its arguments that prints the key, without a shell; run again when the provider refuses the key.
    Since unreleased."""
    bearer: bool = False
    """Whether `azure` and `anthropic` get the key as `Authorization: Bearer`, as tokens need it; `openai` always does,
    and `anthropic` on Vertex.
    Since unreleased."""
    model: Text = ""
    """The model's name at the provider. By default the deployment's `model_name`."""
    api_version: str = ""
    """Azure only: the version of its older addresses, which name the deployment. Empty uses the newer ones."""
    limit_field: LimitField | None = None
    """The name of the output limit in translated chat completions. By default chosen by the provider's address."""
    sampling: bool | None = None
    """Whether a translation may set `temperature` and `top_p`. By default chosen by the model's name."""
    max_output: Count | None = None
    """The most output tokens that the model accepts. Requests for more get this number, and translated chat completions
    without a limit too. By default known from the model's name, in translations only. Since unreleased."""
    reasoning: Reasoning | None = None
    """How a translation sets reasoning: by an effort, by `thinking` (with a budget in Anthropic's dialect), or not at
    all. By default chosen by the model's name and the provider's address. Since unreleased."""
    stream_usage: bool = True
    """Whether streams request their usage. A few old compatible servers refuse the field."""
    trace_context: bool = False
    """Whether requests carry the trace's id. Off by default: it shows the provider which requests belong together."""

    @property
    def source(self) -> "KeySource | None":
        """Where a key that changes comes from; None for keys in the configuration."""
        return KeySource(self.api_key_file, self.api_key_command) if self.api_key_file or self.api_key_command else None


class KeySource(msgspec.Struct, frozen=True):
    """A file or a command that yields a provider's key."""

    file: str
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns its name for logs. A command's arguments are left out, because one of them may be secret."""
        return f"api_key_file {self.file}" if self.file else f"api_key_command {self.command[0]}"
