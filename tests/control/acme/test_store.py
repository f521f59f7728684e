"""The directory store: whole or absent, private, one holder of a lock among processes; and what records make of it."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.control.papers import Paper
from vestibule.control.acme.records import Journal, Record, Story, facts_of, split_pem
from vestibule.control.acme.store import DirectoryStore, StoreBusy, StoreError, safe_name
from vestibule.link.messages import KeyPair


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "acme")


def test_what_is_written_is_read(store: DirectoryStore) -> None:
    assert store.read("a/b.json") is None
    store.write("a/b.json", b"one")
    store.write("a/b.json", b"two")
    store.write("a/c.json", b"")
    assert store.read("a/b.json") == b"two"
    assert store.keys("a") == ["a/b.json", "a/c.json"]
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert store.keys("a") == ["a/c.json"]
    assert store.keys("nothing") == []


def test_everything_is_private_whatever_the_umask(store: DirectoryStore) -> None:
    before = os.umask(0)
    try:
        store.write("a/b", b"secret")
        with store.lock("name", 1):
            pass
    finally:
        os.umask(before)
    for path in (store.root, *store.root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_what_a_dead_process_left_half_written_is_not_seen(store: DirectoryStore) -> None:
    store.write("a/b", b"whole")
    (store.root / "a" / ".b.4711").write_bytes(b"ha")
    assert store.keys("a") == ["a/b"]
    assert store.read("a/b") == b"whole"


@pytest.mark.parametrize("key", ["../etc/passwd", "/etc/passwd", "a/../b", ".hidden", "", "a//b", "A"])
def test_a_key_cannot_leave_the_store(store: DirectoryStore, key: str) -> None:
    with pytest.raises(StoreError):
        store.read(key)


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"process\.state_dir"):
        DirectoryStore(tmp_path / "file" / "below").write("a", b"")


def test_a_lock_is_held_by_one_process(store: DirectoryStore) -> None:
    code = (
        "import sys; from pathlib import Path; from vestibule.control.acme.store import *\n"
        f"with DirectoryStore(Path({str(store.root)!r})).lock('name', 5):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusy), store.lock("name", 0.2):
            pass
        with store.lock("other", 0.2):
            pass
        # It lets go when its holder dies, however that happens.
        holder.kill()
        with store.lock("name", 10):
            pass
    finally:
        holder.kill()
        holder.wait(10)
        holder.stdin.close()
        holder.stdout.close()


def test_threads_exclude_each_other_too(store: DirectoryStore) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with store.lock("name", 20):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    threads = [threading.Thread(target=work, args=[at]) for at in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert most == [1] * 8


def test_names_become_safe_keys() -> None:
    assert safe_name(("*.example.org",)).startswith("wildcard.example.org-")
    assert safe_name(("a.example",)) != safe_name(("a.example", "b.example"))
    assert safe_name(("a.example",), "rsa") != safe_name(("a.example",), "ecdsa")
    assert "/" not in safe_name(("../../etc",))


# ---------------------------------------------------------------- records


def test_records_come_back(store: DirectoryStore) -> None:
    record = Record(store, "name")
    assert record.journal() is None
    assert record.story() == Story()
    journal = Journal("one", "https://a", "https://a/1", ["x"], "https://a/o", "key", 5.5)
    record.keep_journal(journal)
    assert record.journal() == journal
    story = Story("one", 1.0, 2.0, failures=3, reason="because")
    record.keep_story(story)
    assert record.story() == story
    record.forget_journal()
    assert record.journal() is None


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'"x"', b"\xff\xfe"])
def test_a_damaged_record_is_as_if_it_were_not_there(store: DirectoryStore, damaged: bytes) -> None:
    store.write("orders/name.json", damaged)
    store.write("stories/name.json", damaged)
    assert Record(store, "name").journal() is None
    assert Record(store, "name").story() == Story()


def test_a_record_of_another_version_is_read_as_far_as_it_goes(store: DirectoryStore) -> None:
    store.write("stories/name.json", b'{"issuer": "one", "failures": "many", "colour": "red", "renew_at": 7}')
    assert Record(store, "name").story() == Story(issuer="one", renew_at=7)


def test_a_pair_is_one_file(store: DirectoryStore) -> None:
    paper = Paper("a.example")
    record = Record(store, "name")
    record.keep_pair(KeyPair(paper.pem, paper.key_pem()))
    pair = record.pair()
    assert pair is not None
    assert (pair.chain_pem, pair.key_pem.strip()) == (paper.pem, paper.key_pem().strip())
    facts = record.facts()
    assert facts is not None
    assert facts.names == ("a.example",)
    assert store.keys("certificates") == ["certificates/name.pem"]


def test_a_key_of_another_certificate_is_not_taken() -> None:
    assert facts_of("x", KeyPair(Paper("a.example").pem, Paper("a.example").key_pem())) is None
    assert facts_of("x", KeyPair("no PEM", "no PEM")) is None
    assert split_pem(Paper("a.example").pem) is None
