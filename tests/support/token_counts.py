"""Token counts in the form of a provider's usage."""

from shared_state.records import TokenCounts


def as_counted(tokens: TokenCounts) -> tuple[int, int, int]:
    """Returns the tokens in and out as the provider counted them, and the cached ones that it counted apart."""
    return tokens.prompt - tokens.outside, tokens.output, tokens.outside
