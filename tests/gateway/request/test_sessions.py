"""Names of sessions: the same for the turns of one conversation, another one for every other."""

import json
import random
from typing import Any

import pytest

from gateway.configuration.affinity import AffinityMode
from gateway.request.calls import Kind, parse
from gateway.request.sessions import BLOCKS_KIB, NAME_MOST, PASSED_MOST, Sessions
from shared_state.records import FIRST_TURN

HI = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
MORE = {"role": "user", "content": "And now?"}
HEADERS = ("x-session-id", "x-claude-code-session-id", "session_id", "x-session-affinity")


def names(
    body: dict[str, Any],
    *headers: tuple[str, str],
    kind: Kind = Kind.CHAT,
    tenant: str = "team",
    mode: AffinityMode = "session",
) -> tuple[bytes, ...]:
    sessions, sent = Sessions(mode), [(name.encode(), value.encode()) for name, value in headers]
    whole = {"model": "m", **body}
    if kind is Kind.MESSAGE:
        whole = {"max_tokens": 10, **whole}
    named = parse(kind, json.dumps(whole).encode(), named=lambda request: sessions.names(request, sent, tenant))
    return named.session


def name(body: dict[str, Any], *headers: tuple[str, str], **options: Any) -> bytes:
    [session] = names(body, *headers, **options)
    return session


# In the order in which they count.
SOURCES: list[tuple[str, Any]] = [
    ("header", "x-session-id"),
    ("header", "x-claude-code-session-id"),
    ("header", "session_id"),
    ("body", {"session_id": "s"}),
    ("header", "x-session-affinity"),
    ("body", {"prompt_cache_key": "s"}),
    ("metadata", {"session_id": "s"}),
    ("metadata", {"user_id": "s"}),
    ("body", {"user": "s"}),
]


def made(*sources: tuple[str, Any]) -> bytes:
    body: dict[str, Any] = {"messages": [HI]}
    headers = []
    for place, value in sources:
        if place == "header":
            headers.append((value, "s"))
        elif place == "metadata":
            body["metadata"] = value | body.get("metadata", {})
        else:
            body |= value
    return name(body, *headers)


@pytest.mark.parametrize("position", range(len(SOURCES)))
def test_first_source_that_is_there_counts(position: int) -> None:
    assert made(*SOURCES[position:]) == made(SOURCES[position])
    assert made(SOURCES[position]) != made()


def test_each_source_is_a_name_of_its_own() -> None:
    assert len({made(source) for source in SOURCES}) == len(SOURCES)


@pytest.mark.parametrize("odd", [None, "", 5, [], {}, True, {"session_id": 7, "user_id": None}, {"session_id": ""}])
@pytest.mark.parametrize("field", ["prompt_cache_key", "session_id", "metadata", "user"])
def test_odd_ids_count_as_absent(field: str, odd: object) -> None:
    assert name({"messages": [HI], field: odd}) == name({"messages": [HI]})


def test_empty_header_counts_as_absent() -> None:
    assert name({"messages": [HI]}, ("x-session-id", "")) == name({"messages": [HI]})


@pytest.mark.parametrize("place", ["header", "user", "prompt_cache_key", "metadata"])
def test_id_of_a_megabyte_is_cut(place: str) -> None:
    long = "x" * 1_000_000
    body: dict[str, Any] = {"messages": [HI]}
    headers = [("x-session-id", long)] if place == "header" else []
    body |= {"metadata": {"user_id": long}} if place == "metadata" else {place: long} if place != "header" else {}

    assert len(name(body, *headers)) < NAME_MOST + 100


# -- whose session it is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [(), (("x-session-id", "s"),)])
def test_tenants_and_models_have_names_of_their_own(headers: tuple[tuple[str, str], ...]) -> None:
    body = {"messages": [HI]}
    own = name(body, *headers)

    assert name(body, *headers, tenant="other") != own
    assert name({**body, "model": "n"}, *headers) != own


