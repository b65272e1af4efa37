from __future__ import annotations

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"
    label = "dashboard"
    verbose_name = "Administration"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from dashboard.messages import tabs as messages
        from dashboard.segments import tab as segments
        from dashboard.transactions import producers

        messages.register()
        segments.register()
        producers.register()
