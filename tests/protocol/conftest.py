"""No deadlines for single examples: the first of each version compiles, and machines differ."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("protocol", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("protocol")
