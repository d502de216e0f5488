//! The books as metrics: absolute values, written when somebody is about to read them.

use metrics::{counter, gauge};

use super::Cim;
use crate::books::{Books, DropReason, RefusedReason};
use crate::catalog;
use crate::clock;
use crate::contract::Level;
use crate::delivery::DeliveryState;
use cim_wire::Class;

impl Cim {
    /// Writes every count of the engine to the `metrics` facade. Call it before rendering.
    pub fn publish_metrics(&self) {
        self.publish_members();
        self.publish_classes();
        let inner = &self.inner;
        gauge!(catalog::BUDGET_USED).set(as_f64(inner.budget.used() as u64));
        gauge!(catalog::BUDGET_LIMIT).set(as_f64(inner.budget.limit() as u64));
        if let Some(letters) = self.dead_letters() {
            gauge!(catalog::DEAD_LETTERS).set(as_f64(letters.len()));
            counter!(catalog::DEAD_LETTERS_EVICTED).absolute(letters.evicted());
        }
        let aside = inner.storage.set_aside();
        gauge!(catalog::SET_ASIDE_BYTES).set(as_f64(aside.bytes));
        counter!(catalog::SET_ASIDE_REMOVED, "reason" => "max_age").absolute(aside.too_old);
        counter!(catalog::SET_ASIDE_REMOVED, "reason" => "max_bytes").absolute(aside.too_many);
        gauge!(catalog::LEFTOVER_FILES).set(as_f64(inner.leftover_files.get()));
        for part in self.parts() {
            counter!(catalog::PART_RESTARTS, "part" => part.name).absolute(part.restarts);
        }
    }

    fn publish_members(&self) {
        for member in self.status().members {
            let (books, labels) = (member.books, [("route", member.route.to_owned()), ("sink", member.sink)]);
            if let Some(fallback) = member.fallback {
                let [route, sink] = labels.clone();
                counter!(catalog::TO_FALLBACK, &[route, sink, ("fallback", fallback)])
                    .absolute(books.to_fallback);
            }
            let age = clock::now_ms().saturating_sub(member.delivery.oldest_ms);
            gauge!(catalog::OLDEST, &labels).set(if books.held == 0 { 0.0 } else { as_f64(age) / 1000.0 });
            let ready = member.delivery.state == DeliveryState::Ready;
            gauge!(catalog::DELIVERY_STATE, &labels).set(if ready { 1.0 } else { 0.0 });
        }
        for class in [Class::Log, Class::Event] {
            let queue = self.inner.entrance.queue(class);
            let labels = |sink| [("route", super::route_name(class).to_owned()), ("sink", sink)];
            for (sink, books) in queue.books() {
                publish_books(&labels(sink), &books);
            }
            // A gauge keeps its value for ever: nothing waits for a sink that left, and nothing is wrong with it.
            for sink in queue.departed() {
                let labels = labels(sink);
                gauge!(catalog::OLDEST, &labels).set(0.0);
                gauge!(catalog::DELIVERY_STATE, &labels).set(1.0);
            }
        }
    }

    fn publish_classes(&self) {
        for class in [Class::Log, Class::Event] {
            let queue = self.inner.entrance.queue(class);
            let name = super::route_name(class);
            gauge!(catalog::SPOOL_BYTES, "class" => name).set(as_f64(queue.stored_bytes()));
            let now = queue.level();
            for level in [Level::Memory, Level::Written, Level::Synced] {
                gauge!(catalog::SPOOL_LEVEL, "class" => name, "level" => level.as_str())
                    .set(if level == now { 1.0 } else { 0.0 });
            }
            for (reason, records) in self.lost(class) {
                counter!(catalog::SPOOL_LOST, "class" => name, "reason" => reason).absolute(records);
            }
            let refused = self.inner.entrance.counts.class(class).totals().refused;
            for (reason, count) in RefusedReason::ALL.into_iter().zip(refused) {
                counter!(catalog::REFUSED, "class" => name, "reason" => reason.as_str()).absolute(count);
            }
        }
    }

    fn lost(&self, class: Class) -> Vec<(&'static str, u64)> {
        let mut lost = self.inner.entrance.queue(class).lost();
        for (_, reason, records) in self.inner.recovery_lost.iter().filter(|(of, ..)| *of == class) {
            match lost.iter_mut().find(|(name, _)| name == reason) {
                Some((_, count)) => *count += records,
                None => lost.push((reason, *records)),
            }
        }
        lost
    }
}

fn publish_books(labels: &[(&'static str, String); 2], books: &Books) {
    counter!(catalog::ACCEPTED, labels).absolute(books.accepted);
    counter!(catalog::RECOVERED, labels).absolute(books.recovered);
    counter!(catalog::TAKEN_OVER, labels).absolute(books.taken_over);
    counter!(catalog::DELIVERED, labels).absolute(books.delivered);
    counter!(catalog::UNACKNOWLEDGED, labels).absolute(books.unacknowledged);
    counter!(catalog::DEAD_LETTERED, labels).absolute(books.dead_lettered);
    counter!(catalog::HANDED_OVER, labels).absolute(books.handed_over);
    gauge!(catalog::HELD, labels).set(as_f64(books.held));
    for (reason, count) in DropReason::ALL.into_iter().zip(books.dropped) {
        let [route, sink] = labels.clone();
        counter!(catalog::DROPPED, &[route, sink, ("reason", reason.as_str().to_owned())]).absolute(count);
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floating point; counts stay far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
