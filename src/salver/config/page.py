"""The documentation page of the flags, printed from their declarations.

`python -m salver.config.page > docs/configuration.md`; a test compares the two.
"""

from salver.config.command_line import effect_in_words
from salver.config.declaration import Computed, Declaration, Kind, Origin
from salver.config.flags import DECLARATIONS

_TOP = """\
# Configuration

<!-- Printed by `python -m salver.config.page`; edit the declarations in src/salver/config. -->

`salver serve` and `tensorflow_model_server` take the same flags, and a command line that starts
TensorFlow Serving starts Salver.

- A flag is written `--name=value`; `--name value` is not understood.
- `--name` alone turns a bool on; its values are `true`, `false`, `1` and `0`.
- Of a flag given several times, the last one counts.
- A value that does not fit its flag ends the start with exit code 255.
- An unknown argument is printed with the usage, and the start goes on.
- `--` ends the flags: whatever follows counts as unknown.

No flag is read from the environment.
Flags without effect are accepted, and one warning at the start names those that were given;
the one that asks for ALTS is refused instead.
"""

_FILES = """\
## Files

All configuration files are protobuf messages in text format: `#` opens a comment, `,` and `;` may
separate fields, `<>` stands for `{}`, and lists may be written `[a, b]`. An unknown field is an
error; stderr then says where, and the server does not start.

### `--model_config_file`

A `tensorflow.serving.ModelServerConfig`:

```textproto
model_config_list {
  config {
    name: "m"
    base_path: "/srv/m"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 42 versions: 43 } }
    version_labels { key: "stable" value: 42 }
    version_labels { key: "canary" value: 43 }
  }
}
```

- `base_path` is absolute or a URI; each version is a folder in it whose name is a number.
- `model_version_policy` is `latest { num_versions: 2 }`, `all {}` or `specific { versions: 42 }`;
  without one the latest version is served.
- `model_platform` is `tensorflow`, or the name of another [backend](backends.md). With `auto`, the
  folder of each version tells, as it does without a config file.
- Labels are given to versions that are available. A config that loads a version and labels it at
  once, as the first config does, needs `--allow_version_labels_for_unavailable_models`.
- A file with nothing but comments is fine: no models yet.

### `--monitoring_config_file`

A `tensorflow.serving.MonitoringConfig`; without a path it is `/monitoring/prometheus/metrics`:

```textproto
prometheus_config { enable: true path: "/metrics" }
```

### `--ssl_config_file` and `--rest_api_ssl_config_file`

A `tensorflow.serving.SSLConfig`:

```textproto
server_key: "/etc/salver/tls.key"
server_cert: "/etc/salver/tls.crt"
custom_ca: "/etc/salver/clients.crt"
client_verify: true
```

- `server_key` and `server_cert` are needed; the certificate comes first, then those that lead to
  its root.
- Each is PEM text, as for TensorFlow Serving, or the absolute path of a file with PEM text.
- `client_verify: true` demands a certificate of the client that an authority in `custom_ca` has
  issued; else none is asked for.
- The file, and those that it names, are watched; see [operations.md](operations.md#tls).

### `--tensorflow_session_config_file`

A `tensorflow.ConfigProto`:

```textproto
allow_soft_placement: true
```

Its thread counts never count: if `--tensorflow_intra_op_parallelism` or
`--tensorflow_inter_op_parallelism` is positive, these two decide, else
`--tensorflow_session_parallelism` decides both. All three together are refused.
Nor does its `per_process_gpu_memory_fraction` count: the flag decides.
"""


def page() -> str:
    """The whole page, in Markdown."""
    tables = [_table(origin) for origin in Origin]
    return "\n".join([_TOP, *tables, _FILES])


def _table(origin: Origin) -> str:
    rows = [_row(entry) for entry in DECLARATIONS if entry.origin is origin]
    head = ["| flag | type | default | meaning | effect |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([f"## {origin.value}", "", *head, *rows, ""])


def _row(declaration: Declaration) -> str:
    cells = [
        f"`--{declaration.name}`",
        declaration.kind.value,
        _default(declaration),
        declaration.description.replace("|", "\\|"),
        effect_in_words(declaration),
    ]
    return f"| {' | '.join(cells)} |"


def _default(declaration: Declaration) -> str:
    """The default without anything of this machine in it."""
    if isinstance(declaration.default, Computed):
        return declaration.default.words
    if declaration.kind is Kind.BOOL:
        return "true" if declaration.default else "false"
    if declaration.kind is Kind.FLOAT:
        return f"{declaration.default:g}"
    return f"`{declaration.default}`" if declaration.default != "" else "none"


if __name__ == "__main__":
    print(page(), end="")
