//! The reference pages, made from what the program itself uses: JSON Schema, command line, catalog of metrics.
//!
//! Left out: writing files, which a test does on request. The invariant: equal input, equal text.

use std::fmt::Write;

use cim_core::Registry;
use cim_core::catalog::CATALOG;
use serde_json::Value;

use crate::cli;
use crate::settings::{Settings, complete_schema};

const NOTE: &str =
    "<!-- Generated; `CIM_UPDATE_REFERENCE=1 cargo test -p cim-program --test reference` writes it. -->\n";

/// `docs/reference/config.md`
#[must_use]
pub fn config(registry: &Registry) -> String {
    let schema = complete_schema(registry);
    let defaults = serde_json::to_value(Settings::default()).unwrap_or(Value::Null);
    let mut page = format!("{NOTE}# Configuration\n\n{CONFIG_INTRO}");
    let mut tables = Tables { schema: &schema, page: &mut page };
    let root = tables.members(&schema);
    for (name, node) in root.into_iter().filter(|(name, _)| *name != "sinks") {
        tables.table(name, node, defaults.get(name));
    }
    page.push_str("## [sinks.NAME]\n\nOne table per sink; `type` decides which keys it has.\n\n");
    for kind in registry.sinks() {
        let schema = (kind.schema)();
        let _ = writeln!(page, "### type = \"{}\"\n\n{}\n", kind.name, capital(kind.summary));
        let mut tables = Tables { schema: &schema, page: &mut page };
        let (inner, plain) = tables.split(&schema);
        tables.rows(plain, None);
        for (name, node) in inner {
            let text = described(node, tables.resolved(node));
            let _ = writeln!(tables.page, "#### [sinks.NAME.{name}]\n\n{text}\n");
            tables.rows(tables.members(node), None);
        }
    }
    page
}

const CONFIG_INTRO: &str = "Everything has a default; `cim config show --origins` prints what is in force and where it comes from.
Layers, each over the ones before: defaults; `K8S_NAMESPACE`, `K8S_POD_ID`, `CIM_REST_PORT`, `CIM_NATS_PORT`; the files
of `--config` in order (.toml, .yaml, .json); variables `CIM__SECTION__KEY`, two underscores between the levels, in upper
case. A list in a variable is a JSON list, or its items with commas between them where only a list is possible.

What a cluster gives every pod fills gaps of `[orchestrator] type = \"kubernetes\"` without `kubeconfig`: `KUBERNETES_SERVICE_HOST` and
`KUBERNETES_SERVICE_PORT` for `host` and `port`, the file `namespace` beside `token_file` for the namespace of `[identity]`.

`cim run` loads again on SIGHUP and when a file changes. `[routes]`, `[sinks]`, `[application]`, `[registration]`, `[lifecycle]`, `enabled` in `[metrics]` and `level` in `[log]` change at once;
for everything else it says that a restart is needed. A configuration with any problem changes nothing.

";

/// Keys and their schemas.
type Members<'s> = Vec<(&'s str, &'s Value)>;

struct Tables<'s> {
    schema: &'s Value,
    page: &'s mut String,
}

