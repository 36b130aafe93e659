"""What tests of models share."""

from typing import Any

import attrs
import pytest


def check_frozen(model: Any) -> None:
    """See that no field of a model can be changed, and none added."""
    for field in attrs.fields(type(model)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(model, field.name, None)
    with pytest.raises(AttributeError):
        model.new = 1
    assert not hasattr(model, "__dict__")
