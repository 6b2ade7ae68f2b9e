# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Readers in C: the objects that the generated readers make, straight from libxml2's tree.

What costs in Python are lxml's proxies, one for each element. Here the tree is walked without any, and an object's
fields are filled where msgspec.Struct keeps them: the offsets are those of its member descriptors. This covers the
classes whose content is text, or elements with distinct names; all others stay with the generated readers, which call
these and are called from here.

A ``Reader`` is a row that schema.codegen.native has written: for each attribute and element its name, the field it goes
into and how its text becomes a value. It is linked when it is first used. Nothing of a call is kept in it, so that a
call may make way for other greenlets in its midst.

The document is valid: nothing is checked here but what would crash.
"""

from cpython.datetime cimport date_new, import_datetime
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memset, strcmp, strlen, strstr
from lxml.includes cimport etreepublic as cetree
from lxml.includes cimport tree
from lxml.includes.etreepublic cimport _Document, _Element, elementFactory
from lxml.includes.tree cimport xmlAttr, xmlNode, xmlNs

from decimal import Decimal

from msgspec import NODEFAULT, Struct

from schema.runtime.offload import breathe_now, due_at
from schema.runtime.release import LONG, Many
from schema.values.text import BOOLEANS, collapse, read_decimal, read_int, replace
from schema.values.dates import read_date

cdef extern from "walker/slots.h":
    object allocate(PyTypeObject *type)
    bint is_member(object descriptor)
    Py_ssize_t member_offset(object descriptor)
    PyObject **slot_of(PyObject *object, Py_ssize_t offset)
    void set_slot(PyObject *object, Py_ssize_t offset, PyObject *value)
    int append_to_slot(PyObject *object, Py_ssize_t offset, PyObject *value) except -1
    int fill(PyObject *object, int n, const Py_ssize_t *offsets, const char *kinds, PyObject **defaults) except -1
    double now()
    enum: OBJECT, LIST, DICT, FACTORY, REQUIRED
    void Py_INCREF(PyObject *object)
    void Py_XDECREF(PyObject *object)
    bint PyUnicode_IS_COMPACT_ASCII(PyObject *text)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text)
    void *PyUnicode_DATA(PyObject *text)
    Py_ssize_t PyList_GET_SIZE(PyObject *items)

import_datetime()
cetree.import_lxml__etree()

BUILT_FOR = tree.LIBXML_VERSION  # the headers' libxml2: 21406 is 2.14.6
cdef Py_ssize_t _LONG = LONG

include "walker/texts.pxi"
include "walker/tables.pxi"


cdef class _Walk:
    """What one call needs on its way."""

    cdef _Document document
    cdef bint paced
    cdef int steps
    cdef double due

    cdef int step(self) except -1:
        """Makes way for others when it is time."""
        self.steps += 1
        if self.steps & 15 == 0 and now() >= self.due:
            self.due = breathe_now()
        return 0


cdef class Reader:
    """Reads elements of one class. ``row`` as schema.codegen.native writes it, ``scope`` the globals of its unit,
    ``python`` the generated reader.
    """

    cdef object cls, python, row, scope
    cdef bint paced, linked, nillable
    cdef PyTypeObject *type
    cdef _Layout layout
    cdef _Table attributes, text, elements
    cdef Py_ssize_t others  # the offset of the field for all other attributes; 0: none

    def __cinit__(self, tuple row not None, dict scope not None, python, bint paced):
        self.row = row
        self.scope = scope
        self.python = python
        self.paced = paced
        self.cls = row[0]
        self.type = <PyTypeObject *>self.cls

    def __repr__(self):
        return f"<Reader of {self.cls.__name__}>"

    def __call__(self, _Element element not None):
        cdef _Walk walk = _Walk.__new__(_Walk)
        walk.document = element._doc
        walk.paced = self.paced
        if self.paced:
            walk.due = due_at()
        return self.read(walk, element._c_node)

    cdef int link(self) except -1:
        """Works the row out. Other threads may be at the same: the first one's is kept."""
        _, nillable, attributes, others, text, elements = self.row
        cdef _Layout layout = _Layout(self.cls)
        cdef _Table a = self.attribute_table(attributes, layout.places)
        cdef _Table t = self.text_table(text, layout.places)
        cdef _Table e = self.element_table(elements, layout.places)
        if not self.linked:
            self.layout, self.attributes, self.text, self.elements = layout, a, t, e
            self.nillable = nillable
            self.others = layout.places[others] if others else 0
            self.linked = True
        return 0

    cdef _Table attribute_table(self, tuple rows, dict places):
        cdef _Table made = _Table(len(rows))
        for i, (xml, name, call) in enumerate(rows):
            made.convert(made.put(i, xml, places[name]), call, None)
        return made

    cdef _Table text_table(self, object row, dict places):
        cdef _Table made = _Table(0 if row is None else 1)
        if row is not None:
            name, call, default = row
            made.convert(made.put(0, "", places[name]), call, default)
        return made

    cdef _Table element_table(self, tuple rows, dict places):
        cdef _Table made = _Table(len(rows))
        cdef Item *item
        for i, (xml, name, many, how, function) in enumerate(rows):
            item = made.put(i, xml, places[name])
            item.many = many
            item.nillable = function is not None
            if function is not None:
                item.function = made.kept(function)
            if type(how) is tuple:
                item.kind = SIMPLE
                made.convert(item, how[0], how[1])
                continue
            if type(how) is not str:
                item.kind = FUNCTION
                item.function = made.kept(how)
                continue
            found = self.scope[how]
            own = self.scope.get("r" + how[1:]) if how[0] == "p" else found
            if type(own) is Reader:
                item.kind = READER if how[0] == "r" else FAMILY
                item.reader = made.kept(own)
            else:
                item.kind = FUNCTION
            if item.function == NULL:
                item.function = made.kept(found)
        return made

    cdef object read(self, _Walk walk, xmlNode *node):
        cdef object made
        cdef PyObject *o
        if not self.linked:
            self.link()
        if self.nillable and says(node, "nil"):
            return self.python(elementFactory(walk.document, node))
        made = allocate(self.type)
        o = <PyObject *>made
        if node.properties != NULL:
            self.read_attributes(o, node.properties)
        if self.text.n:
            set_slot(o, self.text.items.offset, value_in(self.text.items, node.children, False))
        elif self.elements.n:
            self.read_elements(walk, o, node.children)
        fill(o, self.layout.n, self.layout.offsets, self.layout.kinds, self.layout.defaults)
        return made

    cdef int read_attributes(self, PyObject *o, xmlAttr *attribute) except -1:
        cdef Item *items = self.attributes.items
        cdef int n = self.attributes.n, i
        while attribute != NULL:
            for i in range(n):
                if same(<const char *>attribute.name, attribute.ns, &items[i]):
                    set_slot(o, items[i].offset, value_in(&items[i], attribute.children, True))
                    break
            else:
                if self.others and (attribute.ns == NULL or strcmp(<const char *>attribute.ns.href, XSI)):
                    self.read_other(o, attribute)
            attribute = attribute.next
        return 0

    cdef int read_other(self, PyObject *o, xmlAttr *attribute) except -1:
        """An attribute that a wildcard has let in."""
        cdef Item plain
        cdef PyObject *value
        cdef PyObject **slot = slot_of(o, self.others)
        memset(&plain, 0, sizeof(Item))
        plain.way = AS_IT_IS
        name = (<bytes><const char *>attribute.name).decode()
        if attribute.ns != NULL:
            name = f"{{{(<bytes><const char *>attribute.ns.href).decode()}}}{name}"
        value = value_in(&plain, attribute.children, True)
        text = <object>value
        Py_XDECREF(value)
        if slot[0] == NULL:
            given = {name: text}
            Py_INCREF(<PyObject *>given)
            set_slot(o, self.others, <PyObject *>given)
        else:
            (<dict>slot[0])[name] = text
        return 0

    cdef int read_elements(self, _Walk walk, PyObject *o, xmlNode *child) except -1:
        cdef Item *items = self.elements.items
        cdef Item *item
        cdef int n = self.elements.n, at = 0, _
        cdef PyObject *value
        while child != NULL:
            if child.type == tree.XML_ELEMENT_NODE:
                for _ in range(n):  # mostly, the next one is the same or a little further on
                    if same(<const char *>child.name, child.ns, &items[at]):
                        break
                    at += 1
                    if at == n:
                        at = 0
                else:
                    raise KeyError((<bytes><const char *>child.name).decode())
                item = &items[at]
                value = self.element(walk, item, child)
                if item.many:
                    append_to_slot(o, item.offset, value)
                    if walk.paced:
                        walk.step()
                else:
                    set_slot(o, item.offset, value)
            child = child.next
        if walk.paced:
            self.break_up(o)
        return 0

    cdef int break_up(self, PyObject *o) except -1:
        """Long lists will be freed bit by bit."""
        cdef int i
        cdef PyObject *items
        for i in range(self.elements.n):
            if self.elements.items[i].many:
                items = slot_of(o, self.elements.items[i].offset)[0]
                if items != NULL and PyList_GET_SIZE(items) > _LONG:
                    made = Many(<object>items)
                    Py_INCREF(<PyObject *>made)
                    set_slot(o, self.elements.items[i].offset, <PyObject *>made)
        return 0

    cdef PyObject *element(self, _Walk walk, const Item *item, xmlNode *node) except NULL:
        """A new reference to the value of an element."""
        cdef object made
        if item.nillable and node.properties != NULL and says(node, "nil"):
            made = (<object>item.function)(elementFactory(walk.document, node))
        elif item.kind == SIMPLE:
            return value_in(item, node.children, False)
        elif item.kind == READER or (item.kind == FAMILY and not says(node, "type")):
            made = (<Reader>item.reader).read(walk, node)
        else:
            made = (<object>item.function)(elementFactory(walk.document, node))
        Py_INCREF(<PyObject *>made)
        return <PyObject *>made


def fits(cls):
    """Whether the objects of a class are laid out as a Reader must have it."""
    config = cls.__struct_config__
    if config.gc or config.dict or config.weakref or hasattr(cls, "__post_init__"):
        return False
    for name in cls.__struct_fields__:
        if not is_member(cls.__dict__.get(name)):
            return False
    return True
