"""No field that the official clients can send is ignored silently: every field of their request types is in our
tables, with its documented fate.
"""

import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from typing_extensions import is_typeddict

from gateway.errors import InvalidRequest
from gateway.request.calls import Kind, parse
from gateway.upstream.dialects.chat_as_messages import translation as chat_as_messages
from gateway.upstream.dialects.chat_as_responses import translation as chat_as_responses
from gateway.upstream.dialects.messages_as_chat import translation as messages_as_chat
from gateway.upstream.dialects.responses_as_chat import translation as responses_as_chat

DOCS = Path(__file__).resolve().parents[4] / "docs"
USER = {"role": "user", "content": "hi"}


class Row(NamedTuple):
    field: str
    outcome: str

    @property
    def names(self) -> frozenset[str]:
        return frozenset(_names(self.field))

    @property
    def is_settled(self) -> bool:
        """Fields that are dropped or refused as a whole, whatever they hold and wherever they stand."""
        rest = re.sub(r"`[^`]+`|,|anywhere", "", self.field)
        return not rest.strip() and self.outcome.startswith(("dropped", "refused"))


class Side(NamedTuple):
    """One direction: what a client may send, our table, and the translation."""

    official: Any
    document: str
    translate: Callable[[bytes], bytes]
    least: dict[str, Any]

    @property
    def rows(self) -> list[Row]:
        section = (DOCS / self.document).read_text().split("## Request")[1].split("\n## ")[0]
        lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
        return [Row(field, outcome.strip()) for field, outcome in lines[1:]]

    def sent(self, **fields: Any) -> Any:
        return json.loads(self.translate(json.dumps({**self.least, **fields}).encode()))


SIDES = {
    "chat": Side(
        CompletionCreateParamsStreaming,
        "dialects-chat-as-messages.md",
        lambda body: chat_as_messages.request(parse(Kind.CHAT, body).body, "m"),
        {"model": "m", "messages": [USER]},
    ),
    "messages": Side(
        MessageCreateParamsStreaming,
        "dialects-messages-as-chat.md",
        lambda body: messages_as_chat.request(parse(Kind.MESSAGE, body).body, "m"),
        {"model": "m", "messages": [USER], "max_tokens": 5},
    ),
    "chat at responses": Side(
        CompletionCreateParamsStreaming,
        "dialects-chat-as-responses.md",
        lambda body: chat_as_responses.request(parse(Kind.CHAT, body).body, "m"),
        {"model": "m", "messages": [USER]},
    ),
    "responses": Side(
        ResponseCreateParamsStreaming,
        "dialects-responses-as-chat.md",
        lambda body: responses_as_chat.request(parse(Kind.RESPONSE, body).body, "m"),
        {"model": "m", "input": [USER]},
    ),
}


def _names(text: str) -> Iterator[str]:
    for quoted in re.findall(r"`([^`]+)`", text):
        yield from re.findall(r"[\w*]+", quoted)


def structures(hint: Any) -> Iterator[Any]:
    """The typed dictionaries in a hint, however they are wrapped."""
    if is_typeddict(hint):
        yield hint
    for inner in get_args(hint):
        yield from structures(inner)


def tags(structure: Any) -> set[str]:
    """Returns the field that distinguishes it from its siblings: its type, or its role."""
    hints = get_type_hints(structure)
    literal = [hints[name] for name in ("type", "role") if get_origin(hints.get(name)) is Literal]
    return set(get_args(literal[0])) if literal else set()


