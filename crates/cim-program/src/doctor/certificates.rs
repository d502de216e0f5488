//! The files that settings name for TLS and credentials: whether they can be read, and how long certificates are valid.
//!
//! Left out: whether the other side accepts them. The invariant: of a file only names and times of certificates are told,
//! never content.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::finding::Finding;
use crate::backends::{self, Validity};
use crate::engine;
use crate::settings::{Settings, member_path};

/// Keys whose files hold certificates.
const CERTIFICATES: [&str; 3] = ["ca_file", "client_cert_file", "certificate_file"];
/// A certificate that ends within this deserves a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 3_600);
const DAY: u64 = 24 * 3_600;

/// One finding for each file.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    let mut files = Vec::new();
    for name in engine::used(settings) {
        if let Some(table) = settings.sinks.get(name) {
            collect(&table.members.clone().into_iter().collect(), &member_path("sinks", name), &mut files);
        }
    }
    if let Ok(Value::Object(members)) = serde_json::to_value(&settings.api) {
        collect(&members, "api", &mut files);
    }
    if let Ok(Value::Object(members)) = serde_json::to_value(&settings.metrics) {
        collect(&members, "metrics", &mut files);
    }
    let source = member_path("configuration", &settings.configuration.source);
    if let Value::Object(members) = settings.configuration.members() {
        collect(&members, &source, &mut files);
    }
    collect(&settings.orchestrator.members.clone().into_iter().collect(), "orchestrator", &mut files);
    let now = cim_core::clock::now();
    files
        .into_iter()
        .map(|(path, key, file)| judge(&format!("file {path} {file}"), &key, Path::new(&file), now))
        .collect()
}

/// Path, key and file of every member that names a file.
fn collect(table: &Map<String, Value>, at: &str, files: &mut Vec<(String, String, String)>) {
    for (key, value) in table {
        let path = member_path(at, key);
        match value {
            Value::Object(inner) => collect(inner, &path, files),
            Value::String(file) if key.ends_with("_file") => files.push((path, key.clone(), file.clone())),
            _ => {}
        }
    }
}

fn judge(check: &str, key: &str, file: &Path, now: SystemTime) -> Finding {
    if let Err(error) = std::fs::File::open(file) {
        return Finding::fail(check, format!("cannot be read: {error}"))
            .advice("mount it, and let the user of the container read it");
    }
    if !CERTIFICATES.contains(&key) {
        return Finding::ok(check, "can be read");
    }
    match backends::certificates(file) {
        None => Finding::skip(
            check,
            "can be read; certificates are not looked at in a build without the feature `tls`",
        ),
        Some(Err(why)) => Finding::fail(check, why).advice("put certificates in PEM form there"),
        Some(Ok(certificates)) => of_all(check, &certificates, now),
    }
}

/// The worst of the certificates in a file.
fn of_all(check: &str, certificates: &[Validity], now: SystemTime) -> Finding {
    let renew = "renew it; a replaced file is used without a restart";
    for Validity { subject, not_before, .. } in certificates {
        if *not_before > now {
            let text = format!("{subject} is not valid yet");
            return Finding::fail(check, text)
                .advice("compare the clock of this host with that of its issuer");
        }
    }
    let Some(first) = certificates.iter().min_by_key(|certificate| certificate.not_after) else {
        return Finding::fail(check, "holds no certificate").advice("put certificates in PEM form there");
    };
    let subject = &first.subject;
    match first.not_after.duration_since(now) {
        Err(past) => {
            let days = past.duration().as_secs() / DAY;
            Finding::fail(check, format!("{subject} has expired {days} days ago")).advice(renew)
        }
        Ok(left) if left < SOON => {
            Finding::warn(check, format!("{subject} is valid for {} more days", left.as_secs() / DAY))
                .advice(renew)
        }
        Ok(left) => Finding::ok(check, format!("{subject} is valid for {} more days", left.as_secs() / DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn certificate(subject: &str, from: i64, until: i64) -> Validity {
        let at = |day: i64| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(1_000 + day).unwrap() * DAY)
        };
        Validity { subject: subject.to_owned(), not_before: at(from), not_after: at(until) }
    }

    #[test]
    fn the_worst_certificate_of_a_file_decides() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 * DAY + 60);
        let good = certificate("CN=good", -10, 100);
        for (other, verdict, text) in [
            (certificate("CN=old", -100, -3), Verdict::Fail, "CN=old has expired 3 days ago"),
            (certificate("CN=early", 2, 100), Verdict::Fail, "CN=early is not valid yet"),
            (certificate("CN=soon", -10, 10), Verdict::Warn, "CN=soon is valid for 9 more days"),
            (certificate("CN=fine", -10, 50), Verdict::Ok, "CN=fine is valid for 49 more days"),
        ] {
            let finding = of_all("file", &[good.clone(), other], now);
            assert_eq!((finding.verdict, finding.text.as_str()), (verdict, text));
        }
        assert_eq!(of_all("file", &[], now).verdict, Verdict::Fail);
    }

    #[test]
    fn every_member_that_names_a_file_is_found_with_its_path() {
        let table = serde_json::json!({ "tls": { "ca_file": "/a" }, "password_file": "/p", "topic_file": 7, "tag": "x" });
        let mut files = Vec::new();
        collect(table.as_object().unwrap(), "sinks.b", &mut files);
        let paths: Vec<_> = files.iter().map(|(path, _, file)| (path.as_str(), file.as_str())).collect();
        assert_eq!(paths, [("sinks.b.password_file", "/p"), ("sinks.b.tls.ca_file", "/a")]);
    }
}
