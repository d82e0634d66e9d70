"""The environment checker: is a task fit to be learned?"""

from stridelab_envs.check.checker import check_task
from stridelab_envs.check.report import Finding, Report

__all__ = ["Finding", "Report", "check_task"]