class Walk:
    """Through a request type: which fields no row names, and which kinds of a thing."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        settled = [row.field for row in rows if row.is_settled]
        self._settled = {name for field in settled for name in re.findall(r"([\w*]+)`", field)}
        self._known = {name for row in rows for name in {*row.names, *_names(row.outcome)}} | {"type", "role"}
        self._seen: set[str] = set()
        self.fields: set[str] = set()
        self.kinds: set[tuple[str, str]] = set()

    def see(self, structure: Any, path: str = "") -> None:
        if structure.__name__ in self._seen:
            return
        self._seen.add(structure.__name__)
        for name, hint in get_type_hints(structure).items():
            if not _is_among(self._known, name):
                self.fields.add(f"{structure.__name__}.{name}")
            elif not _is_among(self._settled, name):
                for inner in structures(hint):
                    self._see_kind(inner, f"{path}.{name}".strip("."))

    def _see_kind(self, structure: Any, path: str) -> None:
        """A kind of a thing that no row names, or that all of them refuse, is refused whatever it holds."""
        ends = {tag: self._end_of(tag) for tag in tags(structure)}
        self.kinds |= {(path, tag) for tag, end in ends.items() if end == "refused"}
        if not any(ends.values()):
            self.see(structure, path)

    def _end_of(self, tag: str) -> str | None:
        outcomes = {row.outcome.partition(" ")[0] for row in self._rows if _is_among(set(row.names), tag)}
        if not outcomes:
            return None if _is_among(self._known, tag) else "refused"
        return outcomes.pop() if outcomes in ({"refused"}, {"dropped"}) else None


def _is_among(names: set[str], name: str) -> bool:
    return any(fnmatch(name, each) for each in names)


def walk(side: Side) -> Walk:
    walked = Walk(side.rows)
    walked.see(side.official)
    return walked


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_every_field_of_the_official_types_is_in_a_table(side: Side) -> None:
    assert sorted(walk(side).fields) == []


def holding(path: str, thing: dict[str, Any]) -> list[dict[str, Any]]:
    """Fields of requests with such a thing at the place; a place that is not known here has to be looked at."""
    result = {"type": "tool_result", "tool_use_id": "a", "content": [thing]}
    places: dict[str, list[dict[str, Any]]] = {
        "messages.content": [{"messages": [{"role": role, "content": [thing]}]} for role in ("user", "assistant")],
        "messages.content.source": [
            {"messages": [{"role": "user", "content": [{"type": kind, "source": thing}]}]}
            for kind in ("image", "document")
        ],
        "messages.content.content": [{"messages": [{"role": "user", "content": [result]}]}],
        "messages.tool_calls": [{"messages": [{"role": "assistant", "tool_calls": [thing]}]}],
        "input": [{"input": [thing]}],
        "input.content": [{"input": [{"role": role, "content": [thing]}]} for role in ("user", "assistant")],
        "input.output": [{"input": [{"type": "function_call_output", "call_id": "a", "output": [thing]}]}],
        "input.tools": [{"input": [{"type": "additional_tools", "role": "developer", "tools": [thing]}]}],
        "tools": [{"tools": [thing]}],
        "tool_choice": [{"tool_choice": thing}],
    }
    return places[path]


@pytest.mark.parametrize(
    ("side", "path", "kind"), [(side, *found) for side in SIDES.values() for found in sorted(walk(side).kinds)]
)
def test_every_kind_of_thing_that_is_in_no_table_is_refused(side: Side, path: str, kind: str) -> None:
    for fields in holding(path, {"type": kind, "id": "a", "name": "x", "input_schema": {}}):
        with pytest.raises(InvalidRequest) as refused:
            side.sent(**fields)

        assert refused.value.code == "unsupported_value"
        assert (refused.value.param or "").startswith(path.split(".")[0])


def fields_of(side: Side) -> list[str]:
    return sorted(get_type_hints(side.official))


@pytest.mark.parametrize(("side", "field"), [(side, field) for side in SIDES.values() for field in fields_of(side)])
def test_field_whose_value_means_nothing_is_refused_even_where_it_would_be_dropped(side: Side, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        side.sent(**{field: [{"none": "of these"}]})

    assert (refused.value.param or "").startswith(field)


DROPPED: dict[str, dict[str, Any]] = {
    "chat": {
        "verbosity": "low", "seed": 10**30, "frequency_penalty": -0.5,
        "presence_penalty": 1, "logit_bias": {"50256": -100}, "prediction": {"type": "content", "content": "a"},
        "store": False, "metadata": {"a": "b"}, "service_tier": "flex", "prompt_cache_key": "k",
        "prompt_cache_options": {}, "prompt_cache_retention": "24h",
        "stream_options": {"include_obfuscation": False},
    },
    "messages": {
        "top_k": 5, "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
        "service_tier": "auto", "speed": "fast", "context_management": {"edits": []}, "diagnostics": {},
        "user_profile_id": "u", "workspace_id": "w", "cache_control": {"type": "ephemeral"},
        "output_config": {"effort": "low"},
    },
    "chat at responses": {
        "seed": 10**30, "frequency_penalty": -0.5, "presence_penalty": 1, "logit_bias": {"50256": -100},
        "prediction": {"type": "content", "content": "a"}, "store": False, "prompt_cache_options": {},
        "prompt_cache_retention": "24h", "stream_options": {"include_obfuscation": False},
    },
    "responses": {
        "access_programs": {}, "background_options": {}, "client_metadata": {"a": "b"}, "context_management": [],
        "image": {}, "max_tool_calls": 3, "metadata": {"a": "b"}, "prompt_cache_key": "k", "prompt_cache_options": {},
        "prompt_cache_retention": "24h", "service_tier": "flex", "stream_options": {"include_obfuscation": False},
        "truncation": "auto", "background": False, "store": False, "parallel_tool_calls": True,
        "include": ["reasoning.encrypted_content"], "text": {"verbosity": "low"},
        "reasoning": {"summary": "auto"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SIDES)
def test_dropped_fields_change_nothing(name: str) -> None:
    side, fields = SIDES[name], DROPPED[name]

    assert side.sent(**fields) == side.sent(**dict.fromkeys(fields)) == side.sent(of_the_future=[7])


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in SIDES for field in DROPPED[name]])
def test_dropped_field_of_the_wrong_type_is_refused(name: str, field: str) -> None:
    wrong = 7 if isinstance(DROPPED[name][field], str | dict | bool) else "x"
    with pytest.raises(InvalidRequest) as refused:
        SIDES[name].sent(**{field: wrong})

    assert refused.value.param == field
