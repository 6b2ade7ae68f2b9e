"""Measures, in a process of its own: schema_worker.py documents|compile|import|stall|memory ... prints a line of JSON.

``documents`` runs in the peers' virtualenv, where ``schema`` as installed is put on the path, so that all contenders
share one interpreter and one lxml. Times are CPU seconds of the process; each is the best of a few within the round.
"""

from __future__ import annotations

import collections
import ctypes
import gc
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCHEMAS = {
    "po": ("po/po.xsd", "PurchaseOrder"),
    "pain": ("pain/pain.xsd", "Document"),
    "ubl": ("ubl/common/UBL-Invoice-2.3.xsd", "Invoice"),
}
REPEATED = {"po": "item", "pain": "CdtTrfTxInf", "ubl": "InvoiceLine"}  # what iter_xml gives
ENOUGH = 0.15  # CPU seconds that one measurement takes at least


def timed(function: Callable[[], object]) -> float:
    """CPU seconds per call: the best of three runs, or of one if that is long."""
    gc.collect()
    start = time.process_time()
    function()
    once = time.process_time() - start
    number = max(1, int(ENOUGH / 3 / max(once, 1e-6)))
    best = once if number == 1 else float("inf")
    for _ in range(3 if once < 1 else 0):
        gc.collect()
        start = time.process_time()
        for _ in range(number):
            function()
        best = min(best, (time.process_time() - start) / number)
    return best


def xsdata_models(work: Path, name: str, xsd: Path) -> Any:
    """The module that xsdata generates, made once."""
    package = f"xsdata_{name}"
    if not (work / package).exists():
        command = [sys.executable, "-m", "xsdata", "generate", str(xsd), "--package", package]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"xsdata generate {xsd.name} failed: {done.stderr[-300:]}")
    sys.path.insert(0, str(work))
    return importlib.import_module(package)


def contenders(data: Path, work: Path, name: str, peers: bool) -> dict[str, Callable[[bytes], dict[str, Any]]]:
    """For each contender a function from a document to its tasks."""
    from lxml import etree

    import schema
    from schema.runtime import native

    xsd = data / SCHEMAS[name][0]
    ours = schema.load(xsd).prepare()
    walker, native._walker = native._walker, None
    pure = schema.load(xsd).prepare()
    native._walker = walker
    if walker is None:
        sys.stderr.write("  no readers in C here: schema is schema-pure\n")
    judge = etree.XMLSchema(file=str(xsd))

    def lxml_tasks(document: bytes) -> dict[str, Any]:
        return {
            "parse": lambda: etree.fromstring(document),
            "validate": lambda: judge.validate(etree.fromstring(document)),
        }

    def our_tasks(document: bytes) -> dict[str, Any]:
        value = ours.from_xml(document)
        tasks = {
            "validate": lambda: ours.validate_xml(document),
            "from_xml": lambda: ours.from_xml(document),
            "to_xml": lambda: ours.to_xml(value),
        }
        if hasattr(ours, "to_json"):
            text = ours.to_json(value)
            tasks["xml_to_json"] = lambda: ours.xml_to_json(document)
            tasks["json_to_xml"] = lambda: ours.json_to_xml(text)
        return tasks

    found: dict[str, Callable[[bytes], dict[str, Any]]] = {
        "lxml": lxml_tasks,
        "schema": our_tasks,
        "schema-pure": lambda document: {"from_xml": lambda: pure.from_xml(document)},
    }
    if not peers:
        return found

    import xmlschema
    from xsdata.formats.dataclass.context import XmlContext
    from xsdata.formats.dataclass.parsers import JsonParser, XmlParser
    from xsdata.formats.dataclass.parsers.handlers import LxmlEventHandler
    from xsdata.formats.dataclass.serializers import JsonSerializer, XmlSerializer

    root = getattr(xsdata_models(work, name, xsd), SCHEMAS[name][1])
    context = XmlContext()
    parser = XmlParser(context=context, handler=LxmlEventHandler)
    serializer = XmlSerializer(context=context)
    json_serializer, json_parser = JsonSerializer(context=context), JsonParser(context=context)
    second = xmlschema.XMLSchema10(str(xsd))

    def valid(text: bytes) -> Any:
        tree = etree.fromstring(text)
        if not judge.validate(tree):
            raise RuntimeError(str(judge.error_log.last_error))
        return tree

    def xsdata_tasks(document: bytes) -> dict[str, Any]:
        value = parser.from_bytes(document, root)
        text = json_serializer.render(value)
        return {
            "from_xml": lambda: parser.parse(valid(document), root),
            "to_xml": lambda: valid(serializer.render(value).encode()),
            "xml_to_json": lambda: json_serializer.render(parser.from_bytes(document, root)),
            "json_to_xml": lambda: serializer.render(json_parser.from_string(text, root)),
        }

    found["xsdata"] = xsdata_tasks
    found["xmlschema"] = lambda document: {"from_xml": lambda: second.to_dict(document)}
    return found


