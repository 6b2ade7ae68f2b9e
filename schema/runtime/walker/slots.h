/* Objects as msgspec.Struct and CPython lay them out: fields are read and set where they lie.
 *
 * The offset of a field is that of its member descriptor. A field without a value is NULL until fill() gives it its
 * default; an object that is dropped before may have such fields.
 *
 * Lists are taken out of the sight of the garbage collector, as the objects are (gc=False): nothing that is read is in
 * a cycle, and it would look at each again and again.
 */
#ifndef EVSCHEMA_SLOTS_H
#define EVSCHEMA_SLOTS_H

#include <Python.h>
#include <structmember.h>
#include <time.h>

#define allocate(type)          ((type)->tp_alloc((type), 0))
#define slot_of(object, offset) ((PyObject **)((char *)(object) + (offset)))

/* Whether it is the descriptor of an object field; where that lies. */
static int is_member(PyObject *descriptor)
{
    return Py_IS_TYPE(descriptor, &PyMemberDescr_Type) &&
           ((PyMemberDescrObject *)descriptor)->d_member->type == T_OBJECT_EX;
}
static Py_ssize_t member_offset(PyObject *descriptor)
{
    return ((PyMemberDescrObject *)descriptor)->d_member->offset;
}

static PyObject *new_list(void)
{
    PyObject *made = PyList_New(0);
    if (made != NULL) PyObject_GC_UnTrack(made);
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
        if (*slot != NULL) continue;
        switch (kinds[i]) {
        case OBJECT: *slot = Py_NewRef(defaults[i]); break;
        case LIST: *slot = new_list(); break;
        case DICT: *slot = PyDict_New(); break;
        case FACTORY: *slot = PyObject_CallNoArgs(defaults[i]); break;
        default: PyErr_Format(PyExc_RuntimeError, "a valid %s without what is required", Py_TYPE(object)->tp_name);
        }
        if (*slot == NULL) return -1;
    }
    return 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#endif
