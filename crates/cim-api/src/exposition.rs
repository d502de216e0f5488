//! Pages of metrics as answers (wire contract §6.3).
//!
//! Owns compression, and who counts as a scraper. Left out: what is on a page. The invariant: only a reader that says that it is a
//! scraper takes anything away; one that looks sees the same as the next.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::body::Whole;
use crate::receipt::Receipts;
use crate::route::Answer;
use crate::state::{AlignedPage, ApiState};

const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// What Prometheus sends with every scrape.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// Pages above this are compressed beside the loop that serves everything else.
const LARGE: usize = 256 << 10;

/// `/metrics`
pub(crate) async fn metrics(headers: &HeaderMap, state: &dyn ApiState) -> Answer {
    page(headers, state.metrics()).await
}

/// `/metrics/aligned`; `None` when nothing is aligned.
pub(crate) async fn aligned(
    headers: &HeaderMap,
    state: &dyn ApiState,
    connection: &Receipts,
) -> Option<Answer> {
    let AlignedPage { text, receipt } = state.aligned(is_scraper(headers))?.await;
    let answer = page(headers, text).await;
    Some(answer.map(|body| body.with_receipt(receipt, connection)))
}

async fn page(headers: &HeaderMap, text: String) -> Answer {
    let mut answer = Response::new(Whole::default());
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(CONTENT_TYPE, EXPOSITION);
    let is_small = text.len() <= LARGE;
    let plain = Bytes::from(text);
    let packed = match (takes_gzip(headers) && !plain.is_empty(), is_small) {
        (false, _) => None,
        (true, true) => gzip(&plain),
        (true, false) => {
            let page = plain.clone();
            tokio::task::spawn_blocking(move || gzip(&page)).await.ok().flatten()
        }
    };
    if packed.is_some() {
        answer.headers_mut().insert(CONTENT_ENCODING, GZIP);
    }
    *answer.body_mut() = Whole::new(packed.unwrap_or(plain));
    answer
}

fn gzip(page: &[u8]) -> Option<Bytes> {
    let mut packer = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    packer.write_all(page).ok()?;
    packer.finish().ok().map(Bytes::from)
}

/// Values of a header, at its commas, in lower case.
fn parts(headers: &HeaderMap, name: impl hyper::header::AsHeaderName) -> impl Iterator<Item = String> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|part| part.replace([' ', '\t'], "").to_ascii_lowercase())
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    parts(headers, ACCEPT_ENCODING).any(|part| match part.split_once(";q=") {
        None => part == "gzip",
        Some((coding, weight)) => coding == "gzip" && weight.parse::<f32>().is_ok_and(|weight| weight > 0.0),
    })
}

/// Whoever asks for a format of metrics by name, or says how long a scrape may take. What a person or a probe sends is neither.
fn is_scraper(headers: &HeaderMap) -> bool {
    let asks = |part: String| {
        let (kind, parameters) = part.split_once(';').unwrap_or((&part, ""));
        match kind {
            "text/plain" => parameters.split(';').any(|parameter| parameter == "version=0.0.4"),
            "application/openmetrics-text" => true,
            "application/vnd.google.protobuf" => true,
            _ => false,
        }
    };
    headers.contains_key(SCRAPE_TIMEOUT) || parts(headers, ACCEPT).any(asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn scrapers_are_told_from_those_who_look() {
        for accept in [
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "text/plain; version=0.0.4",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3",
        ] {
            assert!(is_scraper(&headers(&[("accept", accept)])), "{accept}");
        }
        assert!(is_scraper(&headers(&[("x-prometheus-scrape-timeout-seconds", "10")])));
        for accept in
            ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "text/plain", "text/plain;version=1.0.0"]
        {
            assert!(!is_scraper(&headers(&[("accept", accept)])), "{accept}");
        }
        assert!(!is_scraper(&headers(&[("user-agent", "kube-probe/1.30")])));
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for coding in ["gzip", "deflate, gzip", "GZIP;q=0.5", "gzip ; q=1"] {
            assert!(takes_gzip(&headers(&[("accept-encoding", coding)])), "{coding}");
        }
        for coding in ["", "identity", "gzip;q=0", "br;q=1.0", "*", "x-gzip", "gzip;q=x"] {
            assert!(!takes_gzip(&headers(&[("accept-encoding", coding)])), "{coding}");
        }
    }
}
