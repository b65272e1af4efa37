from __future__ import annotations

from django.urls import path

from dashboard.jobs import views

urlpatterns = [
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/retention/", views.run_retention, name="run-retention"),
    path("jobs/compaction/", views.run_compaction, name="run-compaction"),
    path("jobs/<int:number>/", views.job, name="job"),
    path("jobs/<int:number>/pause/", views.pause, name="pause-job"),
    path("jobs/<int:number>/cancel/", views.cancel, name="cancel-job"),
]
