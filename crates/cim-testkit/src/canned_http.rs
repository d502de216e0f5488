//! An HTTP server that gives prepared answers, for what a real server cannot be made to say.
//!
//! Owns one thread, which serves one connection after the other. Left out: TLS, chunks, pipelining. Invariant: an answer is
//! the bytes that were given, and every request that was answered stands in [`CannedHttp::requests`] before its answer
//! leaves; without answers left, the last one is repeated.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A running server. Its thread ends with the program.
#[derive(Debug)]
pub struct CannedHttp {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl CannedHttp {
    /// Starts on a free port of 127.0.0.1 with these answers, head and body each.
    ///
    /// # Errors
    /// The system gives no port or no thread.
    pub fn start(answers: Vec<Vec<u8>>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let server = Self { address: listener.local_addr()?, requests: Arc::default() };
        let seen = Arc::clone(&server.requests);
        std::thread::Builder::new().name("canned http".to_owned()).spawn(move || {
            let mut answers = answers.into_iter().peekable();
            let mut last = Vec::new();
            for stream in listener.incoming().flatten() {
                // A client that goes away ends its connection, and nothing else.
                let _ = serve(&stream, &seen, || {
                    if let Some(next) = answers.next() {
                        last = next;
                    }
                    last.clone()
                });
            }
        })?;
        Ok(server)
    }

    /// An answer with that status line and these headers, for example `429 Too Many Requests`, `Retry-After: 1`.
    #[must_use]
    pub fn answer(status: &str, headers: &[&str], body: &str) -> Vec<u8> {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first lines of the requests so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers the requests of one connection until it ends.
fn serve(
    stream: &TcpStream,
    seen: &Mutex<Vec<String>>,
    mut answer: impl FnMut() -> Vec<u8>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((_, value)) =
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(first.trim_end().to_owned());
        (&*stream).write_all(&answer())?;
    }
}
