//! The clock of this host, beside that of a server which tells its time.
//!
//! Left out: etcd, whose protocol tells no time. The invariant: a clock that was not compared is not called right.

use std::time::Duration;

use super::cluster::ClusterReport;
use super::finding::Finding;

/// A difference that deserves a word.
const NOTABLE: Duration = Duration::from_secs(30);

/// The finding about the clock.
pub(super) fn check(report: Option<&Result<ClusterReport, String>>) -> Finding {
    let clock = report.and_then(|report| report.as_ref().ok()?.clock);
    let Some((difference, ahead)) = clock else {
        return Finding::skip("clock", "no server here tells its time");
    };
    let side = if ahead { "behind" } else { "ahead of" };
    let text = format!("{} s {side} the API server's", difference.as_secs());
    if difference <= NOTABLE {
        return Finding::ok("clock", text);
    }
    Finding::warn("clock", text)
        .advice("set the clock of the node; times of events and the life of certificates depend on it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_clock_is_right_within_half_a_minute_and_never_without_a_comparison() {
        let verdict = |clock| {
            let report = Ok(ClusterReport { rights: Vec::new(), clock });
            check(Some(&report))
        };
        assert_eq!(check(None).verdict, Verdict::Skip);
        assert_eq!(verdict(None).verdict, Verdict::Skip);
        assert_eq!(verdict(Some((Duration::from_secs(30), true))).verdict, Verdict::Ok);
        let late = verdict(Some((Duration::from_secs(90), true)));
        assert_eq!((late.verdict, late.text.as_str()), (Verdict::Warn, "90 s behind the API server's"));
    }
}
