"""The request that an answer belongs to, as far as the translation of the answer depends on it."""

import re

import msgspec

from gateway.upstream.dialects.tool_names import may_be_shortened, originals

_FAMILY = re.compile(r"[a-z]+")


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Tool(msgspec.Struct, frozen=True):
    """A tool of either dialect."""

    name: str = ""
    function: _Named = _Named()


class _Tools(msgspec.Struct, frozen=True):
    tools: list[_Tool] | None = None


_tools = msgspec.json.Decoder(_Tools)


class Origin(msgspec.Struct):
    """The request behind an answer."""

    model: str = ""  # the client's name of the model
    provider_model: str = ""  # the provider's name of it
    body: bytes = b"{}"  # as the client sent it
    tool_names: dict[str, str] | None = None  # the client's, by the provider's, once an answer needs them

    @property
    def family(self) -> str:
        return family_of(self.provider_model)

    def tool_name(self, name: str) -> str:
        """Returns the client's name of a tool that the provider calls ``name``."""
        if not may_be_shortened(name):
            return name
        if self.tool_names is None:
            self.tool_names = originals(_names_in(self.body))
        return self.tool_names.get(name, name)


def _names_in(body: bytes) -> list[str]:
    """Returns the names of the tools of a request, which its translation has checked already."""
    try:
        return [tool.name or tool.function.name for tool in _tools.decode(body).tools or ()]
    except msgspec.DecodeError:  # an additional field with the name of one of the other dialect
        return []


def family_of(model: str) -> str:
    """Returns the family of a model, such as `gemini` of `google/gemini-3-pro`. What a model makes for its own next
    turn goes to models of its family only.
    """
    match = _FAMILY.search(model.rpartition("/")[2].lower())
    return match[0] if match else "model"


UNKNOWN = Origin()
