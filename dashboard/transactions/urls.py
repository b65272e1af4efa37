"""Transactional ids may be any string, so they go into the query."""

from __future__ import annotations

from django.urls import path

from dashboard.transactions import producers, views

urlpatterns = [
    path("transactions/", views.transactions, name="transactions"),
    path("transactions/one", views.transaction, name="transaction"),
    path("topics/<str:name>/producers/", producers.part, name="topic-producers"),
    path("transactions/abort", views.abort, name="transaction-abort"),
]
