# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Where a large JSON text, or a large object, can be taken apart.

``Outline`` walks over a text once, without the interpreter lock, and remembers the containers that are larger than
a piece: of each the groups of neighbouring items that are about as long as one piece together, and the items
that are such containers themselves. Texts of items are not looked into; brackets, commas and the ends of strings are.

``weight`` says how long the JSON of an object will be, more or less, and stops counting beyond a limit.
"""

from cpython.object cimport PyObject
from libc.stdlib cimport free, realloc
from libc.string cimport memchr


cdef extern from *:
    """
    #include <Python.h>
    #include <structmember.h>

    #define slot_of(object, offset) (*(PyObject **)((char *)(object) + (offset)))
    #define type_of(object) ((PyObject *)Py_TYPE(object))
    #define is_plain(object) (PyLong_Check(object) || PyFloat_Check(object) || (object) == Py_None)

    static Py_ssize_t member_offset(PyObject *descriptor)
    {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)
            || ((PyMemberDescrObject *)descriptor)->d_member->type != T_OBJECT_EX)
            return -1;
        return ((PyMemberDescrObject *)descriptor)->d_member->offset;
    }
    """
    PyObject *slot_of(PyObject *object, Py_ssize_t offset)
    PyObject *type_of(PyObject *object)
    bint is_plain(PyObject *object)
    Py_ssize_t member_offset(object descriptor)
    void PyObject_GC_UnTrack(PyObject *object)
    bint PyUnicode_Check(PyObject *object)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *object)
    bint PyBytes_Check(PyObject *object)
    Py_ssize_t PyBytes_GET_SIZE(PyObject *object)
    bint PyList_Check(PyObject *object)
    Py_ssize_t PyList_GET_SIZE(PyObject *object)
    PyObject *PyList_GET_ITEM(PyObject *object, Py_ssize_t i)
    bint PyDict_Check(PyObject *object)
    int PyDict_Next(PyObject *object, Py_ssize_t *at, PyObject **key, PyObject **value)
    PyObject *PyDict_GetItem(PyObject *object, PyObject *key)

cdef enum:
    DEEPEST = 1 << 14  # brackets; msgspec gives up long before

cdef struct Group:  # neighbouring items, without the commas around them
    Py_ssize_t begin
    Py_ssize_t end
    Py_ssize_t inner  # where the only item's container begins; -1: several, or nothing large
    Py_ssize_t items

cdef struct Frame:  # an open container
    Py_ssize_t begin
    Py_ssize_t first  # of its groups
    Py_ssize_t item  # where the current item begins
    Py_ssize_t inner  # the container that it is, if that is large
    Group group
    char close
    bint some  # something of the current item has been seen
    bint comma  # there was an item before

cdef struct Large:
    Py_ssize_t begin
    Py_ssize_t end
    Py_ssize_t first
    Py_ssize_t last


cdef void *grown(void *memory, Py_ssize_t n, Py_ssize_t *room, size_t size) noexcept nogil:
    """Room for one more; NULL: there is none, and all is as before."""
    cdef void *made
    if n < room[0]:
        return memory
    made = realloc(memory, <size_t>(2 * room[0] + 64) * size)
    if made != NULL:
        room[0] = 2 * room[0] + 64
    return made


cdef class Outline:
    """The large containers of a text."""

    cdef bytes text
    cdef Group *groups  # of open containers, on top of each other
    cdef Group *kept
    cdef Frame *frames
    cdef Large *large
    cdef Py_ssize_t n_groups, n_kept, n_frames, n_large, room_groups, room_kept, room_frames, room_large
    cdef Py_ssize_t piece  # bytes
    cdef readonly Py_ssize_t wrong  # where brackets and commas do not fit; -1: they do
    cdef dict places

    def __cinit__(self, bytes text not None, Py_ssize_t piece):
        self.text = text
        self.piece = piece
        self.wrong = -1

    def __dealloc__(self):
        free(self.groups)
        free(self.kept)
        free(self.frames)
        free(self.large)

    def scan(self):
        """Does it. Raises MemoryError. Returns itself."""
        cdef const char *text = self.text
        cdef Py_ssize_t n = len(self.text)
        cdef int done
        with nogil:
            done = self.walk(text, n)
        if done < 0:
            raise MemoryError
        cdef Py_ssize_t i
        self.places = {}
        for i in range(self.n_large):
            self.places[self.large[i].begin] = i
        return self

    @property
    def root(self):
        """Where the outermost container begins; None when it is not large."""
        return self.large[self.n_large - 1].begin if self.n_large else None

    def end(self, Py_ssize_t begin):
        """Where the large container that begins there ends."""
        return self.large[<Py_ssize_t>self.places[begin]].end

    def parts(self, Py_ssize_t begin):
        """Of the large container that begins there: (begin, end, how many items, where a large item begins or None)."""
        cdef Large one = self.large[<Py_ssize_t>self.places[begin]]
        cdef Py_ssize_t i
        for i in range(one.first, one.last):
            group = self.kept[i]
            yield group.begin, group.end, group.items, None if group.inner < 0 else group.inner

    cdef int walk(self, const char *text, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t i = 0
        cdef Frame *top = NULL
        cdef char c
        cdef bint over = False  # the outermost value is complete
        cdef const char *found
        while i < n:
            c = text[i]
            if c == c" " or c == c"\n" or c == c"\r" or c == c"\t":
                i += 1
                continue
            if c == c"," or c == c"]" or c == c"}":
                if top == NULL or (c != c"," and c != top.close) or (not top.some and (c == c"," or top.comma)):
                    break
                if top.some and self.item_ends(top, i) < 0:
                    return -1
                if c == c",":
                    top.item, top.inner, top.some, top.comma = i + 1, -1, False, True
                else:
                    if self.container_ends(top, i + 1) < 0:
                        return -1
                    top = &self.frames[self.n_frames - 1] if self.n_frames else NULL
                    over = top == NULL
                i += 1
                continue
            if top != NULL:
                top.some = True
            elif over:
                break
            if c == c"[" or c == c"{":
                if self.n_frames == DEEPEST:
                    self.n_large = 0
                    return 0
                found = <const char *>grown(self.frames, self.n_frames, &self.room_frames, sizeof(Frame))
                if found == NULL:
                    return -1
                self.frames = <Frame *>found
                top = &self.frames[self.n_frames]
                self.n_frames += 1
                top.begin, top.first, top.item, top.inner = i, self.n_groups, i + 1, -1
                top.close = c"]" if c == c"[" else c"}"
                top.some = top.comma = False
                top.group.items = 0
                i += 1
            elif c == c'"':
                i = self.string_end(text, i + 1, n)
                over = top == NULL
            else:  # numbers, words, colons, and whatever msgspec will refuse
                i += 1
                over = False
        if i < n:
            self.wrong = i
        elif self.n_frames:
            self.wrong = n
        return 0

    cdef Py_ssize_t string_end(self, const char *text, Py_ssize_t i, Py_ssize_t n) noexcept nogil:
        """Behind the quote that ends the string whose text begins here."""
        cdef const char *quote
        cdef Py_ssize_t at, before
        while True:
            quote = <const char *>memchr(text + i, c'"', n - i)
            if quote == NULL:
                return n
            at = quote - text
            before = at
            while before > i and text[before - 1] == c"\\":
                before -= 1
            i = at + 1
            if (at - before) % 2 == 0:
                return i

    cdef int add(self, Group group) noexcept nogil:
        cdef void *made = grown(self.groups, self.n_groups, &self.room_groups, sizeof(Group))
        if made == NULL:
            return -1
        self.groups = <Group *>made
        self.groups[self.n_groups] = group
        self.n_groups += 1
        return 0

    cdef int item_ends(self, Frame *top, Py_ssize_t end) noexcept nogil:
        cdef Group *group = &top.group
        if group.items and (top.inner >= 0 or end - group.begin > self.piece):
            if self.add(group[0]) < 0:
                return -1
            group.items = 0
        if not group.items:
            group.begin, group.inner = top.item, top.inner
        group.end = end
        group.items += 1
        if top.inner >= 0:
            if self.add(group[0]) < 0:
                return -1
            group.items = 0
        return 0

    cdef int container_ends(self, Frame *top, Py_ssize_t end) noexcept nogil:
        cdef Large *one
        cdef void *made
        cdef Py_ssize_t i
        if top.group.items and self.add(top.group) < 0:
            return -1
        if end - top.begin > self.piece:
            made = grown(self.large, self.n_large, &self.room_large, sizeof(Large))
            if made == NULL:
                return -1
            self.large = <Large *>made
            one = &self.large[self.n_large]
            one.begin, one.end, one.first = top.begin, end, self.n_kept
            for i in range(top.first, self.n_groups):
                made = grown(self.kept, self.n_kept, &self.room_kept, sizeof(Group))
                if made == NULL:
                    return -1
                self.kept = <Group *>made
                self.kept[self.n_kept] = self.groups[i]
                self.n_kept += 1
            one.last = self.n_kept
            self.n_large += 1
        self.n_groups = top.first
        self.n_frames -= 1
        if self.n_frames and end - top.begin > self.piece:
            self.frames[self.n_frames - 1].inner = top.begin
        return 0


# --- objects --------------------------------------------------------------------------------------------------------

cdef dict _slots = {}  # class: offsets of the fields; None: not a Struct


cdef object slots(object cls):
    """The offsets of the fields of a class of Structs, as an array; None for any other class."""
    import array

    made = None
    if hasattr(cls, "__struct_fields__"):
        found = [member_offset(getattr(cls, name)) for name in cls.__struct_fields__]
        if -1 not in found:
            made = array.array("q", found)
    if len(_slots) < 100_000:
        _slots[cls] = made
    return made


cdef Py_ssize_t count(PyObject *o, Py_ssize_t left, int depth) except? -1:
    """What is left of a number of bytes."""
    cdef Py_ssize_t i, at = 0
    cdef PyObject *key = NULL
    cdef PyObject *value = NULL
    cdef PyObject *found
    cdef const long long[::1] offsets
    if is_plain(o):
        return left - 5
    if PyUnicode_Check(o):
        return left - 3 - PyUnicode_GET_LENGTH(o)
    if depth > 500:
        return left
    if PyList_Check(o):
        left -= 2
        i = 0
        while i < PyList_GET_SIZE(o) and left > 0:
            left = count(PyList_GET_ITEM(o, i), left - 1, depth + 1)
            i += 1
        return left
    if PyDict_Check(o):
        left -= 2
        while left > 0 and PyDict_Next(o, &at, &key, &value):
            left = count(value, left - 4 - (PyUnicode_GET_LENGTH(key) if PyUnicode_Check(key) else 0), depth + 1)
        return left
    if PyBytes_Check(o):
        return left - 2 * PyBytes_GET_SIZE(o)
    found = PyDict_GetItem(<PyObject *>_slots, type_of(o))
    known = slots(<object>type_of(o)) if found == NULL else <object>found
    if known is None:
        return left - 16
    offsets = known
    left -= 2
    for i in range(offsets.shape[0]):
        value = slot_of(o, offsets[i])
        if value == NULL or is_plain(value) or (PyList_Check(value) and not PyList_GET_SIZE(value)):
            left -= 1
        else:
            left = count(value, left - 12, depth + 1)
        if left <= 0:
            break
    return left


cdef int hidden(PyObject *o, int depth) except -1:
    cdef Py_ssize_t i, at = 0
    cdef PyObject *key = NULL
    cdef PyObject *value = NULL
    cdef PyObject *found
    cdef const long long[::1] offsets
    if is_plain(o) or PyUnicode_Check(o) or depth > 500:
        return 0
    if PyList_Check(o):
        PyObject_GC_UnTrack(o)
        for i in range(PyList_GET_SIZE(o)):
            hidden(PyList_GET_ITEM(o, i), depth + 1)
    elif PyDict_Check(o):
        PyObject_GC_UnTrack(o)
        while PyDict_Next(o, &at, &key, &value):
            hidden(value, depth + 1)
    else:
        found = PyDict_GetItem(<PyObject *>_slots, type_of(o))
        known = slots(<object>type_of(o)) if found == NULL else <object>found
        if known is not None:
            offsets = known
            for i in range(offsets.shape[0]):
                value = slot_of(o, offsets[i])
                if value != NULL:
                    hidden(value, depth + 1)
    return 0


def hide(value):
    """Takes what msgspec has decoded out of the garbage collector's sight: it is in no cycle, and there is a lot."""
    hidden(<PyObject *>value, 0)


def weight(value, Py_ssize_t most):
    """About how many bytes the JSON of a value will have; ``most``, or a little more, when it is more."""
    return most - count(<PyObject *>value, most, 0)
