"""Rules beyond XSD: what several fields must say together, and what only a program can know.

Declared in Python (``rule.py``) or in the XML form of schemarules (``xml_form.py``, whose expressions are a safe part
of Python: ``expression.py``). ``Schema.with_rules`` puts them behind every verdict of a schema.
"""

from schema.rules.rule import Broken, RuleSet, Scope
from schema.rules.xml_form import load_rules

__all__ = ["Broken", "RuleSet", "Scope", "load_rules"]
