"""Slips in reading requests: what they mean, and how much of them is read."""

from tests.mutants.slip import Slip, Table

BOUNDS, KEYS = "tests/gateway/json/test_bounds.py", "tests/gateway/json/test_duplicate_keys.py"
PEEK = "tests/gateway/request/test_token_bounds.py"

REQUESTS: Table = {
    "gateway/json/duplicate_keys.py": (
        Slip(
            "else name.upper().casefold()",
            "else name",
            KEYS,
            "a long s passes a budget at a provider that ignores case",
        ),
        Slip("return name.lower() if", "return name if", KEYS, "`mOdel` passes the models of a key"),
        Slip("if folded in seen:", "if name in seen:", KEYS, "`metadata` and `Metadata` mean what the provider likes"),
        Slip(
            "if folded != name and folded in known:",
            "if False:",
            KEYS,
            "`Max_Tokens` alone is no limit here and one at the provider",
        ),
        Slip(
            "if options not in _PLAIN_OPTIONS:",
            "if False:",
            KEYS,
            "a stream whose usage is not reported counts as one whose usage is",
        ),
    ),
    "gateway/request/token_bounds.py": (
        Slip("if len(text) > SCALAR_MOST:", "if False:", PEEK, "each reader reads 5,000 digits in its own way"),
        Slip("if number > most:", "if False:", PEEK, "a million prompts become a million objects"),
        Slip(
            "if len(self.messages) > most:", "if False:", PEEK, "340,000 messages are sent to every deployment in turn"
        ),
    ),
    "gateway/json/bounds.py": (
        Slip("is_inside ^= (len(pieces) - 1) & 1", "pass", BOUNDS, "braces of a long text count as objects"),
        Slip(
            "part = part[:-1]  # an", "pass  # an", BOUNDS, "an escape at the end of a slice turns texts into objects"
        ),
    ),
    "gateway/request/calls.py": (
        Slip(
            "        check_keys(body, request.stream_options is not None)\n",
            "",
            KEYS,
            "a second model passes the models of a key",
        ),
    ),
}
