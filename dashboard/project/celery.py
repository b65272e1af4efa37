"""The Celery application: ``celery -A dashboard.project.celery:app worker``.

Configuration is ``CELERY_*`` in the settings. Tasks live in ``<app>/tasks.py``.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.project.settings")

app = Celery("ottla")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Without it the app is current only in the thread that made it, and views run in other ones.
app.set_default()
