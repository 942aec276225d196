"""Slips in serving TLS and HTTP/2."""

from tests.mutants.slip import Slip, Table

_TLS, _HTTP2 = "tests/gateway/tls/test_", "tests/gateway/http/http2/test_"
TLS, CERTIFICATES, LISTENER = (f"{_TLS}{name}.py" for name in ("identity", "certificates", "listener"))
HTTP2, RULES, FRAMES, ROOM = (f"{_HTTP2}{name}.py" for name in ("connection", "rules", "frames", "room"))

OVER_TLS: Table = {
    "gateway/tls/certificates.py": (
        Slip(
            "context.verify_mode = ssl.CERT_REQUIRED",
            "context.verify_mode = ssl.CERT_OPTIONAL",
            TLS,
            "client_ca lets clients in that present nothing",
        ),
        Slip(
            "is_current = all if path == _CERTIFICATE else any",
            "is_current = any",
            CERTIFICATES,
            "a chain with an expired intermediate is taken for valid",
        ),
    ),
    "gateway/tls/identity.py": (
        Slip("if problems:", "if False:", TLS, "an expired renewal replaces a valid certificate"),
        Slip("self._identity = identity", "pass", TLS, "a renewed certificate is never served"),
    ),
    "gateway/tls/listener.py": (
        Slip("if first != _HANDSHAKE_RECORD:", "if False:", TLS, "a client of http:// is not told why it is refused"),
        Slip("self._make_room()", "pass", LISTENER, "silent clients take every descriptor"),
    ),
    "gateway/http/http2/frames.py": (
        Slip("if length > FRAME_MOST:", "if False:", FRAMES, "16 MiB of a frame are buffered before it is refused"),
        Slip("if self._credit < 0:", "if False:", FRAMES, "floods of pings and resets are served for ever"),
    ),
    "gateway/http/http2/responses.py": (
        Slip("if stalled_s >= self._stall_s:", "if False:", HTTP2, "a closed window holds a lease for ever"),
        Slip(
            "window = max(self._h2.local_flow_control_window(stream.id), 0)",
            "window = SENT_MOST",
            RULES,
            "answers exceed the windows of their clients",
        ),
    ),
    "gateway/http/http2/room.py": (
        Slip(
            "if is_next and self._waiting() < WAITING_MOST:",
            "if True:",
            ROOM,
            "answers of many streams that no client takes fill the memory",
        ),
    ),
    "gateway/http/http2/stream.py": (
        Slip("while len(self.out) > most:", "while False:", HTTP2, "answers that no client takes fill the memory"),
        Slip(
            "size, self.unread = self.unread, 0",
            "size, self.unread = 0, 0",
            HTTP2,
            "bodies that no application has read hold the window of their connection",
        ),
    ),
    "gateway/http/http2/connection.py": (
        Slip(
            "if may_send and stream.size - size_before < self._timeouts.body_bytes:",
            "if False:",
            HTTP2,
            "a body that never ends holds its stream",
        ),
    ),
}
