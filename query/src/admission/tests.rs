//! The queue: who runs, who waits, who is refused.

use futures::FutureExt;
use proptest::prelude::*;

use super::*;

fn class(priority: Priority, short: bool) -> Class {
    Class { priority, short }
}

const REPORT: Class = Class { priority: Priority::Normal, short: false };
const DASHBOARD: Class = Class { priority: Priority::Normal, short: true };

fn now(admission: &Arc<Admission>, class: Class) -> Option<QueryResult<Slot>> {
    admission.enter(class, None).now_or_never()
}

#[test]
fn long_statements_leave_a_place_to_short_ones() {
    let admission = Admission::new(3, 10);
    let first = now(&admission, REPORT).unwrap().unwrap();
    let _second = now(&admission, REPORT).unwrap().unwrap();
    assert!(now(&admission, REPORT).is_none(), "the third report waits");
    let dashboard = now(&admission, DASHBOARD).unwrap().unwrap();
    assert!(now(&admission, DASHBOARD).is_none(), "all places are taken");
    drop(dashboard);
    let _high = now(&admission, class(Priority::High, false)).unwrap().unwrap();
    drop(first);
    assert_eq!(admission.counts(), (2, 0));
}

#[test]
fn low_priority_takes_half() {
    let admission = Admission::new(4, 10);
    let low = class(Priority::Low, true);
    let _first = now(&admission, low).unwrap().unwrap();
    let _second = now(&admission, low).unwrap().unwrap();
    assert!(now(&admission, low).is_none());
    assert!(now(&admission, REPORT).is_some());
}

#[test]
fn a_full_queue_refuses() {
    let admission = Admission::new(1, 1);
    let _runs = now(&admission, REPORT).unwrap().unwrap();
    let mut waits = Box::pin(admission.enter(REPORT, None));
    assert!(waits.as_mut().now_or_never().is_none());
    let refused = now(&admission, REPORT).unwrap().err().unwrap();
    assert_eq!(refused.code, "53300");
    drop(waits);
    assert_eq!(admission.counts(), (1, 0));
    assert!(now(&admission, REPORT).is_none(), "there is room in the queue again");
}

#[test]
fn the_most_important_comes_first() {
    let admission = Admission::new(1, 10);
    let runs = now(&admission, REPORT).unwrap().unwrap();
    let order = [Priority::Low, Priority::Normal, Priority::High, Priority::Normal];
    let mut waits: Vec<_> = order
        .iter()
        .map(|priority| Box::pin(admission.enter(class(*priority, false), None)))
        .collect();
    for wait in &mut waits {
        assert!(wait.as_mut().now_or_never().is_none());
    }
    drop(runs);
    for at in [2, 1, 3, 0] {
        let slot = waits[at].as_mut().now_or_never().expect("its turn").unwrap();
        assert_eq!(admission.counts().0, 1);
        drop(slot);
    }
    assert_eq!(admission.counts(), (0, 0));
}

#[test]
fn waiting_ends_with_its_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let admission = Admission::new(1, 10);
    let _runs = now(&admission, REPORT).unwrap().unwrap();
    let wait = admission.enter(REPORT, Some(Duration::from_millis(20)));
    let error = runtime.block_on(wait).err().unwrap();
    assert_eq!(error.code, "57014");
    assert!(error.message.contains("queue timeout"), "{error:?}");
    assert_eq!(admission.counts(), (1, 0));
}

#[test]
fn a_place_can_be_lent() {
    let admission = Admission::new(1, 10);
    let mut lends = now(&admission, REPORT).unwrap().unwrap();
    lends.pause();
    let other = now(&admission, REPORT).unwrap().unwrap();
    let mut again = Box::pin(lends.resume());
    assert!(again.as_mut().now_or_never().is_none());
    drop(other);
    again.as_mut().now_or_never().expect("its place is free").unwrap();
    drop(again);
    assert_eq!(admission.counts(), (1, 0));
    drop(lends);
    assert_eq!(admission.counts(), (0, 0));
}

proptest! {
    /// Whatever comes and goes: no more run than may, and all places come back.
    #[test]
    fn places_are_neither_lost_nor_made(
        max in 1usize..6,
        steps in prop::collection::vec((0u8..4, 0usize..8, 0u8..3, any::<bool>()), 1..60),
    ) {
        let admission = Admission::new(max, 8);
        let mut held: Vec<Slot> = Vec::new();
        let mut waits: Vec<std::pin::Pin<Box<dyn Future<Output = QueryResult<Slot>>>>> = Vec::new();
        for (what, at, priority, short) in steps {
            let priority = [Priority::Low, Priority::Normal, Priority::High][priority as usize];
            match what {
                0 | 1 => {
                    let admission = Arc::clone(&admission);
                    let class = class(priority, short);
                    let mut wait = Box::pin(async move { admission.enter(class, None).await });
                    match wait.as_mut().now_or_never() {
                        Some(Ok(slot)) => held.push(slot),
                        Some(Err(error)) => prop_assert_eq!(error.code, "53300"),
                        None => waits.push(wait),
                    }
                }
                2 if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                3 if !waits.is_empty() => drop(waits.swap_remove(at % waits.len())),
                _ => {}
            }
            let mut left = Vec::new();
            for mut wait in waits {
                match wait.as_mut().now_or_never() {
                    Some(slot) => held.push(slot.unwrap()),
                    None => left.push(wait),
                }
            }
            waits = left;
            prop_assert!(held.len() <= max);
            prop_assert_eq!(admission.counts(), (held.len(), waits.len()));
            // Nobody waits where nobody runs.
            prop_assert!(!held.is_empty() || waits.is_empty());
        }
        drop((held, waits));
        prop_assert_eq!(admission.counts(), (0, 0));
    }
}
