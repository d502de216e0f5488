//! From settings to the configuration of the client library.
//!
//! Owns their order of precedence, and the secrets read from files. Left out: what is set for everybody (`presets`), names
//! people may use (`properties`). Invariant: a secret goes from its file into the client and nowhere else.

use std::path::PathBuf;
use std::time::SystemTime;

use cim_core::settings::Secret;
use cim_core::{Identity, Problem};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use crate::presets::{CONSUMER, FIXED, LONGEST_ANSWER, PRODUCER, SHORTEST_FETCH, USUAL};
use crate::settings::{KafkaSettings, Mechanism, SaslSettings, TlsSettings};

/// Everything a client is made from, any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    settings: KafkaSettings,
    client_id: String,
    /// The files the last client was made from, as they were then.
    files: Vec<(PathBuf, Option<Print>)>,
}

/// Size and time of a file.
type Print = (u64, Option<SystemTime>);

impl Recipe {
    pub(crate) fn new(settings: KafkaSettings, identity: &Identity) -> Self {
        Self { settings, client_id: format!("cim-{}", identity.pod), files: Vec::new() }
    }

    /// The configuration of a producer, with the secrets of this moment.
    pub(crate) fn client_config(&mut self) -> Result<ClientConfig, String> {
        let config = producer(&self.settings, &self.client_id);
        self.with_secrets(config)
    }

    /// That of a consumer in a group, which knows this one again by `instance`.
    pub(crate) fn consumer_config(&mut self, group: &str, instance: &str) -> Result<ClientConfig, String> {
        let mut config = plain(&self.settings, &self.client_id);
        for (key, value) in CONSUMER {
            config.set(*key, *value);
        }
        let (longest_answer, enough) = LONGEST_ANSWER;
        // Meant for a producer, whose answers are short.
        if config
            .get(longest_answer)
            .is_some_and(|bytes| bytes.parse().is_ok_and(|n: u64| n < SHORTEST_FETCH))
        {
            config.set(longest_answer, enough);
        }
        config.set("group.id", group).set("group.instance.id", instance);
        self.with_secrets(config)
    }

    /// Why no client could be made, with the key of the table to look at.
    pub(crate) fn in_other_words(&self, error: &KafkaError) -> String {
        let text = error.to_string();
        if !text.contains("ssl.key.location failed") {
            return text;
        }
        let tls = self.settings.tls.as_ref();
        // An open key takes any password: what is wrong with that one is not its password.
        let locked = tls.and_then(|tls| tls.key_file.as_ref()).is_some_and(is_locked);
        let hint = match tls {
            Some(tls) if locked && tls.key_password_file.is_some() => {
                "`key_file` does not open with the password in `key_password_file`"
            }
            Some(tls) if locked && tls.key_password.is_some() => {
                "`key_file` does not open with `key_password`"
            }
            _ if locked => "`key_file` has a password: set `key_password_file`",
            _ => "`key_file` cannot be read as a private key (PEM)",
        };
        format!("{text}: {hint}")
    }

    fn with_secrets(&mut self, mut config: ClientConfig) -> Result<ClientConfig, String> {
        self.files = files(&self.settings).into_iter().map(|file| (file.clone(), print(&file))).collect();
        if let Some(sasl) = &self.settings.sasl
            && let Some(password) = pick(sasl.password.as_ref(), sasl.password_file.as_ref())?
        {
            config.set("sasl.password", password.reveal());
        }
        if let Some(tls) = &self.settings.tls
            && let Some(password) = pick(tls.key_password.as_ref(), tls.key_password_file.as_ref())?
        {
            config.set("ssl.key.password", password.reveal());
        }
        Ok(config)
    }

    /// Whether a file has changed since the last client was made. A file that is gone is waited for.
    pub(crate) fn changed(&self) -> bool {
        self.files.iter().any(|(file, before)| print(file).is_some_and(|now| Some(now) != *before))
    }
}

fn pick(given: Option<&Secret>, file: Option<&PathBuf>) -> Result<Option<Secret>, String> {
    match file {
        Some(file) => Secret::read(file).map(Some),
        None => Ok(given.cloned()),
    }
}

