//! Any bytes are a tree and diagnostics whose spans are in the text; what has no diagnostic is printed,
//! parsed and printed again without a change.
#![no_main]

use builder::diagnostic::SourceFile;
use builder::parser::{format, parse, parse_bytes, parse_trigger};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = parse_bytes("Dockerfile", bytes.to_vec()) else {
        return;
    };
    let _ = parse_trigger("ONBUILD", &source.text);
    let (file, found) = parse(&source);
    for problem in &found {
        assert!(
            source.text.get(problem.span.range()).is_some(),
            "{problem:?}"
        );
    }
    if found.is_empty() {
        let print = format::print(&file);
        let (again, found) = parse(&SourceFile::new("Dockerfile", print.as_str()));
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(format::print(&again), print);
    }
});
