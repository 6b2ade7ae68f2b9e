"""The runtime: what scripts under evrun and handlers under evserver share.

===================  ====================================================================================
``tasks``            spawn, gather, sleep, timeout: concurrency within one hub
``background``       work that outlives its caller: background tasks, singletons by name, periodic timers
``threads``          scheduler threads, and ``run_on_any``, which hands work to whichever is free
``handles``          results that a greenlet of any thread may wait for
``patch``            the monkey patching of evrun and the workers
``dump``             the stacks of all threads and greenlets as text, on request or on a signal
``evrun``, ``boot``  the command: ``evrun`` starts the interpreter, ``boot`` prepares it before the script runs
===================  ====================================================================================

Importing this package imports nothing else: gevent comes with the module that needs it.
"""
