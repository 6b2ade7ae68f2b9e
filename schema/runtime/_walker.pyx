# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Readers in C: the objects that the generated readers make, straight from libxml2's tree.

What costs in Python are lxml's proxies, one for each element. Here the tree is walked without any, and an object's
fields are filled where msgspec.Struct keeps them: the offsets are those of its member descriptors. This covers the
classes whose content is text, or elements with distinct names; all others stay with the generated readers, which call
these and are called from here.

A ``Reader`` is a row that schema.codegen.native has written: for each attribute and element its name, the field it goes
into and how its text becomes a value. It is linked when it is first used. Nothing of a call is kept in it, so that a
call may make way for other greenlets in its midst.

The document is valid: nothing is checked here but what would crash. Lists are taken out of the sight of the garbage
collector, as the objects are (gc=False): nothing that is read is in a cycle, and it would look at each again and again.
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


cdef extern from *:
    """
    #include <Python.h>
    #include <structmember.h>
    #include <time.h>

    #define allocate(type) ((type)->tp_alloc((type), 0))
    #define slot_of(object, offset) ((PyObject **)((char *)(object) + (offset)))

    /* Whether it is the descriptor of an object field; where that lies. */
    static int is_member(PyObject *descriptor)
    {
        return Py_IS_TYPE(descriptor, &PyMemberDescr_Type)
            && ((PyMemberDescrObject *)descriptor)->d_member->type == T_OBJECT_EX;
    }
    static Py_ssize_t member_offset(PyObject *descriptor)
    {
        return ((PyMemberDescrObject *)descriptor)->d_member->offset;
    }

    static PyObject *new_list(void)
    {
        PyObject *made = PyList_New(0);
        if (made != NULL)
            PyObject_GC_UnTrack(made);
        return made;
    }

    /* Sets a field; the value's reference is taken over. */
    static void set_slot(PyObject *object, Py_ssize_t offset, PyObject *value)
    {
        PyObject **slot = slot_of(object, offset), *before = *slot;
        *slot = value;
        Py_XDECREF(before);
    }

    /* Appends to the list in a field, which is made if there is none; the value's reference is taken over. */
    static int append_to_slot(PyObject *object, Py_ssize_t offset, PyObject *value)
    {
        PyObject **slot = slot_of(object, offset);
        if (*slot == NULL && (*slot = new_list()) == NULL) {
            Py_DECREF(value);
            return -1;
        }
        int done = PyList_Append(*slot, value);
        Py_DECREF(value);
        return done;
    }

    enum { OBJECT, LIST, DICT, FACTORY, REQUIRED };

    /* Gives all fields that have no value their defaults. */
    static int fill(PyObject *object, int n, const Py_ssize_t *offsets, const char *kinds, PyObject *const *defaults)
    {
        for (int i = 0; i < n; i++) {
            PyObject **slot = slot_of(object, offsets[i]);
            if (*slot != NULL)
                continue;
            switch (kinds[i]) {
            case OBJECT:
                *slot = Py_NewRef(defaults[i]);
                break;
            case LIST:
                *slot = new_list();
                break;
            case DICT:
                *slot = PyDict_New();
                break;
            case FACTORY:
                *slot = PyObject_CallNoArgs(defaults[i]);
                break;
            default:
                PyErr_Format(PyExc_RuntimeError, "a valid %s without what is required", Py_TYPE(object)->tp_name);
            }
            if (*slot == NULL)
                return -1;
        }
        return 0;
    }

    static double now(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    }
    """
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


class _Sample(Struct):
    items: list = []


Factory = type(_Sample.__struct_defaults__[0])

import_datetime()
cetree.import_lxml__etree()

BUILT_FOR = tree.LIBXML_VERSION  # the headers' libxml2: 21406 is 2.14.6

# How a text becomes a value.
cdef enum:
    AS_IT_IS, REPLACE, COLLAPSE, INTEGER, SMALL, DECIMAL, BOOLEAN, DATE, CALL
cdef dict _WAYS = {
    replace: REPLACE, collapse: COLLAPSE, read_int: INTEGER, int: SMALL, read_decimal: DECIMAL, read_date: DATE,
}  # fmt: skip

# How an element becomes a value.
cdef enum:
    SIMPLE, READER, FAMILY, FUNCTION

