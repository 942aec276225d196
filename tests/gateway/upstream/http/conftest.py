"""Both event loops: replicas run uvloop, `pllm check --probe` asyncio's own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

Runner = Callable[[Any], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner
