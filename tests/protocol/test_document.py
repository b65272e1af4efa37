from __future__ import annotations

import re

import pytest

from broker.protocol.document import DOCUMENT, describe, docstring_of_handler, document
from broker.protocol.registry import SERVED


def test_the_documentation_says_what_registry_and_handlers_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python -m broker.protocol.document"


@pytest.mark.parametrize("spec", SERVED.values(), ids=lambda spec: spec.name)
def test_a_handler_claims_the_versions_that_are_served(spec) -> None:
    description = describe(spec.key)
    assert description.summary, "a docstring begins with what the API does"
    assert description.versions is None or description.versions == (spec.min_version, spec.max_version)
    assert description.versions is not None or spec.internal, "a handler of a public API says which versions it serves"


@pytest.mark.parametrize("spec", SERVED.values(), ids=lambda spec: spec.name)
def test_a_deviation_that_a_handler_tells_of_is_in_the_documentation(spec) -> None:
    told = re.search(r"(?im)\bdeviations?\b(?!: none\.?$)", docstring_of_handler(spec.key))
    assert (told is not None) == bool(describe(spec.key).deviations), "begin a line with 'Deviations: '"
