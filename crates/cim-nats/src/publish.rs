//! Publishing: what a client's PUB does, in the engine and for subscribers.
//!
//! Owns the routes of LOG, EVENT, CONFIG and TEST and the answers to a reply subject. Leaves out delivery to
//! subscribers (`routing`). Invariants: a message that is `Full` has had no effect; an acknowledgement names a
//! sequence number that the engine gave out.

use crate::barrier::{Answer, Number, Scope};
use crate::client::Client;
use crate::hub::Hub;
use crate::intake::{Intake, Offer, Offered, Target};
use crate::notice::ANSWERS;
use crate::parser::{Fault, Publish};
use crate::reading::Flow;
use crate::routing::Message;
use crate::subject;
use cim_core::intake::RefusedReason;
use cim_wire::{Class, publish_answer};

/// How many messages of a class were taken, and what the engine said at the last flush that found room.
#[derive(Debug, Default, Clone, Copy)]
struct Page {
    taken: u64,
    numbered: u64,
    last_seq: u64,
}

/// The pages of both classes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    logs: Page,
    events: Page,
}

impl Ledger {
    const fn page(&mut self, class: Class) -> &mut Page {
        match class {
            Class::Log => &mut self.logs,
            Class::Event => &mut self.events,
        }
    }
}

impl<I: Intake> Hub<I> {
    /// Carries out PUB or HPUB.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        client: &mut Client,
        publish: &Publish<'_>,
        same_subject: bool,
        sip: bool,
    ) -> Flow {
        if publish.headers.is_some() && !client.options.headers {
            self.fail(client, Fault::UnknownVerb);
            return Flow::End;
        }
        if !same_subject || client.route.generation != self.interest.generation() {
            self.find_route(client, publish.subject);
        }
        let target = client.route.target;
        match target {
            Target::Class(class) => {
                if let Some(flow) = self.take_in(client, class, publish, sip) {
                    return flow;
                }
            }
            Target::Config => {
                if matches!(self.intake.config_result(publish.payload), Offered::Refused(_)) {
                    self.counts.refused_messages += 1;
                }
            }
            Target::Test => self.intake.test_message(publish.payload),
            Target::Answer => self.take_answer(client, publish),
            Target::Broker => {}
        }
        self.counts.receive(target, publish.payload.len());
        if client.options.verbose || client.options.pedantic {
            self.remark(client);
        }
        if client.route.matches.is_some() || (target == Target::Broker && publish.reply.is_some()) {
            self.distribute(client, publish, target);
        }
        if client.is_open() { Flow::Next } else { Flow::End }
    }

    fn find_route(&mut self, client: &mut Client, subject: &[u8]) {
        let route = &mut client.route;
        let matches = self.interest.matches(subject);
        route.target = Target::of(subject);
        route.literal = !matches.is_empty() || subject::is_literal(subject);
        route.matches = (!matches.is_empty()).then_some(matches);
        route.generation = self.interest.generation();
        if !route.literal {
            self.counts.invalid_subjects += 1;
        }
    }

    /// The words of verbose and pedantic mode.
    fn remark(&mut self, client: &mut Client) {
        if client.options.pedantic && !client.route.literal {
            self.say(client, b"-ERR 'Invalid Publish Subject'\r\n");
        }
        self.okay(client);
    }

    fn distribute(&mut self, client: &mut Client, publish: &Publish<'_>, target: Target) {
        let message = Message {
            subject: publish.subject,
            reply: publish.reply,
            headers: publish.headers,
            payload: publish.payload,
        };
        let matches = client.route.matches.take();
        let delivered = matches.as_ref().map_or(0, |matches| self.route(Some(client), &message, matches));
        if client.route.matches.is_none() {
            client.route.matches = matches;
        }
        if delivered == 0
            && target == Target::Broker
            && client.options.no_responders
            && client.options.headers
            && let Some(reply) = publish.reply
        {
            self.nobody_there(client, publish.subject, reply);
        }
    }

    /// Hands on the answer to a notification. Whoever asks whether it came is told so, if it did.
    fn take_answer(&mut self, client: &mut Client, publish: &Publish<'_>) {
        let name = publish.subject.get(ANSWERS.len()..).unwrap_or_default();
        let is_taken = self.answers.get().is_some_and(|answers| answers.tell(name, publish.payload));
        if !is_taken {
            tracing::debug!(subject = %publish.subject.escape_ascii(), "an answer that means nothing");
        } else if let Some(reply) = publish.reply {
            let matches = self.interest.matches(reply);
            let message = Message { subject: reply, reply: None, headers: None, payload: b"" };
            self.route_to_self(client, &message, &matches);
        }
    }

    /// Tells a requester at once that nobody listens.
    fn nobody_there(&mut self, client: &mut Client, subject: &[u8], reply: &[u8]) {
        let matches = self.interest.matches(reply);
        let headers = [b"NATS/1.0 503\r\nNats-Subject: ", subject, b"\r\n\r\n"].concat();
        let message = Message { subject: reply, reply: None, headers: Some(&headers), payload: b"" };
        self.route_to_self(client, &message, &matches);
    }

    /// Offers a message to the engine. `Some`: the frame ends here.
    #[inline]
    fn take_in(
        &mut self,
        client: &mut Client,
        class: Class,
        publish: &Publish<'_>,
        sip: bool,
    ) -> Option<Flow> {
        let source = client.options.name.as_bytes();
        let offer = Offer { class, headers: publish.headers, source, payload: publish.payload };
        let mut offered = self.intake.offer(&offer, sip);
        if offered == Offered::Full && client.credit > 0 {
            client.credit = client.credit.saturating_sub(publish.payload.len().max(1));
            offered = self.intake.offer(&offer, true);
        } else {
            client.credit = 0;
        }
        match offered {
            Offered::Taken => {
                client.offered_turn = self.turn;
                if class == Class::Event {
                    client.scope = Scope::All;
                }
                self.offered = true;
                self.ledger.page(class).taken += 1;
                if let Some(reply) = publish.reply {
                    self.promise(class, reply);
                }
            }
            Offered::Full => return Some(Flow::Full(class)),
            Offered::Refused(reason) => {
                self.counts.refused_messages += 1;
                if let Some(reply) = publish.reply {
                    client.offered_turn = self.turn;
                    self.refuse(class, reply, reason);
                }
            }
        }
        None
    }

    /// Hands on what was offered, and notes the numbers it got. A full class numbers nothing.
    pub(crate) fn flush(&mut self, hand_on: impl FnOnce(&mut I) -> I::Mark) -> I::Mark {
        let mark = hand_on(&mut self.intake);
        for class in [Class::Log, Class::Event] {
            let page = self.ledger.page(class);
            if page.numbered < page.taken && !self.intake.is_full(class) {
                page.numbered = page.taken;
                page.last_seq = self.intake.last_seq(class);
            }
        }
        mark
    }

    /// Registers the acknowledgement of the message that was just taken.
    fn promise(&mut self, class: Class, reply: &[u8]) {
        let refused = self.intake.refused(class);
        let mark = self.flush(I::flush);
        if self.intake.refused(class) > refused {
            return self.refuse(class, reply, RefusedReason::DropNewest.as_str());
        }
        let page = self.ledger.page(class);
        let number = if page.numbered == page.taken {
            Number::Known(page.last_seq)
        } else {
            Number::Taken(page.taken)
        };
        self.barriers.push(Scope::of(class), Answer::Ack { reply: reply.into(), class, number });
        self.barriers.mark(mark);
    }

    /// Sends the acknowledgement of an accepted message.
    pub(crate) fn acknowledge(&mut self, reply: &[u8], class: Class, number: Number) {
        let page = self.ledger.page(class);
        let seq = match number {
            Number::Known(seq) => seq,
            Number::Taken(taken) => page.last_seq.saturating_sub(page.numbered.saturating_sub(taken)),
        };
        let level = self.intake.level(class);
        self.answer_on(reply, publish_answer::accepted(class, seq, level).as_bytes());
    }

    fn refuse(&mut self, class: Class, reply: &[u8], reason: &str) {
        let body = publish_answer::refused(class, reason);
        self.barriers
            .push(Scope::of(class), Answer::Refusal { reply: reply.into(), body: body.into_bytes().into() });
    }

    /// Sends an answer of the engine to whoever listens on the reply subject.
    pub(crate) fn answer_on(&mut self, reply: &[u8], body: &[u8]) {
        let matches = self.interest.matches(reply);
        let message = Message { subject: reply, reply: None, headers: None, payload: body };
        self.route(None, &message, &matches);
    }
}
