"""Where a library is not installed, the error says which one is missing, and how to get it."""

from __future__ import annotations

import subprocess
import sys

import pytest

NEEDS = [
    ("httptools", "http", "import service_utils.http"),
    ("redis", "redis", "import service_utils.redis"),
    ("tarantool", "tarantool", "import service_utils.tarantool"),
    ("psycopg", "postgresql", "from service_utils.db import connect; connect('postgresql://127.0.0.1:1/x').query('x')"),
    ("pymysql", "mysql", "from service_utils.db import connect; connect('mysql://a@127.0.0.1:1/x').query('x')"),
    ("imapclient", "mail", "from service_utils.mail import open_imap; open_imap('x', user='a', password='b')"),
    ("google.auth", "gmail", "from service_utils.mail import gmail_token; gmail_token('/x', 'a')()"),
    ("msal", "outlook", "from service_utils.mail import outlook_token; outlook_token('a', 'b', 'c')()"),
    ("joserfc", "security", "from service_utils.security import Key; Key.generate()"),
    ("argon2", "security", "from service_utils.security import hash_password; hash_password('x')"),
    ("cryptography", "security", "from service_utils.security import Sealer; Sealer(Sealer.new_key())"),
    ("cbor2", "formats", "from service_utils.formats import cbor_encode; cbor_encode(1)"),
    ("xlsxwriter", "formats", "from service_utils.formats import xlsx_encode; xlsx_encode([])"),
    ("python_calamine", "formats", "from service_utils.formats import xlsx_decode; xlsx_decode(b'')"),
    ("weasyprint", "pdf", "from service_utils.formats import PdfPrinter; PdfPrinter('weasyprint').print('x')"),
]


@pytest.mark.parametrize(("library", "extra", "use"), NEEDS, ids=[library for library, _, _ in NEEDS])
def test_a_library_that_is_missing(library: str, extra: str, use: str) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; {use}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f"pip install 'evpy[{extra}]'" in last