def documents(data: Path, work: Path, rounds: int, peers: bool) -> list[dict[str, Any]]:
    """Every contender, task and document, in rounds."""
    rows = []
    for name in SCHEMAS:
        everybody = contenders(data, work, name, peers)
        for size in ("small", "big"):
            document = (data / name / f"{size}.xml").read_bytes()
            tasks = {(who, task): f for who, make in everybody.items() for task, f in make(document).items()}
            for round_ in range(rounds):
                for (who, task), function in tasks.items():
                    if round_ and size == "big" and who in ("xsdata", "xmlschema") and round_ > 2:
                        continue  # seconds each; three rounds will do
                    row = {"schema": name, "size": size, "who": who, "task": task, "round": round_}
                    rows.append({**row, "bytes": len(document), "seconds": timed(function)})
                sys.stderr.write(f"  {name} {size}: round {round_ + 1}\n")
    return rows


def compile_one(data: Path, out: Path, name: str) -> float:
    """CPU seconds to compile one schema into a package."""
    from schema.codegen.package import compile_schema

    start = time.process_time()
    compile_schema(data / SCHEMAS[name][0], out)
    return time.process_time() - start


def import_one(out: Path, module: str) -> float:
    """CPU seconds to import a compiled package and all that it needs."""
    sys.path.insert(0, str(out.parent))
    start = time.process_time()
    importlib.import_module(f"{out.name}.{module}")
    return time.process_time() - start


def stall(data: Path, out: Path, module: str, name: str, way: str) -> list[float]:
    """How late a greenlet that sleeps 1 ms at a time comes, while another one calls ``way`` with a document again and
    again.
    """
    import gevent

    sys.path.insert(0, str(out.parent))
    compiled = importlib.import_module(f"{out.name}.{module}").SCHEMA.prepare()
    document: Any = (data / name / "big.xml").read_bytes()
    if way != "from_xml":
        document = compiled.from_xml(document)
    if way == "from_json":
        document = compiled.to_json(document)
    call = getattr(compiled, way)
    call(document)
    gc.collect()
    gc.freeze()  # as evserver's workers could: what was there before the work is not looked at again
    late: list[float] = []
    done: list[int] = []

    def tick() -> None:
        last = time.perf_counter()
        while not done:
            gevent.sleep(0.001)
            now = time.perf_counter()
            late.append(now - last - 0.001)
            last = now

    other = gevent.spawn(tick)
    gevent.sleep(0.05)
    late.clear()
    for _ in range(25):
        call(document)
    done.append(1)
    other.join()
    return late


def memory(data: Path, out: Path, module: str, name: str, way: str) -> float:
    """How many bytes of memory more than before are in use at the worst, for each byte of a document that is read as a
    whole or, by ``iter_xml``, element by element.
    """
    sys.path.insert(0, str(out.parent))
    compiled = importlib.import_module(f"{out.name}.{module}").SCHEMA.prepare()
    path = data / name / "big.xml"
    compiled.from_xml((data / name / "small.xml").read_bytes())
    document = path.read_bytes() if way == "whole" else b""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what loading the schema has left free would be used again, and not be seen
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, that of loading the schema, is forgotten
    before = _resident("VmRSS")
    if way == "whole":
        compiled.from_xml(document)
    else:
        collections.deque(compiled.iter_xml(path, REPEATED[name]), maxlen=0)
    return (_resident("VmHWM") - before) / path.stat().st_size


def _resident(what: str) -> int:
    """Bytes of memory in use: VmRSS now, VmHWM at the worst."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[what].split()[0]) * 1024


def main(mode: str, *rest: str) -> object:
    """The command line."""
    paths = [Path(text) for text in rest[:2]]
    if mode == "documents":
        return documents(*paths, int(rest[2]), rest[3] == "peers")
    if mode == "compile":
        return compile_one(*paths, rest[2])
    if mode == "import":
        return import_one(paths[0], rest[1])
    if mode == "stall":
        return stall(*paths, rest[2], rest[3], rest[4])
    if mode == "memory":
        return memory(*paths, rest[2], rest[3], rest[4])
    raise SystemExit(f"unknown mode {mode}")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
