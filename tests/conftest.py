"""Hypothesis for a busy machine: neither a deadline for an example nor one for making it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("relokit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("relokit")
