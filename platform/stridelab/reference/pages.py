"""All reference pages by their place in the documentation."""

from __future__ import annotations

from stridelab.reference.settings import algorithm_pages, experiment_page, module_pages
from stridelab.reference.tasks import task_page
from stridelab_envs.registry import task_ids

TASKS, MODULES, ALGORITHMS = "tasks", "modules", "algorithms"
"""Folders."""


def reference_pages() -> dict[str, str]:
    """Return path to Markdown of every page that is written from code."""
    pages = {f"{TASKS}/{task_id}.md": task_page(task_id) for task_id in task_ids()}
    pages |= {f"{MODULES}/{kind}.md": text for kind, text in module_pages().items()}
    pages |= {f"{ALGORITHMS}/{kind}.md": text for kind, text in algorithm_pages().items()}
    return {**pages, "experiment.md": experiment_page()}
