"""Settings refuse wrong options."""

from typing import Any
from uuid import UUID

import pytest

from akapulu_async.simulator.settings import Settings

ID = "AAAAAAAA-AAAA-4AAA-8AAA-AAAAAAAAAAAA"


def test_ids_are_canonical() -> None:
    """Ids are taken as text or UUID, in either case, and kept in lower case."""
    assert Settings(scenarios=frozenset({UUID(ID)})).scenarios == frozenset({ID.lower()})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"avatars": frozenset({"x"})}, "'x' is not a UUID"),
        ({"after_end": "explode"}, "after_end must be one of not_found, gone, text, unchanged"),
        ({"recording_form": "tape"}, "recording_form must be one of"),
        ({"recording_format": "tape"}, "recording_format must be one of mp4, wav"),
        ({"recording_size": 1}, "recording_size must be a whole number from [0-9]{4} to 4294967295"),
        ({"recording_size": 43, "recording_format": "wav"}, "recording_size must be a whole number from 44 to"),
        ({"recording_size": 2**32}, "recording_size"),
        ({"recording_size": 10_000, "recording_seconds": 1}, "exclude each other"),
        ({"recording_seconds": 1}, "recording_seconds needs the recording_format wav"),
        ({"join_after": -1}, "join_after"),
        ({"call_seconds": -1}, "call_seconds"),
        ({"recording_not_ready_status": 42}, "recording_not_ready_status"),
        ({"storage_url": "files.example"}, "storage_url must be an http or https URL"),
        ({"storage_url": "http://files.example/?a=1"}, "storage_url"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": " key"}, "api_key"),
    ],
)
def test_wrong_options_are_named(options: Any, message: str) -> None:
    """Each option out of range is refused with its name."""
    with pytest.raises(ValueError, match=message):
        Settings(**options)
