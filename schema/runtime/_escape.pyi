"""What writers do with most texts and numbers, in C; see _escape.pyx."""

def esc(text: str, /) -> str:
    """Text in content."""

def esc_attribute(text: str, /) -> str:
    """Text in an attribute between double quotes."""

def write_decimal(value: object, /) -> str:
    """A decimal without an exponent."""

def write_int(value: object, /) -> str:
    """An integer."""
