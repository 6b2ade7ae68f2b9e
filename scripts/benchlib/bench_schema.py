"""schema: documents to objects and back, beside lxml, xsdata and xmlschema; compile and import; a loop's stall; memory.

Three schemas: a purchase order, ISO 20022 pain.001, a UBL 2.3 invoice; of each a small document (2 KB; UBL 20 KB) and
one of 2 MB. They are not part of the repository: EVPY_TEST_DATA, or ../shared/data beside the checkout, has them. All
contenders run in one process, one after the other in each round; times are CPU time. "pure" is our reader without its
part in C. "equivalent" MB/s are scaled by what lxml parses here to the machine on which the targets were set, where
lxml parsed 190 MB/s.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import statistics
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchlib import install
from benchlib.places import BENCH, LIB, ROOT, VENV, BenchError
from benchlib.results import Samples, Target, ratio
from benchlib.session import Options, Panel, Session

REQUIREMENTS = ("lxml", "msgspec", "xmlschema", "xsdata[cli,lxml]")
REFERENCE_PARSE = 190.0  # MB/s
WORK = BENCH / "schema"
NAMES, SIZES = ("po", "pain", "ubl"), ("small", "big")
MODULE = {"po": "po", "pain": "pain", "ubl": "ubl_invoice_2_3"}


def _data() -> Path:
    """The unpacked samples. BenchError says where they were looked for."""
    places = [Path(os.environ["EVPY_TEST_DATA"])] if "EVPY_TEST_DATA" in os.environ else []
    places += [folder / "shared" / "data" for folder in ROOT.parents]
    archive = next((p / "xsd-samples.tar.xz" for p in places if (p / "xsd-samples.tar.xz").exists()), None)
    if archive is None:
        raise BenchError(f"no xsd-samples.tar.xz in {', '.join(map(str, places))}; say where with EVPY_TEST_DATA")
    target = WORK / "xsd-samples"
    if not target.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(WORK, filter="data")
    return target


def _worker(python: Path, options: Options, *arguments: object, path: Path | None = None) -> Any:
    """Runs the worker on all cores that may be used; its answer."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    environment["PATH"] = f"{python.parent}:{environment.get('PATH', '')}"  # xsdata formats what it generates
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    cpus = options.server_cpus | options.client_cpus
    command = [python, LIB / "schema_worker.py", *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=None, text=True, check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"schema_worker.py {arguments[0]} failed; its message is above")
    return json.loads(done.stdout)


@contextlib.contextmanager
def _path(python: Path) -> Iterator[Path]:
    """A folder with nothing but the package as it is installed for ``python``, for the peers' interpreter."""
    command = [python, "-c", "import schema; print(schema.__path__[0])"]
    installed = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout.strip()
    folder = WORK / "path"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "schema").symlink_to(installed)
    yield folder


def run(options: Options) -> list[Target]:
    """The whole benchmark."""
    data = _data()
    install.make_venv()
    reason = next(filter(None, (install.install_requirements([r]) for r in (*REQUIREMENTS, *install.DRAWING))), None)
    if reason:
        raise BenchError(reason)
    if missing := install.ensure_evserver(options.evserver):
        raise BenchError(missing)
    rounds = options.rounds or 5
    peers = "none" if options.peers == ("none",) else "peers"
    own = options.evserver.parent / "python"
    with _path(own) as path:
        rows = _worker(VENV / "bin" / "python", options, "documents", data, WORK, rounds, peers, path=path)
    compile_times, import_times = [], []
    for _ in range(rounds):
        shutil.rmtree(WORK / "models", ignore_errors=True)
        compile_times.append(_worker(own, options, "compile", data, WORK / "models", "ubl"))
        import_times.append(_worker(own, options, "import", WORK / "models", MODULE["ubl"]))
    late, peaks = {}, {}
    for name in NAMES:
        _worker(own, options, "compile", data, WORK / "models", name)
        where = (data, WORK / "models", MODULE[name], name)
        peaks[name] = [_worker(own, options, "memory", *where, way) for way in ("whole", "stream")]
        for way in ("from_xml", "to_xml", "from_json", "to_json"):
            late[f"{name} big {way}"] = sorted(_worker(own, options, "stall", *where, way))
    return _report(options, rounds, rows, compile_times, import_times, late, peaks)


def _key(row: dict[str, Any]) -> str:
    return f"{row['schema']} {row['size']} {row['task']}"


