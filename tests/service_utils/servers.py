"""Database servers for tests: started on free ports of 127.0.0.1 from Debian's packages, in folders that are removed
afterwards.

Missing programs: a skip with the command that installs them; under CI (the environment variable CI) a failure.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import self_signed
from serving import free_port

PASSWORD = "s3cret/%@: pass"
MAIL_PASSWORD = 's3cret "%@\\ pass'  # a colon would end it in the file of users
DEBIAN = {
    "postgresql": "postgresql", "mysql": "mariadb-server", "redis": "redis-server", "tarantool": "tarantool",
    "dovecot": "dovecot-imapd dovecot-pop3d",
}  # fmt: skip
START_TIMEOUT = 60.0  # seconds
os.environ.setdefault("PGSSLMODE", "disable")  # unless a URL says something else; the server offers TLS


def program(*names: str) -> str | None:
    """The newest program of one of these names."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    folders = [*map(str, versions), "/usr/sbin", "/usr/bin"]
    for name in names:
        found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))
        if found:
            return found
    return None


class Missing(Exception):
    """A program is not installed."""


class Server:
    """A server process, run as an unprivileged user if this is root."""

    kind: str
    end = signal.SIGTERM
    crash = signal.SIGKILL  # ends it at once, connections included

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"evpy-{self.kind}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self.as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        try:
            self.install()
            self.start()
        except BaseException:
            self.remove()
            raise

    def need(self, *names: str) -> str:
        found = program(*names)
        if found is None:
            raise Missing(
                f"{names[0]} is not installed: apt-get install -y --no-install-recommends {DEBIAN[self.kind]}"
            )
        return found

    def command(self) -> list[str]:
        raise NotImplementedError

    def install(self) -> None:
        raise NotImplementedError

    def call(self, *command: str, **more: Any) -> None:
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C"}, **self.as_user, **more,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"

    def start(self) -> None:
        """Runs it and waits until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C"}, **self.as_user,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, f"{self.kind} does not answer"
            time.sleep(0.05)

    def answers(self) -> bool:
        raise NotImplementedError

    def stop(self, number: int | None = None) -> None:
        """Ends it: at once, without waiting for clients."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number or self.end)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgresql(Server):
    kind = "postgresql"
    end = signal.SIGINT  # does not wait for clients
    crash = signal.SIGQUIT  # after SIGKILL its children would still be there

    def install(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "password").chmod(0o644)
        self.call(
            self.need("initdb"), "-D", str(self.folder / "data"), "-U", "tester", "--auth=scram-sha-256",
            f"--pwfile={self.folder}/password", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        self.secure()

    def secure(self) -> None:
        """A certificate for 127.0.0.1, and its key, which nobody else may read."""
        self.certificate = self_signed(self.folder)
        self.certificate.chmod(0o600)
        if self.as_user:
            os.chown(self.certificate, self.as_user["user"], self.as_user["group"])

    def command(self) -> list[str]:
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder, "fsync": "off",
            "full_page_writes": "off", "max_connections": 60, "shared_buffers": "32MB", "deadlock_timeout": "50ms",
            "ssl": "on", "ssl_cert_file": self.certificate, "ssl_key_file": self.certificate,
        }  # fmt: skip
        flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        return [self.need("postgres"), "-D", str(self.folder / "data"), *flags]

    def answers(self) -> bool:
        import psycopg

        try:
            with self.admin():
                return True
        except psycopg.OperationalError:
            return False

    def admin(self) -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="tester", password=PASSWORD, dbname="postgres", autocommit=True
        )

    @property
    def url(self) -> str:
        from urllib.parse import quote

        return f"postgresql://tester:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres"

    def empty(self) -> None:
        """Throws away what is in the database."""
        with self.admin() as admin:
            admin.execute("drop schema public cascade; create schema public")