fn files(settings: &KafkaSettings) -> Vec<PathBuf> {
    let sasl = settings.sasl.iter().flat_map(|sasl| [&sasl.password_file]);
    let tls = settings
        .tls
        .iter()
        .flat_map(|tls| [&tls.ca_file, &tls.certificate_file, &tls.key_file, &tls.key_password_file]);
    sasl.chain(tls).flatten().cloned().collect()
}

/// Whether the key in that file has a password; both forms of it say so in words.
fn is_locked(file: &PathBuf) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.contains("ENCRYPTED"))
}

fn print(file: &PathBuf) -> Option<Print> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

/// The configuration of a producer without secrets.
fn producer(settings: &KafkaSettings, client_id: &str) -> ClientConfig {
    let mut config = plain(settings, client_id);
    for (key, value) in PRODUCER {
        config.set(*key, *value);
    }
    let (longest_answer, bytes) = LONGEST_ANSWER;
    if !settings.properties.contains_key(longest_answer) {
        config.set(longest_answer, bytes);
    }
    config.set("compression.type", settings.compression.as_str());
    config.set("message.max.bytes", settings.max_message.get().to_string());
    config
}

/// What any client needs, without secrets.
fn plain(settings: &KafkaSettings, client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // The library writes nothing by itself; what it says is an event. It says nothing of `debug` at any other level than this.
    let debug = settings.properties.contains_key("debug");
    config.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
    for (key, value) in USUAL {
        config.set(*key, *value);
    }
    config.set("client.id", client_id);
    for (key, value) in &settings.properties {
        config.set(key, value.text());
    }
    for (key, value) in FIXED {
        config.set(*key, *value);
    }
    config.set("bootstrap.servers", settings.brokers.join(","));
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(sasl) = &settings.sasl {
        set_sasl(&mut config, sasl);
    }
    if let Some(tls) = &settings.tls {
        set_tls(&mut config, tls);
    }
    config
}

fn set_sasl(config: &mut ClientConfig, sasl: &SaslSettings) {
    config.set("sasl.mechanism", sasl.mechanism.as_str());
    config.set("sasl.username", &sasl.username);
}

fn set_tls(config: &mut ClientConfig, tls: &TlsSettings) {
    let files = [
        ("ssl.ca.location", &tls.ca_file),
        ("ssl.certificate.location", &tls.certificate_file),
        ("ssl.key.location", &tls.key_file),
    ];
    for (key, file) in files {
        if let Some(file) = file {
            config.set(key, file.display().to_string());
        }
    }
    let check = if tls.skip_host_name_check { "none" } else { "https" };
    config.set("ssl.endpoint.identification.algorithm", check);
}

/// What the library itself says about the values, and what this build of it cannot do.
pub(crate) fn problems(settings: &KafkaSettings) -> Vec<Problem> {
    let features = features();
    let lacks = |feature: &str| !features.split(',').any(|known| known == feature);
    let mut problems = Vec::new();
    let missing = "is not part of this build; build with `--features tls`";
    if settings.tls.is_some() && lacks("ssl") {
        problems.push(Problem::new("tls", format!("TLS {missing}")));
    }
    if let Some(sasl) = &settings.sasl
        && sasl.mechanism != Mechanism::Plain
        && lacks("sasl_scram")
    {
        problems.push(Problem::new("sasl.mechanism", format!("{} {missing}", sasl.mechanism.as_str())));
    }
    if problems.is_empty()
        && let Err(error) = producer(settings, "cim").create_native_config()
    {
        problems.push(refused(settings, error));
    }
    problems
}

fn refused(settings: &KafkaSettings, error: KafkaError) -> Problem {
    match error {
        KafkaError::ClientConfig(_, text, key, _) => {
            let known = settings.properties.contains_key(&key);
            let path = if known { format!("properties.\"{key}\"") } else { String::new() };
            Problem::new(path, text.trim())
        }
        other => Problem::new("", other.to_string()),
    }
}

