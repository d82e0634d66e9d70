"""What the sections of an experiment file are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stridelab_envs.errors import ConfigError, unknown_name


def _whole(value: Any) -> Any:
    """Let ``5e7`` stand for an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
"""An integer; also written as ``5e7``."""
Width = Annotated[Integer, Field(ge=1, le=65_536)]
"""Number of units of a hidden layer."""


class Section(BaseModel):
    """A frozen part of the file that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.model_config["extra"] == "forbid":
            for key in data:
                if key not in cls.model_fields:
                    raise ConfigError(key, unknown_name("key", key, cls.model_fields))
        return data