impl<'s> Tables<'s> {
    fn resolved(&self, node: &'s Value) -> &'s Value {
        let target = node.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        let found = target.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(node);
        let inner = found.get("anyOf").and_then(Value::as_array);
        // An optional table is a choice between the table and nothing.
        match inner.and_then(|list| list.iter().find(|node| node.get("$ref").is_some())) {
            Some(node) => self.resolved(node),
            None => found,
        }
    }

    fn members(&self, node: &'s Value) -> Members<'s> {
        let table = self.resolved(node).get("properties").and_then(Value::as_object);
        table.map(|table| table.iter().map(|(key, node)| (key.as_str(), node)).collect()).unwrap_or_default()
    }

    /// The members that are tables, and the others.
    fn split(&self, node: &'s Value) -> (Members<'s>, Members<'s>) {
        self.members(node).into_iter().partition(|(_, node)| !self.members(node).is_empty())
    }

    fn table(&mut self, path: &str, node: &'s Value, defaults: Option<&Value>) {
        let _ = writeln!(self.page, "## [{path}]\n\n{}\n", described(node, self.resolved(node)));
        let (inner, plain) = self.split(node);
        self.rows(plain, defaults);
        for (name, node) in inner {
            self.table(&format!("{path}.{name}"), node, defaults.and_then(|table| table.get(name)));
        }
    }

    fn rows(&mut self, members: Members<'s>, defaults: Option<&Value>) {
        if members.is_empty() {
            self.page.push_str("No keys of its own.\n\n");
            return;
        }
        self.page.push_str("| key | values | default | |\n|---|---|---|---|\n");
        for (name, node) in members {
            let resolved = self.resolved(node);
            let default = defaults.and_then(|table| table.get(name)).or(node.get("default"));
            let default = default.filter(|value| !value.is_null() && **value != "");
            let default = default.map_or(String::new(), |value| format!("`{value}`"));
            let text = described(node, resolved);
            let _ = writeln!(self.page, "| `{name}` | {} | {default} | {text} |", values(node, resolved));
        }
        self.page.push('\n');
    }
}

fn described(node: &Value, resolved: &Value) -> String {
    let text = [node, resolved].into_iter().find_map(|node| node.get("description").and_then(Value::as_str));
    text.unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

/// The values a member may have, in a few words.
fn values(node: &Value, resolved: &Value) -> String {
    let words: Vec<_> = resolved
        .get("oneOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|node| node.get("const").and_then(Value::as_str))
        .chain(resolved.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str))
        .map(|word| format!("`{word}`"))
        .collect();
    if !words.is_empty() {
        return words.join(" ");
    }
    let keyword = |name: &str| [node, resolved].into_iter().find_map(|node| node.get(name));
    match keyword("format").and_then(Value::as_str) {
        Some("bytes") => return "size, `48MiB`".to_owned(),
        Some("duration") => return "duration, `5s`".to_owned(),
        Some("listen-address") => return "address with port".to_owned(),
        Some("password") => return "secret".to_owned(),
        _ => {}
    }
    let kind = keyword("type").map(|kind| match kind {
        Value::Array(kinds) => {
            kinds.iter().find_map(|kind| kind.as_str().filter(|kind| *kind != "null")).unwrap_or("")
        }
        kind => kind.as_str().unwrap_or(""),
    });
    let bounds = match (keyword("minimum"), keyword("maximum")) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) if *least != 0 => format!(", at least {least}"),
        _ => String::new(),
    };
    let name = match kind {
        Some("boolean") => "`true` `false`",
        Some("integer") => "whole number",
        Some("number") => "number",
        Some("array") => "list",
        Some("object") => "table",
        Some(_) => "text",
        None => "one or a list",
    };
    format!("{name}{bounds}")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// `docs/reference/cli.md`
#[must_use]
pub fn command_line() -> String {
    let mut page = format!("{NOTE}# Command line\n\n");
    let mut root = cli::definition().term_width(100);
    root.build();
    command(&mut page, &mut root);
    page
}

fn command(page: &mut String, definition: &mut clap::Command) {
    let name = definition.get_bin_name().unwrap_or("cim").to_owned();
    let help = definition.render_long_help().to_string();
    // The value of the variable in the environment of the generation does not belong here.
    let lines: Vec<_> =
        help.lines()
            .map(|line| {
                if line.contains("[env: CIM_CONFIG=") {
                    "          [env: CIM_CONFIG]"
                } else {
                    line.trim_end()
                }
            })
            .collect();
    let _ = writeln!(page, "## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for inner in definition.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        command(page, inner);
    }
}

/// `docs/reference/metrics.md`
#[must_use]
pub fn metrics() -> String {
    let mut page =
        format!("{NOTE}# Metrics\n\n{METRICS_INTRO}| name | type | labels | |\n|---|---|---|---|\n");
    for metric in CATALOG {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = metric.kind.as_str();
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", metric.name, labels.join(" "), metric.help);
    }
    page.push_str(METRICS_OLD);
    page
}

const METRICS_INTRO: &str =
    "`/metrics` on the API port and on `[health] listen`, text exposition format 0.0.4.

Per route and sink, at every quiet moment:
`accepted + recovered + taken_over = delivered + dead_lettered + dropped + handed_over + held`.
`taken_over` and `handed_over` are 0 until the sinks of a route are changed while the process runs.

";

const METRICS_OLD: &str = "
## Names of the original program

With the one label `pod`; a family appears after its first update. S is `CONFIG`, `EVENT`, `LOG` or `TEST`.

| name | type | |
|---|---|---|
| `cim_total_messages_counter`, `Total_msg_count` | counter | LOG messages |
| `cim_total_bytes_counter` | counter | their bytes as received |
| `cim_packet_size` | gauge | bytes of the last one |
| `Total_msg_sent_to_tcp` | counter | log records that TCP sinks have taken |
| `Total_msg_write_to_file` | counter | log records that file sinks have taken |
| `tcp_disconnect_count` | counter | connections that broke while they carried log records |
| `cim_config_push_attempt_total` | counter | calls of `/updateConfig` |
| `cim_config_push_success_total` | counter | those answered with 2xx |
| `cim_config_push_failure_total` | counter | those answered otherwise, or not at all |
| `cim_commit_config_push_failure_total` | counter | results that could not be stored in time |
| `cim_config_resp_received_total` | counter | messages on CONFIG |
| `cim_config_resp_success_total` | counter | changes that were applied |
| `cim_config_resp_unused_total` | counter | changes that were not needed |
| `cim_config_resp_failure_total` | counter | changes that failed |
| `cim_nats_S_message_count` | counter | messages of the subject |
| `cim_nats_S_message_size` | histogram | their bytes; bounds 0, 500, … 9500 |
| `cim_nats_EVENT_latency` | gauge | milliseconds from the time in the last event that has one to its arrival |

`process_*` without labels, as every Prometheus library has them. `/metrics/aligned`: [guide](../guide/metrics.md).
";
