"""Rules in the XML form of schemarules (namespace ``http://evpoco.tekenlight.org/message_rules``).

::

    <r:app_info xmlns:r="http://evpoco.tekenlight.org/message_rules">
      <rule_set package="shop.rules" rule_set_name="order">
        <rule type="independent" ref_element="total">
          <assertion condition="obj.total is not None">obj.total == sum(l.price * l.qty for l in obj.lines)</assertion>
          <error_def><error_message>%s is not what the lines make</error_message><input>obj.total</input></error_def>
        </rule>
        <rule type="dependent" ref_element="lines">
          <validation package="shop.stock" method="in_stock" argument_type="array" argument="obj.lines"/>
        </rule>
      </rule_set>
    </r:app_info>

Expressions see ``obj`` (the object of the rule set), ``main_obj`` (that of the document), ``addnl_obj`` and ``context``
(what the caller gave), ``argument_obj`` and ``i`` (the argument, and its number from 0, in ``ae_condition``,
``addnl_argument``). A validation calls ``method(context, argument, additional)``: a function of ``packages[package]``,
or another rule set of the same file; what it returns means what it means for rules in Python. ``error_code`` is looked
up in ``messages``, and becomes the Problem's code.

Unlike in schemarules, expressions are checked when they are loaded, and ``input`` counts beside ``error_message``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from lxml import etree

from schema.errors import Problem, SchemaError, ValidationError
from schema.rules.expression import Expression, compile_expression, plain_path
from schema.rules.rule import Check, Rule, RuleSet, Scope
from schema.runtime.judge import Judge, compile_texts, parse

__all__ = ["NAMESPACE", "load_rules"]

NAMESPACE = "http://evpoco.tekenlight.org/message_rules"
_NAMES = frozenset({"obj", "main_obj", "addnl_obj", "context"})
_INNER_NAMES = _NAMES | {"argument_obj", "i"}
_XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"
  targetNamespace="http://evpoco.tekenlight.org/message_rules" xmlns:r="http://evpoco.tekenlight.org/message_rules">
  <xs:element name="app_info"><xs:complexType><xs:sequence>
    <xs:element name="rule_set" type="r:set" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="mappings" minOccurs="0"><xs:complexType/></xs:element>
  </xs:sequence></xs:complexType></xs:element>
  <xs:complexType name="set"><xs:sequence><xs:element name="rule" type="r:rule" maxOccurs="unbounded"/></xs:sequence>
    <xs:attribute name="package" type="xs:token" use="required"/>
    <xs:attribute name="rule_set_name" type="xs:token" use="required"/></xs:complexType>
  <xs:complexType name="rule"><xs:choice>
      <xs:sequence>
        <xs:element name="assertion"><xs:complexType><xs:simpleContent><xs:extension base="xs:token">
          <xs:attribute name="condition" type="xs:token"/></xs:extension></xs:simpleContent></xs:complexType>
        </xs:element>
        <xs:element name="error_def"><xs:complexType><xs:sequence>
          <xs:choice><xs:element name="error_code" type="xs:token"/><xs:element name="error_message" type="xs:token"/>
          </xs:choice><xs:element name="input" type="xs:token" minOccurs="0" maxOccurs="unbounded"/>
        </xs:sequence></xs:complexType></xs:element>
      </xs:sequence>
      <xs:element name="validation"><xs:complexType>
        <xs:attribute name="package" type="xs:token" use="required"/>
        <xs:attribute name="method" type="xs:token" use="required"/>
        <xs:attribute name="argument_type"><xs:simpleType><xs:restriction base="xs:token">
          <xs:enumeration value="scalar"/><xs:enumeration value="array"/></xs:restriction></xs:simpleType>
        </xs:attribute>
        <xs:attribute name="argument" type="xs:token" use="required"/>
        <xs:attribute name="addnl_argument" type="xs:token"/><xs:attribute name="condition" type="xs:token"/>
        <xs:attribute name="ae_condition" type="xs:token"/>
      </xs:complexType></xs:element>
    </xs:choice>
    <xs:attribute name="type" use="required"><xs:simpleType><xs:restriction base="xs:token">
      <xs:enumeration value="independent"/><xs:enumeration value="dependent"/></xs:restriction></xs:simpleType>
    </xs:attribute>
    <xs:attribute name="ref_element" type="xs:token"/></xs:complexType>
</xs:schema>"""


def _compiled() -> etree.XMLSchema:
    return compile_texts({"rules.xsd": _XSD}, "rules.xsd")


def _values(scope: Scope) -> dict[str, Any]:
    return {
        "obj": scope.obj,
        "main_obj": scope.root,
        "addnl_obj": scope.additional,
        "context": scope.context,
        "argument_obj": scope.value,
        "i": scope.index,
    }


