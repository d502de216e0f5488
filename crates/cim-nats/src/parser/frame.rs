//! Whole frames, the slow path: written for clarity, and the definition of what is valid.
//!
//! Owns the shape of each verb's arguments and the payload rules. Leaves out speed: see `fast`. Invariant: a pure
//! function of the bytes.

use super::control_line::{self, Line, Verb};
use super::{Fault, Need, Op, Publish};

/// A frame, or how much is missing.
pub(super) enum Outcome<'a> {
    Frame(Op<'a>, usize),
    More(Need),
}

/// Parses the frame at the start of `input`.
pub(super) fn parse(input: &[u8], max_payload: usize, connect_only: bool) -> Result<Outcome<'_>, Fault> {
    if input.is_empty() {
        return Ok(Outcome::More(Need::Line));
    }
    let line = control_line::find(input)?;
    let verb = match line {
        Line::Complete(verb, ..) => Some(verb),
        Line::Partial(verb) => verb,
    };
    if connect_only && verb.is_some_and(|verb| verb != Verb::Connect) {
        return Err(Fault::Unauthenticated);
    }
    let Line::Complete(verb, rest, used) = line else {
        return Ok(Outcome::More(Need::Line));
    };
    let op = match verb {
        Verb::Connect => Op::Connect(rest.trim_ascii()),
        Verb::Ping => Op::Ping,
        Verb::Pong => Op::Pong,
        Verb::Info | Verb::Okay => Op::Ignored,
        Verb::Error => return Err(Fault::ClientError),
        Verb::Subscribe => subscribe(rest)?,
        Verb::Unsubscribe => unsubscribe(rest)?,
        Verb::Publish => return publish(rest, input, used, max_payload),
        Verb::PublishWithHeaders => return publish_with_headers(rest, input, used, max_payload),
    };
    Ok(Outcome::Frame(op, used))
}

fn subscribe(rest: &[u8]) -> Result<Op<'_>, Fault> {
    let ([subject, second, third], count) = control_line::arguments::<3>(rest)?;
    match count {
        2 => Ok(Op::Subscribe { subject, queue: None, sid: second }),
        3 => Ok(Op::Subscribe { subject, queue: Some(second), sid: third }),
        _ => Err(Fault::Arguments),
    }
}

fn unsubscribe(rest: &[u8]) -> Result<Op<'_>, Fault> {
    let ([sid, max], count) = control_line::arguments::<2>(rest)?;
    if count == 0 {
        return Err(Fault::Arguments);
    }
    Ok(Op::Unsubscribe { sid, max: control_line::number(max) })
}

fn publish<'a>(
    rest: &'a [u8],
    input: &'a [u8],
    line: usize,
    max_payload: usize,
) -> Result<Outcome<'a>, Fault> {
    let ([subject, second, third], count) = control_line::arguments::<3>(rest)?;
    let (reply, size) = match count {
        2 => (None, second),
        3 => (Some(second), third),
        _ => return Err(Fault::Arguments),
    };
    let size = size_within(size, max_payload)?;
    Ok(match body(input, line, size)? {
        None => Outcome::More(Need::Total(line + size + 2)),
        Some(payload) => {
            Outcome::Frame(Op::Publish(Publish { subject, reply, headers: None, payload }), line + size + 2)
        }
    })
}

fn publish_with_headers<'a>(
    rest: &'a [u8],
    input: &'a [u8],
    line: usize,
    max_payload: usize,
) -> Result<Outcome<'a>, Fault> {
    let ([subject, second, third, fourth], count) = control_line::arguments::<4>(rest)?;
    let (reply, header_size, size) = match count {
        3 => (None, second, third),
        4 => (Some(second), third, fourth),
        _ => return Err(Fault::Arguments),
    };
    let size = size_within(size, max_payload)?;
    let header_size = size_within(header_size, max_payload)?;
    if header_size > size {
        return Err(Fault::Arguments);
    }
    let Some(block) = body(input, line, size)? else {
        return Ok(Outcome::More(Need::Total(line + size + 2)));
    };
    let (headers, payload) = block.split_at_checked(header_size).ok_or(Fault::Arguments)?;
    if !headers.starts_with(b"NATS/1.0") || !headers.ends_with(b"\r\n\r\n") {
        return Err(Fault::Headers);
    }
    Ok(Outcome::Frame(
        Op::Publish(Publish { subject, reply, headers: Some(headers), payload }),
        line + size + 2,
    ))
}

fn size_within(digits: &[u8], max_payload: usize) -> Result<usize, Fault> {
    let size = control_line::number(digits).ok_or(Fault::Arguments)?;
    match usize::try_from(size) {
        Ok(size) if size <= max_payload => Ok(size),
        _ => Err(Fault::PayloadTooLarge),
    }
}

/// The payload behind a control line of `line` bytes, once it and its CR LF are there.
fn body(input: &[u8], line: usize, size: usize) -> Result<Option<&[u8]>, Fault> {
    match (input.get(line + size), input.get(line + size + 1)) {
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), Some(b'\n')) => Ok(input.get(line..line + size)),
        _ => Err(Fault::PayloadEnd),
    }
}
