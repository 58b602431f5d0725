"""Nothing goes out while tests run: what would leave this machine fails, and is noted for the fixture `attempts`.

Python imports this by itself where the folder is in PYTHONPATH: so it holds in every process that a test starts.
"""

import errno
import ipaddress
import os
import socket

FILE = "NAPARI_CEAD_TEST_ATTEMPTS"

_connect, _connect_ex, _sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
_lookups = {name: getattr(socket, name) for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex")}


def _text(host):
    return host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")


def _here(host):
    if _text(host) in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6) as probe:
        try:  # nobody can listen at an address of another machine
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _note(host):
    if FILE in os.environ:
        with open(os.environ[FILE], "a", encoding="utf-8") as stream:
            stream.write(f"{_text(host)}\n")


def _beyond(sock, address):
    """Whether a stream would leave this machine; a datagram's connect sends nothing."""
    internet = sock.family in (socket.AF_INET, socket.AF_INET6)
    return internet and sock.type == socket.SOCK_STREAM and not _here(address[0])


def connect(self, address):
    if _beyond(self, address):
        _note(address[0])
        raise OSError(errno.ENETUNREACH, "no network in tests")
    return _connect(self, address)


def connect_ex(self, address):
    if _beyond(self, address):
        _note(address[0])
        return errno.ENETUNREACH
    return _connect_ex(self, address)


def sendto(self, data, *rest):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not _here(rest[-1][0]):
        _note(rest[-1][0])
        raise OSError(errno.ENETUNREACH, "no network in tests")
    return _sendto(self, data, *rest)


def _guarded(name):
    def lookup(host, *rest, **named):
        try:
            ipaddress.ip_address(_text(host).partition("%")[0])
        except ValueError:
            if not _here(host):
                _note(host)
                raise socket.gaierror(socket.EAI_NONAME, "no network in tests") from None
        return _lookups[name](host, *rest, **named)

    return lookup


socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto = connect, connect_ex, sendto
for _name in _lookups:
    setattr(socket, _name, _guarded(_name))