def test_tenant_cannot_write_the_name_of_another() -> None:
    mine = name({"messages": [HI], "model": "m"}, ("x-session-id", "s"), tenant="a\nb")
    theirs = name({"messages": [HI], "model": "b\nm"}, ("x-session-id", "s"), tenant="a")

    assert mine != theirs


# -- beginnings -------------------------------------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "Be brief."}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("kind", "first", "later"),
    [
        (Kind.CHAT, {"messages": [SYSTEM, HI]}, {"messages": [SYSTEM, HI, ANSWER, MORE]}),
        (Kind.CHAT, {"messages": [HI], "tools": TOOLS}, {"messages": [HI, ANSWER, MORE], "tools": TOOLS}),
        (Kind.MESSAGE, {"system": "S", "messages": [HI]}, {"system": "S", "messages": [HI, ANSWER, MORE]}),
        (Kind.RESPONSE, {"instructions": "S", "input": [HI]}, {"instructions": "S", "input": [HI, ANSWER, MORE]}),
    ],
)
def test_later_turns_have_the_name_of_the_first(kind: Kind, first: dict[str, Any], later: dict[str, Any]) -> None:
    assert name(first, kind=kind) == FIRST_TURN + name(later, kind=kind)


TOOL_CALL = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
TOOL_RESULT = {"role": "tool", "content": "5", "tool_call_id": "c"}


@pytest.mark.parametrize(
    ("kind", "is_first", "body"),
    [
        (Kind.CHAT, True, {"messages": [HI]}),
        (Kind.CHAT, True, {"messages": [SYSTEM, HI, HI]}),
        (Kind.CHAT, True, {"messages": [ANSWER, HI]}),
        (Kind.CHAT, True, {"messages": [SYSTEM]}),
        (Kind.CHAT, False, {"messages": [HI, ANSWER]}),
        (Kind.CHAT, False, {"messages": [HI, HI, ANSWER, HI]}),
        (Kind.CHAT, False, {"messages": [HI, SYSTEM, TOOL_RESULT]}),
        (Kind.CHAT, False, {"messages": [HI, {"content": "no role"}]}),
        (Kind.CHAT, False, {"messages": [ANSWER] * 100}),
        (Kind.MESSAGE, True, {"messages": [HI]}),
        (Kind.MESSAGE, False, {"messages": [HI, ANSWER, MORE]}),
        (Kind.RESPONSE, True, {"input": "Hi"}),
        (Kind.RESPONSE, True, {"input": [HI]}),
        (Kind.RESPONSE, True, {"input": [HI, HI]}),
        (Kind.RESPONSE, False, {"input": [HI, HI, ANSWER, HI]}),
        (Kind.RESPONSE, False, {"input": [HI, TOOL_CALL]}),
        (Kind.COMPLETION, True, {"prompt": "once"}),
    ],
)
def test_first_turn_is_marked_where_its_beginning_names_it(kind: Kind, is_first: bool, body: dict[str, Any]) -> None:
    assert name(body, kind=kind).startswith(FIRST_TURN) == is_first
    assert not name(body, ("x-session-id", "s"), kind=kind).startswith(FIRST_TURN)


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (Kind.CHAT, {"messages": [MORE]}),
        (Kind.CHAT, {"messages": [SYSTEM, HI]}),
        (Kind.CHAT, {"messages": [HI], "tools": TOOLS}),
        (Kind.MESSAGE, {"messages": [HI], "system": "S"}),
        (Kind.MESSAGE, {"messages": [HI], "tools": TOOLS}),
        (Kind.RESPONSE, {"input": [MORE]}),
        (Kind.RESPONSE, {"input": [HI], "instructions": "S"}),
    ],
)
def test_other_beginnings_have_other_names(kind: Kind, other: dict[str, Any]) -> None:
    plain = {"input": [HI]} if kind is Kind.RESPONSE else {"messages": [HI]}

    assert name(other, kind=kind) != name(plain, kind=kind)


