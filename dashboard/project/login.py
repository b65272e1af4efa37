"""Log in and out: one page for everybody, in the admin's dress.

The admin's own login admits staff only; people who may just look have accounts too. Failed attempts are
counted per name and address and slow down who guesses.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import logout
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST
from unfold.forms import AuthenticationForm

ATTEMPTS_MAX = 8
"""Failures of one name from one address before it has to wait."""
ATTEMPTS_WINDOW_SECONDS = 300


class LoginForm(AuthenticationForm):
    def confirm_login_allowed(self, user: Any) -> None:
        """Any active account; being staff matters only behind ``/admin/``."""
        if not user.is_active:
            raise self.get_invalid_login_error()

    def clean(self) -> dict[str, Any]:
        key = self._attempts_key()
        if cache.get(key, 0) >= ATTEMPTS_MAX:
            self.add_error(None, "Too many failed attempts. Try again in five minutes.")
            return self.cleaned_data
        try:
            cleaned = super().clean()
        except Exception:
            cache.add(key, 0, ATTEMPTS_WINDOW_SECONDS)
            cache.incr(key)
            raise
        cache.delete(key)
        return cleaned

    def _attempts_key(self) -> str:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request is not None else ""
        name = self.cleaned_data.get("username", "")
        return f"login:{address}:{name.encode().hex()[:128]}"


class LoginPage(LoginView):
    template_name = "admin/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return {
            **context,
            **admin.site.each_context(self.request),
            "title": "Log in",
            "app_path": self.request.get_full_path(),
        }


def admin_login(request: HttpRequest) -> HttpResponse:
    """Stands in front of the admin's own form, which would know nothing of the attempts counted here."""
    if request.user.is_authenticated:
        raise PermissionDenied("Administration is for staff accounts.")
    return redirect_to_login(request.GET.get("next") or "/admin/")


@require_POST
def logout_view(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("login")
