//! The one question of the Kafka protocol that a start needs: which brokers are there?
//!
//! Left out: everything else; an admin client asks that. Invariant: no answer is waited for beyond the time given.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Metadata request, version 1, for no topic: length, key 3, version, correlation, no client name, empty list.
const REQUEST: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0];

/// Numbers of the brokers that the one at `address` knows to be alive.
pub(super) fn brokers(address: SocketAddr, patience: Duration) -> io::Result<Vec<u16>> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&REQUEST)?;
    let length = number(&mut stream)?;
    let mut body = vec![0; usize::try_from(length).map_err(io::Error::other)?.min(1 << 20)];
    stream.read_exact(&mut body)?;
    let mut rest = body.get(4..).unwrap_or_default(); // after the correlation
    let count = number(&mut rest)?;
    (0..count).map(|_| broker(&mut rest)).collect()
}

/// Number, host, port, rack.
fn broker(rest: &mut &[u8]) -> io::Result<u16> {
    let id = number(rest)?;
    text(rest)?;
    number(rest)?;
    text(rest)?;
    u16::try_from(id).map_err(io::Error::other)
}

fn number(from: &mut impl Read) -> io::Result<i32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(i32::from_be_bytes(bytes))
}

fn text(from: &mut &[u8]) -> io::Result<()> {
    let mut length = [0; 2];
    from.read_exact(&mut length)?;
    let length = usize::try_from(i16::from_be_bytes(length)).unwrap_or(0); // −1: absent
    let (_, rest) = from.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
    *from = rest;
    Ok(())
}
