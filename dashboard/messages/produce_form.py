"""The produce form: what a person types becomes the bytes of one record. Pure but for the choice of partitions.

The difference between nothing and empty matters in Kafka, so whoever wants the unusual one chooses it: a key field left
empty is no key, a value field left empty is an empty value; a null value is a tombstone, which deletes its key from a
compacted topic.
"""

from __future__ import annotations

import binascii
import json
from typing import Any

from django import forms

VALUE_LENGTH_MAX = 1024 * 1024
KEY_LENGTH_MAX = 16 * 1024
HEADERS_LENGTH_MAX = 32 * 1024
HEADERS_MAX = 100
KEY_FORMATS = (("text", "text"), ("hex", "hexadecimal"), ("empty", "an empty key"), ("none", "no key"))
VALUE_FORMATS = (("text", "text"), ("json", "JSON, checked"), ("hex", "hexadecimal"), ("null", "null (tombstone)"))
COMPRESSIONS = (("none", "none"), ("gzip", "gzip"), ("snappy", "snappy"), ("lz4", "lz4"), ("zstd", "zstd"))
HEX_PREFIX = "hex:"
BY_KEY = ""


class ProduceForm(forms.Form):
    key_format = forms.ChoiceField(label="Key", choices=KEY_FORMATS, initial="text")
    key = forms.CharField(
        label="Key",
        required=False,
        strip=False,
        max_length=KEY_LENGTH_MAX,
        widget=forms.TextInput(
            attrs={
                "class": "ot-input ot-mono",
                "autocomplete": "off",
                "spellcheck": "false",
                "placeholder": "no key",
            }
        ),
    )
    value_format = forms.ChoiceField(label="Value", choices=VALUE_FORMATS, initial="text")
    value = forms.CharField(
        label="Value",
        required=False,
        strip=False,
        max_length=VALUE_LENGTH_MAX,
        widget=forms.Textarea(attrs={"class": "ot-input ot-mono", "rows": 8, "spellcheck": "false"}),
    )
    headers = forms.CharField(
        label="Headers",
        required=False,
        strip=False,
        max_length=HEADERS_LENGTH_MAX,
        help_text="One a line, name: value. Bytes that are no text are written hex:00ff.",
        widget=forms.Textarea(
            attrs={"class": "ot-input ot-mono", "rows": 2, "spellcheck": "false", "placeholder": "source: console"}
        ),
    )
    partition = forms.TypedChoiceField(label="Partition", required=False, coerce=int, empty_value=None)
    compression = forms.ChoiceField(label="Compression", choices=COMPRESSIONS, initial="none")

    def __init__(self, *args: Any, partitions: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["partition"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(BY_KEY, "chosen by the key"), *((str(one), str(one)) for one in partitions)]
        for name in ("key_format", "value_format", "partition", "compression"):
            self.fields[name].widget.attrs["class"] = "ot-input ot-select"
        for name in self.fields:
            if name in self.errors:
                self.fields[name].widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"id_{name}_error"}

    def clean_key(self) -> bytes | None:
        kind, text = self.cleaned_data.get("key_format"), self.cleaned_data["key"]
        if kind in ("none", "empty"):
            if text:
                raise forms.ValidationError(f"There is a key, but “{dict(KEY_FORMATS)[kind]}” is chosen.")
            return None if kind == "none" else b""
        if not text:
            return None
        return from_hex(text) if kind == "hex" else _encoded(text)

    def clean_value(self) -> bytes | None:
        kind, text = self.cleaned_data.get("value_format"), _unix_lines(self.cleaned_data["value"])
        if kind == "null":
            if text:
                raise forms.ValidationError("There is a value, but a null value (tombstone) is chosen.")
            return None
        if kind == "hex":
            return from_hex(text)
        if kind == "json":
            check_json(text)
        return _encoded(text)

    def clean_headers(self) -> list[tuple[str, bytes | None]]:
        return parse_headers(self.cleaned_data["headers"])

    @property
    def sizes(self) -> dict[str, int | None]:
        """What the audit trail keeps: how large the parts were, never what they said."""
        key, value, headers = (self.cleaned_data[name] for name in ("key", "value", "headers"))
        return {
            "key bytes": None if key is None else len(key),
            "value bytes": None if value is None else len(value),
            "headers": len(headers),
        }


def from_hex(text: str) -> bytes:
    """``00 ff`` or ``00ff`` or ``0x00ff``."""
    digits = "".join(text.split()).removeprefix("0x")
    try:
        return binascii.unhexlify(digits)
    except (binascii.Error, ValueError):
        raise forms.ValidationError("Hexadecimal is two digits from 0 to f for every byte, such as 00 ff 1c.") from None


def check_json(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise forms.ValidationError(f"Not JSON: {error.msg}, line {error.lineno}, column {error.colno}.") from None
    except (ValueError, RecursionError) as error:
        raise forms.ValidationError(f"Not JSON that can be checked: {error}.") from None


def parse_headers(text: str) -> list[tuple[str, bytes | None]]:
    headers: list[tuple[str, bytes | None]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, colon, content = line.partition(":")
        if not colon or not name.strip():
            raise forms.ValidationError(f"Line {number} is not “name: value”.")
        content = content.strip()
        is_hex = content.startswith(HEX_PREFIX)
        headers.append((name.strip(), from_hex(content.removeprefix(HEX_PREFIX)) if is_hex else _encoded(content)))
    if len(headers) > HEADERS_MAX:
        raise forms.ValidationError(f"A record has at most {HEADERS_MAX} headers here.")
    return headers


def _unix_lines(text: str) -> str:
    """Browsers send line breaks as CRLF, whatever was typed."""
    return text.replace("\r\n", "\n")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise forms.ValidationError("It holds half a character that cannot be written as UTF-8.") from None
