"""schema: XSD to typed Python, validated XML and JSON in both directions."""
