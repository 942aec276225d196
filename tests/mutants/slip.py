"""One plausible mistake, and what a run of it shows."""

from enum import Enum
from typing import NamedTuple


class Slip(NamedTuple):
    """``old`` stands once in its file and becomes ``new``; ``tests``: pytest arguments of the tests that should notice,
    separated by blanks; ``breaks``: what goes wrong then; ``survives``: why no test can notice, empty if one should.
    """

    old: str
    new: str
    tests: str
    breaks: str
    survives: str = ""


Table = dict[str, tuple[Slip, ...]]  # by path of the source file, from the root of the tree


class Verdict(Enum):
    NOTICED = "noticed"
    UNNOTICED = "unnoticed"
    INVALID = "invalid"
    EQUIVALENT = "equivalent"


class Result(NamedTuple):
    """``detail``: why the slip is invalid, or how else it ended."""

    file: str
    slip: Slip
    verdict: Verdict
    detail: str = ""
    took_s: float = 0.0
