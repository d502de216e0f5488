//! CIM's books as `/metrics` shows them, and the conservation law.
//!
//! Leaves out every other metric but what the spool lost. A counter that is not on the page counts as 0: a series
//! appears with its first update.

use serde::Serialize;

/// The books of one route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RouteBooks {
    /// Taken in this life of the process.
    pub accepted: u64,
    /// Found in the spool at start.
    pub recovered: u64,
    /// Taken over from sinks that left the route.
    pub taken_over: u64,
    /// Given to the sink.
    pub delivered: u64,
    /// In the dead-letter store.
    pub dead_lettered: u64,
    /// Dropped, for whatever reason.
    pub dropped: u64,
    /// Left to other sinks when its own left the route.
    pub handed_over: u64,
    /// Not yet any of these.
    pub held: u64,
}

impl RouteBooks {
    /// Whether accepted + recovered + taken over = delivered + dead-lettered + dropped + handed over + held. True at quiet
    /// moments only.
    #[must_use]
    pub fn balance(&self) -> bool {
        let inward = self.accepted.saturating_add(self.recovered).saturating_add(self.taken_over);
        let outward = self.delivered.saturating_add(self.dead_lettered).saturating_add(self.handed_over);
        inward == outward.saturating_add(self.dropped).saturating_add(self.held)
    }
}

/// The books of both routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Route `logs`.
    pub logs: RouteBooks,
    /// Route `events`.
    pub events: RouteBooks,
    /// Records the spool lost, for every reason but a torn tail.
    pub lost_records: u64,
    /// Records of a write that a kill cut: never accepted, so no loss. Whether that is true the kill loop checks.
    pub torn_tail: u64,
    /// Records refused at intake, all reasons.
    pub refused: u64,
}

impl Books {
    /// Reads a page in the Prometheus text format.
    #[must_use]
    pub fn parse(page: &str) -> Self {
        let mut books = Self::default();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            books.note(name, labels, value.max(0.0) as u64);
        }
        books
    }

    fn note(&mut self, name: &str, labels: &str, value: u64) {
        match name {
            "cim_spool_lost_records_total" if labels.contains("reason=\"torn_tail\"") => {
                self.torn_tail = self.torn_tail.saturating_add(value);
            }
            "cim_spool_lost_records_total" => self.lost_records = self.lost_records.saturating_add(value),
            "cim_records_refused_total" => self.refused = self.refused.saturating_add(value),
            _ => {}
        }
        let route = if labels.contains("route=\"logs\"") {
            &mut self.logs
        } else if labels.contains("route=\"events\"") {
            &mut self.events
        } else {
            return;
        };
        let field = match name {
            "cim_records_accepted_total" => &mut route.accepted,
            "cim_records_recovered_total" => &mut route.recovered,
            "cim_records_taken_over_total" => &mut route.taken_over,
            "cim_records_handed_over_total" => &mut route.handed_over,
            "cim_records_delivered_total" => &mut route.delivered,
            "cim_records_dead_lettered_total" => &mut route.dead_lettered,
            "cim_records_dropped_total" => &mut route.dropped,
            "cim_records_held" => &mut route.held,
            _ => return,
        };
        *field = field.saturating_add(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_books_and_sums_over_reasons() {
        let page = "# TYPE cim_records_accepted_total counter\n\
            cim_records_accepted_total{route=\"logs\"} 10\n\
            cim_records_recovered_total{route=\"logs\"} 3\n\
            cim_records_delivered_total{route=\"logs\",ack=\"x\"} 8\n\
            cim_records_dropped_total{reason=\"a\",route=\"logs\"} 1\n\
            cim_records_dropped_total{reason=\"b\",route=\"logs\"} 2\n\
            cim_records_held{route=\"logs\"} 2\n\
            cim_records_accepted_total{route=\"events\"} 7e0\n\
            cim_spool_lost_records_total{reason=\"damaged\"} 4\n\
            cim_spool_lost_records_total{class=\"logs\",reason=\"torn_tail\"} 5\n";
        let books = Books::parse(page);
        assert_eq!((books.logs.accepted, books.logs.dropped, books.logs.held), (10, 3, 2));
        assert!(books.logs.balance());
        assert_eq!((books.events.accepted, books.lost_records, books.torn_tail), (7, 4, 5));
        assert!(!books.events.balance());
    }
}
