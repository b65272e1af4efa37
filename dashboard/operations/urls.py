from __future__ import annotations

from django.urls import path

from dashboard.operations import elections, moves, work

urlpatterns = [
    path("replication/reassign/", moves.reassign, name="reassign"),
    path("replication/moves/", moves.moves, name="moves"),
    path("replication/moves/cancel/", moves.cancel, name="cancel-moves"),
    path("replication/throttle/lift/", moves.lift, name="lift-throttle"),
    path("replication/elect-leaders/", elections.elect, name="elect-leaders"),
    path("brokers/rebalance/", work.rebalance, name="rebalance"),
    path("brokers/rolling-restart/", work.rolling_restart, name="rolling-restart"),
    path("brokers/<int:number>/decommission/", work.decommission, name="decommission"),
]
