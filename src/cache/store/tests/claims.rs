//! Claims: one builder does a step, the others wait and adopt.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::{Claim, Lease, Patience};
use super::*;
use crate::cache::StoreError;

fn miss(claim: Claim) -> Lease {
    match claim {
        Claim::Miss(lease) => lease,
        Claim::Hit(record) => panic!("hit {}", record.name),
    }
}

#[test]
fn of_many_builders_one_runs_a_step() {
    let home = Home::new();
    let runs = AtomicUsize::new(0);
    let step = record("a", b"layer");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let store = home.open();
            let (runs, step) = (&runs, &step);
            scope.spawn(move || {
                match store.claim(&step.key, "RUN a", |_| Patience::Wait).unwrap() {
                    Claim::Hit(record) => assert_eq!(record, *step),
                    Claim::Miss(lease) => {
                        assert!(lease.is_exclusive());
                        runs.fetch_add(1, Ordering::SeqCst);
                        put_dir(&store, b"layer");
                        lease.commit(step.clone()).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(runs.into_inner(), 1);
    assert_eq!(fs::read_dir(home.ours("claims")).unwrap().count(), 0);
}

#[test]
fn two_threads_of_one_builder_exclude_each_other() {
    let home = Home::new();
    let store = home.open();
    let key = record("a", b"layer").key;
    let lease = miss(store.claim(&key, "RUN a", |_| Patience::Wait).unwrap());
    let other = store.clone().claim(&key, "RUN a", |_| Patience::Cancel);
    assert!(matches!(other, Err(StoreError::Cancelled)));
    drop(lease);
    miss(store.claim(&key, "RUN a", |_| Patience::Cancel).unwrap());
}

#[test]
fn a_waiter_knows_whom_it_waits_for_and_may_go_on_alone() {
    let home = Home::new();
    let (one, two) = (home.open(), home.open());
    put_layer(&one, b"layer");
    let step = record("a", b"layer");
    let _stopped = miss(
        one.claim(&step.key, "RUN make", |_| Patience::Wait)
            .unwrap(),
    );
    let mut seen = Vec::new();
    let lease = miss(
        two.claim(&step.key, "RUN make", |waiting| {
            seen.push(waiting.holder.clone());
            if seen.len() < 3 {
                Patience::Wait
            } else {
                Patience::Proceed
            }
        })
        .unwrap(),
    );
    let holder = format!("process {}, RUN make", std::process::id());
    assert_eq!(seen, vec![Some(holder); 3]);
    assert!(!lease.is_exclusive());
    assert_eq!(lease.commit(step.clone()).unwrap(), step);
    assert!(matches!(
        two.claim(&step.key, "", |_| Patience::Cancel),
        Ok(Claim::Hit(_))
    ));
}

#[test]
fn a_lease_dropped_without_commit_leaves_nothing() {
    let home = Home::new();
    let store = home.open();
    let key = record("a", b"layer").key;
    drop(miss(
        store.claim(&key, "RUN a", |_| Patience::Wait).unwrap(),
    ));
    assert_eq!(store.record(&key), None);
    assert_eq!(fs::read_dir(home.ours("claims")).unwrap().count(), 0);
}

#[test]
fn a_claim_is_held_until_the_record_can_be_seen() {
    let home = Home::new();
    let (one, two) = (home.open(), home.open());
    let step = record("a", b"layer");
    let lease = miss(one.claim(&step.key, "COPY", |_| Patience::Wait).unwrap());
    put_layer_unflushed(&one, b"layer");
    lease.commit(step.clone()).unwrap();
    let claim = two.claim(&step.key, "COPY", |_| Patience::Wait).unwrap();
    assert!(matches!(claim, Claim::Hit(record) if record == step));
}

#[test]
fn the_claim_file_of_a_killed_builder_is_no_obstacle() {
    let home = Home::new();
    let store = home.open();
    let key = record("a", b"layer").key;
    fs::create_dir_all(home.ours("claims")).unwrap();
    fs::write(
        home.ours("claims").join(key.to_string()),
        "process 1, RUN x",
    )
    .unwrap();
    miss(store.claim(&key, "RUN a", |_| Patience::Cancel).unwrap());
}

#[test]
fn a_read_only_store_lets_everybody_run() {
    let home = Home::new();
    put_layer(&home.open(), b"layer");
    let store = Store::open(home.root(), Access::ReadOnly).unwrap();
    let key = record("a", b"layer").key;
    assert!(!miss(store.claim(&key, "RUN a", |_| Patience::Cancel).unwrap()).is_exclusive());
}
