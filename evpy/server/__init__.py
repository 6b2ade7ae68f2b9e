"""evserver: the processes around the native gateway, and everything that the operator meets.

::

    cli.py         the command                          logs.py        one line per event, never blocking
    settings.py    one frozen dataclass, one table      log_formats.py, log_sink.py  its two halves
    sources.py     defaults < file < environment < flags    binds.py       addresses and listening sockets
    values.py      text to value, with clear errors     segment.py     the shared segment, from the settings
    toml_text.py   values as TOML                       pidfile.py     one server of a name
    machine.py     how many cores there are to use      appsettings.py the [app] table, for the application

    supervisor.py  the loop: start, signals, end        worker.py      a process of application code
    fleet.py       decides about workers                schedulers.py  its threads, each with a hub
    workforce.py   does what the fleet decides          control.py     watches them from within
    gatekeeper.py  keeps the gateway running            reports.py     what it tells the supervisor
    watchdog.py    who is stuck, from outside           inline.py      all of it in one process (--workers 0)
    processes.py   children, pidfds, signals            reload.py      restart on file change
    status.py      everything as JSON

Nothing is imported here: ``evserver --help`` must answer before gevent or the native core is loaded.
"""