cdef const char *XSI = "http://www.w3.org/2001/XMLSchema-instance"
cdef Py_ssize_t _LONG = LONG

cdef struct Item:  # an attribute, the text, or an element
    const char *name
    const char *ns  # NULL: none
    Py_ssize_t offset
    int way
    PyObject *call
    PyObject *default
    int kind
    bint many
    PyObject *reader
    PyObject *function
    bint nillable


cdef inline bint same(const char *name, const xmlNs *ns, const Item *item) noexcept:
    if name[0] != item.name[0] or strcmp(name, item.name):
        return False
    if ns == NULL or item.ns == NULL:
        return ns == NULL and item.ns == NULL
    return strcmp(<const char *>ns.href, item.ns) == 0


cdef bint says(const xmlNode *node, const char *name) noexcept:
    """Whether the element has this attribute of XMLSchema-instance."""
    cdef xmlAttr *attribute = node.properties
    while attribute != NULL:
        if attribute.ns != NULL and strcmp(<const char *>attribute.name, name) == 0 \
                and strcmp(<const char *>attribute.ns.href, XSI) == 0:
            return True
        attribute = attribute.next
    return False


# --- texts ----------------------------------------------------------------------------------------------------------

cdef enum:
    KNOWN = 1024  # attributes' values that are kept
    SHORT = 24
cdef PyObject *_known[KNOWN]


cdef PyObject *decode(const char *text, Py_ssize_t n) except NULL:
    cdef object made = PyUnicode_DecodeUTF8(text, n, NULL)
    Py_INCREF(<PyObject *>made)
    return <PyObject *>made


cdef PyObject *decode_again(const char *text, Py_ssize_t n) except NULL:
    """The same for attributes, whose values are few: currencies, units, names of lists."""
    cdef uint32_t mixed = 2166136261
    cdef Py_ssize_t i
    cdef PyObject *found
    if n > SHORT:
        return decode(text, n)
    for i in range(n):
        mixed = (mixed ^ <unsigned char>text[i]) * 16777619
    mixed = (mixed ^ (mixed >> 15)) % KNOWN
    found = _known[mixed]
    if found != NULL and PyUnicode_GET_LENGTH(found) == n and memcmp(PyUnicode_DATA(found), text, n) == 0:
        Py_INCREF(found)
        return found
    found = decode(text, n)
    if PyUnicode_IS_COMPACT_ASCII(found):
        Py_INCREF(found)
        Py_XDECREF(_known[mixed])
        _known[mixed] = found
    return found


cdef bint collapsed(const char *text, Py_ssize_t n, bint once) noexcept:
    """Whether white space is as "collapse" (``once``) or "replace" leaves it."""
    cdef Py_ssize_t i
    cdef char before = c" "
    for i in range(n):
        if text[i] == c"\t" or text[i] == c"\n" or text[i] == c"\r":
            return False
        if once and text[i] == c" " and before == c" ":
            return False
        before = text[i]
    return not once or n == 0 or before != c" "


cdef object integer(const char *text, Py_ssize_t n, bint *done):
    """An integer of at most 15 digits."""
    cdef long long value = 0
    cdef Py_ssize_t i = 0
    done[0] = False
    if n and (text[0] == c"-" or text[0] == c"+"):
        i = 1
    if not 0 < n - i <= 15:
        return None
    for i in range(i, n):
        if not c"0" <= text[i] <= c"9":
            return None
        value = value * 10 + (text[i] - c"0")
    done[0] = True
    return -value if text[0] == c"-" else value


cdef object day(const char *text, Py_ssize_t n):
    """A date without a zone, in four, two and two digits; None: another form."""
    cdef int numbers[3]
    cdef int at = 0
    cdef Py_ssize_t i
    if n != 10:
        return None
    numbers[0] = numbers[1] = numbers[2] = 0
    for i in range(10):
        if i == 4 or i == 7:
            if text[i] != c"-":
                return None
            at += 1
        elif c"0" <= text[i] <= c"9":
            numbers[at] = numbers[at] * 10 + (text[i] - c"0")
        else:
            return None
    if not numbers[0] or not 1 <= numbers[1] <= 12 or not 1 <= numbers[2] <= 28:
        return None
    return date_new(numbers[0], numbers[1], numbers[2])


