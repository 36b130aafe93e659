"""What every test gets: a strict asyncio loop, and no blocking call inside it."""

import gc
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

from tests.support.calls import Marks
from tests.support.scanning import SecretScan


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the whole run be looked through."""
    parser.addoption("--scan-secrets", action="store_true", help="look for keys and tokens in all that tests show")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker, look for secrets if that was asked for, and let the programs that tests start be interrupted."""
    # A job in the background is started with SIGINT ignored, which what it starts would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "shows_secrets: what it shows is what was asked for, or not the library's doing")
    config.addinivalue_line("markers", "slow: left out of `make test`")
    if config.getoption("--scan-secrets"):
        config.pluginmanager.register(SecretScan())


def pytest_collection_finish() -> None:
    """Set apart what is there before the first test: the many tests that collect garbage need not look at it again."""
    gc.collect()
    gc.freeze()


# How long an example takes says more of the machine than of us.
settings.register_profile("suite", deadline=None, max_examples=30)
settings.load_profile("suite")
settings.register_profile("thorough", max_examples=4000)  # pytest --hypothesis-profile thorough --timeout 0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run async tests on asyncio's own loop; a module that also wants uvloop overrides this."""
    return "asyncio", {"debug": False}


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """Fail a test whose library code blocks the event loop."""
    with blockbuster_ctx("akapulu_async") as blockbuster:
        yield blockbuster


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the recording is to be."""
    return tmp_path / "call.mp4"


@pytest.fixture
def marks() -> Iterator[Marks]:
    """Listen to the library's log."""
    logger, handler = logging.getLogger("akapulu_async"), Marks()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
