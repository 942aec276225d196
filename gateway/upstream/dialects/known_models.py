"""What the name of a model implies: the length of its answers, and how its reasoning is set.

Settings of the provider go before all of it.
"""

import re

from gateway.configuration.provider import Reasoning

MAX_TOKENS_OF_OTHERS = 4096  # the highest that the smallest models on sale accept
_MAX_TOKENS_OF_NEWER_CLAUDES = 32_000  # of models that are not in the tables: every Claude since 4 accepts it
_CONTEXT = 200_000  # tokens, of Claude before 4.6
_BYTES_PER_TOKEN_LEAST = 2  # of most languages, so that a prompt is rather shorter than estimated

_CLAUDE = re.compile(r"claude-(?:[a-z]+-)*?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_NEWEST = (99, 0)  # of a Claude without a number in its name
_BUDGETS_SINCE, _EFFORT_SINCE, _XHIGH_SINCE = (3, 7), (4, 6), (4, 7)
# Output limits of Claude by its first version, newest first: of Opus, and of the others.
_CLAUDE_LIMITS = (
    ((4, 6), 128_000, 128_000),
    ((4, 5), 64_000, 64_000),
    ((4, 0), 32_000, 64_000),
    ((3, 7), 64_000, 64_000),
    ((3, 5), 8_192, 8_192),
    ((0, 0), 4_096, 4_096),
)
# Output limits of models behind chat completions, the first match counts.
_CHAT_LIMITS = (
    (re.compile(r"gpt-4o-2024-05-13"), 4_096),
    (re.compile(r"(?:chat)?gpt-4o|gpt-5(?:\.\d+)?-chat"), 16_384),
    (re.compile(r"gpt-4\.1"), 32_768),
    (re.compile(r"gpt-4-(?:turbo|1106|0125)|gpt-3\.5-turbo"), 4_096),
    (re.compile(r"o[134](?:-|$)"), 100_000),
    (re.compile(r"gpt-5"), 128_000),
)
_ROUTERS = (".openrouter.ai",)  # hosts that accept an effort for every model
_THINKING_HOSTS = (".deepseek.com", ".moonshot.ai", ".moonshot.cn", ".bigmodel.cn", ".z.ai")
_HAS_EFFORT = re.compile(
    r"o1(?!-mini|-preview)(?:-|$)|o[34](?:-|$)|gpt-5(?!.*-(?:chat|pro))|gpt-oss|gemini-(?:2\.5|[3-9])"
)
_GPT_5 = re.compile(r"gpt-(\d+)(?:\.(\d+))?")
# OpenAI's chat completions refuse tools next to an effort, then also next to the default effort.
_NO_EFFORT_WITH_TOOLS_SINCE, _ONLY_NONE_WITH_TOOLS_SINCE = (5, 2), (5, 6)


def messages_limit(model: str) -> int | None:
    """Returns the most output tokens of a model behind messages, None where the name does not show them."""
    version = _claude_version(model)
    if version is None or version == _NEWEST or ("haiku" in model and version >= _EFFORT_SINCE):
        return None
    return next(opus if "opus" in model else others for since, opus, others in _CLAUDE_LIMITS if version >= since)


def messages_default(model: str, size: int) -> int:
    """Returns the `max_tokens` of a request of ``size`` bytes that has none: messages require it. Earlier models refuse
    a limit for which their context has no room after the prompt.
    """
    version = _claude_version(model)
    if version is None:
        return MAX_TOKENS_OF_OTHERS
    most = messages_limit(model) or _MAX_TOKENS_OF_NEWER_CLAUDES
    if version >= _EFFORT_SINCE:
        return most
    return min(most, max(_CONTEXT - size // _BYTES_PER_TOKEN_LEAST, MAX_TOKENS_OF_OTHERS))


def chat_limit(model: str) -> int | None:
    """Returns the most output tokens of a model behind chat completions, None where the name does not show them."""
    name = _base_name(model)
    return next((limit for pattern, limit in _CHAT_LIMITS if pattern.match(name)), None)


def messages_reasoning(model: str) -> Reasoning:
    version = _claude_version(model)
    if version is None:
        return "thinking"
    if version < _BUDGETS_SINCE:
        return "none"
    return "thinking" if version < _EFFORT_SINCE else "effort"


def has_xhigh(model: str) -> bool:
    """Returns whether the model has the effort `xhigh`."""
    return (_claude_version(model) or (0, 0)) >= _XHIGH_SINCE


def is_router(host: str) -> bool:
    """Returns whether a host serves the models of others, and adapts requests to them."""
    return f".{host}".endswith(_ROUTERS)


def chat_reasoning(model: str, host: str) -> Reasoning:
    """Returns how a server at ``host`` lets the reasoning of a model be set. Many refuse unknown fields."""
    if is_router(host):
        return "effort"
    if f".{host}".endswith(_THINKING_HOSTS):
        return "thinking"
    return "effort" if _HAS_EFFORT.match(_base_name(model)) else "none"


def effort_with_tools(model: str, effort: str | None) -> str | None:
    """Returns the effort that a model accepts next to tools."""
    match = _GPT_5.match(_base_name(model))
    version = (int(match[1]), int(match[2] or 0)) if match else (0, 0)
    if version >= _ONLY_NONE_WITH_TOOLS_SINCE:
        return "none"
    return effort if version < _NO_EFFORT_WITH_TOOLS_SINCE else None


def _base_name(model: str) -> str:
    return model.rpartition("/")[2].lower()


def _claude_version(model: str) -> tuple[int, int] | None:
    if "claude" not in model:
        return None
    match = _CLAUDE.search(model)
    return (int(match[1]), int(match[2] or 0)) if match else _NEWEST
