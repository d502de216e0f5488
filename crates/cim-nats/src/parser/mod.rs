//! The NATS client protocol as bytes: finds the next complete frame at the start of a buffer and says what it is.
//!
//! Owns framing: verbs, arguments, size limits, the CR LF after a payload. Leaves out every meaning: subjects are
//! bytes, CONNECT is a slice of JSON, no socket and no buffer is owned. Invariant: the answer depends only on the
//! bytes of the stream, never on how they were cut into reads, and the fast path answers exactly as the slow one.

mod control_line;
mod fast;
mod frame;

pub use control_line::MAX_CONTROL_LINE;

/// One complete frame from a client. All slices point into the buffer that was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// `CONNECT {json}`: the bytes after the verb, without surrounding blanks.
    Connect(&'a [u8]),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `PUB` or `HPUB`.
    Publish(Publish<'a>),
    /// `SUB subject [queue] sid`.
    Subscribe {
        /// Subject as sent, possibly with wildcards, not validated.
        subject: &'a [u8],
        /// Queue group, when given.
        queue: Option<&'a [u8]>,
        /// The client's name for this subscription.
        sid: &'a [u8],
    },
    /// `UNSUB sid [max]`.
    Unsubscribe {
        /// The client's name for the subscription.
        sid: &'a [u8],
        /// Total number of messages after which it ends; `None` (also for an unreadable number): now.
        max: Option<u64>,
    },
    /// `INFO` or `+OK` from a client: allowed, without effect.
    Ignored,
}

/// The parts of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Subject as sent, not validated; never holds blanks, CR or LF.
    pub subject: &'a [u8],
    /// Reply subject, when given.
    pub reply: Option<&'a [u8]>,
    /// Raw header block of `HPUB` (`NATS/1.0` … blank line).
    pub headers: Option<&'a [u8]>,
    /// Payload without the header block.
    pub payload: &'a [u8],
}

/// Why a byte stream is no NATS conversation. None of them can be repaired: the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// The line begins with no verb a client may send (also an empty line, HTTP, TLS).
    #[error("unknown verb")]
    UnknownVerb,
    /// The verb is known, its arguments are not usable.
    #[error("bad arguments")]
    Arguments,
    /// A control line longer than [`MAX_CONTROL_LINE`] bytes.
    #[error("control line too long")]
    LineTooLong,
    /// An announced payload above the limit.
    #[error("payload above the limit")]
    PayloadTooLarge,
    /// No CR LF where the announced payload ends.
    #[error("payload does not end where announced")]
    PayloadEnd,
    /// A header block without its first line or its final blank line.
    #[error("broken header block")]
    Headers,
    /// The client sent `-ERR`.
    #[error("client reported an error")]
    ClientError,
    /// Something other than CONNECT while credentials are still owed.
    #[error("not authenticated")]
    Unauthenticated,
}

impl Fault {
    /// Every kind, in the order of [`Fault::index`].
    pub const ALL: [Self; 8] = [
        Self::UnknownVerb,
        Self::Arguments,
        Self::LineTooLong,
        Self::PayloadTooLarge,
        Self::PayloadEnd,
        Self::Headers,
        Self::ClientError,
        Self::Unauthenticated,
    ];

    /// Position in [`Fault::ALL`], for tables of counts.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Label for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownVerb => "unknown_verb",
            Self::Arguments => "arguments",
            Self::LineTooLong => "line_too_long",
            Self::PayloadTooLarge => "payload_too_large",
            Self::PayloadEnd => "payload_end",
            Self::Headers => "headers",
            Self::ClientError => "client_error",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// Answer of [`Parser::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A complete frame.
    Frame {
        /// What it is.
        op: Op<'a>,
        /// Bytes it takes from the start of the buffer.
        used: usize,
        /// A publish on the same subject as the publish before it on this connection.
        same_subject: bool,
    },
    /// Not complete yet.
    More(Need),
    /// The stream is broken here.
    Broken(Fault),
}

/// How much is missing until the frame at the start of the buffer can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The rest of a control line.
    Line,
    /// The frame takes this many bytes in all.
    Total(usize),
}

/// What a connection's parser remembers: limits, and the subject of the last publish.
#[derive(Debug)]
pub struct Parser {
    max_payload: usize,
    connect_only: bool,
    fast: Option<fast::Prefix>,
    fast_enabled: bool,
}

impl Parser {
    /// A parser that refuses payloads (headers included) above `max_payload` bytes.
    #[must_use]
    pub const fn new(max_payload: usize) -> Self {
        Self { max_payload, connect_only: false, fast: None, fast_enabled: true }
    }

    /// The same without the fast path: the reference of the equality test.
    #[must_use]
    pub const fn slow_only(max_payload: usize) -> Self {
        Self { max_payload, connect_only: false, fast: None, fast_enabled: false }
    }

    /// While set, only CONNECT is a frame, everything else is [`Fault::Unauthenticated`]: nothing of an
    /// unauthenticated client is buffered but one control line.
    pub const fn set_connect_only(&mut self, on: bool) {
        self.connect_only = on;
    }

    /// Looks at the start of `input`.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        if let Some(prefix) = &self.fast
            && let Some((publish, used)) = prefix.frame(input, self.max_payload)
        {
            return Step::Frame { op: Op::Publish(publish), used, same_subject: true };
        }
        self.next_slow(input)
    }

    #[inline(never)]
    fn next_slow<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let (op, used) = match frame::parse(input, self.max_payload, self.connect_only) {
            Ok(frame::Outcome::Frame(op, used)) => (op, used),
            Ok(frame::Outcome::More(need)) => return Step::More(need),
            Err(fault) => return Step::Broken(fault),
        };
        let mut same_subject = false;
        if let Op::Publish(publish) = op {
            same_subject = self.fast.as_ref().is_some_and(|prefix| prefix.subject() == publish.subject);
            if !same_subject && self.fast_enabled {
                fast::Prefix::set(&mut self.fast, publish.subject);
            }
        }
        Step::Frame { op, used, same_subject }
    }
}
