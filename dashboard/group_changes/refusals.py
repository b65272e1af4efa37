"""Why a group cannot be changed now, in words. The same sentence disables the button and refuses the request."""

from __future__ import annotations

from django.http import HttpRequest

from broker.client.reset_facts import Activity
from dashboard.pages.format import state_words

PERMISSION = "dashboard.change_consumer_group"
NOT_ALLOWED = "Your account may look at groups but not change them. An administrator can give it that permission."


def refusal(request: HttpRequest, activity: Activity) -> str:
    """Empty when it can be changed."""
    return members_refusal(activity) if request.user.has_perm(PERMISSION) else NOT_ALLOWED


def members_refusal(activity: Activity) -> str:
    """Both group protocols agree: a group's offsets belong to its members while it has any."""
    if activity.is_idle:
        return ""
    if activity.members:
        who = f"The group has {activity.members} {'member' if activity.members == 1 else 'members'}"
    else:
        who = f"The group is not idle ({state_words(activity.state)})"
    return (
        f"{who}: stop its consumers first. Their next commit would undo the change, so the broker refuses it, "
        "and a consumer takes a new position only when it starts."
    )