cdef PyObject *value_of(const Item *item, const char *text, Py_ssize_t n, bint attribute) except NULL:
    """A new reference to the value of a text."""
    cdef object made
    cdef bint done = False
    cdef int way = item.way
    if way == AS_IT_IS or (way <= COLLAPSE and collapsed(text, n, way == COLLAPSE)):
        return decode_again(text, n) if attribute else decode(text, n)
    if way == INTEGER or way == SMALL:
        made = integer(text, n, &done)
        if done:
            Py_INCREF(<PyObject *>made)
            return <PyObject *>made
    elif way == DECIMAL:
        made = PyUnicode_DecodeUTF8(text, n, NULL)
        made = Decimal(made) if strstr(text, ".000000") == NULL else read_decimal(made)
        Py_INCREF(<PyObject *>made)
        return <PyObject *>made
    elif way == DATE:
        made = day(text, n)
        if made is not None:
            Py_INCREF(<PyObject *>made)
            return <PyObject *>made
    made = PyUnicode_DecodeUTF8(text, n, NULL)
    made = BOOLEANS[made] if way == BOOLEAN else (<object>item.call)(made)
    Py_INCREF(<PyObject *>made)
    return <PyObject *>made


cdef inline bint is_text(const xmlNode *node) noexcept:
    return node.type == tree.XML_TEXT_NODE or node.type == tree.XML_CDATA_SECTION_NODE


cdef PyObject *value_in(const Item *item, const xmlNode *first, bint attribute) except NULL:
    """The value of the text that the children of an element or attribute, of which this is the first, begin with."""
    cdef const xmlNode *node = first
    cdef bytes joined
    if first == NULL or not is_text(first) or (first.content[0] == 0 and first.next == NULL):
        if item.default != NULL:
            joined = <bytes>item.default
            return value_of(item, joined, len(joined), attribute)
        return value_of(item, "", 0, attribute)
    if first.next == NULL or not is_text(first.next):
        return value_of(item, <const char *>first.content, strlen(<const char *>first.content), attribute)
    joined = b""
    while node != NULL and is_text(node):
        if node.content != NULL:
            joined += <bytes><const char *>node.content
        node = node.next
    if not joined and item.default != NULL:
        joined = <bytes>item.default
    return value_of(item, joined, len(joined), attribute)


# --- costs ----------------------------------------------------------------------------------------------------------

cdef void add_costs(const xmlNode *child, double above, double *total, double *longest) noexcept nogil:
    cdef double number = 0
    cdef int faults
    cdef const xmlAttr *attribute
    while child != NULL:
        number += 1
        if child.type == tree.XML_ELEMENT_NODE:
            faults = 1
            attribute = child.properties
            while attribute != NULL:
                faults += 1
                attribute = attribute.next
            total[0] += (above + number) * faults
            if above + number > longest[0]:
                longest[0] = above + number
            if child.children != NULL:
                add_costs(child.children, above + number, total, longest)
        child = child.next


def path_costs(_Element root not None):
    """Of a path to each element and attribute in libxml2's manner, in siblings that are counted: all together, and the
    longest.
    """
    cdef double total = 0, longest = 0
    cdef const xmlNode *node = root._c_node
    with nogil:
        add_costs(node.children, 0, &total, &longest)
    return total, longest


cdef void forget(xmlNode *child) noexcept nogil:
    while child != NULL:
        child.prev = NULL
        if child.type == tree.XML_ELEMENT_NODE:
            forget(child.children)
        child = child.next


cdef void remember(xmlNode *child) noexcept nogil:
    cdef xmlNode *before = NULL
    while child != NULL:
        child.prev = before
        before = child
        if child.type == tree.XML_ELEMENT_NODE:
            remember(child.children)
        child = child.next


def validate_apart(_Element root not None, validate):
    """``validate(root)``, while no element below knows the siblings before it, so that none are counted."""
    cdef xmlNode *node = root._c_node
    forget(node.children)
    try:
        return validate(root)
    finally:
        remember(node.children)


# --- readers --------------------------------------------------------------------------------------------------------

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


