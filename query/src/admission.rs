//! Admission: heavy statements run a few at a time, the others wait in a queue by priority, so
//! that reports never starve dashboards, nor each other.
//!
//! Only statements that are expected to read much come here; what is small runs at once. Places
//! are kept free: low priority takes half of them at most, long statements leave the last one to
//! short ones and to high priority. Who waits for long rises in priority, so nobody waits for ever.
//!
//! Invariants: a place is given back when its [`Slot`] is dropped, whatever became of the
//! statement; the lock is never held while a slot is dropped or a waiter is told.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{QueryError, QueryResult};

/// Waiting this long raises a statement by one step of priority.
const RISES_AFTER: Duration = Duration::from_secs(30);

/// `millrace.priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    Low,
    Normal,
    High,
}

impl Priority {
    /// As the setting writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        }
    }

    /// Of the setting's text; what is unknown is normal.
    pub(crate) fn of(text: &str) -> Priority {
        match text {
            "low" => Priority::Low,
            "high" => Priority::High,
            _ => Priority::Normal,
        }
    }
}

/// What is known of a statement that wants a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) priority: Priority,
    /// Whether it is expected to end soon.
    pub(crate) short: bool,
}

impl Class {
    fn is_long(self) -> bool {
        !self.short && self.priority != Priority::High
    }

    fn is_low(self) -> bool {
        self.priority == Priority::Low
    }
}

/// The queue in numbers, since the start of the process where it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Heavy statements that may run at a time.
    pub places: u64,
    /// Those that have a place.
    pub running: u64,
    /// Those that wait.
    pub waiting: u64,
    /// Times that one had to wait, since the start.
    pub queued: u64,
    /// µs that they have waited, since the start; those that wait still are in it.
    pub waited_us: u64,
    /// Refused since too many waited, since the start.
    pub refused: u64,
    /// Ended since they waited too long, since the start.
    pub timed_out: u64,
}

/// The places and the queue before them.
pub(crate) struct Admission {
    running_max: usize,
    waiting_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Of these: long ones, and those of low priority.
    long: usize,
    low: usize,
    waiting: Vec<Waiter>,
    /// Waiters so far.
    next: u64,
    /// Those of the past.
    waited: Duration,
    refused: u64,
    timed_out: u64,
}

struct Waiter {
    number: u64,
    class: Class,
    since: Instant,
    told: oneshot::Sender<Slot>,
}

impl State {
    fn count(&mut self, class: Class) {
        self.running += 1;
        self.long += usize::from(class.is_long());
        self.low += usize::from(class.is_low());
    }

    fn discount(&mut self, class: Class) {
        self.running -= 1;
        self.long -= usize::from(class.is_long());
        self.low -= usize::from(class.is_low());
    }
}

impl Admission {
    /// `running_max`: heavy statements at a time; `waiting_max`: those that may wait.
    pub(crate) fn new(running_max: usize, waiting_max: usize) -> Arc<Admission> {
        let running_max = running_max.max(1);
        Arc::new(Admission { running_max, waiting_max, state: Mutex::default() })
    }

