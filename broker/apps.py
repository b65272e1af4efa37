from __future__ import annotations

from django.apps import AppConfig


class BrokerConfig(AppConfig):
    name = "broker"
    label = "broker"
    verbose_name = "Broker"
    default_auto_field = "django.db.models.BigAutoField"
