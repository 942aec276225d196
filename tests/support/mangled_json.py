"""JSON that is nearly right: a valid value in which something anywhere was replaced, removed or added."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

LEAVES: list[Any] = [
    None, True, 0, 1, -1, 2.5, 10**30, 10**400, 1e308, "", " ", "text", "user", "tool", "\ud800", "\udc00x", "\x00",
    "日本", "data:image/png;base64,", "data:,", "{", "[]", "[" * 5000, '{"a": NaN}', [], {}, [[]], [{}], [None],
    {"type": "text"}, {"type": "x", "text": 1},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def mangled(valid: list[Any]) -> st.SearchStrategy[bytes]:
    """Bytes of one of the values with up to three changes, or of something else altogether."""

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        whole = [copy.deepcopy(draw(st.sampled_from(valid)))]  # a list around it, so that all of it can be replaced
        for _ in range(draw(st.integers(0, 3))):
            path = draw(st.sampled_from([place for place in places(whole) if place]))
            parent: Any = whole
            for key in path[:-1]:
                parent = parent[key]
            if len(path) > 1 and draw(st.booleans()) and draw(st.booleans()):
                del parent[path[-1]]
            else:
                parent[path[-1]] = copy.deepcopy(draw(st.sampled_from(LEAVES)))
        return json.dumps(whole[0], ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")

    nested = st.integers(1, 2000).map(lambda depth: b'{"messages":' + b"[" * depth + b"]" * depth + b"}")
    return st.one_of(changed(), st.binary(max_size=40), nested)