class _Loader:
    def __init__(self, source: str, packages: Mapping[str, Any], messages: Mapping[str, str]) -> None:
        self.source = source
        self.packages = packages
        self.messages = messages
        self.sets: dict[tuple[str, str], RuleSet] = {}

    def fail(self, element: etree._Element, message: str) -> NoReturn:
        raise SchemaError([Problem("schema-invalid", message, line=element.sourceline, source=self.source)])

    def expression(self, element: etree._Element, text: str, names: frozenset[str] = _NAMES) -> Check:
        try:
            made: Expression = compile_expression(text, names)
        except ValueError as error:
            self.fail(element, str(error))
        return lambda scope: made(_values(scope))

    def optional(self, element: etree._Element, name: str, names: frozenset[str] = _NAMES) -> Check | None:
        text = element.get(name)
        return None if text is None else self.expression(element, text.strip(), names)

    def load(self, root: etree._Element) -> dict[str, RuleSet]:
        declared = list(root.iterchildren("rule_set"))
        for element in declared:
            key = (str(element.get("package")).strip(), str(element.get("rule_set_name")).strip())
            if key in self.sets:
                self.fail(element, f"rule set {key[1]!r} of {key[0]!r} is declared twice")
            self.sets[key] = RuleSet(key[1])
        for element, made in zip(declared, self.sets.values(), strict=True):
            made.rules += [self.rule(rule, made) for rule in element.iterchildren("rule")]
        names = [name for _, name in self.sets]
        return {name if names.count(name) == 1 else f"{package}.{name}": s for (package, name), s in self.sets.items()}

    def rule(self, element: etree._Element, owner: RuleSet) -> Rule:
        at = (element.get("ref_element") or "").strip()
        dependent = str(element.get("type")).strip() == "dependent"
        name = f"{owner.name}: line {element.sourceline}"
        validation = element.find("validation")
        if validation is not None:
            return self.validation(validation, name, at, dependent)
        assertion, definition = element.find("assertion"), element.find("error_def")
        assert assertion is not None
        assert definition is not None
        test = self.expression(assertion, assertion.text or "")
        code, message = self.message(definition)
        when = self.optional(assertion, "condition")
        return Rule(name, lambda s: bool(test(s)) or message(s), at=at, when=when, dependent=dependent, code=code)

    def message(self, definition: etree._Element) -> tuple[str, Check]:
        first, *inputs = definition
        text = " ".join((first.text or "").split())
        code = "rule"
        if first.tag == "error_code":
            code = text
            if code not in self.messages:
                self.fail(first, f"error_code {code!r} is none of the messages given to load_rules(messages=...)")
            text = self.messages[code]
        wanted = len(re.findall("%s", text.replace("%%", "")))
        if wanted != len(inputs):
            self.fail(definition, f"the message {text!r} has {wanted} %s, but there are {len(inputs)} inputs")
        parts = [self.expression(one, one.text or "") for one in inputs]
        return code, lambda scope: text % tuple(part(scope) for part in parts)

    def validation(self, element: etree._Element, name: str, at: str, dependent: bool) -> Rule:
        argument = str(element.get("argument")).strip()
        path = plain_path(argument)
        rule = Rule(
            name=name,
            check=lambda _: None,
            of=self.expression(element, argument),
            path=at or path or "",
            each=(element.get("argument_type") or "").strip() == "array",
            when=self.optional(element, "condition"),
            which=self.optional(element, "ae_condition", _INNER_NAMES),
            dependent=dependent,
        )
        package, method = str(element.get("package")).strip(), str(element.get("method")).strip()
        additional = self.optional(element, "addnl_argument", _INNER_NAMES)
        nested = self.sets.get((package, method))
        if nested is not None:
            return replace(rule, nested=nested, additional=additional)
        return replace(rule, check=self.call(element, package, method, additional))

    def call(self, element: etree._Element, package: str, method: str, additional: Check | None) -> Check:
        if package not in self.packages:
            self.fail(element, f"package {package!r} is none of those given to load_rules(packages=...)")
        function: Callable[..., Any] | None = getattr(self.packages[package], method, None)
        if function is None or not callable(function):
            self.fail(element, f"package {package!r} has no function {method!r}")
        if additional is None:
            return lambda scope: function(scope.context, scope.value, scope.additional)
        return lambda scope: function(scope.context, scope.value, additional(scope))


def load_rules(
    source: str | os.PathLike[str] | bytes,
    *,
    packages: Mapping[str, Any] | None = None,
    messages: Mapping[str, str] | None = None,
) -> dict[str, RuleSet]:
    """The rule sets of a file, or of its text as bytes, by ``rule_set_name`` (``package.rule_set_name`` where two
    share one).

    ``packages`` leads package names to modules or other objects with the functions that validations call; nothing is
    imported. ``messages`` leads error codes to texts with ``%s`` for inputs. Raises SchemaError, with file and line,
    for whatever cannot work.
    """
    data, name = (source, "<bytes>") if isinstance(source, bytes) else (Path(source).read_bytes(), os.fspath(source))
    try:
        root = parse(data)
        Judge(_compiled(), _compiled).check(root, 100)
    except ValidationError as error:
        raise SchemaError([replace(problem, source=name) for problem in error.errors], more=error.more) from None
    return _Loader(name, packages or {}, messages or {}).load(root)
