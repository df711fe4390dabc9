"""Every limit, timeout and switch, one row each.

A row is a field of `Settings`. The command line, the environment (ISOCENTER_ plus the name in capitals), the TOML
file (`[group] name = ...`) and docs/reference/settings.md are all made from these rows, so that none can be forgotten.
Precedence: command line, then environment, then file, then default.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isocenter.errors import SettingsError

KiB, MiB, GiB = 1024, 1024**2, 1024**3

# Tables of the file that are no rows: known_peers.py, archive/routing.py
_TABLES_ELSEWHERE = frozenset({"peer", "forward"})


def _row(
    default: Any, group: str, text: str, *, choices: tuple[str, ...] = (), unit: str = "", low: float | None = None
) -> Any:
    return dataclasses.field(
        default=default, metadata={"group": group, "text": text, "choices": choices, "unit": unit, "low": low}
    )


@dataclass(frozen=True, init=False)
class Settings:
    """The rows. Field names are `group_name`; the TOML key is `name` in table `[group]`."""

    # --- archive
    archive_data: Path = _row(Path("data"), "archive", "Folder of the archive: objects, index and lock.")
    archive_on_conflict: str = _row(
        "keep-first",
        "archive",
        "Same SOP Instance UID, other bytes: what to do.",
        choices=("keep-first", "replace", "reject"),
    )
    archive_private_sop_classes: bool = _row(
        False, "archive", "Accept Storage of SOP Classes that the standard does not define."
    )
    archive_sync_threads: int = _row(
        8, "archive", "Threads that hash received files, and make large ones durable.", low=1
    )
    archive_group_limit: int = _row(256, "archive", "Most objects in one index transaction.", low=1)
    archive_known_images: int = _row(
        64 * MiB,
        "archive",
        "Memory for where the frames of stored objects lie, found out once for each.",
        unit="bytes",
        low=0,
    )
    archive_minimum_free: int = _row(
        64 * MiB, "archive", "Refuse to store when less is free on the data disk.", unit="bytes", low=0
    )

    # --- DIMSE
    dimse_host: str = _row("127.0.0.1", "dimse", "Address the DIMSE server listens on.")
    dimse_port: int = _row(
        11112, "dimse", "Port of the DIMSE server; 104 is the standard's, 11112 the registered one.", low=0
    )
    dimse_tls_port: int = _row(
        2762, "dimse", "Port of the DIMSE server with TLS; it listens there when tls.certificate is set.", low=0
    )
    dimse_aet: str = _row("ISOCENTER", "dimse", "Our AE title.")
    dimse_other_aets: str = _row("", "dimse", "Further AE titles of ours, divided by commas.")
    dimse_check_calling_aet: bool = _row(False, "dimse", "Reject associations of AE titles that no [[peer]] has.")
    dimse_check_called_aet: bool = _row(
        False, "dimse", "Reject associations that call another AE title than one of ours."
    )
    dimse_users: str = _row(
        "", "dimse", "File of users (`isocenter user`): who sends a User Identity is verified by it, or rejected."
    )
    dimse_authenticator: str = _row(
        "",
        "dimse",
        "Python object MODULE:NAME that verifies User Identities instead (Kerberos, SAML; JWT without jwt.keys).",
    )
    dimse_require_user: bool = _row(False, "dimse", "Reject associations without a User Identity.")
    dimse_max_pdu: int = _row(
        1 * MiB, "dimse", "Largest P-DATA-TF PDU we accept (Maximum Length).", unit="bytes", low=4096
    )
    dimse_transfer_syntaxes: str = _row(
        "",
        "dimse",
        "Transfer syntaxes by preference (UIDs or keywords, divided by commas), where a peer offers several; "
        "empty: the peer's order.",
    )
    dimse_max_associations: int = _row(1000, "dimse", "Most associations at a time.", low=1)
    dimse_max_associations_per_aet: int = _row(1000, "dimse", "Most associations of one calling AE title.", low=1)
    dimse_max_associations_per_address: int = _row(500, "dimse", "Most associations from one network address.", low=1)
    dimse_max_waiting: int = _row(
        2000,
        "dimse",
        "Most connections that have not asked for an association yet; for one more, the oldest is closed.",
        low=1,
    )
    dimse_max_waiting_per_address: int = _row(1500, "dimse", "The same, from one network address.", low=1)
    dimse_max_verifying_per_address: int = _row(
        32, "dimse", "Most users from one network address that are being verified at a time.", low=1
    )
    dimse_operations: int = _row(
        16, "dimse", "Requests of one association served at a time, where the peer asks for more than one.", low=1
    )
    dimse_window: int = _row(
        8, "dimse", "Requests of ours under way on an association, where the peer agrees to more than one.", low=1
    )
    dimse_artim_timeout: float = _row(30.0, "dimse", "ARTIM timer (PS3.8 section 9.1.5).", unit="s", low=0.1)
    dimse_idle_timeout: float = _row(
        300.0,
        "dimse",
        "Abort an association on which nothing arrives, or a message crawls (16 bytes a second).",
        unit="s",
        low=0.1,
    )
    dimse_association_timeout: float = _row(
        6 * 3600.0, "dimse", "Abort an association that lasts longer, whatever it does.", unit="s", low=1
    )
    dimse_drain_timeout: float = _row(
        10.0, "dimse", "Time open associations get to finish at shutdown.", unit="s", low=0
    )
    dimse_connect_timeout: float = _row(10.0, "dimse", "Time to connect and associate as SCU.", unit="s", low=0.1)
    dimse_move_associations: int = _row(
        4, "dimse", "Associations to one destination of C-MOVE at a time; each request has one in any case.", low=1
    )
    dimse_response_timeout: float = _row(
        60.0, "dimse", "Time to wait for a response as SCU, or the end of a cancelled C-FIND.", unit="s", low=0.1
    )

    # --- JSON Web Tokens: User Identity of DIMSE, bearer tokens of DICOMweb
    jwt_keys: str = _row(
        "",
        "jwt",
        "Public keys that sign tokens: a file with a JWKS or one key in PEM form, the https address of a JWKS, or "
        "`discover`: where the issuer says (OpenID Connect).",
    )
    jwt_issuer: str = _row("", "jwt", "Issuer whose tokens are believed (iss).")
    jwt_audience: str = _row("", "jwt", "Audience that tokens have to be for (aud).")
    jwt_algorithms: str = _row(
        "RS256,PS256,ES256,EdDSA", "jwt", "Signatures that are believed, divided by commas; none with a shared secret."
    )
    jwt_leeway: float = _row(30.0, "jwt", "How far clocks may differ (exp, nbf, iat).", unit="s", low=0)
    jwt_user_claim: str = _row("sub", "jwt", "Claim that holds the user's name.")
    jwt_scope_claim: str = _row(
        "scope", "jwt", "Claim that lists what its bearer may do by DICOMweb: read, write, delete, admin."
    )
    jwt_scope_prefix: str = _row("", "jwt", "What stands before these words in that claim, as dicom: in dicom:read.")
    jwt_patients_claim: str = _row(
        "patients",
        "jwt",
        "Claim with a list of Patient IDs: where a token has it, only their studies are there.",
    )
    jwt_aets_claim: str = _row(
        "aets", "jwt", "Claim with a list of AE titles: where a token has it, only studies that they sent are there."
    )

    # --- TLS
    tls_certificate: str = _row("", "tls", "File of our certificate and those between it and the authority's (PEM).")
    tls_key: str = _row("", "tls", "File of its private key (PEM, not encrypted); empty: it is in the certificate's.")
    tls_ca: str = _row(
        "", "tls", "File or hashed folder of the authorities we trust (PEM); empty, for peers we call: the system's."
    )
    tls_verify_peer: str = _row(
        "required",
        "tls",
        "Whether those who connect to us have to show a certificate that tls.ca vouches for.",
        choices=("required", "optional", "off"),
    )
    tls_verify_host: bool = _row(True, "tls", "Whether the certificate of a peer we call has to name its host.")
    tls_profile: str = _row(
        "bcp195",
        "tls",
        "Secure Transport Connection Profile: PS3.15 B.12 (bcp195) or B.13 (modified).",
        choices=("bcp195", "modified"),
    )
    tls_only: bool = _row(False, "tls", "Do not listen without TLS (DIMSE).")

    # --- web
    web_host: str = _row("127.0.0.1", "web", "Address the web server listens on.")
    web_port: int = _row(8042, "web", "Port of the web server: viewer, DICOMweb, health, metrics.", low=0)
    web_hosts: str = _row(
        "",
        "web",
        "Names by which clients may call us, divided by commas, beside those of loopback and the address listened on; "
        "*: any, which lets pages of other sites read here by DNS rebinding.",
    )
    web_tls: bool = _row(False, "web", "Speak TLS (https), with tls.certificate and tls.key.")
    web_proxies: str = _row(
        "",
        "web",
        "Addresses or networks of the reverse proxies before us, divided by commas: they speak TLS with clients, and "
        "their X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Prefix are believed.",
    )
    web_prefix: str = _row(
        "",
        "web",
        "Path below which clients reach us, where a proxy has us there, as /pacs; it may take it off or leave it on. "
        "Empty: what a proxy of web.proxies says in X-Forwarded-Prefix, or none.",
    )
    web_listen_unprotected: bool = _row(
        False,
        "web",
        "Listen elsewhere than on loopback though TLS (or a proxy) or authentication is missing: who reaches the port, "
        "or listens on the way, can then read and store.",
    )
    web_tokens: str = _row("", "web", "File of static bearer tokens (`isocenter token`).")
    web_users: str = _row("", "web", "File of users (`isocenter user`) who sign in with name and passcode.")
    web_jwt: bool = _row(False, "web", "Believe bearer tokens by the [jwt] rows (OpenID Connect).")
    web_user_scopes: str = _row("read,write", "web", "What users of web.users may do: read, write, delete, admin.")
    web_admins: str = _row("", "web", "Users of web.users, divided by commas, who may do everything.")
    web_open_scopes: str = _row(
        "read,write,admin",
        "web",
        "What everybody may do where there is no authentication, that is none of web.tokens, web.users, web.jwt.",
    )
    web_session_time: float = _row(12 * 3600.0, "web", "Longest session of a browser.", unit="s", low=1)
    web_session_idle: float = _row(3600.0, "web", "A session ends when nothing was asked for so long.", unit="s", low=1)
    web_sessions: int = _row(10_000, "web", "Most sessions at a time; the one unused for longest ends.", low=1)
    web_cors_origins: str = _row(
        "",
        "web",
        "Origins of other sites' pages that may use DICOMweb here (CORS), as https://viewer.example, divided by "
        "commas; *: all.",
    )
    web_cors_credentials: bool = _row(
        False, "web", "Whether browsers may send credentials they keep for us with requests of those pages."
    )
    web_ohif: str = _row(
        "", "web", "Folder with OHIF, another viewer, as `make ohif` prepares it; it is at /ohif/ then."
    )
    web_max_connections: int = _row(
        2000, "web", "Most connections at a time; for one more, one that asks for nothing is ended.", low=1
    )
    web_max_connections_per_address: int = _row(
        500, "web", "The same, from one network address; proxies may have more.", low=1
    )
    web_header_timeout: float = _row(
        20.0, "web", "Time that the head of a request may take to come.", unit="s", low=0.1
    )
    web_idle_timeout: float = _row(
        60.0,
        "web",
        "End a connection whose client sends or takes less than 256 bytes a second for so long, while it should.",
        unit="s",
        low=0.1,
    )
    web_rate: float = _row(
        5000.0, "web", "Requests a second of one user or address on average; twice as many at once.", low=0.1
    )
    web_max_requests: int = _row(256, "web", "Requests of one user or address that are answered at a time.", low=1)
    web_failures: int = _row(
        10, "web", "Failed authentications of one address before it has to wait; one more every 10 s.", low=1
    )
    web_max_url: int = _row(32 * KiB, "web", "Longest path and query of a request.", unit="bytes", low=256)
    web_max_headers: int = _row(64 * KiB, "web", "Header fields of one request.", unit="bytes", low=1024)
    web_cine_frames: int = _row(1000, "web", "Frames of one GIF that DICOMweb renders.", low=1)
    web_delete_reason: bool = _row(True, "web", "Refuse to delete by DICOMweb without ?reason=, which is kept.")
    web_max_upload: int = _row(16 * GiB, "web", "Largest body of a Store request.", unit="bytes", low=1)
    web_default_limit: int = _row(1000, "web", "Answers of a search that names no limit.", low=1)
    web_max_limit: int = _row(100_000, "web", "Most answers of one search.", low=1)

    # --- jobs: what is done for peers whether they are up or not
    jobs_concurrency: int = _row(8, "jobs", "Jobs that are performed at a time.", low=1)
    jobs_per_target: int = _row(
        1, "jobs", "Jobs of one kind performed for one peer at a time, each on an association of its own.", low=1
    )
    jobs_retry_first: float = _row(5.0, "jobs", "Wait after the first failed try; doubled each time.", unit="s", low=0)
    jobs_retry_longest: float = _row(900.0, "jobs", "Longest wait between two tries.", unit="s", low=0)
    jobs_give_up: float = _row(
        7 * 86400.0, "jobs", "A job fails when nothing of it could be done for so long.", unit="s", low=0
    )
    jobs_interval: float = _row(
        2.0, "jobs", "How often changes by `isocenter jobs` are looked for.", unit="s", low=0.05
    )
    jobs_history: int = _row(10_000, "jobs", "Jobs that are over and still listed.", low=0)
    jobs_notify_after: float = _row(
        60.0, "jobs", "Instance Availability Notifications go out when a study was quiet for so long.", unit="s", low=0
    )

    # --- storage commitment
    commitment_references: int = _row(
        100_000, "commitment", "Objects that one request (N-ACTION) may ask commitment for.", low=1
    )
    commitment_pending: int = _row(
        1_000_000, "commitment", "Objects in all requests that are not reported on yet; more are refused.", low=1
    )
    commitment_delay: float = _row(
        0.5,
        "commitment",
        "Wait before a request is worked on, so that an SCU that releases the association at once can do so.",
        unit="s",
        low=0,
    )
    commitment_ask_after: float = _row(
        5.0, "commitment", "Forwarded objects gather for so long before a peer is asked for them.", unit="s", low=0
    )
    commitment_hold: float = _row(
        10.0,
        "commitment",
        "How long an association stays open on which we asked, for a peer that reports on it.",
        unit="s",
        low=0,
    )
    commitment_ask_again: float = _row(
        4 * 3600.0,
        "commitment",
        "A peer that did not report on our request for so long is asked again.",
        unit="s",
        low=0,
    )

    # --- work: what is scheduled, performed and committed to
    work_steps: int = _row(
        50_000, "work", "Most steps of each kind: on the worklist, scheduled for modalities, performed by them.", low=1
    )
    work_step_bytes: int = _row(1 * MiB, "work", "Largest data set of a step.", unit="bytes", low=1024)
    work_keep: float = _row(
        30.0, "work", "Days for which a step that is over is kept, unless somebody has a deletion lock on it.", low=0
    )
    work_label: str = _row("DEFAULT", "work", "Worklist Label of a step that comes without.")
    work_subscribers: int = _row(1000, "work", "Most AEs that are subscribed to steps.", low=1)
    work_reports: int = _row(10_000, "work", "Event reports that are kept for subscribers who read slowly.", low=1)

    # --- limits of what a peer can grow
    limits_nesting: int = _row(64, "limits", "Depth of nested sequences.", low=1)
    limits_elements: int = _row(1_000_000, "limits", "Data elements in one data set.", low=1)
    limits_inflate_ratio: int = _row(200, "limits", "Inflated to deflated size, above 16 MiB.", low=1)
    limits_inflate_bytes: int = _row(4 * GiB, "limits", "Inflated size of one data set.", unit="bytes", low=1)
    limits_frame_bytes: int = _row(512 * MiB, "limits", "Decoded size of one frame.", unit="bytes", low=1)
    limits_codec_processes: int = _row(
        0, "limits", "Processes in which the server decodes and encodes frames; 0: one a core, at most four.", low=0
    )
    limits_codec_seconds: float = _row(
        60.0, "limits", "Time one frame may take to decode or encode.", unit="s", low=0.1
    )
    limits_codec_memory: int = _row(6 * GiB, "limits", "Address space of such a process.", unit="bytes", low=GiB)
    limits_frames: int = _row(1_000_000, "limits", "Frames of one object that are looked at.", low=1)
    limits_object_bytes: int = _row(64 * GiB, "limits", "Size of one received object.", unit="bytes", low=1)
    limits_associate_pdu: int = _row(256 * KiB, "limits", "Size of an A-ASSOCIATE-RQ or -AC.", unit="bytes", low=1024)
    limits_associate_items: int = _row(
        8192, "limits", "Items and sub-items in one A-ASSOCIATE-RQ or -AC, transfer syntaxes above all.", low=256
    )
    limits_presentation_contexts: int = _row(128, "limits", "Presentation contexts of one association.", low=1)
    limits_command_bytes: int = _row(64 * KiB, "limits", "Size of one DIMSE command set.", unit="bytes", low=256)
    limits_identifier_bytes: int = _row(
        16 * MiB, "limits", "Size of a data set held in memory (identifiers, attribute lists).", unit="bytes", low=1024
    )
    limits_header_bytes: int = _row(
        256 * MiB, "limits", "Bytes before pixel data that are read into memory for metadata.", unit="bytes", low=1024
    )

    # --- log
    log_level: str = _row(
        "info", "log", "Least severe message that is written.", choices=("debug", "info", "warning", "error")
    )
    log_format: str = _row("text", "log", "Form of log lines.", choices=("text", "json"))

    def __init__(self, **rows: Any) -> None:
        """Those that are given; the others have their defaults. Raises TypeError for what is no row."""
        # Written by hand, as that which dataclass() writes has 120 parameters, and each command waited 3 ms for it.
        if unknown := rows.keys() - self.__dataclass_fields__.keys():
            raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
        vars(self).update(rows)

    def replace(self, **changes: Any) -> Settings:
        """A copy with some rows changed; values are checked like those of any other source."""
        return load(overrides={**dataclasses.asdict(self), **changes}, environ={})


@dataclass(frozen=True)
class Row:
    """One option, as the command line, the docs and the loaders see it."""

    field: str
    group: str
    name: str
    type: type
    default: Any
    text: str
    choices: tuple[str, ...]
    unit: str
    low: float | None

    @property
    def env(self) -> str:
        return f"ISOCENTER_{self.field.upper()}"


_TYPES: dict[str, type] = {"Path": Path, "str": str, "int": int, "float": float, "bool": bool}


def rows() -> Iterator[Row]:
    """All options in the order of the table."""
    for f in dataclasses.fields(Settings):
        m = f.metadata
        yield Row(
            f.name,
            m["group"],
            f.name.removeprefix(m["group"] + "_"),
            _TYPES[str(f.type)],
            f.default,
            m["text"],
            m["choices"],
            m["unit"],
            m["low"],
        )


def words(text: str) -> list[str]:
    """What a row lists, divided by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _convert(row: Row, value: Any, source: str) -> Any:
    try:
        if row.type is bool:
            if isinstance(value, bool):
                return value
            word = str(value).lower()
            if word in ("1", "true", "yes", "on"):
                return True
            if word in ("0", "false", "no", "off"):
                return False
            raise ValueError("neither true nor false")
        if row.type in (int, float) and isinstance(value, bool):
            raise ValueError("a number is needed")
        result = row.type(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{source}: {row.group}.{row.name} = {value!r}: {error}") from None
    if row.choices and result not in row.choices:
        raise SettingsError(f"{source}: {row.group}.{row.name} = {value!r}: one of {', '.join(row.choices)} is needed")
    if row.low is not None and result < row.low:
        raise SettingsError(f"{source}: {row.group}.{row.name} = {value!r}: at least {row.low:g} is needed")
    return result


def _document(file: Path) -> dict[str, Any]:
    import tomllib  # not before: most commands have no file

    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None


def tables(file: Path, name: str, what: str) -> list[dict[str, Any]]:
    """The tables [[name]] of a settings file, in its order; `what` they are, in the plural, is for the message.

    Raises SettingsError naming the file.
    """
    found = _document(file).get(name, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise SettingsError(f"{file}: {what} stand in tables of their own, [[{name}]]")
    return found


def load(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from a TOML file, the environment and `overrides` (field name to value; None is not given).

    Raises SettingsError naming the setting and where the value came from. Unknown names are errors, so that a
    misspelt limit is not silently without effect.
    """
    table = {row.field: row for row in rows()}
    values: dict[str, Any] = {}
    if file is not None:
        for group, content in _document(file).items():
            if group in _TABLES_ELSEWHERE:
                continue
            if not isinstance(content, dict):
                raise SettingsError(f"{file}: {group} stands outside a table such as [archive]")
            for name, value in content.items():
                row = table.get(f"{group}_{name}")
                if row is None:
                    raise SettingsError(f"{file}: there is no setting {group}.{name}")
                values[row.field] = _convert(row, value, str(file))
    env = os.environ if environ is None else environ
    for row in table.values():
        if row.env in env:
            values[row.field] = _convert(row, env[row.env], f"environment variable {row.env}")
    for name, value in (overrides or {}).items():
        if name not in table:
            raise SettingsError(f"there is no setting {name}")
        if value is not None:
            values[name] = _convert(table[name], value, "command line")
    return Settings(**values)
