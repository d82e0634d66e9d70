"""Running exported policies, our own and foreign ones: ONNX and TorchScript behind one seam."""

from __future__ import annotations

import io
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from stridelab.experiment.messages import one_line
from stridelab_envs.errors import UserError, unknown_name

Format = Literal["onnx", "torchscript"]
Array = NDArray[np.float32]

METADATA_FILE = "metadata.json"
"""Extra file of a TorchScript archive that holds our metadata."""
MARK = "stridelab_policy"
"""Metadata key by which our own files are known; its value is the version of their layout."""

_ZIP = b"PK"  # TorchScript archives are zip files


class ExportedPolicy(ABC):
    """A policy in a file: observations ``(n, size)`` in, actions ``(n, num_actions)`` out."""

    format: Format
    input_size: int | None
    """Width of the observation, where the file says it."""
    metadata: dict[str, Any] | None
    """What `stridelab export` wrote into the file; None in foreign files."""

    @abstractmethod
    def __call__(self, observation: Array) -> Array:
        """Return the actions for float32 ``observation (n, size)``.

        Raises:
            UserError: The policy refuses an observation of this shape.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget the past: put recurrent state to its beginning."""


class OnnxPolicy(ExportedPolicy):
    """An ONNX graph on one thread of ONNX Runtime's CPU provider.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.
        state: Inputs that carry recurrent state, each with the output that holds its next value;
            they begin at zero.
    """

    format = "onnx"

    def __init__(self, data: bytes, name: str, state: Mapping[str, str] | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        # The runtime's exceptions have no base class of their own.
        except Exception as error:
            raise UserError(
                f"{name}: is no ONNX policy that can be read: {_short(error)}"
            ) from None
        self._name = name
        self._state_names = dict(state or {})
        inputs = {item.name: item.shape for item in self._session.get_inputs()}
        outputs = [item.name for item in self._session.get_outputs()]
        for source, target in self._state_names.items():
            if source not in inputs:
                raise UserError(f"{name}: {unknown_name('input', source, inputs)}")
            if target not in outputs:
                raise UserError(f"{name}: {unknown_name('output', target, outputs)}")
        free = [item for item in inputs if item not in self._state_names]
        if len(free) != 1:
            raise UserError(
                f"{name}: must have one input for the observation, has {len(free)}"
                f" ({', '.join(free)}); name those that carry state under recurrent.state"
            )
        self._input = free[0]
        # The first output that is no state is the action.
        actions = [item for item in outputs if item not in self._state_names.values()]
        if not actions:
            raise UserError(f"{name}: has no output for the action")
        self._outputs = [actions[0], *self._state_names.values()]
        self._state_shapes = {
            item: [size if isinstance(size, int) else 1 for size in inputs[item]]
            for item in self._state_names
        }
        width = inputs[self._input][-1] if inputs[self._input] else None
        self.input_size = width if isinstance(width, int) else None
        self.metadata = _parsed(self._session.get_modelmeta().custom_metadata_map)
        self.reset()

    def reset(self) -> None:
        """Put the recurrent state to zero."""
        self._state = {
            name: np.zeros(shape, np.float32) for name, shape in self._state_shapes.items()
        }

    def __call__(self, observation: Array) -> Array:
        """Return the actions for ``observation (n, size)``."""
        try:
            action, *state = self._session.run(
                self._outputs, {self._input: observation, **self._state}
            )
        except Exception as error:  # as above
            raise _refusal(self._name, observation, error) from None
        self._state = dict(zip(self._state_names, state, strict=True))
        return np.asarray(action, dtype=np.float32)


class TorchScriptPolicy(ExportedPolicy):
    """A TorchScript module on the CPU; it may keep hidden state inside.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.
        reset_method: Method that puts the hidden state to its beginning. Without one
            :meth:`reset` reads the file again.
    """

    format = "torchscript"

    def __init__(self, data: bytes, name: str, reset_method: str | None = None) -> None:
        self._data = data
        self._name = name
        self._reset_method = reset_method
        self.input_size = None
        self._module, self.metadata = self._load()
        if reset_method is not None and not hasattr(self._module, reset_method):
            raise UserError(f'{name}: has no method "{reset_method}" to reset its state')

    def _load(self) -> tuple[torch.jit.ScriptModule, dict[str, Any] | None]:
        extra = {METADATA_FILE: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                module = torch.jit.load(
                    io.BytesIO(self._data), map_location="cpu", _extra_files=extra
                )
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{self._name}: is no TorchScript policy that can be read: {_short(error)}"
            ) from None
        return module.eval(), _parsed_json(extra[METADATA_FILE])

    def reset(self) -> None:
        """Put the hidden state to its beginning."""
        if self._reset_method is None:
            self._module, _ = self._load()
        else:
            getattr(self._module, self._reset_method)()

    @torch.no_grad()
    def __call__(self, observation: Array) -> Array:
        """Return the actions for ``observation (n, size)``."""
        try:
            action = self._module(torch.from_numpy(observation))
        except RuntimeError as error:
            raise _refusal(self._name, observation, error) from None
        if not isinstance(action, torch.Tensor):
            raise UserError(f"{self._name}: must return one tensor, the action")
        return action.numpy().astype(np.float32, copy=False)


def load_exported(
    path: Path, *, reset_method: str | None = None, state: Mapping[str, str] | None = None
) -> ExportedPolicy:
    """Read an exported policy; the file's content tells its format.

    Args:
        path: The file.
        reset_method: See :class:`TorchScriptPolicy`.
        state: See :class:`OnnxPolicy`.

    Raises:
        UserError: It cannot be read or does not have what the arguments name.
    """
    name = one_line(str(path))
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise UserError(
            f"{name}: is a folder; export a policy first: stridelab export {name} --format onnx"
        ) from None
    except FileNotFoundError:
        raise UserError(f"{name}: there is no such file") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from None
    if data.startswith(_ZIP):
        if state:
            raise UserError(f"{name}: recurrent.state is for ONNX; a TorchScript policy keeps it")
        return TorchScriptPolicy(data, name, reset_method)
    if reset_method is not None:
        raise UserError(
            f"{name}: recurrent.reset is for TorchScript; name recurrent.state for ONNX"
        )
    return OnnxPolicy(data, name, state)


def _refusal(name: str, observation: Array, error: Exception) -> UserError:
    shape = list(observation.shape)
    return UserError(f"{name}: the policy does not take an observation {shape}: {_short(error)}")


def _parsed(properties: Mapping[str, str]) -> dict[str, Any] | None:
    """Return our metadata from ONNX properties, whose values are JSON."""
    if MARK not in properties:
        return None
    try:
        return {key: json.loads(value) for key, value in properties.items()}
    except ValueError:
        return None


def _parsed_json(text: str | bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) and MARK in value else None


def _short(error: Exception) -> str:
    """Return the line of a long message that says what happened: torch puts it last."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = one_line(" ".join(lines[-1].split()))
    return text if len(text) <= 200 else f"{text[:197]}..."
