"""Gathers the documents of a schema: everything that it includes, imports or redefines, read once, nothing from a
network.

The result is a *bundle*: the documents under short names, their ``schemaLocation`` attributes rewritten to these names,
so that both judges (xmlschema and libxml2) and the compiled package see the very same set. Three habits of other
processors are not followed, since each lets a fault pass: a location that cannot be read is an error, not a warning;
a document with a DOCTYPE is refused before anybody expands an entity; a location outside of the allowed folders or with
a network scheme is an error and is never opened.

libxml2 reads only the *first* document that is imported for a namespace. When a namespace is imported from several,
they are gathered behind one that includes them all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from lxml import etree

from schema.errors import Problem, SchemaError
from schema.model.components import XS

__all__ = ["CATALOGUE", "Bundle", "Document", "gather"]

XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
_COUNTABLE = 9  # digits
MAX_DOCUMENTS = 2000
MAX_BYTES = 64 << 20  # of all documents together
# What only XML Schema 1.1 has.
_NEWER = tuple(
    f"{{{XS}}}{name}"
    for name in (
        "alternative",
        "assert",
        "assertion",
        "defaultOpenContent",
        "explicitTimezone",
        "openContent",
        "override",
    )
)
_LINKS = (f"{{{XS}}}include", f"{{{XS}}}import", f"{{{XS}}}redefine")

# What almost every schema with xml:lang imports from www.w3.org, here in our own words (the attributes and their types
# are those of https://www.w3.org/XML/1998/namespace).
_XML_XSD = f"""\
<xs:schema xmlns:xs="{XS}" targetNamespace="{XML_NAMESPACE}" xml:lang="en">
  <xs:attribute name="lang">
    <xs:simpleType><xs:union memberTypes="xs:language"><xs:simpleType><xs:restriction base="xs:string">
      <xs:enumeration value=""/>
    </xs:restriction></xs:simpleType></xs:union></xs:simpleType>
  </xs:attribute>
  <xs:attribute name="space">
    <xs:simpleType><xs:restriction base="xs:NCName">
      <xs:enumeration value="default"/><xs:enumeration value="preserve"/>
    </xs:restriction></xs:simpleType>
  </xs:attribute>
  <xs:attribute name="base" type="xs:anyURI"/>
  <xs:attribute name="id" type="xs:ID"/>
  <xs:attributeGroup name="specialAttrs">
    <xs:attribute ref="xml:base"/><xs:attribute ref="xml:lang"/><xs:attribute ref="xml:space"/><xs:attribute
    ref="xml:id"/>
  </xs:attributeGroup>
</xs:schema>
""".encode()

# Namespaces whose documents come with us, used when a schema names a place on the network for them, or none.
CATALOGUE: Mapping[str, bytes] = {XML_NAMESPACE: _XML_XSD}


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a bundle: where it came from, its text with rewritten locations, its target namespace ("":
    none).
    """

    name: str
    origin: str
    data: bytes
    namespace: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """All documents by name; ``main`` is the one to start with."""

    main: str
    documents: Mapping[str, Document]

    @property
    def name(self) -> str:
        """A short name for the schema: that of its main file."""
        return self.main.partition("-")[2].removesuffix(".xsd").strip("_.") or "schema"

    def origin(self, name: str) -> str:
        """The file behind a name of the bundle, for messages."""
        document = self.documents.get(os.path.basename(name))
        return document.origin if document else name


@dataclass(slots=True)
class _Loaded:
    name: str
    origin: str
    root: etree._Element
    namespace: str
    links: list[tuple[etree._Element, str]] = field(default_factory=list)  # the element and the origin it leads to


def _problem(code: str, message: str, origin: str, line: int | None = None) -> SchemaError:
    return SchemaError([Problem(code, message, line=line, source=origin)])