class Mariadb(Server):
    kind = "mysql"

    def install(self) -> None:
        self.call(
            self.need("mariadb-install-db", "mysql_install_db"), "--no-defaults", f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        (self.folder / "init.sql").write_text(
            f"create user if not exists tester@'%' identified by '{quoted}';\n"
            "grant all on *.* to tester@'%' with grant option;\ncreate database if not exists test;\n"
        )
        (self.folder / "init.sql").chmod(0o644)
        self.call(
            self.need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
        )  # fmt: skip

    def command(self) -> list[str]:
        settings = {
            "datadir": self.folder / "data", "socket": self.folder / "socket", "pid-file": self.folder / "pid",
            "port": self.port, "bind-address": "127.0.0.1", "init-file": self.folder / "init.sql",
            "innodb-buffer-pool-size": "32M", "innodb-flush-log-at-trx-commit": 0, "max-connections": 60,
            "innodb-fast-shutdown": 2, "ssl-cert": self.folder / "cert.pem", "ssl-key": self.folder / "key.pem",
        }  # fmt: skip
        flags = [f"--{name}={value}" for name, value in settings.items()]
        return [self.need("mariadbd", "mysqld"), "--no-defaults", "--skip-name-resolve", "--skip-log-bin", *flags]

    def answers(self) -> bool:
        import pymysql

        try:
            with self.admin():
                return True
        except pymysql.MySQLError:
            return False

    def admin(self) -> Any:
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="tester", password=PASSWORD, autocommit=True, ssl_disabled=True
        )

    @property
    def url(self) -> str:
        from urllib.parse import quote

        return f"mysql://tester:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/test"

    def empty(self) -> None:
        """Throws away what is in the database."""
        with self.admin() as admin:
            admin.query("drop database if exists test")
            admin.query("create database test character set utf8mb4")


