"""The project's settings, in a home of its own that nobody else uses and without servers around it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

for _name in [name for name in os.environ if name.startswith("OTTLA_")]:
    del os.environ[_name]
os.environ["OTTLA_BROKERS"] = "1"
os.environ["OTTLA_HOME"] = tempfile.mkdtemp(prefix="ottla-tests-")
atexit.register(shutil.rmtree, os.environ["OTTLA_HOME"], ignore_errors=True)

from dashboard.project.settings import *  # noqa: E402, F403

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = [*ALLOWED_HOSTS, "testserver"]  # noqa: F405
WHITENOISE_AUTOREFRESH = True
