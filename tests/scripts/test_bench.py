"""The benchmarks' arithmetic, their view of /proc, their table of servers and their launcher; no figures."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

from benchlib import bench_transfer, cli, launch, procfs, results, servers, session  # noqa: E402
from benchlib.bench_idle import connections_possible  # noqa: E402
from benchlib.bench_tail import TARGETS, WORKERS, metric  # noqa: E402
from benchlib.histogram import Histogram, bucket_range  # noqa: E402
from benchlib.places import BenchError  # noqa: E402
from benchlib.procfs import ProcessTree, Stat  # noqa: E402
from benchlib.results import Samples, Target  # noqa: E402

# --- histogram ---------------------------------------------------------------------------------------------------

LAST_BUCKET = 3967  # HIST_BUCKETS - 1
LOWS = [bucket_range(i)[0] for i in range(LAST_BUCKET + 1)]


def histogram(values: list[int]) -> Histogram:
    counts: dict[int, int] = {}
    for value in values:
        index = bisect_right(LOWS, value) - 1
        counts[index] = counts.get(index, 0) + 1
    data = {
        "count": len(values),
        "sum_ns": sum(values),
        "min_ns": min(values, default=0),
        "max_ns": max(values, default=0),
    }
    return Histogram.from_json({**data, "buckets": list(counts.items())})


NANOSECONDS = st.integers(0, (1 << 37) - 1)


def test_buckets_leave_no_gap_and_are_narrow() -> None:
    assert bucket_range(0) == (0, 0)
    for index in range(LAST_BUCKET):
        low, high = bucket_range(index)
        assert bucket_range(index + 1)[0] == high + 1
        assert high - low <= low / 128
    assert bucket_range(LAST_BUCKET)[1] == (1 << 37) - 1


@given(st.lists(NANOSECONDS, min_size=1), st.floats(0, 100))
def test_a_percentile_errs_upwards_by_less_than_a_bucket(values: list[int], percent: float) -> None:
    exact = sorted(values)[max(1, math.ceil(percent / 100 * len(values) - 1e-9)) - 1] / 1e9
    assert exact <= histogram(values).percentile(percent) <= exact * (1 + 1 / 128)


def test_percentiles_of_a_thousand_values() -> None:
    ms = histogram([n * 1_000_000 for n in range(1, 1001)])
    assert ms.percentile(99.9) == pytest.approx(0.999, rel=0.01)
    assert ms.percentile(100) == 1.0
    assert ms.percentile(0) == pytest.approx(0.001, rel=0.01)
    assert ms.mean == pytest.approx(0.5005)


@given(st.lists(st.lists(NANOSECONDS)))
def test_merging_is_as_if_all_had_been_recorded_in_one(parts: list[list[int]]) -> None:
    merged, one = Histogram.merged(map(histogram, parts)), histogram([v for part in parts for v in part])
    assert (merged.count, merged.sum_ns, merged.min_ns, merged.max_ns) == (
        one.count,
        one.sum_ns,
        one.min_ns,
        one.max_ns,
    )
    assert merged.buckets == one.buckets


def test_no_values_have_no_percentile() -> None:
    assert math.isnan(histogram([]).percentile(99))
    assert math.isnan(histogram([]).mean)
    with pytest.raises(ValueError, match="not a percentage"):
        histogram([1]).percentile(101)


def test_a_histogram_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="2 values has 1"):
        Histogram.from_json({"count": 2, "sum_ns": 2, "min_ns": 1, "max_ns": 1, "buckets": [[1, 1]]})


# --- results -----------------------------------------------------------------------------------------------------


def samples(**servers: list[float]) -> Samples:
    made = Samples()
    for name, values in servers.items():
        for round_, value in enumerate(values):
            made.add(name, round_, {"rate": value})
    return made


def test_ratios_are_taken_within_rounds() -> None:
    # The machine became slower with each round: the medians alone would say 100 / 50.
    drifting = samples(evserver=[120, 100, 20], peer=[100, 50, 40])
    found = results.ratio(drifting, "rate", "evserver", "peer")
    assert (found.value, found.low, found.high) == (1.2, 0.5, 2.0)
    assert str(found) == "1.20x"


def test_a_ratio_needs_rounds_that_both_took_part_in() -> None:
    made = samples(evserver=[10.0])
    made.add("peer", 1, {"rate": 5.0})
    assert math.isnan(results.ratio(made, "rate", "evserver", "peer").value)
    assert str(results.ratio(made, "rate", "evserver", "nobody")) == "-"


def test_the_best_peer_is_the_highest_or_the_lowest() -> None:
    made = samples(a=[1, 9, 2], b=[3, 3, 3], c=[math.nan])
    assert results.best(made, "rate", ["a", "b", "c"], "at least") == "b"
    assert results.best(made, "rate", ["a", "b", "c"], "at most") == "a"
    assert results.best(made, "rate", ["c", "nobody"], "at most") is None


def test_a_dropped_server_has_no_figures() -> None:
    made = samples(a=[1], b=[2])
    made.drop("b")
    assert made.servers == ["a"]
    assert math.isnan(made.median("b", "rate"))


@pytest.mark.parametrize(
    ("value", "sense", "aim", "verdict"),
    [
        (1.0, "at least", None, "  met     what: 1.00x of bjoern; target at least 1.00x"),
        (1.05, "at least", 1.1, "  met     what: 1.05x of bjoern; target at least 1.00x, aim of 1.10x not reached"),
        (1.2, "at least", 1.1, "  met     what: 1.20x of bjoern; target at least 1.00x, aim of 1.10x reached"),
        (0.9, "at least", 1.1, "  MISSED  what: 0.90x of bjoern; target at least 1.00x, missed by 10%"),
        (0.9, "at most", None, "  met     what: 0.90x of bjoern; target at most 1.00x"),
        (1.5, "at most", None, "  MISSED  what: 1.50x of bjoern; target at most 1.00x, missed by 50%"),
    ],
)
def test_verdicts(value: float, sense: results.Sense, aim: float | None, verdict: str) -> None:
    target = Target("what", value, 1.0, sense, against="bjoern", aim=aim)
    assert target.verdict() == verdict
    assert target.met == verdict.startswith("  met")
    assert target.to_json()["met"] == target.met


def test_a_target_without_a_figure_is_neither_met_nor_missed() -> None:
    target = results.ratio_target("what", samples(peer=[1]), "rate", ["peer"], 1.0, "at least")
    assert target.verdict() == "  ?       what: not measured (evserver did not run); target at least 1.00x"
    assert not target.met
    assert target.to_json()["met"] is None
    alone = results.ratio_target("what", samples(evserver=[1]), "rate", ["evserver"], 1.0, "at least")
    assert "no peer ran" in alone.verdict()


def test_a_target_is_held_against_the_best_peer_and_shows_its_spread() -> None:
    made = samples(evserver=[12, 11], slow=[6, 6], fast=[10, 10])
    target = results.ratio_target("what", made, "rate", ["slow", "fast"], 1.0, "at least")
    assert target.against == "fast"
    assert target.value == pytest.approx(1.15)
    assert "(rounds 1.10 to 1.20)" in target.verdict()


def test_tables_are_aligned() -> None:
    assert results.format_table(("server", "n"), [("a", "1,000"), ("longer", "2")]).splitlines() == [
        "  server      n",
        "  ------  -----",
        "  a       1,000",
        "  longer      2",
    ]


def test_results_are_written_without_nan(tmp_path: Path) -> None:
    clean = session.no_nan({"a": [math.nan, 1.5, (math.inf,)], 2: "text"})
    assert clean == {"a": [None, 1.5, [None]], "2": "text"}
    json.dumps(clean, allow_nan=False)


# --- /proc -------------------------------------------------------------------------------------------------------

STAT_LINE = "4711 (a (b) c) S 1 4700 4600 0 -1 4194560 1 2 0 0 {utime} {stime} {cutime} {cstime} 20 0 1 0 123456 1 1"


def stat(pid: int, parent: int, session_: int = 0, own: float = 0, reaped: float = 0, started: int = 0) -> Stat:
    return Stat(pid, "x", "S", parent, session_, own, reaped, started or pid)


def test_a_stat_line_whose_name_looks_like_the_rest() -> None:
    ticks = procfs.TICKS
    line = STAT_LINE.format(utime=ticks, stime=2 * ticks, cutime=4 * ticks, cstime=8 * ticks)
    assert procfs.parse_stat(line) == Stat(4711, "a (b) c", "S", 1, 4600, 3.0, 12.0, 123456)


def test_who_belongs_to_a_server() -> None:
    root, child, grandchild = stat(10, 1, 10), stat(11, 10, 10), stat(12, 11, 12)
    orphan, same_session, stranger = stat(13, 1, 13), stat(14, 1, 10), stat(15, 1, 15)
    all_ = [root, child, grandchild, orphan, same_session, stranger]
    assert {s.pid for s in procfs.members(all_, 10, []).values()} == {10, 11, 12, 14}
    assert {s.pid for s in procfs.members(all_, 10, [orphan.key]).values()} == {10, 11, 12, 13, 14}
    # A pid that is used again is another process.
    assert {s.pid for s in procfs.members(all_, 10, [(13, 999)]).values()} == {10, 11, 12, 14}


@pytest.mark.parametrize(
    ("reaped_by_root", "lost"),
    [(5.0, 0.0), (0.0, 5.0), (5.5, 0.0), (2.0, 3.0)],
    ids=["waited for", "nobody waited", "it went on after the last look", "one of two was waited for"],
)
def test_time_of_the_dead_is_counted_once(reaped_by_root: float, lost: float) -> None:
    before = {s.key: s for s in (stat(10, 1, own=1.0), stat(11, 10, own=2.0), stat(12, 10, own=2.0, reaped=1.0))}
    after = {s.key: s for s in (stat(10, 1, own=1.5, reaped=reaped_by_root),)}
    assert procfs.lost_time(before, after) == lost


def test_smaps_and_busy_time() -> None:
    text = "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:        1200 kB\nPss:         700 kB\nPss_Dirty:   10 kB\n"
    assert procfs.parse_smaps(text) == {"Rss": 1200 * 1024, "Pss": 700 * 1024, "Pss_Dirty": 10 * 1024}
    hz = procfs.TICKS
    lines = f"cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 {hz} {hz} {hz} 500 500 {hz} {hz} {hz} 7 7\ncpu10 {hz} 0 0 0 0 0 0 0 0 0\n"
    assert procfs.busy_seconds({0}, lines) == 6.0
    assert procfs.busy_seconds({10}, lines) == 1.0
    assert procfs.busy_seconds({1}, lines) == 0.0


BURN = "import time\nwhile time.process_time() < 0.2: pass\n"


def test_the_time_of_children_that_died_is_on_the_bill() -> None:
    code = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {BURN!r}], check=True)\n"  # waited for
        "print(flush=True); sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        tree = ProcessTree(process.pid)
        process.stdout.readline()
        assert [s.pid for s in tree.look()] == [process.pid]
        assert tree.cpu_seconds() > 0.15  # /proc counts in whole ticks
        assert tree.memory() > 1 << 20
        process.stdin.close()


# --- servers and the command line --------------------------------------------------------------------------------


def test_every_server_is_told_its_port_and_its_application() -> None:
    for server in servers.SERVERS:
        if "nginx" in server.name or server.name == "openresty":
            continue  # they get a file
        for app in sorted(server.apps):
            words = " ".join(server.command(servers.Job(app, 3, Path("/file")), 4321))
            assert "4321" in words
            assert app in words
            assert "3" in words.split()


@pytest.mark.skipif(not servers._nginx(), reason="nginx is not installed")
def test_nginx_gets_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "BENCH", tmp_path)
    nginx = next(s for s in servers.SERVERS if s.name == "nginx")
    nginx.command(servers.Job("download", 2, Path("/some/file")), 4321)
    text = (tmp_path / "nginx" / "nginx.conf").read_text()
    assert "worker_processes 2;" in text
    assert "listen 127.0.0.1:4321;" in text
    assert "alias /some/file;" in text


def test_choosing_peers() -> None:
    def names(wanted: list[str] | None, app: str = "hello") -> list[str]:
        return [s.name for s in servers.choose(wanted, ["bjoern", "uvicorn"], app, servers.SERVERS)]

    assert names(None) == ["evserver", "bjoern", "uvicorn"]
    assert names(["granian-rsgi"]) == ["evserver", "granian-rsgi"]
    assert names(["evserver", "nginx", "nginx"]) == ["evserver", "nginx"]
    assert names(["none"]) == ["evserver"]
    assert set(names(["all"])) == {s.name for s in servers.SERVERS if "hello" in s.apps}
    assert "bjoern" not in names(["all"], "upload")
    with pytest.raises(BenchError, match=r"--peers apache: no such server; there are evserver, .*bjoern"):
        names(["apache"])


def test_a_server_sees_nothing_that_could_configure_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVSERVER_WORKERS", "GUNICORN_CMD_ARGS", "GRANIAN_WORKERS", "WEB_CONCURRENCY", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "7")
    env = servers.clean_env({"EXTRA": "1"})
    assert env["EXTRA"] == "1"
    assert env["PATH"] == os.environ["PATH"]
    assert set(env) <= {"PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "EXTRA"}


def test_which_processes_are_workers() -> None:
    evserver = servers.evserver()[0]
    lines = {1: "python evserver", 2: "evserver-gateway", 3: "python worker", 4: "python worker", 5: "resource_tracker"}
    assert evserver.workers_among(lines, 1) == [3, 4]
    assert evserver.workers_among({1: "python evserver"}, 1) == [1]


def test_every_target_of_the_tail_is_measured() -> None:
    for workers, connections, percent, limit in TARGETS:
        assert workers in WORKERS
        assert connections in (16, 64)
        assert metric(workers, connections, percent).startswith(f"w{workers}_c{connections}_p9")
        assert limit in (1 / 4, 1 / 5, 1 / 6)


def test_limits_on_idle_connections() -> None:
    assert connections_possible(10_000, 40_000, (32768, 60999)) == (10_000, "")
    assert connections_possible(10_000, 1_024, (32768, 60999)) == (824, "the limit of open files is 1024 (ulimit -n)")
    count, why = connections_possible(10_000, 40_000, (40000, 42499))
    assert (count, why) == (2000, "net.ipv4.ip_local_port_range has room for 2000")


def test_the_payload_is_made_once_and_its_digest_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_transfer, "BENCH", tmp_path)
    path, digest = bench_transfer.payload(bench_transfer.MIB + 5)
    made = path.stat().st_mtime_ns
    assert path.stat().st_size == bench_transfer.MIB + 5
    assert bench_transfer.payload(bench_transfer.MIB + 5) == (path, digest)
    assert path.stat().st_mtime_ns == made
    assert subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0] == digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "BENCH"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["hello", "--rounds", "0"], "'0' is not a number above 0"),
        (["hello", "--seconds", "soon"], "'soon' is not a number above 0"),
        (["hello", "--server-cpus", "x"], "'x' is not a list of CPU numbers"),
        (["hello", "--client-cpus", "9999"], "no CPU 9999"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_help_names_every_benchmark() -> None:
    done = subprocess.run([SCRIPTS / "bench", "--help"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in [*cli.BENCHES, "all", "peers"])


# --- launching ---------------------------------------------------------------------------------------------------

SERVER = """
import http.server, os, signal, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *a): pass
# A helper with a session of its own, that ignores requests to stop.
helper = subprocess.Popen(["sh", "-c", "trap '' TERM HUP; echo; exec sleep 1000"], start_new_session=True, stdout=-1)
helper.stdout.readline()
print("helper", helper.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def launched(tmp_path: Path, code: str, limit: float = 30.0) -> contextlib.AbstractContextManager[launch.Running]:
    return launch.launch(
        "test", lambda port: [sys.executable, "-c", code, str(port)], dict(os.environ), cpus=os.sched_getaffinity(0),
        log=tmp_path / "log", settle=False, limit=limit,
    )  # fmt: skip


def test_nothing_of_a_server_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "STOP_SECONDS", 0.1)  # the helper will not go by itself
    with pytest.raises(KeyboardInterrupt), launched(tmp_path, SERVER) as running:  # noqa: PT012
        assert running.first_answer > 0
        helper = int((tmp_path / "log").read_text().split()[1])
        assert helper in {s.pid for s in running.tree.look()}
        raise KeyboardInterrupt
    os.waitpid(helper, 0)  # orphaned, it became a child of this process; waitpid would hang if it lived
    assert procfs.read_stat(helper) is None
    assert procfs.read_stat(running.tree.root) is None


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(BenchError, match="ended with status 3: no such module"),
        launched(tmp_path, "import sys; print('no such module'); sys.exit(3)"),
    ):
        raise AssertionError("it does not answer")


def test_a_server_that_stays_silent_is_given_up(tmp_path: Path) -> None:
    with (
        pytest.raises(BenchError, match=r"no answer within 3 s: started"),
        launched(tmp_path, "print('started', flush=True); import time; time.sleep(1000)", limit=3.0),
    ):
        raise AssertionError("it does not answer")


def test_a_program_that_does_not_exist() -> None:
    with (
        pytest.raises(BenchError, match=r"cannot be started: .*nothing-here"),
        launch.launch("x", lambda port: ["/nothing-here"], {}, cpus=os.sched_getaffinity(0), log=Path(os.devnull)),
    ):
        raise AssertionError("it does not start")


def test_terminating_it_runs_the_cleanup() -> None:
    with pytest.raises(SystemExit) as ended:
        cli._terminated(signal.SIGTERM, None)
    assert ended.value.code == 143
