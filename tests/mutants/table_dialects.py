"""Slips in translations between chat completions and messages: what is lost, or refused by the other side."""

from tests.mutants.slip import Slip, Table

_TESTS = "tests/gateway/upstream/dialects"
STREAM, TURNS = f"{_TESTS}/messages_as_chat/test_stream.py", f"{_TESTS}/messages_as_chat/test_turns.py"
IDS, MARKS, SCHEMAS = f"{_TESTS}/test_call_ids.py", f"{_TESTS}/test_own_marks.py", f"{_TESTS}/test_json_schemas.py"
REQUEST = f"{_TESTS}/chat_as_messages/test_request.py"

DIALECTS: Table = {
    "gateway/upstream/dialects/chat_chunks.py": (
        Slip("return function.name != call.name or has_arguments", "return False", STREAM, "a second call is lost"),
    ),
    "gateway/upstream/dialects/messages_as_chat/stream.py": (
        Slip(
            "choice = first_choice(chunk.choices or ())",
            "choice = (chunk.choices or [None])[0]",
            STREAM,
            "two answers mix",
        ),
    ),
    "gateway/upstream/dialects/messages_as_chat/turns.py": (
        Slip("signature.family == family", "True", TURNS, "a provider gets a field that it refuses"),
        Slip("if calls else {}", "if True else {}", TURNS, "reasoning of finished turns lengthens every prompt"),
    ),
    "gateway/upstream/dialects/call_ids.py": (
        Slip("own = (_decoded(wrapped[1]) or own) if wrapped else own", "pass", IDS, "Kimi does not know its own ids"),
        Slip("{secrets.token_hex(3)}", "000000", IDS, "ids that a server counts anew occur twice in a conversation"),
    ),
    "gateway/upstream/dialects/own_marks.py": (
        Slip("if not _is_thought(block)", "if True", MARKS, "Anthropic refuses thoughts that it did not sign"),
    ),
    "gateway/upstream/dialects/json_schemas.py": (
        Slip('"additionalProperties": False}', "}", SCHEMAS, "both providers refuse open objects"),
        Slip('closed["required"] = list(properties)', "pass", SCHEMAS, "OpenAI refuses optional properties"),
    ),
    "gateway/upstream/dialects/chat_as_messages/thinking.py": (
        Slip("max_tokens * 3 // 4", "max_tokens", REQUEST, "a budget leaves no token for the answer"),
        Slip("or not is_free or not _is_signed(turns)", "or not is_free", REQUEST, "unsigned calls are refused"),
    ),
}
