from __future__ import annotations

from broker.config.document import DOCUMENT, document


def test_the_documentation_says_what_the_schema_says() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python -m broker.config.document"
