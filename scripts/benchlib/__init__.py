"""The benchmarks of evserver: what scripts/bench runs.

How a figure is made, the same for every benchmark:

* A figure is a ratio to a peer that ran in the same session on the same machine. Absolute numbers are printed too, but
  no target is set on one that the machine decides.
* Rounds are interleaved: each round starts every server once, in rotated order, measures it and stops it. Ratios are
  taken within a round, where both sides saw the same machine, and the median over the rounds is the figure.
* All processes of the server share one core, the load generator and this program another. The CPU time of the whole
  process tree of a server is measured beside its throughput, because the generator saturates before a fast server does.
* Every answer is checked (status, length, for uploads the digest). A server with more than 1 % wrong answers, one that
  does not start or cannot be installed is reported with its reason and never silently dropped.

Who is who: servers.py is the one table of servers and their command lines; install.py puts peers into a virtualenv of
their own; launch.py starts, pins and stops them; procfs.py reads CPU time and memory from /proc; loadgen.c (loadgen.py)
is the client; histogram.py and results.py do the arithmetic; chart.py draws; bench_*.py are the benchmarks; cli.py is
the command line. Only chart.py needs anything beyond the standard library, and runs in the peers' virtualenv.
"""
