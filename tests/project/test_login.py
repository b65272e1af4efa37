from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client

from dashboard.project.login import ATTEMPTS_MAX

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def viewer():
    cache.clear()
    return get_user_model()._default_manager.create_user("viewer", password="a long enough password")


def log_in(client: Client, password: str = "a long enough password", **extra):
    return client.post("/login/?next=/topics/", {"username": "viewer", "password": password}, **extra)


def test_somebody_who_is_not_staff_can_log_in_and_goes_where_they_wanted(client: Client) -> None:
    response = log_in(client)
    assert (response.status_code, response.headers["Location"]) == (302, "/topics/")
    cookie = response.cookies["ottla_session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_the_page_renders_without_an_inline_script(client: Client) -> None:
    page = client.get("/login/").content.decode()
    assert 'name="password"' in page
    assert "<script>" not in page


def test_a_wrong_password_says_so(client: Client) -> None:
    response = log_in(client, "wrong")
    assert response.status_code == 200
    assert b"correct username and password" in response.content


def test_guessing_ends_after_some_attempts_even_with_the_right_password(client: Client) -> None:
    for _ in range(ATTEMPTS_MAX):
        log_in(client, "wrong")
    assert b"Too many failed attempts" in log_in(client).content
    assert log_in(client, REMOTE_ADDR="198.51.100.7").status_code == 302, "another address is not punished"


def test_an_inactive_account_stays_outside(client: Client, viewer) -> None:
    viewer.is_active = False
    viewer.save()
    assert log_in(client).status_code == 200


def test_another_site_is_no_place_to_go_after_login(client: Client) -> None:
    response = client.post(
        "/login/?next=https://evil.example/", {"username": "viewer", "password": "a long enough password"}
    )
    assert response.headers["Location"] == "/"


def test_logging_out_takes_a_post(client: Client) -> None:
    log_in(client)
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").headers["Location"] == "/login/"
    assert "_auth_user_id" not in client.session


def test_forms_of_other_sites_are_refused() -> None:
    strict = Client(enforce_csrf_checks=True)
    assert log_in(strict).status_code == 403


def test_the_admin_has_no_login_of_its_own(client: Client) -> None:
    response = client.get("/admin/", follow=True)
    assert response.redirect_chain[-1][0] == "/login/?next=/admin/"


def test_somebody_who_is_not_staff_is_told_so_by_the_admin(client: Client) -> None:
    log_in(client)
    assert client.get("/admin/", follow=True).status_code == 403
