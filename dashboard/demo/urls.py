from __future__ import annotations

from django.urls import path

from dashboard.demo import views

urlpatterns = [
    path("demo/start/", views.start, name="demo-start"),
    path("demo/stop/", views.stop, name="demo-stop"),
]
