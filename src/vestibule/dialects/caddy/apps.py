"""Servers, certificates and logs of a configuration in JSON as sites.

Facts (Caddy's documentation, "JSON Config Structure", "Automatic HTTPS"): a server listens on addresses and has one list of routes; a
route of a Caddyfile's site is one with a ``host`` matcher that ends there. A server has TLS where it has connection policies, or where it
names hosts and its port is not that of plain HTTP.

Rules: each route for some hosts that ends there is a site. Where routes are otherwise, each host that any route names is a site with
all of them.

Not here: what routes do (``handlers``), what a site becomes (``lower``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vestibule.dialects.caddy.document import Document, below
from vestibule.dialects.caddy.handlers import Handlers
from vestibule.dialects.caddy.report import Report
from vestibule.dialects.caddy.tree import File, Segment, SiteBlock

Place = tuple[str, object]

_TIMES = {"read_timeout": "read_body", "read_header_timeout": "read_header", "write_timeout": "write", "idle_timeout": "idle"}
_ELSEWHERE = {"admin": "`vestibule status` asks vestibule's own socket", "storage": "certificates are kept in the state directory"}
_TUNED = {
    "ocsp_interval": "answers of OCSP are not stapled",
    "renew_interval": "renewals are looked for every few seconds",
    "storage_clean_interval": "nothing is cleaned",
}
_POLICY = {
    "storage": "certificates are kept in the state directory",
    "must_staple": "answers of OCSP are not stapled",
    "disable_ocsp_stapling": "answers of OCSP are not stapled",
    "renewal_window_ratio": "the issuer advises, or a third of the lifetime is left",
}
_OWN = "a site's certificate is the one it names, or one that is made for it"
_AUTOMATIC = dict.fromkeys(("disable_certificates", "skip_certificates", "ignore_loaded_certificates"), _OWN)
_LOGS = {"sampling": "every request is logged", "exclude": "each log says what it holds"}
_ISSUING = {
    "test_ca": "nobody is asked for trial",
    "acme_timeout": "vestibule decides",
    "preferred_chains": "the issuer's first chain is used",
}
_NO_APPS = {"pki": "there is one local CA", "events": "nothing listens to events"}


@dataclass(slots=True)
class _Server:
    """One server."""

    path: str
    table: dict[str, object]
    skipped: list[str] = field(default_factory=list)
    automatic: bool = True
    has_tls: bool = False


def read_document(name: str, text: str, report: Report) -> File:
    """Read a configuration in JSON as what a Caddyfile would have been."""
    document = Document(name, report)
    return _Apps(document).file(document.parse(text), name)


class _Apps:
    """Reads one document; used once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._handlers = Handlers(document)
        self._options: list[Segment] = []
        self._tls: dict[str, object] = {}
        self._logs: dict[str, object] = {}
        self._http_port = 80
        self._tags: dict[str, set[str]] = {}
        """Marks of certificates that connection policies choose, by host."""

    def file(self, root: dict[str, object], name: str) -> File:
        """Return the whole of it."""
        document = self._document
        document.rest(root, "", ("apps", "logging", "@id"), _ELSEWHERE)
        apps = document.table(root.get("apps"), "apps")
        document.rest(apps, "apps", ("http", "tls"), _NO_APPS)
        self._tls = document.table(apps.get("tls"), "apps.tls")
        document.rest(self._tls, "apps.tls", ("automation", "certificates"), {"session_tickets": "their keys are vestibule's"})
        self._read_logs(document.table(root.get("logging"), "logging"))
        http = document.table(apps.get("http"), "apps.http")
        document.rest(http, "apps.http", ("servers", "http_port", "https_port", "grace_period"), {"shutdown_delay": "it ends at once"})
        for key in ("http_port", "https_port"):
            if key in http:
                self._options.append(document.line(below("apps.http", key), key, document.text(http[key], below("apps.http", key))))
        if "grace_period" in http:
            self._options.append(
                document.line("apps.http", "grace_period", document.duration(http["grace_period"], "apps.http.grace_period"))
            )
        port = document.text(http.get("http_port"), "apps.http.http_port")
        self._http_port = int(port) if port.isdecimal() else 80
        self._automation()
        sites: list[SiteBlock] = []
        for path, _, value in document.entries(http.get("servers"), "apps.http.servers"):
            sites += self._server(path, document.table(value, path))
        return File(options=document.line("", "{", block=self._options), sites=sites, names=[name])

    # ------------------------------------------------------------ servers

    def _server(self, path: str, table: dict[str, object]) -> list[SiteBlock]:
        document = self._document
        known = ("listen", "routes", "errors", "automatic_https", "tls_connection_policies", "logs", "protocols", "listener_wrappers")
        more = ("trusted_proxies", "client_ip_headers", "max_header_bytes", "trusted_proxies_strict", *_TIMES)
        harmless = {"strict_sni_host": "a host that has no site gets 421", "metrics": "`vestibule status` tells figures"}
        document.rest(table, path, (*known, *more, "@id"), {**harmless, "allow_h2c": "HTTP/2 without TLS is spoken by prior knowledge"})
        server = _Server(path, table)
        automatic = document.table(table.get("automatic_https"), below(path, "automatic_https"))
        document.rest(automatic, below(path, "automatic_https"), ("disable", "disable_redirects", "skip"), _AUTOMATIC)
        server.automatic = automatic.get("disable") is not True
        server.skipped = document.texts(automatic.get("skip"), below(path, "automatic_https"))
        server.has_tls = bool(table.get("tls_connection_policies"))
        if automatic.get("disable_redirects") is True:
            self._options.append(document.line(below(path, "automatic_https"), "auto_https", "disable_redirects"))
        self._read_tags(server)
        listens = document.texts(table.get("listen"), below(path, "listen"))
        self._tuned(server, listens)
        sites: list[SiteBlock] = []
        for place, hosts, lines in self._parts(server):
            sites += self._sites(server, place, hosts, lines, listens)
        return sites

    def _parts(self, server: _Server) -> list[tuple[str, list[str], list[Segment]]]:
        """Return hosts with what is done for them; no host is any."""
        document = self._document
        place = below(server.path, "routes")
        routes = document.items(server.table.get("routes"), place)
        if all(self._is_site(value, at == len(routes) - 1) for at, (_, value) in enumerate(routes)) and routes:
            found: list[tuple[str, list[str], list[Segment]]] = []
            for path, value in routes:
                route = document.table(value, path)
                document.rest(route, path, ("match", "handle", "terminal", "@id"))
                hosts = _hosts_of(route)
                bare = {key: each for key, each in route.items() if key not in ("match", "terminal")}
                found.append((path, hosts, self._handlers.routes([(path, bare)])))
            return found
        lines = self._handlers.routes(routes)
        named = list(dict.fromkeys([host for _, value in routes for host in _hosts_inside(value)]))
        any_host = (place, list[str](), lines)
        return [(place, named, lines), any_host] if named else [any_host]

    def _is_site(self, value: object, is_last: bool) -> bool:
        """Tell whether a route is for hosts and ends there; the last may be for any host."""
        if not isinstance(value, dict) or value.get("group"):
            return False
        if not value.get("match"):
            return is_last
        return bool(_hosts_of(value)) and (value.get("terminal") is True or is_last)

    def _sites(self, server: _Server, path: str, hosts: list[str], lines: list[Segment], listens: list[str]) -> list[SiteBlock]:
        """Return the blocks of some hosts at each address."""
        document = self._document
        groups: dict[object, list[str]] = {}
        for host in hosts or [""]:
            said = [
                *self._certificates(path, host),
                *self._policies(server, host),
                *self._log_lines(server, host),
                *self._errors(server, host),
            ]
            groups.setdefault(_words(said), []).append(host)
        blocks: list[SiteBlock] = []
        for listen in listens:
            address, port = _address(listen)
            for group in groups.values():
                plain = [host for host in group if not self._has_tls(server, host, port)]
                for chosen, is_plain in ((plain, True), ([host for host in group if host not in plain], False)):
                    if not chosen:
                        continue
                    scheme = "http" if is_plain else "https"
                    keys = [document.key(path, f"{scheme}://{host}" + (f":{port}" if port else "")) for host in chosen]
                    inside = [document.line(path, "bind", address)] if address else []
                    inside += [] if is_plain else self._certificates(path, chosen[0])
                    inside += [] if is_plain else self._policies(server, chosen[0])
                    inside += self._log_lines(server, chosen[0])
                    inside += self._errors(server, chosen[0])
                    blocks.append(SiteBlock(keys, (*inside, document.line(path, "route", block=lines))))
        return blocks

    def _has_tls(self, server: _Server, host: str, port: str) -> bool:
        if server.has_tls:
            return True
        return bool(host) and server.automatic and host not in server.skipped and port != str(self._http_port)

    def _errors(self, server: _Server, host: str) -> list[Segment]:
        """Return who answers in the place of errors of a host."""
        document = self._document
        path = below(server.path, "errors")
        errors = document.table(server.table.get("errors"), path)
        document.rest(errors, path, ("routes",))
        routes = document.items(errors.get("routes"), below(path, "routes"))
        kept: list[Place] = []
        for place, value in routes:
            hosts = _hosts_of(value) if isinstance(value, dict) else []
            if hosts and host not in hosts:
                continue
            kept.append(
                (place, {key: each for key, each in value.items() if key != "match"} if hosts and isinstance(value, dict) else value)
            )
        if not kept:
            return []
        return [document.line(path, "handle_errors", block=[document.line(path, "route", block=self._handlers.routes(kept))])]

    def _tuned(self, server: _Server, listens: Sequence[str]) -> None:
        """Keep what a server says of time-outs and the like as a global option for its addresses."""
        document = self._document
        path, table = server.path, server.table
        lines: list[Segment] = []
        times = [
            document.line(below(path, key), _TIMES[key], document.duration(table[key], below(path, key))) for key in _TIMES if key in table
        ]
        if times:
            lines.append(document.line(path, "timeouts", block=times))
        if "max_header_bytes" in table:
            lines.append(document.line(path, "max_header_size", f"{document.text(table['max_header_bytes'], path)}B"))
        if "protocols" in table:
            lines.append(document.line(path, "protocols", *document.texts(table["protocols"], below(path, "protocols"))))
        if "trusted_proxies" in table:
            place = below(path, "trusted_proxies")
            proxies = document.table(table["trusted_proxies"], place)
            words = document.texts(proxies.get("ranges"), below(place, "ranges"))
            lines.append(document.line(place, "trusted_proxies", document.text(proxies.get("source"), place), *words))
        if "client_ip_headers" in table:
            place = below(path, "client_ip_headers")
            lines.append(document.line(place, "client_ip_headers", *document.texts(table["client_ip_headers"], place)))
        if table.get("trusted_proxies_strict"):
            lines.append(document.line(path, "trusted_proxies_strict"))
        wrappers: list[Segment] = []
        for place, each in document.items(table.get("listener_wrappers"), below(path, "listener_wrappers")):
            wrapper = document.table(each, place)
            kind = document.text(wrapper.get("wrapper"), place)
            inside = [
                document.line(inner, key, *(document.texts(held, inner) if isinstance(held, list) else [document.duration(held, inner)]))
                for inner, key, held in document.entries(wrapper, place)
                if key != "wrapper"
            ]
            wrappers.append(document.line(place, kind, block=inside or None))
        if wrappers:
            lines.append(document.line(path, "listener_wrappers", block=wrappers))
        if lines:
            self._options += [document.line(path, "servers", listen, block=lines) for listen in listens]

    # ------------------------------------------------------------ certificates

    def _automation(self) -> None:
        """Keep what is said of certificates for all names."""
        document = self._document
        path = "apps.tls.automation"
        automation = document.table(self._tls.get("automation"), path)
        document.rest(automation, path, ("policies", "on_demand"), _TUNED)
        place = below(path, "on_demand")
        demand = document.table(automation.get("on_demand"), place)
        document.rest(demand, place, ("ask", "permission", "rate_limit"))
        lines: list[Segment] = []
        permission = document.table(demand.get("permission"), below(place, "permission"))
        ask = demand.get("ask") or (permission.get("endpoint") if permission.get("module") == "http" else None)
        if ask:
            lines.append(document.line(place, "ask", document.text(ask, place)))
        elif permission:
            document.not_built(below(place, "permission"), "this way to ask for permission", "name an endpoint")
        rate = document.table(demand.get("rate_limit"), below(place, "rate_limit"))
        for key in ("interval", "burst"):
            if key in rate:
                lines.append(
                    document.line(place, key, document.duration(rate[key], place) if key == "interval" else document.text(rate[key], place))
                )
        if lines:
            self._options.append(document.line(place, "on_demand_tls", block=lines))
        emails = [str(each["email"]) for each in self._issuers(automation) if isinstance(each.get("email"), str)]
        if emails:
            self._options.append(document.line(below(path, "policies"), "email", emails[0]))

    def _issuers(self, automation: dict[str, object]) -> list[dict[str, object]]:
        document = self._document
        found: list[dict[str, object]] = []
        for place, value in document.items(automation.get("policies"), "apps.tls.automation.policies"):
            issuers = document.table(value, place).get("issuers")
            found += [document.table(each, inner) for inner, each in document.items(issuers, below(place, "issuers"))]
        return found

    def _certificates(self, path: str, host: str) -> list[Segment]:
        """Return what is said of the certificates of a host."""
        document = self._document
        automation = document.table(self._tls.get("automation"), "apps.tls.automation")
        lines: list[Segment] = []
        for place, value in document.items(automation.get("policies"), "apps.tls.automation.policies"):
            policy = document.table(value, place)
            subjects = document.texts(policy.get("subjects"), below(place, "subjects"))
            if subjects and host not in subjects:
                continue
            known = ("subjects", "issuers", "on_demand", "key_type")
            document.rest(policy, place, known, _POLICY)
            inside: list[Segment] = []
            for inner, each in document.items(policy.get("issuers"), below(place, "issuers")):
                line = self._issuer(inner, document.table(each, inner))
                inside += [line] if line is not None else []
            if policy.get("on_demand") is True:
                inside.append(document.line(place, "on_demand"))
            if "key_type" in policy:
                inside.append(document.line(place, "key_type", document.text(policy["key_type"], place)))
            if inside:
                lines.append(document.line(place, "tls", block=inside))
            break
        for place, value in document.items(self._loaded().get("load_files"), "apps.tls.certificates.load_files"):
            pair = document.table(value, place)
            document.rest(pair, place, ("certificate", "key", "tags", "format"))
            tags = document.texts(pair.get("tags"), below(place, "tags"))
            if not tags or set(tags) & self._tags.get(host, set()):
                words = [document.text(pair.get(key), below(place, key)) for key in ("certificate", "key")]
                lines.append(document.line(place, "tls", *words))
        return lines

    def _loaded(self) -> dict[str, object]:
        certificates = self._document.table(self._tls.get("certificates"), "apps.tls.certificates")
        self._document.rest(certificates, "apps.tls.certificates", ("load_files",), {"automate": "sites have theirs"})
        return certificates

    def _issuer(self, path: str, table: dict[str, object]) -> Segment | None:
        """Return the line of an issuer; None for what is asked unless told otherwise."""
        document = self._document
        module = document.text(table.get("module"), below(path, "module"))
        if module == "internal":
            document.rest(
                table,
                path,
                ("module",),
                {"lifetime": "vestibule decides", "sign_with_root": "vestibule decides", "ca": "there is one local CA"},
            )
            return document.line(path, "issuer", "internal")
        if module == "zerossl" and set(table) <= {"module", "email"}:
            return None  # the second of those that are asked in any case
        if module not in ("acme", "zerossl"):
            document.not_built(path, f"the issuer `{module}`", "use `acme`, `zerossl` or `internal`")
            return None
        known = ("module", "ca", "email", "external_account", "trusted_roots_pem_files", "challenges", "api_key")
        document.rest(table, path, known, _ISSUING)
        lines: list[Segment] = []
        if "external_account" in table:
            account = document.table(table["external_account"], below(path, "external_account"))
            words = [document.text(account.get(key), path) for key in ("key_id", "mac_key")]
            lines.append(document.line(below(path, "external_account"), "eab", *words))
        for root in document.texts(table.get("trusted_roots_pem_files"), below(path, "trusted_roots_pem_files")):
            lines.append(document.line(path, "trusted_roots", root))
        lines += self._challenges(below(path, "challenges"), table.get("challenges"))
        words = [document.text(table[key], path) for key in ("ca", "api_key") if key in table]
        return document.line(path, "issuer", module, *words, block=lines) if words or lines else None

    def _challenges(self, path: str, value: object) -> list[Segment]:
        document = self._document
        table = document.table(value, path)
        document.rest(table, path, ("http", "tls-alpn", "dns"), {"bind_host": "vestibule decides"})
        lines: list[Segment] = []
        for kind, word in (("http", "disable_http_challenge"), ("tls-alpn", "disable_tlsalpn_challenge")):
            inner = document.table(table.get(kind), below(path, kind))
            document.rest(inner, below(path, kind), ("disabled",))
            if inner.get("disabled") is True:
                lines.append(document.line(below(path, kind), word))
        place = below(path, "dns")
        dns = document.table(table.get("dns"), place)
        document.rest(
            dns,
            place,
            ("provider",),
            {
                "propagation_timeout": "vestibule asks until it is seen",
                "ttl": "vestibule decides",
                "resolvers": "the zone's own servers are asked",
            },
        )
        provider = document.table(dns.get("provider"), below(place, "provider"))
        if provider:
            held = [
                document.line(inner, key, document.text(each, inner))
                for inner, key, each in document.entries(provider, place)
                if key != "name"
            ]
            lines.append(document.line(place, "dns", document.text(provider.get("name"), place), block=held or None))
        return lines

    def _connections(self, server: _Server) -> list[tuple[str, dict[str, object], list[str]]]:
        """Return the connection policies of a server, each with the hosts it is for; no host is all."""
        document = self._document
        path = below(server.path, "tls_connection_policies")
        found: list[tuple[str, dict[str, object], list[str]]] = []
        for place, value in document.items(server.table.get("tls_connection_policies"), path):
            policy = document.table(value, place)
            match = document.table(policy.get("match"), below(place, "match"))
            document.rest(match, below(place, "match"), ("sni",))
            found.append((place, policy, document.texts(match.get("sni"), below(place, "match.sni"))))
        return found

    def _read_tags(self, server: _Server) -> None:
        document = self._document
        for place, policy, hosts in self._connections(server):
            known = ("match", "certificate_selection", "protocol_min", "protocol_max", "cipher_suites", "curves", "alpn")
            document.rest(policy, place, (*known, "client_authentication", "default_sni", "fallback_sni"))
            selection = document.table(policy.get("certificate_selection"), below(place, "certificate_selection"))
            document.rest(selection, below(place, "certificate_selection"), ("any_tag",))
            for host in hosts:
                self._tags.setdefault(host, set()).update(document.texts(selection.get("any_tag"), place))
            for key in ("default_sni", "fallback_sni"):
                if key in policy:
                    self._options.append(document.line(below(place, key), key, document.text(policy[key], place)))

    def _policies(self, server: _Server, host: str) -> list[Segment]:
        """Return what is said of TLS with the clients of a host."""
        document = self._document
        for place, policy, hosts in self._connections(server):
            if hosts and host not in hosts:
                continue
            lines: list[Segment] = []
            least, most = [document.text(policy.get(key), below(place, key)) for key in ("protocol_min", "protocol_max")]
            if least or most:
                lines.append(document.line(place, "protocols", *[each for each in (least or "tls1.2", most) if each]))
            for key, word in (("cipher_suites", "ciphers"), ("curves", "curves"), ("alpn", "alpn")):
                if key in policy:
                    lines.append(document.line(below(place, key), word, *document.texts(policy[key], below(place, key))))
            inner = below(place, "client_authentication")
            clients = document.table(policy.get("client_authentication"), inner)
            document.rest(clients, inner, ("mode", "trusted_ca_certs_pem_files", "ca"))
            asked = [
                document.line(inner, "trusted_ca_cert_file", each)
                for each in document.texts(clients.get("trusted_ca_certs_pem_files"), inner)
            ]
            pool = document.table(clients.get("ca"), below(inner, "ca"))
            if pool:
                words = [document.text(pool.get("provider"), inner), *document.texts(pool.get("pem_files"), inner)]
                asked.append(document.line(inner, "trust_pool", *words))
            if "mode" in clients:
                asked.append(document.line(inner, "mode", document.text(clients["mode"], inner)))
            if asked:
                lines.append(document.line(inner, "client_auth", block=asked))
            return [document.line(place, "tls", block=lines)] if lines else []
        return []

    # ------------------------------------------------------------ logs

    def _read_logs(self, logging: dict[str, object]) -> None:
        document = self._document
        document.rest(logging, "logging", ("logs",), {"sink": "the log of the program goes to standard error"})
        self._logs = document.table(logging.get("logs"), "logging.logs")
        for place, _, value in document.entries(self._logs, "logging.logs"):
            log = document.table(value, place)
            if "include" not in log and set(log) - {"exclude"}:
                document.left_out(place, "the log of the program goes to standard error as JSON")

    def _log_lines(self, server: _Server, host: str) -> list[Segment]:
        """Return the logs of a host: those whose names its server gives it, or the usual one."""
        document = self._document
        path = below(server.path, "logs")
        if "logs" not in server.table:
            return []
        table = document.table(server.table["logs"], path)
        document.rest(
            table,
            path,
            ("logger_names", "default_logger_name", "skip_hosts", "skip_unmapped_hosts"),
            {"should_log_credentials": "secrets are never written"},
        )
        names = document.table(table.get("logger_names"), below(path, "logger_names"))
        if host in document.texts(table.get("skip_hosts"), path) or (table.get("skip_unmapped_hosts") is True and host not in names):
            return []
        wanted = document.texts(names.get(host), path) if host in names else [document.text(table.get("default_logger_name"), path)]
        lines: list[Segment] = []
        for place, _, value in document.entries(self._logs, "logging.logs"):
            log = document.table(value, place)
            included = document.texts(log.get("include"), below(place, "include"))
            if any(f"http.log.access.{name}" in included for name in wanted if name):
                lines.append(document.line(place, "log", block=self._log(place, log)))
        return lines or [document.line(path, "log", block=[])]

    def _log(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        document.rest(table, path, ("writer", "encoder", "level", "include"), _LOGS)
        lines: list[Segment] = []
        place = below(path, "writer")
        writer = document.table(table.get("writer"), place)
        if writer:
            kind = document.text(writer.get("output"), place)
            words = [document.text(writer[key], place) for key in ("filename", "address") if key in writer]
            rolled = [document.line(inner, key) for inner, key, _ in document.entries(writer, place) if key.startswith(("roll", "mode"))]
            lines.append(document.line(place, "output", kind, *words, block=rolled or None))
        place = below(path, "encoder")
        encoder = document.table(table.get("encoder"), place)
        if encoder:
            lines.append(document.line(place, "format", document.text(encoder.get("format"), place)))
            if "fields" in encoder:
                document.not_built(below(place, "fields"), "filters of fields here", "say them in a Caddyfile")
        if "level" in table:
            lines.append(document.line(path, "level", document.text(table["level"], path)))
        return lines


def _address(listen: str) -> tuple[str, str]:
    """Split an address to listen on into host and port."""
    if listen.startswith("unix/"):
        return listen, ""
    host, _, port = listen.removeprefix("tcp/").rpartition(":")
    return host.strip("[]"), port


def _hosts_of(route: dict[str, object]) -> list[str]:
    """Return the hosts of a route whose only condition they are."""
    sets = route.get("match")
    found: list[str] = []
    for each in sets if isinstance(sets, list) else []:
        if not isinstance(each, dict) or set(each) != {"host"} or not isinstance(each["host"], list):
            return []
        found += [str(host) for host in each["host"]]
    return found


def _hosts_inside(value: object) -> list[str]:
    """Return the hosts that a route names among its conditions."""
    sets = value.get("match") if isinstance(value, dict) else None
    found: list[str] = []
    for each in sets if isinstance(sets, list) else []:
        hosts = each.get("host") if isinstance(each, dict) else None
        found += [host for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []
    return found


def _words(lines: Sequence[Segment]) -> tuple[object, ...]:
    """Return what lines say, wherever they stand."""
    return tuple([(tuple(line.texts(0)), None if line.block is None else _words(line.block)) for line in lines])
