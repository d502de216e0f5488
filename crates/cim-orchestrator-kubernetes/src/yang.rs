//! The YANG module of CIM's own configuration, as it stands in its ConfigMap (wire contract §9.4).
//!
//! Owns the module: names, leaves, ranges, and which leaves restart the pod. Left out: reading the configuration. Invariant:
//! whatever the identity holds, the module is legal YANG, and the lines that the config server's reader looks for stand
//! alone: `module … {`, `namespace …;`, `prefix …;`, then `container … {`.

use std::fmt::Write as _;

/// The values a leaf may have.
enum Range {
    Whole(u32, u32),
    Flag,
    OneOf(&'static [&'static str]),
}

use Range::{Flag, OneOf, Whole};

/// What a change of a leaf leads to.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    /// A change-set for the running pod.
    Pushed,
    /// A new pod.
    Restarts,
}

use Change::{Pushed, Restarts};

/// Name, values, what a change leads to, and what it means.
type Leaf = (&'static str, Range, Change, &'static str);

const LMAAS: &[Leaf] = &[
    ("max_file_size_in_mb", Whole(1, 50), Pushed, "Size in MiB beyond which a log file is rotated."),
    ("max_backup_files", Whole(1, 20), Pushed, "Rotated files kept for each log file."),
    ("max_age", Whole(1, 30), Pushed, "Days a rotated file is kept."),
    ("buffer_size", Whole(1_000, 100_000), Pushed, "Bytes buffered before a write."),
    ("flush_timeout", Whole(5, 30), Pushed, "Seconds until a partly filled buffer is written."),
    ("logging_mode", OneOf(&["FILE", "TCP", "KAFKA", "STDOUT", "FILEANDSTDOUT"]), Pushed, "Where logs go."),
    ("prefer_local_daemonset", Flag, Restarts, "Whether logs go to the agent of the own node."),
];
const CIM_SETTINGS: &[Leaf] = &[
    ("enable_kpi", Flag, Pushed, "Whether metrics are served."),
    (
        "log_level",
        OneOf(&["INFO", "DEBUG", "ERROR", "WARNING", "EXCEPTION", "ALL"]),
        Pushed,
        "What CIM itself logs.",
    ),
    ("cim_file_log", Flag, Pushed, "Accepted, without effect."),
    ("num_garp_count", Whole(0, 5), Pushed, "Accepted, without effect."),
    ("remote_svc_retry_count", Whole(1, 600), Pushed, "Accepted, without effect."),
    ("ttl_timeout", Whole(1, 600), Restarts, "Accepted, without effect."),
];
const APP_SETTINGS: &[Leaf] = &[
    ("app_port", Whole(5_000, 10_000), Pushed, "Port of the application."),
    ("http2_enabled", Flag, Restarts, "Whether the application speaks HTTP/2."),
];

/// The module for one microservice of a network function.
pub(crate) fn module(nf_id: &str, microservice: &str) -> String {
    let subject = identifier(&format!("{nf_id}-{microservice}"));
    let mut text = format!(
        "module xgvela-{subject}-cim-config {{\n\
         \x20 namespace \"urn:xgvela:ns:yang:cnp:cim:{subject}\";\n\
         \x20 prefix {prefix}-cim;\n\
         \x20 import tailf-common {{ prefix tailf; }}\n\
         \x20 description \"Configuration of CIM.\";\n\
         \x20 revision 2020-06-22;\n\
         \x20 container cimConfig {{\n\
         \x20   tailf:callpoint configUpdate {{ tailf:transaction-hook subtree; }}\n",
        prefix = prefix(&subject)
    );
    for (name, leaves) in [("lmaas", LMAAS), ("cim_settings", CIM_SETTINGS), ("app_settings", APP_SETTINGS)] {
        let _ = writeln!(text, "    container {name} {{");
        for leaf in leaves {
            write_leaf(&mut text, leaf);
        }
        text.push_str("    }\n");
    }
    text.push_str("  }\n}\n");
    text
}

fn write_leaf(text: &mut String, (name, range, change, meaning): &Leaf) {
    let _ = writeln!(text, "      leaf {name} {{");
    if *change == Restarts {
        text.push_str("        tailf:callpoint restartConfigUpdate { tailf:transaction-hook node; }\n");
    }
    let _ = match range {
        Whole(low, high) => writeln!(text, "        type int32 {{ range \"{low} .. {high}\"; }}"),
        Flag => writeln!(text, "        type boolean;"),
        OneOf(values) => {
            let values: String = values.iter().map(|value| format!(" enum {value};")).collect();
            writeln!(text, "        type enumeration {{{values} }}")
        }
    };
    let _ = writeln!(text, "        mandatory true;\n        description \"{meaning}\";\n      }}");
}

/// What may stand inside an identifier: letters, digits, `_`, `-` and `.`; anything else becomes `-`.
fn identifier(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '-' };
    text.chars().map(legal).collect()
}

/// An identifier begins with a letter or `_`, and not with `xml` in any case (RFC 6020).
fn prefix(subject: &str) -> String {
    let begins = subject.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let reserved = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("xml"));
    if begins && !reserved { subject.to_owned() } else { format!("_{subject}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names as the config server's reader takes them: by the beginning of a line, one value each.
    fn names(text: &str) -> (String, String, String, Vec<String>) {
        let value = |start: &str, end: &str| {
            let found: Vec<&str> =
                text.lines().filter_map(|line| line.trim().strip_prefix(start)?.strip_suffix(end)).collect();
            assert_eq!(found.len(), 1, "{start}: {found:?}");
            found[0].trim().trim_matches('"').to_owned()
        };
        let containers =
            text.lines().filter_map(|line| line.trim().strip_prefix("container ")?.strip_suffix(" {"));
        (
            value("module ", "{"),
            value("namespace ", ";"),
            value("prefix ", ";"),
            containers.map(str::to_owned).collect(),
        )
    }

    fn is_identifier(text: &str) -> bool {
        let start = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        start
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
            && !text.to_ascii_lowercase().starts_with("xml")
    }

    #[test]
    fn the_reader_of_the_config_server_finds_its_lines() {
        let (module, namespace, prefix, containers) = names(&module("amf1", "svc"));
        assert_eq!(module, "xgvela-amf1-svc-cim-config");
        assert_eq!(namespace, "urn:xgvela:ns:yang:cnp:cim:amf1-svc");
        assert_eq!(prefix, "amf1-svc-cim");
        assert_eq!(containers, ["cimConfig", "lmaas", "cim_settings", "app_settings"]);
    }

    #[test]
    fn names_are_legal_whatever_the_identity_holds() {
        for (nf_id, microservice) in
            [("", ""), ("5g", "x"), ("xmlnf", "x"), ("a \"b\" { }", ";\n"), ("näf", "日本"), ("-", ".")]
        {
            let text = module(nf_id, microservice);
            let (module, _, prefix, _) = names(&text);
            assert!(is_identifier(&module) && is_identifier(&prefix), "{nf_id:?}: {module} {prefix}");
            assert_eq!(text.matches('{').count(), text.matches('}').count());
        }
    }
}
