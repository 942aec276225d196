"""Single values of a script's reply."""

from typing import cast

from shared_state.connection.call import Reply
from shared_state.errors import ScriptFailed


def as_text(value: object) -> str:
    """Decodes text from an operator leniently: a name cut in the middle of a character must not hide the state."""
    return cast(bytes, value).decode(errors="replace")


def as_number(value: object) -> int:
    """Returns the number. Raises ScriptFailed if the stored number was overwritten with something else."""
    if not isinstance(value, int):
        raise ScriptFailed(f"the state is corrupted: {value!r} is not a number")
    return value


def as_fields(row: Reply) -> dict[str, str]:
    words = [as_text(word) for word in row]
    return dict(zip(words[::2], words[1::2], strict=True))