def _report(
    options: Options, rounds: int, rows: list[dict[str, Any]], compiles: list[float], imports: list[float],
    late: dict[str, list[float]], peaks: dict[str, list[float]],
) -> list[Target]:  # fmt: skip
    samples = Samples()
    size = {f"{row['schema']} {row['size']}": row["bytes"] / 1e6 for row in rows}
    for row in rows:
        samples.add(row["who"], row["round"], {_key(row): row["bytes"] / 1e6 / row["seconds"]})
    targets: list[Target] = []
    table = []
    for document in size:
        parse = samples.median("lxml", f"{document} parse")
        line = [document, f"{parse:.0f}"]
        for task in ("validate", "from_xml", "to_xml", "xml_to_json", "json_to_xml"):
            value = samples.median("schema", f"{document} {task}")
            line.append("-" if math.isnan(value) else f"{value:.1f} ({value / parse:.0%})")
        others = ("schema-pure", "xsdata", "xmlschema")
        line += [f"{samples.median(who, f'{document} from_xml'):.1f}" for who in others]
        table.append(line)
        targets += _document_targets(samples, document, parse)
    targets.append(Target("compile UBL", statistics.median(compiles), 3.0, "at most", " s CPU"))
    targets.append(Target("import UBL", statistics.median(imports), 0.15, "at most", " s CPU"))
    for name, ticks in late.items():
        value = ticks[int(len(ticks) * 0.99)] * 1e3
        targets.append(Target(f"{name}: p99 stall of the loop", value, 6.0, "at most", " ms"))
    for name, (whole, stream) in peaks.items():
        targets.append(Target(f"{name} big: memory at the worst, per byte of XML", whole, 12.0, "at most", " B"))
        targets.append(Target(f"{name} big: the same with iter_xml", stream, 2.0, "at most", " B"))
    head = ("MB/s (of lxml parse)", "parse", "validate", "from_xml", "to_xml", "xml to json", "json to xml")
    panels = [
        Panel(f"{name}: XML to objects", "MB/s", _panel(samples, name, "from_xml"), ("small", "big"), log=True)
        for name in NAMES
    ]
    session = Session.__new__(Session)  # the report alone: there are no servers here
    session.name, session.options, session.rounds, session.seconds = "schema", options, rounds, 0.0
    session.samples, session.failed, session.remarks, session.servers, session.peers = samples, {}, [], [], []
    session.extra = {"late_seconds": late, "compile_seconds": compiles, "import_seconds": imports, "peaks": peaks}
    session._noise = 0.0
    return session.report((*head, "from_xml pure", "xsdata+lxml", "xmlschema"), table, targets, panels)


def _panel(samples: Samples, name: str, task: str) -> dict[str, list[float]]:
    who = ("schema", "xsdata", "xmlschema")
    return {w: [samples.median(w, f"{name} {size} {task}") for size in SIZES] for w in who}


def _document_targets(samples: Samples, document: str, parse: float) -> list[Target]:
    targets = []
    values = [
        samples.rounds("schema", f"{document} from_xml")[r] / samples.rounds("lxml", f"{document} parse")[r] * 100
        for r in samples.rounds("schema", f"{document} from_xml")
    ]
    limit = 11.0 if document.endswith("big") else 16.0
    targets.append(
        Target(
            f"{document}: XML to objects, share of lxml parse", statistics.median(values), limit, "at least", " %",
            aim=21.0, spread=(min(values), max(values)),
        )
    )  # fmt: skip

    def against(what: str, task: str, peer: str, factor: float) -> None:
        found = ratio(samples, f"{document} {task}", "schema", peer)
        known = peer if not math.isnan(found.value) else "not measured"
        spread = (found.low, found.high)
        targets.append(Target(f"{document}: {what}", found.value, factor, "at least", against=known, spread=spread))

    against("XML to objects", "from_xml", "xsdata", 5.0)
    against("XML to objects", "from_xml", "xmlschema", 12.0)
    against("objects to XML", "to_xml", "xsdata", 10.0)
    against("XML to JSON", "xml_to_json", "xsdata", 8.0)
    against("JSON to XML", "json_to_xml", "xsdata", 12.0)
    equivalent = samples.median("schema", f"{document} xml_to_json") * REFERENCE_PARSE / parse
    if document.endswith("big"):
        targets.append(Target(f"{document}: XML to JSON, equivalent", equivalent, 18.0, "at least", " MB/s"))
    return targets
