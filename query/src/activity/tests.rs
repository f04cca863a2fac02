//! Entering, leaving, stopping and what is kept of slow statements.

use std::time::Duration;

use super::*;
use crate::RoleSettings;
use crate::memory::QueryPool;

fn identity(user: &str, superuser: bool) -> Arc<Identity> {
    let settings = RoleSettings::default();
    Arc::new(Identity {
        user: user.into(),
        oid: 1,
        superuser,
        can_read: true,
        can_write: false,
        can_define: false,
        settings,
    })
}

fn start(activity: &Arc<Activity>, client: &Arc<Client>, text: &str, slow: Option<u64>) -> Live {
    let pool = Arc::new(QueryPool::new(1000));
    let start = Start {
        text,
        priority: Priority::Normal,
        memory: Share::new(&pool, 500),
        stop: Stop::new(client.cancel.subscribe(), None),
        slow_after_us: slow,
    };
    activity.start(client, start)
}

#[test]
fn statements_come_and_go() {
    let activity: Arc<Activity> = Arc::default();
    let client = activity.connect(identity("ann", false));
    let live = start(&activity, &client, "SELECT 1", None);
    assert_eq!(activity.queries().len(), 1);
    let query = Arc::clone(live.query());
    assert_eq!(query.phase(), Phase::Planning);
    query.queue();
    assert_eq!(query.phase(), Phase::Queued);
    std::thread::sleep(Duration::from_millis(2));
    query.run();
    assert_eq!(query.phase(), Phase::Running);
    assert!(query.waited_us() >= 2_000);
    let waited = query.waited_us();
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(query.waited_us(), waited);
    drop(live);
    assert!(activity.queries().is_empty());
    assert_eq!(client.seen().text.as_deref(), Some("SELECT 1"));
    activity.disconnect(&client);
    assert!(activity.clients().is_empty());
}

#[test]
fn others_statements_are_stopped_by_superusers_alone() {
    let activity: Arc<Activity> = Arc::default();
    let (ann, bob) = (identity("ann", false), identity("bob", false));
    let admin = identity("admin", true);
    let client = activity.connect(Arc::clone(&ann));
    client.set_process(7);
    let live = start(&activity, &client, "SELECT 1", None);
    assert_eq!(activity.stop(&bob, 7, false).unwrap_err().code, "42501");
    assert_eq!(activity.stop(&bob, 7, true).unwrap_err().code, "42501");
    assert_eq!(activity.stop(&bob, 8, true), Ok(false));
    live.query().stop().check().unwrap();
    assert_eq!(activity.stop(&ann, 7, false), Ok(true));
    assert_eq!(live.query().stop().check().unwrap_err().code, "57014");
    assert!(!client.has_ended());
    assert_eq!(activity.stop(&admin, 7, true), Ok(true));
    assert!(client.has_ended());
}

#[test]
fn slow_statements_are_kept_within_bounds() {
    let activity: Arc<Activity> = Arc::default();
    let client = activity.connect(identity("ann", false));
    drop(start(&activity, &client, "SELECT quick", Some(60_000_000)));
    drop(start(&activity, &client, "SELECT off", None));
    assert!(activity.slow().all().is_empty());
    let live = start(&activity, &client, "ALTER USER ann PASSWORD 'x'", Some(0));
    live.query().give(3);
    live.query().fail("57014");
    drop(live);
    let slow = activity.slow().all();
    assert_eq!(slow.len(), 1);
    assert_eq!(slow[0].text, "ALTER USER ann PASSWORD '…'");
    assert_eq!((slow[0].rows, slow[0].error), (3, Some("57014")));
    for at in 0..2_000 {
        drop(start(&activity, &client, &format!("SELECT {at}{}", " ".repeat(8_000)), Some(0)));
    }
    let slow = activity.slow().all();
    assert!(slow.len() <= 500, "{}", slow.len());
    assert!(slow.last().unwrap().text.starts_with("SELECT 1999"));
}

#[test]
fn what_a_reader_lets_wait_is_not_slow() {
    let activity: Arc<Activity> = Arc::default();
    let client = activity.connect(identity("ann", false));
    let live = start(&activity, &client, "SELECT 1", Some(40_000));
    let since = Instant::now();
    std::thread::sleep(Duration::from_millis(60));
    live.query().waits_for_reader(since);
    drop(live);
    assert!(activity.slow().all().is_empty());
}

#[test]
fn a_block_keeps_its_time() {
    let activity: Arc<Activity> = Arc::default();
    let client = activity.connect(identity("ann", false));
    let failed = Arc::new(AtomicBool::new(false));
    drop(start(&activity, &client, "BEGIN", None));
    client.set_block(Some(Arc::clone(&failed)));
    let since = client.seen().block.unwrap().1;
    std::thread::sleep(Duration::from_millis(1));
    drop(start(&activity, &client, "SELECT 1", None));
    client.set_block(Some(failed));
    assert_eq!(client.seen().block.unwrap().1, since);
    client.set_block(None);
    assert!(client.seen().block.is_none());
}