def _parse(data: bytes, origin: str) -> etree._Element:
    # The DOCTYPE is looked for in a parse that expands and loads nothing.
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise _problem("schema-invalid", f"is no well-formed XML: {error.msg}", origin, error.lineno) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise _problem("doctype-refused", "a schema with a DOCTYPE is refused: remove it", origin, 1)
    if root.tag != f"{{{XS}}}schema":
        raise _problem("schema-invalid", f"is no XML Schema: its root element is {root.tag!s}", origin, root.sourceline)
    for element in root.iter(*_NEWER):
        what = etree.QName(element).localname
        message = f"xs:{what} is of XML Schema 1.1; only 1.0 is supported"
        raise _problem("schema-unsupported", message, origin, element.sourceline)
    return root


class _Gatherer:
    def __init__(
        self, roots: Sequence[Path] | None, locations: Mapping[str, str | Path], texts: Mapping[str, bytes]
    ) -> None:
        self.allowed = [path.resolve() for path in roots] if roots is not None else None
        self.locations = locations
        self.texts = texts
        self.loaded: dict[str, _Loaded] = {}  # by origin and, for chameleons, namespace
        self.size = 0

    def read(self, origin: str, by: str, line: int | None) -> bytes:
        if origin in self.texts:
            return self.texts[origin]
        try:
            path = Path(origin).resolve()
        except (OSError, RuntimeError):  # links in a circle: RuntimeError before Python 3.13
            raise _problem(
                "schema-unreachable", f"cannot read {origin}: its links lead in a circle", by, line
            ) from None
        if self.allowed is not None and not any(path.is_relative_to(folder) for folder in self.allowed):
            folders = ", ".join(map(str, self.allowed))
            raise _problem("schema-unreachable", f"{origin} lies outside of the allowed folders ({folders})", by, line)
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)  # of a device there would be no end
        except OSError as error:
            reason = error.strerror or str(error)
            raise _problem("schema-unreachable", f"cannot read {origin}: {reason}", by, line) from None

    def resolve(self, location: str, namespace: str, base: str, line: int | None) -> str | None:
        """The origin that a location leads to; None when the namespace is one of the catalogue or needs no document."""
        mapped = self.locations.get(location) or self.locations.get(namespace)
        if mapped is not None:
            return str(mapped)
        if not location or urlsplit(location).scheme not in ("", "file"):
            if namespace in CATALOGUE:
                return f"catalogue:{namespace}"
            if not location:
                return None
            hint = "give a local copy with locations={...} (evschema: --location)"
            raise _problem(
                "schema-unreachable", f"{location} is on the network, which is never asked: {hint}", base, line
            )
        path = unquote(urldefrag(urlsplit(location).path if location.startswith("file:") else location)[0])
        if base in self.texts and not os.path.isabs(base):
            return os.path.normpath(os.path.join(os.path.dirname(base), path))
        return os.path.realpath(os.path.join(os.path.dirname(base), path))

    def load(self, origin: str, by: str, line: int | None) -> _Loaded:
        if origin in self.loaded:
            return self.loaded[origin]
        if origin.startswith("catalogue:"):
            data = CATALOGUE[origin.removeprefix("catalogue:")]
        else:
            data = self.read(origin, by, line)
        self.size += len(data)
        if len(self.loaded) >= MAX_DOCUMENTS or self.size > MAX_BYTES:
            raise _problem(
                "schema-unsafe", f"the schema has over {MAX_DOCUMENTS} documents or {MAX_BYTES} bytes", by, line
            )
        root = _parse(data, origin)
        stem = "".join(
            c if c.isalnum() or c in "-_." else "_" for c in os.path.basename(origin.rpartition("/")[2] or origin)
        )
        loaded = _Loaded(
            f"{len(self.loaded)}-{stem.removesuffix('.xsd')}.xsd", origin, root, root.get("targetNamespace", "")
        )
        self.loaded[origin] = loaded
        for link in root.iterchildren(*_LINKS):
            target_namespace = link.get("namespace", "") if link.tag == _LINKS[1] else loaded.namespace
            location = link.get("schemaLocation", "").strip()
            target = self.resolve(location, target_namespace, origin, link.sourceline)
            if target is None:
                continue
            other = self.load(target, origin, link.sourceline)
            loaded.links.append((link, other.origin))
        return loaded