    /// Statements that have a place, and those that wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.running, state.waiting.len())
    }

    /// The queue in numbers.
    pub(crate) fn figures(&self) -> QueueFigures {
        let state = self.state.lock();
        let waits: Duration = state.waiting.iter().map(|waiter| waiter.since.elapsed()).sum();
        QueueFigures {
            places: self.running_max as u64,
            running: state.running as u64,
            waiting: state.waiting.len() as u64,
            queued: state.next,
            waited_us: (state.waited + waits).as_micros() as u64,
            refused: state.refused,
            timed_out: state.timed_out,
        }
    }

    /// A place, if one is free and nobody comes first.
    pub(crate) fn try_enter(self: &Arc<Self>, class: Class) -> Option<Slot> {
        let mut state = self.state.lock();
        self.take(&mut state, class)
    }

    /// Waits for a place, on a runtime that knows of time. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// `53300` if as many wait as may; `57014` after `wait_max`.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        class: Class,
        wait_max: Option<Duration>,
    ) -> QueryResult<Slot> {
        match self.join(class, self.waiting_max)? {
            Place::Taken(slot) => Ok(slot),
            Place::Waits(mut wait) => match wait_max {
                None => wait.done().await,
                Some(most) => match tokio::time::timeout(most, wait.done()).await {
                    Ok(done) => done,
                    Err(_) => Err(self.waited_too_long(most)),
                },
            },
        }
    }

    /// Waits for a place in mid-work, after it was given back, or was not thought to be needed:
    /// neither the length of the queue nor the time in it ends a statement that has begun.
    pub(crate) async fn enter_again(self: &Arc<Self>, class: Class) -> QueryResult<Slot> {
        match self.join(class, usize::MAX)? {
            Place::Taken(slot) => Ok(slot),
            Place::Waits(mut wait) => wait.done().await,
        }
    }

    fn join(self: &Arc<Self>, class: Class, waiting_max: usize) -> QueryResult<Place> {
        let mut state = self.state.lock();
        if let Some(slot) = self.take(&mut state, class) {
            return Ok(Place::Taken(slot));
        }
        if state.waiting.len() >= waiting_max {
            state.refused += 1;
            let message = format!(
                "too many heavy statements: {} run and {} wait",
                state.running,
                state.waiting.len()
            );
            return Err(QueryError::new("53300", message).with_hint(
                "Try again later. Settings queries_heavy_max and queries_waiting_max of the server.",
            ));
        }
        let number = state.next;
        state.next += 1;
        let (told, place) = oneshot::channel();
        let since = Instant::now();
        state.waiting.push(Waiter { number, class, since, told });
        Ok(Place::Waits(Wait { admission: Arc::clone(self), number, place }))
    }

    /// A place that is free. Who comes does not overtake those that could run, too.
    fn take(self: &Arc<Self>, state: &mut State, class: Class) -> Option<Slot> {
        if !self.has_room(state, class) || self.is_behind(state, class) {
            return None;
        }
        state.count(class);
        Some(self.slot(class))
    }

    fn slot(self: &Arc<Self>, class: Class) -> Slot {
        Slot { admission: Arc::clone(self), class, held: true }
    }

    fn has_room(&self, state: &State, class: Class) -> bool {
        let low_max = (self.running_max / 2).max(1);
        let long_max = (self.running_max - 1).max(1);
        state.running < self.running_max
            && !(class.is_low() && state.low >= low_max)
            && !(class.is_long() && state.long >= long_max)
    }

    /// Whether somebody waits who may run and comes first.
    fn is_behind(&self, state: &State, class: Class) -> bool {
        let now = Instant::now();
        state.waiting.iter().any(|waiter| {
            self.has_room(state, waiter.class)
                && !waiter.told.is_closed()
                && (waiter.rank(now), waiter.class.short) >= (class.priority as u64, class.short)
        })
    }

    /// Gives a place back, and free places to those that wait.
    fn leave(self: &Arc<Self>, class: Class) {
        let mut state = self.state.lock();
        state.discount(class);
        self.grant(&mut state);
    }

    fn grant(self: &Arc<Self>, state: &mut State) {
        let now = Instant::now();
        loop {
            let best = state
                .waiting
                .iter()
                .enumerate()
                .filter(|(_, waiter)| self.has_room(state, waiter.class))
                .max_by_key(|(_, w)| (w.rank(now), w.class.short, std::cmp::Reverse(w.number)))
                .map(|(at, _)| at);
            let Some(at) = best else { return };
            let waiter = state.waiting.swap_remove(at);
            state.waited += waiter.since.elapsed();
            let class = waiter.class;
            state.count(class);
            if let Err(mut slot) = waiter.told.send(self.slot(class)) {
                // It has left meanwhile.
                slot.held = false;
                state.discount(class);
            }
        }
    }

    fn waited_too_long(&self, most: Duration) -> QueryError {
        self.state.lock().timed_out += 1;
        let (running, waiting) = self.counts();
        let message = format!(
            "canceling statement due to queue timeout: no place for a heavy statement within {} s",
            most.as_secs_f64()
        );
        QueryError::new("57014", message)
            .with_detail(format!("{running} heavy statements run and {waiting} wait."))
            .with_hint("Setting millrace.queue_timeout; sys.queries shows what runs.")
    }
}

impl Waiter {
    /// Priority with the time waited.
    fn rank(&self, now: Instant) -> u64 {
        let steps = now.duration_since(self.since).as_secs() / RISES_AFTER.as_secs();
        self.class.priority as u64 + steps
    }
}

enum Place {
    Taken(Slot),
    Waits(Wait),
}

/// A place in the queue.
struct Wait {
    admission: Arc<Admission>,
    number: u64,
    place: oneshot::Receiver<Slot>,
}

impl Wait {
    async fn done(&mut self) -> QueryResult<Slot> {
        let place = (&mut self.place).await;
        place.map_err(|_| QueryError::internal("the queue of statements was dropped"))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        let at = state.waiting.iter().position(|waiter| waiter.number == self.number);
        if let Some(at) = at {
            let waiter = state.waiting.remove(at);
            state.waited += waiter.since.elapsed();
        }
        // Somebody behind may have waited for this one alone.
        self.admission.grant(&mut state);
    }
}

/// The right to run; given back when dropped.
pub(crate) struct Slot {
    admission: Arc<Admission>,
    class: Class,
    held: bool,
}

impl Slot {
    /// Lets others run while the statement waits for its reader.
    pub(crate) fn pause(&mut self) {
        if std::mem::take(&mut self.held) {
            self.admission.leave(self.class);
        }
    }

    /// Takes a place again after [`Slot::pause`].
    ///
    /// # Errors
    /// `XX000` if the queue is gone.
    pub(crate) async fn resume(&mut self) -> QueryResult<()> {
        if !self.held {
            let mut again = self.admission.enter_again(self.class).await?;
            self.held = std::mem::take(&mut again.held);
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pause();
    }
}
