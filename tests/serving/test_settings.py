"""What a server is told is checked before anything is loaded; a place that is taken is said."""

import socket

import pytest

from pipelines.errors import BadInput
from pipelines.serving.settings import ServeSettings, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_token(host):
    assert is_loopback(host)
    assert ServeSettings(host=host).token == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.3", "::", "example.org", "localhost.evil"])
def test_other_hosts_need_a_token(host):
    assert not is_loopback(host)
    with pytest.raises(BadInput, match="others than this machine could search and see the pict"):
        ServeSettings(host=host)
    assert ServeSettings(host=host, token="0123456789abcdef").host == host


def test_another_name_needs_a_token():
    with pytest.raises(BadInput, match="--name find.example: others than this machine could se"):
        ServeSettings(names=("find.example",))


@pytest.mark.parametrize("token", ["short", "0123456789abcde", "0123456789abcdef;x", "é" * 20])
def test_a_token_is_long_and_plain(token):
    with pytest.raises(BadInput, match="--token: wanted are 16 letters and digits or more"):
        ServeSettings(token=token)


def test_a_port_that_is_taken_is_said():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            BadInput, match=rf"127.0.0.1, port {port}: .*address already in use; na"
        ):
            ServeSettings(port=port).listening()
    with pytest.raises(BadInput, match="--port 70000: wanted is 0"):
        ServeSettings(port=70000)
    with pytest.raises(BadInput, match="nothing can listen at no-such-host.invalid, port 1"):
        ServeSettings(host="no-such-host.invalid", port=1, token="0" * 16).listening()


def test_a_free_port_is_found():
    with ServeSettings(port=0).listening() as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
        assert listening.getsockname()[1] > 0
