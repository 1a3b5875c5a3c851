"""What every test shares: both event loops and the Hypothesis profiles."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# A shared machine may be slow for a moment, so time never fails an example;
# print_blob makes every failure repeatable on another machine.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=100,
    print_blob=True,
    derandomize=False,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", settings.get_profile("default"), max_examples=2_000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Whoever runs tests in the background may have them ignore Ctrl-C, and the processes
# that they start inherit that, which have to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each asynchronous test on both event loops."""
    backend: str = request.param
    return backend
