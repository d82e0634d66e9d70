"""Names and values as MLflow accepts them; every limit is applied here and nowhere else."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

# Limits of MLflow 3 (mlflow.utils.validation).
MAX_KEY = 250
MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 8000
PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000

METRIC_PREFIXES = (
    "episode/",
    "reward/",
    "metric/",
    "loss/",
    "policy/",
    "value/",
    "estimator/",
    "perf/",
    "sim/",
    "hp/",
    "eval/",
    "system/",
)
METRIC_NAMES = frozenset({"env_steps", "time_total_s"})

_FORBIDDEN = re.compile(r"[^\w.\- /]", flags=re.ASCII)


def clean_key(name: str) -> str:
    """Return ``name`` as a key that MLflow takes for metrics, parameters and tags.

    Characters outside ``[A-Za-z0-9_.- /]`` become ``_``, parts that a path would swallow (empty,
    ``.``, ``..``) are removed or replaced, and a name over 250 characters is cut and ends in a hash
    of the whole, so that two long names stay two.
    """
    parts = [part for part in _FORBIDDEN.sub("_", name).split("/") if part]
    cleaned = "/".join("_" if part in (".", "..") else part for part in parts) or "_"
    if len(cleaned) <= MAX_KEY:
        return cleaned
    return f"{cleaned[: MAX_KEY - 9]}-{_digest(name, 8)}"


def shorten(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Cut ``text`` to ``limit`` characters and mark the cut with an ellipsis."""
    if len(text) <= limit:
        return text
    return "…" + text[1 - limit :] if keep_end else text[: limit - 1] + "…"


def shorten_to_differ(text: str, limit: int) -> str:
    """Cut ``text`` to ``limit`` characters, the last ones a hash of the whole.

    Two long texts stay two.
    """
    return text if len(text) <= limit else f"{text[: limit - 6]}…#{_digest(text, 4)}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha1(text.encode()).hexdigest()[:length]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a nested mapping under dotted names; lists are leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, name))
        else:
            flat[name] = value
    return flat


def value_text(value: Any) -> str:
    """Return a parameter value as text, written as in the YAML file (``true``, ``null``, lists)."""
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


def clean_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Return nested or dotted ``params`` as MLflow stores them: flat keys, short text values."""
    return {
        clean_key(name): shorten(value_text(value), MAX_PARAM_VALUE)
        for name, value in flatten(params).items()
    }


def clean_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return ``tags`` with keys and values inside MLflow's limits."""
    return {
        clean_key(name): shorten(value_text(value), MAX_TAG_VALUE) for name, value in tags.items()
    }


def as_number(value: Any) -> float | None:
    """Return ``value`` as a float, or None where it is no number (text and booleans are none)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return float(value)


def clean_metrics(metrics: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """Keep what belongs into MLflow as a metric.

    Args:
        metrics: Name to value, for example a whole Tune result.

    Returns:
        The finite values on the allow-list under their clean names, and the names on the list
        whose value was NaN or infinite and therefore left out.
    """
    kept: dict[str, float] = {}
    dropped: list[str] = []
    for name, raw in metrics.items():
        value = as_number(raw)
        if value is None or not (name in METRIC_NAMES or name.startswith(METRIC_PREFIXES)):
            continue
        if math.isfinite(value):
            kept[clean_key(name)] = value
        else:
            dropped.append(name)
    return kept, dropped
