//! A test that could not run says so.
//!
//! Owns the one line it prints. Invariant: the line is seen and can be counted, whatever the test harness captures,
//! and where skips are forbidden it is a failure.

use std::io::Write as _;

/// Set to anything but `0` or nothing: a skipped test fails. For continuous integration.
const FORBID: &str = "CIM_NO_SKIPS";

/// Prints `skipped: <why>` on standard error.
///
/// # Panics
/// When the environment variable `CIM_NO_SKIPS` is set, because there everything has to run.
#[allow(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "test code: the variable belongs to the test run, and a panic is how a test fails"
)]
pub fn skipped(why: &str) {
    say("skipped", why);
    if std::env::var(FORBID).is_ok_and(|value| !matches!(value.as_str(), "" | "0")) {
        panic!("skipped where skips are forbidden: {why}");
    }
}

/// Set to `1`: tests that wait for long run, too.
const LONG: &str = "CIM_LONG";

/// Whether a test that waits for longer than 10 s runs now: when the environment variable `CIM_LONG` is `1`. Otherwise
/// prints `deferred: <what for>` on standard error, and the test returns.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "test code: the variable belongs to the test run")]
pub fn has_time(what_for: &str) -> bool {
    let has = std::env::var(LONG).is_ok_and(|value| value == "1");
    if !has {
        say("deferred", what_for);
    }
    has
}

/// Says that a property does not apply to a backend by its nature, which no environment would change.
pub(crate) fn announce(why: &str) {
    say("not applicable", why);
}

fn say(what: &str, why: &str) {
    // Written to the handle, not printed: the test harness captures what is printed. In one piece and with a line of
    // its own, because the harness writes at the same time.
    let _ = std::io::stderr().write_all(format!("\n{what}: {why}\n").as_bytes());
}
