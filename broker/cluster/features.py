"""What is answered to a request to finalise another level of a feature (UpdateFeatures), in Kafka's words. Pure.

Every feature is finalised at its newest level on this version, and what lower levels would take away is part of what clients
have seen already: so a request for the level there is succeeds and changes nothing, and any other is refused.
"""

from __future__ import annotations

from broker.errors import ErrorCode, KafkaError
from broker.protocol.registry import FEATURES

UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3


def refuse_feature_update(name: str, level: int, upgrade_type: int) -> KafkaError | None:
    """Why the feature stays as it is, or None if that is what was asked for."""
    prefix = f"Invalid update version {level} for feature {name}."
    feature = next((feature for feature in FEATURES if feature.name == name), None)
    if upgrade_type not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
        return _invalid(f"{prefix} The controller does not support the given upgrade type.")
    if feature is None:
        return _invalid(f"{prefix} Local controller does not support this feature.")
    if not feature.min_level <= level <= feature.max_level:
        supported = f"{feature.min_level}-{feature.max_level}"
        return _invalid(f"{prefix} Local controller only supports versions {supported}")
    if level < feature.level:
        if upgrade_type == UPGRADE:
            return _invalid(
                f"{prefix} Can't downgrade the version of this feature without setting the upgrade type to either safe "
                "or unsafe downgrade."
            )
        return KafkaError(
            ErrorCode.FEATURE_UPDATE_FAILED,
            f"{name} is finalised at {feature.level} on this version and is not lowered.",
        )
    return None


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_UPDATE_VERSION, message)
