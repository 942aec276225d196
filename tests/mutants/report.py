"""What a run of the table shows, as text."""

from collections.abc import Iterator, Sequence

from tests.mutants.slip import Result, Verdict

NOTICED_LEAST = 0.9


def share(results: Sequence[Result]) -> float:
    """Of the slips that were tried, those that were noticed."""
    tried = [result for result in results if result.verdict in (Verdict.NOTICED, Verdict.UNNOTICED)]
    return sum(result.verdict is Verdict.NOTICED for result in tried) / len(tried) if tried else 1.0


def is_good(results: Sequence[Result]) -> bool:
    """Enough are noticed, and the table fits the code."""
    return share(results) >= NOTICED_LEAST and all(result.verdict is not Verdict.INVALID for result in results)


def lines(results: Sequence[Result]) -> Iterator[str]:
    for file in dict.fromkeys(result.file for result in results):
        own = [result.verdict for result in results if result.file == file]
        noticed = own.count(Verdict.NOTICED)
        yield f"{noticed:4} / {noticed + own.count(Verdict.UNNOTICED):<4} {file}"
    titles = {
        Verdict.UNNOTICED: "Unnoticed:",
        Verdict.INVALID: "Invalid, the table must follow the code:",
        Verdict.EQUIVALENT: "Not tried, with the reason:",
    }
    for verdict, title in titles.items():
        some = [result for result in results if result.verdict is verdict]
        if some:
            yield f"\n{title}"
        for result in some:
            yield f"  {result.file}: {_change(result)}"
            yield f"    {result.detail or result.slip.survives or result.slip.breaks}"
    tried = [result for result in results if result.verdict in (Verdict.NOTICED, Verdict.UNNOTICED)]
    noticed = sum(result.verdict is Verdict.NOTICED for result in tried)
    yield f"\n{noticed} of {len(tried)} slips noticed ({share(results):.1%}); at least {NOTICED_LEAST:.0%} must be."


def _change(result: Result) -> str:
    old, new = (" ".join(text.split()) for text in (result.slip.old, result.slip.new))
    return f"{old}  →  {new or 'nothing'}"
