"""Skills: trained policies with the command each understands, as a high-level policy sees them."""

from __future__ import annotations

from stridelab.skills.skill import Skill, load_skills

__all__ = ["Skill", "load_skills"]
