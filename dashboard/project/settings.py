"""Django settings. Everything an operator may change comes from ``OTTLA_*`` environment variables.

``manage.py up`` exports the same variables to every process it starts, so all of them agree; a role started
alone (container, systemd unit) gets them from its unit. State is below ``OTTLA_HOME``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from broker.supervisor.options import client_endpoints, internal_endpoints
from broker.supervisor.queues import COMMON_QUEUE
from dashboard.pages.navigation import UNFOLD  # noqa: F401  (the setting of that name)
from dashboard.project.database import database
from dashboard.project.home import comma_list, flag, home_directory, secret_key

BASE_DIR = Path(__file__).resolve().parent.parent.parent

# Ottla ---------------------------------------------------------------------------------------------
try:
    # `up` may be given another home on its command line; it makes that one.
    OTTLA_HOME = home_directory(os.environ, create=sys.argv[1:2] != ["up"])
    SECRET_KEY = secret_key(os.environ, OTTLA_HOME)
    DEBUG = flag(os.environ, "OTTLA_DEBUG")
    HTTPS = flag(os.environ, "OTTLA_HTTPS")
    OTTLA_BOOTSTRAP = client_endpoints(os.environ)
    """``host:port`` of every broker's client listener, as this process reaches it."""
    OTTLA_BOOTSTRAP_INTERNAL = internal_endpoints(os.environ)
    """``host:port`` of every broker's internal listener; speaking there needs the cluster secret."""
    DATABASE = database(os.environ.get("DATABASE_URL", ""), OTTLA_HOME)
except (ValueError, OSError) as error:
    raise ImproperlyConfigured(str(error)) from error

OTTLA_CLUSTER_SECRET_FILE = OTTLA_HOME / "cluster_secret"
OTTLA_CONTROL_SOCKET = OTTLA_HOME / "control.sock"
OTTLA_LOG_DIRECTORY = OTTLA_HOME / "logs"
OTTLA_CLUSTER_NAME = os.environ.get("OTTLA_CLUSTER_NAME") or "ottla"

REDIS_URL = (
    os.environ.get("OTTLA_REDIS_URL") or os.environ.get("REDIS_URL") or f"unix://{OTTLA_HOME / 'valkey.sock'}?db=0"
)
"""As redis-py reads it: ``redis://``, ``rediss://`` or ``unix:///path?db=0``."""

# Django --------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "broker",
    "dashboard",
]
if sys.argv[1:2] == ["runserver"]:
    # Daphne's app replaces runserver, but loads Twisted into every process that loads the apps: 15 MB each.
    INSTALLED_APPS.insert(0, "daphne")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "dashboard.project.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "dashboard.project.urls"
ASGI_APPLICATION = "dashboard.project.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES: dict[str, dict[str, Any]] = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = os.environ.get("OTTLA_TIME_ZONE") or "UTC"

# Static files --------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = OTTLA_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "dashboard.project.static_storage.StaticStorage"},
}
MEDIA_ROOT = OTTLA_HOME / "media"

# Security ------------------------------------------------------------------------------------------
ALLOWED_HOSTS = comma_list(os.environ.get("OTTLA_ALLOWED_HOSTS")) or ["127.0.0.1", "localhost", "[::1]"]
CSRF_TRUSTED_ORIGINS = comma_list(os.environ.get("OTTLA_TRUSTED_ORIGINS"))

SESSION_COOKIE_NAME = "ottla_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_COOKIE_NAME = "ottla_csrf"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
"""Scripts take the token from the page, never from the cookie."""

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_SSL_REDIRECT = False
"""TLS ends at a proxy in front of daphne; ``OTTLA_HTTPS=true`` says there is one."""
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
"""A produce form carries at most a megabyte of value; nothing else is larger."""

LOGIN_URL = reverse_lazy("login")
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = reverse_lazy("login")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SILENCED_SYSTEM_CHECKS = (
    ["security.W008"] if HTTPS else ["security.W004", "security.W008", "security.W012", "security.W016"]
)
"""Without a TLS proxy the Secure flag would lock everybody out of http://127.0.0.1; OTTLA_HTTPS sets it."""

# Live data and jobs --------------------------------------------------------------------------------
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "ottla"},
    },
}

RETENTION_INTERVAL_SECONDS = 30
COMPACTION_INTERVAL_SECONDS = 15
"""How often a compaction can begin: the pause between two is log.cleaner.backoff.ms, 15 s unless changed."""
TASK_SECONDS_MAX = 120


def celery_url(url: str) -> str:
    """Kombu's spelling of a redis-py URL: a unix socket is ``redis+socket://`` with ``virtual_host``."""
    if url.startswith("unix://"):
        path, _, query = url.removeprefix("unix://").partition("?")
        database = dict(part.partition("=")[::2] for part in query.split("&") if part).get("db", "0")
        return f"redis+socket://{path}?virtual_host={database}"
    return url


CELERY_BROKER_URL = celery_url(REDIS_URL)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Longer than the longest task, or a second worker would be handed a task that still runs.
    "visibility_timeout": 3600,
    "global_keyprefix": "ottla:celery:",
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_IGNORE_RESULT = True
"""What a run did is its JobRun row, not a result in Redis."""
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = COMMON_QUEUE
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = TASK_SECONDS_MAX
CELERY_TASK_SOFT_TIME_LIMIT = TASK_SECONDS_MAX - 10
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 500
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(OTTLA_HOME / "beat-schedule")
CELERY_BEAT_MAX_LOOP_INTERVAL = 15
CELERY_BEAT_SYNC_EVERY = 1
"""The schedule is written after every task sent: a restarted beat repeats none, and the file's age is a sign of life."""
CELERY_BEAT_SCHEDULE = {
    "retention": {
        "task": "broker.retention",
        "schedule": float(RETENTION_INTERVAL_SECONDS),
        # A run nobody picked up in time is replaced by the next one instead of queueing behind it.
        "options": {"expires": RETENTION_INTERVAL_SECONDS - 5},
    },
    "compaction": {
        "task": "broker.compaction",
        "schedule": float(COMPACTION_INTERVAL_SECONDS),
        "options": {"expires": COMPACTION_INTERVAL_SECONDS - 5},
    },
}

# Logging -------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("OTTLA_LOG_LEVEL", "INFO").upper()},
    "loggers": {
        "django.server": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "kafka": {"level": "WARNING"},
    },
}
