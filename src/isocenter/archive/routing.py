"""Where instances go on by themselves: the `[[forward]]` tables of the settings file, and peers with `notify = true`.

    [[forward]]
    to = "workstation"
    when = { Modality = ["CT", "MR"], StationName = "SCAN*", calling = "SCANNER?" }
    commit = true

All conditions of a rule have to be fulfilled, each by any of its values; `*` is any run of characters, `?` any one
character, and "" that there is no value. A rule without `when` takes everything. Conditions are keywords of attributes
that the index keeps, or `calling`, `called` (AE titles) and `origin` (dimse, web, import, demo). With `commit` the peer
is asked for Storage Commitment of what it took.

The jobs that follow are written in the transaction that makes the instances visible, so that a crash leaves either both
or none, and in the latter case the sender had no answer yet and sends again.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from isocenter.errors import SettingsError
from isocenter.index.base import Applied, Entry
from isocenter.index.jobs import Wanted
from isocenter.index.keys import KEPT, KEPT_TAGS
from isocenter.index.matching import Attributes, glob, matches
from isocenter.known_peers import KnownPeer
from isocenter.model import Empty, Equal, Level, Match, Origin, Wildcard
from isocenter.names import is_uid
from isocenter.settings import Settings, tables
from isocenter.std.dictionary import keyword_of, tag_of, vr_of
from isocenter.std.sop_classes import SOP_CLASSES

TABLE = "forward"
FORWARD, NOTIFY = "forward", "notify"
"""Kinds of jobs: send instances, and say that they are there."""

COMMITTED = "commit"
"""The key of those jobs to forward whose instances the peer is then to answer for."""

_KEYS = frozenset({"to", "when", "back", "commit"})
_ORIGINS = ("dimse", "web", "import", "demo")
_SOP_CLASS = 0x00080016
_LEVELS = (Level.STUDY, Level.SERIES, Level.IMAGE)


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[forward]]` table. `matches`: of each group one has to fit. `from_title` and the others: patterns, any of
    which has to fit; none means whatever it is. `back`: also to the AE that sent the instance. `commit`: the peer is
    asked for Storage Commitment."""

    to: KnownPeer
    matches: tuple[tuple[Match, ...], ...] = ()
    calling: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    back: bool = False
    commit: bool = False

    def concerns(self, origin: Origin) -> bool:
        """Whether instances from there can be meant."""
        if self.origins and origin.kind not in self.origins:
            return False
        if not self.back and origin.kind == "dimse" and origin.calling == self.to.aet:
            return False
        return _any_fits(self.calling, origin.calling) and _any_fits(self.called, origin.called)

    def fits(self, attributes: Attributes) -> bool:
        """Whether an instance with these attributes is meant."""
        return all(any(matches(one, attributes) for one in group) for group in self.matches)


def _any_fits(patterns: Sequence[str], text: str) -> bool:
    return not patterns or any(glob(pattern)(text) for pattern in patterns)


class Router:
    """Makes jobs of what is stored (index.base.Routing); `on_jobs` is called, in any thread, when some were written,
    `on_commit` after each transaction."""

    def __init__(
        self, settings: Settings, on_jobs: Callable[[], None], on_commit: Callable[[], None] | None = None
    ) -> None:
        self._on_jobs = on_jobs
        self._on_commit = on_commit
        self._wrote = False
        self.replace(settings, (), ())

    def replace(self, settings: Settings, rules: Iterable[Rule], peers: Iterable[KnownPeer]) -> None:
        """Other rules, and peers to notify, for the transactions that begin from now on."""
        rules = tuple(rules)
        tags = {match.tag for rule in rules for group in rule.matches for match in group}
        levels = tuple(level for level in _LEVELS if tags & set(KEPT[level]))
        notified = tuple(peer.name for peer in peers if peer.notify)
        # Seen by the committing thread as a whole, or not at all.
        self._plan = _Plan(rules, levels, notified, settings.jobs_notify_after, settings.jobs_give_up / 2)

    def wanted(self, entries: Sequence[Entry], applied: Sequence[Applied]) -> Sequence[Wanted]:
        """The jobs that these instances ask for."""
        plan = self._plan
        if not plan.rules and not plan.notified:
            return ()
        wanted = plan.wanted(entries, applied)
        self._wrote = self._wrote or bool(wanted)
        return wanted

    def committed(self) -> None:
        """The transaction is durable."""
        if self._wrote:
            self._wrote = False
            self._on_jobs()
        if self._on_commit is not None:
            self._on_commit()