class Redis(Server):
    """With a password and a second port for TLS. ``sentinel()`` starts one that watches it."""

    kind = "redis"
    crash = signal.SIGKILL

    def install(self) -> None:
        self.tls_port = free_port()
        self.call(
            self.need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
        )  # fmt: skip
        self._configure("redis.conf", {
            "port": self.port, "requirepass": PASSWORD, "tls-port": self.tls_port, "tls-cert-file": "cert.pem",
            "tls-key-file": "key.pem", "tls-auth-clients": "no", "tls-ca-cert-file": "cert.pem",
            "unixsocket": f"{self.folder}/socket", "unixsocketperm": 777,
        })  # fmt: skip

    def _configure(self, file: str, settings: dict[str, Any], *more: str) -> None:
        usual = {"bind": "127.0.0.1", "dir": self.folder, "save": "", "appendonly": "no"}
        lines = [f'{name} "{value}"' for name, value in {**usual, **settings}.items()]
        (self.folder / file).write_text("\n".join([*lines, *more, ""]))
        (self.folder / file).chmod(0o666)
        (self.folder).chmod(0o777)

    def command(self) -> list[str]:
        return [self.need("redis-server"), str(self.folder / "redis.conf")]

    def sentinel(self, port: int) -> subprocess.Popen[bytes]:
        """Knows this server as ``mymaster``. The caller ends it."""
        self._configure(
            "sentinel.conf", {"port": port}, f"sentinel monitor mymaster 127.0.0.1 {self.port} 1",
            f'sentinel auth-pass mymaster "{PASSWORD}"',
        )  # fmt: skip
        return subprocess.Popen(
            [self.need("redis-server"), "sentinel.conf", "--sentinel"], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}, **self.as_user,
        )  # fmt: skip

    def answers(self) -> bool:
        try:
            self.empty()
        except OSError:
            return False
        return True

    def empty(self) -> None:
        """Throws away what is in it."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock, sock.makefile("rb") as answers:
            sock.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\nFLUSHALL\r\n" % (len(PASSWORD), PASSWORD.encode()))
            if answers.readline() + answers.readline() != b"+OK\r\n+OK\r\n":
                raise ConnectionError("not ready")

    @property
    def url(self) -> str:
        from urllib.parse import quote

        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/0"


class Tarantool(Server):
    """With the user ``tester``, who may do everything."""

    kind = "tarantool"

    def install(self) -> None:
        quoted = PASSWORD.replace("'", "\\'")
        (self.folder / "init.lua").write_text(
            f"box.cfg{{work_dir = '{self.folder}', wal_mode = 'none', memtx_memory = 64 * 1024 * 1024}}\n"
            "box.schema.user.create('tester', {if_not_exists = true})\n"
            f"box.schema.user.passwd('tester', '{quoted}')\n"
            "box.schema.user.grant('tester', 'super', nil, nil, {if_not_exists = true})\n"
            f"box.cfg{{listen = '127.0.0.1:{self.port}'}}\n"
        )
        (self.folder / "init.lua").chmod(0o644)

    def command(self) -> list[str]:
        return [self.need("tarantool"), str(self.folder / "init.lua")]

    def admin(self) -> Any:
        import tarantool

        return tarantool.Connection("127.0.0.1", self.port, user="tester", password=PASSWORD)

    def answers(self) -> bool:
        import tarantool

        try:
            self.admin().close()
        except tarantool.Error:
            return False
        return True

    @property
    def url(self) -> str:
        from urllib.parse import quote

        return f"tarantool://tester:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}"

    def empty(self) -> None:
        """Throws away all spaces, functions and users that a test has made."""
        admin = self.admin()
        admin.eval(
            "for _, s in box.space._space:pairs({512}, {iterator = 'GE'}) do box.space[s[1]]:drop() end "
            "for name, f in pairs(_G) do if type(f) == 'function' and name:match('^test_') then _G[name] = nil end end"
        )
        admin.close()


class Dovecot(Server):
    """IMAP and POP3, with and without TLS, with the users ann and bob; as an unprivileged user, without a chroot."""

    kind = "dovecot"

    def install(self) -> None:
        self.pop3_port, self.imaps_port, self.pop3s_port = free_port(), free_port(), free_port()
        self.certificate = self_signed(self.folder)
        user = "nobody" if self.as_user else pwd.getpwuid(os.geteuid()).pw_name
        group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
        (self.folder / "users").write_text(f"ann:{{PLAIN}}{MAIL_PASSWORD}\nbob:{{PLAIN}}other\n")
        (self.folder / "dovecot.conf").write_text(f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = /dev/stderr
protocols = imap pop3
listen = 127.0.0.1
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
first_valid_uid = 1
mail_location = maildir:{self.folder}/mail/%u
auth_username_format = %u
auth_failure_delay = 0
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{self.certificate}
ssl_key = <{self.certificate}
passdb {{
  driver = passwd-file
  args = {self.folder}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={self.folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.imaps_port}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {self.pop3_port}
  }}
  inet_listener pop3s {{
    port = {self.pop3s_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
""")
        for path in self.folder.iterdir():
            path.chmod(0o644)
        (self.folder / "mail").mkdir()
        (self.folder / "mail").chmod(0o777)

    def command(self) -> list[str]:
        return [self.need("dovecot"), "-F", "-c", str(self.folder / "dovecot.conf")]

    def answers(self) -> bool:
        try:
            for port in (self.port, self.imaps_port, self.pop3_port, self.pop3s_port):
                socket.create_connection(("127.0.0.1", port), 10).close()
        except OSError:
            return False
        return True

    def empty(self) -> None:
        """Throws away all mail."""
        shutil.rmtree(self.folder / "mail")
        (self.folder / "mail").mkdir()
        (self.folder / "mail").chmod(0o777)


KINDS: dict[str, Callable[[], Server]] = {
    "postgresql": Postgresql, "mysql": Mariadb, "redis": Redis, "tarantool": Tarantool, "dovecot": Dovecot,
}  # fmt: skip
running: dict[str, Server] = {}
reasons: dict[str, str] = {}


def start(kinds: set[str]) -> None:
    """Starts what the tests need and does not run yet; what cannot be had is remembered with its reason."""
    for kind in sorted(kinds & KINDS.keys() - running.keys()):
        try:
            running[kind] = KINDS[kind]()
        except Missing as missing:
            reasons[kind] = str(missing)


def stop() -> None:
    while running:
        running.popitem()[1].remove()


def get(kind: str) -> Any:
    """The running server; skips the test (fails, under CI) when there is none."""
    if kind in reasons:
        if os.environ.get("CI"):
            pytest.fail(reasons[kind], pytrace=False)
        pytest.skip(reasons[kind])
    return running[kind]
