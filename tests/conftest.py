"""Says at the very end which tests were not run for want of a program; see tests/support/programs.py."""

from collections import Counter
from collections.abc import Generator

import hypothesis
import pytest

from tests.support.programs import is_required, named_in, not_run, program

# Times say nothing on a busy machine: what has to be quick is measured elsewhere.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

PLACE = program.__code__.co_filename, program.__code__.co_firstlineno


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests skipped for the same programs share one place, and so one line of the short summary."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and named_in(report.longrepr[2]):
        report.longrepr = (*PLACE, report.longrepr[2])
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Prints after everything else; no hook of the terminal's own summary comes after its last line."""
    yield
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or hasattr(session.config, "workerinput"):
        return
    skipped = terminal.stats.get("skipped", ())
    counts = Counter(name for report in skipped for name in named_in(report.longrepr[2]))
    if counts:
        is_failure = is_required()
        terminal.write_line("")
        for line in not_run(counts, is_failure):
            terminal.write_line(line)
        if is_failure and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
