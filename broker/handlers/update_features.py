"""UpdateFeatures (57), versions 0–2: finalise another level of a feature.

Versions: v1 the kind of change and a trial run, v2 one error for the whole request. The level a feature has is granted.
Deviations: no feature is lowered (FEATURE_UPDATE_FAILED): all are finalised at their newest level on this version.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.features import SAFE_DOWNGRADE, UPGRADE, refuse_feature_update
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.UPDATE_FEATURES


def handle(request: Request, message: Any, services: Services) -> Any:
    outcomes = []
    for update in message.feature_updates:
        kind = update.upgrade_type
        if request.api_version == 0:
            kind = SAFE_DOWNGRADE if update.allow_downgrade else UPGRADE
        outcomes.append((update.feature, refuse_feature_update(update.feature, update.max_version_level, kind)))
    if request.api_version >= 2:
        error = next((error for _, error in outcomes if error is not None), None)
        if error is None:
            return m.UpdateFeaturesResponse(error_code=ErrorCode.NONE, error_message=None)
        return m.UpdateFeaturesResponse(
            error_code=error.code,
            error_message=f"The update failed for all features since the following feature had an error: {error.message}",
        )
    return m.UpdateFeaturesResponse(
        error_code=ErrorCode.NONE,
        error_message=None,
        results=[
            m.UpdateFeaturesResponse.UpdatableFeatureResult(
                feature=name,
                error_code=ErrorCode.NONE if error is None else error.code,
                error_message=None if error is None else error.message,
            )
            for name, error in outcomes
        ],
    )
