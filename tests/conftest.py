"""Every test gets a strict asyncio loop, in which a blocking call of the library fails the test."""

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
    """Add `--scan-secrets`."""
    parser.addoption("--scan-secrets", action="store_true", help="search all output of the tests for keys and tokens")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and the scan, and make sure that programs started by tests can be interrupted."""
    # A background job is started with SIGINT ignored, one of nohup with SIGHUP, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "slow: not part of `make test`; `make test-all` runs it")
    config.addinivalue_line("markers", "shows_secrets: shows a secret on purpose, or plays a program that does")
    if config.getoption("--scan-secrets"):
        config.pluginmanager.register(SecretScan())


def pytest_collection_finish() -> None:
    """Exclude all objects made so far from garbage collection: many tests collect garbage, and run faster this way."""
    gc.collect()
    gc.freeze()


# The duration of an example depends on the machine.
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
    """Return the path for a recording."""
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
