//! Floors: what the machine can do at best, measured in the same run as CIM.
//!
//! Leaves out any product. Each floor is the smallest program that moves the same bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::error::{BenchError, Result};

/// Bytes of one read or write.
pub const BLOCK: usize = 256 * 1024;
/// The write loop starts a new file at this size.
const FILE_BYTES: u64 = 256 * 1024 * 1024;
/// The checksummed loop starts a new file at this size, as a spool does with its segments.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// A server that speaks just enough NATS for the generator to connect, and discards everything else.
#[derive(Debug)]
pub struct Pump {
    /// Its listener.
    pub address: SocketAddr,
    received: Arc<AtomicU64>,
}

impl Pump {
    /// Starts it; it serves one connection at a time and ends with the process.
    ///
    /// # Errors
    /// No port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::io("listen"))?;
        let address = listener.local_addr().map_err(BenchError::io("listen"))?;
        let received = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &count);
            }
        });
        Ok(Self { address, received })
    }

    /// Bytes received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }
}

/// The least that can stand between a publisher and a TCP receiver: epoll, read, write.
///
/// Starts it on a port of its own; it serves one connection and ends with the process.
///
/// # Errors
/// No port, or nobody listens at `target`.
pub fn relay(target: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::io("listen"))?;
    let address = listener.local_addr().map_err(BenchError::io("listen"))?;
    let mut onward = TcpStream::connect(target).map_err(BenchError::io("connect to the receiver"))?;
    onward.set_nodelay(true).map_err(BenchError::io("set TCP_NODELAY"))?;
    std::thread::spawn(move || {
        if let Ok(stream) = listener.accept().and_then(|(stream, _)| Polled::new(stream)) {
            let _ = answer(stream, |bytes| onward.write_all(bytes));
        }
    });
    Ok(address)
}

/// A stream that is read when epoll says so, as every server does that has more than one.
struct Polled {
    stream: TcpStream,
    ready: OwnedFd,
}

impl Polled {
    fn new(stream: TcpStream) -> std::io::Result<Self> {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&ready, &stream, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, ready })
    }
}

impl Read for Polled {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 1];
        epoll::wait(&self.ready, &mut events, None)?;
        self.stream.read(buffer)
    }
}

impl Write for Polled {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// Answers PING and counts.
fn serve(stream: TcpStream, received: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    answer(stream, |bytes| {
        received.fetch_add(bytes.len() as u64, Ordering::Release);
        Ok(())
    })
}

/// Answers a read that ends in PING with PONG, and gives everything to `take` first.
fn answer(
    mut stream: impl Read + Write,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    stream.write_all(b"INFO {\"max_payload\":1048576}\r\n")?;
    let mut buffer = vec![0u8; BLOCK];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        take(buffer.get(..count).unwrap_or_default())?;
        if buffer.get(..count).is_some_and(|bytes| bytes.ends_with(b"PING\r\n")) {
            stream.write_all(b"PONG\r\n")?;
        }
    }
}

/// Bytes per second of a 256 KiB `write` loop into a file of `dir` for `time`.
///
/// # Errors
/// The directory cannot be written.
pub fn write_loop(dir: &Path, time: Duration) -> Result<f64> {
    let block = vec![b'x'; BLOCK];
    timed_blocks(dir, time, FILE_BYTES, |file| file.write_all(&block))
}

/// Bytes per second of copying 256 KiB into a buffer in pieces of `record` bytes, CRC32C over it, and `write`.
///
/// # Errors
/// The directory cannot be written.
pub fn copy_sum_write(dir: &Path, record: usize, time: Duration) -> Result<f64> {
    let source = vec![b'x'; record.clamp(1, BLOCK)];
    let mut block = Vec::with_capacity(BLOCK);
    let mut sum = 0u32;
    let speed = timed_blocks(dir, time, SEGMENT_BYTES, |file| {
        block.clear();
        while block.len().saturating_add(source.len()) <= BLOCK {
            block.extend_from_slice(&source);
        }
        block.resize(BLOCK, 0);
        sum = crc32c::crc32c_append(sum, &block);
        file.write_all(&block)
    })?;
    std::hint::black_box(sum);
    Ok(speed)
}

fn timed_blocks(
    dir: &Path,
    time: Duration,
    file_bytes: u64,
    mut block: impl FnMut(&mut File) -> std::io::Result<()>,
) -> Result<f64> {
    let path = dir.join("floor");
    let removed = Removed(path.clone());
    let mut file = create(&path)?;
    let (mut total, mut in_file) = (0u64, 0u64);
    let start = Instant::now();
    while start.elapsed() < time {
        block(&mut file).map_err(BenchError::io(format!("write {}", path.display())))?;
        total = total.saturating_add(BLOCK as u64);
        in_file = in_file.saturating_add(BLOCK as u64);
        if in_file >= file_bytes {
            drop(file);
            fs::remove_file(&path).map_err(BenchError::io("remove the floor file"))?;
            file = create(&path)?;
            in_file = 0;
        }
    }
    let speed = total as f64 / start.elapsed().as_secs_f64();
    drop(removed);
    Ok(speed)
}

fn create(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).truncate(true).write(true).open(path);
    opened.map_err(BenchError::io(format!("create {}", path.display())))
}

/// Removes the file when dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Round trips per second of 6 bytes over loopback TCP.
///
/// # Errors
/// No loopback.
pub fn ping_pong(time: Duration) -> Result<f64> {
    let pump = Pump::start()?;
    let mut stream = TcpStream::connect(pump.address).map_err(BenchError::io("connect"))?;
    stream.set_nodelay(true).map_err(BenchError::io("set TCP_NODELAY"))?;
    let mut info = [0u8; 256];
    let _ = stream.read(&mut info).map_err(BenchError::io("read"))?;
    let mut answer = [0u8; 6];
    let mut count = 0u64;
    let start = Instant::now();
    while start.elapsed() < time {
        stream.write_all(b"PING\r\n").map_err(BenchError::io("write"))?;
        stream.read_exact(&mut answer).map_err(BenchError::io("read"))?;
        count = count.saturating_add(1);
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
