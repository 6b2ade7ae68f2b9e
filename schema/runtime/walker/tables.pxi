# What a Reader works with: the rows of schema.codegen.native as C has them, and where the fields of a class lie.
#
# Pointers in here are borrowed from the lists beside them, which live as long as the tables. Nothing changes once it is
# made: a reader that makes way for other work finds it as it was.

class _Sample(Struct):
    items: list = []


Factory = type(_Sample.__struct_defaults__[0])

# How an element becomes a value.
cdef enum:
    SIMPLE, READER, FAMILY, FUNCTION

cdef const char *XSI = "http://www.w3.org/2001/XMLSchema-instance"


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


cdef class _Layout:
    """Where the fields of a class lie, and what they are where nothing is given."""

    cdef int n
    cdef Py_ssize_t *offsets
    cdef char *kinds
    cdef PyObject **defaults
    cdef dict places
    cdef list keep

    def __cinit__(self, cls):
        names, given = cls.__struct_fields__, cls.__struct_defaults__
        cdef int n = len(names), i
        self.n = n
        self.places, self.keep = {}, []
        self.offsets = <Py_ssize_t *>PyMem_Calloc(n + 1, sizeof(Py_ssize_t))
        self.kinds = <char *>PyMem_Calloc(n + 1, 1)
        self.defaults = <PyObject **>PyMem_Calloc(n + 1, sizeof(PyObject *))
        if self.offsets == NULL or self.kinds == NULL or self.defaults == NULL:
            raise MemoryError
        for i in range(n):
            self.offsets[i] = member_offset(cls.__dict__[names[i]])
            self.places[names[i]] = self.offsets[i]
            number = i - (n - len(given))
            self.put(i, given[number] if number >= 0 else NODEFAULT)

    def __dealloc__(self):
        PyMem_Free(self.offsets)
        PyMem_Free(self.kinds)
        PyMem_Free(self.defaults)

    cdef int put(self, int i, object default) except -1:
        if default is NODEFAULT:
            self.kinds[i] = REQUIRED
            return 0
        if type(default) is Factory:
            default = default.factory
            self.kinds[i] = LIST if default is list else DICT if default is dict else FACTORY
        else:
            self.kinds[i] = OBJECT
        self.keep.append(default)
        self.defaults[i] = <PyObject *>default
        return 0
