"""Answers in the shapes of many providers: what each adds, leaves out or spells its own way. The words are invented."""

import json
from typing import Any, NamedTuple

from gateway.request.calls import Kind
from tests.support.recorded_streams import DONE, data, event

WEATHER: tuple[str, dict[str, Any]] = ("weather", {"city": "Zürich"})
TIME: tuple[str, dict[str, Any]] = ("time", {})
HM = "Let me see 🤔."
SUN = "It is sunny."


class Shape(NamedTuple):
    """One answer, streamed and whole, and what a client of the other dialect gets of it."""

    model: str
    events: list[bytes]
    whole: dict[str, Any]
    thinking: str = ""
    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    ids: tuple[str, ...] = ()  # of the calls, as the provider made them
    tokens: tuple[int, int] = (9, 4)
    kind: Kind = Kind.CHAT


def usage(**more: Any) -> dict[str, Any]:
    return {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, **more}


def chunk(delta: Any, finish: str | None = None, choice: Any = None, **fields: Any) -> bytes:
    chosen = {"index": 0, "delta": delta, "finish_reason": finish, **(choice or {})}
    return data({"id": "c-1", "object": "chat.completion.chunk", "created": 1, "choices": [chosen], **fields})


def whole(message: dict[str, Any], finish: str, choice: Any = None, **fields: Any) -> dict[str, Any]:
    chosen = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **(choice or {})}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "choices": [chosen], "usage": usage(), **fields}


def call(call_id: str, name: str, arguments: object, **more: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


CITY = json.dumps(WEATHER[1], ensure_ascii=False)
_FILTER = {"hate": {"filtered": False, "severity": "safe"}}
_ROUTED = {"provider": "SomeCloud", "model": "vendor/model-x", "system_fingerprint": None}
_DETAIL = [{"type": "reasoning.text", "text": HM, "format": "unknown", "index": 0}]
_SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln+/=="}}}
_BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": HM, "signature": "EqQB/+="},
    {"type": "text", "text": SUN},
    {"type": "tool_use", "id": "toolu_bdrk_01", "name": WEATHER[0], "input": WEATHER[1]},
]

