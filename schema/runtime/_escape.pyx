# cython: language_level=3, binding=False, boundscheck=False, wraparound=False
"""The common case of what writers do with texts and numbers, in C: ASCII in which nothing needs to be escaped, and
decimals and integers as they mostly are. All else is left to the functions in Python, which say what is right.
"""

from cpython.object cimport PyObject_Repr, PyObject_Str

from decimal import Decimal

from schema.runtime import escaping
from schema.values import text as numbers


cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object value)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    const unsigned char *PyUnicode_1BYTE_DATA(object text)
    bint PyLong_CheckExact(object value)


cdef object _esc = escaping.esc
cdef object _esc_attribute = escaping.esc_attribute
cdef object _write_decimal = numbers.write_decimal
cdef object _write_int = numbers.write_int
cdef object _DECIMAL = Decimal

# What a character asks for: 1 anywhere, 2 in an attribute.
cdef unsigned char _SPECIAL[128]
for _c in "&<>\r":
    _SPECIAL[ord(_c)] = 1
for _c in "\"\t\n":
    _SPECIAL[ord(_c)] = 2


cdef bint plain(object text, unsigned char mask) noexcept:
    """Whether it is ASCII without special characters."""
    cdef const unsigned char *data
    cdef unsigned char found = 0
    cdef Py_ssize_t i
    if not PyUnicode_CheckExact(text) or not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    data = PyUnicode_1BYTE_DATA(text)
    for i in range(PyUnicode_GET_LENGTH(text)):
        found |= _SPECIAL[data[i]]
    return not found & mask


def esc(text, /):
    """Text in content."""
    return text if plain(text, 1) else _esc(text)


def esc_attribute(text, /):
    """Text in an attribute between double quotes."""
    return text if plain(text, 3) else _esc_attribute(text)


def write_decimal(value, /):
    """A decimal without an exponent."""
    if type(value) is _DECIMAL:
        text = PyObject_Str(value)
        if "E" not in text:
            return text
    return _write_decimal(value)


def write_int(value, /):
    """An integer."""
    return PyObject_Repr(value) if PyLong_CheckExact(value) else _write_int(value)