@dataclass(frozen=True, slots=True)
class _Plan:
    rules: tuple[Rule, ...]
    levels: tuple[Level, ...]
    notified: tuple[str, ...]
    quiet: float
    gather: float

    def wanted(self, entries: Sequence[Entry], applied: Sequence[Applied]) -> list[Wanted]:
        forwarded: dict[tuple[str, str], list[str]] = {}
        available: dict[str, list[str]] = {}
        for entry, done in zip(entries, applied, strict=True):
            if done.kind not in ("stored", "replaced"):
                continue  # what was there already was forwarded when it came
            uid = done.ref.instance
            for name, commit in self._targets(entry).items():
                forwarded.setdefault((name, COMMITTED if commit else ""), []).append(uid)
            if self.notified and done.ref.study:  # of anything else there is no study to speak of
                available.setdefault(done.ref.study, []).append(uid)
        return [
            *(
                Wanted(FORWARD, name, items=uids, key=key, gather=self.gather)
                for (name, key), uids in forwarded.items()
            ),
            *(
                Wanted(NOTIFY, name, items=uids, key=study, gather=self.gather, delay=self.quiet)
                for study, uids in available.items()
                for name in self.notified
            ),
        ]

    def _targets(self, entry: Entry) -> dict[str, bool]:
        """Names of peers, each once, and whether any rule wants commitment of it."""
        concerned = [rule for rule in self.rules if rule.concerns(entry.origin)]
        if not concerned:
            return {}
        attributes: dict[str, Any] = {}
        for level in self.levels:
            part = (entry.keys.study, entry.keys.series, entry.keys.image)[_LEVELS.index(level)]
            attributes |= orjson.loads(part.attributes)
        targets: dict[str, bool] = {}
        for rule in concerned:
            if rule.fits(attributes):
                targets[rule.to.name] = rule.commit or targets.get(rule.to.name, False)
        return targets


# --- the tables ------------------------------------------------------------------------------------------------------


def load_rules(file: Path | None, peers: Mapping[str, KnownPeer]) -> tuple[Rule, ...]:
    """The rules of a settings file, in its order; `peers` by name. Raises SettingsError naming file and rule."""
    if file is None:
        return ()
    rules: list[Rule] = []
    for number, table in enumerate(tables(file, TABLE, "rules"), 1):
        try:
            rules += _rules(table, peers)
        except ValueError as error:
            raise SettingsError(f"{file}: {TABLE} {number}: {error}") from None
    return tuple(rules)


def _rules(table: Mapping[str, Any], peers: Mapping[str, KnownPeer]) -> list[Rule]:
    """One rule for each peer that the table names."""
    _known(table, _KEYS, "setting")
    back, commit, when = table.get("back", False), table.get("commit", False), table.get("when", {})
    for key, value in (("back", back), ("commit", commit)):
        if type(value) is not bool:
            raise ValueError(f"{key}: true or false is needed")
    if not isinstance(when, dict):
        raise ValueError('when: a table is needed, as { Modality = "CT" }')
    names = _texts("to", table.get("to"))
    for name in names:
        if name not in peers:
            raise ValueError(f"to: there is no [[peer]] named {name!r}")
    conditions = {key: _texts(key, value) for key, value in when.items()}
    origins = conditions.pop("origin", ())
    for origin in origins:
        if origin not in _ORIGINS:
            raise ValueError(f"origin: one of {', '.join(_ORIGINS)} is needed")
    titles = [conditions.pop(key, ()) for key in ("calling", "called")]
    groups = tuple(_group(key, values) for key, values in conditions.items())
    return [Rule(peers[name], groups, titles[0], titles[1], origins, back, commit) for name in names]


def _known(table: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1, 0.5)
            raise ValueError(f"there is no {what} {key}" + (f"; {near[0]}?" if near else ""))


def _texts(key: str, value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) for one in values):
        raise ValueError(f"{key}: a text or a list of texts is needed")
    return tuple(values)


def _group(key: str, values: Sequence[str]) -> tuple[Match, ...]:
    tag = tag_of(key)
    if tag is None or tag not in KEPT_TAGS:
        names = [keyword_of(kept) for kept in KEPT_TAGS]
        _known({key: None}, ["calling", "called", "origin", *names], "condition")
        raise ValueError(f"there is no condition {key}")
    if vr_of(tag) == "SQ":
        raise ValueError(f"{key}: a sequence has no value to compare")
    return tuple(_match(tag, key, value) for value in values)


def _match(tag: int, key: str, value: str) -> Match:
    if not value:
        return Empty(tag)
    if "*" in value or "?" in value:
        return Wildcard(tag, value)
    if tag == _SOP_CLASS and not is_uid(value):
        named = [row.uid for row in SOP_CLASSES.values() if row.keyword == value]
        if not named:
            raise ValueError(f"{key}: {value!r} is neither a UID nor a keyword such as CTImageStorage")
        value = named[0]
    return Equal(tag, (value,))
