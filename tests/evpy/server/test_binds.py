"""Addresses: how they are written, what is opened for them, what is never touched, and the errors."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import free_port

from evpy.errors import StartupError
from evpy.server.binds import Bind, Listeners, address_of, inherited_binds, open_all, parse_bind

ANY = Bind("tcp", "127.0.0.1", 0)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def start(*binds: Bind, backlog: int = 16, unix_mode: int | None = None) -> Listeners:
    return open_all(binds, backlog=backlog, unix_mode=unix_mode)


@pytest.fixture
def opened() -> Iterator[list[Listeners]]:
    """What a test puts in here is closed."""
    kept: list[Listeners] = []
    yield kept
    for listeners in kept:
        listeners.close_all()


def refused(*binds: Bind) -> str:
    with pytest.raises(StartupError) as caught:
        start(*binds).close_all()
    line = str(caught.value)
    assert "\n" not in line
    return line


class TestParse:
    @pytest.mark.parametrize(
        ("text", "bind"),
        [
            ("127.0.0.1:8000", Bind("tcp", "127.0.0.1", 8000)),
            ("localhost:0", Bind("tcp", "localhost", 0)),
            ("my-host.example:65535", Bind("tcp", "my-host.example", 65535)),
            ("[::1]:8000", Bind("tcp", "::1", 8000)),
            ("[fe80::1%eth0]:80", Bind("tcp", "fe80::1%eth0", 80)),
            (":8000", Bind("tcp", "", 8000)),
            ("8000", Bind("tcp", "127.0.0.1", 8000)),
            ("unix:/run/x.sock", Bind("unix", path="/run/x.sock")),
            ("unix:x:1", Bind("unix", path="x:1")),
            ("unix:" + "x" * 107, Bind("unix", path="x" * 107)),
            ("fd:3", Bind("fd", fd=3)),
        ],
    )
    def test_taken(self, text: str, bind: Bind) -> None:
        assert parse_bind(text) == bind
        assert parse_bind(str(bind)) == bind

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("", "has no port; write ':8000'"),
            ("localhost", "'localhost' has no port; write 'localhost:8000'"),
            ("[::1:8000", "the bracket of the IPv6 address is not closed; write '[ADDRESS]:PORT'"),
            ("[::1]", "'[::1]' has no port; write '[::1]:8000'"),
            ("::1:8000", "an IPv6 address needs brackets; write '[::1]:8000'"),
            ("[::g]:80", "'::g' is not an IPv6 address"),
            ("127.0.0.1:65536", "the port is a number from 0 to 65535"),
            ("127.0.0.1:http", "the port is a number from 0 to 65535"),
            ("127.0.0.1:", "the port is a number from 0 to 65535"),
            ("127.0.0.1:-1", "the port is a number from 0 to 65535"),
            ("99999", "the port is a number from 0 to 65535"),
            ("٣:80", "'٣' is not a host name"),
            ("127.0.0.1:٣", "the port is a number from 0 to 65535"),
            ("127.0.0.256:80", "'127.0.0.256' is not an IPv4 address"),
            ("1.2.3:80", "'1.2.3' is not an IPv4 address"),
            ("*:80", "every interface is written ':80'"),
            ("a b:80", "'a b' is not a host name"),
            ("-x:80", "'-x' is not a host name"),
            ("http://localhost:80/", "is a path or a URL, not an address; write 'localhost:80'"),
            ("/run/x.sock", "is a path or a URL, not an address; write 'unix:/run/x.sock'"),
            ("unix:", "has no usable path"),
            ("unix:a\0b", "has no usable path"),
            ("unix:" + "x" * 108, "the path has 108 bytes, a Unix socket's may have 107"),
            ("unix:" + "ü" * 54, "the path has 108 bytes"),
            ("fd:2", "a descriptor is written fd:3; 0 to 2 are the standard streams"),
            ("fd:03", "a descriptor is written fd:3"),
            ("fd:x", "a descriptor is written fd:3"),
        ],
    )
    def test_refused(self, text: str, error: str) -> None:
        with pytest.raises(ValueError, match=re.escape(error)):
            parse_bind(text)

    @given(st.text() | st.from_regex(r"(unix:|fd:|\[?[0-9a-f:.]*\]?:)[0-9]{0,6}", fullmatch=True))
    def test_any_text_is_taken_or_refused(self, text: str) -> None:
        try:
            bind = parse_bind(text)
        except ValueError:
            return
        assert parse_bind(str(bind)) == bind


class TestTcp:
    def test_a_client_gets_through(self, opened: list[Listeners]) -> None:
        opened.append(start(ANY))
        (sock,) = opened[0]
        assert opened[0].addresses() == [f"127.0.0.1:{sock.getsockname()[1]}"]
        assert not sock.getblocking()
        assert sock.get_inheritable()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        with socket.create_connection(sock.getsockname()):
            sock.setblocking(True)
            sock.accept()[0].close()

    def test_several_at_once(self, opened: list[Listeners], tmp_path: Path) -> None:
        opened.append(start(ANY, Bind("unix", path=str(tmp_path / "s")), Bind("tcp", "127.0.0.2", 0)))
        assert [address.rpartition(":")[0] for address in opened[0].addresses()] == ["127.0.0.1", "unix", "127.0.0.2"]
        assert opened[0].filenos() == [sock.fileno() for sock in opened[0]]

    @needs_ipv6
    def test_ipv6_is_ipv6_only(self, opened: list[Listeners]) -> None:
        opened.append(start(Bind("tcp", "::1", 0)))
        (sock,) = opened[0]
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        assert opened[0].addresses() == [f"[::1]:{sock.getsockname()[1]}"]

    @needs_ipv6
    def test_every_interface_is_both_families_on_one_port(self, opened: list[Listeners]) -> None:
        opened.append(start(Bind("tcp", "", 0)))
        four, six = opened[0].addresses()
        assert four.startswith("0.0.0.0:")
        assert six == f"[::]:{four.rpartition(':')[2]}"

    def test_every_interface_without_ipv6(self, opened: list[Listeners], monkeypatch: pytest.MonkeyPatch) -> None:
        real = socket.socket

        def no_ipv6(family: int = -1, *args: object, **rest: object) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6")
            return real(family, *args, **rest)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "socket", no_ipv6)
        opened.append(start(Bind("tcp", "", 0)))
        assert len(opened[0]) == 1
        assert "no such address; 'ip address' lists" in refused(Bind("tcp", "::1", 0))

    def test_a_name_stands_for_those_of_its_addresses_that_are_here(
        self, opened: list[Listeners], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1", "127.0.0.2")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **rest: [*found, found[-1]])
        opened.append(start(Bind("tcp", "name", 0)))
        first, second = opened[0].addresses()
        assert (first.partition(":")[0], second.partition(":")[0]) == ("127.0.0.1", "127.0.0.2")
        assert first.partition(":")[2] == second.partition(":")[2]

    def test_a_name_that_does_not_resolve(self) -> None:
        assert refused(Bind("tcp", "no-such-host.invalid", 80)).startswith(
            "cannot listen on no-such-host.invalid:80: the host name 'no-such-host.invalid' does not resolve ("
        )

    def test_a_name_that_cannot_be_encoded(self) -> None:
        assert "does not resolve" in refused(Bind("tcp", "a..b", 80))

    def test_an_address_of_another_machine(self) -> None:
        assert refused(Bind("tcp", "192.0.2.1", 80)).startswith(
            "cannot listen on 192.0.2.1:80: this machine has no such address"
        )

    def test_an_address_in_use(self, opened: list[Listeners]) -> None:
        opened.append(start(ANY))
        (address,) = opened[0].addresses()
        port = address.rpartition(":")[2]
        assert refused(parse_bind(address)) == (
            f"cannot listen on {address}: the address is in use; stop the other server "
            f"(ss -ltnp 'sport = :{port}' shows it) or choose another --bind"
        )

    def test_an_address_that_another_bind_of_ours_covers(self, opened: list[Listeners]) -> None:
        port = free_port()
        assert refused(Bind("tcp", "127.0.0.1", port), Bind("tcp", "", port)) == (
            f"cannot listen on :{port}: the address is in use, and this server itself already has 127.0.0.1:{port}; "
            "drop one of the two"
        )

    @needs_ipv6
    def test_the_same_port_of_another_family_is_another_address(self, opened: list[Listeners]) -> None:
        opened.append(start(Bind("tcp", "::1", 0)))
        six = parse_bind(opened[0].addresses()[0])
        assert "stop the other server" in refused(Bind("tcp", "127.0.0.1", six.port), six)

    def test_privileged_ports(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no(self: socket.socket, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(socket.socket, "bind", no)
        assert "127.0.0.1:80: no permission; ports below 1024 need root, CAP_NET" in refused(
            Bind("tcp", "127.0.0.1", 80)
        )

    def test_all_or_nothing(self, opened: list[Listeners], tmp_path: Path) -> None:
        opened.append(start(ANY))
        path = tmp_path / "s"
        refused(Bind("unix", path=str(path)), parse_bind(opened[0].addresses()[0]))
        assert not path.exists()

    def test_nothing_listens_before_all_are_bound(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        listened = []
        monkeypatch.setattr(socket.socket, "listen", lambda self, backlog: listened.append(backlog))
        refused(ANY, Bind("tcp", "192.0.2.1", 80))
        assert listened == []
        start(ANY, ANY, backlog=7).close_all()
        assert listened == [7, 7]

    def test_too_many(self) -> None:
        assert refused(*[ANY] * 17) == "17 listening sockets are too many, 16 is the limit; use fewer --bind"

    def test_an_address_that_is_taken_between_bind_and_listen(
        self, opened: list[Listeners], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def taken(self: socket.socket, backlog: int) -> None:
            raise OSError(errno.EADDRINUSE, "Address already in use")

        monkeypatch.setattr(socket.socket, "listen", taken)
        assert "the address is in use; stop the other server" in refused(ANY)


class TestUnix:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "s"

    @pytest.fixture
    def bind(self, path: Path) -> Bind:
        return Bind("unix", path=str(path))

    def test_a_client_gets_through_and_the_path_goes_in_the_end(self, bind: Bind, path: Path) -> None:
        listeners = start(bind)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert listeners.addresses() == [str(bind)]
        listeners.close_all()
        assert not path.exists()
        listeners.close_all()

    @pytest.mark.parametrize("mode", [0o600, 0o666])
    def test_permissions(self, opened: list[Listeners], bind: Bind, path: Path, mode: int) -> None:
        opened.append(start(bind, unix_mode=mode))
        assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_permissions_by_the_umask(self, opened: list[Listeners], bind: Bind, path: Path) -> None:
        old = os.umask(0o027)
        try:
            opened.append(start(bind))
        finally:
            os.umask(old)
        assert stat.S_IMODE(path.stat().st_mode) == 0o750

    def test_a_stale_socket_is_replaced(self, opened: list[Listeners], bind: Bind, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
            dead.listen()
        opened.append(start(bind))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_a_live_one_is_not(self, opened: list[Listeners], bind: Bind, path: Path) -> None:
        opened.append(start(bind))
        before = path.stat().st_ino
        assert "another server is using it; stop that one" in refused(bind)
        assert path.stat().st_ino == before

    def test_a_busy_one_is_not(self, bind: Bind, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
            busy.bind(str(path))
            busy.listen(0)
            waiting.connect(str(path))
            assert "another server is using it" in refused(bind)

    def test_a_live_one_of_another_type_is_not(self, bind: Bind, path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(str(path))
            assert "another server is using it" in refused(bind)
        assert path.exists()

    def test_what_is_no_socket_is_not(self, bind: Bind, path: Path) -> None:
        path.write_text("precious")
        assert "the path exists and is not a socket; remove it" in refused(bind)
        assert path.read_text() == "precious"

    def test_a_link_is_not_followed(self, bind: Bind, path: Path, tmp_path: Path) -> None:
        (tmp_path / "other").write_text("precious")
        path.symlink_to(tmp_path / "other")
        assert "is not a socket" in refused(bind)

    def test_a_missing_directory(self, tmp_path: Path) -> None:
        text = refused(Bind("unix", path=str(tmp_path / "no" / "s")))
        assert text.endswith("the directory of the socket does not exist; create it first")

    def test_a_directory_that_may_not_be_written(self, bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
        def no(self: socket.socket, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(socket.socket, "bind", no)
        assert refused(bind).endswith("Permission denied; the directory of the socket must be writable for this user")

    def test_the_socket_of_a_successor_stays(self, bind: Bind, path: Path, opened: list[Listeners]) -> None:
        listeners = start(bind)
        path.unlink()
        opened.append(start(bind))
        listeners.close_all()
        assert path.exists()

    def test_a_forked_child_leaves_the_path(self, bind: Bind, path: Path) -> None:
        listeners = start(bind)
        child = os.fork()
        if child == 0:
            try:
                listeners.close_all()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert path.exists()
        listeners.close_all()

    def test_a_relative_path_is_found_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        listeners = start(Bind("unix", path="s"))
        monkeypatch.chdir("/")
        listeners.close_all()
        assert not (tmp_path / "s").exists()


class TestInherited:
    def test_a_listening_socket_is_adopted(self, opened: list[Listeners]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = address_of(server)
            fd = fcntl.fcntl(server, fcntl.F_DUPFD, 30)
        opened.append(start(Bind("fd", fd=fd)))
        assert opened[0].addresses() == [address]
        assert opened[0].filenos() == [fd]

    def test_what_is_not_there(self) -> None:
        assert refused(Bind("fd", fd=987)).startswith("cannot listen on fd:987: no such descriptor")

    def test_what_is_no_socket(self) -> None:
        reader, writer = os.pipe()
        try:
            assert refused(Bind("fd", fd=reader)) == f"cannot listen on fd:{reader}: the descriptor is not a socket"
            os.fstat(reader)  # still open
        finally:
            os.close(reader)
            os.close(writer)

    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    def test_what_does_not_listen(self, kind: socket.SocketKind) -> None:
        with socket.socket(socket.AF_INET, kind) as sock:
            assert "not a listening stream socket" in refused(Bind("fd", fd=sock.fileno()))
            os.fstat(sock.fileno())  # still open

    def test_a_child_finds_them(self) -> None:
        with start(ANY).sockets[0] as sock:
            script = f"import socket; print(socket.socket(fileno={sock.fileno()}).getsockname()[1])"
            done = subprocess.run(
                [sys.executable, "-c", script], close_fds=False, capture_output=True, text=True, check=True
            )
            assert int(done.stdout) == sock.getsockname()[1]

    @pytest.mark.parametrize(
        ("pid", "count", "binds"),
        [
            (os.getpid(), "2", ("fd:3", "fd:4")),
            (os.getpid(), "0", ()),
            (os.getpid(), "x", ()),
            (os.getpid(), "", ()),
            (1, "2", ()),
        ],
    )
    def test_the_variables_of_systemd(self, pid: int, count: str, binds: tuple[str, ...]) -> None:
        assert inherited_binds({"LISTEN_PID": str(pid), "LISTEN_FDS": count}) == binds

    def test_without_variables(self) -> None:
        assert inherited_binds({}) == ()