def _bundle(gatherer: _Gatherer, main: _Loaded) -> Bundle:
    imports: dict[str, set[str]] = {}  # namespace to origins imported for it
    for loaded in gatherer.loaded.values():
        for link, target in loaded.links:
            if link.tag == _LINKS[1]:
                imports.setdefault(link.get("namespace", ""), set()).add(target)
    for loaded in gatherer.loaded.values():
        imports.get(loaded.namespace, set()).add(
            loaded.origin
        ) if loaded.namespace in imports and loaded is main else None
    names = {loaded.origin: loaded.name for loaded in gatherer.loaded.values()}
    gathered: dict[str, str] = {}
    documents: dict[str, Document] = {}
    for number, (uri, origins) in enumerate(sorted(imports.items())):
        if len(origins) > 1:
            name = gathered[uri] = f"ns{number}.xsd"
            root = etree.Element(f"{{{XS}}}schema", nsmap={"xs": XS})
            if uri:
                root.set("targetNamespace", uri)
            for origin in sorted(origins, key=lambda o: list(names).index(o)):
                etree.SubElement(root, _LINKS[0], schemaLocation=names[origin])
            documents[name] = Document(name, name, etree.tostring(root), uri)
    for loaded in gatherer.loaded.values():
        for particle in loaded.root.iter(f"{{{XS}}}*"):
            occurs = particle.get("maxOccurs", "").strip()
            if occurs.isdecimal() and len(occurs.lstrip("0")) > _COUNTABLE:
                particle.set("maxOccurs", "unbounded")  # libxml2 cannot count so far, and no document has so many
        for link in loaded.root.iterchildren(_LINKS[1]):
            uri = link.get("namespace", "")
            origins = imports.get(uri, set())
            if uri in gathered:
                link.set("schemaLocation", gathered[uri])
            elif origins:
                link.set("schemaLocation", names[next(iter(origins))])
            elif uri in {other.namespace for other in gatherer.loaded.values()}:
                link.set("schemaLocation", next(o.name for o in gatherer.loaded.values() if o.namespace == uri))
            elif link.get("schemaLocation") is not None:
                del link.attrib["schemaLocation"]
        for link, target in loaded.links:
            if link.tag != _LINKS[1]:
                link.set("schemaLocation", names[target])
        data = etree.tostring(loaded.root.getroottree(), encoding="UTF-8", xml_declaration=True)
        documents[loaded.name] = Document(loaded.name, loaded.origin, data, loaded.namespace)
    return Bundle(main.name, documents)


def gather(
    source: str | os.PathLike[str] | bytes,
    *,
    locations: Mapping[str, str | Path] | None = None,
    allow: Sequence[str | os.PathLike[str]] | None = None,
    texts: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Reads a schema and all that belongs to it.

    ``source`` is a path, or the text itself as ``bytes`` (locations in it are relative to the current folder).
    ``locations`` leads namespaces or locations to local files, ``texts`` holds documents by name that exist in memory
    only. ``allow`` lists the folders that may be read; without it, every local file may, as for any compiler.

    Raises SchemaError, naming the file and line.
    """
    texts = dict(texts or {})
    if isinstance(source, bytes):
        origin = "<text>"
        texts[origin] = source
    else:
        origin = os.fspath(source)
        origin = origin if origin in texts else os.path.realpath(origin)
    gatherer = _Gatherer([Path(folder) for folder in allow] if allow is not None else None, locations or {}, texts)
    main = gatherer.load(origin, origin, None)
    return _bundle(gatherer, main)
