"""The second attempt on the same deployment, for a request that has no other candidate left.

A client without the gateway recovers from a transient fault because its SDK retries; through the gateway it must
recover as well. The pause is that of the official SDKs of OpenAI and Anthropic before their first retry
(`_calculate_retry_timeout`).
"""

import random

import msgspec

from gateway.routing.catalog import Candidate
from gateway.upstream.exchange import Exchange

PAUSE_S, JITTER_RATIO = 0.5, 0.25
RETRY_AFTER_MOST_S = 2.0  # a longer wait is the client's decision
COOLED_S = 0.05  # a deployment cools from its settle, a moment after its answer


class SecondAttempt(msgspec.Struct, frozen=True):
    """A deployment with a transient fault, to be called again after a pause."""

    candidate: Candidate
    pause_s: float


def pause_s(exchange: Exchange) -> float | None:
    """Returns how long to wait before the same deployment is called again; None where a second call would be in vain,
    or the wait too long.
    """
    retry_after_s = exchange.retry_after_ms / 1000
    if not exchange.judgement.is_passing or retry_after_s > RETRY_AFTER_MOST_S:
        return None
    if retry_after_s:
        return retry_after_s + COOLED_S * (1 + random.random())
    return PAUSE_S * (1 - JITTER_RATIO * random.random())
