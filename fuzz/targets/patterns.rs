//! Any ignore file and any pattern compile or are refused; a directory that is pruned holds nothing that
//! an exception would have brought back.
#![no_main]

use builder::pattern::{DeepGlob, Glob, Ignore, Inherited};

libfuzzer_sys::fuzz_target!(|input: (&[u8], &str)| {
    let (rules, path) = input;
    let path = path.trim_matches('/');
    if let Ok(ignore) = Ignore::parse(rules) {
        let mut inherited = Inherited::default();
        for (at, _) in path.match_indices('/') {
            let directory = &path.as_bytes()[..at];
            let (excluded, handed_down) = ignore.enter(directory, &inherited);
            if excluded && !ignore.may_reinclude_below(directory, &handed_down) {
                assert!(ignore.excluded(path), "{path:?}");
            }
            inherited = handed_down;
        }
        assert_eq!(
            ignore.excluded(path),
            ignore.excludes(path.as_bytes(), &inherited)
        );
    }
    let Ok(pattern) = std::str::from_utf8(rules) else {
        return;
    };
    if let Ok(glob) = Glob::new(pattern) {
        let _ = glob.matches(path);
    }
    if let Ok(glob) = DeepGlob::new(pattern)
        && glob.matches(path)
    {
        for (at, _) in path.match_indices('/') {
            assert!(glob.may_match_below(&path[..at]), "{path:?}");
        }
    }
});
