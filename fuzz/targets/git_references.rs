//! No address of a git repository becomes an option of `git` or leads out of the tree.
#![no_main]

use builder::context::git::{GitRef, is_git_url};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = is_git_url(text);
    let Ok(parsed) = GitRef::parse(text) else {
        return;
    };
    assert!(!parsed.remote.starts_with('-'));
    if let Some(reference) = &parsed.reference {
        assert!(!reference.starts_with('-') && !reference.contains(".."));
    }
    if let Some(directory) = &parsed.subdirectory {
        assert!(!directory.starts_with('/'));
        assert!(directory.split('/').all(|part| part != ".."));
    }
    let _ = parsed.redacted();
});
