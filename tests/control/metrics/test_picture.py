"""What is put together of counts, the configuration and how servers stand."""

from vestibule.control.metrics.picture import Picture, make_picture
from vestibule.model.config import Config, Metrics

from .example import CONFIG, PROGRAM, picture


def test_everything_of_the_configuration_is_there_and_nothing_else() -> None:
    made = picture()
    assert [site.name for site in made.sites] == ["photos", 'o"dd\n', "-"]
    assert [each.name for each in made.listeners] == ["raw"]
    assert [(each.name, [server.name for server in each.servers]) for each in made.upstreams] == [
        ("app", ["10.0.0.1:80", "10.0.0.2:80"]),
        ("many", ["app.lan:8080"]),
    ]
    photos, odd, _ = made.sites
    assert (photos.count("ended"), photos.gauge("active"), photos.answers(2)) == (9, 3, 6)
    assert (photos.ranges[0], photos.ranges[14], len(photos.ranges)) == (5, 1, 15)
    assert (odd.count("ended"), odd.gauge("active"), odd.faults, sum(odd.ranges)) == (0, 0, {}, 0)


def test_a_server_stands_as_the_best_of_its_addresses() -> None:
    (first, backup), (many,) = [each.servers for each in picture().upstreams]
    assert (first.up, first.state, first.backup, first.checked, first.last_check) == (True, "up", False, True, "")
    assert (backup.up, backup.state, backup.backup, backup.last_check, backup.since_s) == (False, "down", True, "refused, twice", 5)
    assert (many.up, many.state, many.weight, many.checked, many.last_check) == (True, "up", 4, False, None)
    nobody = make_picture(PROGRAM, CONFIG, {}, {}, []).upstreams[0].servers[0]
    assert (nobody.up, nobody.state, nobody.since_s) == (False, "down", 0)


def test_a_source_shows_what_it_is_to() -> None:
    seen = picture().seen_by(Metrics("html", False, only=("photos", "app"), title="cellar", names=(("app/one", "10.0.0.1:80"),)))
    assert ([site.name for site in seen.sites], seen.listeners) == (["photos"], ())
    assert [each.name for each in seen.upstreams] == ["app"]
    assert (seen.title, seen.shows_version) == ("cellar", False)
    assert [seen.name_of(server) for server in seen.upstreams[0].servers] == ["one", "10.0.0.2:80"]


def test_an_empty_configuration() -> None:
    made = make_picture(PROGRAM, Config((), (), ()), {}, {}, [])
    assert isinstance(made, Picture)
    assert [site.name for site in made.sites] == ["-"]
