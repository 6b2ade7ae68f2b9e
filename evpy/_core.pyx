# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""The thin binding of the native core: converts, releases the interpreter lock, holds no policy."""

import os
import sys

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.string cimport memset, strerror, strncpy
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport read, usleep

from evpy.binding.native cimport *

import greenlet as _greenlet_module

from evpy.errors import BodyTooLarge, ClientDisconnected, DeadlineExceeded

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object s, Py_ssize_t *n) except NULL
    bint PyUnicode_IS_ASCII(object s)
    object PyContext_New()
    int PyContext_Enter(object ctx) except -1
    int PyContext_Exit(object ctx) except -1
    object PyContextVar_Set(object var, object value)

cdef extern from "greenlet/greenlet.h":
    ctypedef struct PyGreenlet:
        pass
    void PyGreenlet_Import()
    # declared as objects: Cython then owns the reference and propagates NULL as the exception that is set
    object PyGreenlet_New_ "(PyObject *)PyGreenlet_New"(PyObject *run, PyGreenlet *parent)
    object PyGreenlet_GetCurrent_ "(PyObject *)PyGreenlet_GetCurrent"()
    object PyGreenlet_Switch_ "PyGreenlet_Switch"(PyGreenlet *g, PyObject *args, PyObject *kwargs)
    object PyGreenlet_Throw_ "PyGreenlet_Throw"(PyGreenlet *g, PyObject *kind, PyObject *value, PyObject *traceback)

PyGreenlet_Import()

EMPTY = EV_WORKER_EMPTY
STARTING = EV_WORKER_STARTING
READY = EV_WORKER_READY
DRAINING = EV_WORKER_DRAINING
DEAD = EV_WORKER_DEAD
GATEWAY_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "evpy-gateway")

include "binding/segment.pxi"
include "binding/engine.pxi"
include "binding/worker.pxi"
include "binding/request.pxi"
include "binding/scheduler.pxi"
include "binding/arena.pxi"
