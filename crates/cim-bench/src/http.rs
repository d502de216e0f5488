//! The few HTTP requests a bench makes, and polling with a deadline.
//!
//! Leaves out everything but `GET`, and `POST` of JSON, on 127.0.0.1 with `Connection: close`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::{BenchError, Result};

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time for a server to become ready.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The body of a 200 answer.
///
/// # Errors
/// No answer, or another status.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    expect_200(request(address, "GET", path, "")?, path)
}

/// Posts JSON; the body of a 200 answer.
///
/// # Errors
/// No answer, or another status.
pub fn post(address: SocketAddr, path: &str, json: &str) -> Result<String> {
    expect_200(request(address, "POST", path, json)?, path)
}

fn expect_200((status, body): (u16, String), path: &str) -> Result<String> {
    if status == 200 { Ok(body) } else { Err(BenchError::Protocol(format!("{status} for {path}"))) }
}

/// Whether the answer is 200.
#[must_use]
pub fn is_ok(address: SocketAddr, path: &str) -> bool {
    request(address, "GET", path, "").is_ok_and(|(status, _)| status == 200)
}

fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream =
        TcpStream::connect_timeout(&address, PATIENCE).map_err(BenchError::io("connect to the API"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(BenchError::io("set the read timeout"))?;
    let length = match method {
        "GET" => String::new(),
        _ => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
    };
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}\r\n{body}");
    stream.write_all(request.as_bytes()).map_err(BenchError::io("send the request"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(BenchError::io("read the answer"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status =
        status.ok_or_else(|| BenchError::Protocol(head.lines().next().unwrap_or_default().to_owned()))?;
    Ok((status, body.to_owned()))
}

/// The sum of the series of a metric whose labels hold that text.
#[must_use]
pub fn metric(page: &str, name: &str, label: &str) -> f64 {
    let lines = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Asks every 0.5 ms until the answer is yes.
///
/// # Errors
/// It was not within 10 s.
pub fn poll_until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > READY_WITHIN {
            return Err(BenchError::Deadline { what: what.to_owned(), seconds: READY_WITHIN.as_secs() });
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_with_a_label_are_summed() {
        let page = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\"} 4\na{x=\"2\"} 8\nab 16\n";
        assert!((metric(page, "a", "x=\"1\"") - 7.0).abs() < 1e-9);
        assert!((metric(page, "ab", "") - 16.0).abs() < 1e-9);
    }
}
