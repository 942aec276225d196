"""Claude on Vertex: the address names the model and whether the answer is a stream, the body names the version.

A call is checked as the real service would check it, and becomes one of Anthropic's own endpoint.
"""

import re

import msgspec

VERSION = "vertex-2023-10-16"
_PATH = re.compile(
    r"/v1/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)"
)


def message_of(path: str, body: bytes) -> tuple[bytes, str] | None:
    """Returns the call as a body with the model, and the field that is wrong, empty if there is none; None for another
    path.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        version = msgspec.json.decode(fields.pop("anthropic_version", msgspec.Raw(b"null")))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body, ""  # is refused where it is parsed
    is_stream = bytes(fields.get("stream", b"false")) == b"true"
    wrong = "model: Extra inputs are not permitted" if "model" in fields else ""
    if version != VERSION:
        wrong = "anthropic_version: Field required"
    if is_stream != (match[2] == "streamRawPredict"):
        wrong = "stream: does not fit the method"
    fields["model"] = msgspec.Raw(msgspec.json.encode(match[1]))
    return msgspec.json.encode(fields), wrong
