"""schema: XSD to typed Python, validated XML and JSON in both directions."""

from schema._schema import Schema, load
from schema.errors import LimitExceeded, Problem, SchemaError, ValidationError

__all__ = ["LimitExceeded", "Problem", "Schema", "SchemaError", "ValidationError", "load"]
