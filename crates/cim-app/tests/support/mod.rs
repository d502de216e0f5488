//! An application made of a socket: reads requests whole, and answers with whatever bytes a test wants.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_app::{ApplicationSettings, HttpApplication};
use cim_core::Push;

/// Longest wait of the server for anything.
const PATIENCE: Duration = Duration::from_secs(20);

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub const PUSH: Push<'static> = Push {
    change_set_key: "change-set/ns1/svc/v1/nf/app.json/9",
    patch: "[{\"op\":\"replace\",\"path\":\"/a/b\",\"value\":\"<x>&\u{2028}é\"}]".as_bytes(),
    data_key: "app.json",
    revision: "9",
};

#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub requests: Mutex<Vec<String>>,
}

pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
}

impl Server {
    /// Answers each request by `answer`, which is told how many came before; the connection is kept while it says `true`.
    pub fn start(answer: impl Fn(&mut TcpStream, usize) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, answer) = (Arc::new(Seen::default()), Arc::new(answer));
        let all = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                all.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answer, mut stream) = (Arc::clone(&all), Arc::clone(&answer), stream.unwrap());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_write_timeout(Some(PATIENCE)).unwrap();
                    while let Some(request) = read_request(&mut stream) {
                        let before = {
                            let mut requests = seen.requests.lock().unwrap();
                            requests.push(request);
                            requests.len() - 1
                        };
                        if !answer(&mut stream, before) {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Answers every request with these bytes.
    pub fn answering(bytes: &'static [u8]) -> Self {
        Self::start(move |stream, _| stream.write_all(bytes).is_ok())
    }

    pub fn client(&self) -> HttpApplication {
        self.patient_client("10s")
    }

    pub fn patient_client(&self, timeout: &str) -> HttpApplication {
        client(self.address, timeout, false)
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }
}

pub fn client(address: SocketAddr, timeout: &str, http2: bool) -> HttpApplication {
    let url = format!("http://localhost:{}", address.port());
    let settings = ApplicationSettings { url, http2, timeout: timeout.parse().unwrap() };
    assert!(settings.problems().is_empty());
    HttpApplication::new(&settings).unwrap()
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes.clone()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    bytes.extend_from_slice(&body);
    Some(String::from_utf8(bytes).unwrap())
}

/// Whether the client hangs up within that time; sends it nothing meanwhile. The pace of a slow application.
pub fn hangs_up(stream: &mut TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    let ended = stream.read(&mut [0]).is_ok_and(|count| count == 0);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ended
}

/// Waits for what the other end does.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    cim_testkit::until(what, PATIENCE, async || is_so()).await;
}
