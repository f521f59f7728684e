"""The figures as HAProxy writes them: `show stat` and `;csv`, and the page for people.

Facts (HAProxy management guide, 9.1): readers take columns by their names in the first line, and know rows by `pxname`, `svname` and
`type` (0 frontend, 1 backend, 2 server). What does not apply is empty.

Rules
* A site is a frontend, an upstream is a backend, and a listener that passes connections on is a frontend in mode tcp. Requests that
  reached no site have no row.
* What vestibule does not count is empty, as HAProxy leaves it where something does not apply.
* Where a server of the configuration stands for several addresses, each has a row, and what they did together is in the backend's.

Not here: commands (`control/commands.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from vestibule.control.metrics.picture import Part, Picture, ServerPart, UpstreamPart
from vestibule.counts import NOWHERE

_COLUMN_LINE = (
    "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,"
    "chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,"
    "check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,"
    "srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,"
    "agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,"
    "algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,"
    "qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,"
    "agg_server_status,agg_server_check_status,agg_check_status"
)
COLUMNS = tuple(_COLUMN_LINE.split(","))

FIRST_ID = 2
"""The number of the first frontend, and of the first backend."""

Row = dict[str, object]

CHECK_NUMBERS = (
    *("UNK", "INI", "START", "CHECKED", "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP"),
    *("L7TOUT", "L7RSP", "L7OK", "L7OKC", "L7STS"),
)
"""How checks end, in the order of their numbers."""

_ENDINGS = {"passed": "OK", "timeout": "TOUT", "problem": "CON", "invalid": "RSP", "status": "STS"}


def check_word(outcome: dict[str, Any]) -> str:
    """Say how a check ended, in HAProxy's words."""
    word = f"L{outcome['layer']}{_ENDINGS[str(outcome['kind'])]}"
    return word if word in CHECK_NUMBERS else "SOCKERR"


def status_word(state: str, checked: bool) -> str:
    """Say how a server stands, in HAProxy's words."""
    if state in ("disabled", "draining"):
        return "MAINT" if state == "disabled" else "DRAIN"
    if not checked:
        return "no check"
    return "UP" if state == "up" else "DOWN"


def rows_of(picture: Picture) -> list[Row]:
    """Return all rows, frontends first, then each backend behind its servers."""
    sites = [site for site in picture.sites if site.name != NOWHERE]
    rows = [_frontend(site, at, "http") for at, site in enumerate(sites, FIRST_ID)]
    rows += [_frontend(each, at, "tcp") for at, each in enumerate(picture.listeners, FIRST_ID + len(rows))]
    for at, upstream in enumerate(picture.upstreams, FIRST_ID):
        servers = _server_rows(picture, upstream, at)
        rows += [*servers, _backend(upstream, at, servers)]
    return rows


def csv_text(rows: Sequence[Row]) -> str:
    """Return rows as `show stat` writes them."""
    lines = [",".join(_cell(row.get(name, "")) for name in COLUMNS) + "," for row in rows]
    return "# " + ",".join(COLUMNS) + ",\n" + "".join(f"{line}\n" for line in lines)


def csv_page(picture: Picture) -> str:
    """Return the page of `;csv`."""
    return "text/plain\n" + csv_text(rows_of(picture))


