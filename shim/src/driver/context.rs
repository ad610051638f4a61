//! What does the driver get from the event loop? The descriptors that are polled, and a queue for what follows.

use std::collections::VecDeque;

use crate::epoll::Epoll;
use crate::task::{Effect, Input, Ticket};
use crate::ttrpc::Answer;

/// What follows from an effect.
pub enum Outcome {
    /// An event for the state machine.
    Event(Input),
    /// Another effect.
    Effect(Effect),
}

/// The event loop's side of the driver.
pub struct Ctx {
    /// What is polled.
    pub epoll: Epoll,
    queue: VecDeque<Outcome>,
}

impl Ctx {
    /// With an empty queue.
    pub fn new(epoll: Epoll) -> Ctx {
        Ctx { epoll, queue: VecDeque::new() }
    }

    /// Queues an event.
    pub fn event(&mut self, input: Input) {
        self.queue.push_back(Outcome::Event(input));
    }

    /// Queues an answer to a call.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.queue.push_back(Outcome::Effect(Effect::Answer(ticket, answer)));
    }

    /// The oldest entry of the queue.
    pub fn take_next(&mut self) -> Option<Outcome> {
        self.queue.pop_front()
    }
}
