"""Texts as XML has them: what must be escaped is."""

from __future__ import annotations

__all__ = ["esc", "esc_attribute"]


def esc(text: str) -> str:
    """Text in content. Carriage returns are kept from XML's line end rule."""
    if text.isalnum():
        return text + ""  # bytes have isalnum, too
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if "\r" in text:
        text = text.replace("\r", "&#13;")
    return text


def esc_attribute(text: str) -> str:
    """Text in an attribute between double quotes. White space is kept from XML's attribute value rule."""
    if text.isalnum():
        return text + ""
    text = esc(text)
    if '"' in text:
        text = text.replace('"', "&quot;")
    if not text.isprintable():
        text = text.replace("\t", "&#9;").replace("\n", "&#10;")
    return text
