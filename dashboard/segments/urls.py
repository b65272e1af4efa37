from __future__ import annotations

from django.urls import path

from dashboard.segments import views

urlpatterns = [path("topics/<str:name>/segments/", views.part, name="topic-segments")]
