//! Pages of exporters that are well, odd, slow or broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "test code: a failed step is the failure; the support is shared"
)]

mod support;

use std::io::Write as _;
use std::time::Duration;

use cim_app::{PageError, read_page};
use support::{OK, Server};

const LIMIT: Duration = Duration::from_secs(10);

async fn page(server: &Server) -> Result<String, PageError> {
    read_page(server.address.port(), "/metrics", 1_000, LIMIT, None).await
}

#[tokio::test]
async fn a_page_is_asked_for_as_recorded_and_over_http_1() {
    let server = Server::answering(OK);
    assert_eq!(page(&server).await.unwrap(), "ok");
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/metrics.json")).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "aligned scrape request").unwrap();
    let recorded = case["expected"]["request_to_app"]["text"].as_str().unwrap();
    let recorded = recorded.replace("<port>", &server.address.port().to_string());
    // Not the agent, and no compression within the pod.
    let outline = |request: &str| {
        let mut lines: Vec<_> = request.lines().map(ToOwned::to_owned).collect();
        lines.retain(|line| !line.starts_with("User-Agent") && !line.starts_with("Accept-Encoding"));
        lines
    };
    assert_eq!(outline(&server.requests()[0]), outline(&recorded));
}

#[tokio::test]
async fn a_page_is_whole_or_an_error() {
    for (answer, error) in [
        (&b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\na "[..], "it answered 500"),
        (b"HTTP/1.1 302 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "it answered 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe", "the page is not UTF-8"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na 1", "end of file before message length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na 1\r\n", "cannot be reached"),
        (b"nonsense\r\n\r\n", "not HTTP"),
    ] {
        let server = Server::start(move |stream, _| {
            stream.write_all(answer).unwrap();
            false
        });
        let found = page(&server).await.unwrap_err().to_string();
        assert!(found.contains(error), "{found} does not say {error}");
    }
    let server = Server::start(|stream, _| {
        let page = "a 1\n".repeat(1_000);
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{page}").as_bytes());
        false
    });
    assert_eq!(page(&server).await.unwrap_err().to_string(), "the page is longer than 1000 bytes");
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n4\r\nb 2\n\r\n0\r\n\r\n";
    assert_eq!(page(&Server::answering(chunked)).await.unwrap(), "a 1\nb 2\n");
}

#[tokio::test]
async fn an_exporter_that_is_slow_or_away_costs_no_more_than_the_limit() {
    let slow = Server::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na");
        true
    });
    let error = read_page(slow.address.port(), "/metrics", 1_000, Duration::from_millis(200), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("did not answer within 200ms"), "{error}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = read_page(nobody, "/metrics", 1_000, LIMIT, None).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}
