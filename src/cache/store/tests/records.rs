//! Records: first writer wins, damaged ones are absent, and only those whose layer is here count.

use super::*;
use crate::cache::Key;

#[test]
fn a_record_is_found_by_other_builders() {
    let home = Home::new();
    let store = home.open();
    put_dir(&store, b"layer");
    let written = record("a", b"layer");
    assert_eq!(store.commit(written.clone()).unwrap(), written);
    assert_eq!(home.open().record(&written.key), Some(written));
}

#[test]
fn a_record_of_a_pending_layer_is_seen_here_at_once_and_elsewhere_with_its_layer() {
    let home = Home::new();
    let (store, other) = (home.open(), home.open());
    put_layer_unflushed(&store, b"layer");
    let written = record("a", b"layer");
    store.commit(written.clone()).unwrap();
    assert_eq!(store.record(&written.key).as_ref(), Some(&written));
    store.flush().unwrap();
    assert_eq!(other.record(&written.key), Some(written));
}

#[test]
fn the_first_writer_wins() {
    let home = Home::new();
    let (one, two) = (home.open(), home.open());
    put_layer(&one, b"first");
    put_layer(&two, b"second");
    let first = record("a", b"first");
    let mut second = record("a", b"second");
    assert_eq!(first.key, second.key);
    second.cost_ms = 99;
    one.commit(first.clone()).unwrap();
    assert_eq!(two.commit(second).unwrap(), first);
}

#[test]
fn of_many_writers_one_wins_and_all_adopt_it() {
    let home = Home::new();
    let setup = home.open();
    for writer in 0..8_u8 {
        put_layer(&setup, &[writer]);
    }
    for round in 0..20 {
        let winners: Vec<Record> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u8)
                .map(|writer| {
                    let (store, mine) = (home.open(), record(&format!("{round}"), &[writer]));
                    scope.spawn(move || store.commit(mine).unwrap())
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(winners.iter().all(|winner| *winner == winners[0]));
        assert_eq!(
            home.open().record(&winners[0].key).as_ref(),
            Some(&winners[0])
        );
    }
}

#[test]
fn a_record_without_its_layer_is_absent_and_can_be_written_again() {
    let home = Home::new();
    let store = home.open();
    let form = put_layer(&store, b"old");
    let old = record("a", b"old");
    store.commit(old.clone()).unwrap();
    fs::remove_file(home.blob_path(&form.digest)).unwrap();
    assert_eq!(store.record(&old.key), None);
    put_layer(&store, b"new");
    let new = record("a", b"new");
    assert_eq!(store.commit(new.clone()).unwrap(), new);
    assert_eq!(home.open().record(&new.key), Some(new));
}

#[test]
fn torn_and_flipped_records_are_absent_and_are_replaced() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"layer");
    let written = record("a", b"layer");
    store.commit(written.clone()).unwrap();
    let hex = written.key.to_string();
    let path = home.ours("records").join(&hex[..2]).join(&hex);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        fs::write(&path, &bytes[..at]).unwrap();
        assert_eq!(store.record(&written.key), None, "torn at {at}");
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(store.record(&written.key), None, "flipped at {at}");
    }
    assert_eq!(store.commit(written.clone()).unwrap(), written);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn odd_files_in_the_place_of_a_record_are_misses() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"layer");
    let wanted = record("a", b"layer");
    let hex = wanted.key.to_string();
    let path = home.ours("records").join(&hex[..2]).join(&hex);
    fs::create_dir_all(&path).unwrap();
    assert_eq!(store.record(&wanted.key), None);
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(store.record(&wanted.key), None);
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert_eq!(store.record(&wanted.key), None);
}

#[test]
fn a_record_moved_to_another_key_is_absent() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"layer");
    let written = record("a", b"layer");
    store.commit(written.clone()).unwrap();
    let victim = record("b", b"layer").key;
    let place = |key: &Key| {
        let hex = key.to_string();
        home.ours("records").join(&hex[..2]).join(hex)
    };
    fs::create_dir_all(place(&victim).parent().unwrap()).unwrap();
    fs::copy(place(&written.key), place(&victim)).unwrap();
    assert_eq!(store.record(&victim), None);
}

#[test]
fn similar_records_come_newest_first_each_once_and_not_too_many() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"layer");
    let operation = record("", b"").operation.unwrap();
    assert_eq!(store.similar(&operation), []);
    for input in 0..100 {
        store.commit(record(&format!("{input}"), b"layer")).unwrap();
    }
    let inputs: Vec<String> = store
        .similar(&operation)
        .iter()
        .map(|record| record.name.clone())
        .collect();
    let expected: Vec<String> = (84..100)
        .rev()
        .map(|input| format!("RUN {input}"))
        .collect();
    assert_eq!(inputs, expected);
    let list = home.ours("operations").join(operation.to_string());
    assert!(fs::metadata(list).unwrap().len() < 65 * 65);
}

#[test]
fn a_damaged_list_of_an_operation_costs_only_explanations() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"layer");
    let written = record("a", b"layer");
    let operation = written.operation.unwrap();
    fs::create_dir_all(home.ours("operations")).unwrap();
    let list = home.ours("operations").join(operation.to_string());
    fs::write(&list, b"\xff\xfe\nabc\n").unwrap();
    store.commit(written.clone()).unwrap();
    assert_eq!(store.similar(&operation), [written]);
}