cdef class _Table:
    """Items, and what they point to."""

    cdef Item *items
    cdef int n
    cdef list keep

    def __cinit__(self, Py_ssize_t n):
        self.keep = []
        self.n = n
        self.items = <Item *>PyMem_Calloc(n + 1, sizeof(Item))
        if self.items == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.items)

    cdef PyObject *kept(self, object value):
        self.keep.append(value)
        return <PyObject *>value

    cdef Item *put(self, int i, str xml, Py_ssize_t offset) except NULL:
        cdef Item *item = &self.items[i]
        cdef bytes name = xml.rpartition("}")[2].encode()
        cdef bytes ns = xml[1:].rpartition("}")[0].encode()
        self.kept(name)
        self.kept(ns)
        item.name = name
        item.ns = <const char *>ns if ns else NULL
        item.offset = offset
        return item

    cdef int convert(self, Item *item, object call, object default) except -1:
        item.way = AS_IT_IS
        if call is not None:
            item.way = BOOLEAN if call is BOOLEANS else _WAYS.get(call, CALL)
            item.call = self.kept(call)
        if default is not None:
            item.default = self.kept(default.encode())
        return 0


cdef class Reader:
    """Reads elements of one class. ``row`` as schema.codegen.native writes it, ``scope`` the globals of its unit,
    ``python`` the generated reader.
    """

    cdef object cls, python, row, scope
    cdef bint paced, linked, nillable
    cdef PyTypeObject *type
    cdef int fields
    cdef Py_ssize_t *offsets
    cdef char *kinds
    cdef PyObject **defaults
    cdef _Table attributes, text, elements
    cdef Py_ssize_t others  # the offset of the field for all other attributes; 0: none
    cdef list keep

    def __cinit__(self, tuple row not None, dict scope not None, python, bint paced):
        self.row = row
        self.scope = scope
        self.python = python
        self.paced = paced
        self.cls = row[0]

    def __dealloc__(self):
        PyMem_Free(self.offsets)
        PyMem_Free(self.kinds)
        PyMem_Free(self.defaults)

    def __repr__(self):
        return f"<Reader of {self.cls.__name__}>"

    def __call__(self, _Element element not None):
        cdef _Walk walk = _Walk.__new__(_Walk)
        walk.document = element._doc
        walk.paced = self.paced
        if self.paced:
            walk.due = due_at()
        return self.read(walk, element._c_node)

    cdef object link(self):
        """Works the row out. Other threads may be at the same: the first one's is kept."""
        cls, nillable, attributes, others, text, elements = self.row
        names, given = cls.__struct_fields__, cls.__struct_defaults__
        cdef int n = len(names), i
        cdef Py_ssize_t *offsets = <Py_ssize_t *>PyMem_Calloc(n + 1, sizeof(Py_ssize_t))
        cdef char *kinds = <char *>PyMem_Calloc(n + 1, 1)
        cdef PyObject **defaults = <PyObject **>PyMem_Calloc(n + 1, sizeof(PyObject *))
        keep = []
        places = {}
        if offsets == NULL or kinds == NULL or defaults == NULL:
            raise MemoryError
        for i in range(n):
            descriptor = cls.__dict__[names[i]]
            offsets[i] = member_offset(descriptor)
            places[names[i]] = offsets[i]
            number = i - (n - len(given))
            default = given[number] if number >= 0 else NODEFAULT
            if default is NODEFAULT:
                kinds[i] = REQUIRED
            elif type(default) is Factory:
                factory = default.factory
                kinds[i] = LIST if factory is list else DICT if factory is dict else FACTORY
                keep.append(factory)
                defaults[i] = <PyObject *>factory
            else:
                kinds[i] = OBJECT
                keep.append(default)
                defaults[i] = <PyObject *>default
        a = self.attribute_table(attributes, places)
        t = self.text_table(text, places)
        e = self.element_table(elements, places)
        if self.linked:
            PyMem_Free(offsets)
            PyMem_Free(kinds)
            PyMem_Free(defaults)
            return
        self.type = <PyTypeObject *>cls
        self.fields, self.offsets, self.kinds, self.defaults, self.keep = n, offsets, kinds, defaults, keep
        self.attributes, self.text, self.elements = a, t, e
        self.nillable = nillable
        self.others = places[others] if others else 0
        self.linked = True

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
        fill(o, self.fields, self.offsets, self.kinds, self.defaults)
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