@pytest.mark.parametrize("odd", [[5], ["a"], [{}], [[HI]], "text", [], None])
def test_odd_input_has_a_name(odd: object) -> None:
    assert len(names({"input": odd}, kind=Kind.RESPONSE)) == 1


def test_beginning_of_a_megabyte_is_cut() -> None:
    long = {"role": "user", "content": "x" * 1_000_000}

    assert len(name({"messages": [long], "tools": ["y" * 1_000_000]})) < 10_000


def test_beginning_without_a_user_is_bounded() -> None:
    assert len(name({"messages": [ANSWER] * 1_000})) < 1_000


def test_completion_begins_with_its_prompt() -> None:
    assert name({"prompt": "once"}, kind=Kind.COMPLETION) != name({"prompt": "twice"}, kind=Kind.COMPLETION)


def test_embeddings_have_no_session() -> None:
    assert names({"input": "text"}, ("x-session-id", "s"), kind=Kind.EMBEDDING) == ()


def test_nothing_is_named_where_affinity_is_off() -> None:
    assert names({"messages": [HI]}, ("x-session-id", "s"), mode="off") == ()


# -- prefixes ---------------------------------------------------------------------------------------------------


def text(kib: float, seed: int = 1) -> str:
    return "".join(random.Random(seed).choices("abcdefgh", k=int(1024 * kib)))


def prefixes(*contents: str, kind: Kind = Kind.CHAT, **body: Any) -> tuple[bytes, ...]:
    roles = ["system", "user", "assistant"]
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return names({"messages": turns, **body}, ("x-session-id", "s"), kind=kind, mode="prefix")[1:]


def test_common_prefix_has_common_names_the_longest_first() -> None:
    common = text(10)
    one, other = prefixes(common, text(3, 2)), prefixes(common, text(3, 3))
    shared = [each for each in one if each in other]

    assert shared == list(one[-len(shared) :]) == list(other[-len(shared) :])
    assert len(shared) == sum(kib <= 10 for kib in BLOCKS_KIB)
    assert len(one) == sum(kib <= 13 for kib in BLOCKS_KIB)


def test_prompt_that_grows_keeps_its_prefixes() -> None:
    first = prefixes(text(5), text(2, 2))

    assert prefixes(text(5), text(2, 2), text(9, 3))[-len(first) :] == first


def test_short_prompt_has_no_prefix() -> None:
    assert prefixes("short", "Hi") == ()


def test_prefix_of_another_tenant_is_another() -> None:
    body = {"messages": [{"role": "user", "content": text(4)}]}
    mine, theirs = (names(body, tenant=tenant, mode="prefix")[1:] for tenant in ("a", "b"))

    assert not set(mine) & set(theirs)


def test_number_of_prefixes_is_bounded() -> None:
    assert len(prefixes(text(1000))) == len(BLOCKS_KIB)


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.CHAT])
def test_tools_and_system_belong_to_the_prefix(kind: Kind) -> None:
    tools = [{"name": text(3)}]

    assert not set(prefixes("", text(4, 2), kind=kind, tools=tools)) & set(prefixes("", text(4, 2), kind=kind))


# -- headers for providers --------------------------------------------------------------------------------------


def test_listed_headers_are_passed() -> None:
    sessions = Sessions("session", ["x-session-id", "session_id"])
    headers = [(b"x-session-id", b"s 1"), (b"authorization", b"secret"), (b"session_id", b"t")]

    assert sessions.passed(headers) == (("x-session-id", "s 1"), ("session_id", "t"))
    assert Sessions("off").passed(headers) == ()


@pytest.mark.parametrize("value", [b"", b"a\r\nb: c", b"x" * 513, b" a", "é".encode(), b"\x00"])
def test_header_that_is_not_well_formed_is_left_out(value: bytes) -> None:
    assert Sessions("session", ["x-session-id"]).passed([(b"x-session-id", value)]) == ()


def test_number_of_passed_headers_is_bounded() -> None:
    headers = [(b"x-session-id", b"s")] * 100

    assert len(Sessions("session", ["x-session-id"]).passed(headers)) == PASSED_MOST