def _cell(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\n') else text


def _answers(part: Part) -> Row:
    return {**{f"hrsp_{at}xx": part.answers(at) for at in range(1, 6)}, "hrsp_other": part.answers(0)}


def _frontend(part: Part, id: int, mode: str) -> Row:
    row: Row = {"pxname": part.name, "svname": "FRONTEND", "status": "OPEN", "pid": 1, "iid": id, "sid": 0, "type": 0, "mode": mode}
    if part.now:
        row["scur"] = part.gauge("active")
    if part.counted:
        row.update(stot=part.count("ended"), bin=part.count("bytes_in"), bout=part.count("bytes_out"))
        if mode == "http":
            refused = sum(count for name, count in part.faults.items() if name.startswith("client.bad_"))
            row.update(_answers(part), req_tot=part.count("ended"), ereq=refused, dreq=part.faults.get("proxy.denied", 0))
    return row


def _server_rows(picture: Picture, upstream: UpstreamPart, id: int) -> list[Row]:
    rows: list[Row] = []
    for server in upstream.servers:
        for each in server.rows:
            rows.append(_server(picture, server, each, id, len(rows) + 1))
    return rows


def _server(picture: Picture, server: ServerPart, own: dict[str, Any], id: int, sid: int) -> Row:
    """Return the row of a server, or of one of its addresses; `own` says how that stands."""
    address = str(own["server"])
    row: Row = {
        "pxname": server.upstream,
        "svname": picture.names.get((server.upstream, address), address),
        "status": status_word(str(own["state"]), bool(own["checked"])),
        "weight": own["weight"],
        "act": 0 if own["backup"] else 1,
        "bck": 1 if own["backup"] else 0,
        "lastchg": int(own["since_s"]),
        "pid": 1,
        "iid": id,
        "sid": sid,
        "type": 2,
        "addr": address,
        "mode": "http",
        "uweight": own["weight"],
    }
    if own["checked"] and own["last_check"] is not None:
        ended = own.get("outcome")
        row["check_status"] = check_word(ended) if ended else "L7OK" if own["last_check"] == "" else "L4CON"
        row["last_chk"] = own["last_check"]
        if ended is not None:
            row["check_duration"] = ended["took_ms"]
            if ended["code"]:
                row["check_code"] = ended["code"]
    if own.get("most") is not None:
        row["slim"] = own["most"]
    if len(server.rows) == 1:
        row.update(_work(server))
    if not server.now and not server.counted:
        # Nobody has ever asked it for anything, nor had anyone wait for it.
        row.update(qcur=0, qmax=0, scur=0, smax=0)
    return row


def _work(server: ServerPart) -> Row:
    """Return what a server does and did."""
    row: Row = {}
    if server.now:
        used = max(0, server.gauge("connections") - server.gauge("idle"))
        row.update(qcur=server.gauge("waiting"), scur=server.gauge("active"), idle_conn_cur=server.gauge("idle"), used_conn_cur=used)
    if server.counted:
        row.update(_answers(server), stot=server.count("attempts"), lbtot=server.count("attempts"))
        row.update(bin=server.count("bytes_out"), bout=server.count("bytes_in"))
        row.update(econ=server.count("failures"), wretr=server.count("retries"))
        heads = server.count("heads")
        if heads:
            row["rtime"] = server.count("head_ms") // heads
    return row


_SUMMED = (
    *("qcur", "scur", "stot", "lbtot", "bin", "bout", "econ", "wretr"),
    *("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"),
)


def _backend(upstream: UpstreamPart, id: int, rows: Sequence[Row]) -> Row:
    serving = [row for server in upstream.servers for row in server.rows if row["state"] == "up"]
    first = [row for row in serving if not row["backup"]]
    row: Row = {
        "pxname": upstream.name,
        "svname": "BACKEND",
        "status": "UP" if serving else "DOWN",
        "weight": sum(int(each["weight"]) for each in first or serving),
        "act": len(first),
        "bck": len(serving) - len(first),
        "lastchg": min([int(str(each["lastchg"])) for each in rows], default=0),
        "pid": 1,
        "iid": id,
        "sid": 0,
        "type": 1,
        "mode": "http",
    }
    work = [_work(server) for server in upstream.servers]
    for name in _SUMMED:
        if any(name in each for each in work):
            row[name] = sum(int(str(each.get(name, 0))) for each in work)
    return row


# ---------------------------------------------------------------- the page for people

_STYLE = (
    "body{font:13px/1.4 sans-serif;margin:1.5em}table{border-collapse:collapse;margin:0 0 1.5em}"
    "td,th{border:1px solid #bbb;padding:.1em .5em;text-align:right}th{background:#eee}td:first-child{text-align:left}"
    ".UP,.OPEN{background:#c0ffc0}.DOWN{background:#ff9090}.MAINT,.DRAIN{background:#ffd7a0}"
)

_SHOWN = (
    ("", "svname"),
    ("Queue", "qcur"),
    ("Sessions", "scur"),
    ("Total", "stot"),
    ("Bytes in", "bin"),
    ("Bytes out", "bout"),
    ("2xx", "hrsp_2xx"),
    ("3xx", "hrsp_3xx"),
    ("4xx", "hrsp_4xx"),
    ("5xx", "hrsp_5xx"),
    ("Failures", "econ"),
    ("Retries", "wretr"),
    ("Status", "status"),
    ("Last check", "last_chk"),
    ("Weight", "weight"),
    ("Active", "act"),
    ("Backup", "bck"),
)


def table_page(picture: Picture) -> str:
    """Return a table for each frontend and backend."""
    program = picture.program
    name = f"vestibule {program.version}" if picture.shows_version else "vestibule"
    title = f"Statistics report for {name}{' on ' + picture.title if picture.title else ''}"
    up = int(program.at - program.started_at)
    process = picture.process
    facts = (
        f"pid = {program.pid}, {program.workers} workers, uptime = {up // 86_400}d {up // 3600 % 24}h{up // 60 % 60:02}m{up % 60:02}s, "
        f"current conns = {process.gauge('connections')}, running requests = {process.gauge('exchanges')}"
    )
    tables: dict[str, list[Row]] = {}
    for row in rows_of(picture):
        kind = "frontend" if row["type"] == 0 else "backend"
        tables.setdefault(f"{kind} {row['pxname']}", []).append(row)
    body = ""
    for each, rows in tables.items():
        head = "".join(f"<th>{escape(label)}</th>" for label, _ in _SHOWN)
        lines = "".join(_line(row) for row in rows)
        body += f"<h3>{escape(each)}</h3>\n<table><tr>{head}</tr>\n{lines}</table>\n"
    return (
        f'text/html; charset=utf-8\n<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<p>{escape(facts)}</p>\n{body}</body></html>\n"
    )


def _line(row: Row) -> str:
    word = str(row["status"]).split(" ")[0]
    cells = "".join(f"<td>{escape(str(row.get(name, '')))}</td>" for _, name in _SHOWN)
    return f'<tr class="{word}">{cells}</tr>\n'
