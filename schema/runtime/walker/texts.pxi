# How a text becomes a value.
#
# An Item says it for an attribute, the text of an element, or an element that holds nothing but text. What is common and
# simple is done here; all else is left to the function that the generated readers call, too.
#
# The document is valid, so a text is what its type allows, white space around it included. Nodes of a tree without
# entities, comments and processing instructions are texts, CDATA sections and elements; a text may come in any number of
# pieces, since CDATA sections are nodes of their own.

cdef enum:
    AS_IT_IS, REPLACE, COLLAPSE, INTEGER, SMALL, DECIMAL, BOOLEAN, DATE, CALL
cdef dict _WAYS = {
    replace: REPLACE, collapse: COLLAPSE, read_int: INTEGER, int: SMALL, read_decimal: DECIMAL, read_date: DATE,
}  # fmt: skip

cdef struct Item:  # an attribute, the text, or an element
    const char *name
    const char *ns  # NULL: none
    Py_ssize_t offset  # of the field it goes into
    int way
    PyObject *call  # for the ways that need one
    PyObject *default  # bytes; NULL: none
    int kind  # these and the rest: of an element alone
    bint many
    bint nillable
    PyObject *reader
    PyObject *function


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
    cdef const char *text = ""
    cdef bytes joined
    if first != NULL and is_text(first):
        if first.next != NULL and is_text(first.next):
            joined = all_text(first)
            text = joined
        elif first.content != NULL:
            text = <const char *>first.content
    if text[0] == 0 and item.default != NULL:
        text = <bytes>item.default
    return value_of(item, text, strlen(text), attribute)


cdef bytes all_text(const xmlNode *first):
    """The texts that begin with this one, joined. There may be a million of them."""
    cdef const xmlNode *node = first
    cdef list pieces = []
    while node != NULL and is_text(node):
        if node.content != NULL:
            pieces.append(<bytes><const char *>node.content)
        node = node.next
    return b"".join(pieces)
