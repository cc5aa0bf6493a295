//! Cache mounts.

use super::super::{CacheMountLease, Patience, Sharing};
use super::*;
use crate::cache::StoreError;

fn take(store: &Store, sharing: Sharing) -> CacheMountLease {
    let id = Digest::of(b"apt");
    store
        .cache_mount(&id, sharing, |_| Patience::Cancel)
        .unwrap()
}

#[test]
fn a_cache_mount_keeps_its_content_between_builds() {
    let home = Home::new();
    let mount = take(&home.open(), Sharing::Locked);
    assert!(mount.is_fresh());
    fs::write(mount.path().join("x"), "1").unwrap();
    drop(mount);
    for sharing in [Sharing::Shared, Sharing::Private, Sharing::Locked] {
        let mount = take(&home.open(), sharing);
        assert!(
            !mount.is_fresh() && mount.path().join("x").exists(),
            "{sharing:?}"
        );
    }
}

#[test]
fn an_emptied_mount_is_fresh_unless_it_is_in_use() {
    let home = Home::new();
    let (store, id) = (home.open(), Digest::of(b"apt"));
    store.empty_cache_mount(&id).unwrap();
    let mounts = [
        take(&store, Sharing::Private),
        take(&store, Sharing::Private),
    ];
    for mount in &mounts {
        fs::write(mount.path().join("x"), "1").unwrap();
    }
    let [one, two] = mounts;
    drop(two);
    store.empty_cache_mount(&id).unwrap();
    assert!(one.path().join("x").exists());
    assert!(take(&store, Sharing::Private).is_fresh());
    drop(one);
    assert!(!take(&store, Sharing::Private).is_fresh());
    store.empty_cache_mount(&id).unwrap();
    assert!(take(&store, Sharing::Private).is_fresh());
}

#[test]
fn shared_mounts_are_one_directory() {
    let home = Home::new();
    let one = take(&home.open(), Sharing::Shared);
    let two = take(&home.open(), Sharing::Shared);
    assert_eq!(one.path(), two.path());
}

#[test]
fn private_mounts_are_different_while_both_are_used() {
    let home = Home::new();
    let one = take(&home.open(), Sharing::Private);
    let two = take(&home.open(), Sharing::Private);
    assert_ne!(one.path(), two.path());
    let path = one.path().to_owned();
    drop(one);
    assert_eq!(take(&home.open(), Sharing::Private).path(), path);
}

#[test]
fn locked_mounts_wait_for_each_other() {
    let home = Home::new();
    let (one, two) = (home.open(), home.open());
    let mut held = Some(take(&one, Sharing::Locked));
    let path = held.as_ref().unwrap().path().to_owned();
    let id = Digest::of(b"apt");
    let stopped = two.cache_mount(&id, Sharing::Locked, |_| Patience::Cancel);
    assert!(matches!(stopped, Err(StoreError::Cancelled)));
    let got = two.cache_mount(&id, Sharing::Locked, |_| {
        held = None;
        Patience::Wait
    });
    assert_eq!(got.unwrap().path(), path);
}

#[test]
fn mounts_of_different_ids_are_different() {
    let home = Home::new();
    let store = home.open();
    let other = store.cache_mount(&Digest::of(b"npm"), Sharing::Locked, |_| Patience::Cancel);
    assert_ne!(take(&store, Sharing::Locked).path(), other.unwrap().path());
}
