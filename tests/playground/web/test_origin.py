"""Where requests come from, and which names are this app's own."""

import pytest

from playground.config.settings import Settings
from playground.web.origin import Hosts, address_of


@pytest.mark.parametrize(
    ("client", "forwarded", "proxies", "address"),
    [
        ("192.0.2.1", "", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", 0, "192.0.2.1"),  # written by anybody
        ("10.0.0.1", "203.0.113.5, 198.51.100.9", 1, "198.51.100.9"),  # what stands before it was written by the visitor
        ("10.0.0.1", "203.0.113.5, 198.51.100.9, 10.0.0.2", 2, "198.51.100.9"),
        ("10.0.0.1", "", 1, "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "", 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("testclient", "", 0, "testclient"),
        (None, "", 0, ""),
    ],
)
def test_the_address_is_the_one_that_a_declared_proxy_saw(client, forwarded, proxies, address):
    assert address_of(client, forwarded, proxies) == address


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:7860", "127.0.0.1:7860", "[::1]:7860", "192.168.1.20", "play.school.example:80", None]
)
def test_the_apps_own_names_are_answered(tmp_path, host):
    hosts = Hosts(Settings(tmp_path, hosts=("play.school.example",)), {})
    assert hosts.allow(host if host is None else host.lower())
    assert hosts.allow(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "play.school.example.evil.example", "[", "me-space.hf.space", "localhost@x"]
)
def test_other_names_are_not(tmp_path, host):
    assert not Hosts(Settings(tmp_path, hosts=("play.school.example",)), {}).allow(host)


def test_spaces_and_a_declared_root_are_known_by_themselves(tmp_path):
    assert Hosts(Settings(tmp_path), {"SPACE_ID": "me/space"}).allow("me-space.hf.space")
    assert Hosts(Settings(tmp_path), {"GRADIO_ROOT_PATH": "https://school.example/play"}).allow("school.example")
    assert Hosts(Settings(tmp_path, hosts=("*",)), {}).allow("anything.example")
