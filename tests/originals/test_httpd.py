"""`vestibule httpd` as an init system and a person use httpd."""

import grp
import os
import pwd
import re
import shutil
import signal
from pathlib import Path

import pytest

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
    called.write("httpd.conf", CONF + "Nonsense on\n")
    done = called(*flags, "-k", "graceful")
    assert done.returncode == 1, "what has mistakes is not even tried, as with apachectl"
    assert "AH00526: Syntax error on line 10" in done.stderr
    called.write("httpd.conf", CONF)
    assert called(*flags, "-k", "stop").returncode == 0
    assert wait_for(lambda: not is_alive(pid))
    done = called(*flags, "-k", "stop")
    assert (done.returncode, done.stdout) == (0, "httpd (no pid file) not running\n"), "whoever stops it has what he wants"
    assert called(*flags, "-k", "graceful").stdout == "httpd not running, trying to start\n"
    pid = called.pid("httpd.pid")
    assert called.get()
    assert called(*flags, "-k", "graceful-stop").returncode == 0
    assert wait_for(lambda: not is_alive(pid))


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
    assert called("-h").returncode == 1
    assert called("-l").stdout.startswith("Compiled in modules:\n  mod_access_compat.c\n")
    assert "\nProxyPass (vestibule)\n\t" in called("-L").stdout


def test_what_is_dumped(called: Called) -> None:
    """As scripts read it: certbot asks for files, names and modules by `-t -D DUMP_...`."""
    called.write("more.conf", "<VirtualHost *:PORT>\n    ServerName b.example\n    ServerAlias c.example *.d.example\n</VirtualHost>\n")
    called.write("httpd.conf", f"{CONF}Include more.conf\n")
    flags = ("-d", str(called.folder), "-f", "httpd.conf", "-t", "-D")
    includes = called(*flags, "DUMP_INCLUDES").stdout.splitlines()
    assert includes == ["Included configuration files:", f"  (*) {called.folder}/httpd.conf", f"  (*) {called.folder}/more.conf"]
    shown = called(*flags, "DUMP_VHOSTS").stdout
    port = called.port
    assert re.search(rf"^\S*:{port} +is a NameVirtualHost\n         default server a\.example \([^()]*httpd\.conf:\d+\)\n", shown, re.M), (
        shown
    )
    assert re.search(rf"^         port {port} namevhost b\.example \([^()]*more\.conf:1\)\n", shown, re.M), shown
    assert "                 alias c.example\n                 wild alias *.d.example\n" in shown
    assert "ServerRoot" not in shown
    configured = called(*flags, "DUMP_RUN_CFG").stdout
    assert f'ServerRoot: "{called.folder}"\n' in configured
    assert "Define: DUMP_RUN_CFG\n" in configured
    assert "VirtualHost" not in configured


DEBIAN = Path("/etc/apache2")
SITE = """\
<VirtualHost *:PORT>
    ServerName photos.example.org
    ErrorLog ${APACHE_LOG_DIR}/photos-error.log
    CustomLog ${APACHE_LOG_DIR}/photos.log combined
    ProxyPreserveHost On
    ProxyPass /photos http://127.0.0.1:UPSTREAM/photos timeout=600 upgrade=websocket
    ProxyPassReverse /photos http://127.0.0.1:UPSTREAM/photos
    RewriteEngine On
    RewriteCond %{HTTP_HOST} ^old\\.
    RewriteRule ^ https://photos.example.org%{REQUEST_URI} [R=301,L]
    DocumentRoot FOLDER/www
    <Directory FOLDER/www>
        Require all granted
    </Directory>
</VirtualHost>
"""


@pytest.mark.skipif(not (DEBIAN / "apache2.conf").is_file(), reason="Debian's apache2 is not installed")
def test_debians_own_configuration_with_a_site_runs_as_it_is(called: Called) -> None:
    """Nothing is changed in it but the port, and who it runs as: that is the environment's."""
    conf = called.folder / "apache2"
    shutil.copytree(DEBIAN, conf, symlinks=False)
    for module in ("proxy", "proxy_http", "proxy_balancer", "headers", "rewrite", "ssl", "http2", "remoteip"):
        for ending in ("load", "conf"):
            if (conf / "mods-available" / f"{module}.{ending}").is_file():
                shutil.copy(conf / "mods-available" / f"{module}.{ending}", conf / "mods-enabled")
    for site in (conf / "sites-enabled").iterdir():
        site.unlink()
    (conf / "ports.conf").write_text((conf / "ports.conf").read_text().replace("Listen 80", f"Listen {called.port}"))
    called.write("apache2/sites-enabled/photos.conf", SITE.replace("UPSTREAM", "9"))
    (called.folder / "www").mkdir()
    (called.folder / "www" / "index.html").write_text("welcome")
    for name in ("APACHE_LOG_DIR", "APACHE_RUN_DIR", "APACHE_LOCK_DIR"):
        called.environment[name] = str(called.folder)
    called.environment |= {"APACHE_PID_FILE": str(called.folder / "apache2.pid"), "APACHE_RUN_USER": pwd.getpwuid(os.getuid()).pw_name}
    called.environment["APACHE_RUN_GROUP"] = grp.getgrgid(os.getgid()).gr_name
    done = called("-d", str(conf), "-t")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "Syntax OK"), done.stderr
    assert f"({conf}/" not in called("-d", str(conf), "-S").stdout  # paths are as the files write them
    assert "photos.example.org (sites-enabled/photos.conf:1)" in called("-d", str(conf), "-S").stdout
    assert called("-d", str(conf), "-k", "start").returncode == 0
    pid = called.pid("apache2.pid")
    assert called.get() == b"welcome"
    assert wait_for(lambda: '"GET / HTTP/1.1" 200' in (called.folder / "photos.log").read_text())
    assert called("-d", str(conf), "-k", "graceful-stop").returncode == 0
    assert wait_for(lambda: not is_alive(pid))


def test_variables_of_the_start_script(called: Called) -> None:
    called.write("envvars", "# as Debian has it\nSUFFIX=-a\nexport APACHE_NAME=served$SUFFIX\nexport OTHER='x'\n")
    called.write("httpd.conf", CONF.replace("a.example", "${APACHE_NAME}.example"))
    flags = ("-d", str(called.folder), "-f", "httpd.conf")
    assert "served-a.example" in called(*flags, "-S").stdout
    called.environment["APACHE_NAME"] = "from-outside"
    assert "from-outside.example" in called(*flags, "-D", "DUMP_VHOSTS").stdout


def test_words_of_apachectl(called: Called) -> None:
    assert called("configtest").returncode in (0, 1)  # of the machine's own file, or that there is none
    assert called("nonsense").returncode == 1
    assert " proxy_module (static)" in called("-t", "-D", "DUMP_MODULES").stdout
