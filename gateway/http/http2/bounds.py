"""The limits of one HTTP/2 connection, and an `h2` connection that announces them."""

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError

from gateway.http.byte_bounds import HEAD_MOST
from gateway.http.http2.frames import PREFACE

STREAMS_MOST = 128  # at once, including those whose calls are still being aborted after a reset
STREAM_WINDOW, WINDOW = 262_144, 1_048_576  # unread bytes of bodies: of one stream, of all
WAITING_MOST = 1_048_576  # bytes of all responses that wait for the client; one more chunk may exceed it
_WINDOW_AT_START = 65_535  # RFC 9113, section 6.9.2


def announced() -> H2Connection:
    """Returns a connection whose pending bytes must be sent first. `Frames` checks the client's preface."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    initial = {SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_MOST, SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW}
    connection.local_settings = Settings(client=False, initial_values=initial)
    connection.initiate_connection()
    # In a frame of its own, so that `h2` enforces the limit once the client has acknowledged it. Until then streams
    # beyond it are refused one by one.
    connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_MOST})
    connection.increment_flow_control_window(WINDOW - _WINDOW_AT_START)
    connection.receive_data(PREFACE)
    return connection


def code_of(error: ProtocolError) -> ErrorCodes:
    """Returns the code for the GOAWAY: `h2` reports a generic one for header blocks that cannot be decompressed."""
    if error.error_code == ErrorCodes.PROTOCOL_ERROR and isinstance(error.__cause__, HPACKError):
        return ErrorCodes.COMPRESSION_ERROR
    return error.error_code
