//! Framing `json` and `text` against a receiver on loopback: conformance, and what receivers do to connections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use cim_core::{Class, Durability, LogFormat, LogSink, Sink, async_trait};
use cim_sink_tcp::{Framing, TcpSettings};
use cim_testkit::{CannotExpress, Fault, Harness, Sample};
use support::{Mood, Receiver, settings, sink};

fn json_line(sample: &Sample) -> Vec<u8> {
    let mut text = Vec::new();
    cim_wire::json::push_string(&sample.body, &mut text);
    let head = format!("{{\"container_name\":\"{}\",\"log\":", sample.container);
    [head.as_bytes(), &text, b",\"kubernetes\":{\"namespace_name\":\"ns1\",\"pod_name\":\"pod-1\"}}\n"]
        .concat()
}

fn event_line(sample: &Sample) -> Vec<u8> {
    let mut body = Vec::new();
    cim_wire::json::push_string(&sample.body, &mut body);
    let head =
        format!("{{\"eventName\":\"SampleRaised\",\"eventTime\":{},\"managedObject\":null,", sample.seq);
    let list = [b"\"additionalInfo\":[{\"name\":\"body\",\"value\":".as_slice(), &body, b"}],"].concat();
    let tail = format!(
        "\"sourceHeaders\":{{\"podId\":\"pod-1\",\"microservice\":\"\",\"nf\":\"\",\"nfPrefix\":\"ns1\",\
         \"nfType\":\"\",\"svcVersion\":\"\"}},\"containerId\":\"{}\"}}\n",
        sample.container
    );
    [head.as_bytes(), &list, tail.as_bytes()].concat()
}

struct LineHarness {
    receiver: Receiver,
    format: LogFormat,
}

impl LineHarness {
    fn new(format: LogFormat) -> Self {
        Self { receiver: Receiver::start(None), format }
    }
}

#[async_trait]
impl Harness for LineHarness {
    fn build(&self) -> Sink {
        Sink::both(sink(&settings(self.receiver.address), self.format))
    }

    fn shown(&self, sample: &Sample, class: Class) -> Vec<u8> {
        match (class, self.format) {
            (Class::Event, _) => event_line(sample),
            (Class::Log, LogFormat::Json) => json_line(sample),
            (Class::Log, LogFormat::Text) => [&sample.body, b"\n".as_slice()].concat(),
        }
    }

    /// Whole lines only: what a connection carried after its last newline is the beginning of a record that comes again.
    async fn read(&self, _: Class) -> Vec<Vec<u8>> {
        let mut streams = self.receiver.streams();
        for stream in &mut streams {
            let end = stream.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            stream.truncate(end);
        }
        streams
    }

    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        match fault {
            Fault::Absent => self.receiver.vanish(),
            Fault::CutMidBatch => self.receiver.appear(Mood::Cutting),
            Fault::Stalled => self.receiver.set(Mood::Stalled),
        }
        Ok(())
    }

    async fn heal(&self) {
        self.receiver.appear(Mood::Reading);
    }
}

cim_testkit::conformance!(json_logs: logs, LineHarness::new(LogFormat::Json));
cim_testkit::conformance!(text_logs: logs, LineHarness::new(LogFormat::Text));
cim_testkit::conformance!(events: events, LineHarness::new(LogFormat::Json));

#[test]
fn the_registry_entry_knows_its_table() {
    let kind = cim_sink_tcp::kind::<cim_sink_tcp::NoSecurity>();
    let check = |table: serde_json::Value| {
        (kind.validate)(&table, LogFormat::Json)
            .into_iter()
            .map(|problem| problem.to_string())
            .collect::<Vec<_>>()
    };
    let full = serde_json::json!({
        "addresses": ["fluent-bit:5170", "[::1]:5170"], "framing": "forward", "connect_timeout": "1s",
        "stall_timeout": "6s", "ack_timeout": "30s", "tag": "cim",
    });
    assert_eq!(check(full), [""; 0]);
    assert_eq!(check(serde_json::json!({})), ["address: is required; write host:port"]);
    assert_eq!(
        check(serde_json::json!({
            "address": "fb-service.infra", "addresses": ["a:1", "::1"], "stall_timeout": "0s", "tag": "",
        })),
        [
            "address: `fb-service.infra` has no port; write host:port, for example fb-service.infra:5170",
            "addresses[1]: `::1` has no port; an IPv6 address stands in brackets: [::1]:5170",
            "addresses: excludes `address`; put every receiver into the list",
            "stall_timeout: must be longer than 0s",
            "tag: must not be empty",
        ]
    );
    assert_eq!(
        check(serde_json::json!({ "address": "a:1", "tls": { "client_cert_file": "c.pem" } })),
        [
            "tls.ca_file: is required: the authorities to trust",
            "tls.client_key_file: is required with a certificate",
            "tls: TLS is not part of this build; build with `--features tls`",
        ]
    );
}

#[test]
fn the_framing_wins_over_the_default_format_and_never_over_text() {
    let of = |framing, format| TcpSettings { framing, ..settings("a:1") }.framing_for(format);
    assert_eq!(of(None, LogFormat::Json), Ok(Framing::Json));
    assert_eq!(of(None, LogFormat::Text), Ok(Framing::Text));
    assert_eq!(of(Some(Framing::Text), LogFormat::Json), Ok(Framing::Text));
    assert_eq!(of(Some(Framing::Text), LogFormat::Text), Ok(Framing::Text));
    assert_eq!(of(Some(Framing::Forward), LogFormat::Json), Ok(Framing::Forward));
    assert_eq!(
        of(Some(Framing::Json), LogFormat::Text).unwrap_err().to_string(),
        "framing: `json` contradicts `format = \"text\"` of the log route; leave one of the two out"
    );
    let kind = cim_sink_tcp::kind::<cim_sink_tcp::NoSecurity>();
    let table = serde_json::json!({ "address": "a:1", "framing": "json" });
    assert_eq!((kind.validate)(&table, LogFormat::Json), []);
    assert_eq!(
        (kind.validate)(&table, LogFormat::Text),
        [of(Some(Framing::Json), LogFormat::Text).unwrap_err()]
    );
}

#[test]
fn defaults_and_promises() {
    let settings = settings("a:1");
    assert_eq!(LogSink::profile(&*sink(&settings, LogFormat::Json)).durability, Durability::Unacknowledged);
    let forward = TcpSettings { framing: Some(Framing::Forward), ..settings };
    assert_eq!(LogSink::profile(&*sink(&forward, LogFormat::Json)).durability, Durability::Remote);
}
