"""evserver: the processes around the native gateway, and everything that the operator meets.

::

    cli.py         the command                          supervisor.py  starts, watches, reloads the processes
    settings.py    one frozen dataclass, one table      worker.py      a process of application code
    sources.py     defaults < file < environment < flags    inline.py      all of it in one process (--workers 0)
    values.py      text to value, with clear errors     reload.py      restart on file change
    binds.py       addresses and listening sockets      logs.py        one line per event, never blocking
    toml_text.py   values as TOML                       log_formats.py, log_sink.py  its two halves
    machine.py     how many cores there are to use

Nothing is imported here: ``evserver --help`` must answer before gevent or the native core is loaded.
"""
