"""Topics in Django admin: created, configured and deleted here, carried out by the cluster.

A save has two steps: the form is checked (by the broker too), then a before/after table is confirmed. The row is
never written by hand: after every change the mirror is read back from the cluster.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from dashboard import audit
from dashboard.administration import config_fields, mirror
from dashboard.administration.deletion import effects_of_deletion
from dashboard.administration.topic_form import TopicForm, carry_out
from dashboard.gateway import GatewayError, gateway
from dashboard.models import Topic

CONFIRMED = "_confirmed"


class TopicAdmin(ModelAdmin):
    form = TopicForm
    list_display = ("name", "partition_count", "replication_factor", "is_internal", "live_page")
    list_filter = ("internal",)
    search_fields = ("name",)
    actions = None
    list_per_page = 50
    warn_unsaved_form = True
    list_before_template = "admin/dashboard/topic/list_before.html"

    class Media:
        js = ("ottla/js/admin-topics.js",)

    def get_fieldsets(self, request: HttpRequest, obj: Topic | None = None) -> Any:
        head = {"fields": ["name", "partition_count", "replication_factor"]}
        return [(None, head), *config_fields.fieldsets()]

    @admin.display(description="Kept by", ordering="internal")
    def is_internal(self, topic: Topic) -> str:
        return "the cluster itself" if topic.internal else "you"

    @admin.display(description="Live")
    def live_page(self, topic: Topic) -> SafeString:
        return format_html(
            '<a class="ot-live-link" href="{}">offsets and messages</a>', reverse("topic", args=[topic.name])
        )

    # What may be done ---------------------------------------------------------------------------------

    def get_readonly_fields(self, request: HttpRequest, obj: Topic | None = None) -> tuple[str, ...]:
        return () if obj is None else ("name", "replication_factor")

    def has_delete_permission(self, request: HttpRequest, obj: Topic | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj is not None and obj.internal)

    # The list -----------------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        revision = path("revision/", self.admin_site.admin_view(self.revision_view), name="dashboard_topic_revision")
        return [revision, *super().get_urls()]

    def revision_view(self, request: HttpRequest) -> HttpResponse:
        """What the open list compares: another answer means that the list must be read again."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return JsonResponse({"revision": mirror.synchronize()})
        except GatewayError as error:
            return JsonResponse({"trouble": str(error)}, status=503)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = dict(extra_context or {})
        try:
            context["revision"] = mirror.synchronize()
        except GatewayError as error:
            context["trouble"] = str(error)
        return super().changelist_view(request, context)

    # The form -----------------------------------------------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            mirror.synchronize()
            if request.method == "POST" and CONFIRMED not in request.POST:
                confirmation = self._confirmation(request, object_id)
                if confirmation is not None:
                    return confirmation
            return super().changeform_view(request, object_id, form_url, extra_context)
        except GatewayError as error:
            audit.record(request, "save topic", object_id or request.POST.get("name", ""), refused=str(error))
            messages.error(request, f"Nothing was changed. {error}")
            return HttpResponseRedirect(reverse("admin:dashboard_topic_changelist"))

    def _confirmation(self, request: HttpRequest, object_id: str | None) -> HttpResponse | None:
        """The before/after page of a valid form; ``None`` lets the form show its errors."""
        topic = self.get_object(request, object_id) if object_id is not None else None
        if object_id is not None and topic is None:
            raise Http404
        allowed = self.has_change_permission(request, topic) if topic else self.has_add_permission(request)
        if not allowed:
            raise PermissionDenied
        form = self.get_form(request, topic, change=topic is not None)(request.POST, instance=topic)
        if not form.is_valid():
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"Create {form.plan.name}" if form.plan.creates else f"Change {form.plan.name}",
            "opts": self.opts,
            "plan": form.plan,
            "differences": form.plan.differences(),
            "posted": [
                (name, value)
                for name, values in request.POST.lists()
                if name != "csrfmiddlewaretoken"
                for value in values
            ],
            "confirmed_name": CONFIRMED,
        }
        return TemplateResponse(request, "admin/dashboard/topic/confirm.html", context)

    def save_model(self, request: HttpRequest, obj: Topic, form: Any, change: bool) -> None:
        plan = form.plan
        carry_out(plan)
        before, after = plan.audit_values()
        audit.record(
            request, "create topic" if plan.creates else "configure topic", plan.name, before=before, after=after
        )
        mirror.synchronize()
        obj.refresh_from_db()

    # Deletion -----------------------------------------------------------------------------------------

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        topic = self.get_object(request, object_id)
        if topic is None:
            raise Http404
        if not self.has_delete_permission(request, topic):
            raise PermissionDenied
        typed = request.POST.get("typed_name", "")
        error = ""
        if request.method == "POST":
            if typed == topic.name:
                return self._delete(request, topic)
            error = "That is not the topic's name."
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delete {topic.name}",
            "opts": self.opts,
            "topic": topic,
            "effects": effects_of_deletion(topic.name),
            "typed": typed,
            "error": error,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/dashboard/topic/delete.html", context, status=400 if error else 200)

    def _delete(self, request: HttpRequest, topic: Topic) -> HttpResponse:
        before = {"partitions": topic.partition_count, "topic id": topic.topic_id}
        try:
            gateway().delete_topic(topic.name)
            mirror.synchronize()
        except GatewayError as error:
            audit.record(request, "delete topic", topic.name, before=before, refused=str(error))
            messages.error(request, f"{topic.name} was not deleted. {error}")
            return HttpResponseRedirect(reverse("admin:dashboard_topic_change", args=[topic.pk]))
        audit.record(request, "delete topic", topic.name, before=before)
        messages.success(request, f"{topic.name} is deleted.")
        return HttpResponseRedirect(reverse("admin:dashboard_topic_changelist"))
