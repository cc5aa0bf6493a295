//! Any word expands or says where it is wrong, with both escapes, within the bound of growth.
#![no_main]

use builder::parser::expand::{GROWTH, process_heredoc, process_word, process_words, unquote};

libfuzzer_sys::fuzz_target!(|raw: &str| {
    let env = vec![
        ("v".to_owned(), "a é*/ b".to_owned()),
        ("e".to_owned(), String::new()),
    ];
    for escape in ['\\', '`'] {
        let word = process_word(raw, escape, &env);
        let words = process_words(raw, escape, &env);
        if let Ok(word) = &word {
            assert!(word.value.len() <= raw.len() + GROWTH);
            // Split or not, the same variables are asked for.
            let words = words.as_ref().expect("what is one word is also several");
            assert_eq!(word.unset, words.unset);
        }
        for range in [
            word.err().map(|error| error.range),
            words.err().map(|error| error.range),
            process_heredoc(raw, &env).err().map(|error| error.range),
            unquote(raw, escape).err().map(|error| error.range),
        ] {
            assert!(range.is_none_or(|range| raw.get(range).is_some()));
        }
    }
});
