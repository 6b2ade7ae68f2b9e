# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Whole trees of libxml2, without the interpreter lock.

What takes milliseconds for a document of 2 MB is done here while other threads may run: counting what a path costs,
hiding siblings from the validator, and the end. lxml frees a tree with the lock held. Besides, it matters which thread
does: glibc gives each an arena of its own, tidies it up in one go of several milliseconds after so many small pieces
have been freed, and holds its lock meanwhile; a thread that has freed pieces of another one's arena gets these from its
next ``malloc``, and will wait at that lock. So a tree should end in the kind of thread that made it.

``xmlFreeNodeList`` is that of the libxml2 in lxml, found at run time. Names of nodes lie in the dictionary of the
thread that has parsed, which may be adding names to it for another document while nodes are freed here. That only looks
whether a name lies there, as lxml itself does under the same conditions.
"""

from cpython.object cimport PyObject
from lxml.includes cimport tree
from lxml.includes.etreepublic cimport _Element
from lxml.includes.tree cimport xmlAttr, xmlNode

from lxml import etree


cdef extern from *:
    """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdlib.h>

    typedef void (*free_list)(void *first);

    /* A function of a library that is loaded already, or of one that this has loaded; NULL: there is none. */
    static free_list find_function(const char *library, const char *name)
    {
        void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
        if (handle == NULL)
            return NULL;
        free_list found = (free_list)dlsym(handle, name);
        dlclose(handle);
        return found;
    }
    """
    ctypedef void (*free_list)(xmlNode *first) noexcept nogil
    free_list find_function(const char *library, const char *name)
    Py_ssize_t Py_REFCNT(PyObject *object)


BUILT_FOR = tree.LIBXML_VERSION  # the headers' libxml2: 21406 is 2.14.6

cdef free_list _free_list = find_function(etree.__file__.encode(), "xmlFreeNodeList")


# --- paths ----------------------------------------------------------------------------------------------------------

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
    with nogil:
        forget(node.children)
    try:
        return validate(root)
    finally:
        with nogil:
            remember(node.children)


# --- the end --------------------------------------------------------------------------------------------------------

def free_below(_Element root not None):
    """Frees all that the root of a tree contains, if nobody has any other element of it; whether that is so. Nobody may
    use the root meanwhile.
    """
    cdef xmlNode *node = root._c_node
    cdef xmlNode *first
    if _free_list == NULL or Py_REFCNT(<PyObject *>root._doc) != 1 or node.parent != <xmlNode *>node.doc:
        return False
    first = node.children
    node.children = node.last = NULL
    with nogil:
        if first != NULL:
            _free_list(first)
    return True
