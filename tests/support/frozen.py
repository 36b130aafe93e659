"""What tests of models share."""

from types import ModuleType
from typing import Any

import attrs
import pytest


def check_frozen(module: ModuleType, *models: Any) -> None:
    """Check that no field of a module's models can be changed and none added, given one model of each class."""
    classes = {each for each in vars(module).values() if isinstance(each, type) and attrs.has(each)}
    assert {type(model) for model in models} == {each for each in classes if each.__module__ == module.__name__}
    for model in models:
        for field in attrs.fields(type(model)):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(model, field.name, None)
        with pytest.raises(AttributeError):
            model.new = 1
        assert not hasattr(model, "__dict__")


def check_documented(module: ModuleType) -> None:
    """Check that the docstring of each model of a module, which `help()` shows, has a line for each field."""
    for each in vars(module).values():
        if isinstance(each, type) and attrs.has(each):
            fields = {field.name for field in attrs.fields(each)}
            assert fields <= {line.strip().partition(":")[0] for line in (each.__doc__ or "").splitlines()}, each
