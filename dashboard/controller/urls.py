from __future__ import annotations

from django.urls import path

from dashboard.controller import views

urlpatterns = [path("controller/", views.controller, name="controller")]
