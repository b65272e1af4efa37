"""Static files under names that carry their content, also where one of our scripts imports another.

Otherwise a browser could pair a new main script with modules it cached before an upgrade. Django does this for
every script or for none, and scripts of some packages import what they do not ship: so only for ours.
"""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage

_, IMPORTS = CompressedManifestStaticFilesStorage._js_module_import_aggregation_patterns


class StaticStorage(CompressedManifestStaticFilesStorage):
    patterns = (*CompressedManifestStaticFilesStorage.patterns, ("ottla/js/*.js", IMPORTS))
