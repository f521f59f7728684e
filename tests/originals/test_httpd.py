"""`vestibule httpd` as an init system and a person use httpd."""

import signal

from .conftest import Called, is_alive, wait_for

NAME = "httpd"
CONF = """\
PidFile FOLDER/httpd.pid
<IfDefine !OTHER>
Listen 127.0.0.1:PORT
<VirtualHost *:PORT>
    ServerName a.example
    Redirect /one https://a.example/one
    Redirect 404 /
</VirtualHost>
</IfDefine>
"""


def test_check(called: Called) -> None:
    called.write("httpd.conf", CONF)
    done = called("-f", "httpd.conf", "-d", str(called.folder), "-t")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "Syntax OK")
    called.write("httpd.conf", CONF + "Nonsense on\n")
    done = called("-f", f"{called.folder}/httpd.conf", "-t")
    assert done.returncode == 1
    assert f"AH00526: Syntax error on line 10 of {called.folder}/httpd.conf:\n" in done.stderr


def test_daemon_graceful_and_stop(called: Called) -> None:
    called.write("httpd.conf", CONF)
    flags = ("-d", str(called.folder), "-f", "httpd.conf")
    assert called(*flags, "-k", "start").returncode == 0
    pid = called.pid("httpd.pid")
    assert called.get()
    called.write("httpd.conf", CONF.replace("Redirect 404 /", "Redirect 410 /"))
    assert called(*flags, "-k", "graceful").returncode == 0
    assert wait_for(lambda: b"410" in called.get())
    assert called(*flags, "-k", "stop").returncode == 0
    assert wait_for(lambda: not is_alive(pid))
    assert called(*flags, "-k", "stop").returncode == 1


def test_names_and_directives_of_the_command_line(called: Called) -> None:
    called.write("httpd.conf", CONF)
    done = called("-d", str(called.folder), "-f", "httpd.conf", "-D", "OTHER", "-c", "Nonsense on", "-t")
    assert done.returncode == 1
    assert "of command line" in done.stderr


def test_foreground(called: Called) -> None:
    called.write("httpd.conf", CONF)
    process = called.begin("-d", str(called.folder), "-f", "httpd.conf", "-DFOREGROUND")
    assert wait_for(lambda: bool(called.get()))
    process.send_signal(signal.SIGWINCH)
    assert process.wait(10) == 0


def test_versions_and_flags(called: Called) -> None:
    called.write("httpd.conf", CONF)
    assert called("-v").stdout.startswith("Server version: Apache/2.4")
    assert " proxy_module (static)" in called("-M").stdout
    assert "a.example" in called("-d", str(called.folder), "-f", "httpd.conf", "-S").stdout
    assert called("-Y").returncode == 1