OPENROUTER = Shape(
    "vendor/model-x",
    [
        b": OPENROUTER PROCESSING\n\n",
        chunk({"role": "assistant", "content": "", "reasoning": HM[:9], "reasoning_details": _DETAIL}, **_ROUTED),
        b": OPENROUTER PROCESSING\n\n",
        chunk(
            {"role": "assistant", "content": "", "reasoning": HM[9:]}, choice={"native_finish_reason": None}, **_ROUTED
        ),
        chunk({"role": "assistant", "content": SUN, "reasoning": None}, **_ROUTED),
        chunk({"role": "assistant", "content": ""}, "stop", {"native_finish_reason": "STOP"}, **_ROUTED),
        data({"id": "c-1", "choices": [], "usage": usage(cost=0.01, cost_details={"upstream_inference_cost": None})}),
        DONE,
    ],
    whole({"content": SUN, "reasoning": HM, "refusal": None, "reasoning_details": _DETAIL}, "stop", **_ROUTED),
    thinking=HM,
    text=SUN,
)
AZURE = Shape(
    "gpt-4o",
    [
        data({"id": "", "model": "", "object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        chunk(
            {"role": "assistant", "content": "", "refusal": None}, choice={"content_filter_results": {}}, model="gpt-4o"
        ),
        chunk({"content": SUN}, choice={"content_filter_results": _FILTER, "logprobs": None}, model="gpt-4o"),
        chunk({}, "stop", {"content_filter_results": {}}, model="gpt-4o"),
        data({"id": "", "model": "", "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]}),
        data({"id": "c-1", "model": "gpt-4o", "choices": [], "usage": usage()}),
        DONE,
    ],
    whole({"content": SUN, "refusal": None}, "stop", {"content_filter_results": _FILTER}, prompt_filter_results=[]),
    text=SUN,
)
MISTRAL = Shape(
    "magistral-medium",
    [
        chunk({"role": "assistant", "content": ""}, model="magistral-medium"),
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": HM[:5]}]}]}),
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": HM[5:]}]}]}),
        chunk({"content": [{"type": "text", "text": SUN[:4]}]}),
        chunk({"content": SUN[4:]}),
        chunk(
            {"content": "", "tool_calls": [{**call("D681PevKs", *WEATHER[:1], CITY), "index": 0}]},
            "tool_calls",
            usage=usage(),
        ),
        DONE,
    ],
    whole(
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": HM}]},
                {"type": "text", "text": SUN},
            ],
            "tool_calls": [call("D681PevKs", WEATHER[0], CITY, index=0)],
            "prefix": False,
        },
        "tool_calls",
    ),
    HM,
    SUN,
    (WEATHER,),
    ("D681PevKs",),
)
GROQ = Shape(
    "qwen/qwen3-32b",
    [
        chunk({"role": "assistant", "content": ""}, model="qwen/qwen3-32b", x_groq={"id": "req_1"}),
        chunk({"reasoning": HM}, service_tier="on_demand"),
        chunk({"content": SUN}),
        chunk({}, "stop", x_groq={"id": "req_1", "usage": usage(queue_time=0.1)}, usage=usage(total_time=0.2)),
        DONE,
    ],
    whole({"content": SUN, "reasoning": HM}, "stop", x_groq={"id": "req_1"}, usage=usage(queue_time=0.1)),
    thinking=HM,
    text=SUN,
)
GEMINI = Shape(
    "google/gemini-3-pro-preview",
    [
        chunk({"role": "assistant", "content": SUN}, usage=usage(completion_tokens=2)),
        chunk(
            {"role": "assistant", "tool_calls": [call("function-call-77", WEATHER[0], CITY, index=0, **_SIGNED)]},
            usage=usage(),
        ),
        chunk(
            {"role": "assistant", "tool_calls": [call("function-call-78", "time", "{}", index=0)]},
            "stop",
            usage=usage(),
        ),
        DONE,
    ],
    whole(
        {
            "content": SUN,
            "tool_calls": [
                call("function-call-77", WEATHER[0], CITY, **_SIGNED),
                call("function-call-78", "time", "{}"),
            ],
        },
        "stop",
    ),
    text=SUN,
    calls=(WEATHER, TIME),
    ids=("function-call-77", "function-call-78"),
)
DEEPSEEK = Shape(
    "deepseek-reasoner",
    [
        chunk({"role": "assistant", "content": None, "reasoning_content": ""}, model="deepseek-reasoner", usage=None),
        chunk({"content": None, "reasoning_content": HM}),
        chunk({"content": SUN, "reasoning_content": None}),
        chunk({"tool_calls": [{"index": 0, **call("call_00_x", WEATHER[0], "")}]}),
        *[chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in (CITY[:6], CITY[6:])],
        chunk({"content": "", "reasoning_content": None}, "tool_calls", usage=usage(prompt_cache_hit_tokens=0)),
        DONE,
    ],
    whole(
        {"content": SUN, "reasoning_content": HM, "tool_calls": [call("call_00_x", WEATHER[0], CITY, index=0)]},
        "tool_calls",
    ),
    HM,
    SUN,
    (WEATHER,),
    ("call_00_x",),
)
QWEN = Shape(
    "qwen3-max",
    [
        chunk({"role": "assistant", "content": None, "reasoning_content": HM}),
        chunk({"content": None, "tool_calls": [{"index": 0, **call("call_a1", WEATHER[0], CITY[:3])}]}),
        chunk({"content": None, "tool_calls": [{"index": 0, **call("", "", CITY[3:])}]}),
        chunk({"content": None, "tool_calls": [{"index": 0, **call("", "time", "{}")}]}),
        chunk({"content": ""}, "tool_calls"),
        data({"choices": [], "object": "chat.completion.chunk", "usage": usage()}),
        DONE,
    ],
    whole(
        {
            "content": "",
            "reasoning_content": HM,
            "tool_calls": [call("call_a1", WEATHER[0], CITY), call("", "time", "{}")],
        },
        "tool_calls",
    ),
    thinking=HM,
    calls=(WEATHER, TIME),
    ids=("call_a1",),
)
KIMI = Shape(
    "kimi-k2-thinking",
    [
        chunk({"role": "assistant", "content": ""}, model="kimi-k2-thinking"),
        chunk({"reasoning_content": HM}),
        chunk({"tool_calls": [{"index": 0, **call("functions.weather:0", WEATHER[0], "")}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": CITY}}]}),
        chunk({"tool_calls": [{"index": 1, **call("functions.time:1", "time", "{}")}]}),
        chunk({}, "tool_calls", {"usage": usage()}, usage=usage()),
        DONE,
    ],
    whole(
        {
            "content": "",
            "reasoning_content": HM,
            "tool_calls": [call("functions.weather:0", WEATHER[0], CITY), call("functions.time:1", "time", "{}")],
        },
        "tool_calls",
    ),
    thinking=HM,
    calls=(WEATHER, TIME),
    ids=("functions.weather:0", "functions.time:1"),
)
GLM = Shape(
    "glm-4.6",
    [
        chunk({"role": "assistant", "reasoning_content": HM}),
        chunk({"role": "assistant", "content": SUN}),
        chunk({"role": "assistant", "tool_calls": [call("call_-889", WEATHER[0], WEATHER[1], index=0)]}),
        chunk({"role": "assistant", "content": ""}, "tool_calls", usage=usage()),
        DONE,
    ],
    whole(
        {"content": SUN, "reasoning_content": HM, "tool_calls": [call("call_-889", *WEATHER)]},
        "tool_calls",
        request_id="r",
    ),
    HM,
    SUN,
    (WEATHER,),
    ("call_-889",),
)
COHERE = Shape(
    "command-a",
    [
        data({"id": "c-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": SUN}}]}),
        data(
            {
                "id": "c-1",
                "choices": [{"index": 0, "delta": {"tool_calls": [call("time_0abc", "time", "{}", index=0)]}}],
            }
        ),
        data({"id": "c-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "TOOL_CALL"}], "usage": usage()}),
        DONE,
    ],
    whole({"content": SUN, "tool_calls": [call("time_0abc", "time", "")]}, "TOOL_CALL"),
    text=SUN,
    calls=(TIME,),
    ids=("time_0abc",),
)


def message_events(prefix: str, *more: bytes) -> list[bytes]:
    start = event(
        "message_start",
        message={
            "id": f"msg_{prefix}_1",
            "model": "claude",
            "content": [],
            "usage": {"input_tokens": 9, "output_tokens": 1},
        },
    )
    blocks = [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": f"toolu_{prefix}_01", "name": WEATHER[0], "input": {}},
    ]
    deltas = [
        [{"type": "thinking_delta", "thinking": HM}, {"type": "signature_delta", "signature": "EqQB/+="}],
        [{"type": "text_delta", "text": SUN}],
        [{"type": "input_json_delta", "partial_json": piece} for piece in ("", CITY[:7], CITY[7:])],
    ]
    inner = []
    for index, (block, pieces) in enumerate(zip(blocks, deltas, strict=True)):
        inner.append(event("content_block_start", index=index, content_block=block))
        inner += [event("content_block_delta", index=index, delta=piece) for piece in pieces]
        inner.append(event("content_block_stop", index=index))
    end = event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 4})
    return [start, *more, *inner, end]


def message(prefix: str) -> dict[str, Any]:
    blocks = [*_BLOCKS[:2], {**_BLOCKS[2], "id": f"toolu_{prefix}_01"}]
    counts = {"input_tokens": 9, "output_tokens": 4}
    names = {"id": f"msg_{prefix}_1", "type": "message", "role": "assistant", "model": "claude"}
    return {**names, "content": blocks, "stop_reason": "tool_use", "stop_sequence": None, "usage": counts}


_METRICS = {"inputTokenCount": 9, "outputTokenCount": 4, "firstByteLatency": 500}
BEDROCK = Shape(
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    [*message_events("bdrk"), event("message_stop", **{"amazon-bedrock-invocationMetrics": _METRICS})],
    message("bdrk"),
    HM,
    SUN,
    (WEATHER,),
    ("toolu_bdrk_01",),
    kind=Kind.MESSAGE,
)
VERTEX = Shape(
    "claude-sonnet-4-5@20250929",
    [
        *message_events(
            "vrtx", event("vertex_event", project="p"), event("ping"), event("message_start", message={"id": "again"})
        ),
        event("message_stop"),
    ],
    message("vrtx"),
    HM,
    SUN,
    (WEATHER,),
    ("toolu_vrtx_01",),
    kind=Kind.MESSAGE,
)

SHAPES = {
    "openrouter": OPENROUTER,
    "azure": AZURE,
    "mistral": MISTRAL,
    "groq": GROQ,
    "gemini": GEMINI,
    "deepseek": DEEPSEEK,
    "qwen": QWEN,
    "kimi": KIMI,
    "glm": GLM,
    "cohere": COHERE,
    "bedrock": BEDROCK,
    "vertex": VERTEX,
}