/// What the library was built with, comma-separated.
fn features() -> String {
    let native = ClientConfig::new().create_native_config();
    native.and_then(|native| native.get("builtin.features")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use rdkafka::consumer::BaseConsumer;
    use rdkafka::producer::BaseProducer;

    use super::*;

    #[test]
    fn who_asks_for_contexts_of_the_library_gets_their_lines() {
        let level = |properties: serde_json::Value| {
            let given = serde_json::json!({ "brokers": ["a:1"], "properties": properties });
            plain(&KafkaSettings::read(&given).unwrap(), "cim").log_level
        };
        assert!(matches!(level(serde_json::json!({})), RDKafkaLogLevel::Info));
        assert!(matches!(level(serde_json::json!({ "debug": "broker" })), RDKafkaLogLevel::Debug));
    }

    fn recipe(more: serde_json::Value) -> Recipe {
        let mut given = serde_json::json!({ "brokers": ["127.0.0.1:1"] });
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Recipe::new(KafkaSettings::read(&given).unwrap(), &Identity::default())
    }

    #[test]
    fn the_spool_decides_and_the_client_keeps_order() {
        let native = recipe(serde_json::json!({})).client_config().unwrap().create_native_config().unwrap();
        for (key, value) in [
            ("acks", "-1"),
            ("enable.idempotence", "true"),
            ("enable.gapless.guarantee", "true"),
            ("message.timeout.ms", "0"),
            ("max.in.flight", "5"),
            ("queue.buffering.max.kbytes", "8192"),
        ] {
            assert_eq!(native.get(key).unwrap(), value, "{key}");
        }
    }

    #[test]
    fn an_answer_is_as_long_as_the_user_says_and_any_client_can_be_made_with_it() {
        // The last two: one byte less than a fetch needs, and just what it needs.
        let cases = [
            (None, "8388608", "100000000"),
            (Some(1_000), "1000", "8388608"),
            (Some(200_000_000), "200000000", "200000000"),
            (Some(4_194_815), "4194815", "8388608"),
            (Some(4_194_816), "4194816", "4194816"),
        ];
        for (asked, of_producer, of_consumer) in cases {
            let mut properties = serde_json::Map::new();
            properties.extend(asked.map(|bytes| ("receive.message.max.bytes".to_owned(), bytes.into())));
            let mut recipe = recipe(serde_json::json!({ "properties": properties }));
            let limit = |config: &ClientConfig| {
                config.create_native_config().unwrap().get("receive.message.max.bytes").unwrap()
            };
            let producer = recipe.client_config().unwrap();
            assert_eq!(limit(&producer), of_producer, "{asked:?}");
            let consumer = recipe.consumer_config("group", "instance").unwrap();
            assert_eq!(limit(&consumer), of_consumer, "{asked:?}");
            // The library holds it against other limits when it makes a client.
            let _ = producer.create::<BaseProducer>().unwrap();
            let _ = consumer.create::<BaseConsumer>().unwrap();
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_key_that_does_not_open_is_told_with_the_setting_to_look_at() {
        let home = cim_services::Home::new();
        let Some(authority) = cim_services::Authority::new(home.path()) else { return };
        let identity = authority.issue("client", 2);
        let (locked, wrong) = (identity.locked_key("right"), home.path().join("password"));
        std::fs::write(&wrong, "canary-4711").unwrap();
        let told = |key: &PathBuf, more: serde_json::Value| {
            let mut tls = serde_json::json!({ "certificate_file": identity.certificate, "key_file": key });
            tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let mut recipe = recipe(serde_json::json!({ "tls": tls }));
            let made = recipe.client_config().unwrap().create::<BaseProducer>();
            let text = made.err().map(|error| recipe.in_other_words(&error)).unwrap_or_default();
            assert!(!text.contains("canary-4711"), "the password is shown: {text}");
            text
        };
        assert_eq!(told(&locked, serde_json::json!({ "key_password": "right" })), "");
        let open = told(&identity.key, serde_json::json!({ "key_password": "canary-4711" }));
        assert_eq!(open, "", "a password that is not needed does no harm");
        for (key, more, hint) in [
            (
                &locked,
                serde_json::json!({ "key_password_file": wrong }),
                "the password in `key_password_file`",
            ),
            (&locked, serde_json::json!({ "key_password": "canary-4711" }), "not open with `key_password`"),
            (&locked, serde_json::json!({}), "set `key_password_file`"),
            (&wrong, serde_json::json!({}), "`key_file` cannot be read"),
            (&home.path().join("nothing"), serde_json::json!({}), "`key_file` cannot be read"),
        ] {
            let text = told(key, more);
            assert!(text.contains(hint), "{text}");
        }
    }
}
